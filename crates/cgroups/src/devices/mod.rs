//! Which devices the processes of a cgroup may use.

pub(crate) mod bpf;
pub(crate) mod v1;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sort of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Block and character devices.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// What is done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceAccess {
    /// Reading it.
    pub read: bool,
    /// Writing to it.
    pub write: bool,
    /// Making a node for it with mknod(2).
    pub mknod: bool,
}

impl DeviceAccess {
    /// All three.
    pub const ALL: DeviceAccess = DeviceAccess {
        read: true,
        write: true,
        mknod: true,
    };

    /// Out of the letters `r`, `w` and `m`; `None` for any other text, and for none.
    pub fn parse(text: &str) -> Option<DeviceAccess> {
        let mut access = DeviceAccess::from_bits(0);
        for letter in text.chars() {
            match letter {
                'r' => access.read = true,
                'w' => access.write = true,
                'm' => access.mknod = true,
                _ => return None,
            }
        }
        (access.bits() != 0).then_some(access)
    }

    /// As `BPF_DEVCG_ACC_*` of linux/bpf.h, which v1 has in the same order.
    pub(crate) fn bits(self) -> u8 {
        u8::from(self.mknod) | u8::from(self.read) << 1 | u8::from(self.write) << 2
    }

    pub(crate) fn from_bits(bits: u8) -> DeviceAccess {
        DeviceAccess {
            mknod: bits & 1 != 0,
            read: bits & 2 != 0,
            write: bits & 4 != 0,
        }
    }
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (on, letter) in [(self.read, "r"), (self.write, "w"), (self.mknod, "m")] {
            if on {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// One rule of a device list; the last rule that matches decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Which sort of device.
    pub kind: DeviceKind,
    /// Major number, `None` for any.
    pub major: Option<u32>,
    /// Minor number, `None` for any.
    pub minor: Option<u32>,
    /// What is allowed or denied.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// A rule that allows `access` to a character device.
    pub fn allow_char(major: u32, minor: Option<u32>, access: DeviceAccess) -> DeviceRule {
        DeviceRule {
            allow: true,
            kind: DeviceKind::Char,
            major: Some(major),
            minor,
            access,
        }
    }

    /// What every container may use by the OCI runtime specification ("Default Devices"): making any node,
    /// and using null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals.
    pub fn container_defaults() -> Vec<DeviceRule> {
        let mknod = DeviceAccess::from_bits(1);
        let any = |kind| DeviceRule {
            allow: true,
            kind,
            major: None,
            minor: None,
            access: mknod,
        };
        let mut rules = vec![any(DeviceKind::Char), any(DeviceKind::Block)];
        let nodes = [
            (1, 3),
            (1, 5),
            (1, 7),
            (1, 8),
            (1, 9),
            (5, 0),
            (5, 1),
            (5, 2),
        ];
        rules.extend(
            nodes.map(|(major, minor)| {
                DeviceRule::allow_char(major, Some(minor), DeviceAccess::ALL)
            }),
        );
        rules.push(DeviceRule::allow_char(136, None, DeviceAccess::ALL));
        rules
    }

    /// As `b` and `c` rules only.
    fn split(self) -> impl Iterator<Item = DeviceRule> {
        [DeviceKind::Block, DeviceKind::Char]
            .into_iter()
            .filter(move |kind| self.kind == DeviceKind::All || self.kind == *kind)
            .map(move |kind| DeviceRule { kind, ..self })
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => "a",
            DeviceKind::Block => "b",
            DeviceKind::Char => "c",
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        let (major, minor) = (number(self.major), number(self.minor));
        write!(f, "{kind} {major}:{minor} {}", self.access)
    }
}
