//! Small files and locks of the engine's own, written so that a reader sees all or nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Makes a directory and those above it, private to the user, unless they exist.
pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io("creating", path))
}

/// Replaces `path` by `bytes` in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(Error::io("writing", &temporary))
        .and_then(|()| fs::rename(&temporary, path).map_err(Error::io("renaming to", path)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes a file or directory tree; what is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            open_directories(path);
            fs::remove_dir_all(path)
        }
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io("removing", path)),
    }
}

/// An ordinary user cannot empty a directory it made unwritable; its owner may change that.
fn open_directories(path: &Path) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        if let Ok(metadata) = fs::symlink_metadata(&dir)
            && metadata.mode() & 0o700 != 0o700
        {
            let _ = rustix::fs::chmod(&dir, rustix::fs::Mode::RWXU);
        }
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        waiting.extend(
            entries
                .flatten()
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
    }
}

/// A lock on a file, held until dropped or the process ends, however it ends.
#[derive(Debug)]
#[must_use = "dropping it releases the lock"]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for a lock that others may share.
    pub(crate) fn shared(path: &Path) -> Result<Lock, Error> {
        let file = open_lock(path)?;
        retry(|| file.lock_shared()).map_err(Error::io("locking", path))?;
        Ok(Lock { _file: file })
    }

    /// Waits until nobody else has it.
    pub(crate) fn exclusive(path: &Path) -> Result<Lock, Error> {
        let file = open_lock(path)?;
        retry(|| file.lock()).map_err(Error::io("locking", path))?;
        Ok(Lock { _file: file })
    }

    /// Takes it if nobody else has it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Lock>, Error> {
        let file = open_lock(path)?;
        Ok(try_lock(&file, path)?.then_some(Lock { _file: file }))
    }
}

fn open_lock(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("opening", path))
}

/// Locks `file` without waiting; `false` if somebody else has it.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(Error::io("locking", path)(error)),
    }
}

fn retry(mut lock: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The names in a directory, without those that begin with a dot; none if there is no directory.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("reading", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("reading", dir))?;
        if let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|name| !name.starts_with('.'))
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// A process that owns something: a file that is locked from before it can be seen to the process's end.
#[derive(Debug)]
#[must_use = "dropping it says that the owner is gone"]
pub(crate) struct Alive {
    path: PathBuf,
    _file: File,
}

impl Alive {
    /// Announces this process as the owner of `path`.
    pub(crate) fn announce(path: PathBuf) -> Result<Alive, Error> {
        let hidden = match (path.parent(), path.file_name()) {
            (Some(dir), Some(name)) => dir.join(format!(".{}", name.to_string_lossy())),
            _ => path.clone(),
        };
        let file = open_lock(&hidden)?;
        if !try_lock(&file, &hidden)? {
            return Err(Error::InUse {
                what: path.display().to_string(),
                reason: "it is locked".to_owned(),
            });
        }
        fs::rename(&hidden, &path).map_err(Error::io("renaming to", &path))?;
        Ok(Alive { path, _file: file })
    }

    /// Whether the owner of `path` still lives.
    pub(crate) fn is(path: &Path) -> bool {
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => matches!(try_lock(&file, path), Ok(false)),
            Err(_) => false,
        }
    }

    /// Takes over what a dead owner left; `None` if it lives or somebody else was first.
    pub(crate) fn inherit(path: &Path) -> Result<Option<Alive>, Error> {
        let Ok(file) = OpenOptions::new().write(true).open(path) else {
            return Ok(None);
        };
        if !try_lock(&file, path)? {
            return Ok(None);
        }
        // Its last heir may have removed it between our open and our lock.
        match (file.metadata(), fs::metadata(path)) {
            (Ok(ours), Ok(there)) if ours.ino() == there.ino() => Ok(Some(Alive {
                path: path.to_owned(),
                _file: file,
            })),
            _ => Ok(None),
        }
    }

    /// Says that nothing is left to be looked after.
    pub(crate) fn finish(self) -> Result<(), Error> {
        remove_tree(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert!(!Alive::is(&path));
        let alive = Alive::announce(path.clone()).unwrap();
        assert!(Alive::is(&path));
        assert!(Alive::inherit(&path).unwrap().is_none());
        drop(alive);
        assert!(path.exists() && !Alive::is(&path));
        let heir = Alive::inherit(&path).unwrap().unwrap();
        assert!(Alive::is(&path));
        heir.finish().unwrap();
        assert!(!path.exists());
        assert!(Alive::inherit(&path).unwrap().is_none());
    }

    #[test]
    fn replacing_is_whole_and_removing_is_idempotent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()).unwrap(), ["record"]);
        remove_tree(&path).unwrap();
        remove_tree(&path).unwrap();
        assert!(names(&dir.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn an_exclusive_lock_waits_for_the_shared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let one = Lock::shared(&path).unwrap();
        let two = Lock::shared(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop((one, two));
        let mine = Lock::try_exclusive(&path).unwrap().unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(mine);
        drop(Lock::exclusive(&path).unwrap());
    }
}
