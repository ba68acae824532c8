//! Removing a cgroup and those below it.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::error::Error;

/// How long the dying and unreaped are waited for.
const BOUND: Duration = Duration::from_secs(2);

pub(crate) fn remove(cgroup: &Cgroup) -> Result<(), Error> {
    let deadline = Instant::now() + BOUND;
    let mut result = Ok(());
    for dir in cgroup.dirs() {
        // A hierarchy that refuses must not keep the others.
        result = result.and(remove_tree(cgroup, dir, deadline));
    }
    result
}

fn remove_tree(cgroup: &Cgroup, top: &Dir, deadline: Instant) -> Result<(), Error> {
    let mut pause = Duration::from_micros(100);
    loop {
        // Nearly always there is nothing below, so this is tried before looking.
        let Some(busy) = remove_one(top)? else {
            return Ok(());
        };
        for dir in top.tree()? {
            remove_one(&dir)?;
        }
        if !top.exists()? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::InUse {
                path: top.path(),
                processes: cgroup.processes()?.len(),
                source: busy,
            });
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// `None` if it is gone, the kernel's answer if it is in use.
fn remove_one(dir: &Dir) -> Result<Option<io::Error>, Error> {
    match dir.rmdir() {
        Ok(()) => Ok(None),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(None),
            Some(libc::EBUSY | libc::ENOTEMPTY) => Ok(Some(error)),
            _ => Err(Error::change("removing", dir.path(), error)),
        },
    }
}
