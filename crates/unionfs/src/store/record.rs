//! What the store writes down about layers and snapshots: small files that never change once they have their name.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;
use crate::error::At;
use crate::{Error, fsutil};

/// The format of the whole store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) version: u32,
    pub(crate) encoding: Encoding,
}

/// A committed layer: its data is durable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) chain_id: String,
    pub(crate) parent: Option<String>,
    /// Unknown for a layer made from a snapshot without a diff.
    pub(crate) diff_id: Option<String>,
    /// Directories of the whole stack, the layer's own first, as names in the store's directory of trees. Parents cannot go
    /// while this record stays, so this remains true.
    pub(crate) trees: Vec<String>,
    /// The tree whose root directory has the stack's attributes, if any layer says them.
    pub(crate) root: Option<String>,
    /// Nothing of the parents is seen.
    pub(crate) opaque: bool,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// Active snapshot or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActiveKind {
    Writable,
    View,
}

/// A snapshot by key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ActiveRecord {
    pub(crate) kind: ActiveKind,
    pub(crate) parent: Option<String>,
    pub(crate) trees: Vec<String>,
    pub(crate) root: Option<String>,
}

/// Reads a record; `None` if there is no such file.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(
    dir: impl AsFd,
    name: &str,
    shown: &std::path::Path,
) -> Result<Option<T>, Error> {
    let fd = match fsutil::open_file(dir, name.as_bytes()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other.at("opening", shown.join(name))?,
    };
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut text)
        .at("reading", shown.join(name))?;
    let value = serde_json::from_slice(&text).map_err(|e| Error::Corrupt {
        path: shown.join(name),
        reason: e.to_string(),
    })?;
    Ok(Some(value))
}

/// Writes a new file; whether it is durable is the caller's choice.
pub(crate) fn write<T: Serialize>(
    dir: impl AsFd,
    name: &str,
    value: &T,
    shown: &std::path::Path,
) -> Result<OwnedFd, Error> {
    let text = serde_json::to_vec(value).map_err(|e| Error::Corrupt {
        path: shown.join(name),
        reason: e.to_string(),
    })?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd =
        fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).at("creating", shown.join(name))?;
    fsutil::write_all(fd.as_fd(), &text).at("writing", shown.join(name))?;
    Ok(fd)
}
