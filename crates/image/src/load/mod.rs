//! Loading images from archives and directories nobody vouches for.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, Platform};

use crate::digest::Hasher;
use crate::{Error, Image, Lease, Store, decompress};
use limit::Limited;

mod docker;
mod gather;
mod legacy;
mod limit;
mod oci;
mod source;

pub(crate) use gather::only_zeros;
pub(crate) use source::Source;

/// What to load, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Only the image with this name; an archive without it is an error.
    pub only: Option<Reference>,
    /// Give images that have no name in the archive this one. With several such images it is an error.
    pub name: Option<Reference>,
    /// Tag the images in the store by their names.
    pub tag: bool,
    /// Unpack packed layers to compare their diff ids. Whoever unpacks the layers right after and compares
    /// there saves the time.
    pub verify_diff_ids: bool,
    /// The most bytes the unpacked archive, and each unpacked layer, may have: a small archive can unpack to terabytes.
    pub max_bytes: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            only: None,
            name: None,
            tag: true,
            verify_diff_ids: true,
            max_bytes: None,
        }
    }
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// Its names; none for an image that has none in the archive.
    pub names: Vec<Reference>,
    /// Its manifest or index. The lease of the store handle given to `load` keeps it.
    pub descriptor: Descriptor,
}

/// Loads all images of an archive: an OCI layout as a tar, what `docker save` writes (old, new, and the hybrid of Docker
/// 25), plain or packed by gzip or zstd; which it is, is detected. The stream is read once, front to back.
///
/// # Errors
///
/// [`Error::Archive`], [`Error::Entry`], [`Error::DigestMismatch`] and the like for archives that are truncated, lie or
/// are something else; [`Error::Io`]. Nothing of an archive that fails is left in the store.
pub fn load(reader: impl Read, store: &Store, options: &LoadOptions) -> Result<Vec<Loaded>, Error> {
    run(store, options, |lease, created| {
        let reader = Limited::new(decompress(reader)?, "the archive", options.max_bytes);
        let archive = gather::gather(reader, lease, created)?;
        Ok(Source::Archive(Box::new(archive)))
    })
}

/// Loads from a path: an archive (see [`load`]) or an OCI layout directory.
///
/// # Errors
///
/// As [`load`].
pub fn load_path(path: &Path, store: &Store, options: &LoadOptions) -> Result<Vec<Loaded>, Error> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    if file
        .metadata()
        .map_err(Error::io("reading", path))?
        .is_dir()
    {
        return run(store, options, |_, _| {
            Ok(Source::Directory(path.to_owned()))
        });
    }
    load(BufReader::with_capacity(128 << 10, file), store, options)
}

/// One image found in an archive, all of its blobs in the store.
pub(crate) struct Found {
    pub(crate) names: Vec<Reference>,
    pub(crate) descriptor: Descriptor,
}

impl Found {
    fn add_names(&mut self, names: Vec<Reference>) {
        for name in names {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }
}

/// Loads under a lease of its own, and takes everything back if it fails.
pub(crate) fn run(
    store: &Store,
    options: &LoadOptions,
    open: impl FnOnce(&Lease, &mut HashSet<Digest>) -> Result<Source, Error>,
) -> Result<Vec<Loaded>, Error> {
    let lease = store.lease()?;
    let mut job = Job {
        lease,
        created: HashSet::new(),
        diff_ids: HashMap::new(),
        max_bytes: options.max_bytes,
    };
    let result = open(&job.lease, &mut job.created).and_then(|source| job.load(&source, options));
    // From here the caller's lease or the tags keep what was asked for; the rest of the archive goes.
    let result = result.and_then(|found| finish(store, found, options));
    let Job { lease, created, .. } = job;
    drop(lease);
    let cleared = store.discard(&created);
    let loaded = result?;
    cleared?;
    Ok(loaded)
}

/// Names what was loaded. If one name cannot be given, those before it go back to what had them.
fn finish(store: &Store, found: Vec<Found>, options: &LoadOptions) -> Result<Vec<Loaded>, Error> {
    let mut before: Vec<(Reference, Option<Descriptor>)> = Vec::new();
    let mut name_all = || {
        for Found { names, descriptor } in &found {
            for name in names.iter().filter(|_| options.tag) {
                before.push((name.clone(), store.resolve(name)?));
                store.tag(name, descriptor)?;
            }
        }
        found
            .iter()
            .try_for_each(|image| store.keep(image.descriptor.digest()).map(|_| ()))
    };
    let named = name_all();
    if let Err(error) = named {
        for (name, had) in before.into_iter().rev() {
            // The first error is the one to report.
            let _ = match had {
                Some(descriptor) => store.tag(&name, &descriptor).map(|()| true),
                None => store.untag(&name),
            };
        }
        return Err(error);
    }
    let loaded = |Found { names, descriptor }| Loaded { names, descriptor };
    Ok(found.into_iter().map(loaded).collect())
}

/// The state of one load.
pub(crate) struct Job {
    lease: Lease,
    created: HashSet<Digest>,
    diff_ids: HashMap<Digest, Digest>,
    max_bytes: Option<u64>,
}

impl Job {
    fn load(&mut self, source: &Source, options: &LoadOptions) -> Result<Vec<Found>, Error> {
        let mut found = match (source.is_layout()?, source.is_docker()?) {
            (true, docker) => {
                let mut found = self.load_oci(source, options)?;
                if docker {
                    docker::add_names(source, &self.lease, &mut found)?;
                }
                found
            }
            (false, true) => self.load_docker(source, options)?,
            (false, false) if source.has_document(legacy::REPOSITORIES)? => {
                self.load_legacy(source, options)?
            }
            (false, false) => {
                return Err(Error::archive(
                    "it has neither index.json (an OCI layout) nor manifest.json (docker save); a plain root file \
                     system is imported, not loaded",
                ));
            }
        };
        if let Some(only) = &options.only {
            found.retain(|image| image.names.contains(only));
            for image in &mut found {
                image.names.retain(|name| name == only);
            }
            if found.is_empty() {
                return Err(Error::archive(format!("it has no image named {only}")));
            }
        }
        if let Some(name) = &options.name {
            let mut unnamed: Vec<_> = found
                .iter_mut()
                .filter(|image| image.names.is_empty())
                .collect();
            match unnamed.as_mut_slice() {
                [] => {}
                [one] => one.names.push(name.clone()),
                _ => {
                    return Err(Error::archive(format!(
                        "several images have no name; which is {name}?"
                    )));
                }
            }
        }
        if found.is_empty() {
            return Err(Error::archive("it has no image"));
        }
        Ok(found)
    }

    /// Checks that each layer of an image unpacks to what its config says.
    fn verify_layers(&mut self, image: &Image) -> Result<(), Error> {
        for layer in image.layers() {
            let digest = layer.descriptor.digest();
            if !self.lease.has(digest) {
                // A foreign layer that is fetched from its vendor.
                continue;
            }
            let actual = self.diff_id(digest)?;
            if actual != layer.diff_id {
                return Err(Error::in_entry(digest.as_ref())(Error::DigestMismatch {
                    expected: layer.diff_id.clone(),
                    actual,
                }));
            }
        }
        Ok(())
    }

    /// The digest of a layer's plain tar.
    fn diff_id(&mut self, digest: &Digest) -> Result<Digest, Error> {
        if let Some(known) = self.diff_ids.get(digest) {
            return Ok(known.clone());
        }
        let reader = decompress(self.lease.blob(digest)?)?;
        let diff_id = if reader.compression() == crate::Compression::None
            && *digest.algorithm() == oci_spec::image::DigestAlgorithm::Sha256
        {
            digest.clone()
        } else {
            let mut hasher = Hasher::default();
            let limited = Limited::new(reader, &format!("layer {digest}"), self.max_bytes);
            hasher
                .update_from(limited, "a layer")
                .map_err(Error::in_entry(digest.as_ref()))?;
            hasher.finish()
        };
        self.diff_ids.insert(digest.clone(), diff_id.clone());
        Ok(diff_id)
    }

    /// Views a manifest that is in the store as an image.
    fn image(&self, manifest: &Digest) -> Result<Image, Error> {
        // A manifest is taken whatever its platform.
        self.lease.image(manifest, &Platform::default())
    }
}
