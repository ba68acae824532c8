//! Killing all of a cgroup's processes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::freeze;

const BOUND: Duration = Duration::from_secs(10);
/// How long those killed at once get to be gone before the fallback looks after who is left.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long the fallback waits for a freeze before it signals anyway.
const FREEZE_BOUND: Duration = Duration::from_millis(100);

pub(crate) fn kill(cgroup: &Cgroup) -> Result<(), Error> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        let pids = cgroup.processes()?;
        if pids.is_empty() {
            break;
        }
        if pids.binary_search(&std::process::id()).is_ok() {
            return Err(Error::SelfInside {
                action: "kill",
                path: cgroup.path().clone(),
            });
        }
        if started.elapsed() > BOUND {
            return Err(Error::Timeout {
                path: cgroup.path().clone(),
                state: "empty",
                milliseconds: BOUND.as_millis(),
                processes: pids.len(),
            });
        }
        let at_once = cgroup
            .v2()
            .is_some_and(|dir| dir.write_raw("cgroup.kill", "1").is_ok());
        // `cgroup.kill` deals with all that is here by v2; who stays after it is in v1 only.
        if !at_once || started.elapsed() > PATIENCE {
            signal_each(cgroup)?;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    // A frozen cgroup stays frozen for whoever enters next; without a freezer there is nothing to undo.
    let _ = freeze::thaw(cgroup);
    Ok(())
}

/// Stops what can be stopped, so that nothing forks meanwhile, signals each, and lets them die.
fn signal_each(cgroup: &Cgroup) -> Result<(), Error> {
    let _ = freeze::freeze(cgroup, FREEZE_BOUND);
    let held: Vec<_> = cgroup
        .processes()?
        .into_iter()
        .filter_map(|pid| {
            let handle = Pid::from_raw(i32::try_from(pid).ok()?)?;
            Some((pid, pidfd_open(handle, PidfdFlags::empty()).ok()?))
        })
        .collect();
    // Between list and open a number may have passed to a stranger: only who is listed again is meant.
    let still = cgroup.processes()?;
    for (pid, fd) in &held {
        if still.binary_search(pid).is_ok() {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
    }
    let _ = freeze::thaw(cgroup);
    Ok(())
}
