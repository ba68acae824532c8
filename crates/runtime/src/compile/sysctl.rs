//! Kernel parameters: only those a namespace of the container's own holds, each key and value strictly read.

use std::collections::HashMap;

use orlop_init::plan::Op;

use super::namespaces::{NEWIPC, NEWNET, NEWUSER, NEWUTS, Namespaces};
use super::{CompileError, text};

const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

pub(super) fn compile(
    sysctl: Option<&HashMap<String, String>>,
    namespaces: &Namespaces,
) -> Result<Vec<Op>, CompileError> {
    let mut ops = Vec::new();
    for (key, value) in sysctl.into_iter().flatten() {
        let at = format!("linux.sysctl.{key}");
        let path = path(key)
            .ok_or_else(|| CompileError::invalid(&at, "is no name of a kernel parameter"))?;
        let needed = if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
            NEWIPC
        } else if path.starts_with("net/") {
            NEWNET
        } else if path == "kernel/domainname" {
            NEWUTS
        } else if path.starts_with("user/") {
            NEWUSER
        } else {
            return Err(CompileError::invalid(
                at,
                "is not held by any namespace of the container's, so it is the host's",
            ));
        };
        if !namespaces.own(needed) {
            return Err(CompileError::invalid(
                at,
                "is held by a namespace the container shares with its caller",
            ));
        }
        if value.is_empty() || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(CompileError::invalid(
                at,
                "has an empty value, or one with control characters",
            ));
        }
        ops.push((path, text::string(value, &at)?));
    }
    // A map has no order, and a plan must compare equal to itself.
    ops.sort();
    Ok(ops
        .into_iter()
        .map(|(path, value)| Op::Sysctl {
            path: path.into_bytes(),
            value,
        })
        .collect())
}

/// The path below `/proc/sys` of a key in either notation: `net.ipv4.ip_forward`, or `net/ipv4/conf/eth0.1/rp_filter` where a
/// dot is part of a name. As with `sysctl(8)`, the first separator tells which.
fn path(key: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./:@".contains(c);
    if !key.chars().all(allowed) {
        return None;
    }
    let dotted = match (key.find('.'), key.find('/')) {
        (Some(dot), Some(slash)) => dot < slash,
        (dot, _) => dot.is_some(),
    };
    let path: String = if dotted {
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect()
    } else {
        key.to_owned()
    };
    let plain = path
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..");
    plain.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (key, want) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            (
                "net/ipv4/conf/eth0.1/rp_filter",
                Some("net/ipv4/conf/eth0.1/rp_filter"),
            ),
            (
                "net.ipv4.conf.eth0/1.rp_filter",
                Some("net/ipv4/conf/eth0.1/rp_filter"),
            ),
            ("kernel.shm_rmid_forced=1+kernel.core_pattern", None),
            ("net/../kernel/core_pattern", None),
            ("net..ipv4", None),
            ("/net/ipv4", None),
            ("", None),
            ("net.ipv4 ", None),
        ] {
            assert_eq!(path(key).as_deref(), want, "{key}");
        }
    }

    #[test]
    fn values_and_owners() {
        let check = |key: &str, value: &str, new| {
            compile(
                Some(&HashMap::from([(key.to_owned(), value.to_owned())])),
                &Namespaces {
                    new,
                    ..Namespaces::default()
                },
            )
        };
        assert!(check("kernel.shm_rmid_forced", "1", NEWIPC).is_ok());
        assert!(check("kernel.sem", "250\t32000\t32\t128", NEWIPC).is_ok());
        assert!(check("kernel.shm_rmid_forced", "1", NEWNET).is_err());
        assert!(check("kernel.shm_rmid_forced", "1\nkernel.core_pattern=x", NEWIPC).is_err());
        assert!(check("kernel.core_pattern", "|/x", !0).is_err());
        assert!(check("kernel.shm_rmid_forced=1+kernel.core_pattern", "|/x", !0).is_err());
        assert!(check("net.ipv4.ip_forward", "", NEWNET).is_err());
    }
}
