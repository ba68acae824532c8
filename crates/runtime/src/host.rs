//! What the machine and the caller's own rights are, read once.

use std::io;

/// One tree of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// v1: its controllers as the kernel writes them, `cpu,cpuacct` or `name=systemd`.
    V1(String),
    /// The unified one.
    V2,
}

/// The facts a plan depends on. Taken once; a caller that changes its own rights afterwards takes them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Whether the caller may do what root may: uid 0 with `CAP_SYS_ADMIN`.
    pub privileged: bool,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The caller's effective capabilities.
    pub capabilities: u64,
    /// The caller's bounding set.
    pub bounding: u64,
    /// `/proc/sys/kernel/cap_last_cap`.
    pub last_capability: u32,
    /// Kernel version: major, minor.
    pub kernel: (u32, u32),
    /// The caller's hard resource limits by the kernel's numbers; `u64::MAX` is none.
    pub hard_limits: [u64; 16],
    /// The trees of control groups the kernel has.
    pub hierarchies: Vec<Hierarchy>,
}

/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

impl Host {
    /// Read them from `/proc` and by system calls that change nothing.
    ///
    /// # Errors
    /// `/proc` is not there or does not look like Linux's.
    pub fn detect() -> io::Result<Host> {
        let status = std::fs::read_to_string("/proc/thread-self/status")?;
        let mask =
            |name: &str| field(&status, name).and_then(|text| u64::from_str_radix(text, 16).ok());
        let missing = |what: &str| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{what} is missing or malformed"),
            )
        };
        let capabilities =
            mask("CapEff:").ok_or_else(|| missing("CapEff in /proc/thread-self/status"))?;
        let bounding =
            mask("CapBnd:").ok_or_else(|| missing("CapBnd in /proc/thread-self/status"))?;
        let last_capability = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|last| *last < 64)
            .unwrap_or(40);
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let kernel = version(&release)
            .ok_or_else(|| missing("the version in /proc/sys/kernel/osrelease"))?;
        let uid = rustix::process::geteuid().as_raw();
        Ok(Host {
            privileged: uid == 0 && capabilities & SYS_ADMIN != 0,
            uid,
            gid: rustix::process::getegid().as_raw(),
            capabilities,
            bounding,
            last_capability,
            kernel,
            hard_limits: hard_limits(),
            hierarchies: hierarchies(
                &std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
                &std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            ),
        })
    }

    /// Every capability this kernel knows.
    pub fn all_capabilities(&self) -> u64 {
        u64::MAX >> (63 - self.last_capability.min(63))
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The first two numbers of a release such as `6.18.44-fc`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn hard_limits() -> [u64; 16] {
    use rustix::process::{Resource, getrlimit};
    let order = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    order.map(|resource| getrlimit(resource).maximum.unwrap_or(u64::MAX))
}

/// The v1 hierarchies a process belongs to, and the unified one where it is mounted or stands alone.
fn hierarchies(cgroup: &str, mountinfo: &str) -> Vec<Hierarchy> {
    let mounted = |controllers: &str| {
        mountinfo
            .lines()
            .filter_map(|line| line.split_once(" - "))
            .any(|(_, rest)| {
                let mut words = rest.split(' ');
                let v1 = words.next() == Some("cgroup");
                let options = words.nth(1).unwrap_or("");
                v1 && controllers
                    .split(',')
                    .all(|controller| options.split(',').any(|option| option == controller))
            })
    };
    let mut out = Vec::new();
    let mut unified = false;
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        match (parts.next(), parts.next()) {
            (Some("0"), Some("")) => unified = true,
            (Some(_), Some(controllers)) if !controllers.is_empty() && mounted(controllers) => {
                out.push(Hierarchy::V1(controllers.to_owned()));
            }
            _ => {}
        }
    }
    out.reverse();
    let v2 = mountinfo.lines().any(|line| {
        line.split_once(" - ")
            .is_some_and(|(_, rest)| rest.starts_with("cgroup2 "))
    });
    if unified && (v2 || out.is_empty()) {
        out.push(Hierarchy::V2);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("6.18.44-fc-v657\n"), Some((6, 18)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert_eq!(version("linux"), None);
    }

    #[test]
    fn hierarchies_of_three_layouts() {
        let v1 = "3:name=systemd:/\n2:cpu,cpuacct:/\n1:memory:/x\n0::/\n";
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /c rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      33 31 0:30 / /m rw - cgroup cgroup rw,memory\n34 31 0:30 / /s rw - cgroup cgroup rw,name=systemd\n";
        let names = |list: &[Hierarchy]| {
            list.iter()
                .map(|h| match h {
                    Hierarchy::V1(c) => c.clone(),
                    Hierarchy::V2 => "v2".into(),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&hierarchies(v1, mounts)),
            ["memory", "cpu,cpuacct", "name=systemd"]
        );
        let hybrid = format!("{mounts}35 31 0:31 / /u rw - cgroup2 cgroup2 rw\n");
        assert_eq!(
            names(&hierarchies(v1, &hybrid)),
            ["memory", "cpu,cpuacct", "name=systemd", "v2"]
        );
        assert_eq!(names(&hierarchies("0::/a\n", "")), ["v2"]);
        assert_eq!(names(&hierarchies("", "")), Vec::<String>::new());
    }

    #[test]
    fn this_host() {
        let host = Host::detect().unwrap();
        assert!(host.kernel >= (4, 0));
        assert_eq!(
            host.all_capabilities().count_ones(),
            host.last_capability + 1
        );
    }
}
