//! What `docker save` has written since 1.10: `manifest.json`, configs and layers.

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Deserialize;

use super::gather::Archive;
use super::{Found, Job, LoadOptions, Source};
use crate::manifest::{self, Document};
use crate::{Compression, Error, Store, builder, config, decompress, digest, media, reference};

/// The document that tells these archives.
pub(crate) const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Item {
    fn names(&self) -> Result<Vec<Reference>, Error> {
        self.repo_tags
            .iter()
            .flatten()
            .filter(|name| *name != "<none>:<none>")
            .map(|name| reference::parse(name).map_err(Error::in_entry(MANIFEST)))
            .collect()
    }
}

fn items(source: &Source) -> Result<Vec<Item>, Error> {
    let bytes = source.document(MANIFEST)?.unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(Error::json(MANIFEST))
}

impl Job {
    pub(super) fn load_docker(
        &mut self,
        source: &Source,
        options: &LoadOptions,
    ) -> Result<Vec<Found>, Error> {
        let Source::Archive(archive) = source else {
            return Err(Error::archive(
                "a directory must be an OCI layout, and it has no index.json",
            ));
        };
        let mut found = Vec::new();
        for item in items(source)? {
            let names = item.names()?;
            if options
                .only
                .as_ref()
                .is_some_and(|only| !names.contains(only))
            {
                continue;
            }
            let config = self.config(archive, &item.config)?;
            let layers = item.layers.unwrap_or_default();
            let descriptor = self
                .assemble(archive, &config, &layers, options)
                .map_err(Error::in_entry(&item.config))?;
            found.push(Found { names, descriptor });
        }
        Ok(found)
    }

    fn config(&self, archive: &Archive, path: &str) -> Result<Vec<u8>, Error> {
        let (digest, _) = archive.resolve(path)?;
        let stem = path.strip_suffix(".json").unwrap_or(path);
        if let Ok(named) = digest::parse(&format!("sha256:{stem}"))
            && named != *digest
        {
            return Err(Error::in_entry(path)(Error::DigestMismatch {
                expected: named,
                actual: digest.clone(),
            }));
        }
        self.lease.read(digest)
    }

    /// Makes a manifest for a config and the layers at some paths of the archive.
    pub(super) fn assemble(
        &mut self,
        archive: &Archive,
        config: &[u8],
        layers: &[String],
        options: &LoadOptions,
    ) -> Result<Descriptor, Error> {
        let (parsed, _) = config::parse(config)?;
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != layers.len() {
            return Err(Error::archive(format!(
                "{MANIFEST} lists {} layers and the config {}",
                layers.len(),
                diff_ids.len()
            )));
        }
        let mut descriptors = Vec::with_capacity(layers.len());
        for (path, diff_id) in layers.iter().zip(diff_ids) {
            let (blob, size) = archive.resolve(path)?;
            let compression = decompress(self.lease.blob(blob)?)
                .map_err(Error::in_entry(path))?
                .compression();
            if compression == Compression::None || options.verify_diff_ids {
                let expected = digest::parse(diff_id)?;
                let actual = self.diff_id(blob)?;
                if actual != expected {
                    return Err(Error::in_entry(path)(Error::DigestMismatch {
                        expected,
                        actual,
                    }));
                }
            }
            descriptors.push(Descriptor::new(
                media::layer(compression),
                *size,
                blob.clone(),
            ));
        }
        let config = self.put(MediaType::ImageConfig, config)?;
        let manifest = builder::manifest_bytes(config, descriptors)?;
        let descriptor = self.put(MediaType::ImageManifest, &manifest)?;
        self.image(descriptor.digest())?;
        Ok(descriptor)
    }

    fn put(&mut self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, Error> {
        let digest = digest::of(bytes);
        if !self.lease.has(&digest) {
            self.created.insert(digest);
        }
        self.lease.put(media_type, bytes)
    }
}

/// The names of a hybrid archive (Docker 25 and later) stand in `manifest.json` too, by config.
pub(super) fn add_names(source: &Source, store: &Store, found: &mut [Found]) -> Result<(), Error> {
    for item in items(source)? {
        let Some(config) = item.config.strip_prefix("blobs/").and_then(|path| {
            let (algorithm, hex) = path.split_once('/')?;
            digest::parse(&format!("{algorithm}:{hex}")).ok()
        }) else {
            continue;
        };
        let names = item.names()?;
        for image in found.iter_mut() {
            if has_config(store, image.descriptor.digest(), &config, 0)? {
                image.add_names(names);
                break;
            }
        }
    }
    Ok(())
}

fn has_config(
    store: &Store,
    manifest: &Digest,
    config: &Digest,
    depth: usize,
) -> Result<bool, Error> {
    if depth > 4 || !store.has(manifest) {
        return Ok(false);
    }
    let (_, document) = store.document(manifest)?;
    if let Document::Manifest(manifest) = &document {
        return Ok(manifest.config().digest() == config);
    }
    for child in manifest::children(&document) {
        if has_config(store, child.digest(), config, depth + 1)? {
            return Ok(true);
        }
    }
    Ok(false)
}
