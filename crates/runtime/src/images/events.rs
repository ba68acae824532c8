//! What a caller can show while an image is pulled.

use std::time::Duration;

use orlop_image::{Descriptor, Digest};
use orlop_unionfs::Warnings;

/// A step of a pull. Told from several threads; layers are named by their blobs' digests.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PullEvent {
    /// The image is known.
    Resolved {
        /// The manifest or index the name leads to.
        descriptor: Box<Descriptor>,
        /// The blobs of the layers, lowest first.
        layers: Vec<Descriptor>,
    },
    /// A layer's blob is in the store already.
    Present {
        /// The layer.
        digest: Digest,
    },
    /// Somebody else is downloading this layer; it is waited for.
    Waiting {
        /// The layer.
        digest: Digest,
    },
    /// More of a layer has arrived.
    Downloading {
        /// The layer.
        digest: Digest,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An attempt failed and is repeated after a pause.
    Retrying {
        /// What was attempted, and why it failed.
        reason: String,
        /// The pause.
        delay: Duration,
    },
    /// A layer's blob is verified and durable.
    Downloaded {
        /// The layer.
        digest: Digest,
    },
    /// A layer is unpacked, and is what the image's config says.
    Unpacked {
        /// The layer.
        digest: Digest,
        /// Files, directories and so on.
        entries: u64,
        /// Bytes of all files.
        bytes: u64,
        /// What could not be kept.
        warnings: Warnings,
    },
    /// A layer is there: blob and snapshot.
    Finished {
        /// The layer.
        digest: Digest,
    },
}

/// The caller's callback.
pub(super) type Tell = std::sync::Arc<dyn Fn(PullEvent) + Send + Sync>;
