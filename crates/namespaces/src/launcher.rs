//! The start: from a plan to a running process.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use orlop_init::Plan;
use orlop_init::protocol::{self, SLOTS_MAX, status};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::channel::{Channel, Memory, Message, Status};
use crate::error::{SpawnError, in_words};
use crate::idmap::IdMaps;
use crate::process::Process;
use crate::sys;

/// Starts processes by plan. Owns init's sealed memory file; cheap to clone, and free to be used by any number of threads at once.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: Arc<OwnedFd>,
}

/// What one start consumes beside its plan.
#[derive(Debug, Default)]
pub struct Resources<'a> {
    /// What the plan's [`Slot`](orlop_init::Slot)s stand for, by index. The caller keeps its own.
    pub slots: Vec<BorrowedFd<'a>>,
    /// The id maps, for a plan with a new user namespace.
    pub id_maps: Option<IdMaps>,
}

/// A process that executes its program.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Process,
    /// The master of its terminal, for a plan that makes one.
    pub terminal: Option<OwnedFd>,
    /// The listener of its seccomp filter, for a plan that asks for it.
    pub seccomp_listener: Option<OwnedFd>,
}

impl Launcher {
    /// Puts init's program into a memory file.
    ///
    /// # Errors
    ///
    /// [`SpawnError::System`] where the kernel gives no executable memory file. `vm.memfd_noexec=2` forbids it; then
    /// `CAP_SYS_ADMIN` helps out with a mount that is attached nowhere.
    pub fn new() -> Result<Launcher, SpawnError> {
        Ok(Launcher {
            program: Arc::new(crate::program::executable()?),
        })
    }

    /// Starts a process and returns once it executes the plan's program. The caller's thread stands still for the time of one
    /// `execve` of a tiny program, whatever the caller's size; after that it only waits for messages.
    ///
    /// # Errors
    ///
    /// [`SpawnError::Step`] names the operation that failed. After any error nothing of the start is left.
    pub fn start(&self, plan: &Plan, resources: Resources<'_>) -> Result<Started, SpawnError> {
        let bytes = plan.encode().map_err(SpawnError::Plan)?;
        let (needed, given) = (usize::from(plan.slots()), resources.slots.len());
        if needed > given || given > SLOTS_MAX {
            return Err(SpawnError::Slots {
                needed,
                given,
                most: SLOTS_MAX,
            });
        }
        let memory =
            Memory::new(&bytes).map_err(SpawnError::system("making the plan's memory file"))?;
        let (channel, theirs) =
            Channel::pair().map_err(SpawnError::system("making the channel to init"))?;
        channel
            .send_plan(&memory, &resources.slots)
            .map_err(SpawnError::system("sending the plan to init"))?;
        let number = CString::new(theirs.as_raw_fd().to_string()).unwrap_or_default();
        let (born, executed) = sys::spawn_program(
            self.program.as_fd(),
            theirs.as_fd(),
            [c"orlop-init", &number],
        )
        .map_err(SpawnError::system("cloning the calling thread"))?;
        drop(theirs);
        let mut start = Start {
            plan,
            init: Some(Process::new(born.pid, born.pidfd)),
            container: None,
            terminal: None,
            seccomp_listener: None,
        };
        executed.map_err(SpawnError::system("executing init"))?;
        let followed = start.follow(&channel, resources.id_maps.as_ref());
        // Whoever still waits for a word from here sees the end of the channel.
        drop(channel);
        let status = memory
            .status()
            .map_err(SpawnError::system("reading the status page"));
        start.settle(status.as_ref().ok());
        followed?;
        start.conclude(&status?)
    }
}

/// A start under way. Dropping it kills and reaps what it has brought into the world.
struct Start<'a> {
    plan: &'a Plan,
    init: Option<Process>,
    container: Option<Process>,
    terminal: Option<OwnedFd>,
    seccomp_listener: Option<OwnedFd>,
}

impl Start<'_> {
    /// Takes messages until the program is executed or everything is dead.
    fn follow(&mut self, channel: &Channel, id_maps: Option<&IdMaps>) -> Result<(), SpawnError> {
        let mut maps_wanted = false;
        loop {
            let message = channel
                .receive()
                .map_err(SpawnError::system("receiving from init"))?;
            let Some(Message { kind, pid, fd }) = message else {
                return Ok(());
            };
            match kind {
                protocol::CONTAINER => {
                    let Some(pidfd) = fd else {
                        // The message came without what it carried: the caller's table of file descriptors is full.
                        sys::kill_and_reap(pid);
                        let source = Errno::EMFILE.into();
                        return Err(SpawnError::System {
                            action: "receiving the pidfd",
                            source,
                        });
                    };
                    self.container = Some(Process::new(pid, pidfd));
                }
                protocol::ID_MAPS => maps_wanted = true,
                protocol::TERMINAL => self.terminal = fd,
                protocol::LISTENER => self.seccomp_listener = fd,
                _ => {}
            }
            if let (true, Some(container)) = (maps_wanted, &self.container) {
                let maps = id_maps.ok_or(SpawnError::NoIdMaps)?;
                maps.write(container).map_err(SpawnError::IdMaps)?;
                maps_wanted = false;
                // If init is gone meanwhile, the status page says why.
                channel.send_go().ok();
            }
        }
    }

    /// Finds the container where init was killed after the clone and before it could say so: the kernel noted whom it cloned.
    fn settle(&mut self, status: Option<&Status>) {
        if self.container.is_none() {
            // First of all it must be unable to clone any more.
            if let Some(init) = &self.init {
                init.destroy();
            }
            self.container = status.and_then(Status::container).and_then(adopt);
        }
    }

    /// The channel has ended: what does that mean?
    fn conclude(mut self, status: &Status) -> Result<Started, SpawnError> {
        let init = self.init.take().and_then(|init| init.destroy());
        let (index, state) = (status.operation(), status.state());
        let op = || {
            let op = self.plan.ops().get(index);
            op.map_or_else(|| String::from("an unknown operation"), ToString::to_string)
        };
        match state {
            status::EXECUTING => {
                if let Some(process) = self.container.take() {
                    return Ok(Started {
                        process,
                        terminal: self.terminal.take(),
                        seccomp_listener: self.seccomp_listener.take(),
                    });
                }
            }
            status::FAILED => {
                let errno = Errno::from_raw(status.errno());
                return Err(SpawnError::Step {
                    index,
                    op: op(),
                    errno,
                });
            }
            status::BORN | status::MALFORMED => {
                return Err(SpawnError::NotBegun {
                    how: in_words(init),
                });
            }
            _ => {}
        }
        let end = match &self.container {
            Some(container) => container.destroy(),
            None => init,
        };
        Err(SpawnError::Died {
            index,
            op: op(),
            how: in_words(end),
        })
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        for process in [self.init.take(), self.container.take()]
            .into_iter()
            .flatten()
        {
            process.destroy();
        }
    }
}

/// A process known by number only, if it is a child of the caller's that nobody has waited for.
fn adopt(pid: Pid) -> Option<Process> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    sys::wait(pidfd.as_fd(), libc::WNOHANG | libc::WNOWAIT).ok()?;
    Some(Process::new(
        pid.as_raw_nonzero().get().unsigned_abs(),
        pidfd,
    ))
}
