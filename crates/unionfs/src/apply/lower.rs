//! A stack of layers as one tree, read without mounting it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, FileType, Stat};

use crate::Error;
use crate::apply::parent_of;
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil::{self, XattrPath};

/// Links followed in one path, as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Committed layers, the uppermost first.
pub(crate) struct Lower {
    pub(crate) trees: Vec<OwnedFd>,
    pub(crate) encoding: Encoding,
}

/// What a name is in the merged tree.
pub(crate) enum Found {
    /// A directory merged from these layers, the uppermost first.
    Directory(Vec<usize>),
    /// Something else, from this layer.
    Other(usize, Box<Stat>),
}

impl Lower {
    /// Finds a path; links are followed inside the root, but not in the last component. Gives the path without links too.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<(Found, Vec<u8>)>, Error> {
        let mut here = Vec::new();
        let mut layers: Vec<usize> = (0..self.trees.len()).collect();
        let mut rest: VecDeque<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    here = parent_of(&here).to_vec();
                    layers = self.directory_layers(&here)?;
                    continue;
                }
                _ => {}
            }
            let next = if here.is_empty() {
                name
            } else {
                [&here, &b"/"[..], &name].concat()
            };
            match self.step(&layers, &next)? {
                None => return Ok(None),
                Some(Found::Directory(merged)) => (here, layers) = (next, merged),
                Some(other @ Found::Other(..)) if rest.is_empty() => {
                    return Ok(Some((other, next)));
                }
                Some(Found::Other(layer, stat)) => {
                    links += 1;
                    if fsutil::file_type(&stat) != FileType::Symlink || links > MOST_LINKS {
                        return Ok(None);
                    }
                    let Some(tree) = self.trees.get(layer) else {
                        return Ok(None);
                    };
                    let target = fs::readlinkat(tree, next.as_slice(), Vec::new())
                        .at_entry("reading link", &next)?;
                    if target.as_bytes().starts_with(b"/") {
                        here = Vec::new();
                        layers = (0..self.trees.len()).collect();
                    }
                    for component in target.as_bytes().rsplit(|b| *b == b'/') {
                        rest.push_front(component.to_vec());
                    }
                }
            }
        }
        Ok(Some((Found::Directory(layers), here)))
    }

    fn directory_layers(&self, path: &[u8]) -> Result<Vec<usize>, Error> {
        let mut layers: Vec<usize> = (0..self.trees.len()).collect();
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(i, _)| i)
            .chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            let Some(prefix) = path.get(..end) else { break };
            match self.step(&layers, prefix)? {
                Some(Found::Directory(merged)) => layers = merged,
                _ => return Ok(Vec::new()),
            }
        }
        Ok(layers)
    }

    /// One component, as overlayfs looks it up: `layers` are those that have the parent as a merged directory.
    pub(crate) fn step(&self, layers: &[usize], path: &[u8]) -> Result<Option<Found>, Error> {
        let mut merged = Vec::new();
        for layer in layers {
            let Some(tree) = self.trees.get(*layer) else {
                continue;
            };
            let Some(stat) = fsutil::stat(tree, path).at_entry("examining", path)? else {
                continue;
            };
            if fsutil::is_whiteout(&stat) {
                break;
            }
            if fsutil::file_type(&stat) != FileType::Directory {
                if merged.is_empty() {
                    return Ok(Some(Found::Other(*layer, Box::new(stat))));
                }
                break;
            }
            merged.push(*layer);
            if is_opaque(
                fsutil::open_dir(tree, path)
                    .at_entry("opening directory", path)?
                    .as_fd(),
                self.encoding,
            )
            .at_entry("reading extended attribute of", path)?
            {
                break;
            }
        }
        Ok((!merged.is_empty()).then_some(Found::Directory(merged)))
    }
}

/// Whether a directory of a layer hides those of the same path below it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, encoding: Encoding) -> rustix::io::Result<bool> {
    let name = match encoding {
        Encoding::Trusted => c"trusted.overlay.opaque",
        Encoding::User => c"user.overlay.opaque",
    };
    Ok(fsutil::xattr(&XattrPath::Fd(dir), name)?.as_deref() == Some(b"y"))
}
