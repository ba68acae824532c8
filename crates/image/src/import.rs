//! `docker import`: a root file system as a tar becomes an image of one layer.

use std::cell::RefCell;
use std::io::{self, BufReader, Read, Write};
use std::rc::Rc;

use oci_spec::distribution::Reference;
use oci_spec::image::{Config, Descriptor, Digest, Platform};

use crate::builder::{ImageBuilder, LayerWriter};
use crate::config::DockerConfig;
use crate::digest::Hashing;
use crate::load::only_zeros;
use crate::{Compression, Error, Ingest, Store, decompress, media, platform};

/// What a root file system lacks to be an image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Its name.
    pub name: Option<Reference>,
    /// Its platform.
    pub platform: Platform,
    /// Its run configuration.
    pub config: Config,
    /// The settings only Docker knows.
    pub docker: DockerConfig,
    /// When it was made, in seconds since the Unix epoch.
    pub created: i64,
    /// What its history says.
    pub comment: String,
    /// How a plain tar is packed. A packed one is kept as it is.
    pub compression: Compression,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            name: None,
            platform: platform::host(),
            config: Config::default(),
            docker: DockerConfig::default(),
            created: 0,
            comment: "imported".to_owned(),
            compression: Compression::default(),
        }
    }
}

/// Makes an image of a root file system's tar, plain or packed by gzip or zstd, read once.
///
/// # Errors
///
/// [`Error::Archive`] or [`Error::Read`] for something that is no tar, is truncated or has data behind its end;
/// [`Error::Io`].
pub fn import(
    reader: impl Read,
    store: &Store,
    options: ImportOptions,
) -> Result<Descriptor, Error> {
    // What fails half-way goes with this lease.
    let lease = store.lease()?;
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let start = peek(&mut reader)?;
    let (blob, diff_id) = match Compression::sniff(start.get_ref())? {
        Compression::None => {
            let sink = Rc::new(RefCell::new(LayerWriter::new(&lease, options.compression)?));
            walk(Tee {
                reader: start.chain(reader),
                sink: sink.clone(),
            })?;
            let writer = Rc::into_inner(sink).map(RefCell::into_inner);
            writer
                .ok_or_else(|| Error::archive("it is still being read"))?
                .finish()?
        }
        packed => {
            let sink = Rc::new(RefCell::new(lease.ingest(None)?));
            let tee = Tee {
                reader: start.chain(reader),
                sink: sink.clone(),
            };
            let diff_id = walk(decompress(tee)?)?;
            let ingest: Option<Ingest> = Rc::into_inner(sink).map(RefCell::into_inner);
            let (digest, size) = ingest
                .ok_or_else(|| Error::archive("it is still being read"))?
                .commit()?;
            (Descriptor::new(media::layer(packed), size, digest), diff_id)
        }
    };
    store.keep(blob.digest())?;
    ImageBuilder::new(options.platform)
        .created(options.created)
        .config(options.config)
        .docker(options.docker)
        .stored_layer(&options.comment, blob, diff_id)
        .commit(store, options.name.as_ref())
}

/// The first bytes, enough to tell how the stream is packed.
fn peek(reader: &mut impl Read) -> Result<io::Cursor<Vec<u8>>, Error> {
    let mut start = Vec::new();
    reader
        .take(10)
        .read_to_end(&mut start)
        .map_err(Error::read("the root file system"))?;
    Ok(io::Cursor::new(start))
}

/// Reads a tar to its end and checks that it is one. Gives the digest of its bytes.
fn walk(reader: impl Read) -> Result<Digest, Error> {
    let mut hashing = Hashing::new(reader);
    let mut tar = tar::Archive::new(&mut hashing);
    let mut entries = 0_u64;
    let mut buffer = vec![0; 128 << 10];
    for entry in tar.entries().map_err(Error::read("the root file system"))? {
        let mut entry = entry.map_err(Error::read("the root file system"))?;
        let mut left = entry.size();
        loop {
            match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => left = left.saturating_sub(n as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read("the root file system")(error)),
            }
        }
        let holds_data =
            entry.header().entry_type().is_file() || entry.header().entry_type().is_contiguous();
        if left > 0 && holds_data {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(Error::archive(format!(
                "it ends in the middle of {path:?}: it is truncated"
            )));
        }
        entries += 1;
    }
    if entries == 0 {
        return Err(Error::archive("the tar has no entry"));
    }
    only_zeros(tar.into_inner())?;
    Ok(hashing.finish().0)
}

/// Gives what it reads to a writer as well.
struct Tee<R, W> {
    reader: R,
    sink: Rc<RefCell<W>>,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        self.sink.borrow_mut().write_all(&buf[..n])?;
        Ok(n)
    }
}
