//! A whole image: documents first, then layers side by side, then the name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt};
use orlop_image::{Descriptor, Image, Lease, Platform, Reference, platform};
use orlop_registry_client::{Client, Event, Manifest};
use orlop_unionfs::Staging;

use super::Images;
use super::error::ImagesError;
use super::events::{PullEvent, Tell};
use super::layer::{Job, blocking};
use super::unpack;

/// Layers of one image on their way at a time, as with Docker.
const LAYERS_AT_ONCE: usize = 3;
/// The largest image config taken.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// An image that is there: its blobs in the store, its layers unpacked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pulled {
    /// What the name led to: the image's manifest, or the index it was chosen from.
    pub descriptor: Descriptor,
    /// The image.
    pub image: Image,
    /// The chain id of its layers; `None` if it has none.
    pub chain_id: Option<String>,
    /// Keeps the blobs, whether they are tagged or not, until the last clone of it is dropped.
    pub lease: Lease,
    /// Keeps the layers for as long.
    pub layers: Arc<orlop_unionfs::Lease>,
}

impl Images {
    /// Pulls the image `name` for a platform and tags it by that name in the store. `progress` is told each step, from
    /// several threads; it should be quick.
    ///
    /// Dropping the future cancels the pull: what was unpacked is removed at once, what was downloaded is garbage that
    /// the store's `gc` collects, or that the next pull of the same layers continues from. Two pulls of the same layer, in
    /// whatever processes, download it once.
    ///
    /// # Errors
    /// [`ImagesError::Registry`], [`ImagesError::Store`] for a digest that is wrong, a platform the image lacks and a
    /// failing disk, [`ImagesError::Unpack`], [`ImagesError::DiffId`]. The name then still means what it did.
    pub async fn pull(
        &self,
        client: &Client,
        name: &Reference,
        wanted: &Platform,
        progress: impl Fn(PullEvent) + Send + Sync + 'static,
    ) -> Result<Pulled, ImagesError> {
        let pulled = self.fetch(client, name, wanted, progress).await?;
        let (store, name, descriptor) = (
            pulled.lease.clone(),
            name.clone(),
            pulled.descriptor.clone(),
        );
        blocking(move || {
            store
                .tag(&name, &descriptor)
                .map_err(ImagesError::store(format!("tagging {name}")))
        })
        .await?;
        Ok(pulled)
    }

    /// As [`pull`](Self::pull), but gives the image no name: the [`Pulled`] itself keeps its blobs.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub async fn fetch(
        &self,
        client: &Client,
        name: &Reference,
        wanted: &Platform,
        progress: impl Fn(PullEvent) + Send + Sync + 'static,
    ) -> Result<Pulled, ImagesError> {
        let tell: Tell = Arc::new(progress);
        let client = {
            let tell = Arc::clone(&tell);
            client.with_events(move |event| {
                if let Event::Retrying {
                    operation,
                    reason,
                    delay,
                    ..
                } = event
                {
                    tell(PullEvent::Retrying {
                        reason: format!("{operation}: {reason}"),
                        delay,
                    });
                }
            })
        };
        let store = self.store.clone();
        let lease = blocking(move || {
            store
                .lease()
                .map_err(ImagesError::store("leasing the store"))
        })
        .await?;
        let (descriptor, image) = documents(&client, name, wanted, &lease).await?;
        let layers: Vec<Descriptor> = image
            .layers()
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect();
        tell(PullEvent::Resolved {
            descriptor: Box::new(descriptor.clone()),
            layers,
        });

        let leased = {
            let (snapshots, image) = (self.snapshots.clone(), image.clone());
            blocking(move || unpack::lease(&snapshots, &image)).await?
        };
        let staged = self.layers(&client, name, &lease, &image, &tell).await?;
        let (snapshots, finished) = (self.snapshots.clone(), image.clone());
        blocking(move || unpack::commit(&snapshots, &finished, staged)).await?;
        for layer in image.layers() {
            tell(PullEvent::Finished {
                digest: layer.descriptor.digest().clone(),
            });
        }
        Ok(Pulled {
            descriptor,
            chain_id: image.top().map(ToString::to_string),
            image,
            lease,
            layers: Arc::new(leased),
        })
    }

    /// All layers' blobs into the store, and those that lack one into a staged snapshot.
    async fn layers(
        &self,
        client: &Client,
        name: &Reference,
        lease: &Lease,
        image: &Image,
        tell: &Tell,
    ) -> Result<Vec<Option<Staging>>, ImagesError> {
        let job = |n: usize| {
            let layer = image.layers().get(n)?.clone();
            let job = Job {
                client: client.clone(),
                name: name.clone(),
                store: lease.clone(),
                snapshots: self.snapshots.clone(),
                limits: self.limits,
                layer,
                tell: Arc::clone(tell),
            };
            Some(async move { Ok::<_, ImagesError>((n, job.run().await?)) })
        };
        // A blob that occurs twice in an image is fetched once, and then unpacked from the store.
        let mut seen = HashSet::new();
        let (first, again): (Vec<usize>, Vec<usize>) = (0..image.layers().len()).partition(|n| {
            image
                .layers()
                .get(*n)
                .is_some_and(|layer| seen.insert(layer.descriptor.digest().clone()))
        });
        let mut staged: Vec<Option<Staging>> = image.layers().iter().map(|_| None).collect();
        for round in [first, again] {
            // Dropped with this future, and every download with it.
            let mut jobs = futures_util::stream::iter(round.into_iter().filter_map(job))
                .buffer_unordered(LAYERS_AT_ONCE);
            while let Some((n, staging)) = jobs.try_next().await? {
                if let Some(slot) = staged.get_mut(n) {
                    *slot = staging;
                }
            }
        }
        Ok(staged)
    }
}

/// Manifest, the indexes above it, and config: into the store, and read.
async fn documents(
    client: &Client,
    name: &Reference,
    wanted: &Platform,
    lease: &Lease,
) -> Result<(Descriptor, Image), ImagesError> {
    let failed = |source| ImagesError::Registry {
        name: name.to_string(),
        source,
    };
    let missing = Mutex::new(None);
    let resolved = client
        .resolve(name, |index| match platform::select(index, wanted) {
            Ok(descriptor) => Some(descriptor.clone()),
            Err(error) => {
                *missing.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        })
        .await;
    // The platforms there are say more than that the wanted one is not among them.
    if let Some(error) = missing.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(ImagesError::store(format!("choosing an image of {name}"))(
            error,
        ));
    }
    let resolved = resolved.map_err(failed)?;
    let top = resolved.top().descriptor.clone();
    for document in resolved.indexes.iter().chain([&resolved.image]) {
        keep_document(lease, document).await?;
    }
    let manifest = resolved.image;
    let Some(config) = manifest.image().map(|image| image.config().clone()) else {
        let error = orlop_image::Error::Invalid {
            what: "manifest".into(),
            reason: "it is an index".into(),
        };
        return Err(ImagesError::store(format!(
            "reading the manifest of {name}"
        ))(error));
    };
    let known = {
        let (lease, config) = (lease.clone(), config.clone());
        blocking(move || {
            // One that is damaged is fetched again.
            Ok(lease.keep(config.digest()).is_ok() && lease.read(config.digest()).is_ok())
        })
        .await?
    };
    if !known {
        let bytes = client
            .small_blob(name, &config, MAX_CONFIG)
            .await
            .map_err(failed)?;
        keep_bytes(lease, &config, bytes).await?;
    }
    let (lease, wanted, digest, name) = (
        lease.clone(),
        wanted.clone(),
        top.digest().clone(),
        name.clone(),
    );
    let image = blocking(move || {
        lease
            .image(&digest, &wanted)
            .map_err(ImagesError::store(format!("reading the image {name}")))
    })
    .await?;
    Ok((top, image))
}

async fn keep_document(lease: &Lease, document: &Manifest) -> Result<(), ImagesError> {
    keep_bytes(lease, &document.descriptor, document.bytes.clone()).await
}

/// A verified document into the store, under the digest it was asked for by.
async fn keep_bytes(
    lease: &Lease,
    descriptor: &Descriptor,
    bytes: bytes::Bytes,
) -> Result<(), ImagesError> {
    let (lease, descriptor) = (lease.clone(), descriptor.clone());
    blocking(move || {
        let keep = || {
            let digest = descriptor.digest();
            if lease.keep(digest)? && lease.read(digest).is_ok() {
                return Ok(());
            }
            let mut ingest = lease.ingest(Some((digest, Some(descriptor.size()))))?;
            ingest.append(&bytes)?;
            ingest.commit().map(drop)
        };
        keep().map_err(ImagesError::store(format!(
            "keeping {}",
            descriptor.digest()
        )))
    })
    .await
}
