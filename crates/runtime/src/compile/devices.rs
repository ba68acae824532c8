//! Device nodes and the links of `/dev`: the specification's default ones and those it lists.

use oci_spec::runtime::{LinuxDeviceType, Spec};
use orlop_init::plan::Op;

use super::{CompileError, text};

const CHARACTER: u32 = 0o020000;
const BLOCK: u32 = 0o060000;
const PIPE: u32 = 0o010000;

/// The devices every container has (runtime specification, "Default Devices"); console and ptmx are no nodes.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

pub(super) fn compile(spec: &Spec, ops: &mut Vec<Op>) -> Result<(), CompileError> {
    let mounts = spec.mounts().iter().flatten();
    let mount_at = |path: &str| {
        mounts
            .clone()
            .find(|mount| mount.destination().as_os_str() == path)
    };
    let bound = |path: &str| {
        mount_at(path).is_some_and(|mount| {
            mount.typ().as_deref() == Some("bind")
                || mount
                    .options()
                    .iter()
                    .flatten()
                    .any(|word| word == "bind" || word == "rbind")
        })
    };
    let listed = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.devices().as_ref());
    // Somebody else's /dev is not written to.
    if !bound("/dev") {
        for (path, major, minor) in DEFAULT {
            let replaced = listed
                .into_iter()
                .flatten()
                .any(|device| device.path().as_os_str() == path);
            if !replaced && !bound(path) {
                ops.push(Op::Device {
                    target: path.into(),
                    mode: CHARACTER | 0o666,
                    major,
                    minor,
                    uid: 0,
                    gid: 0,
                });
            }
        }
        for (target, link) in LINKS {
            ops.push(Op::Symlink {
                target: target.into(),
                link: link.into(),
            });
        }
        if mount_at("/dev/pts").is_some() && mount_at("/dev/ptmx").is_none() {
            ops.push(Op::Symlink {
                target: "/dev/ptmx".into(),
                link: "pts/ptmx".into(),
            });
        }
    }
    for (place, device) in listed.into_iter().flatten().enumerate() {
        let at = format!("linux.devices[{place}]");
        let target = text::target(device.path(), &format!("{at}.path"))?;
        let kind = match device.typ() {
            LinuxDeviceType::B => BLOCK,
            LinuxDeviceType::C | LinuxDeviceType::U => CHARACTER,
            LinuxDeviceType::P => PIPE,
            LinuxDeviceType::A => {
                return Err(CompileError::invalid(
                    format!("{at}.type"),
                    "a device is a block device, a character device or a pipe",
                ));
            }
        };
        let number = |value: i64, name: &str| {
            u32::try_from(value).map_err(|_| {
                CompileError::invalid(
                    format!("{at}.{name}"),
                    format!("{value} is no device number"),
                )
            })
        };
        let (major, minor) = match device.typ() {
            LinuxDeviceType::P => (0, 0),
            _ => (
                number(device.major(), "major")?,
                number(device.minor(), "minor")?,
            ),
        };
        ops.push(Op::Device {
            target,
            mode: kind | device.file_mode().unwrap_or(0o666) & 0o7777,
            major,
            minor,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        });
    }
    Ok(())
}
