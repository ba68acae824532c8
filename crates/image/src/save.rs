//! Saving images as an archive every tool loads, or as an OCI layout directory.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::path::Path;

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, Platform};
use serde::Serialize;

use crate::digest::Hasher;
use crate::store::{INDEX, OCI_LAYOUT, OCI_LAYOUT_CONTENT, index_bytes, index_entry, unique};
use crate::{Error, Image, Store, json, media};

/// An image to save, and the names to save it under.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// A manifest, or an index of which the image for one platform is saved.
    pub descriptor: Descriptor,
    /// Its names; may be empty.
    pub names: Vec<Reference>,
}

impl Export {
    /// The image with a name; `None` if the store has no such tag.
    ///
    /// # Errors
    ///
    /// As [`Store::resolve`].
    pub fn named(store: &Store, name: &Reference) -> Result<Option<Export>, Error> {
        let descriptor = store.resolve(name)?;
        Ok(descriptor.map(|descriptor| Export {
            descriptor,
            names: vec![name.clone()],
        }))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Everything an archive or layout will hold.
struct Plan {
    documents: Vec<(&'static str, Vec<u8>)>,
    blobs: BTreeMap<String, (Digest, u64)>,
}

/// Writes images as one tar in the form Docker has written since 25: an OCI layout and `manifest.json` over the same
/// blobs. docker, podman, containerd, `skopeo docker-archive:` and `skopeo oci-archive:` all load it, as does [`crate::load`].
///
/// Blobs keep their packing, and so layers their digests. The same images give the same bytes.
///
/// # Errors
///
/// [`Error::Image`] for an image that is not whole; [`Error::DigestMismatch`] for a blob damaged on disk;
/// [`Error::Write`].
pub fn save(
    store: &Store,
    images: &[Export],
    platform: &Platform,
    writer: impl Write,
) -> Result<(), Error> {
    let lease = store.lease()?;
    let plan = plan(&lease, images, platform, true)?;
    let what = "the archive";
    let mut tar = tar::Builder::new(writer);
    for dir in directories(&plan) {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        tar.append_data(&mut header, format!("{dir}/"), std::io::empty())
            .map_err(Error::write(what))?;
    }
    for (name, bytes) in &plan.documents {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        tar.append_data(&mut header, name, bytes.as_slice())
            .map_err(Error::write(what))?;
    }
    for (path, (digest, size)) in &plan.blobs {
        let mut checked = Checked::open(&lease, digest, *size)?;
        let mut header = header(tar::EntryType::Regular, 0o644, *size);
        tar.append_data(&mut header, path, &mut checked)
            .map_err(Error::write(what))?;
        checked.finish()?;
    }
    tar.into_inner()
        .and_then(|mut writer| writer.flush())
        .map_err(Error::write(what))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Writes images as an OCI layout directory, which appears whole or not at all. `dir` must be absent or empty.
pub(crate) fn save_dir(
    store: &Store,
    images: &[Export],
    platform: &Platform,
    dir: &Path,
) -> Result<(), Error> {
    let lease = store.lease()?;
    let plan = plan(&lease, images, platform, false)?;
    let dir = std::path::absolute(dir).map_err(Error::io("resolving", dir))?;
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let staging = parent.join(format!(".tmp-layout-{}", unique()));
    let result = write_dir(&lease, &plan, &staging)
        .and_then(|()| fs::rename(&staging, &dir).map_err(Error::io("renaming to", &dir)))
        .and_then(|()| {
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(Error::io("syncing", parent))
        });
    if result.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&staging);
    }
    result
}

fn write_dir(store: &Store, plan: &Plan, dir: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    for name in directories(plan) {
        let path = dir.join(name);
        builder
            .create(&path)
            .map_err(Error::io("creating", &path))?;
    }
    for (name, bytes) in &plan.documents {
        let path = dir.join(name);
        write_file(&path, |file| {
            file.write_all(bytes).map_err(Error::io("writing", &path))
        })?;
    }
    for (name, (digest, size)) in &plan.blobs {
        let path = dir.join(name);
        let mut checked = Checked::open(store, digest, *size)?;
        write_file(&path, |file| {
            std::io::copy(&mut checked, file)
                .map_err(Error::io("writing", &path))
                .map(|_| ())
        })?;
        checked.finish()?;
    }
    Ok(())
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut file = File::create_new(path).map_err(Error::io("creating", path))?;
    write(&mut file)?;
    file.sync_all().map_err(Error::io("syncing", path))
}

fn directories(plan: &Plan) -> Vec<String> {
    let mut all: Vec<String> = vec!["blobs".to_owned()];
    for path in plan.blobs.keys() {
        if let Some((dir, _)) = path.rsplit_once('/')
            && !all.iter().any(|known| known == dir)
        {
            all.push(dir.to_owned());
        }
    }
    all
}

fn plan(
    store: &Store,
    images: &[Export],
    platform: &Platform,
    docker: bool,
) -> Result<Plan, Error> {
    let mut blobs = BTreeMap::new();
    let mut entries = Vec::new();
    let mut items: Vec<(Digest, Item)> = Vec::new();
    let mut seen = HashSet::new();
    for export in images {
        let name = export.names.first().map_or_else(
            || export.descriptor.digest().to_string(),
            ToString::to_string,
        );
        let image = collect(store, export, platform, &mut blobs).map_err(Error::in_image(name))?;
        let mut descriptor = image.descriptor().clone();
        descriptor.set_platform(Some(image.platform()));
        if export.names.is_empty() && seen.insert((image.digest().clone(), String::new())) {
            entries.push(descriptor.clone());
        }
        for name in &export.names {
            if seen.insert((image.digest().clone(), name.to_string())) {
                entries.push(index_entry(&descriptor, name));
            }
        }
        let tags = export
            .names
            .iter()
            .filter(|name| name.tag().is_some() && name.digest().is_none());
        // Full names: podman takes a short one for its own.
        let tags = tags.map(ToString::to_string);
        match items.iter_mut().find(|(id, _)| id == image.id()) {
            Some((_, item)) => item.repo_tags.extend(tags),
            None => items.push((
                image.id().clone(),
                Item {
                    config: blob_path(image.id()),
                    repo_tags: tags.collect(),
                    layers: image
                        .layers()
                        .iter()
                        .map(|layer| blob_path(layer.descriptor.digest()))
                        .collect(),
                },
            )),
        }
    }
    let mut documents = vec![
        (OCI_LAYOUT, OCI_LAYOUT_CONTENT.as_bytes().to_vec()),
        (INDEX, index_bytes(entries)?),
    ];
    if docker {
        let items: Vec<Item> = items.into_iter().map(|(_, item)| item).collect();
        documents.push((
            "manifest.json",
            serde_json::to_vec(&items).map_err(Error::json("manifest.json"))?,
        ));
    }
    for (_, bytes) in &documents {
        json::check_size(bytes.len() as u64, "the archive's index")?;
    }
    Ok(Plan { documents, blobs })
}

fn collect(
    store: &Store,
    export: &Export,
    platform: &Platform,
    blobs: &mut BTreeMap<String, (Digest, u64)>,
) -> Result<Image, Error> {
    store.keep(export.descriptor.digest())?;
    let image = store.image(export.descriptor.digest(), platform)?;
    let config = image.manifest().config();
    let layers = image.layers().iter().map(|layer| &layer.descriptor);
    for descriptor in [image.descriptor(), config].into_iter().chain(layers) {
        if !store.has(descriptor.digest()) {
            if media::is_foreign_layer(descriptor.media_type()) {
                continue;
            }
            return Err(Error::BlobMissing {
                digest: descriptor.digest().clone(),
            });
        }
        blobs.insert(
            blob_path(descriptor.digest()),
            (descriptor.digest().clone(), descriptor.size()),
        );
    }
    Ok(image)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

/// A blob that is hashed again on its way out: what was damaged on disk must not spread.
struct Checked {
    file: File,
    hasher: Hasher,
    digest: Digest,
}

impl Checked {
    fn open(store: &Store, digest: &Digest, size: u64) -> Result<Checked, Error> {
        let actual = store.size(digest)?;
        if actual != size {
            return Err(Error::SizeMismatch {
                expected: size,
                actual,
            });
        }
        Ok(Checked {
            file: store.blob(digest)?,
            hasher: Hasher::for_digest(digest)?,
            digest: digest.clone(),
        })
    }

    fn finish(self) -> Result<(), Error> {
        self.hasher.verify(&self.digest)
    }
}

impl Read for Checked {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}
