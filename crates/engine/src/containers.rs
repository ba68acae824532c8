//! Containers that are remembered: finding, listing, removing; and burying those whose keeper was killed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::engine::Engine;
use crate::error::Error;
use crate::files::{self, Alive};
use crate::id;
use crate::record::{Container, State, now};

/// The exit code of a container whose keeper was killed: nobody saw its own.
const KILLED: i32 = 137;

impl Engine {
    /// All containers, newest first. Those whose keeper was killed are buried first.
    ///
    /// # Errors
    /// When a directory cannot be read; [`Error::Record`] for a damaged record.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        self.bury()?;
        let mut all = Vec::new();
        for id in files::names(&self.dirs.containers())? {
            all.extend(Container::read(&self.dirs.container(&id))?);
        }
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(all)
    }

    /// Finds a container by name, id or the beginning of an id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn find_container(&self, text: &str) -> Result<Container, Error> {
        self.bury()?;
        let none = || Error::NoSuchContainer {
            container: text.to_owned(),
        };
        let name = text.strip_prefix('/').unwrap_or(text);
        if crate::check::container_name(name).is_err() {
            return Err(none());
        }
        let mut ids: Vec<String> = files::names(&self.dirs.containers())?
            .into_iter()
            .filter(|id| id.starts_with(name))
            .collect();
        if !ids.iter().any(|id| id == name)
            && let Some(id) = self.owner_of(name)
        {
            ids = vec![id];
        }
        match ids.as_slice() {
            [id] => Container::read(&self.dirs.container(id))?.ok_or_else(none),
            [] => Err(none()),
            several => Err(Error::Ambiguous {
                prefix: text.to_owned(),
                count: several.len(),
            }),
        }
    }

    /// Removes a container with its changes; its anonymous volumes too when `volumes` says so. Gives its id.
    ///
    /// # Errors
    /// [`Error::InUse`] for one that runs, unless `force` allows to kill it first.
    pub fn remove_container(
        &self,
        text: &str,
        force: bool,
        volumes: bool,
    ) -> Result<String, Error> {
        let container = self.find_container(text)?;
        if container.state == State::Running {
            if !force {
                return Err(Error::InUse {
                    what: format!("container {text}"),
                    reason: "it is running; stop it first, or force it".to_owned(),
                });
            }
            self.kill(&container)?;
        }
        self.forget(&container, volumes)?;
        Ok(container.id)
    }

    /// Kills a running container and waits for its keeper to have noticed.
    fn kill(&self, container: &Container) -> Result<(), Error> {
        kill_process(container).map_err(|errno| Error::While {
            operation: format!("killing container {}", container.name),
            source: Box::new(Error::errno(
                "signalling process",
                container.pid.unwrap_or(0).to_string(),
            )(errno)),
        })?;
        let path = self.dirs.running().join(&container.id);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Alive::is(&path) {
            if Instant::now() > deadline {
                return Err(Error::InUse {
                    what: format!("container {}", container.name),
                    reason: "it was killed and has not ended within 10 s".to_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.bury()
    }

    /// Removes everything of a container that does not run; the record goes last, so that a failure can be repeated.
    pub(crate) fn forget(&self, container: &Container, volumes: bool) -> Result<(), Error> {
        self.remove_snapshot(&container.id)?;
        if volumes || container.remove {
            for mount in container.mounts.iter().filter(|mount| mount.anonymous) {
                if let Some(name) = &mount.name {
                    files::remove_tree(&self.dirs.volumes().join(name))?;
                }
            }
        }
        if self.owner_of(&container.name).as_deref() == Some(&container.id) {
            files::remove_tree(&self.dirs.names().join(&container.name))?;
        }
        files::remove_tree(&self.dirs.container(&container.id))
    }

    /// Removes everything of a container whose keeper gives up. What cannot be removed now is found by the next call,
    /// through the lock that is free then.
    pub(crate) fn abandon(&self, container: &Container, alive: Alive) {
        if self.forget(container, true).is_ok() {
            let _ = alive.finish();
        }
    }

    fn remove_snapshot(&self, id: &str) -> Result<(), Error> {
        match self.snapshots().remove(id) {
            Ok(()) | Err(orlop_unionfs::Error::NoSnapshot { .. }) => Ok(()),
            Err(source) => Err(Error::snapshot("removing the container's file system")(
                source,
            )),
        }
    }

    /// Takes a name for a container, a made-up one if none is wanted.
    pub(crate) fn take_name(&self, wanted: Option<&str>, id: &str) -> Result<String, Error> {
        for attempt in 0.. {
            let name = wanted.map_or_else(|| id::made_up_name(id, attempt), str::to_owned);
            let path = self.dirs.names().join(&name);
            match symlink(id, &path) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("creating", &path)(error)),
            }
            // A name that leads nowhere was left by somebody killed between two steps.
            if let Some(owner) = self.owner_of(&name)
                && !self.dirs.container(&owner).exists()
                && !Alive::is(&self.dirs.running().join(&owner))
            {
                files::remove_tree(&path)?;
                continue;
            }
            if let Some(name) = wanted {
                let id = self.owner_of(name).unwrap_or_default();
                return Err(Error::NameTaken {
                    name: name.to_owned(),
                    id: id.get(..12).unwrap_or(&id).to_owned(),
                });
            }
        }
        Err(Error::invalid(
            "container name",
            "",
            "all made-up names are taken",
        ))
    }

    fn owner_of(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.dirs.names().join(name)).ok()?;
        target.to_str().map(str::to_owned)
    }

    /// Buries the containers whose keeper was killed: what still runs is killed, and what was to be removed is removed.
    /// The others stay as ended.
    pub(crate) fn bury(&self) -> Result<(), Error> {
        for id in files::names(&self.dirs.running())? {
            let path = self.dirs.running().join(&id);
            if let Some(heir) = Alive::inherit(&path)? {
                self.bury_one(&id, heir)?;
            }
        }
        Ok(())
    }

    fn bury_one(&self, id: &str, heir: Alive) -> Result<(), Error> {
        let dir = self.dirs.container(id);
        let Some(mut container) = Container::read(&dir)? else {
            // It was killed before it had written anything down.
            self.remove_snapshot(id)?;
            files::remove_tree(&dir)?;
            return heir.finish();
        };
        let _ = kill_process(&container);
        self.collect_runtime()?;
        if container.remove || container.state == State::Created {
            self.forget(&container, true)?;
        } else if container.state == State::Running {
            container.state = State::Exited;
            container.pid = None;
            container.exit_code = Some(KILLED);
            container.finished = Some(now());
            container.error = Some("orlop was killed while it ran".to_owned());
            container.write(&dir)?;
        }
        heir.finish()
    }
}

/// Kills a container's process if it is still the one that is remembered.
fn kill_process(container: &Container) -> rustix::io::Result<()> {
    let (Some(pid), Some(birth)) = (container.pid, container.pid_birth) else {
        return Ok(());
    };
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(());
    };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // Read after the pidfd is open: a number that was given anew meanwhile has another birth.
    if birth_of(pid.as_raw_nonzero().get()) != Some(birth) {
        return Ok(());
    }
    match pidfd_send_signal(&fd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// When a process began, in clock ticks since boot (proc(5), field 22 of `stat`).
pub(crate) fn birth_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    parse_birth(&stat)
}

/// The command's name may hold spaces and brackets, so the fields are counted from the last bracket.
fn parse_birth(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_is_read_past_any_name() {
        let fields: Vec<String> = (3..=52)
            .map(|n| {
                if n == 3 {
                    "S".to_owned()
                } else {
                    n.to_string()
                }
            })
            .collect();
        for name in ["cat", "a b", ") 1 2 (", ""] {
            assert_eq!(
                parse_birth(&format!("1 ({name}) {}", fields.join(" "))),
                Some(22)
            );
        }
        for broken in ["", "1 (x", "1 (x) S 1"] {
            assert_eq!(parse_birth(broken), None);
        }
        assert!(birth_of(std::process::id() as i32).is_some());
    }
}
