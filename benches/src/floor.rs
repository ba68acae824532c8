//! The floor: what a start costs when nothing but the kernel is in the way. No plan, no cgroup, no seccomp, no masks, no checks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::sys;

/// A container of the least kind: mount, pid, ipc, uts and cgroup namespaces, a root with proc and a tmpfs, one program.
pub struct Floor {
    start: sys::Start,
    // The overlay's upper and work directories.
    _folders: Option<TempDir>,
}

/// What the floor is built with beyond the least.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    /// A network namespace too.
    pub network: bool,
    /// The root is an overlay with a writable layer, not a bind mount.
    pub overlay: bool,
}

impl Floor {
    /// Prepares to run `program`, a path inside `root`. Needs root's rights. `root` must have directories `proc` and `dev`.
    pub fn new(root: &Path, program: &str, extras: Extras) -> io::Result<Floor> {
        let mut flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if extras.network {
            flags |= libc::CLONE_NEWNET;
        }
        let (options, folders) = if extras.overlay {
            let folders = TempDir::new()?;
            let folder = |name: &str| -> io::Result<PathBuf> {
                let path = folders.path().join(name);
                fs::create_dir(&path)?;
                Ok(path)
            };
            let (upper, work) = (folder("upper")?, folder("work")?);
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                root.display(),
                upper.display(),
                work.display()
            );
            (Some(options), Some(folders))
        } else {
            (None, None)
        };
        let start = sys::Start::new(root, program, options, u64::from(flags.unsigned_abs()))?;
        Ok(Floor {
            start,
            _folders: folders,
        })
    }

    /// Starts it and waits for its end; anything but exit code 0 is an error.
    pub fn run(&self) -> io::Result<()> {
        self.start.run()
    }
}
