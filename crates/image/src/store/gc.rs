//! Garbage collection: mark from the roots, rename the rest to `trash/`, delete afterwards.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use oci_spec::image::Digest;

use super::{Store, ingest, lease, lock, tags};
use crate::manifest::{self, Document};
use crate::store::lock::Lock;
use crate::{Error, json};

/// What [`Store::gc`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// The blobs removed.
    pub removed: Vec<Digest>,
    /// The bytes freed: blobs, and what dead writers left.
    pub bytes: u64,
    /// The unfinished files of dead writers removed.
    pub leftovers: usize,
    /// Blobs kept.
    pub kept: usize,
    /// Manifests that a root leads to but which are damaged, so that what they lead to is unknown.
    pub damaged: Vec<Digest>,
}

impl Store {
    /// Removes every blob that no tag and no live lease leads to, and what dead processes left.
    ///
    /// Safe at any time, beside any number of other processes using the store.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Json`] for a damaged tag record. Nothing a root leads to is lost then.
    pub fn gc(&self) -> Result<GcReport, Error> {
        self.gc_keeping(&HashSet::new())
    }

    /// Like [`Store::gc`], with further roots: the images of containers, say.
    ///
    /// # Errors
    ///
    /// As [`Store::gc`].
    pub fn gc_keeping(&self, roots: &HashSet<Digest>) -> Result<GcReport, Error> {
        self.collect(roots, None)
    }

    /// Removes those of `candidates` that nothing else leads to: what a failed job brought in.
    pub(crate) fn discard(&self, candidates: &HashSet<Digest>) -> Result<GcReport, Error> {
        self.collect(&HashSet::new(), Some(candidates))
    }

    fn collect(
        &self,
        roots: &HashSet<Digest>,
        candidates: Option<&HashSet<Digest>>,
    ) -> Result<GcReport, Error> {
        let mut report = GcReport::default();
        let guard = Lock::exclusive(&self.root.join("lock"))?;
        let mut marked = Marked {
            store: self,
            seen: HashSet::new(),
            damaged: Vec::new(),
        };
        for tag in self.tags()? {
            marked.mark(tag.descriptor.digest())?;
        }
        for digest in lease::live(&self.root)? {
            marked.mark(&digest)?;
        }
        for digest in roots {
            marked.mark(digest)?;
        }
        report.damaged = marked.damaged;
        let trash = self.root.join("trash");
        let mut doomed: Vec<PathBuf> = match candidates {
            None => {
                (report.leftovers, report.bytes) = ingest::collect(self)?;
                tags::collect(self)?;
                entries(&trash)?
            }
            Some(_) => Vec::new(),
        };
        for (digest, size) in self.blobs()? {
            if marked.seen.contains(&digest)
                || candidates.is_some_and(|only| !only.contains(&digest))
            {
                report.kept += 1;
                continue;
            }
            let from = self.blob_path(&digest)?;
            let to = trash.join(lock::unique());
            fs::rename(&from, &to).map_err(Error::io("moving to the trash", &from))?;
            doomed.push(to);
            report.bytes += size;
            report.removed.push(digest);
        }
        drop(guard);
        // Large files take their time; nobody has to wait for that.
        for path in doomed {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("removing", path)(error));
                }
                _ => {}
            }
        }
        Ok(report)
    }
}

fn entries(dir: &std::path::Path) -> Result<Vec<PathBuf>, Error> {
    fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(Error::io("reading", dir))
}

struct Marked<'a> {
    store: &'a Store,
    seen: HashSet<Digest>,
    damaged: Vec<Digest>,
}

impl Marked<'_> {
    /// Marks a blob and everything it leads to.
    fn mark(&mut self, root: &Digest) -> Result<(), Error> {
        let mut waiting = vec![root.clone()];
        while let Some(digest) = waiting.pop() {
            if !self.seen.insert(digest.clone()) {
                continue;
            }
            match self.store.manifest_at(&digest) {
                Ok(Some(document)) => waiting.extend(
                    manifest::children(&document)
                        .into_iter()
                        .map(|child| child.digest().clone()),
                ),
                Ok(None) => {}
                Err(Error::DigestMismatch { .. }) => self.damaged.push(digest),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Store {
    /// The manifest or index in a blob; `None` if it is absent or something else, such as a layer.
    pub(super) fn manifest_at(&self, digest: &Digest) -> Result<Option<Document>, Error> {
        use std::os::unix::fs::FileExt;
        let file = match self.blob(digest) {
            Ok(file) => file,
            Err(Error::BlobMissing { .. } | Error::InvalidDigest { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let path = self.blob_path(digest)?;
        let size = file.metadata().map_err(Error::io("reading", &path))?.len();
        let mut first = [0];
        if size > json::MAX_DOCUMENT
            || file
                .read_at(&mut first, 0)
                .map_err(Error::io("reading", &path))?
                == 0
            || !matches!(first, [b'{' | b' ' | b'\n' | b'\r' | b'\t'])
        {
            return Ok(None);
        }
        let bytes = self.read(digest)?;
        Ok(manifest::parse(&bytes, None).ok())
    }
}
