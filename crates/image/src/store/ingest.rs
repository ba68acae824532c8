//! Blobs on their way in: written, hashed, verified, made durable, and only then named.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use oci_spec::image::Digest;

use super::{Store, lock};
use crate::Error;
use crate::digest::Hasher;

/// What became of a [`Store::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The store holds the blob, and this handle's lease keeps it.
    Present,
    /// Nobody else is fetching it: fetch it.
    Fetch(Box<Ingest>),
    /// Another process or thread is fetching it (only from [`Store::try_claim`]).
    Busy,
}

impl Store {
    /// Begins to write a blob, verified against its digest and size if these are known.
    ///
    /// Never waits: if somebody else is writing the same blob, both do and one result is kept. See
    /// [`Store::claim`] for sharing the work.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDigest`], [`Error::Io`].
    pub fn ingest(&self, expected: Option<(&Digest, Option<u64>)>) -> Result<Ingest, Error> {
        if let Some((digest, size)) = expected {
            if let Claim::Fetch(ingest) =
                self.claim_once(digest, size, false)?.unwrap_or(Claim::Busy)
            {
                return Ok(*ingest);
            }
            return self.anonymous(Some(digest.clone()), size);
        }
        self.anonymous(None, None)
    }

    /// Begins to write a blob unless it is there, waiting for whoever is writing it now.
    ///
    /// So two processes pulling images that share layers fetch each layer once. A thread that waits here must hold no
    /// claim on the same digest.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDigest`], [`Error::Io`].
    pub fn claim(&self, digest: &Digest, size: Option<u64>) -> Result<Claim, Error> {
        loop {
            if let Some(claim) = self.claim_once(digest, size, true)? {
                return Ok(claim);
            }
        }
    }

    /// Like [`Store::claim`], but gives [`Claim::Busy`] instead of waiting.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDigest`], [`Error::Io`].
    pub fn try_claim(&self, digest: &Digest, size: Option<u64>) -> Result<Claim, Error> {
        loop {
            if let Some(claim) = self.claim_once(digest, size, false)? {
                return Ok(claim);
            }
        }
    }

    /// `None` if the file changed hands meanwhile.
    fn claim_once(
        &self,
        digest: &Digest,
        size: Option<u64>,
        wait: bool,
    ) -> Result<Option<Claim>, Error> {
        if self.keep(digest)? && self.has_size(digest, size)? {
            return Ok(Some(Claim::Present));
        }
        let path =
            self.root
                .join("ingest")
                .join(format!("{}-{}", digest.algorithm(), digest.digest()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("creating", &path))?;
        let locked = match wait {
            true => lock::retry(|| file.lock()).map(|()| true),
            false => lock::try_lock(&file),
        };
        if !locked.map_err(Error::io("locking", &path))? {
            return Ok(Some(Claim::Busy));
        }
        // Its last owner may have committed it (then this is the blob itself), or gc have removed it.
        if !lock::is_at(&file, &path).map_err(Error::io("reading", &path))? {
            return Ok(None);
        }
        let mut ingest = Ingest::new(self, path, file, Some(digest.clone()), size)?;
        ingest.shared = true;
        if self.keep(digest)? && self.has_size(digest, size)? {
            // Dropping the ingest removes its file.
            return Ok(Some(Claim::Present));
        }
        Ok(Some(Claim::Fetch(Box::new(ingest))))
    }

    /// A blob whose size is wrong was damaged from outside and is fetched again.
    fn has_size(&self, digest: &Digest, size: Option<u64>) -> Result<bool, Error> {
        match size {
            Some(size) => Ok(self.size(digest)? == size),
            None => Ok(true),
        }
    }

    fn anonymous(&self, expected: Option<Digest>, size: Option<u64>) -> Result<Ingest, Error> {
        let path = self
            .root
            .join("ingest")
            .join(format!("new-{}", lock::unique()));
        // gc must not find it before it is locked.
        let guard = self.lock_shared()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("creating", &path))?;
        lock::retry(|| file.lock()).map_err(Error::io("locking", &path))?;
        drop(guard);
        Ingest::new(self, path, file, expected, size)
    }
}

/// A blob being written. Dropped before [`commit`](Ingest::commit), it leaves nothing.
///
/// As a [`Write`] it fails as soon as more than the announced size is written. Its I/O errors carry this crate's
/// [`Error`] inside where verification failed.
#[derive(Debug)]
#[must_use = "an ingest that is not committed leaves nothing"]
pub struct Ingest {
    store: Store,
    path: PathBuf,
    file: Option<File>,
    expected: Option<Digest>,
    size: Option<u64>,
    hasher: Hasher,
    offset: u64,
    leftover: bool,
    keep: bool,
    shared: bool,
}

impl Ingest {
    fn new(
        store: &Store,
        path: PathBuf,
        file: File,
        expected: Option<Digest>,
        size: Option<u64>,
    ) -> Result<Ingest, Error> {
        let hasher = match &expected {
            Some(digest) => Hasher::for_digest(digest)?,
            None => Hasher::default(),
        };
        let leftover = file.metadata().map_err(Error::io("reading", &path))?.len() > 0;
        Ok(Ingest {
            store: store.clone(),
            path,
            file: Some(file),
            expected,
            size,
            hasher,
            offset: 0,
            leftover,
            keep: false,
            shared: false,
        })
    }

    /// Takes over what an earlier, [suspended](Ingest::suspend) or killed, writer of the same digest left: hashes it
    /// and returns the offset to continue at. Without this call writing begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn resume(&mut self) -> Result<u64, Error> {
        if !self.leftover {
            return Ok(self.offset);
        }
        self.leftover = false;
        let Some(file) = self.file.as_mut() else {
            return Ok(self.offset);
        };
        let limit = self.size.unwrap_or(u64::MAX);
        let mut buffer = vec![0; 128 << 10];
        while self.offset < limit {
            let room = usize::try_from(limit - self.offset)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match file.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(n) => {
                    self.hasher.update(&buffer[..n]);
                    self.offset += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("reading", &self.path)(error)),
            }
        }
        file.set_len(self.offset)
            .and_then(|()| file.seek(SeekFrom::Start(self.offset)))
            .map_err(Error::io("truncating", &self.path))?;
        Ok(self.offset)
    }

    /// Throws away what was written; the next byte is the first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.leftover = false;
        self.offset = 0;
        self.hasher = match &self.expected {
            Some(digest) => Hasher::for_digest(digest)?,
            None => Hasher::default(),
        };
        let Some(file) = self.file.as_mut() else {
            return Ok(());
        };
        file.set_len(0)
            .and_then(|()| file.rewind())
            .map_err(Error::io("truncating", &self.path))
    }

    /// Bytes so far: the offset the next byte goes to.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Writes bytes, as [`Write::write_all`] does but with this crate's errors.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`] beyond the announced size, [`Error::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.leftover {
            self.restart()?;
        }
        let offset = self.offset.saturating_add(bytes.len() as u64);
        if let Some(size) = self.size
            && offset > size
        {
            return Err(Error::SizeMismatch {
                expected: size,
                actual: offset,
            });
        }
        let Some(file) = self.file.as_mut() else {
            return Ok(());
        };
        if let Err(error) = file.write_all(bytes) {
            // How much of it was written is unknown; only what is hashed counts.
            self.leftover = true;
            return Err(Error::io("writing", &self.path)(error));
        }
        self.hasher.update(bytes);
        self.offset = offset;
        Ok(())
    }

    /// Writes everything a reader gives, up to the announced size and one byte more.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] naming `what`, and those of [`Ingest::append`].
    pub fn append_from(&mut self, mut reader: impl Read, what: &str) -> Result<u64, Error> {
        let start = self.offset;
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(self.offset - start),
                Ok(n) => self.append(&buffer[..n])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read(what)(error)),
            }
        }
    }

    /// Verifies, makes durable and names the blob. From here the handle's lease keeps it.
    ///
    /// Returns its digest and size in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`], [`Error::DigestMismatch`], [`Error::Io`]; nothing is left of the blob then.
    pub fn commit(self) -> Result<(Digest, u64), Error> {
        self.commit_new().map(|(digest, size, _)| (digest, size))
    }

    /// Like `commit`, and says whether the blob was not there before.
    pub(crate) fn commit_new(mut self) -> Result<(Digest, u64, bool), Error> {
        if self.leftover {
            self.restart()?;
        }
        if let Some(expected) = self.size
            && self.offset != expected
        {
            return Err(Error::SizeMismatch {
                expected,
                actual: self.offset,
            });
        }
        let hasher = std::mem::take(&mut self.hasher);
        let digest = match &self.expected {
            Some(expected) => {
                hasher.verify(expected)?;
                expected.clone()
            }
            None => hasher.finish(),
        };
        let blob = self.store.blob_path(&digest)?;
        let Some(file) = self.file.as_ref() else {
            return Err(Error::invalid("ingest", "it has ended"));
        };
        file.sync_all().map_err(Error::io("syncing", &self.path))?;
        let dir = blob.parent().unwrap_or(&self.store.root).to_owned();
        if let Err(error) = fs::create_dir(&dir) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(Error::io("creating", dir)(error));
            }
        } else {
            lock::sync_dir(&self.store.root.join("blobs"))?;
        }
        let guard = self.store.lock_shared()?;
        self.store.lease.add(&digest)?;
        let new = !blob.is_file();
        // Over an existing blob too: the bytes are the same, and if that one was damaged it is healed.
        fs::rename(&self.path, &blob).map_err(Error::io("renaming to", &blob))?;
        self.keep = true;
        drop(guard);
        lock::sync_dir(&dir)?;
        Ok((digest, self.offset, new))
    }

    /// Ends without a blob but keeps the bytes, for the next writer of the same digest to
    /// [resume](Ingest::resume). `gc` removes them if none comes before it.
    pub fn suspend(mut self) {
        // One that gave way to another writer of the same digest has a name nobody looks for.
        self.keep = self.shared;
    }

    /// The digest this blob must have.
    pub fn expected(&self) -> Option<&Digest> {
        self.expected.as_ref()
    }
}

impl Write for Ingest {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.append(buf) {
            Ok(()) => Ok(buf.len()),
            // The operating system's own error keeps its kind; the path is in the text.
            Err(Error::Io {
                source,
                operation,
                path,
            }) => Err(io::Error::new(
                source.kind(),
                Error::Io {
                    operation,
                    path,
                    source,
                },
            )),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.keep {
            // While it is still locked, so nobody else's file is meant.
            let _ = fs::remove_file(&self.path);
        }
        self.file = None;
    }
}

/// Removes what dead writers left. The store's lock is held exclusively. Returns the number and the bytes.
pub(super) fn collect(store: &Store) -> Result<(usize, u64), Error> {
    let dir = store.root.join("ingest");
    let mut collected = (0, 0);
    for entry in fs::read_dir(&dir).map_err(Error::io("reading", &dir))? {
        let path = entry.map_err(Error::io("reading", &dir))?.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("opening", path)(error)),
        };
        if lock::try_lock(&file).map_err(Error::io("locking", &path))?
            && lock::is_at(&file, &path).map_err(Error::io("reading", &path))?
        {
            let size = file.metadata().map_err(Error::io("reading", &path))?.len();
            fs::remove_file(&path).map_err(Error::io("removing", &path))?;
            collected = (collected.0 + 1, collected.1 + size);
        }
    }
    Ok(collected)
}

/// Makes sure at compile time that ingests can move between threads.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Ingest>();
    is_send::<Store>();
};
