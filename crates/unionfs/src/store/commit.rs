//! A snapshot that becomes a layer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};

use super::active::{self, Handle, UPPER};
use super::inner::{ACTIVE, Inner, STAGING, TREES, rename_directory};
use super::record::{self, ActiveKind, LayerRecord};
use super::staging::{NewLayer, RECORD, Staging, discard_unused, reveal, settle};
use super::usage;
use crate::apply::ApplyLimits;
use crate::diff::{self, DiffOptions};
use crate::error::At;
use crate::id::ChainId;
use crate::{Error, flatten, fsutil};

/// Makes what was written to a snapshot the layer `chain_id` on top of the snapshot's parent; the snapshot is gone then.
pub(crate) fn commit(inner: &Arc<Inner>, key: &str, chain_id: &str) -> Result<(), Error> {
    let id = ChainId::parse(chain_id)?;
    let snapshot = active::find(inner, key)?;
    if snapshot.record.kind == ActiveKind::View {
        return Err(Error::ReadOnly {
            key: key.to_owned(),
        });
    }
    let mapped = crate::mount::mapped::noted(&snapshot, &active::open(inner, key)?)?.is_some();
    if mapped || flatten::exists(&snapshot)? {
        commit_by_diff(inner, &snapshot, chain_id)?;
    } else {
        commit_upper(inner, &snapshot, &id)?;
    }
    active::remove(inner, key)
}

/// The upper directory itself becomes the layer's tree: nothing is copied.
///
/// Its place and the record are written down before it moves, so that a crash at any point loses nothing: see [`recover`].
fn commit_upper(inner: &Inner, snapshot: &Handle, id: &ChainId) -> Result<(), Error> {
    let key = snapshot.key.as_str();
    let shown = inner.path.join(ACTIVE).join(key);
    let dir = active::open_locked(inner, key)?;
    let _hold = inner.lock(FlockOperation::LockShared)?;
    if inner.record(id)?.is_some() {
        return Ok(());
    }
    let parent = snapshot
        .record
        .parent
        .as_deref()
        .map(ChainId::parse)
        .transpose()?;
    let below = parent.as_ref().map(|p| inner.need_record(p)).transpose()?;
    let upper = fsutil::open_dir(&dir, UPPER.as_bytes()).at("opening", shown.join(UPPER))?;
    let usage = usage::of_tree(&upper)?;
    let layer = NewLayer {
        id,
        parent: parent.as_ref(),
        below: below.as_ref(),
        diff_id: None,
        has_root: true,
        opaque: false,
        bytes: usage.bytes,
        entries: usage.inodes,
    };
    let number = inner.reserve_tree()?;
    let record = layer.record(number.clone());
    let moved = record::write(&dir, RECORD, &record, &shown).and_then(|_| {
        fs::syncfs(&upper).at("writing", &shown)?;
        let trees = inner.directory(TREES)?;
        rename_directory(&dir, UPPER, &trees, &number, RenameFlags::empty())
            .at("committing", &shown)?;
        fs::fsync(&trees).at("writing", inner.path.join(TREES))?;
        reveal(inner, dir.as_fd(), &record)?;
        settle(inner, true)
    });
    if moved.is_err() {
        recover(inner, &dir, key)?;
    }
    discard_unused(inner, vec![&record])?;
    moved
}

/// Takes back a commit that was cut short: the record beside the snapshot says where its upper directory went.
///
/// `dir` is the snapshot's directory, locked.
pub(crate) fn recover(inner: &Inner, dir: &OwnedFd, key: &str) -> Result<(), Error> {
    let shown = inner.path.join(ACTIVE).join(key);
    let Some(record) = record::read::<LayerRecord>(dir, RECORD, &shown)? else {
        return Ok(());
    };
    let upper = fsutil::stat(dir, UPPER.as_bytes()).at("examining", shown.join(UPPER))?;
    if let (None, Some(number)) = (upper, record.trees.first()) {
        let trees = inner.directory(TREES)?;
        rename_directory(&trees, number, dir, UPPER, RenameFlags::NOREPLACE)
            .at("recovering", shown.join(UPPER))?;
    }
    fs::unlinkat(dir, RECORD, AtFlags::empty()).at("removing", shown.join(RECORD))
}

/// A copy has no marks of what changed, and a user namespace's snapshot has its owners: the diff says what the layer is.
fn commit_by_diff(inner: &Arc<Inner>, snapshot: &Handle, chain_id: &str) -> Result<(), Error> {
    let shown = inner.path.join(STAGING);
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = fs::openat(
        inner.directory(STAGING)?,
        ".",
        flags,
        Mode::RUSR | Mode::WUSR,
    )
    .at("creating", &shown)?;
    let mut file = std::fs::File::from(file);
    diff::diff(snapshot, &DiffOptions::default(), &mut file)?;
    std::io::Seek::rewind(&mut file).at("reading", &shown)?;
    let mut staging = Staging::new(Arc::clone(inner))?;
    let all = ApplyLimits {
        bytes: u64::MAX,
        archive_bytes: u64::MAX,
        entries: u64::MAX,
        depth: usize::MAX,
    };
    staging.apply(&mut file, &all)?;
    staging.commit(snapshot.record.parent.as_deref(), chain_id)
}
