//! The bounds Docker sets on a request, checked before anything is made.

use crate::error::Error;
use crate::request::{Limits, MountSource, RunRequest};

/// Docker's smallest memory limit: below it a process cannot even start.
pub(crate) const SMALLEST_MEMORY: u64 = 6 * 1024 * 1024;

/// The limits setrlimit(2) knows, by Docker's names, with the kernel's.
pub(crate) const ULIMITS: &[(&str, &str)] = &[
    ("as", "RLIMIT_AS"),
    ("core", "RLIMIT_CORE"),
    ("cpu", "RLIMIT_CPU"),
    ("data", "RLIMIT_DATA"),
    ("fsize", "RLIMIT_FSIZE"),
    ("locks", "RLIMIT_LOCKS"),
    ("memlock", "RLIMIT_MEMLOCK"),
    ("msgqueue", "RLIMIT_MSGQUEUE"),
    ("nice", "RLIMIT_NICE"),
    ("nofile", "RLIMIT_NOFILE"),
    ("nproc", "RLIMIT_NPROC"),
    ("rss", "RLIMIT_RSS"),
    ("rtprio", "RLIMIT_RTPRIO"),
    ("rttime", "RLIMIT_RTTIME"),
    ("sigpending", "RLIMIT_SIGPENDING"),
    ("stack", "RLIMIT_STACK"),
];

/// Refuses what no host could carry out, or only with a meaning nobody wants.
///
/// # Errors
/// [`Error::Invalid`] with what, its value and why.
pub(crate) fn request(request: &RunRequest, cpus: usize) -> Result<(), Error> {
    limits(&request.limits, cpus)?;
    if let Some(name) = &request.name {
        container_name(name)?;
    }
    if let Some(hostname) = &request.hostname {
        host_name(hostname)?;
    }
    for entry in &request.env {
        if entry.is_empty() || entry.starts_with('=') {
            return Err(Error::invalid(
                "environment variable",
                entry,
                "it has no name",
            ));
        }
    }
    mounts(request)
}

fn limits(limits: &Limits, cpus: usize) -> Result<(), Error> {
    if let Some(memory) = limits.memory
        && memory < SMALLEST_MEMORY
    {
        return Err(Error::invalid(
            "memory limit",
            memory.to_string(),
            "the least is 6 MiB (6m)",
        ));
    }
    if let Some(swap) = limits.memory_swap {
        let Some(memory) = limits.memory else {
            return Err(Error::invalid(
                "memory and swap limit",
                swap.to_string(),
                "it needs a memory limit beside it",
            ));
        };
        if swap != -1 && u64::try_from(swap).is_ok_and(|swap| swap < memory) {
            return Err(Error::invalid(
                "memory and swap limit",
                swap.to_string(),
                "it is the sum of both and may not be below the memory limit",
            ));
        }
        if swap < -1 {
            return Err(Error::invalid(
                "memory and swap limit",
                swap.to_string(),
                "it is negative",
            ));
        }
    }
    if let Some(nano) = limits.nano_cpus {
        let most = (cpus.max(1) as u64).saturating_mul(1_000_000_000);
        if !(10_000_000..=most).contains(&nano) {
            return Err(Error::invalid(
                "number of CPUs",
                format!("{}", nano as f64 / 1e9),
                format!("the range is from 0.01 to {cpus}, for there are {cpus} CPUs"),
            ));
        }
    }
    for ulimit in &limits.ulimits {
        if !ULIMITS.iter().any(|(name, _)| *name == ulimit.name) {
            return Err(Error::invalid(
                "ulimit",
                &ulimit.name,
                "there is no such limit",
            ));
        }
        if ulimit.soft > ulimit.hard {
            return Err(Error::invalid(
                "ulimit",
                &ulimit.name,
                format!(
                    "the soft limit {} is above the hard limit {}",
                    ulimit.soft, ulimit.hard
                ),
            ));
        }
    }
    Ok(())
}

/// Docker's rule for names: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn container_name(name: &str) -> Result<(), Error> {
    let bytes = name.as_bytes();
    let good = bytes.len() >= 2
        && bytes.len() <= 200
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if good {
        return Ok(());
    }
    Err(Error::invalid(
        "container name",
        name,
        "it is two or more of letters, digits, '_', '.' and '-', and begins with a letter or digit",
    ))
}

fn host_name(name: &str) -> Result<(), Error> {
    let good = !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !name.starts_with(['-', '.']);
    if good {
        return Ok(());
    }
    Err(Error::invalid(
        "host name",
        name,
        "it is at most 63 letters, digits, '-', '_' and '.'",
    ))
}

fn mounts(request: &RunRequest) -> Result<(), Error> {
    let mut targets: Vec<String> = Vec::new();
    for mount in &request.mounts {
        if !mount.target.starts_with('/') {
            return Err(Error::invalid(
                "mount target",
                &mount.target,
                "it must be an absolute path",
            ));
        }
        let target = clean(&mount.target);
        if target == "/" {
            return Err(Error::invalid(
                "mount target",
                &mount.target,
                "it may not be the root",
            ));
        }
        if targets.contains(&target) {
            return Err(Error::invalid(
                "mount target",
                &mount.target,
                "it is given twice",
            ));
        }
        targets.push(target);
        match &mount.source {
            MountSource::Bind { path, .. } if !path.is_absolute() => {
                return Err(Error::invalid(
                    "mount source",
                    path.to_string_lossy(),
                    "it must be an absolute path",
                ));
            }
            MountSource::Volume { name: Some(name), .. } => container_name(name)
                .map_err(|_| Error::invalid("volume name", name, "it is two or more of letters, digits, '_', '.' and '-', and begins with a letter or digit; a path begins with '/' or './'"))?,
            _ => {}
        }
    }
    Ok(())
}

/// An absolute path with `.`, `..` and doubled slashes resolved in the text.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Mount, Ulimit};

    fn message(change: impl FnOnce(&mut RunRequest)) -> String {
        let mut r = RunRequest::new("x");
        change(&mut r);
        match request(&r, 2) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn limits_out_of_range_are_named() {
        let memory = |memory: u64, swap: Option<i64>| {
            message(|r| {
                r.limits.memory = Some(memory);
                r.limits.memory_swap = swap;
            })
        };
        assert_eq!(
            memory(5 << 20, None),
            "invalid memory limit \"5242880\": the least is 6 MiB (6m)"
        );
        assert_eq!(memory(6 << 20, None), "ok");
        assert_eq!(memory(64 << 20, Some(-1)), "ok");
        assert_eq!(memory(64 << 20, Some(64 << 20)), "ok");
        assert!(memory(64 << 20, Some(1)).contains("may not be below"));
        assert!(memory(64 << 20, Some(-2)).contains("negative"));
        assert!(message(|r| r.limits.memory_swap = Some(1 << 30)).contains("needs a memory limit"));
        assert_eq!(message(|r| r.limits.nano_cpus = Some(500_000_000)), "ok");
        assert_eq!(
            message(|r| r.limits.nano_cpus = Some(2_500_000_000)),
            "invalid number of CPUs \"2.5\": the range is from 0.01 to 2, for there are 2 CPUs"
        );
        assert!(message(|r| r.limits.nano_cpus = Some(1)).contains("from 0.01"));
        let ulimit = |name: &str, soft, hard| {
            message(|r| {
                r.limits.ulimits = vec![Ulimit {
                    name: name.into(),
                    soft,
                    hard,
                }]
            })
        };
        assert_eq!(ulimit("nofile", 10, 20), "ok");
        assert!(ulimit("nofile", 30, 20).contains("above the hard limit"));
        assert!(ulimit("nofiles", 1, 1).contains("no such limit"));
    }

    #[test]
    fn names_and_mounts_out_of_grammar_are_named() {
        for name in ["", "a", "-a", "a/b", "..", "a b"] {
            assert!(
                message(|r| r.name = Some(name.into())).contains("container name"),
                "{name}"
            );
        }
        assert_eq!(message(|r| r.name = Some("web_1.a-b".into())), "ok");
        for name in ["", "-x", "a/b", &"a".repeat(64)] {
            assert!(
                message(|r| r.hostname = Some(name.into())).contains("host name"),
                "{name}"
            );
        }
        let mount = |target: &str| Mount {
            source: MountSource::Volume {
                name: None,
                copy: true,
            },
            target: target.into(),
            read_only: false,
        };
        assert!(message(|r| r.mounts = vec![mount("data")]).contains("absolute"));
        assert!(message(|r| r.mounts = vec![mount("/x/..")]).contains("the root"));
        assert!(message(|r| r.mounts = vec![mount("/x"), mount("/x/")]).contains("twice"));
        assert!(message(|r| r.env = vec!["=x".into()]).contains("no name"));
    }

    #[test]
    fn paths_are_cleaned_without_leaving_the_root() {
        for (path, cleaned) in [
            ("/a//b/", "/a/b"),
            ("/../a", "/a"),
            ("/a/./b/../c", "/a/c"),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), cleaned);
        }
    }
}
