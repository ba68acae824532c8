//! How a container ended.

use std::fmt;

use orlop_cgroups::Stats;
use orlop_namespaces::{ExitStatus, Usage};

/// The end of a container.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exit {
    /// Exit code or signal of the container's first process.
    pub status: ExitStatus,
    /// Whether the kernel killed a process of the container for want of memory. From the cgroup's own counter, so a plain
    /// `kill -9` is not taken for it; false where the container had no memory cgroup.
    pub oom_killed: bool,
    /// What the first process used, with those it waited for; `None` where the kernel no longer knows, because the program
    /// ignores `SIGCHLD` or another thread took the status.
    pub usage: Option<Usage>,
    /// What the whole container used, as its cgroup counted it.
    pub stats: Option<Stats>,
}

impl Exit {
    /// Whether the program returned 0.
    pub fn success(&self) -> bool {
        self.code() == Some(0)
    }

    /// The exit code; `None` if a signal ended the program.
    pub fn code(&self) -> Option<i32> {
        match self.status {
            ExitStatus::Code(code) => Some(code),
            ExitStatus::Signal { .. } => None,
        }
    }

    /// The signal that ended the program.
    pub fn signal(&self) -> Option<i32> {
        match self.status {
            ExitStatus::Code(_) => None,
            ExitStatus::Signal { signal, .. } => Some(signal),
        }
    }

    /// One number, as shells and Docker have it: the code, or 128 and the signal.
    pub fn shell_code(&self) -> i32 {
        match self.status {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal { signal, .. } => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            ExitStatus::Code(code) => write!(f, "exit code {code}")?,
            ExitStatus::Signal { signal, core } => {
                write!(
                    f,
                    "signal {signal}{}",
                    if core { " (core dumped)" } else { "" }
                )?;
            }
        }
        if self.oom_killed {
            f.write_str(", out of memory")
        } else {
            Ok(())
        }
    }
}

/// What a container wrote, and how it ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Output {
    /// The end.
    pub exit: Exit,
    /// Everything written to standard output, or to the terminal.
    pub stdout: Vec<u8>,
    /// Everything written to standard error.
    pub stderr: Vec<u8>,
}
