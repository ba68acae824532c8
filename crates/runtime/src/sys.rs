//! The crate's only unsafe code.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Have tokio's reactor watch `fd` for reading.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` gives out the same open descriptor for as long as it lives, and it lives in the value made here.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
