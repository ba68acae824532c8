//! The store: one directory of layers and snapshots, shared by many processes.

pub(crate) mod active;
mod commit;
pub(crate) mod gc;
mod inner;
pub(crate) mod record;
pub(crate) mod staging;
pub(crate) mod usage;

pub(crate) use inner::*;
pub(crate) use record::LayerRecord;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::apply::{Applied, ApplyLimits};
use crate::diff::{self, DiffOptions, Digests};
use crate::encoding::Encoding;
use crate::id::ChainId;
use crate::{Active, Error, Staging, View};
use gc::{Lease, Report};
use record::ActiveKind;
use usage::Usage;

/// How a store is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// For a new store: how overlayfs's marks are written. `None` tries whether this process may write `trusted.*`.
    /// A store keeps the encoding it was made with.
    pub encoding: Option<Encoding>,
}

/// A store of layers and snapshots. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Snapshots {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("path", &self.inner.path)
            .field("encoding", &self.inner.encoding)
            .finish()
    }
}

impl Snapshots {
    /// Opens the store in `dir`, and makes it there if there is none: mode 0700, as layers hold setuid programs.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for a store of another version.
    pub fn open(dir: &Path, options: Options) -> Result<Snapshots, Error> {
        Ok(Snapshots {
            inner: Arc::new(Inner::open(dir, &options)?),
        })
    }

    /// The store's directory, absolute and without links.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// How this store writes overlayfs's marks.
    pub fn encoding(&self) -> Encoding {
        self.inner.encoding
    }

    /// Whether a layer is committed under this chain id. A malformed one never is.
    pub fn has(&self, chain_id: &str) -> bool {
        ChainId::parse(chain_id).is_ok_and(|id| matches!(self.inner.record(&id), Ok(Some(_))))
    }

    /// Unpacks an uncompressed layer tar and commits it: [`begin`](Self::begin), [`Staging::apply`], [`Staging::commit`].
    ///
    /// # Errors
    /// As those.
    pub fn apply(
        &self,
        parent: Option<&str>,
        chain_id: &str,
        tar: impl Read,
        limits: &ApplyLimits,
    ) -> Result<Applied, Error> {
        ChainId::parse(chain_id)?;
        if let Some(parent) = parent {
            self.inner.need_record(&ChainId::parse(parent)?)?;
        }
        let mut staging = self.begin()?;
        let applied = staging.apply(tar, limits)?;
        staging.commit(parent, chain_id)?;
        Ok(applied)
    }

    /// Begins a layer that may be unpacked before its parent is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&self) -> Result<Staging, Error> {
        Staging::new(Arc::clone(&self.inner))
    }

    /// Commits layers that were unpacked, each with its parent and its chain id: as [`Staging::commit`] for one after the
    /// other, the lowest first, but all data is made durable in one go, which is what takes the time.
    ///
    /// # Errors
    /// As [`Staging::commit`]; layers below the one that failed may be committed then, or not.
    pub fn commit_all(&self, layers: Vec<(Staging, Option<&str>, &str)>) -> Result<(), Error> {
        staging::commit_all(&self.inner, layers)
    }

    /// Makes a writable snapshot on top of a layer, or of nothing.
    ///
    /// # Errors
    /// [`Error::Exists`] if the key is taken, [`Error::NoLayer`], [`Error::InvalidKey`], [`Error::Io`].
    pub fn prepare(&self, key: &str, parent: Option<&str>) -> Result<Active, Error> {
        active::create(&self.inner, key, parent, ActiveKind::Writable).map(Active)
    }

    /// Makes a read-only snapshot of a layer: it keeps the layer from being collected until it is removed.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn view(&self, key: &str, parent: &str) -> Result<View, Error> {
        active::create(&self.inner, key, Some(parent), ActiveKind::View).map(View)
    }

    /// Finds a writable snapshot again, for instance one that another process prepared.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::ReadOnly`] for a view, [`Error::Io`].
    pub fn active(&self, key: &str) -> Result<Active, Error> {
        let handle = active::find(&self.inner, key)?;
        match handle.record.kind {
            ActiveKind::Writable => Ok(Active(handle)),
            ActiveKind::View => Err(Error::ReadOnly {
                key: key.to_owned(),
            }),
        }
    }

    /// Removes a writable snapshot or a view, with what was written to it. A mount of it keeps what it holds open.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::Io`].
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        active::remove(&self.inner, key)
    }

    /// Writes what a snapshot changed, compared with its layers, as an uncompressed layer tar: sorted, so that the same
    /// changes give the same bytes. A container that still writes may make it fail; freeze it before.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::ReadOnly`] for a view, [`Error::Corrupt`] for what no layer can say, [`Error::Io`].
    pub fn diff(&self, key: &str, out: impl Write) -> Result<Digests, Error> {
        self.diff_with(key, &DiffOptions::default(), out)
    }

    /// [`diff`](Self::diff) with options.
    ///
    /// # Errors
    /// As that.
    pub fn diff_with(
        &self,
        key: &str,
        options: &DiffOptions,
        out: impl Write,
    ) -> Result<Digests, Error> {
        diff::diff(&active::find(&self.inner, key)?, options, out)
    }

    /// Makes what was written to a snapshot a layer on top of the snapshot's parent; the snapshot is gone then. It must not
    /// be mounted any more.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::ReadOnly`] for a view, [`Error::Io`].
    pub fn commit(&self, key: &str, chain_id: &str) -> Result<(), Error> {
        commit::commit(&self.inner, key, chain_id)
    }

    /// What was written to a snapshot takes on disk; a view takes nothing.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::Io`].
    pub fn usage(&self, key: &str) -> Result<Usage, Error> {
        usage::of_snapshot(&active::find(&self.inner, key)?)
    }

    /// All snapshots and views, by key.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<SnapshotInfo>, Error> {
        let mut list: Vec<_> = gc::all_snapshots(&self.inner)?
            .into_iter()
            .map(|(key, record)| SnapshotInfo::new(key, record))
            .collect();
        list.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(list)
    }

    /// All committed layers, by chain id.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn layers(&self) -> Result<Vec<LayerInfo>, Error> {
        let mut list: Vec<_> = gc::all_layers(&self.inner)?
            .into_iter()
            .map(LayerInfo::new)
            .collect();
        list.sort_unstable_by(|a, b| a.chain_id.cmp(&b.chain_id));
        Ok(list)
    }

    /// Keeps layers from being collected until the lease is dropped, whether they are there already or not: taken before a
    /// pull, it bridges the time until a snapshot stands on them.
    ///
    /// # Errors
    /// [`Error::InvalidChainId`], [`Error::Io`].
    pub fn lease(&self, chain_ids: &[&str]) -> Result<Lease, Error> {
        Lease::new(Arc::clone(&self.inner), chain_ids)
    }

    /// Removes every layer but those in `keep`, those under a snapshot, view or lease, and the parents of all these; and
    /// whatever processes that died left behind. Others may work in the store meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`]; what was removed until then stays removed.
    pub fn gc(&self, keep: &HashSet<String>) -> Result<Report, Error> {
        gc::collect(&self.inner, keep)
    }
}

/// A snapshot or view in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its key.
    pub key: String,
    /// The layer it stands on.
    pub parent: Option<String>,
    /// Whether it is writable, not a view.
    pub writable: bool,
    /// Layers it shows.
    pub layers: usize,
}

impl SnapshotInfo {
    fn new(key: String, record: record::ActiveRecord) -> Self {
        SnapshotInfo {
            key,
            parent: record.parent,
            writable: record.kind == ActiveKind::Writable,
            layers: record.trees.len(),
        }
    }
}

/// A committed layer in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerInfo {
    /// Its chain id.
    pub chain_id: String,
    /// The chain id of the layer it stands on.
    pub parent: Option<String>,
    /// Digest of the archive it was unpacked from; unknown if it was a snapshot.
    pub diff_id: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
    /// Entries of its archive.
    pub entries: u64,
}

impl LayerInfo {
    fn new(record: LayerRecord) -> Self {
        LayerInfo {
            chain_id: record.chain_id,
            parent: record.parent,
            diff_id: record.diff_id,
            bytes: record.bytes,
            entries: record.entries,
        }
    }
}
