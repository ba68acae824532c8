//! What makes a list of operations a plan: checked before it is encoded, so that no plan can touch the caller's own mounts or
//! host name.

use alloc::string::ToString;

use crate::encode::EncodeError;
use crate::plan::{Op, Source};
use crate::wire::FD_LIMIT;

const NEWNS: u64 = 0x0002_0000;
const NEWUTS: u64 = 0x0400_0000;
const NEWUSER: u64 = 0x1000_0000;
const NEWNET: u64 = 0x4000_0000;
/// `MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE`.
const SECLUDING: u64 = 7 << 17;
const NAMESPACES: u64 = 0x7e02_0080;

pub(crate) fn check(ops: &[Op]) -> Result<(), EncodeError> {
    let found = ops
        .iter()
        .filter(|op| matches!(op, Op::Clone { .. }))
        .count();
    if found != 1 {
        return Err(EncodeError::Clones { found });
    }
    let execs = ops
        .iter()
        .filter(|op| matches!(op, Op::Exec { .. }))
        .count();
    if execs != 1 || !matches!(ops.last(), Some(Op::Exec { .. })) {
        return Err(EncodeError::Exec);
    }
    let mut state = State::default();
    for (index, op) in ops.iter().enumerate() {
        if let Err(reason) = state.admit(op) {
            return Err(EncodeError::Refused {
                index,
                op: op.to_string(),
                reason,
            });
        }
    }
    Ok(())
}

/// What holds when an operation's turn comes.
#[derive(Default)]
struct State {
    /// Kinds of namespace that are not the caller's own any more.
    foreign: u64,
    cloned: bool,
    rooted: bool,
    pivoted: bool,
    /// Mounts made from here on stay in the container's namespace.
    secluded: bool,
}

impl State {
    fn admit(&mut self, op: &Op) -> Result<(), &'static str> {
        match op {
            Op::JoinNamespace { kind, .. } => {
                require(
                    *kind != 0 && kind & !NAMESPACES == 0,
                    "no such kind of namespace",
                )?;
                require(!self.cloned, "namespaces are joined before the clone")?;
                self.foreign |= kind;
                // What it shares with others is its own affair.
                self.secluded |= kind & NEWNS != 0;
            }
            Op::JoinCgroupV1 { .. } => {
                require(!self.cloned, "cgroups are joined before the clone")?
            }
            Op::Clone { flags, .. } => {
                require(flags & !NAMESPACES == 0, "only CLONE_NEW* flags are taken")?;
                self.foreign |= flags;
                self.cloned = true;
                self.secluded &= flags & NEWNS == 0;
            }
            Op::TimeOffsets { .. } | Op::OomScoreAdj { .. } | Op::Rlimit { .. } => {}
            other => {
                require(self.cloned, "must follow the clone")?;
                self.admit_inside(other)?;
            }
        }
        Ok(())
    }

    fn source(&self, source: &Source) -> Result<(), &'static str> {
        let path = match source {
            Source::HostPath { path, .. }
            | Source::NewIn {
                directory: path, ..
            } => path,
            _ => return Ok(()),
        };
        require(
            path.starts_with(b"/"),
            "a path of the host must be absolute",
        )?;
        require(
            !self.pivoted,
            "the host's paths are gone after the change of root",
        )
    }

    fn mounting(&self) -> Result<(), &'static str> {
        require(self.foreign & NEWNS != 0, OWN_MOUNTS)?;
        require(
            self.secluded,
            "would be seen outside: all mounts must be made private or slaves first",
        )
    }

    fn admit_inside(&mut self, op: &Op) -> Result<(), &'static str> {
        let mounts = self.foreign & NEWNS != 0;
        match op {
            Op::Propagation { flags } => {
                require(mounts, OWN_MOUNTS)?;
                self.secluded |= flags & SECLUDING != 0;
            }
            Op::Root { source, .. } => {
                self.mounting()?;
                require(!self.rooted, "there is one root")?;
                self.rooted = true;
                self.source(source)?;
            }
            Op::Mount { source, .. } => {
                self.mounting()?;
                self.source(source)?;
            }
            Op::Mask { .. } | Op::ReadOnly { .. } | Op::RootReadOnly => self.mounting()?,
            Op::Pivot => {
                self.mounting()?;
                require(self.rooted, "needs a root before it")?;
                self.pivoted = true;
            }
            Op::Mkdir { .. } | Op::Device { .. } | Op::Symlink { .. } => self.mounting()?,
            Op::Terminal { console: true, .. } => self.mounting()?,
            Op::WorkingDirectory { create, .. } => {
                require(
                    !self.rooted || self.pivoted,
                    "would be lost with the change of root",
                )?;
                require(mounts || !create, "would write to the caller's root")?;
            }
            Op::Hostname { .. } | Op::Domainname { .. } => {
                require(
                    self.foreign & NEWUTS != 0,
                    "would rename the caller's host: a uts namespace is needed",
                )?;
            }
            Op::LoopbackUp => {
                require(
                    self.foreign & NEWNET != 0,
                    "would change the caller's devices: a network namespace is needed",
                )?;
            }
            Op::AwaitIdMaps { .. } => {
                require(
                    self.foreign & NEWUSER != 0,
                    "there is no user namespace to map",
                )?;
            }
            Op::Sysctl { path, .. } => {
                let plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
                require(
                    path.split(|byte| *byte == b'/').all(plain),
                    "not a path below /proc/sys",
                )?;
                require(
                    self.foreign & !NEWNS != 0,
                    "would set the caller's own kernel parameters",
                )?;
            }
            Op::Fd { fd, .. } => require(*fd < FD_LIMIT, "the number is above 1023")?,
            Op::Seccomp { program, .. } => {
                let whole = !program.is_empty() && program.len().is_multiple_of(8);
                require(
                    whole && program.len() <= 8 * 4096,
                    "not a classic BPF program",
                )?;
            }
            Op::Exec {
                candidates, argv, ..
            } => {
                require(
                    !self.rooted || self.pivoted,
                    "would run in the caller's root: the root is not changed yet",
                )?;
                require(!candidates.is_empty(), "there is nothing to execute")?;
                require(!argv.is_empty(), "a program needs a name for itself")?;
            }
            _ => {}
        }
        Ok(())
    }
}

const OWN_MOUNTS: &str = "would change the caller's mounts: a mount namespace is needed";

fn require(holds: bool, reason: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(reason) }
}
