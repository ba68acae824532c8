//! Leases: digests a live process still needs although no tag leads to them.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci_spec::image::Digest;

use super::{Store, lock};
use crate::{Error, digest};

/// A handle on a store with a lease of its own: what comes in through it stays until it and its clones are dropped
/// or the process ends, however it ends.
#[derive(Debug, Clone)]
#[must_use = "what a dropped lease protected may be collected"]
pub struct Lease {
    store: Store,
}

impl Lease {
    pub(super) fn new(store: Store) -> Lease {
        Lease { store }
    }
}

impl Deref for Lease {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// The lease file of a handle: made when first needed, flocked by this process, one digest a line.
#[derive(Debug)]
pub(super) struct LeaseSlot {
    path: PathBuf,
    state: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    file: File,
    added: HashSet<Digest>,
}

impl LeaseSlot {
    pub(super) fn new(root: &Path) -> LeaseSlot {
        LeaseSlot {
            path: root.join("leases").join(lock::unique()),
            state: Mutex::new(None),
        }
    }

    /// Makes the file. The store's lock is held shared, so that gc does not see it before it is locked.
    pub(super) fn create(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.held(&mut state).map(|_| ())
    }

    /// Adds a digest. The store's lock is held shared.
    pub(super) fn add(&self, digest: &Digest) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.held(&mut state)?;
        if held.added.insert(digest.clone()) {
            // One short write to an O_APPEND file; a torn line of a killed process belongs to a dead lease.
            if let Err(error) = held.file.write_all(format!("{digest}\n").as_bytes()) {
                held.added.remove(digest);
                return Err(Error::io("writing", &self.path)(error));
            }
        }
        Ok(())
    }

    fn held<'a>(&self, state: &'a mut Option<Held>) -> Result<&'a mut Held, Error> {
        if state.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(&self.path)
                .map_err(Error::io("creating", &self.path))?;
            lock::retry(|| file.lock()).map_err(Error::io("locking", &self.path))?;
            *state = Some(Held {
                file,
                added: HashSet::new(),
            });
        }
        match state {
            Some(held) => Ok(held),
            None => unreachable!("set above"),
        }
    }
}

impl Drop for LeaseSlot {
    fn drop(&mut self) {
        if self
            .state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
        {
            // Without a name it protects nothing; if this fails gc finds it unlocked.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The digests of all live leases; files of dead owners are removed. The store's lock is held exclusively.
pub(super) fn live(root: &Path) -> Result<HashSet<Digest>, Error> {
    let dir = root.join("leases");
    let mut digests = HashSet::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("reading", &dir))? {
        let path = entry.map_err(Error::io("reading", &dir))?.path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // Dropped this moment.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("opening", path)(error)),
        };
        if lock::try_lock(&file).map_err(Error::io("locking", &path))? {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("removing", path)(error));
                }
                _ => continue,
            }
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .map_err(Error::io("reading", &path))?;
        for line in text.lines() {
            digests.insert(digest::parse(line)?);
        }
    }
    Ok(digests)
}
