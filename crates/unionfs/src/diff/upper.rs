//! What an overlay's upper directory says: its marks turned into those of a layer.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;

use super::{Item, corrupt, join};
use crate::Error;
use crate::apply::lower::is_opaque;
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil::{self, XattrPath};

/// Everything in the upper directory, sorted: a directory before what is in it, and its opaque mark first.
pub(super) fn items(root: &OwnedFd, encoding: Encoding) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    let mut todo = vec![Item::Node(Vec::new())];
    while let Some(item) = todo.pop() {
        if let Item::Node(path) = &item {
            let dir = match fsutil::open_dir(root, path) {
                Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                    items.push(item);
                    continue;
                }
                other => other.at_entry("opening directory", path)?,
            };
            refuse_foreign(&dir, path)?;
            let opaque =
                is_opaque(dir.as_fd(), encoding).at_entry("reading extended attribute of", path)?;
            let mut names = fsutil::list(&dir).at_entry("listing", path)?;
            // Taken from the end, so the first comes out first.
            names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
            for (name, kind) in names {
                let here = join(path, name.as_bytes());
                let whiteout = kind == FileType::CharacterDevice
                    && fsutil::stat(&dir, name.as_bytes())
                        .at_entry("examining", &here)?
                        .is_some_and(|s| fsutil::is_whiteout(&s));
                todo.push(if whiteout {
                    Item::Whiteout(here)
                } else {
                    Item::Node(here)
                });
            }
            let opaque = opaque.then(|| Item::Opaque(path.clone()));
            if !path.is_empty() {
                items.push(item);
            }
            items.extend(opaque);
        } else {
            items.push(item);
        }
    }
    Ok(items)
}

/// A directory that was renamed by a mount with other options than ours: what it shows lies elsewhere.
fn refuse_foreign(dir: &OwnedFd, path: &[u8]) -> Result<(), Error> {
    for name in [c"trusted.overlay.redirect", c"user.overlay.redirect"] {
        let value = fsutil::xattr(&XattrPath::Fd(dir.as_fd()), name);
        if value
            .at_entry("reading extended attribute of", path)?
            .is_some()
        {
            return Err(corrupt(
                path,
                "it was renamed by an overlay with redirect_dir".to_owned(),
            ));
        }
    }
    Ok(())
}
