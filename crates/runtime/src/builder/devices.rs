//! Devices of the host's in a container.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use super::Builder;
use crate::Error;

impl Builder {
    /// A device of the caller's, under the same path, which the container may read, write and make anew.
    pub fn device(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match device(path) {
            Ok(Some(device)) => self.settings.devices.push(device),
            Ok(None) => self.fail(Error::invalid(format!("{} is no device", path.display()))),
            Err(error) => self.fail(error),
        }
        self
    }
}

fn device(path: &Path) -> Result<Option<LinuxDevice>, Error> {
    let metadata =
        std::fs::symlink_metadata(path).map_err(|source| Error::io("examining", path, source))?;
    let kind = match metadata.file_type() {
        kind if kind.is_block_device() => LinuxDeviceType::B,
        kind if kind.is_char_device() => LinuxDeviceType::C,
        _ => return Ok(None),
    };
    let device = LinuxDeviceBuilder::default()
        .path(path)
        .typ(kind)
        .major(i64::from(rustix::fs::major(metadata.rdev())))
        .minor(i64::from(rustix::fs::minor(metadata.rdev())))
        .file_mode(metadata.mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build();
    device
        .map(Some)
        .map_err(|error| Error::invalid(error.to_string()))
}

/// What the container has of its own, or what is no device of the host's but of a mount there.
const OWN: [&str; 10] = [
    "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "shm", "tty",
];

/// Every device below `/dev`, for a privileged container. What cannot be read is left out, since nobody asked for it by name.
pub(super) fn add_all(devices: &mut Vec<LinuxDevice>, privileged: bool) {
    if privileged {
        add_below(Path::new("/dev"), devices, 0);
    }
}

fn add_below(directory: &Path, devices: &mut Vec<LinuxDevice>, depth: u32) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if depth == 0 && OWN.iter().any(|own| name == *own) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < 4 => add_below(&path, devices, depth + 1),
            Ok(kind) if kind.is_block_device() || kind.is_char_device() => {
                if let Ok(Some(device)) = device(&path)
                    && !devices.iter().any(|other| other.path() == device.path())
                {
                    devices.push(device);
                }
            }
            _ => {}
        }
    }
}
