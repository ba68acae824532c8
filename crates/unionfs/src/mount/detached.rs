//! Mounts without a place, by the file descriptor based mount calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::{Failure, MOST_LAYERS, MountOptions, flags, needs_filler, own_directory};
use crate::store::active::{Handle, UPPER, WORK};
use crate::store::record::ActiveKind;
use crate::store::{ACTIVE, EMPTY, Inner, TREES};
use crate::{Error, fsutil, sys};

/// A read-only clone of a single layer's directory.
pub(super) fn bind(
    snapshot: &Handle,
    tree: &str,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Failure> {
    let trees = snapshot.inner.directory(TREES).map_err(Failure::Other)?;
    let how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let no = |e| failure(snapshot, e);
    let fd = mount::open_tree(&trees, tree, how).map_err(no)?;
    if let Some(user_namespace) = user_namespace {
        sys::set_id_map(fd.as_fd(), user_namespace).map_err(no)?;
    }
    sys::set_read_only(fd.as_fd()).map_err(no)?;
    Ok(fd)
}

/// An overlay of the snapshot's layers; with a user namespace, over layers that its maps are applied to (Linux 5.19).
pub(super) fn overlay(
    snapshot: &Handle,
    how: &MountOptions,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Failure> {
    let inner = &snapshot.inner;
    let record = &snapshot.record;
    let count = record.trees.len();
    if count > MOST_LAYERS {
        return Err(Failure::Other(Error::TooManyLayers {
            count,
            limit: MOST_LAYERS,
            how: "overlayfs",
        }));
    }
    let writable = record.kind == ActiveKind::Writable && !how.read_only;
    let no = |e| failure(snapshot, e);
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
    let mapped = match user_namespace {
        Some(user_namespace) => Some(mapped_store(inner, user_namespace).map_err(no)?),
        None => None,
    };
    let store = mapped.as_ref().map_or(inner.root.as_fd(), AsFd::as_fd);
    let lower = record.trees.iter().map(|name| format!("{TREES}/{name}"));
    let filler = needs_filler(record.kind, count).then(|| EMPTY.to_owned());
    for path in lower.chain(filler) {
        set_directory(context, "lowerdir+", store, &path).map_err(|e| match e {
            // Before Linux 6.5 there is no such key.
            Errno::INVAL => Failure::ThisWay(e),
            e => no(e),
        })?;
    }
    if record.kind == ActiveKind::Writable {
        own_directory(snapshot).map_err(Failure::Other)?;
        let own = format!("{ACTIVE}/{}", snapshot.key.as_str());
        // Never mapped: overlayfs writes there as whoever mounts it, and we have no owner behind the maps.
        let store = inner.root.as_fd();
        set_directory(context, "upperdir", store, &format!("{own}/{UPPER}")).map_err(no)?;
        set_directory(context, "workdir", store, &format!("{own}/{WORK}")).map_err(no)?;
    }
    mount::fsconfig_create(context).map_err(|e| match e {
        // The directories are on a file system that overlayfs cannot write to.
        Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS => Failure::Overlayfs(e),
        e => no(e),
    })?;
    let attributes = if writable {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    let mount = mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(no)?;
    let flags = fs::fstatvfs(&mount).map_err(no)?.f_flag;
    if writable && flags.contains(StatVfsMountFlags::RDONLY) {
        // Overlayfs that cannot use its work directory says so in the kernel's log, and goes on without writing.
        return Err(Failure::Overlayfs(Errno::ROFS));
    }
    Ok(mount)
}

/// The whole store once more, mounted nowhere, with every owner mapped.
fn mapped_store(inner: &Inner, user_namespace: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let how = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let store = mount::open_tree(&inner.root, "", how)?;
    sys::set_id_map(store.as_fd(), user_namespace)?;
    Ok(store)
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

fn failure(snapshot: &Handle, errno: Errno) -> Failure {
    match errno {
        Errno::PERM | Errno::ACCESS | Errno::NOSYS => Failure::ThisWay(errno),
        Errno::NODEV => Failure::Overlayfs(errno),
        errno => {
            let at = snapshot.inner.path.join(ACTIVE).join(snapshot.key.as_str());
            Failure::Other(Error::io("mounting", at, errno))
        }
    }
}
