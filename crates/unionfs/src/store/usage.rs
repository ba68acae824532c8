//! What a snapshot takes on disk.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use super::active::{Handle, UPPER};
use super::inner::ACTIVE;
use crate::error::At;
use crate::{Error, flatten, fsutil};

/// What something takes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes allocated, each file once however many names it has.
    pub bytes: u64,
    /// Files, directories, links …
    pub inodes: u64,
}

/// What was written to a snapshot; nothing for a view.
pub(crate) fn of_snapshot(snapshot: &Handle) -> Result<Usage, Error> {
    let inner = &snapshot.inner;
    let key = snapshot.key.as_str();
    let shown = inner.path.join(ACTIVE).join(key);
    let dir = fsutil::open_dir(inner.directory(ACTIVE)?, key.as_bytes()).at("opening", &shown)?;
    let mut usage = Usage::default();
    for name in [UPPER, flatten::TREE] {
        if let Ok(tree) = fsutil::open_dir(&dir, name.as_bytes()) {
            let part = of_tree(&tree)?;
            usage.bytes += part.bytes;
            usage.inodes += part.inodes;
        }
    }
    Ok(usage)
}

/// Everything below a directory, and it.
pub(crate) fn of_tree(root: &OwnedFd) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    let mut todo: Vec<Vec<u8>> = vec![Vec::new()];
    let mut add = |stat: &rustix::fs::Stat| {
        if stat.st_nlink < 2
            || fsutil::file_type(stat) == FileType::Directory
            || seen.insert((stat.st_dev, stat.st_ino))
        {
            usage.bytes += stat.st_blocks.cast_unsigned() * 512;
            usage.inodes += 1;
        }
    };
    add(&rustix::fs::fstat(root).at("examining", "/")?);
    while let Some(path) = todo.pop() {
        let dir = match fsutil::open_dir(root, &path) {
            // It was removed meanwhile: containers run while this counts.
            Err(rustix::io::Errno::NOENT) => continue,
            other => other.at_entry("opening directory", &path)?,
        };
        for (name, _) in fsutil::list(&dir).at_entry("listing", &path)? {
            let Some(stat) = fsutil::stat(&dir, name.as_bytes()).at_entry("examining", &path)?
            else {
                continue;
            };
            add(&stat);
            if fsutil::file_type(&stat) == FileType::Directory {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                todo.push([&path, slash, name.as_bytes()].concat());
            }
        }
    }
    Ok(usage)
}
