//! Docker's defaults (moby v29, `daemon/pkg/oci/defaults.go`).

use std::path::Path;

use oci_spec::runtime::{
    LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, Mount, MountBuilder,
};

use crate::Error;

/// Hidden, since they tell of the host or hand out power over it.
pub(super) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

pub(super) const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// 64 MiB.
pub(super) const SHM_SIZE: u64 = 64 << 20;

/// What the mounts depend on.
pub(super) struct MountFacts {
    pub(super) privileged: bool,
    /// The group of terminals exists inside.
    pub(super) tty_group: bool,
    pub(super) shm_size: u64,
    pub(super) cgroup: bool,
    pub(super) host_ipc: bool,
    /// The container may mount the message queues, or the caller has them mounted.
    pub(super) mqueue: bool,
}

pub(super) fn mounts(facts: &MountFacts) -> Result<Vec<Mount>, Error> {
    let writable = if facts.privileged { "rw" } else { "ro" };
    let shm = format!("size={}", facts.shm_size);
    let mut devpts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    if facts.tty_group {
        devpts.push("gid=5");
    }
    let mut out = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        )?,
        mount("/dev/pts", "devpts", "devpts", &devpts)?,
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", writable],
        )?,
    ];
    if facts.cgroup {
        out.push(mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[writable, "nosuid", "noexec", "nodev"],
        )?);
    }
    if facts.mqueue {
        out.push(mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        )?);
    }
    out.push(if facts.host_ipc {
        bind(
            "/dev/shm",
            "/dev/shm",
            &["rbind", "nosuid", "noexec", "nodev"],
        )?
    } else {
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm],
        )?
    });
    Ok(out)
}

pub(super) fn mount(
    destination: impl AsRef<Path>,
    kind: &str,
    source: &str,
    options: &[&str],
) -> Result<Mount, Error> {
    MountBuilder::default()
        .destination(destination.as_ref())
        .typ(kind)
        .source(source)
        .options(
            options
                .iter()
                .map(|option| (*option).to_owned())
                .collect::<Vec<_>>(),
        )
        .build()
        .map_err(|error| Error::invalid(error.to_string()))
}

pub(super) fn bind(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    options: &[&str],
) -> Result<Mount, Error> {
    MountBuilder::default()
        .destination(destination.as_ref())
        .typ("bind")
        .source(source.as_ref())
        .options(
            options
                .iter()
                .map(|option| (*option).to_owned())
                .collect::<Vec<_>>(),
        )
        .build()
        .map_err(|error| Error::invalid(error.to_string()))
}

/// Nothing but what every container has: any node may be made, these may be opened.
pub(super) fn device_rules() -> Result<Vec<LinuxDeviceCgroup>, Error> {
    use LinuxDeviceType::{A, B, C};
    let rules = [
        (false, A, None, None, "rwm"),
        (true, C, None, None, "m"),
        (true, B, None, None, "m"),
        (true, C, Some(1), Some(3), "rwm"),
        (true, C, Some(1), Some(5), "rwm"),
        (true, C, Some(1), Some(7), "rwm"),
        (true, C, Some(1), Some(8), "rwm"),
        (true, C, Some(1), Some(9), "rwm"),
        (true, C, Some(5), Some(0), "rwm"),
        (true, C, Some(5), Some(1), "rwm"),
        (true, C, Some(5), Some(2), "rwm"),
        (true, C, Some(136), None, "rwm"),
    ];
    rules
        .into_iter()
        .map(|(allow, kind, major, minor, access)| device_rule(allow, kind, major, minor, access))
        .collect()
}

pub(super) fn device_rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup, Error> {
    let mut rule = LinuxDeviceCgroupBuilder::default()
        .allow(allow)
        .typ(kind)
        .access(access);
    if let Some(major) = major {
        rule = rule.major(major);
    }
    if let Some(minor) = minor {
        rule = rule.minor(minor);
    }
    rule.build()
        .map_err(|error| Error::invalid(error.to_string()))
}
