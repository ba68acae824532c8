//! One cgroup, in all the hierarchies that have it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;

use crate::controller::Controller;
use crate::dir::Dir;
use crate::error::Error;
use crate::limits::Limits;
use crate::path::CgroupPath;
use crate::{apply, events, freeze, kill, remove, stats};

/// A cgroup: one directory in each hierarchy it was made in.
///
/// Holds no descriptor of its own and owns nothing: dropping it leaves the cgroup in place, so call
/// [`Cgroup::remove`] when it has served.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: CgroupPath,
    dirs: Vec<Dir>,
}

/// What lets a process enter a cgroup, opened ahead so that it can be used where no path can be resolved.
#[derive(Debug)]
pub struct Join {
    /// The v2 directory, for `clone3(CLONE_INTO_CGROUP)`.
    pub v2: Option<OwnedFd>,
    /// The v1 `tasks` files: a process that writes `0` to each of them is inside. A single-threaded one
    /// should: moving a task by `tasks` is far cheaper than a process by `cgroup.procs`.
    pub v1_tasks: Vec<OwnedFd>,
}

impl Cgroup {
    pub(crate) fn from_dirs(path: CgroupPath, dirs: Vec<Dir>) -> Cgroup {
        Cgroup { path, dirs }
    }

    /// Its place below every hierarchy's root.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Its directories, one for each hierarchy.
    pub fn directories(&self) -> Vec<std::path::PathBuf> {
        self.dirs.iter().map(Dir::path).collect()
    }

    pub(crate) fn dirs(&self) -> &[Dir] {
        &self.dirs
    }

    pub(crate) fn v1(&self, controller: Controller) -> Option<&Dir> {
        self.dirs
            .iter()
            .find(|dir| !dir.is_v2() && dir.has(controller))
    }

    pub(crate) fn v2(&self) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.is_v2())
    }

    /// Opens what a new process needs to start inside.
    ///
    /// # Errors
    ///
    /// [`Error::NotDelegated`] if this user may not move tasks here, [`Error::Io`] if the cgroup has gone.
    pub fn join(&self) -> Result<Join, Error> {
        let mut join = Join {
            v2: None,
            v1_tasks: Vec::with_capacity(self.dirs.len()),
        };
        for dir in &self.dirs {
            if dir.is_v2() {
                join.v2 = Some(dir.open()?);
            } else {
                let tasks = dir
                    .open_file("tasks", OFlags::WRONLY)
                    .map_err(|source| Error::change("opening", dir.path().join("tasks"), source))?;
                join.v1_tasks.push(tasks);
            }
        }
        Ok(join)
    }

    /// Moves a running process, with all its threads, into the cgroup.
    ///
    /// Slow compared with [`Cgroup::join`] (the kernel waits for a grace period), and what the process
    /// has already used stays accounted where it was.
    ///
    /// # Errors
    ///
    /// [`Error::Attach`].
    pub fn attach(&self, pid: u32) -> Result<(), Error> {
        let text = pid.to_string();
        for dir in &self.dirs {
            // To the kernel, 0 is the writer itself.
            let written = match pid {
                0 => Err(std::io::Error::from_raw_os_error(libc::ESRCH)),
                _ => dir.write_raw("cgroup.procs", &text),
            };
            written.map_err(|source| Error::Attach {
                pid,
                path: dir.path(),
                source,
            })?;
        }
        Ok(())
    }

    /// Sets limits on the living cgroup; what `limits` does not mention stays.
    ///
    /// Not all or nothing: the settings before a refused one stay made.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::Unsupported`] and [`Error::NoController`] before anything is written;
    /// [`Error::Set`] and [`Error::DeviceProgram`] for what the kernel refuses.
    pub fn set(&self, limits: &Limits) -> Result<(), Error> {
        apply::apply(&self.dirs, limits)
    }

    /// The processes in it and in the cgroups below it, sorted; only those this process's pid namespace
    /// has a number for.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Malformed`].
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        let mut pids = BTreeSet::new();
        for dir in &self.dirs {
            for inner in dir.tree()? {
                // A threaded v2 cgroup has none of its own to list, and one just removed has none at all.
                let Some(text) = inner.try_read("cgroup.procs")? else {
                    continue;
                };
                for line in text.lines() {
                    let pid: u32 = line
                        .parse()
                        .map_err(|_| inner.malformed("cgroup.procs", line))?;
                    pids.insert(pid);
                }
            }
        }
        pids.remove(&0);
        Ok(pids.into_iter().collect())
    }

    /// What it uses and has used.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Malformed`].
    pub fn stats(&self) -> Result<stats::Stats, Error> {
        stats::read(self)
    }

    /// How many processes the kernel has killed in it because its memory was out. Zero where there is no
    /// memory controller.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Malformed`].
    pub fn oom_kills(&self) -> Result<u64, Error> {
        stats::oom_kills(self)
    }

    /// Kills every process in it and below it with SIGKILL and waits until they are gone, for up to ten
    /// seconds. Frozen processes are killed too; the cgroup is thawed afterwards.
    ///
    /// By `cgroup.kill` (Linux 5.14), which no fork escapes; without it, by freezing and signalling until
    /// none is left.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if some do not die (uninterruptible I/O), [`Error::SelfInside`].
    pub fn kill(&self) -> Result<(), Error> {
        kill::kill(self)
    }

    /// Stops every process in it and below it and waits until all have stopped, for up to ten seconds;
    /// on failure it is thawed again.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::SelfInside`], [`Error::Unsupported`] without a freezer.
    pub fn freeze(&self) -> Result<(), Error> {
        freeze::freeze(self, freeze::BOUND)
    }

    /// As [`Cgroup::freeze`], with a bound of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::freeze`].
    pub fn freeze_within(&self, bound: std::time::Duration) -> Result<(), Error> {
        freeze::freeze(self, bound)
    }

    /// Lets its processes run again.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without a freezer.
    pub fn thaw(&self) -> Result<(), Error> {
        freeze::thaw(self)
    }

    /// Whether all of it is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn is_frozen(&self) -> Result<bool, Error> {
        freeze::is_frozen(self)
    }

    /// What to wait on for changes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn events(&self) -> Result<events::Events, Error> {
        events::open(self)
    }

    /// A descriptor that tells each time tasks here have waited for `resource` for at least `stall` within
    /// `window`: some of them, or with `full` all at once. The window is 500 ms to 10 s; without
    /// CAP_SYS_RESOURCE a multiple of 2 s (psi.rst in the kernel's documentation). v2 only.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without pressure information, [`Error::Set`] for times the kernel refuses.
    pub fn pressure_event(
        &self,
        resource: events::Resource,
        full: bool,
        stall: std::time::Duration,
        window: std::time::Duration,
    ) -> Result<events::Event, Error> {
        events::pressure(self, resource, full, stall, window)
    }

    /// Removes it and the cgroups below it. Processes that are dying or not yet reaped are waited for, up
    /// to two seconds; living ones are not killed. That it has gone already is no error.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if something in it lives on; call [`Cgroup::kill`] first.
    pub fn remove(self) -> Result<(), Error> {
        remove::remove(&self)
    }
}
