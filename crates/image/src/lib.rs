//! OCI and Docker image formats over a content-addressed store.
//!
//! A [`Store`] is a directory of verified blobs that is itself an OCI image layout, shared by any number of processes
//! and readable by other tools (`skopeo inspect oci:DIR:NAME`). Archives are loaded into it and saved from it; an
//! [`Image`] is the immutable view of one image in it.
//!
//! ```
//! use orlop_image::{Store, builder::ImageBuilder, platform, reference};
//!
//! # let dir = tempfile::tempdir()?;
//! let store = Store::open(&dir.path().join("images"))?;
//! let name = reference::parse("example/empty")?;
//! ImageBuilder::new(platform::host()).command(["/bin/true"]).commit(&store, Some(&name))?;
//!
//! let found = store.resolve(&name)?.expect("just tagged");
//! let image = store.image(found.digest(), &platform::host())?;
//! assert_eq!(image.layers().len(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! It speaks to no registry, unpacks no layer and knows no file system's whiteouts: it hands out plain tar streams
//! ([`decompress`]) and takes them. It compares a layer's diff id when it loads an archive; whoever unpacks a layer
//! that came another way compares it against [`Layer::diff_id`]. Schema 1 manifests, xz and bzip2 layers are refused.
//!
//! # What it needs
//!
//! Linux, a file system with `flock(2)`, `rename(2)` and `fsync(2)`, and no privilege.

#![forbid(unsafe_code)]

pub mod builder;
pub mod compression;
pub mod config;
pub mod digest;
mod error;
mod image;
mod import;
pub mod json;
pub mod layout;
mod load;
pub mod manifest;
pub mod media;
pub mod platform;
pub mod reference;
mod save;
mod store;

pub use compression::{Compression, compress, decompress};
pub use error::{Error, ErrorKind};
pub use image::{Image, Layer, chain_ids};
pub use import::{ImportOptions, import};
pub use load::{LoadOptions, Loaded, load, load_path};
pub use save::{Export, save};
pub use store::{Claim, Damage, FsckReport, GcReport, Ingest, Lease, Store, Tag};

pub use oci_spec::distribution::Reference;
pub use oci_spec::image::{Config, Descriptor, Digest, MediaType, Platform};
