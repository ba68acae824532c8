//! `run /bin/true`: start a container and wait for its end.

use std::path::Path;
use std::process::{Command, ExitCode};

use orlop_benches::floor::{Extras, Floor};
use orlop_benches::{Options, Suite, rootfs};
use orlop_runtime::spec::Spec;
use orlop_runtime::{Runtime, Stdio};

use crate::tools::{find, succeed};
use crate::{Failure, bundle};

/// Runtimes with runc's command line. Debian has no youki.
const RUNTIMES: &[&str] = &["crun", "runc", "youki"];

pub(crate) fn compare(options: &Options, orlop: &Path) -> Result<ExitCode, Failure> {
    let folder = tempfile::tempdir()?;
    let bundle = folder.path();
    let root = bundle.join("rootfs");
    rootfs::busybox(&root)?;
    if !bundle::write(bundle)? {
        eprintln!("there is no seccomp profile here: all run without one");
    }
    let state = bundle.join("state");
    let runtime = Runtime::new(orlop_runtime::Options::new(bundle.join("runtime")))?;
    let spec = Spec::load(bundle.join("config.json"))?;
    let mut suite = Suite::new("launch", options);
    suite.case("orlop-runtime, in-process", &[], |meter| {
        let builder = runtime
            .from_spec(&spec, bundle)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let exit = meter.measure(|| builder.start()?.wait())?;
        if exit.success() {
            Ok(())
        } else {
            Err(exit.to_string().into())
        }
    });
    if orlop.exists() {
        let archive = bundle.join("root.tar");
        succeed(
            Command::new("tar")
                .arg("-cf")
                .arg(&archive)
                .arg("-C")
                .arg(&root)
                .arg("."),
        )?;
        succeed(
            Command::new(orlop)
                .arg("--root")
                .arg(&state)
                .arg("import")
                .arg(&archive)
                .arg("bench:1"),
        )?;
        suite.case("orlop run", &[], |meter| {
            let mut command = Command::new(orlop);
            command
                .arg("--root")
                .arg(&state)
                .args(["run", "--rm", "bench:1", "/bin/true"]);
            meter.measure(|| succeed(&mut command))
        });
    } else {
        suite.skip(
            "orlop run",
            &[],
            "orlop is not built: cargo build --release --package orlop-cli",
        );
    }
    for &runtime in RUNTIMES {
        let Some(program) = find(runtime) else {
            if runtime == "youki" {
                eprintln!("youki is not on PATH, and not in Debian: left out");
            } else {
                suite.skip(runtime, &[], &format!("{runtime} is not installed"));
            }
            continue;
        };
        let states = bundle.join(format!("{runtime}-state"));
        let mut number = 0;
        suite.case(&format!("{runtime} run"), &[], move |meter| {
            number += 1;
            let mut command = Command::new(&program);
            command
                .arg("--root")
                .arg(&states)
                .args(["run", "--bundle"])
                .arg(bundle);
            command.arg(format!("orlop-bench-{}-{number}", std::process::id()));
            meter.measure(|| succeed(&mut command))
        });
    }
    match find("bwrap") {
        Some(program) => {
            let root = root.clone();
            suite.case("bwrap", &[], move |meter| {
                let mut command = Command::new(&program);
                command.args([
                    "--unshare-pid",
                    "--unshare-ipc",
                    "--unshare-uts",
                    "--unshare-cgroup",
                    "--unshare-net",
                    "--bind",
                ]);
                command
                    .arg(&root)
                    .args(["/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]);
                meter.measure(|| succeed(&mut command))
            });
        }
        None => suite.skip("bwrap", &[], "bubblewrap is not installed"),
    }
    let floor = Floor::new(
        &root,
        "/bin/true",
        Extras {
            network: true,
            overlay: true,
        },
    )?;
    suite.case("the floor, in-process", &[], move |meter| {
        Ok(meter.measure(|| floor.run())?)
    });
    Ok(suite.finish())
}
