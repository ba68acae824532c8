//! Mounts that sync nothing, and how to mount the same snapshot again.
//!
//! The kernel leaves `work/incompat/volatile` in the work directory and refuses to mount over it, as it cannot know whether
//! the machine went down since (Documentation/filesystems/overlayfs.rst, "Volatile mount"). We can: by the boot's id, noted
//! before such a mount.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::MountOptions;
use crate::error::At;
use crate::store::active::{Handle, WORK};
use crate::store::{ACTIVE, record};
use crate::{Error, fsutil};

/// The boot in which a snapshot was mounted volatile, in its directory.
const NOTE: &str = "volatile";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Makes a snapshot ready to be mounted after a volatile mount, and notes the boot before a further one.
///
/// `dir` is the snapshot's directory.
pub(super) fn prepare(snapshot: &Handle, dir: &OwnedFd, how: &MountOptions) -> Result<(), Error> {
    let shown = snapshot.inner.path.join(ACTIVE).join(snapshot.key.as_str());
    let note: Option<String> = record::read(dir, NOTE, &shown)?;
    if note.is_none() && !how.volatile {
        return Ok(());
    }
    let boot = std::fs::read_to_string(BOOT_ID).at("reading", BOOT_ID)?;
    match note {
        Some(before) if before == boot => forget(dir).at("preparing", shown.join(WORK)),
        Some(_) => Err(Error::Unclean {
            key: snapshot.key.as_str().to_owned(),
        }),
        None => match record::write(dir, NOTE, &boot, &shown) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok(())
            }
            other => other.map(drop),
        },
    }
}

/// Removes the kernel's mark.
fn forget(dir: &OwnedFd) -> rustix::io::Result<()> {
    let work = fsutil::open_dir(dir, WORK.as_bytes())?;
    let inner = match fsutil::open_dir(&work, WORK.as_bytes()) {
        // It has mode 0, which bars an ordinary user.
        Err(Errno::ACCESS) => {
            fsutil::chmod(&work, WORK.as_bytes(), Mode::RWXU)?;
            fsutil::open_dir(&work, WORK.as_bytes())?
        }
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    fsutil::remove_tree(inner.as_fd(), b"incompat")
}
