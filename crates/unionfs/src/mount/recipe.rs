//! An overlay for somebody else to mount: in a user namespace, or on a kernel without `lowerdir+`.

use std::path::PathBuf;

use super::{MOST_LAYERS, MountOptions, flags, needs_filler};
use crate::Error;
use crate::store::active::{Handle, UPPER, WORK};
use crate::store::record::ActiveKind;
use crate::store::{ACTIVE, EMPTY, TREES};

/// What to mount.
///
/// With `mount(2)`: change to `directory`, then mount `source` of type `fstype` with the `options` joined by commas. The
/// paths in them are relative and need no quoting, so that some four hundred layers fit in the one page the kernel takes.
/// `fsconfig` takes no value longer than 255 bytes: use `mount(2)` for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The file system's type: `overlay`.
    pub fstype: Vec<u8>,
    /// What the mount table shows as the source.
    pub source: Vec<u8>,
    /// `key=value` or a flag each.
    pub options: Vec<Vec<u8>>,
    /// The directory that relative paths in the options begin at.
    pub directory: Option<PathBuf>,
    /// Mount it read-only (`MS_RDONLY`).
    pub read_only: bool,
}

/// A page, with its NUL.
const MOST_BYTES: usize = 4095;

pub(super) fn recipe(snapshot: &Handle, how: &MountOptions) -> Result<Recipe, Error> {
    let record = &snapshot.record;
    let inner = &snapshot.inner;
    let writable = record.kind == ActiveKind::Writable;
    let count = record.trees.len();
    if count > MOST_LAYERS {
        return Err(Error::TooManyLayers {
            count,
            limit: MOST_LAYERS,
            how: "overlayfs",
        });
    }
    let mut lower = record.trees.join(":");
    if needs_filler(record.kind, count) {
        if count > 0 {
            lower.push(':');
        }
        lower.push_str("../");
        lower.push_str(EMPTY);
    }
    let mut options = vec![format!("lowerdir={lower}")];
    if writable {
        let own = format!("../{ACTIVE}/{}", snapshot.key.as_str());
        options.push(format!("upperdir={own}/{UPPER}"));
        options.push(format!("workdir={own}/{WORK}"));
    }
    options.extend(
        flags(inner.encoding, how, writable && !how.read_only)
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => format!("{key}={value}"),
                None => key.to_owned(),
            }),
    );
    if options.iter().map(|o| o.len() + 1).sum::<usize>() > MOST_BYTES {
        return Err(Error::TooManyLayers {
            count,
            limit: MOST_BYTES / 4,
            how: "one page of mount options",
        });
    }
    Ok(Recipe {
        fstype: b"overlay".to_vec(),
        source: b"overlay".to_vec(),
        options: options.into_iter().map(String::into_bytes).collect(),
        directory: Some(inner.path.join(TREES)),
        read_only: !writable || how.read_only,
    })
}
