//! The state directory: who owns which containers, written down before anything of them exists.
//!
//! ```text
//! STATE/lock                    held while owners come and while the dead are collected
//! STATE/owners/<n>/lock         held by a living owner, for as long as it lives
//! STATE/owners/<n>/<id>         a container's intent record
//! ```
//!
//! A record needs no fsync: what it leads to (processes, cgroups) does not survive a power cut either.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::id::ContainerId;

/// What is known of a container before it exists, and enough to remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// Path of its cgroup in every hierarchy.
    pub(crate) cgroup: Option<String>,
    /// Its first process; written once it exists where no cgroup leads to it.
    pub(crate) process: Option<ProcessRecord>,
}

/// A process, told from a later one with the same id by when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: u32,
    /// Clock ticks after boot (`/proc/PID/stat`, field 22).
    pub(crate) start: u64,
}

/// This process's place in a state directory.
#[derive(Debug)]
pub(crate) struct Owner {
    state: PathBuf,
    directory: PathBuf,
    /// Held for its lock.
    _lock: File,
    living: Mutex<HashSet<String>>,
}

const LOCK: &str = "lock";

impl Owner {
    /// Take a place in `state`, which is made if it is missing.
    pub(crate) fn new(state: &Path) -> Result<Owner, Error> {
        let owners = state.join("owners");
        // Records name cgroups that a collector kills: nobody else may write them.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&owners)
            .map_err(|source| Error::io("making", &owners, source))?;
        let _registration = lock(&state.join(LOCK))?;
        for number in std::process::id().. {
            let directory = owners.join(number.to_string());
            match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {}
                // Another owner in this process, or a dead one's directory.
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error::io("making", directory, source)),
            }
            let lock = lock(&directory.join(LOCK))?;
            return Ok(Owner {
                state: state.to_owned(),
                directory,
                _lock: lock,
                living: Mutex::default(),
            });
        }
        Err(Error::invalid("there is no free owner number"))
    }

    /// Write a record down before the first side effect.
    pub(crate) fn record(&self, id: &ContainerId, record: &Record) -> Result<(), Error> {
        let path = self.directory.join(id.as_str());
        if !self
            .living
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_string())
        {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(Error::io("making the record of a container", path, source));
        }
        let written = self.write(&path, record);
        if written.is_err() {
            self.forget(id);
        }
        written
    }

    /// Replace a record.
    pub(crate) fn update(&self, id: &ContainerId, record: &Record) -> Result<(), Error> {
        self.write(&self.directory.join(id.as_str()), record)
    }

    fn write(&self, path: &Path, record: &Record) -> Result<(), Error> {
        // A name with a tilde is no container id, so a half-written record is never read as one.
        let mut draft = path.as_os_str().to_owned();
        draft.push("~");
        let draft = PathBuf::from(draft);
        let text = serde_json::to_vec(record)
            .map_err(|source| Error::io("writing", path, io::Error::from(source)))?;
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| std::fs::rename(&draft, path));
        written.map_err(|source| {
            let _ = std::fs::remove_file(&draft);
            Error::io("writing", path, source)
        })
    }

    /// The container and everything of it is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        // What cannot be removed now is collected after this owner's end.
        let _ = std::fs::remove_file(self.directory.join(id.as_str()));
        self.abandon(id);
    }

    /// The container is nobody's any more, but something of it may be left: the record stays for the collector.
    pub(crate) fn abandon(&self, id: &ContainerId) {
        self.living
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id.as_str());
    }

    /// Hand every record of a dead owner, and this one's abandoned ones, to `remove`, which tells whether nothing is left.
    pub(crate) fn collect(
        &self,
        mut remove: impl FnMut(&Record) -> bool,
    ) -> Result<Vec<String>, Error> {
        let _registration = lock(&self.state.join(LOCK))?;
        let owners = self.state.join("owners");
        let mut removed = Vec::new();
        let entries =
            std::fs::read_dir(&owners).map_err(|source| Error::io("reading", &owners, source))?;
        for directory in entries.flatten().map(|entry| entry.path()) {
            if directory == self.directory {
                self.sweep(&directory, true, &mut remove, &mut removed);
                continue;
            }
            let Some(_lock) = try_lock(&directory.join(LOCK)) else {
                continue;
            };
            if self.sweep(&directory, false, &mut remove, &mut removed) {
                let _ = std::fs::remove_file(directory.join(LOCK));
                let _ = std::fs::remove_dir(&directory);
            }
        }
        Ok(removed)
    }

    /// Whether the directory holds no record any more.
    fn sweep(
        &self,
        directory: &Path,
        own: bool,
        remove: &mut impl FnMut(&Record) -> bool,
        removed: &mut Vec<String>,
    ) -> bool {
        let mut clean = true;
        let Ok(entries) = std::fs::read_dir(directory) else {
            return false;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let living = || {
                self.living
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains(name.trim_end_matches('~'))
            };
            if name == LOCK || own && living() {
                continue;
            }
            let record: Option<Record> = std::fs::read(&path)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let gone = match &record {
                // Nothing was done before the record was whole.
                _ if name.ends_with('~') => true,
                None => true,
                Some(record) => remove(record),
            };
            if gone && std::fs::remove_file(&path).is_ok() {
                removed.extend(record.map(|record| record.id));
            } else {
                clean = false;
            }
        }
        clean
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Fails where records are left, as it should; the lock file goes first, and a directory without one is collected.
        let records = std::fs::read_dir(&self.directory).map_or(1, |entries| entries.count());
        if records == 1 {
            let _ = std::fs::remove_file(self.directory.join(LOCK));
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Hold a lock until the file is dropped.
fn lock(path: &Path) -> Result<File, Error> {
    let file = open_lock(path).map_err(|source| Error::io("opening", path, source))?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(source) => return Err(Error::io("locking", path, source)),
        }
    }
}

fn try_lock(path: &Path) -> Option<File> {
    let file = open_lock(path).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .ok()
        .map(|()| file)
}

/// When a process started; `None` if it is gone.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may hold anything, but no later parenthesis.
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> (ContainerId, Record) {
        (
            id.parse().unwrap(),
            Record {
                id: id.to_owned(),
                cgroup: Some(format!("orlop/{id}")),
                process: None,
            },
        )
    }

    #[test]
    fn records_of_the_dead_are_collected_and_of_the_living_not() {
        let state = tempfile::tempdir().unwrap();
        let (_, record_a) = record("a");
        // As after kill -9: nobody holds the lock, the records are there.
        let directory = state.path().join("owners/1");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(LOCK), "").unwrap();
        std::fs::write(directory.join("a"), serde_json::to_vec(&record_a).unwrap()).unwrap();
        std::fs::write(directory.join("half~"), "{").unwrap();

        let living = Owner::new(state.path()).unwrap();
        let (b, record_b) = record("b");
        living.record(&b, &record_b).unwrap();
        let collector = Owner::new(state.path()).unwrap();
        let mut seen = Vec::new();
        let removed = collector
            .collect(|record| {
                seen.push(record.clone());
                true
            })
            .unwrap();
        assert_eq!(removed, ["a"]);
        assert_eq!(seen, [record_a]);
        assert!(!directory.exists());
        assert!(living.directory.join("b").exists());
        living.forget(&b);
        let kept = living.directory.clone();
        drop(living);
        assert!(!kept.exists());
    }

    #[test]
    fn what_cannot_be_removed_stays() {
        let state = tempfile::tempdir().unwrap();
        let owner = Owner::new(state.path()).unwrap();
        let (a, record_a) = record("a");
        owner.record(&a, &record_a).unwrap();
        assert!(owner.record(&a, &record_a).is_err(), "the id is taken");
        assert_eq!(owner.collect(|_| true).unwrap(), Vec::<String>::new());
        owner.abandon(&a);
        assert_eq!(owner.collect(|_| false).unwrap(), Vec::<String>::new());
        assert_eq!(owner.collect(|_| true).unwrap(), ["a"]);
    }

    #[test]
    fn start_times() {
        assert!(start_time(std::process::id()).unwrap() > 0);
        assert_eq!(start_time(u32::MAX), None);
    }
}
