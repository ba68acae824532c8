//! `index.json`: written from the tags, for other tools that read the store as an OCI layout.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};

use super::lock::{self, Lock};
use super::{Store, Tag};
use crate::{Error, json};

pub(crate) const INDEX: &str = "index.json";
/// The annotation by which skopeo and podman choose an image in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation by which containerd and Docker name one.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A descriptor with the annotations that name it.
pub(crate) fn named(descriptor: &Descriptor, name: &Reference) -> Descriptor {
    let mut descriptor = descriptor.clone();
    let mut annotations = descriptor.annotations().clone().unwrap_or_default();
    annotations.insert(REF_NAME.to_owned(), name.to_string());
    annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
    descriptor.set_annotations(Some(annotations));
    descriptor
}

/// An index with one entry a tag.
pub(crate) fn from_tags(tags: &[Tag]) -> Result<Vec<u8>, Error> {
    let manifests: Vec<Descriptor> = tags
        .iter()
        .map(|tag| named(&tag.descriptor, &tag.name))
        .collect();
    to_bytes(manifests)
}

/// An index of these manifests.
pub(crate) fn to_bytes(manifests: Vec<Descriptor>) -> Result<Vec<u8>, Error> {
    let index: ImageIndex = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .map_err(|error| Error::invalid("image index", error.to_string()))?;
    json::canonical(&index, "image index")
}

pub(super) fn write_if_absent(root: &Path) -> Result<(), Error> {
    if root.join(INDEX).exists() {
        return Ok(());
    }
    lock::write_atomically(root, INDEX, &to_bytes(Vec::new())?)
}

impl Store {
    /// Writes the index anew. Writers take turns, so the last one has seen every tag.
    pub(super) fn rewrite_index(&self) -> Result<(), Error> {
        let guard = Lock::exclusive(&self.root.join("index.lock"))?;
        // gc, which excludes this, removes unfinished files.
        let shared = self.lock_shared()?;
        lock::write_atomically(&self.root, INDEX, &from_tags(&self.tags()?)?)?;
        drop((shared, guard));
        Ok(())
    }

    /// Writes the index anew if a tag may have changed after it, as when a process died in between.
    pub(super) fn refresh_index(&self) -> Result<(), Error> {
        let modified = |path: &Path| match fs::metadata(path) {
            Ok(metadata) => metadata.modified().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let index = self.root.join(INDEX);
        let tags = self.tags_dir();
        let written = modified(&index).map_err(Error::io("reading", &index))?;
        let changed = modified(&tags).map_err(Error::io("reading", &tags))?;
        // Time stamps have the resolution of the kernel's tick: equal ones say nothing.
        if written.is_none() || written <= changed {
            self.rewrite_index()?;
        }
        Ok(())
    }
}
