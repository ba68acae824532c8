//! Init's program as a file that can be executed and that nobody can change.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, memfd_create, openat,
};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::SpawnError;

/// The program in a sealed memory file; where the host forbids executing such (`vm.memfd_noexec=2`), on a read-only mount attached
/// nowhere, which takes `CAP_SYS_ADMIN`.
pub(crate) fn executable() -> Result<OwnedFd, SpawnError> {
    match memory_file() {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => detached_file().map_err(
            SpawnError::system("making init executable (vm.memfd_noexec forbids memory files)"),
        ),
        other => other.map_err(SpawnError::system("making init's memory file")),
    }
}

fn memory_file() -> io::Result<OwnedFd> {
    // Not all kernels know the flag that asks for an executable file; those that do not need none.
    let exec = MemfdFlags::from_bits_retain(0x10);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match memfd_create(c"orlop-init", flags | exec) {
        Err(Errno::INVAL) => memfd_create(c"orlop-init", flags)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(orlop_init::PROGRAM)?;
    fchmod(&file, Mode::from_raw_mode(0o555))?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file.into())
}

pub(crate) fn detached_file() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let mode = Mode::from_raw_mode(0o555);
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    File::from(openat(&mount, "init", create, mode)?).write_all(orlop_init::PROGRAM)?;
    crate::sys::make_read_only(mount.as_fd())?;
    Ok(openat(
        &mount,
        "init",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
