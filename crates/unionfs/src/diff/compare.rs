//! What a copied tree changed, by comparing it with the layers it was copied from.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType, Stat};

use super::{Item, join, split, xattrs};
use crate::apply::lower::{Found, Lower};
use crate::error::At;
use crate::fsutil::XattrPath;
use crate::{Error, copy, fsutil};

/// A step of the walk; the last of the list is the next.
enum Step {
    Directory {
        path: Vec<u8>,
        layers: Vec<usize>,
        changed: bool,
        opaque: bool,
    },
    /// Take back the directory written at this place, which did not change, if nothing followed it.
    Leave(usize),
    Emit(Item),
}

/// What differs, sorted, with the directories that lead there.
pub(super) fn items(root: &OwnedFd, lower: &Lower) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    let mut todo = Vec::new();
    descend(
        root,
        lower,
        &[],
        &(0..lower.trees.len()).collect::<Vec<_>>(),
        &mut todo,
    )?;
    while let Some(step) = todo.pop() {
        match step {
            Step::Emit(item) => items.push(item),
            Step::Leave(at) => {
                if items.len() == at + 1 {
                    items.pop();
                }
            }
            Step::Directory {
                path,
                layers,
                changed,
                opaque,
            } => {
                if !changed {
                    todo.push(Step::Leave(items.len()));
                }
                items.push(Item::Node(path.clone()));
                if opaque {
                    items.push(Item::Opaque(path.clone()));
                }
                descend(root, lower, &path, &layers, &mut todo)?;
            }
        }
    }
    Ok(items)
}

fn descend(
    root: &OwnedFd,
    lower: &Lower,
    path: &[u8],
    layers: &[usize],
    todo: &mut Vec<Step>,
) -> Result<(), Error> {
    for (name, pair) in children(root, lower, path, layers)?.into_iter().rev() {
        todo.extend(compare(root, lower, join(path, &name), pair)?);
    }
    Ok(())
}

/// What a name is here, and below.
type Pair = (Option<Stat>, Option<Found>);

fn children(
    root: &OwnedFd,
    lower: &Lower,
    path: &[u8],
    layers: &[usize],
) -> Result<BTreeMap<Vec<u8>, Pair>, Error> {
    let mut all: BTreeMap<Vec<u8>, Pair> = BTreeMap::new();
    let dir = fsutil::open_dir(root, path).at_entry("opening directory", path)?;
    for (name, _) in fsutil::list(&dir).at_entry("listing", path)? {
        let stat = fsutil::stat(&dir, name.as_bytes()).at_entry("examining", path)?;
        all.insert(name.into_bytes(), (stat, None));
    }
    for layer in layers {
        let Some(tree) = lower.trees.get(*layer) else {
            continue;
        };
        let dir = fsutil::open_dir(tree, path).at_entry("opening directory", path)?;
        for (name, _) in fsutil::list(&dir).at_entry("listing", path)? {
            all.entry(name.into_bytes()).or_default();
        }
    }
    for (name, pair) in &mut all {
        pair.1 = lower.step(layers, &join(path, name))?;
    }
    Ok(all)
}

fn compare(
    root: &OwnedFd,
    lower: &Lower,
    path: Vec<u8>,
    (here, below): Pair,
) -> Result<Option<Step>, Error> {
    let Some(stat) = here else {
        return Ok(below.map(|_| Step::Emit(Item::Whiteout(path))));
    };
    let is_dir = fsutil::file_type(&stat) == FileType::Directory;
    Ok(match below {
        Some(Found::Directory(layers)) if is_dir => {
            let changed = match layers.first().and_then(|l| lower.trees.get(*l)) {
                Some(tree) => differs(root, &stat, tree, &path)?,
                None => true,
            };
            Some(Step::Directory {
                path,
                layers,
                changed,
                opaque: false,
            })
        }
        // Where something else was, the directory must not merge with what that hid further down.
        below if is_dir => {
            let opaque = below.is_some();
            Some(Step::Directory {
                path,
                layers: Vec::new(),
                changed: true,
                opaque,
            })
        }
        Some(Found::Other(layer, old)) => {
            let same = match lower.trees.get(layer) {
                Some(tree) => {
                    (stat.st_size, stat.st_rdev) == (old.st_size, old.st_rdev)
                        && !differs(root, &stat, tree, &path)?
                }
                None => false,
            };
            (!same).then_some(Step::Emit(Item::Node(path)))
        }
        _ => Some(Step::Emit(Item::Node(path))),
    })
}

/// Whether the attributes, the link's target or the extended attributes differ.
fn differs(root: &OwnedFd, stat: &Stat, tree: &OwnedFd, path: &[u8]) -> Result<bool, Error> {
    let Some(old) = fsutil::stat(tree, path).at_entry("examining", path)? else {
        return Ok(true);
    };
    if !copy::same_attributes(stat, &old) {
        return Ok(true);
    }
    let (parent, name) = split(path);
    let open = |of: &OwnedFd| fsutil::open_dir(of, parent).at_entry("opening directory", parent);
    let (new, old) = (open(root)?, open(tree)?);
    if fsutil::file_type(stat) == FileType::Symlink {
        let target = |of| fs::readlinkat(of, name, Vec::new()).at_entry("reading link", path);
        if target(&new)? != target(&old)? {
            return Ok(true);
        }
    }
    let attributes = |of: &OwnedFd| xattrs(XattrPath::name(of.as_fd(), name), path);
    Ok(attributes(&new)? != attributes(&old)?)
}
