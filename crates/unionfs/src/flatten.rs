//! Where there is no overlayfs: a snapshot as a plain copy of its stack.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode};
use rustix::io::Errno;

use crate::apply::lower::is_opaque;
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil::remove_tree;
use crate::store::ACTIVE;
use crate::store::active::{Handle, UPPER};
use crate::store::staging::inherit_root;
use crate::{Error, copy, fsutil};

/// The copied tree in a snapshot's directory, complete once it has this name.
pub(crate) const TREE: &str = "copy";
/// The same while it is being made.
const PARTIAL: &str = "copy.partial";

/// Whether this snapshot is a copy already.
pub(crate) fn exists(snapshot: &Handle) -> Result<bool, Error> {
    let dir = open(snapshot)?;
    Ok(fsutil::stat(&dir, TREE.as_bytes())
        .at("examining", shown(snapshot).join(TREE))?
        .is_some())
}

/// The copied tree of a snapshot, made if it is not there yet.
pub(crate) fn directory(snapshot: &Handle) -> Result<PathBuf, Error> {
    let dir = open(snapshot)?;
    // One copies, the others wait.
    fs::flock(&dir, FlockOperation::LockExclusive).at("locking", shown(snapshot))?;
    if !exists(snapshot)? {
        // What a copier left that died.
        remove_tree(&dir, PARTIAL.as_bytes()).at("removing", shown(snapshot).join(PARTIAL))?;
        fs::mkdirat(&dir, PARTIAL, Mode::RWXU).at("creating", shown(snapshot).join(PARTIAL))?;
        let made = fill(snapshot, &dir);
        if made.is_err() {
            let _ = remove_tree(&dir, PARTIAL.as_bytes());
        }
        made?;
        fs::renameat(&dir, PARTIAL, &dir, TREE).at("creating", shown(snapshot).join(TREE))?;
    }
    Ok(shown(snapshot).join(TREE))
}

fn fill(snapshot: &Handle, dir: &OwnedFd) -> Result<(), Error> {
    let inner = &snapshot.inner;
    let root =
        fsutil::open_dir(dir, PARTIAL.as_bytes()).at("opening", shown(snapshot).join(PARTIAL))?;
    for tree in inner.open_trees(&snapshot.record.trees)?.iter().rev() {
        overlay(tree.as_fd(), root.as_fd(), inner.encoding)?;
    }
    inherit_root(inner, snapshot.record.root.as_ref(), root.as_fd())?;
    // What was written while this was an overlay comes along.
    if let Ok(upper) = fsutil::open_dir(dir, UPPER.as_bytes()) {
        overlay(upper.as_fd(), root.as_fd(), inner.encoding)?;
        copy::attributes(upper.as_fd(), root.as_fd(), b"/")?;
    }
    Ok(())
}

fn open(snapshot: &Handle) -> Result<OwnedFd, Error> {
    let active = snapshot.inner.directory(ACTIVE)?;
    fsutil::open_dir(&active, snapshot.key.as_str().as_bytes()).at("opening", shown(snapshot))
}

fn shown(snapshot: &Handle) -> PathBuf {
    snapshot.inner.path.join(ACTIVE).join(snapshot.key.as_str())
}

/// Puts one layer's directory over what is in `to` already, as overlayfs would show it.
pub(crate) fn overlay(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    encoding: Encoding,
) -> Result<(), Error> {
    let mut links: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let mut directories = Vec::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let source = fsutil::open_dir(from, &path).at_entry("opening directory", &path)?;
        let target = fsutil::open_dir(to, &path).at_entry("opening directory", &path)?;
        for (name, _) in fsutil::list(&source).at_entry("listing", &path)? {
            let name = name.as_bytes();
            let here = if path.is_empty() {
                name.to_vec()
            } else {
                [&path, &b"/"[..], name].concat()
            };
            let Some(stat) = fsutil::stat(&source, name).at_entry("examining", &here)? else {
                continue;
            };
            if fsutil::is_whiteout(&stat) {
                remove_tree(&target, name).at_entry("removing", &here)?;
                continue;
            }
            if fsutil::file_type(&stat) == FileType::Directory {
                directory_over(&source, name, &target, encoding, &here)?;
                todo.push(here);
                continue;
            }
            remove_tree(&target, name).at_entry("removing", &here)?;
            if stat.st_nlink > 1 {
                if let Some(first) = links.get(&(stat.st_dev, stat.st_ino)) {
                    link(to, first, &target, name).at_entry("linking", &here)?;
                    continue;
                }
                links.insert((stat.st_dev, stat.st_ino), here.clone());
            }
            copy::node(source.as_fd(), name, &stat, target.as_fd(), name, &here)?;
        }
        if !path.is_empty() {
            directories.push(path);
        }
    }
    // Parents were listed before their children: backwards, so that no mode bars the way and no time changes again.
    for path in directories.iter().rev() {
        let source = fsutil::open_dir(from, path).at_entry("opening directory", path)?;
        let target = fsutil::open_dir(to, path).at_entry("opening directory", path)?;
        copy::attributes(source.as_fd(), target.as_fd(), path)?;
    }
    Ok(())
}

fn directory_over(
    source: &OwnedFd,
    name: &[u8],
    target: &OwnedFd,
    encoding: Encoding,
    here: &[u8],
) -> Result<(), Error> {
    let merged = fsutil::stat(target, name).at_entry("examining", here)?;
    if merged.is_some() {
        let layer = fsutil::open_dir(source, name).at_entry("opening directory", here)?;
        let opaque =
            is_opaque(layer.as_fd(), encoding).at_entry("reading extended attribute of", here)?;
        if merged.is_some_and(|s| fsutil::file_type(&s) == FileType::Directory) && !opaque {
            // Open for work; the layer's own mode comes at the end.
            return fs::chmodat(target, name, Mode::RWXU, AtFlags::empty())
                .at_entry("setting mode of", here);
        }
        remove_tree(target, name).at_entry("removing", here)?;
    }
    fs::mkdirat(target, name, Mode::RWXU).at_entry("creating directory", here)
}

fn link(to: BorrowedFd<'_>, first: &[u8], target: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    let parent = fsutil::open_dir(to, crate::apply::parent_of(first))?;
    let first = first.rsplit(|b| *b == b'/').next().unwrap_or_default();
    match fs::linkat(&parent, first, target, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Err(Errno::STALE),
        other => other,
    }
}
