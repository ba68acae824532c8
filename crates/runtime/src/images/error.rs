//! What can go wrong between a registry and a root file system.

use std::io;

use orlop_image::Digest;

/// A failed pull, unpacking or mounting. `Display` prints its own level; causes are in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagesError {
    /// The registry, or the way to it.
    #[error("pulling {name}")]
    Registry {
        /// The image's name.
        name: String,
        /// The cause.
        source: orlop_registry_client::Error,
    },
    /// The store of blobs, or a document in it.
    #[error("{operation}")]
    Store {
        /// What was being done, with what.
        operation: String,
        /// The cause.
        source: Box<orlop_image::Error>,
    },
    /// A layer's blob is as announced, but cannot be unpacked: not a valid packed archive, a hostile one, or one
    /// beyond the limits; or the disk.
    #[error("unpacking layer {digest}")]
    Unpack {
        /// The layer's blob.
        digest: Digest,
        /// The cause.
        source: Box<UnpackError>,
    },
    /// A layer unpacks to something else than the image's config says.
    #[error("layer {digest} unpacks to {actual}, but the image's config says {expected}")]
    DiffId {
        /// The layer's blob.
        digest: Digest,
        /// The diff id in the config.
        expected: Digest,
        /// The digest of the unpacked bytes.
        actual: String,
    },
    /// A snapshot could not be made or mounted.
    #[error("making snapshot {key:?}")]
    Snapshot {
        /// Its key.
        key: String,
        /// The cause.
        source: Box<orlop_unionfs::Error>,
    },
    /// The store of layers could not be leased or collected.
    #[error("{operation}")]
    Layers {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        source: Box<orlop_unionfs::Error>,
    },
    /// A thread could not be started, or ended before its time.
    #[error("running a thread to {doing}")]
    Thread {
        /// What for.
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The download of a layer ended before its end. Mostly seen as the [`Registry`](Self::Registry) error behind it.
    #[error("the download of layer {digest} was broken off")]
    BrokenOff {
        /// The layer's blob.
        digest: Digest,
    },
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum UnpackError {
    /// Decompression.
    Packed(#[from] orlop_image::Error),
    /// The archive within, or writing what it holds.
    Archive(#[from] orlop_unionfs::Error),
}

impl ImagesError {
    pub(super) fn store(operation: impl Into<String>) -> impl FnOnce(orlop_image::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Store {
            operation,
            source: Box::new(source),
        }
    }

    /// Whether going on with the same layer is of no use: the disk is full, say.
    pub(super) fn is_local(&self) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            let full = [
                io::ErrorKind::StorageFull,
                io::ErrorKind::QuotaExceeded,
                io::ErrorKind::ReadOnlyFilesystem,
                io::ErrorKind::PermissionDenied,
            ];
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|e| full.contains(&e.kind()))
            {
                return true;
            }
            next = error.source();
        }
        false
    }
}
