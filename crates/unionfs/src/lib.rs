//! Snapshots of stacked layers: apply a layer, mount a stack, diff it back to a layer.

#![deny(unsafe_code)]

mod apply;
mod archive;
mod complete;
mod copy;
mod diff;
mod encoding;
mod error;
mod flatten;
mod fsutil;
mod id;
mod mount;
mod store;
#[allow(unsafe_code)]
mod sys;

pub use apply::{Applied, ApplyLimits, Warnings};
pub use archive::Fault;
pub use diff::{DiffOptions, Digests, IdRange};
pub use encoding::Encoding;
pub use error::Error;
pub use id::MAX_KEY;
pub use mount::{Backend, MountOptions, Recipe, Rootfs};
pub use store::active::{Active, View};
pub use store::gc::{Lease, Report};
pub use store::staging::Staging;
pub use store::usage::Usage;
pub use store::{LayerInfo, Options, SnapshotInfo, Snapshots};

/// A time, in seconds since 1970-01-01 UTC, and nanoseconds after them (below a thousand million, also before 1970).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after the second.
    pub nanoseconds: u32,
}
