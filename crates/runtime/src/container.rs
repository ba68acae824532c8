//! A running container.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use orlop_cgroups::{Cgroup, Stats};
use orlop_namespaces::{Process, Started};

use crate::compile::Warning;
use crate::exit::{Exit, Output};
use crate::id::ContainerId;
use crate::runtime::Runtime;
use crate::stdio::Opened;
use crate::terminal::Terminal;
use crate::{Error, read};

/// A started container, a child of the calling process.
///
/// Its pidfd ([`AsFd`]) becomes readable when its first process ends, so it fits any reactor. It holds one file descriptor, one
/// more for a terminal, and one for each piped stream. Dropping it before it was waited for kills it and removes what it leaves;
/// [`Container::detach`] lets it run on.
#[derive(Debug)]
#[must_use = "dropping it kills the container"]
pub struct Container {
    runtime: Runtime,
    id: ContainerId,
    process: Process,
    /// Until the end has been taken.
    running: Mutex<Running>,
    /// Caller's end of a piped standard input. Drop it to let the program read the end of file.
    pub stdin: Option<PipeWriter>,
    /// Caller's end of a piped standard output.
    pub stdout: Option<PipeReader>,
    /// Caller's end of a piped standard error.
    pub stderr: Option<PipeReader>,
    /// The terminal, where one was asked for.
    pub terminal: Option<Terminal>,
    /// The listener of a seccomp profile with `SCMP_ACT_NOTIFY`.
    pub seccomp_listener: Option<OwnedFd>,
    warnings: Vec<Warning>,
    /// It has a pid namespace of its own.
    own_pids: bool,
    detached: bool,
}

#[derive(Debug)]
struct Running {
    cgroup: Option<Cgroup>,
    exit: Option<Exit>,
}

impl Container {
    pub(crate) fn new(
        runtime: Runtime,
        id: ContainerId,
        started: Started,
        cgroup: Option<Cgroup>,
        opened: Opened,
        warnings: Vec<Warning>,
        own_pids: bool,
    ) -> Container {
        Container {
            runtime,
            id,
            process: started.process,
            running: Mutex::new(Running { cgroup, exit: None }),
            stdin: opened.stdin,
            stdout: opened.stdout,
            stderr: opened.stderr,
            terminal: started.terminal.map(Terminal::new),
            seccomp_listener: started.seccomp_listener,
            warnings,
            own_pids,
            detached: false,
        }
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its first process, as the caller's pid namespace numbers it. Act through [`Container::kill`]: a number may be reused.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What was granted less fully than asked for.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Send a signal to the first process.
    ///
    /// # Errors
    /// `ESRCH` once it has been waited for; `EINVAL` for what is no signal.
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        self.process
            .signal(signal)
            .map_err(|source| Error::io("signalling container", self.id.as_str(), source))
    }

    /// What the container uses; `None` without a cgroup, and after the end, when [`Exit::stats`] has it.
    ///
    /// # Errors
    /// The cgroup's files cannot be read.
    pub fn stats(&self) -> Result<Option<Stats>, Error> {
        self.cgroup()
            .map(|cgroup| {
                cgroup.stats().map_err(|source| Error::Cgroup {
                    doing: "reading",
                    source,
                })
            })
            .transpose()
    }

    /// Its cgroup, to change limits, freeze, or watch events; `None` without one, and after the end.
    pub fn cgroup(&self) -> Option<Cgroup> {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cgroup
            .clone()
    }

    /// Wait for the end, and remove the cgroup and the record. Any number of threads may wait, and again afterwards: all learn
    /// the same.
    ///
    /// # Errors
    /// Another part of the program reaped the process and the kernel keeps no record of its end (before Linux 6.15).
    pub fn wait(&self) -> Result<Exit, Error> {
        let ended = self.process.wait();
        self.finish(ended.map(Some))
            .and_then(|exit| exit.ok_or_else(|| Error::invalid("the container has not ended")))
    }

    /// The end if it has come, without waiting for it.
    ///
    /// # Errors
    /// As [`Container::wait`].
    pub fn try_wait(&self) -> Result<Option<Exit>, Error> {
        self.finish(self.process.try_wait())
    }

    fn finish(
        &self,
        ended: Result<Option<orlop_namespaces::Exit>, orlop_namespaces::WaitError>,
    ) -> Result<Option<Exit>, Error> {
        if matches!(ended, Ok(None)) {
            return Ok(None);
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exit) = &running.exit {
            return Ok(Some(exit.clone()));
        }
        let cgroup = running.cgroup.take();
        // Before the counters go with the cgroup.
        let stats = cgroup.as_ref().and_then(|cgroup| cgroup.stats().ok());
        let kills = match stats.as_ref().and_then(|stats| stats.memory.as_ref()) {
            Some(memory) => memory.oom_kills,
            None => cgroup
                .as_ref()
                .and_then(|cgroup| cgroup.oom_kills().ok())
                .unwrap_or(0),
        };
        let oom_killed = kills > 0;
        // With the first process of a pid namespace all others have ended.
        let remove = if self.own_pids {
            remove_empty_cgroup
        } else {
            remove_cgroup
        };
        match cgroup.map(remove) {
            Some(Err(_)) => self.runtime.shared.owner.abandon(&self.id),
            Some(Ok(())) | None => self.runtime.shared.owner.forget(&self.id),
        }
        let exit = ended?.map(|end| Exit {
            status: end.status,
            oom_killed,
            usage: end.usage,
            stats,
        });
        running.exit.clone_from(&exit);
        Ok(exit)
    }

    /// Close standard input, read everything the container writes, and wait for its end. With a terminal, what it shows is the
    /// standard output.
    ///
    /// # Errors
    /// As [`Container::wait`]; or a stream cannot be read.
    pub fn wait_with_output(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        let stdout = self
            .terminal
            .take()
            .map(OwnedFd::from)
            .or_else(|| self.stdout.take().map(OwnedFd::from));
        let stderr = self.stderr.take().map(OwnedFd::from);
        let (stdout, stderr) = read::both(stdout, stderr)
            .map_err(|source| Error::io("reading the output of", self.id.as_str(), source))?;
        Ok(Output {
            exit: self.wait()?,
            stdout,
            stderr,
        })
    }

    /// Let the container run on without this value. It stays a child of this process, which has to wait for it; once the last
    /// [`Runtime`] of this state directory here is dropped, or the process ends, [`Runtime::gc`] ends it and removes what it leaves.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl AsFd for Container {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let ended = self
            .running
            .get_mut()
            .is_ok_and(|running| running.exit.is_some());
        if self.detached || ended {
            return;
        }
        // It may have ended by itself meanwhile; waiting then takes its status.
        let _ = self.process.signal(libc::SIGKILL);
        if let Some(cgroup) = self.cgroup() {
            // A frozen process does not die on v1.
            let _ = cgroup.thaw();
        }
        let _ = self.wait();
    }
}

/// Kill what is left in a cgroup, and remove it.
pub(crate) fn remove_cgroup(cgroup: Cgroup) -> Result<(), orlop_cgroups::Error> {
    if cgroup
        .processes()
        .is_ok_and(|processes| !processes.is_empty())
    {
        cgroup.kill()?;
    }
    cgroup.remove()
}

/// Remove a cgroup in which nobody should be; if somebody is, as [`remove_cgroup`].
fn remove_empty_cgroup(cgroup: Cgroup) -> Result<(), orlop_cgroups::Error> {
    match cgroup.clone().remove() {
        Err(error) if error.kind() == orlop_cgroups::ErrorKind::InUse => remove_cgroup(cgroup),
        other => other,
    }
}
