//! What a caller is told while an operation goes on.

use std::time::Duration;

use oci_spec::image::Digest;

use crate::operation::Operation;

/// Something that happened on the way. Given to the callback of
/// [`Client::with_events`](crate::Client::with_events), on the task that carries out the operation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// An attempt failed and will be repeated after a pause.
    Retrying {
        /// What is being attempted.
        operation: Operation,
        /// The number of the coming repetition, from 1.
        attempt: u32,
        /// The pause.
        delay: Duration,
        /// Why the last attempt failed.
        reason: String,
    },
    /// A download broke and goes on from where it was.
    Resuming {
        /// The blob.
        digest: Digest,
        /// The bytes there already are.
        offset: u64,
    },
    /// More of a blob has arrived.
    Downloaded {
        /// The blob.
        digest: Digest,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// More of a blob has been handed to the connection. Goes back when an upload starts again.
    Uploaded {
        /// The blob.
        digest: Digest,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
}
