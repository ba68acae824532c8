//! Tags: one small record a name, replaced whole. The directory is the truth, `index.json` is derived from it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::{Store, lock};
use crate::{Error, digest, json, manifest, reference};

/// A name and what it leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// The full name.
    pub name: Reference,
    /// The manifest or index.
    pub descriptor: Descriptor,
}

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    descriptor: Descriptor,
}

impl Store {
    /// Gives a manifest or index a name, taking the name from what had it.
    ///
    /// # Errors
    ///
    /// [`Error::BlobMissing`] if the store does not hold it; [`Error::Invalid`] for a name with neither tag nor
    /// digest; [`Error::Io`].
    pub fn tag(&self, name: &Reference, manifest: &Descriptor) -> Result<(), Error> {
        manifest::check_descriptor(manifest)?;
        if name.tag().is_none() && name.digest().is_none() {
            return Err(Error::invalid(
                "image name",
                format!("{name} has neither a tag nor a digest"),
            ));
        }
        let record = Record {
            name: name.to_string(),
            descriptor: manifest.clone(),
        };
        let bytes = json::canonical(&record, "a tag")?;
        let guard = self.lock_shared()?;
        if !self.has(manifest.digest()) {
            return Err(Error::BlobMissing {
                digest: manifest.digest().clone(),
            });
        }
        lock::write_atomically(&self.tags_dir(), &file_name(name), &bytes)?;
        drop(guard);
        self.rewrite_index()
    }

    /// Takes a name away. `false` if nothing had it. The blobs stay until [`gc`](Store::gc).
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn untag(&self, name: &Reference) -> Result<bool, Error> {
        let path = self.tag_path(name);
        let guard = self.lock_shared()?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("removing", path)(error)),
        }
        drop(guard);
        lock::sync_dir(&self.tags_dir())?;
        self.rewrite_index()?;
        Ok(true)
    }

    /// What a name leads to.
    ///
    /// A name with a digest also finds an image tagged otherwise in the same repository that has this digest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Json`] for a damaged record.
    pub fn resolve(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        if let Some(tag) = read(&self.tag_path(name))? {
            return Ok(Some(tag.descriptor));
        }
        let Some(wanted) = name.digest() else {
            return Ok(None);
        };
        let wanted: Digest = digest::parse(wanted)?;
        let same_place = |tag: &Tag| {
            tag.name.registry() == name.registry() && tag.name.repository() == name.repository()
        };
        let tags = self.tags()?;
        Ok(tags
            .into_iter()
            .find(|tag| same_place(tag) && *tag.descriptor.digest() == wanted)
            .map(|tag| tag.descriptor))
    }

    /// All tags, sorted by name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Json`] for a damaged record.
    pub fn tags(&self) -> Result<Vec<Tag>, Error> {
        let dir = self.tags_dir();
        let mut tags = Vec::new();
        for entry in fs::read_dir(&dir).map_err(Error::io("reading", &dir))? {
            let entry = entry.map_err(Error::io("reading", &dir))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            tags.extend(read(&entry.path())?);
        }
        tags.sort_by_cached_key(|tag| tag.name.to_string());
        Ok(tags)
    }

    pub(super) fn tags_dir(&self) -> PathBuf {
        self.root.join("tags")
    }

    fn tag_path(&self, name: &Reference) -> PathBuf {
        self.tags_dir().join(file_name(name))
    }
}

/// A name can be longer than a file name may be, and holds slashes.
fn file_name(name: &Reference) -> String {
    digest::of(name.to_string().as_bytes()).digest().to_owned()
}

fn read(path: &Path) -> Result<Option<Tag>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("opening", path)(error)),
    };
    let what = format!("tag record {}", path.display());
    let bytes = json::read_bounded(file, &what)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(Error::json(what))?;
    Ok(Some(Tag {
        name: reference::parse(&record.name)?,
        descriptor: record.descriptor,
    }))
}

/// Removes records whose writing was interrupted. The store's lock is held exclusively.
pub(super) fn collect(store: &Store) -> Result<(), Error> {
    for dir in [store.tags_dir(), store.root.to_path_buf()] {
        for entry in fs::read_dir(&dir).map_err(Error::io("reading", &dir))? {
            let entry = entry.map_err(Error::io("reading", &dir))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".tmp-") {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(Error::io("removing", entry.path())(error));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}
