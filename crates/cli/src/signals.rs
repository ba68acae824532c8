//! Signals as something to read. They are blocked, so that no handler runs and none is lost.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};

/// The signals a container gets from whoever signals `orlop run`, and the one of a changed window.
const FORWARDED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
];

/// Holds signals back from this thread, and from threads it starts, until dropped.
#[derive(Debug)]
#[must_use = "dropping it lets signals through again"]
pub(crate) struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks the signals that are forwarded.
    pub(crate) fn hold() -> io::Result<Signals> {
        Signals::hold_these(&FORWARDED)
    }

    /// Blocks those that ask a program to end.
    pub(crate) fn hold_ending() -> io::Result<Signals> {
        Signals::hold_these(&[Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM])
    }

    fn hold_these(signals: &[Signal]) -> io::Result<Signals> {
        let set: SigSet = signals.iter().copied().collect();
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let before = SigSet::thread_get_mask()?;
        set.thread_block()?;
        Ok(Signals { fd, before })
    }

    /// Waits for a signal; none once the other end of `stop` is closed.
    pub(crate) fn wait(&self, stop: &PipeReader) -> io::Result<Option<i32>> {
        loop {
            let mut fds = [
                PollFd::new(self, PollFlags::IN),
                PollFd::new(stop, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let stopped = !fds[1].revents().is_empty();
            if let Some(signal) = self.next()? {
                return Ok(Some(signal));
            }
            if stopped {
                return Ok(None);
            }
        }
    }

    /// The next signal, if one has come.
    pub(crate) fn next(&self) -> io::Result<Option<i32>> {
        let signal = self.fd.read_signal()?;
        Ok(signal.and_then(|info| i32::try_from(info.ssi_signo).ok()))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What came and was not read has had its effect; it must not end the program in its last steps.
        while let Ok(Some(_)) = self.next() {}
        let _ = self.before.thread_set_mask();
    }
}
