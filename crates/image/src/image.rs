//! One image, immutable: manifest, config and layers, checked against each other.

use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageManifest, Platform};

use crate::config::DockerConfig;
use crate::error::cut;
use crate::manifest::{self, Document};
use crate::{Compression, Error, config, digest, media, platform};

/// An image for one platform. Nothing in it is trusted further than that its parts fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    descriptor: Descriptor,
    manifest: ImageManifest,
    manifest_bytes: Vec<u8>,
    config: ImageConfiguration,
    docker: DockerConfig,
    config_bytes: Vec<u8>,
    layers: Vec<Layer>,
}

/// One layer: a blob that holds a tar, perhaps packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob, as the manifest describes it.
    pub descriptor: Descriptor,
    /// How the manifest says the blob is packed. Readers sniff ([`crate::decompress`]), as archives mislabel it.
    pub compression: Compression,
    /// The digest of the plain tar. Whoever unpacks compares it.
    pub diff_id: Digest,
    /// The digest that names this layer on top of those below it.
    pub chain_id: Digest,
}

impl Image {
    /// An image from its two documents, both checked against their digests.
    ///
    /// `descriptor` is the manifest's (its platform and annotations are kept).
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] or [`Error::SizeMismatch`] for bytes that were not asked for,
    /// [`Error::NotAnImage`] for an artifact, [`Error::Unsupported`] for a layer of another kind,
    /// [`Error::Invalid`] for parts that do not fit together.
    pub fn from_parts(
        descriptor: Descriptor,
        manifest_bytes: Vec<u8>,
        config_bytes: Vec<u8>,
    ) -> Result<Image, Error> {
        verify(&descriptor, &manifest_bytes)?;
        let document = manifest::parse(&manifest_bytes, Some(descriptor.media_type().as_ref()))?;
        let Document::Manifest(manifest) = document else {
            return Err(Error::invalid(
                "manifest",
                "it is an index; choose a platform first",
            ));
        };
        if !media::is_image_config(manifest.config().media_type()) {
            return Err(Error::NotAnImage {
                media_type: cut(manifest.config().media_type().as_ref()),
            });
        }
        verify(manifest.config(), &config_bytes)?;
        let (config, docker) = config::parse(&config_bytes)?;
        let diff_ids = config.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers().len() {
            return Err(Error::invalid(
                "image",
                format!(
                    "its manifest has {} layers and its config {}",
                    manifest.layers().len(),
                    diff_ids.len()
                ),
            ));
        }
        let diff_ids: Vec<Digest> = diff_ids
            .iter()
            .map(|text| digest::parse(text))
            .collect::<Result<_, _>>()?;
        let layers = manifest
            .layers()
            .iter()
            .zip(diff_ids.iter().zip(chain_ids(&diff_ids)))
            .map(|(descriptor, (diff_id, chain_id))| {
                Ok(Layer {
                    compression: media::layer_compression(descriptor.media_type())?,
                    descriptor: descriptor.clone(),
                    diff_id: diff_id.clone(),
                    chain_id,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Image {
            descriptor,
            manifest: *manifest,
            manifest_bytes,
            config,
            docker,
            config_bytes,
            layers,
        })
    }

    /// The manifest's descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The manifest's digest: what a registry calls the image.
    pub fn digest(&self) -> &Digest {
        self.descriptor.digest()
    }

    /// The config's digest: what `docker images` calls the image id.
    pub fn id(&self) -> &Digest {
        self.manifest.config().digest()
    }

    /// The manifest.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// The manifest as it was received.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The config.
    pub fn config(&self) -> &ImageConfiguration {
        &self.config
    }

    /// The config's fields that only Docker knows.
    pub fn docker(&self) -> &DockerConfig {
        &self.docker
    }

    /// The config as it was received.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The digests of the plain layer tars, lowest first.
    pub fn diff_ids(&self) -> impl ExactSizeIterator<Item = &Digest> {
        self.layers.iter().map(|layer| &layer.diff_id)
    }

    /// The chain ids of the layers, lowest first.
    pub fn chain_ids(&self) -> impl ExactSizeIterator<Item = &Digest> {
        self.layers.iter().map(|layer| &layer.chain_id)
    }

    /// The chain id of the whole stack; `None` for an image without layers.
    pub fn top(&self) -> Option<&Digest> {
        self.layers.last().map(|layer| &layer.chain_id)
    }

    /// The bytes of its manifest, config and packed layers.
    pub fn size(&self) -> u64 {
        // The parser has checked that the sum of config and layers fits.
        let layers: u64 = self
            .layers
            .iter()
            .map(|layer| layer.descriptor.size())
            .sum();
        layers
            .saturating_add(self.manifest.config().size())
            .saturating_add(self.manifest_bytes.len() as u64)
    }

    /// The platform its config names.
    pub fn platform(&self) -> Platform {
        platform::new(
            &self.config.os().to_string(),
            &self.config.architecture().to_string(),
            self.config.variant().as_deref(),
        )
    }

    /// Whether it runs on `wanted`.
    pub fn matches(&self, wanted: &Platform) -> bool {
        platform::rank(wanted, &self.platform()).is_some()
    }
}

fn verify(descriptor: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
    if descriptor.size() != bytes.len() as u64 {
        return Err(Error::SizeMismatch {
            expected: descriptor.size(),
            actual: bytes.len() as u64,
        });
    }
    digest::verify(descriptor.digest(), bytes)
}

/// The chain ids of a stack of layers, lowest first.
///
/// From the image specification's `config.md`: the lowest layer's is its diff id, each further one is the digest of
/// the chain id below, a space and its diff id.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_follow_the_specification() {
        let ids: Vec<Digest> = ["a", "b", "c"]
            .iter()
            .map(|text| digest::of(text.as_bytes()))
            .collect();
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0]);
        let two = digest::of(format!("{} {}", ids[0], ids[1]).as_bytes());
        assert_eq!(chain[1], two);
        assert_eq!(chain[2], digest::of(format!("{two} {}", ids[2]).as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }
}
