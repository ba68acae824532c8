//! The new root: attached over the old one, then made the root.

use crate::interpreter::Init;
use crate::mounts::{self, MS_PRIVATE};
use crate::paths::{self, Leaf};
use crate::sources::Ready;
use crate::sys::{self, Errno, O_DIRECTORY, O_PATH, Result};
use crate::wire::{SourceStep, Text};

const MS_REC: u64 = 1 << 14;

impl Init {
    /// The directory below which every target is resolved.
    pub fn root(&mut self) -> Result<i32> {
        if let Some(root) = &self.root {
            return Ok(root.raw());
        }
        let root = sys::open(c"/", O_PATH | O_DIRECTORY)?;
        Ok(self.root.insert(root).raw())
    }

    /// Of the whole tree below the process's root.
    pub fn propagate(&mut self, flags: u64) -> Result<()> {
        sys::mount(c"", c"/", c"", flags | MS_REC, c"")
    }

    pub fn attach_root(&mut self, source: SourceStep<'static>, attributes: u64) -> Result<()> {
        let fresh = matches!(source, SourceStep::New { .. });
        let root = match self.source(source, attributes)? {
            Ready::Detached(mount) => {
                if attributes != 0 && !fresh {
                    mounts::set_attributes(&mount, false, attributes, 0)?;
                }
                let old = sys::open(c"/", O_PATH | O_DIRECTORY)?;
                sys::move_mount(mount.raw(), old.raw())?;
                mount
            }
            Ready::Legacy(new) => {
                mounts::mount_here(new, attributes, None)?;
                // A path begins below what covers the root; going up from there leads on top of it.
                sys::open(c"/..", O_PATH | O_DIRECTORY)?
            }
        };
        // The pivot refuses a shared root, and what is mounted below it must not be seen elsewhere.
        sys::mount_setattr(root.raw(), false, 0, 0, MS_PRIVATE)?;
        self.root = Some(root);
        Ok(())
    }

    pub fn pivot(&mut self) -> Result<()> {
        if self.masks_follow() {
            self.open_null()?;
        }
        let root = self.root()?;
        sys::fchdir(root)?;
        sys::pivot_root_here()?;
        sys::umount_here()?;
        sys::fchdir(root)
    }

    pub fn root_read_only(&mut self) -> Result<()> {
        const MOUNT_ATTR_RDONLY: u64 = 0x1;
        sys::mount_setattr(self.root()?, false, MOUNT_ATTR_RDONLY, 0, 0)
    }

    pub fn working_directory(&mut self, path: Text<'_>, create: bool) -> Result<()> {
        let root = self.root()?;
        if create {
            paths::make(root, path, Leaf::Dir(0o755))?;
        }
        let directory = paths::resolve(root, path, O_DIRECTORY, 0)?;
        sys::fchdir(directory.raw())?;
        let mut path = [0u8; 4096];
        match sys::getcwd(&mut path) {
            // Outside the root, the kernel says "(unreachable)".
            Ok(_) if path.first() == Some(&b'/') => Ok(()),
            Ok(_) => Err(Errno::NOENT),
            // Too deep for the buffer, but inside.
            Err(Errno::NAMETOOLONG | Errno(34)) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}
