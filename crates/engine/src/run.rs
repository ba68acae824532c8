//! A container in the foreground, and how it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orlop_runtime::Terminal;

use crate::engine::Engine;
use crate::error::Error;
use crate::files::Alive;
use crate::record::{Container, State, now};

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Its exit code as a shell has it: 128 and the signal for a signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel killed it, or a part of it, for want of memory.
    pub oom_killed: bool,
}

/// A container that runs, with its streams. Dropping it kills and buries the container.
#[must_use = "dropping it kills the container"]
pub struct Running<'e> {
    engine: &'e Engine,
    record: Container,
    container: orlop_runtime::Container,
    /// Until the end has been taken.
    alive: Option<Alive>,
    stop_signal: i32,
}

impl std::fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("id", &self.record.id)
            .finish_non_exhaustive()
    }
}

impl<'e> Running<'e> {
    pub(crate) fn new(
        engine: &'e Engine,
        record: Container,
        container: orlop_runtime::Container,
        alive: Option<Alive>,
        stop_signal: i32,
    ) -> Running<'e> {
        Running {
            engine,
            record,
            container,
            alive,
            stop_signal,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What was granted less fully than asked for. That there is no control group is none: nothing that needs one was
    /// asked for.
    pub fn warnings(&self) -> Vec<String> {
        let all = self.container.warnings().iter();
        all.filter(|warning| !matches!(warning, orlop_runtime::Warning::NoCgroup { .. }))
            .map(ToString::to_string)
            .collect()
    }

    /// The signal that asks it to stop.
    pub fn stop_signal(&self) -> i32 {
        self.stop_signal
    }

    /// The end of a pipe to its standard input, once; dropping it ends the input.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.container.stdin.take().map(OwnedFd::from)
    }

    /// The end of a pipe from its standard output, once.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.container.stdout.take().map(OwnedFd::from)
    }

    /// The end of a pipe from its standard error, once.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.container.stderr.take().map(OwnedFd::from)
    }

    /// The master of its terminal, once. When all copies are closed the terminal hangs up.
    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.container.terminal.take()
    }

    /// Sends a signal to its first process.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.container
            .kill(signal)
            .map_err(Error::runtime("signalling the container"))
    }

    /// Waits for its end and remembers it, or removes everything if that was asked for.
    ///
    /// # Errors
    /// When the end cannot be learnt, or something cannot be removed: the next call tries again.
    pub fn wait(mut self) -> Result<Ended, Error> {
        let exit = self
            .container
            .wait()
            .map_err(Error::runtime("waiting for the container"))?;
        // From here on nothing may be lost: what fails is done again by the next call, which finds the lock free.
        let alive = self.alive.take();
        let ended = Ended {
            code: exit.shell_code(),
            signal: exit.signal(),
            oom_killed: exit.oom_killed,
        };
        let engine = self.engine;
        self.record.state = State::Exited;
        self.record.pid = None;
        self.record.pid_birth = None;
        self.record.finished = Some(now());
        self.record.exit_code = Some(ended.code);
        self.record.oom_killed = ended.oom_killed;
        if self.record.remove {
            engine.forget(&self.record, true)?;
        } else {
            self.record.write(&engine.dirs.container(&self.record.id))?;
        }
        alive.map_or(Ok(()), Alive::finish)?;
        Ok(ended)
    }
}

impl AsFd for Running<'_> {
    /// The process's pidfd: readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(alive) = self.alive.take() else {
            return;
        };
        const SIGKILL: i32 = 9;
        let _ = self.container.kill(SIGKILL);
        let _ = self.container.wait();
        self.engine.abandon(&self.record, alive);
    }
}
