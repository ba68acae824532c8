//! Images for containers: pulled from a registry or loaded, unpacked into snapshots, mounted as a root.
//!
//! [`Images`] joins a store of blobs and a store of snapshots. Nothing here runs a container; what it gives is the
//! root file system one starts in.
//!
//! ```no_run
//! use orlop_image::{Store, platform, reference};
//! use orlop_registry_client::Client;
//! use orlop_runtime::images::Images;
//! use orlop_unionfs::{MountOptions, Snapshots};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::path::Path::new("/var/lib/example");
//! let images = Images::new(Store::open(&dir.join("images"))?, Snapshots::open(&dir.join("snapshots"), Default::default())?);
//! let name = reference::parse("busybox")?;
//! let client = Client::builder().build()?;
//! let pulled = images.pull(&client, &name, &platform::host(), |event| println!("{event:?}")).await?;
//! let (snapshot, root) = images.rootfs(&pulled.image, "my-container", &MountOptions::default())?;
//! # drop((snapshot, root));
//! # Ok(())
//! # }
//! ```
//!
//! A layer's bytes are passed over once: from the socket into the store's blob and its digest, through decompression
//! into the diff id and the snapshot. Only the packed blob and the unpacked files are written. Several layers are on
//! their way at a time, in constant memory. A layer becomes visible only when every byte of it is verified; the image
//! gets its name when all layers are there.
//!
//! # Needs
//! Pulling: a tokio runtime with I/O and time. Unpacking with owners, devices and `trusted.overlay` marks: root;
//! without, what [`orlop_unionfs`] can keep for a user is kept, and what it cannot is told in
//! [`PullEvent::Unpacked`].

mod arriving;
mod error;
mod events;
mod gc;
mod layer;
mod pipe;
mod pull;
mod unpack;

use orlop_image::{Image, Store};
use orlop_unionfs::{Active, ApplyLimits, MountOptions, Rootfs, Snapshots};

pub use error::{ImagesError, UnpackError};
pub use events::PullEvent;
pub use gc::Collected;
pub use pull::Pulled;

/// A store of images and the snapshots made of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    store: Store,
    snapshots: Snapshots,
    limits: ApplyLimits,
}

impl Images {
    /// Joins two stores, which any number of processes may share.
    pub fn new(store: Store, snapshots: Snapshots) -> Self {
        Self {
            store,
            snapshots,
            limits: ApplyLimits::default(),
        }
    }

    /// Sets how much a single layer may unpack to.
    #[must_use]
    pub fn with_limits(mut self, limits: ApplyLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The store of blobs.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store of snapshots.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Unpacks what is not unpacked yet of an image whose blobs are in the store, several layers at a time, and gives
    /// the chain id of its stack; `None` for an image without layers. Blocks; at once if all is there.
    ///
    /// # Errors
    /// [`ImagesError::Store`] if a blob is missing or damaged, [`ImagesError::DiffId`] if a layer is not what the
    /// image's config says, [`ImagesError::Unpack`]. Layers finished before the error stay.
    pub fn unpack(&self, image: &Image) -> Result<Option<String>, ImagesError> {
        unpack::image(self, image)
    }

    /// A new writable snapshot `key` on top of an image, and its root file system, not mounted anywhere yet. Unpacks
    /// the image first where needed. Blocks.
    ///
    /// The snapshot stays until [`Snapshots::remove`].
    ///
    /// # Errors
    /// As [`unpack`](Self::unpack), and [`ImagesError::Snapshot`], for instance for a key that is taken. No snapshot
    /// is left then.
    pub fn rootfs(
        &self,
        image: &Image,
        key: &str,
        how: &MountOptions,
    ) -> Result<(Active, Rootfs), ImagesError> {
        let failed = |source| ImagesError::Snapshot {
            key: key.to_owned(),
            source: Box::new(source),
        };
        let prepare = || self.snapshots.prepare(key, image.top().map(AsRef::as_ref));
        let active = match prepare() {
            Err(orlop_unionfs::Error::NoLayer { .. }) => {
                // From here to the snapshot that stands on them no collector takes the layers away.
                let _lease = unpack::lease(&self.snapshots, image)?;
                self.unpack(image)?;
                prepare()
            }
            other => other,
        };
        let active = active.map_err(failed)?;
        match active.mount(how) {
            Ok(root) => Ok((active, root)),
            Err(error) => {
                // The mount's error is the one to tell; a snapshot that stays is seen in the list.
                let _ = self.snapshots.remove(key);
                Err(failed(error))
            }
        }
    }
}
