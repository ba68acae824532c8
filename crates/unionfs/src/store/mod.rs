//! The store: one directory of layers and snapshots, shared by many processes.

pub(crate) mod active;
mod inner;
pub(crate) mod record;
pub(crate) mod staging;

pub(crate) use inner::*;
pub(crate) use record::LayerRecord;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::apply::{Applied, ApplyLimits};
use crate::encoding::Encoding;
use crate::id::ChainId;
use crate::{Active, Error, Staging, View};
use record::ActiveKind;

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
}
