//! Snapshots of stacked layers: apply a layer, mount a stack, diff it back to a layer.
//!
//! A store is one directory that many processes share. Into it go layers, each an uncompressed tar stream, committed
//! atomically under the chain id of the stack that ends with it. From it come writable snapshots of a stack and read-only
//! views, as mounts that are attached nowhere, as recipes for somebody else to mount, or as plain copies. What was written
//! to a snapshot goes back to a layer: a tar stream again, or at once.
//!
//! ```
//! use orlop_unionfs::{ApplyLimits, MountOptions, Options, Rootfs, Snapshots};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let directory = folder.path().join("store");
//! # let layer: &[u8] = &[0; 1024];
//! # let chain_id = &format!("sha256:{:064x}", 1);
//! let store = Snapshots::open(&directory, Options::default())?;
//! let applied = store.apply(None, chain_id, layer, &ApplyLimits::default())?;
//! println!("{} entries, diff id {}", applied.entries, applied.diff_id);
//!
//! let snapshot = store.prepare("container-1", Some(chain_id))?;
//! match snapshot.mount(&MountOptions::default())? {
//!     Rootfs::Detached(mount) => println!("attach this with move_mount: {mount:?}"),
//!     Rootfs::Recipe(recipe) => println!("mount this in the container's namespaces: {recipe:?}"),
//!     Rootfs::Directory(path) => println!("bind this: {}", path.display()),
//!     _ => {}
//! }
//! let mut changes = Vec::new();
//! store.diff("container-1", &mut changes)?;
//! store.remove("container-1")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! - A layer exists once its record does, and a record implies durable data. A kill or a power cut at any point leaves what
//!   was committed, and garbage that the next [`gc`](Snapshots::gc) removes.
//! - Layers of one image may unpack side by side, before their parents: [`Snapshots::begin`], [`Snapshots::commit_all`].
//! - [`gc`](Snapshots::gc) keeps what the caller names, what snapshots stand on, and what a living [`Lease`] holds.
//! - An archive is resolved inside its own directory and by descriptors alone; what readers disagree about is refused.
//!   [`Fault`] lists the rules.
//! - The store's directory has mode 0700. Nothing else of the caller's is touched: no mount in its namespace, no
//!   environment, no umask.
//!
//! # Without privilege
//!
//! An ordinary user's store holds files of that user. Other owners become that user, device nodes are left out, and
//! attributes that need privilege too; [`Warnings`] counts them. Overlayfs's marks are written as `user.overlay.*`
//! ([`Encoding::User`]), and a snapshot becomes a [`Recipe`] for a user namespace (Linux 5.11).
//!
//! # Limits
//!
//! - Linux 5.6 (`openat2`), with procfs at `/proc`. Detached overlays need Linux 6.5 and `CAP_SYS_ADMIN`; before that, and
//!   without it, a snapshot is a recipe.
//! - Overlayfs stacks at most 500 layers; the store's names for them are short enough for a recipe's single page of options.
//! - A directory that an archive uses without listing it looks as in the layers below. Where those have a link instead, the
//!   directory takes its place, as with Docker's overlay2; entries are not moved behind the link.
//! - A hard link into a lower layer copies the file up under the names the layer says; further names of it stay what they
//!   were, as with overlayfs without an index.
//! - A copied snapshot ([`Backend::Copy`]) tells changes by type, size, owner, mode and time, as it has no other trace.
//! - An ordinary user cannot diff or copy what is below a directory that its owner may not enter.

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
pub use mount::{Backend, IdMaps, MountOptions, Recipe, Rootfs};
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
