//! System calls no crate wraps safely.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Makes a mount read-only: `mount_setattr(2)`, Linux 5.12.
pub(crate) fn set_read_only(mount: BorrowedFd<'_>) -> rustix::io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Maps the owners on a mount that is attached nowhere yet by a user namespace's id maps: `mount_setattr(2)`, Linux 5.12.
pub(crate) fn set_id_map(
    mount: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let namespace = u64::try_from(user_namespace.as_raw_fd()).map_err(|_| Errno::BADF)?;
    set_attributes(mount, libc::MOUNT_ATTR_IDMAP, namespace)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: u64,
    user_namespace: u64,
) -> rustix::io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace,
    };
    // SAFETY: the path is an empty C string, and the structure lives until the call returns and has the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
