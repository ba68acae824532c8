//! Where an image is loaded from: a gathered archive or a directory, addressed by path.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, Digest};

use super::gather::Archive;
use super::{Job, docker};
use crate::{Claim, Error, digest, json};

/// The documents that are kept in memory; everything else is a blob.
pub(crate) const DOCUMENTS: [&str; 4] = [
    "oci-layout",
    "index.json",
    docker::MANIFEST,
    super::legacy::REPOSITORIES,
];

pub(crate) enum Source {
    Archive(Box<Archive>),
    Directory(PathBuf),
}

impl Source {
    /// The bytes of one of [`DOCUMENTS`].
    pub(crate) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Source::Archive(archive) => Ok(archive.documents.get(name).cloned()),
            Source::Directory(dir) => {
                let path = dir.join(name);
                match open_regular(&path) {
                    Ok(file) => json::read_bounded(file, &path.display().to_string()).map(Some),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::io("opening", path)(error)),
                }
            }
        }
    }

    pub(crate) fn has_document(&self, name: &str) -> Result<bool, Error> {
        Ok(self.document(name)?.is_some())
    }

    pub(crate) fn is_layout(&self) -> Result<bool, Error> {
        self.has_document("index.json")
    }

    pub(crate) fn is_docker(&self) -> Result<bool, Error> {
        self.has_document(docker::MANIFEST)
    }
}

impl Job {
    /// Brings the blob of a descriptor into the store. `false` if the source lacks it and the store too.
    pub(super) fn fetch(
        &mut self,
        source: &Source,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        crate::manifest::check_descriptor(descriptor)?;
        let digest = descriptor.digest();
        if let Source::Directory(dir) = source
            && let Some(file) = open_blob(dir, digest)?
        {
            self.ingest_file(digest, descriptor.size(), file)?;
        }
        if !self.lease.keep(digest)? {
            return Ok(false);
        }
        let actual = self.lease.size(digest)?;
        if actual != descriptor.size() {
            return Err(Error::in_entry(digest.as_ref())(Error::SizeMismatch {
                expected: descriptor.size(),
                actual,
            }));
        }
        Ok(true)
    }

    fn ingest_file(&mut self, digest: &Digest, size: u64, file: File) -> Result<(), Error> {
        match self.lease.claim(digest, Some(size))? {
            Claim::Fetch(mut ingest) => {
                let (_, _, new) = ingest
                    .append_from(file, "the blob")
                    .and_then(|_| ingest.commit_new())
                    .map_err(Error::in_entry(digest.as_ref()))?;
                if new {
                    self.created.insert(digest.clone());
                }
                Ok(())
            }
            Claim::Present | Claim::Busy => Ok(()),
        }
    }
}

fn open_blob(dir: &Path, digest: &Digest) -> Result<Option<File>, Error> {
    digest::check(digest)?;
    let path = dir
        .join("blobs")
        .join(digest.algorithm().as_ref())
        .join(digest.digest());
    match open_regular(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("opening", path)(error)),
    }
}

/// Opens a regular file or a link to one, as some build tools lay blobs out, and nothing that blocks or acts when opened. What
/// is read is believed for its digest alone.
fn open_regular(path: &Path) -> io::Result<File> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    if !std::fs::metadata(path)?.is_file() {
        return Err(irregular());
    }
    // It may be another by now.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(irregular())
    }
}
