//! The end: everything closed, signals as a fresh program finds them, `execve`.

use crate::interpreter::Init;
use crate::paths::NO_MAGICLINKS;
use crate::protocol::status;
use crate::sys::{self, Errno, O_PATH, Result, Vector};
use crate::wire::{FD_LIMIT, Step, Texts};

/// What `execve` needs, made while every system call is still permitted.
pub struct Ready {
    argv: Vector,
    env: Vector,
}

impl Init {
    pub fn make_ready(&mut self) -> Result<()> {
        if self.ready.is_some() {
            return Ok(());
        }
        let plan = self.plan;
        let exec = (0u32..)
            .zip(plan.steps())
            .find_map(|(index, step)| match step {
                Some(Step::Exec {
                    candidates,
                    argv,
                    env,
                }) => Some((index, candidates, argv, env)),
                _ => None,
            });
        let (index, candidates, argv, env) = exec.ok_or(Errno::PROTO)?;
        for candidate in candidates {
            // A link of procfs would lead to this very program, or out of the root.
            if matches!(
                sys::openat2(sys::AT_FDCWD, candidate, O_PATH, NO_MAGICLINKS),
                Err(Errno::LOOP)
            ) {
                self.index = index;
                return Err(Errno::LOOP);
            }
        }
        let ready = Ready {
            argv: Vector::new(argv)?,
            env: Vector::new(env)?,
        };
        self.close_from(3)?;
        sys::umask(self.umask);
        sys::signals_to_default();
        if !sys::is_open(&self.channel) {
            self.abandon();
        }
        sys::unblock_signals()?;
        self.ready = Some(ready);
        Ok(())
    }

    pub fn execute(&mut self, candidates: Texts<'static>) -> Result<()> {
        self.make_ready()?;
        let ready = self.ready.as_ref().ok_or(Errno::PROTO)?;
        self.status.set(status::STATE, status::EXECUTING);
        let mut denied = None;
        let mut last = Errno::NOENT;
        for candidate in candidates {
            last = sys::execve(candidate, &ready.argv, &ready.env);
            match last {
                Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::STALE | Errno::TIMEDOUT => {}
                Errno::ACCES => denied = Some(last),
                other => return Err(other),
            }
        }
        // As shells have it: found but not permitted weighs more than not found.
        Err(denied.unwrap_or(last))
    }

    /// Marks every number from `first` on to be closed by `execve`, but those handed over.
    pub fn close_from(&mut self, first: u32) -> Result<()> {
        let mut from = first;
        for number in first..FD_LIMIT {
            let word = self
                .handed_over
                .get(number as usize / 64)
                .copied()
                .unwrap_or(0);
            if word >> (number % 64) & 1 == 1 {
                if from < number {
                    sys::close_range(from, number - 1, true)?;
                }
                from = number + 1;
            }
        }
        sys::close_range(from, u32::MAX, true)
    }
}
