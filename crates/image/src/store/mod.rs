//! The content-addressed store.
//!
//! ```text
//! oci-layout  index.json      an OCI image layout; index.json is derived from tags/
//! blobs/sha256/HEX            verified and durable before they have this name
//! ingest/ID                   blobs being written, locked by their writer
//! tags/HEX                    one record a name (HEX is the digest of the name)
//! leases/ID                   digests in use by a live process, locked by it
//! trash/                      what gc is deleting
//! lock                        shared by whoever gives a blob or tag a name, exclusive for gc's marking
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::{Descriptor, Digest, MediaType, Platform};

use crate::manifest::{self, Document};
use crate::{Error, Image, digest, json, platform};

mod fsck;
mod gc;
mod index;
mod ingest;
mod lease;
mod lock;
mod tags;

pub use fsck::{Damage, FsckReport};
pub use gc::GcReport;
pub(crate) use index::{CONTAINERD_NAME, INDEX, REF_NAME};
pub(crate) use index::{named as index_entry, to_bytes as index_bytes};
pub use ingest::{Claim, Ingest};
pub use lease::Lease;
pub(crate) use lock::unique;
pub use tags::Tag;

use lease::LeaseSlot;
use lock::Lock;

pub(crate) const OCI_LAYOUT: &str = "oci-layout";
pub(crate) const OCI_LAYOUT_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const ALGORITHMS: [&str; 3] = ["sha256", "sha384", "sha512"];
const DIRECTORIES: [&str; 5] = ["blobs", "ingest", "tags", "leases", "trash"];

/// A directory of verified blobs, tags and leases. Cheap to clone; any number of processes may share one.
///
/// Blobs that a handle brings in are kept from [`gc`](Store::gc) by the handle's lease until the handle and all
/// its clones are dropped or its process ends; by then they should be tagged. A process that lives long takes a
/// [`lease`](Store::lease) per job instead.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
    lease: Arc<LeaseSlot>,
}

impl Store {
    /// Opens a store, making it if the directory is absent or empty. The directory gets mode 0700.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`] for a directory with something else in it, be it another tool's layout;
    /// [`Error::Io`].
    pub fn open(dir: &Path) -> Result<Store, Error> {
        let root = std::path::absolute(dir).map_err(Error::io("resolving", dir))?;
        if !root.join(OCI_LAYOUT).is_file() || !root.join("tags").is_dir() {
            Self::create(&root)?;
        }
        check_layout(&root)?;
        let store = Store {
            lease: Arc::new(LeaseSlot::new(&root)),
            root: root.into(),
        };
        store.refresh_index()?;
        Ok(store)
    }

    fn create(root: &Path) -> Result<(), Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root).map_err(Error::io("creating", root))?;
        for entry in fs::read_dir(root).map_err(Error::io("reading", root))? {
            let name = entry.map_err(Error::io("reading", root))?.file_name();
            let ours = name.to_str().is_some_and(|name| {
                DIRECTORIES.contains(&name)
                    || matches!(name, "lock" | "index.lock")
                    || name.starts_with(".tmp-")
            });
            // A store whose making was interrupted is made again; its oci-layout comes last.
            if !ours {
                let reason = if root.join(OCI_LAYOUT).exists() {
                    "it is an OCI layout of another tool; load it into a store".to_owned()
                } else {
                    format!("it is not empty: it has {name:?}")
                };
                return Err(Error::NotAStore {
                    path: root.to_owned(),
                    reason,
                });
            }
        }
        rustix::fs::chmod(root, rustix::fs::Mode::RWXU)
            .map_err(|errno| Error::io("changing the mode of", root)(errno.into()))?;
        builder.mode(0o755);
        for name in DIRECTORIES {
            let path = root.join(name);
            builder
                .create(&path)
                .map_err(Error::io("creating", &path))?;
        }
        for name in ALGORITHMS {
            let path = root.join("blobs").join(name);
            // Other algorithms' folders appear with their first blob.
            if name == "sha256" {
                builder
                    .create(&path)
                    .map_err(Error::io("creating", &path))?;
            }
        }
        // gc, which excludes this, removes unfinished files.
        let _shared = Lock::shared(&root.join("lock"))?;
        index::write_if_absent(root)?;
        lock::write_atomically(root, OCI_LAYOUT, OCI_LAYOUT_CONTENT.as_bytes())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn lock_shared(&self) -> Result<Lock, Error> {
        Lock::shared(&self.root.join("lock"))
    }

    /// Where a blob lies or would lie. The digest is checked, so the path stays inside the store.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDigest`].
    pub fn blob_path(&self, digest: &Digest) -> Result<PathBuf, Error> {
        digest::check(digest)?;
        Ok(self
            .root
            .join("blobs")
            .join(digest.algorithm().as_ref())
            .join(digest.digest()))
    }

    /// Whether the store holds a blob. Only [`Store::keep`] also makes it stay.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_ok_and(|path| path.is_file())
    }

    /// Opens a blob. It was verified when it came in; the file stays readable if `gc` removes it meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::BlobMissing`], [`Error::InvalidDigest`], [`Error::Io`].
    pub fn blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.blob_path(digest)?;
        File::open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::BlobMissing {
                digest: digest.clone(),
            },
            _ => Error::io("opening", path)(error),
        })
    }

    /// The size of a blob in bytes.
    ///
    /// # Errors
    ///
    /// As [`Store::blob`].
    pub fn size(&self, digest: &Digest) -> Result<u64, Error> {
        let path = self.blob_path(digest)?;
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::BlobMissing {
                digest: digest.clone(),
            }),
            Err(error) => Err(Error::io("reading", path)(error)),
        }
    }

    /// Reads a small blob (a manifest or a config) and verifies it again.
    ///
    /// # Errors
    ///
    /// As [`Store::blob`]; [`Error::TooLarge`] above [`json::MAX_DOCUMENT`]; [`Error::DigestMismatch`] for a file
    /// that was damaged on disk.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let file = self.blob(digest)?;
        let size = file
            .metadata()
            .map_err(Error::io("reading", self.blob_path(digest)?))?
            .len();
        json::check_size(size, &format!("blob {digest}"))?;
        let bytes = json::read_bounded(file, &format!("blob {digest}"))?;
        digest::verify(digest, &bytes)?;
        Ok(bytes)
    }

    /// Puts a small blob into the store.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, Error> {
        let digest = digest::of(bytes);
        if !self.keep(&digest)? || self.size(&digest)? != bytes.len() as u64 {
            let mut ingest = self.ingest(Some((&digest, Some(bytes.len() as u64))))?;
            ingest.append(bytes)?;
            ingest.commit()?;
        }
        Ok(Descriptor::new(media_type, bytes.len() as u64, digest))
    }

    /// Adds a digest to this handle's lease, and says whether the store holds it.
    ///
    /// From here to the end of the lease [`gc`](Store::gc) keeps the blob and what it refers to. This is the way to
    /// find out which layers need no download.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDigest`], [`Error::Io`].
    pub fn keep(&self, digest: &Digest) -> Result<bool, Error> {
        let path = self.blob_path(digest)?;
        let lock = self.lock_shared()?;
        self.lease.add(digest)?;
        let there = path.is_file();
        drop(lock);
        Ok(there)
    }

    /// A handle on the same store with a lease of its own, for one job.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn lease(&self) -> Result<Lease, Error> {
        let slot = Arc::new(LeaseSlot::new(&self.root));
        let lock = self.lock_shared()?;
        slot.create()?;
        drop(lock);
        Ok(Lease::new(Store {
            root: self.root.clone(),
            lease: slot,
        }))
    }

    /// All blobs with their sizes, in no order.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut blobs = Vec::new();
        for algorithm in ALGORITHMS {
            let dir = self.root.join("blobs").join(algorithm);
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("reading", dir)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(Error::io("reading", &dir))?;
                let name = entry.file_name();
                let Some(digest) = name
                    .to_str()
                    .and_then(|hex| digest::parse(&format!("{algorithm}:{hex}")).ok())
                else {
                    continue;
                };
                match entry.metadata() {
                    Ok(metadata) if metadata.is_file() => blobs.push((digest, metadata.len())),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::io("reading", entry.path())(error)),
                }
            }
        }
        Ok(blobs)
    }

    /// The manifest or index with a digest.
    ///
    /// # Errors
    ///
    /// As [`Store::read`] and [`manifest::parse`].
    pub fn document(&self, digest: &Digest) -> Result<(Vec<u8>, Document), Error> {
        let bytes = self.read(digest)?;
        let document = manifest::parse(&bytes, None)?;
        Ok((bytes, document))
    }

    /// The image a manifest or index describes, for a platform.
    ///
    /// A manifest is taken whatever its platform (see [`Image::matches`]); in an index the best match is chosen.
    /// Layers need not be in the store.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] naming the digest, whose cause is one of those of [`Image::from_parts`], of
    /// [`platform::select`] or [`Error::BlobMissing`].
    pub fn image(&self, manifest: &Digest, platform: &Platform) -> Result<Image, Error> {
        self.image_at(manifest, None, platform)
            .map_err(Error::in_image(manifest))
    }

    fn image_at(
        &self,
        digest: &Digest,
        descriptor: Option<&Descriptor>,
        platform: &Platform,
    ) -> Result<Image, Error> {
        // Nested indexes exist; deep ones are an attack.
        const DEPTH: usize = 4;
        let mut digest = digest.clone();
        let mut descriptor = descriptor.cloned();
        for _ in 0..DEPTH {
            let (bytes, document) = self.document(&digest)?;
            match document {
                Document::Index(index) => {
                    let chosen = platform::select(&index, platform)?;
                    digest = chosen.digest().clone();
                    descriptor = Some(chosen.clone());
                }
                Document::Manifest(manifest) => {
                    let descriptor = descriptor.unwrap_or_else(|| {
                        let document = Document::Manifest(manifest.clone());
                        Descriptor::new(manifest::media_type(&document), bytes.len() as u64, digest)
                    });
                    if !crate::media::is_image_config(manifest.config().media_type()) {
                        let media_type = crate::error::cut(manifest.config().media_type().as_ref());
                        return Err(Error::NotAnImage { media_type });
                    }
                    let config = self.read(manifest.config().digest())?;
                    return Image::from_parts(descriptor, bytes, config);
                }
            }
        }
        Err(Error::invalid(
            "image index",
            format!("it is nested more than {DEPTH} deep"),
        ))
    }

    /// The plain tar of a layer: its blob, unpacked while it is read.
    ///
    /// # Errors
    ///
    /// As [`Store::blob`] and [`crate::decompress`].
    pub fn layer(
        &self,
        layer: &crate::Layer,
    ) -> Result<crate::compression::Decompressor<File>, Error> {
        crate::decompress(self.blob(layer.descriptor.digest())?)
    }
}

fn check_layout(root: &Path) -> Result<(), Error> {
    let path = root.join(OCI_LAYOUT);
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(4096).read_to_string(&mut text))
        .map_err(Error::io("reading", &path))?;
    check_layout_version(&text)
}

/// Checks the content of an `oci-layout` file.
pub(crate) fn check_layout_version(text: &str) -> Result<(), Error> {
    let value = json::parse(text.as_bytes(), OCI_LAYOUT)?;
    match value
        .get("imageLayoutVersion")
        .and_then(|version| version.as_str())
    {
        Some(version) if version == "1" || version.starts_with("1.") => Ok(()),
        Some(version) => Err(Error::invalid(
            OCI_LAYOUT,
            format!("its version is {:?}, not 1.0.0", crate::error::cut(version)),
        )),
        None => Err(Error::invalid(OCI_LAYOUT, "it has no imageLayoutVersion")),
    }
}
