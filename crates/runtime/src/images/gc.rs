//! Collecting what no image and no snapshot needs.

use std::collections::HashSet;
use std::io::Read;

use orlop_image::manifest::Document;
use orlop_image::{GcReport, Store, chain_ids, config, digest};

use super::Images;
use super::error::ImagesError;

/// What a collection removed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Collected {
    /// Of the store of blobs.
    pub blobs: GcReport,
    /// Of the store of layers.
    pub layers: orlop_unionfs::Report,
}

impl Images {
    /// Removes the blobs that no tag and no lease leads to, the layers of no remaining image that are under no
    /// snapshot, and what pulls of dead processes left. Others may pull, unpack and start containers meanwhile. Blocks.
    ///
    /// # Errors
    /// [`ImagesError::Store`], [`ImagesError::Layers`]; what was removed until then stays removed.
    pub fn gc(&self) -> Result<Collected, ImagesError> {
        let blobs = self
            .store
            .gc()
            .map_err(ImagesError::store("collecting blobs"))?;
        let keep =
            layers_of_images(&self.store).map_err(ImagesError::store("looking for images"))?;
        let layers = self
            .snapshots
            .gc(&keep)
            .map_err(|source| ImagesError::Layers {
                operation: "collecting layers",
                source: Box::new(source),
            })?;
        Ok(Collected { blobs, layers })
    }
}

/// The chain ids of every image in the store, for whatever platform, whoever keeps it there.
fn layers_of_images(store: &Store) -> Result<HashSet<String>, orlop_image::Error> {
    let mut keep = HashSet::new();
    for (digest, size) in store.blobs()? {
        if size > orlop_image::json::MAX_DOCUMENT || !is_json(store, &digest) {
            continue;
        }
        // Not every JSON is a manifest, and one whose config is gone can be unpacked again.
        let Ok((_, Document::Manifest(manifest))) = store.document(&digest) else {
            continue;
        };
        let Ok(bytes) = store.read(manifest.config().digest()) else {
            continue;
        };
        let Ok((config, _)) = config::parse(&bytes) else {
            continue;
        };
        let diff_ids: Result<Vec<_>, _> = config
            .rootfs()
            .diff_ids()
            .iter()
            .map(|id| digest::parse(id))
            .collect();
        keep.extend(
            chain_ids(&diff_ids.unwrap_or_default())
                .iter()
                .map(ToString::to_string),
        );
    }
    Ok(keep)
}

/// Layers are told from documents by their first byte, so that they need not be read.
fn is_json(store: &Store, digest: &orlop_image::Digest) -> bool {
    let mut first = [0; 1];
    store
        .blob(digest)
        .is_ok_and(|mut file| file.read_exact(&mut first).is_ok())
        && first == *b"{"
}
