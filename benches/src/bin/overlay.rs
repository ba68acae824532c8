//! An overlay over a stack of layers: making it, looking names up, the first write to a file, deleting one.

use std::error::Error;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use orlop_benches::{Options, Suite};
use orlop_unionfs::{ApplyLimits, MountOptions, Rootfs, Snapshots};
use rustix::fs::{AtFlags, Mode, OFlags};

#[derive(Debug, Parser)]
#[command(about = "Measures overlay mounts: by depth of the stack, look-ups, copy-up, whiteouts")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Layers of a stack; may be given several times.
    #[arg(long, value_name = "LAYERS", default_values_t = [1, 8, 32, 128, 400])]
    depth: Vec<usize>,
    /// Bytes of the file that is written to for the first time; may be given several times.
    #[arg(long, value_name = "BYTES", default_values_t = [4096, 1 << 20, 16 << 20])]
    size: Vec<u64>,
    /// Where the store is made: its file system is what is measured.
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut suite = Suite::new("overlay", &arguments.options);
    if !rustix::process::geteuid().is_root() {
        suite.skip("overlay", &[], "mounting needs root");
        return suite.finish();
    }
    let made = Stack::new(&arguments);
    let stack = match &made {
        Ok(stack) => Rc::clone(stack),
        Err(error) => {
            suite.fail("stack of layers", &error.to_string());
            return suite.finish();
        }
    };
    for &depth in &arguments.depth {
        by_depth(&mut suite, &stack, depth);
    }
    for &size in &arguments.size {
        let stack = Rc::clone(&stack);
        suite.case(
            "first write to a file of a layer (copy-up)",
            &[("bytes", size.into())],
            move |meter| {
                let root = stack.fresh(1)?;
                let file = format!("size-{size}");
                meter.measure(|| {
                    rustix::fs::openat(&root, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                })?;
                Ok(())
            },
        );
    }
    suite.case("delete a file of a layer (whiteout)", &[], move |meter| {
        let root = stack.fresh(1)?;
        meter.measure(|| rustix::fs::unlinkat(&root, "file", AtFlags::empty()))?;
        Ok(())
    });
    suite.finish()
}

fn by_depth(suite: &mut Suite<'_>, stack: &Rc<Stack>, depth: usize) {
    let layers = [("layers", depth.into())];
    let on = Rc::clone(stack);
    suite.case("prepare a snapshot", &layers, move |meter| {
        on.remove()?;
        meter.measure(|| on.store.prepare("bench", Some(&id(depth))))?;
        Ok(())
    });
    for volatile in [false, true] {
        let on = Rc::clone(stack);
        let parameters = [("layers", depth.into()), ("volatile", volatile.into())];
        suite.case("mount and drop", &parameters, move |meter| {
            on.remove()?;
            let active = on.store.prepare("bench", Some(&id(depth)))?;
            let how = MountOptions::default().volatile(volatile);
            meter.measure(|| active.mount(&how).map(drop))?;
            Ok(())
        });
    }
    let on = Rc::clone(stack);
    suite.case(
        "first look-up of a file of the lowest layer",
        &layers,
        move |meter| {
            let root = on.fresh(depth)?;
            meter.measure(|| rustix::fs::statat(&root, "file", AtFlags::empty()))?;
            Ok(())
        },
    );
    let on = Rc::clone(stack);
    suite.case(
        "first look-up of a name that no layer has",
        &layers,
        move |meter| {
            let root = on.fresh(depth)?;
            let missing = meter.measure(|| rustix::fs::statat(&root, "missing", AtFlags::empty()));
            missing.err().map(drop).ok_or_else(|| "it was there".into())
        },
    );
    let on = Rc::clone(stack);
    suite.case("look-up again, cached", &layers, move |meter| {
        let root = on.fresh(depth)?;
        rustix::fs::statat(&root, "file", AtFlags::empty())?;
        meter.measure_many(100, || {
            (0..100).try_for_each(|_| rustix::fs::statat(&root, "file", AtFlags::empty()).map(drop))
        })?;
        Ok(())
    });
    let on = Rc::clone(stack);
    suite.case("list the root", &layers, move |meter| {
        let root = on.fresh(depth)?;
        let path = format!("/proc/self/fd/{}", root.as_raw_fd());
        let names = meter.measure(|| fs::read_dir(path).map(Iterator::count))?;
        if names > depth {
            Ok(())
        } else {
            Err("names are missing".into())
        }
    });
}

/// A stack as deep as the deepest wanted; a shallower one is its lower part.
struct Stack {
    store: Snapshots,
    _folder: tempfile::TempDir,
}

fn id(layer: usize) -> String {
    format!("sha256:{layer:064x}")
}

impl Stack {
    fn new(arguments: &Arguments) -> Result<Rc<Stack>, Failure> {
        let folder = tempfile::tempdir_in(&arguments.directory)?;
        let store = Snapshots::open(
            &folder.path().join("store"),
            orlop_unionfs::Options::default(),
        )?;
        let deepest = arguments.depth.iter().copied().max().unwrap_or(1).max(1);
        for layer in 1..=deepest {
            let key = "layer";
            let parent = (layer > 1).then(|| id(layer - 1));
            let active = store.prepare(key, parent.as_deref())?;
            let mount = detached(active.mount(&MountOptions::default().volatile(true))?)?;
            let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
            fs::write(root.join(format!("name-{layer}")), layer.to_string())?;
            if layer == 1 {
                fill_lowest(&root, &arguments.size)?;
            }
            drop(mount);
            // Through an archive, so that what a mount left in the upper directory is not part of it.
            let mut archive = Vec::new();
            store.diff(key, &mut archive)?;
            store.remove(key)?;
            store.apply(
                parent.as_deref(),
                &id(layer),
                &archive[..],
                &ApplyLimits::default(),
            )?;
        }
        Ok(Rc::new(Stack {
            store,
            _folder: folder,
        }))
    }

    fn remove(&self) -> Result<(), Failure> {
        match self.store.remove("bench") {
            Ok(()) | Err(orlop_unionfs::Error::NoSnapshot { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A new snapshot, mounted: nothing of it is in any cache.
    fn fresh(&self, depth: usize) -> Result<OwnedFd, Failure> {
        self.remove()?;
        let active = self.store.prepare("bench", Some(&id(depth)))?;
        detached(active.mount(&MountOptions::default())?)
    }
}

fn fill_lowest(root: &Path, sizes: &[u64]) -> Result<(), Failure> {
    fs::write(root.join("file"), "a file")?;
    for &size in sizes {
        fs::write(
            root.join(format!("size-{size}")),
            vec![7; usize::try_from(size)?],
        )?;
    }
    Ok(())
}

fn detached(root: Rootfs) -> Result<OwnedFd, Failure> {
    match root {
        Rootfs::Detached(mount) => Ok(mount),
        other => Err(format!("no detached overlay here, but {other:?}").into()),
    }
}
