//! A snapshot that becomes a layer.

use std::sync::Arc;

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::active::{self, UPPER};
use super::inner::{ACTIVE, Inner, STAGING};
use super::record::ActiveKind;
use super::staging::{NewLayer, Staging, publish};
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
    if flatten::exists(&snapshot)? {
        commit_copy(inner, &snapshot, chain_id)?;
        return active::remove(inner, key);
    }
    let hold = inner.lock(FlockOperation::LockShared)?;
    if inner.record(&id)?.is_none() {
        let parent = snapshot
            .record
            .parent
            .as_deref()
            .map(ChainId::parse)
            .transpose()?;
        let below = parent.as_ref().map(|p| inner.need_record(p)).transpose()?;
        let dir = inner.directory(ACTIVE)?;
        let shown = inner.path.join(ACTIVE).join(key);
        let dir = match fsutil::open_dir(&dir, key.as_bytes()) {
            Err(Errno::NOENT) => {
                return Err(Error::NoSnapshot {
                    key: key.to_owned(),
                });
            }
            other => other.at("opening", &shown)?,
        };
        let upper = fsutil::open_dir(&dir, UPPER.as_bytes()).at("opening", shown.join(UPPER))?;
        let usage = usage::of_tree(&upper)?;
        fs::syncfs(&upper).at("writing", &shown)?;
        let layer = NewLayer {
            id: &id,
            parent: parent.as_ref(),
            below: below.as_ref(),
            diff_id: None,
            has_root: true,
            opaque: false,
            bytes: usage.bytes,
            entries: usage.inodes,
        };
        publish(inner, std::os::fd::AsFd::as_fd(&dir), UPPER, layer)?;
    }
    drop(hold);
    active::remove(inner, key)
}

/// A copy has no marks of what changed: its diff says it.
fn commit_copy(inner: &Arc<Inner>, snapshot: &active::Handle, chain_id: &str) -> Result<(), Error> {
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
