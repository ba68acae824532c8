//! Operations in words, as they stand in an error: "mounting proc at /proc".

use alloc::vec::Vec;
use core::fmt;

use crate::plan::{Op, Source};

/// Bytes of a path or name as a person reads them: what is not printable is escaped.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Detached(slot) => write!(f, "the mount in slot {}", slot.0),
            Source::Fd { slot, .. } => write!(f, "the file in slot {}", slot.0),
            Source::HostPath { path, .. } => write!(f, "{}", Shown(path)),
            Source::New { fstype, .. } | Source::NewIn { fstype, .. } => {
                write!(f, "{}", Shown(fstype))
            }
        }
    }
}

const KINDS: [(u64, &str); 8] = [
    (0x0002_0000, "mount"),
    (0x0200_0000, "cgroup"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "network"),
    (0x0000_0080, "time"),
];

/// The kinds of namespace in a mask of `CLONE_NEW*` flags.
struct Kinds(u64);

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (flag, name) in KINDS {
            if self.0 & flag != 0 {
                write!(f, "{before}{name}")?;
                before = ", ";
            }
        }
        Ok(())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::JoinNamespace { kind, .. } => write!(f, "joining the {} namespace", Kinds(*kind)),
            Op::JoinCgroupV1 { slot } => write!(f, "joining the cgroup in slot {}", slot.0),
            Op::TimeOffsets { .. } => f.write_str("setting the clocks of the time namespace"),
            Op::Clone {
                flags: 0,
                cgroup: None,
            } => f.write_str("cloning"),
            Op::Clone { flags, cgroup } => {
                f.write_str("cloning")?;
                if *flags != 0 {
                    write!(f, " into new namespaces ({})", Kinds(*flags))?;
                }
                if cgroup.is_some() {
                    f.write_str(" into a cgroup")?;
                }
                Ok(())
            }
            Op::AwaitIdMaps { uid, gid } => write!(f, "becoming {uid}:{gid} in the user namespace"),
            Op::NewSessionKeyring => f.write_str("joining a new session keyring"),
            Op::NewSession => f.write_str("starting a session"),
            Op::LoopbackUp => f.write_str("bringing the loopback device up"),
            Op::Hostname { name } => write!(f, "setting the host name to {}", Shown(name)),
            Op::Domainname { name } => write!(f, "setting the domain name to {}", Shown(name)),
            Op::Propagation { .. } => f.write_str("setting the propagation of all mounts"),
            Op::Root { source, .. } => write!(f, "mounting {source} as the root"),
            Op::Mount { source, target, .. } => {
                write!(f, "mounting {source} at {}", Shown(target))
            }
            Op::Mkdir { target, .. } => write!(f, "making the directory {}", Shown(target)),
            Op::Device {
                target,
                major,
                minor,
                ..
            } => {
                write!(f, "making the device {} ({major}:{minor})", Shown(target))
            }
            Op::Symlink { target, link } => {
                write!(f, "making the link {} to {}", Shown(target), Shown(link))
            }
            Op::Mask { target } => write!(f, "masking {}", Shown(target)),
            Op::ReadOnly { target } => write!(f, "making {} read-only", Shown(target)),
            Op::Terminal { .. } => f.write_str("making the terminal"),
            Op::Fd { slot, fd } => {
                write!(f, "making file descriptor {fd} of slot {}", slot.0)
            }
            Op::ControllingTerminal => f.write_str("taking the controlling terminal"),
            Op::Pivot => f.write_str("changing the root"),
            Op::RootReadOnly => f.write_str("making the root read-only"),
            Op::Sysctl { path, value } => {
                write!(f, "setting /proc/sys/{} to {}", Shown(path), Shown(value))
            }
            Op::OomScoreAdj { value, .. } => write!(f, "setting oom_score_adj to {value}"),
            Op::Rlimit {
                resource,
                soft,
                hard,
            } => {
                write!(f, "setting {} to {soft} (hard {hard})", Resource(*resource))
            }
            Op::Umask { mask } => write!(f, "setting the umask to {mask:03o}"),
            Op::NoNewPrivileges => f.write_str("setting no_new_privs"),
            Op::Seccomp { .. } => f.write_str("loading the seccomp filter"),
            Op::BoundingSet { .. } => f.write_str("dropping capabilities from the bounding set"),
            Op::User { uid, gid, .. } => write!(f, "becoming user {uid}:{gid}"),
            Op::Capabilities { .. } => f.write_str("setting the capabilities"),
            Op::WorkingDirectory { path, .. } => {
                write!(f, "changing the working directory to {}", Shown(path))
            }
            Op::CloseFrom { first } => write!(f, "closing file descriptors from {first} on"),
            Op::Exec {
                candidates, argv, ..
            } => {
                let name = argv
                    .first()
                    .or(candidates.first())
                    .map_or(&[][..], Vec::as_slice);
                let path = match &candidates[..] {
                    [only] => only,
                    _ => name,
                };
                write!(f, "executing {}", Shown(path))
            }
        }
    }
}

/// A resource by its name in `setrlimit(2)`.
struct Resource(u32);

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 16] = [
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        ];
        match NAMES.get(self.0 as usize) {
            Some(name) => write!(f, "RLIMIT_{name}"),
            None => write!(f, "resource limit {}", self.0),
        }
    }
}
