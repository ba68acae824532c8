//! The root that all launches are compared on.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The applets that the small root has links for.
const APPLETS: &[&str] = &["true", "sh", "cat", "echo", "sleep", "stat", "ls", "head"];

/// Fills `root` with Debian's static busybox and the directories a container's mounts want.
pub fn busybox(root: &Path) -> io::Result<()> {
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
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(program, root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}
