//! Snapshots by key: writable ones over a stack of layers, and read-only views of one.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, FlockOperation, Mode, RenameFlags};
use rustix::io::Errno;

use super::commit;
use super::inner::{ACTIVE, Inner, STAGING};
use super::record::{self, ActiveKind, ActiveRecord};
use super::staging::{self, inherit_root};
use crate::error::At;
use crate::id::{ChainId, Key};
use crate::mount::{self, IdMaps, MountOptions, Rootfs};
use crate::{Error, fsutil};

/// The record inside a snapshot's directory.
pub(crate) const RECORD: &str = "snapshot.json";
pub(crate) const UPPER: &str = "upper";
pub(crate) const WORK: &str = "work";

/// A writable snapshot: a stack of layers, and a directory that takes what is written.
#[derive(Clone)]
pub struct Active(pub(crate) Handle);

/// A read-only snapshot.
#[derive(Clone)]
pub struct View(pub(crate) Handle);

#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) inner: Arc<Inner>,
    pub(crate) key: Key,
    pub(crate) record: ActiveRecord,
}

impl Active {
    /// The key it was prepared under.
    pub fn key(&self) -> &str {
        self.0.key.as_str()
    }

    /// Makes its root file system: mounted nowhere, or a recipe, or a copied directory.
    ///
    /// Two mounts of one snapshot at a time would corrupt each other; overlayfs itself does not prevent it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if `how` insists on a way that does not work here, [`Error::TooManyLayers`], [`Error::Io`].
    pub fn mount(&self, how: &MountOptions) -> Result<Rootfs, Error> {
        mount::mount(&self.0, how)
    }

    /// Makes its root file system for a user namespace, detached: what belongs to 0 in a layer belongs to that namespace's
    /// 0. No layer is copied or changed. What is written belongs to the namespace's ids on disk; [`diff`] and [`commit`]
    /// turn them back. From then on the snapshot is mounted with these maps only.
    ///
    /// Needs `CAP_SYS_ADMIN` in the initial user namespace, a file system with mapped mounts, and Linux 6.5.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where that is not to be had, [`Error::Mapped`] if it was mounted with other maps; else as
    /// [`Active::mount`].
    ///
    /// [`diff`]: crate::Snapshots::diff
    /// [`commit`]: crate::Snapshots::commit
    pub fn mount_mapped(&self, how: &MountOptions, maps: &IdMaps<'_>) -> Result<Rootfs, Error> {
        mount::mapped::mount(&self.0, how, maps)
    }
}

impl View {
    /// The key it was made under.
    pub fn key(&self) -> &str {
        self.0.key.as_str()
    }

    /// Makes its root file system, read-only: as [`Active::mount`].
    ///
    /// # Errors
    /// As [`Active::mount`].
    pub fn mount(&self, how: &MountOptions) -> Result<Rootfs, Error> {
        mount::mount(&self.0, how)
    }

    /// Makes its root file system for a user namespace, read-only: as [`Active::mount_mapped`].
    ///
    /// # Errors
    /// As [`Active::mount_mapped`].
    pub fn mount_mapped(&self, how: &MountOptions, maps: &IdMaps<'_>) -> Result<Rootfs, Error> {
        mount::mapped::mount(&self.0, how, maps)
    }
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Active").field(&self.key()).finish()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("View").field(&self.key()).finish()
    }
}

/// Makes a snapshot: complete under its key, or not at all.
pub(crate) fn create(
    inner: &Arc<Inner>,
    key: &str,
    parent: Option<&str>,
    kind: ActiveKind,
) -> Result<Handle, Error> {
    let key = Key::parse(key)?;
    let parent = parent.map(ChainId::parse).transpose()?;
    let _hold = inner.lock(FlockOperation::LockShared)?;
    let layer = parent.as_ref().map(|p| inner.need_record(p)).transpose()?;
    let (trees, root) = layer.map(|l| (l.trees, l.root)).unwrap_or_default();
    let record = ActiveRecord {
        kind,
        parent: parent.map(|p| p.as_str().to_owned()),
        trees,
        root,
    };

    let staging = inner.directory(STAGING)?;
    // Not locked as a layer's: it is gone again before the store's lock is given back.
    let name = inner.unique("p");
    let shown = inner.path.join(STAGING).join(&name);
    fs::mkdirat(&staging, &name, Mode::RWXU).at("creating", &shown)?;
    let result = fill(inner, &staging, &name, &record).and_then(|()| {
        match fs::renameat_with(
            &staging,
            &name,
            inner.directory(ACTIVE)?,
            key.as_str(),
            RenameFlags::NOREPLACE,
        ) {
            Err(Errno::EXIST) => Err(Error::Exists {
                key: key.as_str().to_owned(),
            }),
            other => other.at("creating", inner.path.join(ACTIVE).join(key.as_str())),
        }
    });
    if let Err(e) = result {
        let _ = fsutil::remove_tree(&staging, name.as_bytes());
        return Err(e);
    }
    Ok(Handle {
        inner: Arc::clone(inner),
        key,
        record,
    })
}

fn fill(inner: &Inner, staging: impl AsFd, name: &str, record: &ActiveRecord) -> Result<(), Error> {
    let shown = inner.path.join(STAGING).join(name);
    let dir = fsutil::open_dir(staging, name.as_bytes()).at("opening", &shown)?;
    if record.kind == ActiveKind::Writable {
        fs::mkdirat(&dir, UPPER, Mode::from_raw_mode(0o755)).at("creating", shown.join(UPPER))?;
        fs::mkdirat(&dir, WORK, Mode::RWXU).at("creating", shown.join(WORK))?;
        let upper = fsutil::open_dir(&dir, UPPER.as_bytes()).at("opening", shown.join(UPPER))?;
        inherit_root(inner, record.root.as_ref(), upper.as_fd())?;
    }
    record::write(&dir, RECORD, record, &shown).map(drop)
}

/// Finds a snapshot by key.
pub(crate) fn find(inner: &Arc<Inner>, key: &str) -> Result<Handle, Error> {
    let key = Key::parse(key)?;
    let dir = open(inner, key.as_str())?;
    let shown = inner.path.join(ACTIVE).join(key.as_str());
    let missing = || Error::NoSnapshot {
        key: key.as_str().to_owned(),
    };
    let record: ActiveRecord = record::read(&dir, RECORD, &shown)?.ok_or_else(missing)?;
    let cut_short = fsutil::stat(&dir, staging::RECORD.as_bytes()).at("examining", &shown)?;
    if cut_short.is_some() {
        // Somebody commits it now, or died while doing so.
        let dir = open_locked(inner, key.as_str())?;
        commit::recover(inner, &dir, key.as_str())?;
    }
    Ok(Handle {
        inner: Arc::clone(inner),
        key,
        record,
    })
}

pub(crate) fn open(inner: &Inner, key: &str) -> Result<OwnedFd, Error> {
    match fsutil::open_dir(inner.directory(ACTIVE)?, key.as_bytes()) {
        Err(Errno::NOENT) => Err(Error::NoSnapshot {
            key: key.to_owned(),
        }),
        other => other.at("opening", inner.path.join(ACTIVE).join(key)),
    }
}

/// Opens a snapshot's directory and waits for whoever changes it as a whole.
pub(crate) fn open_locked(inner: &Inner, key: &str) -> Result<OwnedFd, Error> {
    let dir = open(inner, key)?;
    fs::flock(&dir, FlockOperation::LockExclusive)
        .at("locking", inner.path.join(ACTIVE).join(key))?;
    Ok(dir)
}

/// Removes a snapshot by key, whatever state it is in.
pub(crate) fn remove(inner: &Inner, key: &str) -> Result<(), Error> {
    let key = Key::parse(key)?;
    match inner.trash(inner.directory(ACTIVE)?, key.as_str())? {
        None => Err(Error::NoSnapshot {
            key: key.as_str().to_owned(),
        }),
        Some(name) => inner.empty_trash(&name),
    }
}
