//! From a snapshot to a root file system that is attached nowhere yet.

mod detached;
pub(crate) mod mapped;
mod recipe;
mod volatile;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::Error;
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil;
use crate::store::ACTIVE;
use crate::store::active::Handle;
use crate::store::record::ActiveKind;

pub use mapped::IdMaps;
pub use recipe::Recipe;

/// How a snapshot becomes a root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backend {
    /// The first that works: detached, else a recipe, else a copy where the kernel has no overlayfs.
    #[default]
    Auto,
    /// An overlay mounted nowhere: `CAP_SYS_ADMIN`, Linux 6.5 (`lowerdir+`).
    Detached,
    /// An overlay that somebody else mounts, in namespaces of its own.
    Recipe,
    /// A copy of the whole tree, with shared extents where the file system can.
    Copy,
}

/// Settings of one mount.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// The way to do it.
    pub backend: Backend,
    /// Writes need not survive a crash: overlayfs then syncs nothing, which makes starts and stops faster. When the machine
    /// goes down meanwhile, the snapshot cannot be mounted again: [`Error::Unclean`] (Linux 5.10).
    pub volatile: bool,
    /// Nothing can be written through this mount.
    pub read_only: bool,
    /// Whether inode numbers are made unique over all layers (`xino`); `None` leaves it to the kernel.
    pub xino: Option<bool>,
}

impl MountOptions {
    /// Sets [`volatile`](Self::volatile).
    pub fn volatile(mut self, yes: bool) -> Self {
        self.volatile = yes;
        self
    }

    /// Sets [`read_only`](Self::read_only).
    pub fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// Sets [`backend`](Self::backend).
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Sets [`xino`](Self::xino).
    pub fn xino(mut self, on: Option<bool>) -> Self {
        self.xino = on;
        self
    }
}

/// A root file system that is attached nowhere.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rootfs {
    /// A mount (`fsmount`, `open_tree`) without a place: attach it with `move_mount`. Gone when the descriptor is closed.
    Detached(OwnedFd),
    /// What to mount, in the namespaces where it is to be seen.
    Recipe(Recipe),
    /// A directory with everything in it: bind it. Read-only only if the one who binds it says so.
    Directory(PathBuf),
}

/// Overlayfs stacks at most this many lower layers (`OVL_MAX_STACK`).
pub(crate) const MOST_LAYERS: usize = 500;

/// What was found out about detached mounts: nothing yet, they work, or they do not.
const UNKNOWN: u8 = 0;
const WORKS: u8 = 1;
const FAILS: u8 = 2;

/// Whether the empty directory has to be a lower layer: a stack wants one, and two if there is none to write to.
fn needs_filler(kind: ActiveKind, layers: usize) -> bool {
    match kind {
        ActiveKind::Writable => layers == 0,
        ActiveKind::View => layers < 2,
    }
}

pub(crate) fn mount(snapshot: &Handle, how: &MountOptions) -> Result<Rootfs, Error> {
    let inner = &snapshot.inner;
    if snapshot.record.kind == ActiveKind::Writable {
        let dir = own_directory(snapshot)?;
        if mapped::noted(snapshot, &dir)?.is_some() {
            return Err(Error::Mapped {
                key: snapshot.key.as_str().to_owned(),
            });
        }
        if how.backend != Backend::Copy {
            volatile::prepare(snapshot, &dir, how)?;
        }
    }
    match how.backend {
        Backend::Detached => Ok(try_detached(snapshot, how, None)?),
        Backend::Recipe => recipe::recipe(snapshot, how).map(Rootfs::Recipe),
        Backend::Copy => crate::flatten::directory(snapshot).map(Rootfs::Directory),
        // A copy that was made and written to is what this snapshot is from then on.
        Backend::Auto if crate::flatten::exists(snapshot)? => {
            crate::flatten::directory(snapshot).map(Rootfs::Directory)
        }
        Backend::Auto if inner.detached.load(Ordering::Relaxed) == FAILS => {
            recipe::recipe(snapshot, how).map(Rootfs::Recipe)
        }
        Backend::Auto => match try_detached(snapshot, how, None) {
            Ok(rootfs) => Ok(rootfs),
            Err(Failure::ThisWay(_)) => {
                // Remembered unless it worked before: then something else is the reason.
                let _ = inner.detached.compare_exchange(
                    UNKNOWN,
                    FAILS,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                recipe::recipe(snapshot, how).map(Rootfs::Recipe)
            }
            Err(Failure::Overlayfs(_)) => {
                crate::flatten::directory(snapshot).map(Rootfs::Directory)
            }
            Err(Failure::Other(error)) => Err(error),
        },
    }
}

/// Why a detached mount failed: what else may work depends on it.
enum Failure {
    /// No privilege, or a kernel without these calls: somebody else may mount the same overlay.
    ThisWay(Errno),
    /// No overlayfs, or not on this file system: nobody can.
    Overlayfs(Errno),
    /// Trying another way would hide what is wrong.
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::ThisWay(errno) => Error::Unavailable {
                how: "a detached mount",
                source: errno.into(),
            },
            Failure::Overlayfs(errno) => Error::Unavailable {
                how: "overlayfs",
                source: errno.into(),
            },
            Failure::Other(error) => error,
        }
    }
}

fn try_detached(
    snapshot: &Handle,
    how: &MountOptions,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<Rootfs, Failure> {
    let fd = match (snapshot.record.kind, snapshot.record.trees.as_slice()) {
        (ActiveKind::View, [only]) => detached::bind(snapshot, only, user_namespace),
        _ => detached::overlay(snapshot, how, user_namespace),
    }?;
    snapshot.inner.detached.store(WORKS, Ordering::Relaxed);
    Ok(Rootfs::Detached(fd))
}

fn own_directory(snapshot: &Handle) -> Result<OwnedFd, Error> {
    let key = snapshot.key.as_str();
    let active = snapshot.inner.directory(ACTIVE)?;
    match fsutil::open_dir(&active, key.as_bytes()) {
        Err(Errno::NOENT) => Err(Error::NoSnapshot {
            key: key.to_owned(),
        }),
        other => other.at("opening", snapshot.inner.path.join(ACTIVE).join(key)),
    }
}

/// Options that keep a snapshot's upper directory plain, whatever the kernel's build-time defaults: no renames recorded as
/// redirects, no metadata-only copies. A diff could not tell what such an entry means.
fn flags(
    encoding: Encoding,
    how: &MountOptions,
    writable: bool,
) -> Vec<(&'static str, Option<&'static str>)> {
    let mut flags = vec![
        ("redirect_dir", Some("nofollow")),
        ("metacopy", Some("off")),
        ("index", Some("off")),
    ];
    if encoding == Encoding::User {
        flags.push(("userxattr", None));
    }
    if how.volatile && writable {
        flags.push(("volatile", None));
    }
    if let Some(on) = how.xino {
        flags.push(("xino", Some(if on { "on" } else { "off" })));
    }
    flags
}
