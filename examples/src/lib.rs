//! Shared by the examples in `src/bin`, each of which is one short file for one thing an embedder wants to do:
//!
//! ```text
//! cargo run --package orlop-examples --bin NAME
//! ```

#![deny(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

/// A small root file system in a temporary folder, so that an example needs no image and no network: Debian's static busybox,
/// and links to it for a few commands. The folder goes when the value is dropped.
pub fn busybox_root() -> io::Result<TempDir> {
    let root = TempDir::new()?;
    let program = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let program = program.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no busybox: install busybox-static",
        )
    })?;
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir(root.path().join(folder))?;
    }
    fs::copy(program, root.path().join("bin/busybox"))?;
    for command in [
        "cat", "dd", "echo", "head", "hostname", "id", "ls", "sh", "sleep", "sort", "tail", "true",
        "yes",
    ] {
        symlink("busybox", root.path().join("bin").join(command))?;
    }
    Ok(root)
}
