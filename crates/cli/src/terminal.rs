//! The caller's terminal: raw while a container has it, and put back on every way out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{self, OptionalActions, Termios};

/// A terminal in raw mode; dropping it restores what was.
#[derive(Debug)]
#[must_use = "dropping it ends raw mode"]
pub(crate) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Switches `terminal` to raw mode: every key, Ctrl-C too, is a byte for the container.
    pub(crate) fn enter(terminal: impl AsFd) -> io::Result<Raw> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        let guard = Raw { terminal, before };
        termios::tcsetattr(&guard.terminal, OptionalActions::Now, &raw)?;
        Ok(guard)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Now, not after draining: a stopped terminal must not hold up the way out.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Columns and rows of `terminal`, if it is one and knows them.
pub(crate) fn size(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
