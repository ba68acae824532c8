//! Which namespaces are new, which are joined, and in what order.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxNamespaceType};
use orlop_init::plan::Op;

use super::{CompileError, Need, Slots};

pub(super) const NEWTIME: u64 = 0x80;
pub(super) const NEWNS: u64 = 0x0002_0000;
pub(super) const NEWCGROUP: u64 = 0x0200_0000;
pub(super) const NEWUTS: u64 = 0x0400_0000;
pub(super) const NEWIPC: u64 = 0x0800_0000;
pub(super) const NEWUSER: u64 = 0x1000_0000;
pub(super) const NEWPID: u64 = 0x2000_0000;
pub(super) const NEWNET: u64 = 0x4000_0000;

#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// `CLONE_NEW*` of the new ones.
    pub(super) new: u64,
    /// Kinds that are joined.
    pub(super) joined: u64,
    pub(super) joins: Vec<Op>,
}

impl Namespaces {
    /// Whether the container has a namespace of this kind that is not the caller's.
    pub(super) fn own(&self, kind: u64) -> bool {
        (self.new | self.joined) & kind != 0
    }
}

pub(super) fn compile(
    linux: &Linux,
    privileged: bool,
    slots: &mut Slots,
) -> Result<Namespaces, CompileError> {
    let mut out = Namespaces::default();
    let mut joins: Vec<(u64, PathBuf)> = Vec::new();
    for (place, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let at = format!("linux.namespaces[{place}]");
        let kind = kind(namespace.typ());
        if out.own(kind) {
            return Err(CompileError::invalid(
                at,
                "this kind of namespace is there already",
            ));
        }
        match namespace
            .path()
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
        {
            None => out.new |= kind,
            Some(_) if kind == NEWNS => {
                return Err(CompileError::unsupported(
                    at,
                    "a root in an existing mount namespace",
                ));
            }
            Some(path) if !path.is_absolute() => {
                return Err(CompileError::invalid(
                    format!("{at}.path"),
                    "is not an absolute path",
                ));
            }
            Some(path) => {
                out.joined |= kind;
                joins.push((kind, path.clone()));
            }
        }
    }
    if !out.own(NEWNS) {
        return Err(CompileError::invalid(
            "linux.namespaces",
            "a container needs a mount namespace of its own",
        ));
    }
    // With the host's privilege the user namespace comes last, since it may not own the others; without, it comes first,
    // since only in it there is any privilege.
    joins.sort_by_key(|(kind, _)| (*kind == NEWUSER) == privileged);
    for (kind, path) in joins {
        out.joins.push(Op::JoinNamespace {
            slot: slots.need(Need::Namespace { path, kind }),
            kind,
        });
    }
    Ok(out)
}

const fn kind(kind: LinuxNamespaceType) -> u64 {
    kind as u32 as u64
}

/// Text for `/proc/self/timens_offsets`.
pub(super) fn time_offsets(
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<Option<Op>, CompileError> {
    let Some(offsets) = linux
        .time_offsets()
        .as_ref()
        .filter(|offsets| !offsets.is_empty())
    else {
        return Ok(None);
    };
    if namespaces.new & NEWTIME == 0 {
        return Err(CompileError::invalid(
            "linux.timeOffsets",
            "offsets need a new time namespace",
        ));
    }
    let mut lines: Vec<String> = Vec::new();
    for (clock, offset) in offsets {
        if clock != "monotonic" && clock != "boottime" {
            return Err(CompileError::invalid(
                format!("linux.timeOffsets.{clock}"),
                "the clocks are monotonic and boottime",
            ));
        }
        lines.push(format!(
            "{clock} {} {}\n",
            offset.secs().unwrap_or(0),
            offset.nanosecs().unwrap_or(0)
        ));
    }
    lines.sort();
    Ok(Some(Op::TimeOffsets {
        text: lines.concat().into_bytes(),
    }))
}
