//! Device nodes and links.

use crate::interpreter::Init;
use crate::paths::{self, Leaf};
use crate::sys::{self, Errno, O_NOFOLLOW, O_PATH, Result};
use crate::wire::Text;

#[derive(Clone, Copy)]
pub struct Device {
    pub mode: u32,
    pub major: u32,
    pub minor: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Device {
    fn number(&self) -> u32 {
        self.minor & 0xff | self.major << 8 | (self.minor & !0xff) << 12
    }
}

impl Init {
    pub fn device(&mut self, target: Text<'_>, device: Device) -> Result<()> {
        let root = self.root()?;
        let (parent, name) = paths::make_parent(root, target)?;
        match sys::mknodat(parent.raw(), name.text(), device.mode, device.number()) {
            Ok(()) => {}
            Err(Errno::PERM) => return self.bind_device(target, device),
            Err(Errno::EXIST) => {
                let there = sys::openat2(
                    parent.raw(),
                    name.text(),
                    O_PATH | O_NOFOLLOW,
                    paths::BENEATH,
                )?;
                if !sys::stat(there.raw())?.is_device(device.mode, device.major, device.minor) {
                    return Err(Errno::EXIST);
                }
            }
            Err(errno) => return Err(errno),
        }
        if (device.uid, device.gid) != (0, 0) {
            sys::chown_at(parent.raw(), name.text(), device.uid, device.gid)?;
        }
        Ok(())
    }

    /// A user namespace may make no nodes: the caller's own of the same path and number stands in.
    fn bind_device(&mut self, target: Text<'_>, device: Device) -> Result<()> {
        let file = sys::open(target, O_PATH | O_NOFOLLOW).map_err(|_| Errno::PERM)?;
        if !sys::stat(file.raw())?.is_device(device.mode, device.major, device.minor) {
            return Err(Errno::PERM);
        }
        let mount = sys::open_tree(file.raw(), c"", false)?;
        let place = paths::make(self.root()?, target, Leaf::File)?;
        sys::move_mount(mount.raw(), place.raw())
    }

    pub fn symlink(&mut self, target: Text<'_>, link: Text<'_>) -> Result<()> {
        let (parent, name) = paths::make_parent(self.root()?, target)?;
        match sys::symlinkat(link, parent.raw(), name.text()) {
            Err(Errno::EXIST) => {
                let mut says = [0; 4096];
                let length = sys::readlinkat(parent.raw(), name.text(), &mut says)
                    .map_err(|_| Errno::EXIST)?;
                if says.get(..length) == Some(link.to_bytes()) {
                    Ok(())
                } else {
                    Err(Errno::EXIST)
                }
            }
            other => other,
        }
    }
}
