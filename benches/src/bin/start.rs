//! What a container costs from the call to its end: in-process, `true` as its program, everything that Docker switches on, and
//! the same with one thing off.

use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;
use orlop_benches::floor::{Extras, Floor};
use orlop_benches::{Options, Suite, rootfs};
use orlop_runtime::{Builder, Network, Runtime, Seccomp, Stdio};
use orlop_unionfs::{ApplyLimits, MountOptions, Snapshots};

/// One variant: its name, and what it takes away from Docker's defaults.
type Variant = (&'static str, fn(Builder) -> Builder);

const VARIANTS: &[Variant] = &[
    ("everything", |builder| builder),
    ("with limits", |builder| {
        builder.memory(64 << 20).pids(64).cpus(0.5)
    }),
    ("without seccomp", |builder| {
        builder.seccomp(Seccomp::Unconfined)
    }),
    ("without a network namespace", |builder| {
        builder.network(Network::Host)
    }),
    ("without masks", |builder| {
        builder.masked_paths([""; 0]).readonly_paths([""; 0])
    }),
];

fn main() -> ExitCode {
    let options = Options::parse();
    let prepared = prepare();
    let mut suite = Suite::new("start", &options);
    let (folder, runtime) = match &prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            suite.fail("start and wait", &error.to_string());
            return suite.finish();
        }
    };
    let root = folder.path().join("root");
    for (name, change) in VARIANTS {
        let root = root.clone();
        suite.case("directory", &[("with", (*name).into())], move |meter| {
            meter.measure(|| run(change(runtime.container(root.as_path()))))
        });
    }
    overlay(&mut suite, runtime, folder.path(), &root);
    for network in [false, true] {
        match Floor::new(
            &root,
            "/bin/true",
            Extras {
                network,
                overlay: false,
            },
        ) {
            Ok(floor) => suite.case("the floor", &[("network", network.into())], move |meter| {
                Ok(meter.measure(|| floor.run())?)
            }),
            Err(error) => suite.fail("the floor", &error.to_string()),
        }
    }
    suite.finish()
}

type Failure = Box<dyn std::error::Error>;

/// A folder with a root, and a runtime.
fn prepare() -> Result<(tempfile::TempDir, Runtime), Failure> {
    let folder = tempfile::tempdir()?;
    rootfs::busybox(&folder.path().join("root"))?;
    let runtime = Runtime::new(orlop_runtime::Options::new(folder.path().join("state")))?;
    Ok((folder, runtime))
}

fn run(builder: Builder) -> Result<(), Failure> {
    let builder = builder
        .command(["/bin/true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let exit = builder.start()?.wait()?;
    if exit.success() {
        Ok(())
    } else {
        Err(exit.to_string().into())
    }
}

/// The root as a layer with a writable one over it, as an image's containers have: made, started on, and removed.
fn overlay<'a>(suite: &mut Suite<'a>, runtime: &'a Runtime, folder: &Path, root: &Path) {
    let layer = match unpack(folder, root) {
        Ok(layer) => layer,
        Err(error) => return suite.fail("overlay", &error.to_string()),
    };
    for volatile in [false, true] {
        let (snapshots, chain_id) = layer.clone();
        let how = MountOptions::default().volatile(volatile);
        let mut number = 0;
        suite.case("overlay", &[("volatile", volatile.into())], move |meter| {
            number += 1;
            let key = format!("run-{volatile}-{number}");
            meter.measure(|| -> Result<(), Failure> {
                let active = snapshots.prepare(&key, Some(&chain_id))?;
                run(runtime.container(active.mount(&how)?))
            })?;
            Ok(snapshots.remove(&key)?)
        });
    }
}

/// A snapshot store with the root as its one layer, and the layer's chain id, which for the lowest one is its diff id.
fn unpack(folder: &Path, root: &Path) -> Result<(Snapshots, String), Failure> {
    let snapshots = Snapshots::open(&folder.join("snapshots"), orlop_unionfs::Options::default())?;
    let mut tar = Command::new("tar")
        .args(["-c", "-f", "-", "-C"])
        .arg(root)
        .arg(".")
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let stream = tar.stdout.take().ok_or("standard output was piped")?;
    let mut staging = snapshots.begin()?;
    let applied = staging.apply(stream, &ApplyLimits::default())?;
    tar.wait()?;
    staging.commit(None, &applied.diff_id)?;
    Ok((snapshots, applied.diff_id))
}
