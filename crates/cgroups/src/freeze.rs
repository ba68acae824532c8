//! Stopping all of a cgroup's processes and letting them go on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::dir::Dir;
use crate::error::Error;
use crate::events::Event;
use crate::stats::parse::flat_value;

pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// v2's freezer before v1's: its processes stay killable, and are never seen as stuck in the kernel.
enum Freezer<'a> {
    V2(&'a Dir),
    V1(&'a Dir),
}

fn freezer(cgroup: &Cgroup) -> Result<Freezer<'_>, Error> {
    if let Some(dir) = cgroup.v2().filter(|dir| dir.has_file("cgroup.freeze")) {
        return Ok(Freezer::V2(dir));
    }
    cgroup
        .v1(Controller::Freezer)
        .map(Freezer::V1)
        .ok_or_else(|| Error::Unsupported {
            setting: "freezing".to_owned(),
            reason: "neither cgroup v2 nor the v1 freezer controller is here".to_owned(),
        })
}

pub(crate) fn freeze(cgroup: &Cgroup, bound: Duration) -> Result<(), Error> {
    let freezer = freezer(cgroup)?;
    let own = std::process::id();
    if cgroup.processes()?.binary_search(&own).is_ok() {
        return Err(Error::SelfInside {
            action: "freeze",
            path: cgroup.path().clone(),
        });
    }
    let frozen = match freezer {
        Freezer::V2(dir) => freeze_v2(dir, bound)?,
        Freezer::V1(dir) => freeze_v1(dir, bound)?,
    };
    if frozen {
        return Ok(());
    }
    thaw(cgroup)?;
    Err(Error::Timeout {
        path: cgroup.path().clone(),
        state: "frozen",
        milliseconds: bound.as_millis(),
        processes: cgroup.processes()?.len(),
    })
}

fn freeze_v2(dir: &Dir, bound: Duration) -> Result<bool, Error> {
    let deadline = Instant::now() + bound;
    let mut event = Event::polled(dir, "cgroup.events")?;
    write(dir, "cgroup.freeze", "1")?;
    loop {
        if flat_value(&event.read()?, "frozen") == Some(1) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !event.wait(Some(left))? {
            return Ok(false);
        }
    }
}

fn freeze_v1(dir: &Dir, bound: Duration) -> Result<bool, Error> {
    let deadline = Instant::now() + bound;
    let mut pause = Duration::from_micros(100);
    loop {
        // Once more in each round: a fork may have slipped through while it was FREEZING.
        write(dir, "freezer.state", "FROZEN")?;
        if dir.read("freezer.state")?.trim() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

pub(crate) fn thaw(cgroup: &Cgroup) -> Result<(), Error> {
    match freezer(cgroup)? {
        Freezer::V2(dir) => write(dir, "cgroup.freeze", "0"),
        Freezer::V1(dir) => write(dir, "freezer.state", "THAWED"),
    }
}

pub(crate) fn is_frozen(cgroup: &Cgroup) -> Result<bool, Error> {
    Ok(match freezer(cgroup)? {
        Freezer::V2(dir) => flat_value(&dir.read("cgroup.events")?, "frozen") == Some(1),
        Freezer::V1(dir) => dir.read("freezer.state")?.trim() == "FROZEN",
    })
}

fn write(dir: &Dir, file: &str, value: &str) -> Result<(), Error> {
    dir.write_raw(file, value).map_err(|source| Error::Set {
        path: dir.path(),
        file: file.to_owned(),
        value: value.to_owned(),
        source,
    })
}
