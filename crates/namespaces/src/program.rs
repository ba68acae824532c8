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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    /// Executed without a channel, init gives up at once.
    fn gives_up(program: &OwnedFd) {
        let (channel, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(channel);
        let number = std::os::fd::AsRawFd::as_raw_fd(&theirs).to_string();
        let number = std::ffi::CString::new(number).unwrap();
        let (born, executed) =
            sys::spawn_program(program.as_fd(), theirs.as_fd(), [c"init", &number]).unwrap();
        executed.unwrap();
        let waited = sys::wait(born.pidfd.as_fd(), 0).unwrap().unwrap();
        assert_eq!((waited.code, waited.status), (libc::CLD_EXITED, 1));
    }

    #[test]
    fn the_memory_file_is_sealed() {
        let program = memory_file().unwrap();
        let mut file = File::from(program.try_clone().unwrap());
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
        gives_up(&program);
    }

    #[test]
    fn a_detached_file_does_as_well() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: a_detached_file_does_as_well: needs root");
            return;
        }
        let program = detached_file().unwrap();
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&program)
        );
        let writable = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap_err();
        assert_eq!(writable.raw_os_error(), Some(libc::EROFS));
        gives_up(&program);
    }

    #[test]
    fn an_error_of_the_execution_comes_back() {
        let not_a_program = File::open("/etc/passwd").unwrap();
        let (channel, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (born, executed) =
            sys::spawn_program(not_a_program.as_fd(), channel.as_fd(), [c"init", c"0"]).unwrap();
        assert_eq!(executed.unwrap_err().raw_os_error(), Some(libc::EACCES));
        let waited = sys::wait(born.pidfd.as_fd(), 0).unwrap().unwrap();
        assert_eq!((waited.code, waited.status), (libc::CLD_EXITED, 127));
    }
}
