//! One operation after another, and what they leave for those that follow.

use crate::protocol::{CONTAINER, GO, ID_MAPS, status};
use crate::sys::{self, Cloned, Errno, Fd, Result, Status};
use crate::wire::{Slot, Step, Text, View};

const CLONE_NEWTIME: u64 = 0x80;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;

/// Mounts made ready before the second clone, by the index of their operation.
const PREPARED: usize = 256;

pub struct Init {
    pub plan: View<'static>,
    pub channel: Fd,
    pub status: Status,
    slots: [i32; crate::SLOTS],
    /// The operation being carried out.
    pub index: u32,
    pub cloned: bool,
    /// In a namespace of user or process ids where somebody else may already be.
    pub among_strangers: bool,
    own_clock: bool,
    /// The root of the container: set by `Root`, else the process's own once a target is asked for.
    pub root: Option<Fd>,
    /// `MS_*` that the whole tree was set to.
    pub propagation: u64,
    pub prepared: [(u32, i32); PREPARED],
    pub prepared_count: usize,
    /// A verified `/dev/null`, attached somewhere or not yet.
    pub null: Option<Fd>,
    /// An empty read-only directory, likewise.
    pub empty: Option<Fd>,
    pub procfs: Option<Fd>,
    /// The slave of the terminal that was made.
    pub terminal: Option<Fd>,
    /// The caller's umask, to be restored unless the plan sets one.
    pub umask: u32,
    /// Numbers that stay open over `execve`.
    pub handed_over: [u64; 16],
    pub ready: Option<crate::execute::Ready>,
}

impl Init {
    pub fn new(
        plan: View<'static>,
        channel: Fd,
        status: Status,
        slots: [i32; crate::SLOTS],
    ) -> Init {
        Init {
            plan,
            channel,
            status,
            slots,
            index: 0,
            cloned: false,
            among_strangers: false,
            own_clock: false,
            root: None,
            propagation: 0,
            prepared: [(0, -1); PREPARED],
            prepared_count: 0,
            null: None,
            empty: None,
            procfs: None,
            terminal: None,
            umask: sys::umask(0),
            handed_over: [0; 16],
            ready: None,
        }
    }

    pub fn run(mut self) -> ! {
        let plan = self.plan;
        for (index, step) in (0u32..).zip(plan.steps()) {
            self.index = index;
            self.status.set(status::OPERATION, index);
            let result = match step {
                Some(step) => self.carry_out(step),
                None => Err(Errno::PROTO),
            };
            if let Err(errno) = result {
                self.fail(errno);
            }
        }
        // Only a plan without an end comes here.
        self.fail(Errno::PROTO)
    }

    fn fail(&self, errno: Errno) -> ! {
        self.status.set(status::OPERATION, self.index);
        self.status.set(status::ERRNO, errno.0 as u32);
        self.status.set(status::STATE, status::FAILED);
        sys::exit(1)
    }

    pub fn slot(&self, slot: Slot) -> Result<i32> {
        let fd = self.slots.get(slot.0 as usize).copied().unwrap_or(-1);
        if fd < 0 { Err(Errno::PROTO) } else { Ok(fd) }
    }

    fn carry_out(&mut self, step: Step<'static>) -> Result<()> {
        match step {
            Step::JoinNamespace { slot, kind } => self.join(slot, kind),
            Step::JoinCgroupV1 { slot } => sys::write(self.slot(slot)?, b"0"),
            Step::TimeOffsets { text } => self.time_offsets(text),
            Step::Clone { flags, cgroup } => self.clone(flags, cgroup),
            Step::AwaitIdMaps { uid, gid } => self.await_id_maps(uid, gid),
            Step::NewSessionKeyring {} => new_session_keyring(),
            Step::NewSession {} => sys::setsid(),
            Step::LoopbackUp {} => crate::links::loopback_up(),
            Step::Hostname { name } => sys::sethostname(name),
            Step::Domainname { name } => sys::setdomainname(name),
            Step::Propagation { flags } => self.propagate(flags),
            Step::Root { source, attributes } => self.attach_root(source, attributes),
            Step::Mount {
                source,
                target,
                create,
                attributes,
                clear,
                recursive,
                propagation,
            } => {
                let change = crate::mounts::Change {
                    attributes,
                    clear,
                    recursive,
                    propagation,
                };
                self.mount(source, target, create, change)
            }
            Step::Mkdir { target, mode } => {
                let root = self.root()?;
                crate::paths::make(root, target, crate::paths::Leaf::Dir(mode)).map(drop)
            }
            Step::Device {
                target,
                mode,
                major,
                minor,
                uid,
                gid,
            } => {
                let device = crate::devices::Device {
                    mode,
                    major,
                    minor,
                    uid,
                    gid,
                };
                self.device(target, device)
            }
            Step::Symlink { target, link } => self.symlink(target, link),
            Step::Mask { target } => self.mask(target),
            Step::ReadOnly { target } => self.read_only(target),
            Step::Terminal {
                rows,
                columns,
                console,
            } => self.make_terminal(rows, columns, console),
            Step::Fd { slot, fd } => self.hand_over(self.slot(slot)?, fd),
            Step::ControllingTerminal {} => crate::terminal::take_control(0),
            Step::Pivot {} => self.pivot(),
            Step::RootReadOnly {} => self.root_read_only(),
            Step::Sysctl { path, value } => self.sysctl(path, value),
            Step::OomScoreAdj { value, clamp } => self.oom_score_adj(value, clamp),
            Step::Rlimit {
                resource,
                soft,
                hard,
            } => sys::prlimit(resource, soft, hard),
            Step::Umask { mask } => {
                self.umask = mask;
                if self.ready.is_some() {
                    sys::umask(mask);
                }
                Ok(())
            }
            Step::NoNewPrivileges {} => crate::identity::no_new_privileges(),
            Step::Seccomp {
                program,
                flags,
                listener,
            } => self.seccomp(program.0, flags, listener),
            Step::BoundingSet { keep } => crate::identity::bounding_set(keep),
            Step::User {
                uid,
                gid,
                groups,
                keep_caps,
            } => self.become_user(uid, gid, groups.map(|words| words.0), keep_caps),
            Step::Capabilities {
                effective,
                permitted,
                inheritable,
                ambient,
            } => crate::identity::capabilities(effective, permitted, inheritable, ambient),
            Step::WorkingDirectory { path, create } => self.working_directory(path, create),
            Step::CloseFrom { first } => self.close_from(first),
            Step::Exec { candidates, .. } => self.execute(candidates),
        }
    }

    fn join(&mut self, slot: Slot, kind: u64) -> Result<()> {
        sys::setns(self.slot(slot)?, kind)?;
        if kind & (CLONE_NEWUSER | CLONE_NEWPID) != 0 {
            self.among_strangers = true;
        }
        // Joining a user namespace changes credentials, and with them the flag.
        crate::dumpable(false);
        Ok(())
    }

    /// The container is cloned with its clocks set: a later time namespace would need a further clone or `execve`.
    fn time_offsets(&mut self, text: Text<'_>) -> Result<()> {
        sys::unshare(CLONE_NEWTIME)?;
        self.own_clock = true;
        self.write_proc(c"self/timens_offsets", text.to_bytes())
    }

    fn clone(&mut self, flags: u64, cgroup: Option<Slot>) -> Result<()> {
        if !sys::is_open(&self.channel) {
            self.abandon();
        }
        self.prepare_sources(flags);
        let flags = if self.own_clock {
            flags & !CLONE_NEWTIME
        } else {
            flags
        };
        let cgroup = cgroup.map(|slot| self.slot(slot)).transpose()?;
        match sys::clone_sibling(flags, cgroup, &self.status)? {
            Cloned::Child => {
                self.cloned = true;
                if flags & CLONE_NEWPID != 0 && flags & CLONE_NEWUSER != 0 {
                    self.among_strangers = false;
                }
                // The one found so far may show other process ids.
                self.procfs = None;
                Ok(())
            }
            Cloned::Parent { pid, pidfd } => {
                let [a, b, c, d] = pid.to_le_bytes();
                sys::send(&self.channel, &[CONTAINER, a, b, c, d], Some(pidfd.raw())).ok();
                sys::exit(0)
            }
        }
    }

    fn await_id_maps(&mut self, uid: u32, gid: u32) -> Result<()> {
        // Only a dumpable process's maps can be written by a caller without privilege. Nobody else is in the namespace yet.
        if !self.among_strangers {
            crate::dumpable(true);
        }
        sys::send(&self.channel, &[ID_MAPS], None)?;
        match sys::receive(&self.channel, &mut sys::Fds::new()) {
            Ok(Some(GO)) => {}
            _ => self.abandon(),
        }
        crate::dumpable(false);
        sys::setresgid(gid)?;
        sys::setresuid(uid)?;
        crate::dumpable(false);
        Ok(())
    }

    /// Whoever started this is gone: so is the container.
    pub fn abandon(&self) -> ! {
        self.status.set(status::STATE, status::ABANDONED);
        sys::exit(1)
    }

    fn hand_over(&mut self, file: i32, number: u32) -> Result<()> {
        sys::dup_to(file, number)?;
        let word = self
            .handed_over
            .get_mut(number as usize / 64)
            .ok_or(Errno::INVAL)?;
        *word |= 1 << (number % 64);
        Ok(())
    }
}

/// A kernel without keyrings has none to share.
fn new_session_keyring() -> Result<()> {
    match sys::keyctl_join_session() {
        Err(Errno::NOSYS) => Ok(()),
        other => other,
    }
}
