//! Mounts without a place, by the file descriptor based mount calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::{MOST_LAYERS, MountOptions, flags};
use crate::error::At;
use crate::store::active::{Handle, UPPER, WORK};
use crate::store::record::ActiveKind;
use crate::store::{ACTIVE, EMPTY, TREES};
use crate::{Error, fsutil, sys};

/// A read-only clone of a single layer's directory.
pub(super) fn bind(snapshot: &Handle, tree: &str) -> Result<OwnedFd, Error> {
    let trees = snapshot.inner.directory(TREES)?;
    let how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let fd = mount::open_tree(&trees, tree, how).map_err(|e| unavailable(snapshot, e))?;
    sys::set_read_only(fd.as_fd()).map_err(|e| unavailable(snapshot, e))?;
    Ok(fd)
}

/// An overlay of the snapshot's layers.
pub(super) fn overlay(snapshot: &Handle, how: &MountOptions) -> Result<OwnedFd, Error> {
    let inner = &snapshot.inner;
    let record = &snapshot.record;
    let count = record.trees.len();
    if count > MOST_LAYERS {
        return Err(Error::TooManyLayers {
            count,
            limit: MOST_LAYERS,
            how: "overlayfs",
        });
    }
    let writable = record.kind == ActiveKind::Writable && !how.read_only;
    let no = |e| unavailable(snapshot, e);
    let context = mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(no)?;
    let context = context.as_fd();
    // What the mount table shows as the source.
    mount::fsconfig_set_string(context, "source", "overlay").map_err(no)?;
    for (key, value) in flags(inner.encoding, how, writable) {
        match value {
            Some(value) => mount::fsconfig_set_string(context, key, value),
            None => mount::fsconfig_set_flag(context, key),
        }
        .map_err(no)?;
    }
    let trees = inner.directory(TREES)?;
    for name in &record.trees {
        set_directory(context, "lowerdir+", trees.as_fd(), name).map_err(no)?;
    }
    if record.kind == ActiveKind::View || count == 0 {
        // A stack wants a lower layer, and two if there is none to write to.
        set_directory(context, "lowerdir+", inner.root.as_fd(), EMPTY).map_err(no)?;
    }
    if record.kind == ActiveKind::Writable {
        let active = inner.directory(ACTIVE)?;
        let own = fsutil::open_dir(&active, snapshot.key.as_str().as_bytes());
        let own = own.at(
            "opening",
            inner.path.join(ACTIVE).join(snapshot.key.as_str()),
        )?;
        set_directory(context, "upperdir", own.as_fd(), UPPER).map_err(no)?;
        set_directory(context, "workdir", own.as_fd(), WORK).map_err(no)?;
    }
    mount::fsconfig_create(context).map_err(no)?;
    let attributes = if how.read_only || record.kind == ActiveKind::View {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    } else {
        MountAttrFlags::empty()
    };
    mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(no)
}

/// Names a directory by a path through procfs: however long the store's own path is, this stays below the 255 bytes that
/// fsconfig takes, and no rename of the store can come between.
fn set_directory(
    context: BorrowedFd<'_>,
    key: &str,
    dir: BorrowedFd<'_>,
    name: &str,
) -> rustix::io::Result<()> {
    mount::fsconfig_set_string(context, key, format!("{}/{name}", fsutil::proc_fd(dir)))
}

fn unavailable(snapshot: &Handle, errno: Errno) -> Error {
    match errno {
        // These say what is wrong with this snapshot, not with the way.
        Errno::NOENT
        | Errno::STALE
        | Errno::NOSPC
        | Errno::IO
        | Errno::BUSY
        | Errno::LOOP
        | Errno::MFILE
        | Errno::NOMEM => Error::io(
            "mounting",
            snapshot.inner.path.join(ACTIVE).join(snapshot.key.as_str()),
            errno,
        ),
        _ => Error::Unavailable {
            how: "detached overlay",
            source: errno.into(),
        },
    }
}
