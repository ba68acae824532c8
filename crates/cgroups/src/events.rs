//! Changes of a cgroup as descriptors to poll.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;

use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::dir::{Dir, read_to_string};
use crate::error::Error;

/// What a cgroup can tell about; `None` where this host has no such thing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Events {
    /// Memory is out, or a limit was met: v2's `memory.events`, v1's out-of-memory notification, which comes
    /// before the kill. What happened is in [`Cgroup::oom_kills`] and the statistics.
    pub memory: Option<Event>,
    /// The cgroup became empty or populated, frozen or thawed: `cgroup.events` (v2 only).
    pub state: Option<Event>,
    /// A fork was refused: `pids.events` (v2 only: v1 has the file, but since Linux 6.11 tells nobody).
    pub pids: Option<Event>,
}

/// Which resource a pressure trigger watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Waiting for a CPU.
    Cpu,
    /// Waiting for memory to be reclaimed or read back.
    Memory,
    /// Waiting for block devices.
    Io,
}

impl Resource {
    pub(crate) fn file(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu.pressure",
            Resource::Memory => "memory.pressure",
            Resource::Io => "io.pressure",
        }
    }
}

/// A descriptor that tells of a change. Register it with any reactor for [`Event::interest`], and call
/// [`Event::read`] each time before waiting again.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
    path: PathBuf,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A file of the kernel's that is polled and read again from its beginning.
    Polled,
    /// A counter the kernel adds to.
    Counter,
    /// A trigger: there is nothing to read.
    Trigger,
}

/// What to poll a descriptor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// `POLLPRI` (in tokio: `Interest::PRIORITY`).
    Priority,
    /// `POLLIN`.
    Readable,
}

impl Event {
    pub(crate) fn polled(dir: &Dir, file: &str) -> Result<Event, Error> {
        let fd = dir
            .open_file(file, OFlags::RDONLY)
            .map_err(|source| dir.failed("opening", file, source))?;
        Ok(Event {
            fd,
            path: dir.path().join(file),
            way: Way::Polled,
        })
    }

    /// What to poll it for.
    pub fn interest(&self) -> Interest {
        match self.way {
            Way::Polled | Way::Trigger => Interest::Priority,
            Way::Counter => Interest::Readable,
        }
    }

    /// Waits for the next change; `false` if `timeout` passed first. `None` waits for ever.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        let flags = match self.interest() {
            Interest::Priority => PollFlags::PRI,
            Interest::Readable => PollFlags::IN,
        };
        let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(std::time::Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.fd, flags)];
            match poll(&mut fds, left.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.failed("waiting on", error.into())),
            }
        }
    }

    /// Takes note of the change, so that the next wait is for the next one, and returns the file's text;
    /// empty for v1 notifications and triggers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; with `ENODEV` as its cause once the cgroup has been removed.
    pub fn read(&mut self) -> Result<String, Error> {
        match self.way {
            Way::Polled => {
                rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))
                    .map_err(|error| self.failed("reading", error.into()))?;
                read_to_string(&self.fd).map_err(|source| self.failed("reading", source))
            }
            Way::Counter => {
                let mut count = [0u8; 8];
                match rustix::io::read(&self.fd, &mut count) {
                    Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(String::new()),
                    Err(error) => Err(self.failed("reading", error.into())),
                }
            }
            Way::Trigger => Ok(String::new()),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(crate) fn open(cgroup: &Cgroup) -> Result<Events, Error> {
    let memory = match (cgroup.v1(Controller::Memory), cgroup.v2()) {
        (Some(dir), _) => Some(v1_oom(dir)?),
        (None, Some(dir)) => optional(dir, "memory.events")?,
        (None, None) => None,
    };
    let state = match cgroup.v2() {
        Some(dir) => optional(dir, "cgroup.events")?,
        None => None,
    };
    let pids = match cgroup.v2() {
        Some(dir) => optional(dir, "pids.events")?,
        None => None,
    };
    Ok(Events {
        memory,
        state,
        pids,
    })
}

fn optional(dir: &Dir, file: &str) -> Result<Option<Event>, Error> {
    if !dir.has_file(file) {
        return Ok(None);
    }
    let mut event = Event::polled(dir, file)?;
    // Only what happens from now on is news.
    event.read()?;
    Ok(Some(event))
}

/// Source: Documentation/admin-guide/cgroup-v1/memory.rst, "OOM control".
fn v1_oom(dir: &Dir) -> Result<Event, Error> {
    const FILE: &str = "memory.oom_control";
    let watched = dir
        .open_file(FILE, OFlags::RDONLY)
        .map_err(|source| dir.failed("opening", FILE, source))?;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| dir.failed("watching", FILE, error.into()))?;
    let request = format!("{} {}", fd.as_raw_fd(), watched.as_raw_fd());
    dir.write_raw("cgroup.event_control", &request)
        .map_err(|source| dir.failed("watching", FILE, source))?;
    Ok(Event {
        fd,
        path: dir.path().join(FILE),
        way: Way::Counter,
    })
}

/// Source: Documentation/accounting/psi.rst, "Monitoring for pressure thresholds".
pub(crate) fn pressure(
    cgroup: &Cgroup,
    resource: Resource,
    full: bool,
    stall: Duration,
    window: Duration,
) -> Result<Event, Error> {
    let file = resource.file();
    let Some(dir) = cgroup.v2().filter(|dir| dir.has_file(file)) else {
        return Err(Error::Unsupported {
            setting: file.to_owned(),
            reason: "pressure is cgroup v2's, and needs a kernel with PSI switched on".to_owned(),
        });
    };
    let share = if full { "full" } else { "some" };
    let value = format!("{share} {} {}", stall.as_micros(), window.as_micros());
    let refused = |source| Error::Set {
        path: dir.path(),
        file: file.to_owned(),
        value: value.clone(),
        source,
    };
    let fd = dir.open_file(file, OFlags::RDWR).map_err(refused)?;
    // With the terminating zero, as the kernel's own example writes it: it overwrites the last byte.
    let mut bytes = value.clone().into_bytes();
    bytes.push(0);
    rustix::io::write(&fd, &bytes).map_err(|error| refused(error.into()))?;
    Ok(Event {
        fd,
        path: dir.path().join(file),
        way: Way::Trigger,
    })
}
