//! A layer on its way: unpacked beside the store's layers, committed by one rename.

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::inner::{Inner, RECORDS, STAGING, TREES};
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
    pub fn commit(self, parent: Option<&str>, chain_id: &str) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        commit_all(&inner, vec![(self, parent, chain_id)])
    }

    fn shown(&self) -> PathBuf {
        self.inner.path.join(STAGING).join(&self.name)
    }
}

/// Commits layers, each on top of one that is committed already or stands before it: all data becomes durable in one go,
/// and then the layers appear, the lowest first.
pub(crate) fn commit_all(
    inner: &Inner,
    layers: Vec<(Staging, Option<&str>, &str)>,
) -> Result<(), Error> {
    let _hold = inner.lock(FlockOperation::LockShared)?;
    let mut placed = Vec::new();
    let result = place_all(inner, layers, &mut placed).and_then(|()| {
        // What was placed is still without a record. One call makes trees, their places and the records' contents durable.
        if let Some((staging, _)) = placed.first() {
            fs::syncfs(&staging.tree).at("writing", staging.shown())?;
        }
        for (staging, record) in &placed {
            reveal(inner, staging.dir.as_fd(), record)?;
        }
        settle(inner, !placed.is_empty())
    });
    discard_unused(inner, placed.iter().map(|(_, record)| record).collect())?;
    result
}

fn place_all(
    inner: &Inner,
    layers: Vec<(Staging, Option<&str>, &str)>,
    placed: &mut Vec<(Staging, LayerRecord)>,
) -> Result<(), Error> {
    for (mut staging, parent, chain_id) in layers {
        let id = ChainId::parse(chain_id)?;
        let parent = parent.map(ChainId::parse).transpose()?;
        let (applied, unpacked) = staging.unpacked.take().ok_or_else(|| Error::Corrupt {
            path: staging.shown(),
            reason: "no layer was unpacked here, or only a part of one".to_owned(),
        })?;
        if inner.record(&id)?.is_some() {
            continue;
        }
        let pending = parent.as_ref().and_then(|p| {
            let same = |(_, r): &&(Staging, LayerRecord)| r.chain_id == p.as_str();
            placed.iter().find(same).map(|(_, r)| r.clone())
        });
        let below = match (pending, &parent) {
            (Some(record), _) => Some(record),
            (None, Some(parent)) => Some(inner.need_record(parent)?),
            (None, None) => None,
        };
        let (dir, tree) = (staging.dir.as_fd(), staging.tree.as_fd());
        complete::complete(inner, dir, tree, &unpacked, below.as_ref())?;
        if !unpacked.root {
            // Overlayfs shows the uppermost root's attributes.
            inherit_root(inner, below.as_ref().and_then(|b| b.root.as_ref()), tree)?;
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
        let record = place(inner, dir, TREE, layer)?;
        placed.push((staging, record));
    }
    Ok(())
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

/// A record's name until it is revealed.
pub(crate) const RECORD: &str = "record";

/// Moves a tree to its place among the layers and writes its record beside where it was. Without the record among the
/// others, the tree is garbage still.
///
/// `work` is a directory only this process uses. The caller holds the store's lock.
fn place(
    inner: &Inner,
    work: BorrowedFd<'_>,
    tree: &str,
    layer: NewLayer<'_>,
) -> Result<LayerRecord, Error> {
    let record = layer.record(inner.place_tree(work, tree)?);
    match record::write(work, RECORD, &record, &inner.path.join(RECORDS)) {
        Ok(_) => Ok(record),
        Err(error) => {
            discard_unused(inner, vec![&record])?;
            Err(error)
        }
    }
}

impl NewLayer<'_> {
    /// What the record says once the tree has this number.
    pub(crate) fn record(self, number: String) -> LayerRecord {
        let mut trees = vec![number.clone()];
        if let Some(below) = self.below.filter(|_| !self.opaque) {
            trees.extend(below.trees.iter().cloned());
        }
        let root = if self.has_root {
            Some(number)
        } else {
            self.below.and_then(|b| b.root.clone())
        };
        LayerRecord {
            chain_id: self.id.as_str().to_owned(),
            parent: self.parent.map(|p| p.as_str().to_owned()),
            diff_id: self.diff_id,
            trees,
            root,
            opaque: self.opaque,
            bytes: self.bytes,
            entries: self.entries,
        }
    }
}

/// Gives a placed layer, durable by now, its name. That another process was faster is fine.
pub(crate) fn reveal(
    inner: &Inner,
    work: BorrowedFd<'_>,
    record: &LayerRecord,
) -> Result<(), Error> {
    let id = ChainId::parse(&record.chain_id)?;
    let records = inner.directory(RECORDS)?;
    let shown = inner.path.join(RECORDS).join(id.hex());
    match fs::renameat_with(work, RECORD, &records, id.hex(), RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => fs::unlinkat(work, RECORD, AtFlags::empty()).at("removing", shown),
        other => other.at("committing", shown),
    }
}

/// Makes the names of revealed layers durable.
pub(crate) fn settle(inner: &Inner, revealed: bool) -> Result<(), Error> {
    if revealed {
        let shown = inner.path.join(RECORDS);
        fs::fsync(inner.directory(RECORDS)?).at("writing", shown)?;
    }
    Ok(())
}

/// Removes placed trees that none of the revealed layers among these stands on: after a failure, or a lost race.
pub(crate) fn discard_unused(inner: &Inner, placed: Vec<&LayerRecord>) -> Result<(), Error> {
    let mut used = HashSet::new();
    for record in &placed {
        let there = inner.record(&ChainId::parse(&record.chain_id)?)?;
        if there.is_some_and(|there| there.trees.first() == record.trees.first()) {
            used.extend(&record.trees);
        }
    }
    let trees = inner.directory(TREES)?;
    for number in placed
        .iter()
        .filter_map(|r| r.trees.first())
        .filter(|n| !used.contains(n))
    {
        if let Some(name) = inner.trash(&trees, number)? {
            inner.empty_trash(&name)?;
        }
    }
    Ok(())
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
