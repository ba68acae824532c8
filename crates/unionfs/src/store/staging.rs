//! A layer on its way: unpacked beside the store's layers, committed by one rename.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::inner::{Inner, RECORDS, STAGING};
use super::record::{self, LayerRecord};
use crate::apply::{self, Applied, ApplyLimits, Unpacked};
use crate::error::At;
use crate::id::ChainId;
use crate::{Error, complete, copy, fsutil};

/// A layer being unpacked. Dropped without [`commit`](Staging::commit), it leaves nothing behind; if the process dies, the
/// next [`gc`](crate::Snapshots::gc) removes it.
pub struct Staging {
    pub(crate) inner: Arc<Inner>,
    name: String,
    /// Locked for as long as this lives: how a collector tells the living from the dead.
    dir: OwnedFd,
    tree: OwnedFd,
    unpacked: Option<(Applied, Unpacked)>,
    done: bool,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The layer's tree inside its staging directory.
const TREE: &str = "tree";

impl Staging {
    pub(crate) fn new(inner: Arc<Inner>) -> Result<Staging, Error> {
        let staging = inner.directory(STAGING)?;
        let name = inner.unique("s");
        let shown = inner.path.join(STAGING).join(&name);
        // Under the store's lock, so that no collector sees the directory before it is locked.
        let hold = inner.lock(FlockOperation::LockShared)?;
        fs::mkdirat(&staging, &name, fs::Mode::RWXU).at("creating", &shown)?;
        let make = || {
            let dir = fsutil::open_dir(&staging, name.as_bytes())?;
            fs::flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
            fs::mkdirat(&dir, TREE, fs::Mode::from_raw_mode(0o755))?;
            let tree = fsutil::open_dir(&dir, TREE.as_bytes())?;
            // Neither the umask nor a set-group-id parent may show in a layer's root.
            fs::fchmod(&tree, fs::Mode::from_raw_mode(0o755))?;
            let own = (rustix::process::geteuid(), rustix::process::getegid());
            let stat = fs::fstat(&tree)?;
            if (stat.st_uid, stat.st_gid) != (own.0.as_raw(), own.1.as_raw()) {
                fs::fchown(&tree, Some(own.0), Some(own.1))?;
            }
            Ok((dir, tree))
        };
        let made = make().map_err(|e: Errno| {
            let _ = fsutil::remove_tree(&staging, name.as_bytes());
            Error::io("creating", &shown, e)
        });
        drop(hold);
        let (dir, tree) = made?;
        Ok(Staging {
            inner,
            name,
            dir,
            tree,
            unpacked: None,
            done: false,
        })
    }

    /// Unpacks an uncompressed layer tar. On an error nothing of it can be committed.
    ///
    /// # Errors
    /// [`Error::Archive`] for a malformed or hostile archive, [`Error::Limit`] for one beyond the limits, [`Error::Io`].
    pub fn apply(&mut self, tar: impl Read, limits: &ApplyLimits) -> Result<Applied, Error> {
        if self.unpacked.take().is_some() {
            let path = self.inner.path.join(STAGING).join(&self.name);
            return Err(Error::Corrupt {
                path,
                reason: "a layer was unpacked here already".to_owned(),
            });
        }
        let tree = self
            .tree
            .try_clone()
            .at("unpacking", self.inner.path.join(STAGING).join(&self.name))?;
        let (applied, unpacked) = apply::unpack(tree, self.inner.encoding, tar, limits)?;
        self.unpacked = Some((applied.clone(), unpacked));
        Ok(applied)
    }

    /// Makes what was unpacked the layer `chain_id` on top of `parent`, durably and at once. That the layer exists already,
    /// or that another process wins the race to commit it, is success.
    ///
    /// # Errors
    /// [`Error::NoLayer`] if the parent is not committed, [`Error::Archive`] for a hard link to a file that neither this
    /// layer nor those below have, [`Error::Io`].
    pub fn commit(mut self, parent: Option<&str>, chain_id: &str) -> Result<(), Error> {
        let id = ChainId::parse(chain_id)?;
        let parent = parent.map(ChainId::parse).transpose()?;
        let (applied, unpacked) = self.unpacked.take().ok_or_else(|| Error::Corrupt {
            path: self.inner.path.join(STAGING).join(&self.name),
            reason: "no layer was unpacked here, or only a part of one".to_owned(),
        })?;
        let inner = Arc::clone(&self.inner);
        let _hold = inner.lock(FlockOperation::LockShared)?;
        if inner.record(&id)?.is_some() {
            return Ok(());
        }
        let below = parent.as_ref().map(|p| inner.need_record(p)).transpose()?;
        complete::complete(
            &inner,
            self.dir.as_fd(),
            self.tree.as_fd(),
            &unpacked,
            below.as_ref(),
        )?;
        if !unpacked.root {
            // Overlayfs shows the uppermost root's attributes.
            inherit_root(
                &inner,
                below.as_ref().and_then(|b| b.root.as_ref()),
                self.tree.as_fd(),
            )?;
        }
        let layer = NewLayer {
            id: &id,
            parent: parent.as_ref(),
            below: below.as_ref(),
            diff_id: Some(applied.diff_id),
            has_root: unpacked.root,
            opaque: unpacked.opaque_root,
            bytes: applied.bytes,
            entries: applied.entries,
        };
        fs::syncfs(&self.tree).at("writing", inner.path.join(STAGING).join(&self.name))?;
        publish(&inner, self.dir.as_fd(), TREE, layer)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        // What cannot be removed now is garbage without an owner from here on.
        if let Ok(staging) = self.inner.directory(STAGING) {
            let _ = fsutil::remove_tree(&staging, self.name.as_bytes());
        }
    }
}

/// What a committed layer's record says.
pub(crate) struct NewLayer<'a> {
    pub(crate) id: &'a ChainId,
    pub(crate) parent: Option<&'a ChainId>,
    pub(crate) below: Option<&'a LayerRecord>,
    pub(crate) diff_id: Option<String>,
    pub(crate) has_root: bool,
    pub(crate) opaque: bool,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// Moves a tree, whose data is durable, to its place and writes the record: the layer exists from then on.
///
/// `work` is a directory only this process uses. The caller holds the store's lock.
pub(crate) fn publish(
    inner: &Inner,
    work: BorrowedFd<'_>,
    tree: &str,
    layer: NewLayer<'_>,
) -> Result<(), Error> {
    let number = inner.place_tree(work, tree)?;
    let mut trees = vec![number.clone()];
    if let Some(below) = layer.below.filter(|_| !layer.opaque) {
        trees.extend(below.trees.iter().cloned());
    }
    let record = LayerRecord {
        chain_id: layer.id.as_str().to_owned(),
        parent: layer.parent.map(|p| p.as_str().to_owned()),
        diff_id: layer.diff_id,
        trees,
        root: if layer.has_root {
            Some(number.clone())
        } else {
            layer.below.and_then(|b| b.root.clone())
        },
        opaque: layer.opaque,
        bytes: layer.bytes,
        entries: layer.entries,
    };
    let shown = inner.path.join(RECORDS);
    let records = inner.directory(RECORDS)?;
    let file = record::write(work, "record", &record, &shown)?;
    fs::fsync(&file).at("writing", shown.join(layer.id.hex()))?;
    match fs::renameat_with(
        work,
        "record",
        &records,
        layer.id.hex(),
        RenameFlags::NOREPLACE,
    ) {
        Ok(()) => fs::fsync(&records).at("writing", &shown),
        Err(Errno::EXIST) => {
            // Another process committed the same layer meanwhile: ours is a copy nobody needs.
            if let Some(name) = inner.trash(inner.directory(super::inner::TREES)?, &number)? {
                inner.empty_trash(&name)?;
            }
            fs::unlinkat(work, "record", AtFlags::empty()).at("removing", shown.join("record"))
        }
        Err(e) => Err(e).at("committing", shown.join(layer.id.hex())),
    }
}

/// Gives the root of a new snapshot the attributes that the stack's uppermost root entry has.
pub(crate) fn inherit_root(
    inner: &Inner,
    root: Option<&String>,
    to: BorrowedFd<'_>,
) -> Result<(), Error> {
    match root {
        Some(name) => {
            let trees = inner.open_trees(std::slice::from_ref(name))?;
            trees
                .first()
                .map_or(Ok(()), |from| copy::attributes(from.as_fd(), to, b"/"))
        }
        None => {
            // Nobody says what it is like: the same everywhere.
            fs::fchmod(to, fs::Mode::from_raw_mode(0o755)).at("setting mode of", "/")?;
            fs::futimens(to, &copy::epoch()).at("setting times of", "/")
        }
    }
}
