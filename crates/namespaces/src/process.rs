//! A started process, known by its pidfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};

use crate::exit::{Exit, ExitStatus};
use crate::sys;

/// Why the end of a process is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Another part of the calling process reaped it (`waitpid(-1)`, or an ignored SIGCHLD), and the kernel keeps no record of
    /// how it ended: that takes Linux 6.15.
    #[error("process {pid} was reaped by someone else")]
    Reaped {
        /// Its id while it lived.
        pid: u32,
    },
    /// The kernel refused.
    #[error("waiting for process {pid}")]
    System {
        /// Its id.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}

/// A child of the calling process. Its pidfd ([`AsFd`]) becomes readable when it ends, so it fits any reactor.
///
/// Dropping it neither kills nor waits, as with [`std::process::Child`]: an ended process then stays a zombie until the caller
/// itself ends.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
    exit: Mutex<Option<Exit>>,
}

impl Process {
    pub(crate) fn new(pid: u32, pidfd: OwnedFd) -> Process {
        Process {
            pid,
            pidfd,
            exit: Mutex::new(None),
        }
    }

    /// Its id in the caller's pid namespace. May name another process once this one was waited for: act through the pidfd.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. Any number of threads may wait, and again after the end: all get the same.
    ///
    /// # Errors
    ///
    /// [`WaitError::Reaped`] where another part of the calling process was faster.
    pub fn wait(&self) -> Result<Exit, WaitError> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(exit);
            }
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.failed(errno.into())),
            }
        }
    }

    /// Its end if it has ended, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Process::wait`].
    pub fn try_wait(&self) -> Result<Option<Exit>, WaitError> {
        let mut known = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = match sys::wait(self.pidfd.as_fd(), libc::WNOHANG) {
                Ok(waited) => waited.map(Exit::from),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => self.exit_record()?,
                Err(error) => return Err(self.failed(error)),
            };
        }
        Ok(*known)
    }

    /// What the kernel remembers of a process that is not this caller's to wait for any more.
    fn exit_record(&self) -> Result<Option<Exit>, WaitError> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // With SIGCHLD ignored, `waitid` may give ECHILD shortly before the end is on record.
        match poll(&mut fds, Some(&now)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(self.failed(errno.into())),
        }
        match sys::exit_record(self.pidfd.as_fd()) {
            Ok(Some(status)) => Ok(Some(Exit {
                status: ExitStatus::from_wait_status(status),
                usage: None,
            })),
            Ok(None) | Err(_) => Err(WaitError::Reaped { pid: self.pid }),
        }
    }

    fn failed(&self, source: io::Error) -> WaitError {
        WaitError::System {
            pid: self.pid,
            source,
        }
    }

    /// Sends a signal, by pidfd: never to another process that got the same id.
    ///
    /// # Errors
    ///
    /// `ESRCH` once it was waited for, `EINVAL` for a number that is no signal. Sending to a process that has ended and was not
    /// waited for succeeds.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        sys::send_signal(self.pidfd.as_fd(), signal)
    }

    /// Kills it and waits, whatever state it is in.
    pub(crate) fn destroy(&self) -> Option<Exit> {
        self.signal(libc::SIGKILL).ok();
        self.wait().ok()
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
