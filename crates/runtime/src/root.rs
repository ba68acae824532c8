//! Where a container's root file system comes from.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use orlop_unionfs::{Recipe, Rootfs};

use crate::Error;
use crate::compile::RootSource;
use crate::rootfs::View;

/// A root file system.
#[derive(Debug)]
pub struct Root(Kind);

#[derive(Debug)]
enum Kind {
    Directory(PathBuf),
    Detached(OwnedFd),
    Recipe(Recipe),
    /// A way of mounting younger than this code.
    Unknown,
}

impl Kind {
    fn unknown() -> Error {
        Error::invalid("the root is mounted in a way this library does not know")
    }
}

impl Root {
    /// A directory of the caller's, with what is mounted below it. What the container writes is written there, unless the
    /// container is read-only.
    pub fn directory(path: impl Into<PathBuf>) -> Root {
        Root(Kind::Directory(path.into()))
    }

    /// A mount attached nowhere (`fsmount(2)`, or `open_tree(2)` with `OPEN_TREE_CLONE`). One start consumes it: it becomes the
    /// container's and cannot be attached again.
    pub fn detached(mount: OwnedFd) -> Root {
        Root(Kind::Detached(mount))
    }

    pub(crate) fn source(&self) -> Result<RootSource, Error> {
        Ok(match &self.0 {
            Kind::Unknown => return Err(Kind::unknown()),
            Kind::Directory(path) => RootSource::Directory(path.clone()),
            Kind::Detached(_) => RootSource::Detached,
            Kind::Recipe(recipe) => RootSource::Recipe {
                fstype: recipe.fstype.clone(),
                source: recipe.source.clone(),
                options: recipe.options.clone(),
                directory: recipe
                    .directory
                    .as_ref()
                    .map(|path| path.as_os_str().as_bytes().to_vec()),
            },
        })
    }

    /// The mount that goes into the plan's slot.
    pub(crate) fn mount(&self) -> Option<&OwnedFd> {
        match &self.0 {
            Kind::Detached(mount) => Some(mount),
            _ => None,
        }
    }

    /// Whether it can only be read, whatever the container asks for.
    pub(crate) fn read_only(&self) -> bool {
        matches!(&self.0, Kind::Recipe(recipe) if recipe.read_only)
    }

    /// Its files, before anything of it is mounted.
    pub(crate) fn view(&self) -> Result<View, Error> {
        match &self.0 {
            Kind::Directory(path) => {
                View::directory(path).map_err(|source| Error::io("opening the root", path, source))
            }
            Kind::Detached(mount) => View::fd(mount.as_fd())
                .map_err(|source| Error::io("duplicating", "the root", source)),
            Kind::Unknown => Err(Kind::unknown()),
            Kind::Recipe(recipe) => {
                let layers = layers(recipe);
                View::stack(layers.iter().map(PathBuf::as_path))
                    .map_err(|source| Error::io("opening a layer of", "the root", source))
            }
        }
    }
}

impl From<Rootfs> for Root {
    fn from(rootfs: Rootfs) -> Self {
        Root(match rootfs {
            Rootfs::Detached(mount) => Kind::Detached(mount),
            Rootfs::Recipe(recipe) => Kind::Recipe(recipe),
            Rootfs::Directory(path) => Kind::Directory(path),
            _ => Kind::Unknown,
        })
    }
}

impl From<PathBuf> for Root {
    fn from(path: PathBuf) -> Self {
        Root::directory(path)
    }
}

impl From<&Path> for Root {
    fn from(path: &Path) -> Self {
        Root::directory(path)
    }
}

impl From<&str> for Root {
    fn from(path: &str) -> Self {
        Root::directory(path)
    }
}

/// The directories of an overlay, the topmost first.
fn layers(recipe: &Recipe) -> Vec<PathBuf> {
    let value = |name: &[u8]| {
        recipe
            .options
            .iter()
            .filter_map(|option| option.strip_prefix(name))
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let mut paths = value(b"upperdir=");
    for list in value(b"lowerdir=") {
        paths.extend(split(&list));
    }
    paths.extend(value(b"lowerdir+="));
    let base = recipe
        .directory
        .clone()
        .unwrap_or_else(|| PathBuf::from("/"));
    paths
        .into_iter()
        .map(|path| base.join(std::ffi::OsString::from_vec(path)))
        .collect()
}

/// Split at colons that no backslash escapes, as overlayfs does.
fn split(list: &[u8]) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new()];
    let mut escaped = false;
    for byte in list {
        match (byte, escaped) {
            (b'\\', false) => {
                escaped = true;
                continue;
            }
            (b':', false) => out.push(Vec::new()),
            _ => {
                if let Some(last) = out.last_mut() {
                    last.push(*byte);
                }
            }
        }
        escaped = false;
    }
    out.retain(|part| !part.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_an_overlay() {
        let recipe = Recipe {
            fstype: b"overlay".to_vec(),
            source: b"overlay".to_vec(),
            options: vec![
                b"lowerdir=b\\:x:a".to_vec(),
                b"upperdir=up".to_vec(),
                b"workdir=w".to_vec(),
            ],
            directory: Some("/s".into()),
            read_only: false,
        };
        assert_eq!(
            layers(&recipe),
            [PathBuf::from("/s/up"), "/s/b:x".into(), "/s/a".into()]
        );
    }
}
