//! What of an unpacked layer only the layers below can tell: hard links into them, and directories the archive did not list.
//!
//! Layers of one image unpack side by side, before their parents are there, so this waits for the commit.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;

use crate::apply::lower::{Found, Lower};
use crate::apply::{Unpacked, parent_of};
use crate::archive::Fault;
use crate::error::At;
use crate::fsutil::{self, remove_tree};
use crate::store::{Inner, LayerRecord};
use crate::{Error, copy};

/// A copied-up file before it is linked to its names.
const COPY: &[u8] = b"copy-up";

/// `work` is a directory of the same file system only this process uses.
pub(crate) fn complete(
    inner: &Inner,
    work: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    unpacked: &Unpacked,
    below: Option<&LayerRecord>,
) -> Result<(), Error> {
    if unpacked.implicit.is_empty() && unpacked.deferred.is_empty() {
        return Ok(());
    }
    let lower = Lower {
        trees: below
            .map(|b| inner.open_trees(&b.trees))
            .transpose()?
            .unwrap_or_default(),
        encoding: inner.encoding,
    };
    let mut implicit = unpacked.implicit.clone();
    let mut by_target: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for (path, target) in &unpacked.deferred {
        by_target.entry(target).or_default().push(path);
    }
    for (target, paths) in by_target {
        link_up(&lower, work, tree, target, &paths, &mut implicit)?;
    }
    // The deepest first: copying into a directory changes its times.
    implicit.sort_unstable();
    for path in implicit.iter().rev() {
        let dir = fsutil::open_dir(tree, path).at_entry("opening directory", path)?;
        match lower.find(path)? {
            Some((Found::Directory(layers), real)) => {
                if let Some(from) = layers.first().and_then(|l| lower.trees.get(*l)) {
                    let from = fsutil::open_dir(from, &real).at_entry("opening directory", path)?;
                    copy::attributes(from.as_fd(), dir.as_fd(), path)?;
                }
            }
            // Nobody says what it is like: the same everywhere, so that two unpackings do not differ.
            _ => {
                fs::fchmod(&dir, Mode::from_raw_mode(0o755)).at_entry("setting mode of", path)?;
                fs::futimens(&dir, &copy::epoch()).at_entry("setting times of", path)?;
            }
        }
    }
    Ok(())
}

/// Copies a lower file up and gives it all the names that were linked to it, its own included: one inode, as overlayfs does.
fn link_up(
    lower: &Lower,
    work: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    target: &[u8],
    paths: &[&[u8]],
    implicit: &mut Vec<Vec<u8>>,
) -> Result<(), Error> {
    let first = paths.first().copied().unwrap_or_default();
    let refuse = |reason| {
        let target = String::from_utf8_lossy(target).into_owned();
        Err(Error::archive(first, Fault::Link { target, reason }))
    };
    let Some((found, real)) = lower.find(target)? else {
        return refuse("neither this layer nor one below has such a file");
    };
    let Found::Other(layer, stat) = found else {
        return refuse("it is a directory");
    };
    let Some(from) = lower.trees.get(layer) else {
        return refuse("its layer is gone");
    };
    remove_tree(work, COPY).at_entry("removing", COPY)?;
    let from_dir = fsutil::open_dir(from, parent_of(&real)).at_entry("opening directory", &real)?;
    copy::node(
        from_dir.as_fd(),
        base_name(&real),
        &stat,
        work,
        COPY,
        target,
    )?;
    for path in paths {
        in_directory(tree, parent_of(path), |dir| {
            fs::unlinkat(dir, base_name(path), AtFlags::empty())?;
            fs::linkat(work, COPY, dir, base_name(path), AtFlags::empty())
        })?;
    }
    make_parents(tree, parent_of(&real), implicit)?;
    in_directory(tree, parent_of(&real), |dir| {
        match fs::linkat(work, COPY, dir, base_name(&real), AtFlags::empty()) {
            // This layer says itself what is there now.
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    })?;
    fs::unlinkat(work, COPY, AtFlags::empty()).at_entry("removing", COPY)
}

fn make_parents(
    tree: BorrowedFd<'_>,
    path: &[u8],
    implicit: &mut Vec<Vec<u8>>,
) -> Result<(), Error> {
    if path.is_empty()
        || fsutil::stat(tree, path)
            .at_entry("examining", path)?
            .is_some()
    {
        return Ok(());
    }
    let parent = parent_of(path);
    make_parents(tree, parent, implicit)?;
    in_directory(tree, parent, |dir| {
        fs::mkdirat(dir, base_name(path), Mode::RWXU)
    })?;
    implicit.push(path.to_vec());
    Ok(())
}

/// Changes a directory whose attributes are set already, and leaves no trace of that.
fn in_directory(
    tree: BorrowedFd<'_>,
    path: &[u8],
    change: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> Result<(), Error> {
    let dir = fsutil::open_dir(tree, path).at_entry("opening directory", path)?;
    let before = fs::fstat(&dir).at_entry("examining", path)?;
    let barred = before.st_mode & 0o300 != 0o300;
    if barred {
        fs::fchmod(&dir, Mode::RWXU).at_entry("setting mode of", path)?;
    }
    change(dir.as_fd()).at_entry("linking in", path)?;
    if barred {
        fs::fchmod(&dir, Mode::from_raw_mode(before.st_mode & 0o7777))
            .at_entry("setting mode of", path)?;
    }
    fs::futimens(&dir, &copy::times(&before)).at_entry("setting times of", path)
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}
