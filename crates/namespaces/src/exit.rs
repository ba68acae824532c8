//! How a process ended and what it used.

use std::fmt;
use std::time::Duration;

use crate::sys;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// A signal killed it.
    Signal {
        /// Number of the signal.
        signal: i32,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl ExitStatus {
    /// Whether it exited with code 0.
    pub fn success(self) -> bool {
        self == ExitStatus::Code(0)
    }

    /// From a wait status as `wait(2)` has it.
    pub fn from_wait_status(status: i32) -> ExitStatus {
        match status & 0x7f {
            0 => ExitStatus::Code(status >> 8 & 0xff),
            signal => ExitStatus::Signal {
                signal,
                core: status & 0x80 != 0,
            },
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exited with code {code}"),
            ExitStatus::Signal { signal, core } => {
                match nix::sys::signal::Signal::try_from(*signal) {
                    Ok(name) => write!(f, "killed by {name}")?,
                    Err(_) => write!(f, "killed by signal {signal}")?,
                }
                if *core {
                    f.write_str(", core dumped")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// What a process and the children it waited for used, from `getrusage(2)`'s record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Largest resident set, in bytes.
    pub max_resident: u64,
    /// Page faults that needed no read.
    pub minor_faults: u64,
    /// Page faults that read from storage.
    pub major_faults: u64,
    /// Times it gave up the processor by itself.
    pub voluntary_switches: u64,
    /// Times the processor was taken from it.
    pub involuntary_switches: u64,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// What it used; `None` where another part of the calling process reaped it first and only the kernel's exit record was left.
    pub usage: Option<Usage>,
}

impl From<sys::Waited> for Exit {
    fn from(waited: sys::Waited) -> Exit {
        let status = match waited.code {
            libc::CLD_EXITED => ExitStatus::Code(waited.status),
            code => ExitStatus::Signal {
                signal: waited.status,
                core: code == libc::CLD_DUMPED,
            },
        };
        let time = |time: libc::timeval| {
            let micros = (time.tv_sec as u64)
                .saturating_mul(1_000_000)
                .saturating_add(time.tv_usec as u64);
            Duration::from_micros(micros)
        };
        let usage = waited.usage;
        let usage = Usage {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            max_resident: (usage.ru_maxrss as u64).saturating_mul(1024),
            minor_faults: usage.ru_minflt as u64,
            major_faults: usage.ru_majflt as u64,
            voluntary_switches: usage.ru_nvcsw as u64,
            involuntary_switches: usage.ru_nivcsw as u64,
        };
        Exit {
            status,
            usage: Some(usage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses() {
        assert_eq!(ExitStatus::from_wait_status(0), ExitStatus::Code(0));
        assert_eq!(ExitStatus::from_wait_status(0x2a00), ExitStatus::Code(42));
        assert_eq!(
            ExitStatus::from_wait_status(9),
            ExitStatus::Signal {
                signal: 9,
                core: false
            }
        );
        assert_eq!(
            ExitStatus::from_wait_status(0x8b),
            ExitStatus::Signal {
                signal: 11,
                core: true
            }
        );
    }

    #[test]
    fn words() {
        assert_eq!(ExitStatus::Code(3).to_string(), "exited with code 3");
        let killed = ExitStatus::Signal {
            signal: 9,
            core: false,
        };
        assert_eq!(killed.to_string(), "killed by SIGKILL");
        let odd = ExitStatus::Signal {
            signal: 40,
            core: true,
        };
        assert_eq!(odd.to_string(), "killed by signal 40, core dumped");
    }
}
