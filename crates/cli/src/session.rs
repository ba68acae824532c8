//! The time between a container's start and its end: streams are copied, signals and window sizes passed on.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orlop_engine::{Running, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;
use crate::signals::Signals;
use crate::streams::{Copy, copy_in_background};
use crate::terminal::{self, Raw};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGWINCH: i32 = 28;

/// How often somebody must ask before a container without a terminal is killed.
const PATIENCE: u32 = 3;
/// How long a container with a terminal has to react to a signal before its terminal hangs up.
const TO_REACT: Duration = Duration::from_secs(1);
/// How long it then has to end.
const TO_END: Duration = Duration::from_secs(9);

/// A container with its caller's streams.
pub(crate) struct Session<'e> {
    running: Running<'e>,
    signals: Signals,
    raw: Option<Raw>,
    tty: bool,
    terminal: Option<Terminal>,
    output: Vec<JoinHandle<()>>,
    /// Closing it makes the copies of the terminal end, and then the terminal itself.
    hang_up: Option<PipeWriter>,
    asked: u32,
    deadline: Option<Instant>,
}

impl<'e> Session<'e> {
    pub(crate) fn new(
        running: Running<'e>,
        signals: Signals,
        raw: Option<Raw>,
        tty: bool,
    ) -> Session<'e> {
        Session {
            running,
            signals,
            raw,
            tty,
            terminal: None,
            output: Vec::new(),
            hang_up: None,
            asked: 0,
            deadline: None,
        }
    }

    /// Copies until the container has ended and everything it wrote has been passed on. Gives its exit code.
    pub(crate) fn run(mut self) -> Result<i32, Failure> {
        match self.tty {
            true => self.connect_terminal()?,
            false => self.connect_pipes()?,
        }
        while !self.wait_for_something()? {
            while let Some(signal) = self.signals.next()? {
                self.pass_on(signal)?;
            }
            self.lose_patience()?;
        }
        // The far ends are closed now: what is left in between comes out, then the copies end.
        for copy in self.output.drain(..) {
            let _ = copy.join();
        }
        drop(self.raw.take());
        drop(self.terminal.take());
        let ended = self.running.wait()?;
        drop(self.signals);
        Ok(ended.code)
    }

    fn connect_pipes(&mut self) -> Result<(), Failure> {
        if let Some(to) = self.running.take_stdin() {
            let from = io::stdin().as_fd().try_clone_to_owned()?;
            // Left alone at the end: it may wait for input that nobody needs any more.
            copy_in_background(
                "stdin",
                Copy {
                    from,
                    to,
                    stop: None,
                    drain: false,
                },
            )?;
        }
        let outputs = [
            (
                "stdout",
                self.running.take_stdout(),
                io::stdout().as_fd().try_clone_to_owned(),
            ),
            (
                "stderr",
                self.running.take_stderr(),
                io::stderr().as_fd().try_clone_to_owned(),
            ),
        ];
        for (name, from, to) in outputs {
            // Closed by the caller: nobody wants to read it, so the container may notice.
            if let (Some(from), Ok(to)) = (from, to) {
                self.output.push(copy_in_background(
                    name,
                    Copy {
                        from,
                        to,
                        stop: None,
                        drain: false,
                    },
                )?);
            }
        }
        Ok(())
    }

    fn connect_terminal(&mut self) -> Result<(), Failure> {
        let Some(terminal) = self.running.take_terminal() else {
            return Ok(());
        };
        let (stop, hang_up) = io::pipe()?;
        self.hang_up = Some(hang_up);
        if self.raw.is_some() {
            let from = io::stdin().as_fd().try_clone_to_owned()?;
            let (to, stop) = (master(&terminal)?, Some(stop_of(&stop)?));
            copy_in_background(
                "terminal-input",
                Copy {
                    from,
                    to,
                    stop,
                    drain: false,
                },
            )?;
        }
        let to = io::stdout().as_fd().try_clone_to_owned()?;
        let copy = Copy {
            from: master(&terminal)?,
            to,
            stop: Some(stop),
            drain: true,
        };
        self.output
            .push(copy_in_background("terminal-output", copy)?);
        self.terminal = Some(terminal);
        // It may have changed since the container was given its size.
        self.resize();
        Ok(())
    }

    /// Waits for a signal, the container's end or a deadline. Whether it is the end.
    fn wait_for_something(&self) -> Result<bool, Failure> {
        let timeout = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = timeout.map(|left| Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos() as _,
        });
        let mut fds = [
            PollFd::new(&self.running, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }

    fn pass_on(&mut self, signal: i32) -> Result<(), Failure> {
        if signal == SIGWINCH {
            self.resize();
            return Ok(());
        }
        self.running.signal(signal)?;
        if self.tty {
            // Ctrl-C is a key there: a signal means that this very program is to end.
            match self.deadline {
                None => self.deadline = Some(Instant::now() + TO_REACT),
                Some(_) => self.deadline = Some(Instant::now()),
            }
        } else if matches!(signal, SIGINT | SIGTERM) {
            self.asked += 1;
            if self.asked >= PATIENCE {
                self.running.signal(SIGKILL)?;
            }
        }
        Ok(())
    }

    /// A container that is deaf to signals loses its terminal, and then its life.
    fn lose_patience(&mut self) -> Result<(), Failure> {
        if self
            .deadline
            .is_none_or(|deadline| Instant::now() < deadline)
        {
            return Ok(());
        }
        if self.hang_up.take().is_some() {
            drop(self.raw.take());
            drop(self.terminal.take());
            self.deadline = Some(Instant::now() + TO_END);
        } else {
            self.running.signal(SIGKILL)?;
            self.deadline = Some(Instant::now() + TO_END);
        }
        Ok(())
    }

    fn resize(&self) {
        if let (Some(terminal), Some((columns, rows))) = (
            &self.terminal,
            terminal::size(io::stdin()).or_else(|| terminal::size(io::stdout())),
        ) {
            // One that has hung up has no size.
            let _ = terminal.resize(rows, columns);
        }
    }
}

fn master(terminal: &Terminal) -> io::Result<OwnedFd> {
    terminal.as_fd().try_clone_to_owned()
}

fn stop_of(stop: &PipeReader) -> io::Result<PipeReader> {
    stop.try_clone()
}
