//! OCI image layouts: the directory and the tar archive of one.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::path::Path;

use crate::load::{self, LoadOptions, Loaded, Source};
use crate::save::{self, Export};
use crate::{Error, Store};
use oci_spec::image::Platform;

/// Loads images from an OCI layout directory.
///
/// # Errors
///
/// As [`crate::load`]; nothing of a layout that fails is left.
pub fn load_dir(dir: &Path, store: &Store, options: &LoadOptions) -> Result<Vec<Loaded>, Error> {
    load::run(store, options, |_, _| Ok(Source::Directory(dir.to_owned())))
}

/// Saves images as an OCI layout directory, which appears whole or not at all. `dir` must be absent or empty.
///
/// # Errors
///
/// As [`crate::save`]; [`Error::Io`] if `dir` is there and not empty.
pub fn save_dir(
    store: &Store,
    images: &[Export],
    platform: &Platform,
    dir: &Path,
) -> Result<(), Error> {
    save::save_dir(store, images, platform, dir)
}
