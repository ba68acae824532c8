//! Collecting what nobody needs, beside processes that work: mark, rename to the trash, delete after.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::active::RECORD;
use super::inner::{ACTIVE, Inner, LEASES, RECORDS, STAGING, TRASH, TREES};
use super::record::{self, ActiveRecord, LayerRecord};
use crate::error::At;
use crate::id::ChainId;
use crate::{Error, fsutil};

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Chain ids of the layers removed.
    pub layers: Vec<String>,
    /// Trees without a record: of a commit that was cut short.
    pub trees: usize,
    /// Layers and snapshots half made by a process that died.
    pub unfinished: usize,
    /// Leases of processes that died.
    pub leases: usize,
    /// Keys of snapshots whose record cannot be read, as after a power cut; they are left alone, and can be removed.
    pub damaged: Vec<String>,
}

/// Keeps layers from being collected while it lives, whether they exist already or not. If the process dies, the lease does.
pub struct Lease {
    inner: Arc<Inner>,
    name: String,
    /// Locked for as long as this lives.
    file: std::fs::File,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) fn new(inner: Arc<Inner>, chain_ids: &[&str]) -> Result<Lease, Error> {
        let leases = inner.directory(LEASES)?;
        let name = inner.unique("l");
        let shown = inner.path.join(LEASES).join(&name);
        let hold = inner.lock(FlockOperation::LockShared)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
        let fd =
            fs::openat(&leases, &name, flags, Mode::RUSR | Mode::WUSR).at("creating", &shown)?;
        let locked = fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
        drop(hold);
        let mut lease = Lease {
            inner,
            name,
            file: fd.into(),
        };
        locked.at("locking", &shown)?;
        for id in chain_ids {
            lease.add(id)?;
        }
        Ok(lease)
    }

    /// Adds a layer.
    ///
    /// # Errors
    /// [`Error::InvalidChainId`], [`Error::Io`].
    pub fn add(&mut self, chain_id: &str) -> Result<(), Error> {
        let id = ChainId::parse(chain_id)?;
        let _hold = self.inner.lock(FlockOperation::LockShared)?;
        let line = format!("{}\n", id.as_str());
        self.file
            .write_all(line.as_bytes())
            .at("writing", self.inner.path.join(LEASES).join(&self.name))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Ok(leases) = self.inner.directory(LEASES) {
            let _ = fs::unlinkat(&leases, &self.name, AtFlags::empty());
        }
    }
}

pub(crate) fn collect(inner: &Inner, keep: &HashSet<String>) -> Result<Report, Error> {
    let mut report = Report::default();
    {
        let _hold = inner.lock(FlockOperation::LockExclusive)?;
        let mut wanted: HashSet<String> = keep.clone();
        leases(inner, &mut wanted, &mut report)?;
        let mut trees = snapshots(inner, &mut wanted, &mut report)?;
        layers(inner, wanted, &mut trees, &mut report)?;
        unreferenced_trees(inner, &trees, &mut report)?;
        unfinished(inner, &mut report)?;
    }
    let trash = inner.directory(TRASH)?;
    for (name, _) in fsutil::list(&trash).at("listing", inner.path.join(TRASH))? {
        inner.empty_trash(&name.to_string_lossy())?;
    }
    Ok(report)
}

/// Names in one of the store's directories; all of them are ASCII that this crate wrote.
fn names(inner: &Inner, dir: &OwnedFd, shown: &str) -> Result<Vec<String>, Error> {
    let names = fsutil::list(dir).at("listing", inner.path.join(shown))?;
    Ok(names
        .into_iter()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect())
}

fn leases(inner: &Inner, wanted: &mut HashSet<String>, report: &mut Report) -> Result<(), Error> {
    let dir = inner.directory(LEASES)?;
    for name in names(inner, &dir, LEASES)? {
        let shown = inner.path.join(LEASES).join(&name);
        let file = match fsutil::open_file(&dir, name.as_bytes()) {
            Err(Errno::NOENT) => continue,
            other => other.at("opening", &shown)?,
        };
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                fs::unlinkat(&dir, &name, AtFlags::empty()).at("removing", &shown)?;
                report.leases += 1;
            }
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let mut file = std::fs::File::from(file);
                std::io::Read::read_to_string(&mut file, &mut text).at("reading", &shown)?;
                wanted.extend(text.lines().map(str::to_owned));
            }
            Err(e) => return Err(e).at("locking", &shown),
        }
    }
    Ok(())
}

/// Marks the layers under snapshots, and gives the trees they stand on.
fn snapshots(
    inner: &Inner,
    wanted: &mut HashSet<String>,
    report: &mut Report,
) -> Result<HashSet<String>, Error> {
    let mut trees = HashSet::new();
    let dir = inner.directory(ACTIVE)?;
    for key in names(inner, &dir, ACTIVE)? {
        let shown = inner.path.join(ACTIVE).join(&key);
        let Ok(snapshot) = fsutil::open_dir(&dir, key.as_bytes()) else {
            continue;
        };
        // A commit that was cut short: the snapshot's own data is there now.
        if let Ok(Some(record)) =
            record::read::<LayerRecord>(&snapshot, super::staging::RECORD, &shown)
        {
            trees.extend(record.trees);
        }
        match record::read::<ActiveRecord>(&snapshot, RECORD, &shown) {
            Ok(Some(record)) => {
                wanted.extend(record.parent);
                trees.extend(record.trees);
                trees.extend(record.root);
            }
            Ok(None) | Err(Error::Corrupt { .. }) => report.damaged.push(key),
            Err(e) => return Err(e),
        }
    }
    Ok(trees)
}

/// Removes the records of unwanted layers; adds the trees of the others to `trees`.
fn layers(
    inner: &Inner,
    mut wanted: HashSet<String>,
    trees: &mut HashSet<String>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut todo: Vec<String> = wanted.iter().cloned().collect();
    while let Some(id) = todo.pop() {
        let Ok(id) = ChainId::parse(&id) else {
            continue;
        };
        let Some(record) = inner.record(&id)? else {
            continue;
        };
        trees.extend(record.trees);
        trees.extend(record.root);
        if let Some(parent) = record.parent.filter(|p| !wanted.contains(p)) {
            wanted.insert(parent.clone());
            todo.push(parent);
        }
    }
    let dir = inner.directory(RECORDS)?;
    for name in names(inner, &dir, RECORDS)? {
        let id = format!("sha256:{name}");
        if wanted.contains(&id) {
            continue;
        }
        let shown = inner.path.join(RECORDS).join(&name);
        fs::unlinkat(&dir, &name, AtFlags::empty()).at("removing", shown)?;
        report.layers.push(id);
    }
    if !report.layers.is_empty() {
        // No record may come back after a power cut that finds its tree gone.
        fs::fsync(&dir).at("writing", inner.path.join(RECORDS))?;
    }
    report.layers.sort_unstable();
    Ok(())
}

fn unreferenced_trees(
    inner: &Inner,
    wanted: &HashSet<String>,
    report: &mut Report,
) -> Result<(), Error> {
    let dir = inner.directory(TREES)?;
    let mut removed = 0usize;
    for name in names(inner, &dir, TREES)?
        .iter()
        .filter(|n| !wanted.contains(*n))
    {
        inner.trash(&dir, name)?;
        removed += 1;
    }
    report.trees = removed.saturating_sub(report.layers.len());
    Ok(())
}

fn unfinished(inner: &Inner, report: &mut Report) -> Result<(), Error> {
    let dir = inner.directory(STAGING)?;
    for name in names(inner, &dir, STAGING)? {
        // A living owner of a layer holds its lock; a snapshot is made under the store's lock, which is ours now.
        if name.starts_with("s-") && is_locked(inner, dir.as_fd(), &name)? {
            continue;
        }
        if inner.trash(&dir, &name)?.is_some() {
            report.unfinished += 1;
        }
    }
    for name in names(inner, &inner.root, "")?
        .iter()
        .filter(|n| n.starts_with("format-"))
    {
        fs::unlinkat(&inner.root, name, AtFlags::empty()).at("removing", inner.path.join(name))?;
    }
    Ok(())
}

fn is_locked(inner: &Inner, dir: std::os::fd::BorrowedFd<'_>, name: &str) -> Result<bool, Error> {
    let shown = || inner.path.join(STAGING).join(name);
    let fd = match fsutil::open_dir(dir, name.as_bytes()) {
        Err(Errno::NOENT) => return Ok(true),
        other => other.at("opening", shown())?,
    };
    match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(e) => Err(e).at("locking", shown()),
    }
}

/// Every committed layer.
pub(crate) fn all_layers(inner: &Inner) -> Result<Vec<LayerRecord>, Error> {
    let dir = inner.directory(RECORDS)?;
    let shown = inner.path.join(RECORDS);
    let mut layers = Vec::new();
    for name in names(inner, &dir, RECORDS)? {
        layers.extend(record::read(&dir, &name, &shown)?);
    }
    Ok(layers)
}

/// Every snapshot that can be read.
pub(crate) fn all_snapshots(inner: &Inner) -> Result<Vec<(String, ActiveRecord)>, Error> {
    let dir = inner.directory(ACTIVE)?;
    let mut snapshots = Vec::new();
    for key in names(inner, &dir, ACTIVE)? {
        let Ok(snapshot) = fsutil::open_dir(&dir, key.as_bytes()) else {
            continue;
        };
        let record = record::read(&snapshot, RECORD, &inner.path.join(ACTIVE).join(&key));
        snapshots.extend(record.ok().flatten().map(|record| (key, record)));
    }
    Ok(snapshots)
}
