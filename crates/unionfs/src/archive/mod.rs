//! A strict reader of tar archives: v7, ustar, GNU and PAX.
//!
//! The `tar` crate gives the layout of headers; what they mean together is decided here, once. Where well-known readers
//! disagree about an archive, so that one may see files another does not, the archive is refused.

mod input;
mod number;
mod pax;
mod sparse;

use std::io::{self, Read};

pub(crate) use input::{Input, padding};
use pax::Pax;
pub(crate) use sparse::Map;

use crate::Timestamp;

/// Which rule a layer's archive breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The stream itself failed.
    #[error("reading the archive")]
    Read(#[source] io::Error),
    /// The stream ends inside an entry.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// The archive is longer than the caller allows.
    #[error("the archive is longer than {0} bytes")]
    TooLong(u64),
    /// A header's checksum does not match it.
    #[error("a header's checksum is wrong: not a tar archive, or a damaged one")]
    Checksum,
    /// A number that is none, is negative where it cannot be, or does not fit.
    #[error("the {field} is not a valid number")]
    Number {
        /// The header field or PAX record.
        field: &'static str,
    },
    /// A malformed PAX header.
    #[error("malformed PAX header: {0}")]
    Pax(&'static str),
    /// A global PAX header that names a path, a size or attributes.
    #[error("a global PAX header sets a path, a size or attributes of later entries")]
    GlobalPax,
    /// A malformed map of a sparse file.
    #[error("malformed sparse file: {0}")]
    Sparse(&'static str),
    /// Two headers give one entry different names, sizes or attributes.
    #[error("extension headers contradict each other: {0}")]
    Ambiguous(&'static str),
    /// An extension header that is unreasonably long.
    #[error("an extension header of {0} bytes")]
    LongExtension(u64),
    /// An entry whose type has no body has one.
    #[error("an entry of type {:?} with a body of {size} bytes", char::from(*kind))]
    UnexpectedBody {
        /// The type flag.
        kind: u8,
        /// Its size field.
        size: u64,
    },
    /// A type of entry that no layer has.
    #[error("an entry of unsupported type {:?}", char::from(*.0))]
    UnsupportedType(u8),
    /// Something other than zeros follows the end of the archive.
    #[error("data after the end of the archive")]
    Trailing,
    /// A path that is empty, too long, or leads upwards.
    #[error("refused path: {0}")]
    Path(&'static str),
    /// A link without a target, or to one that is not there.
    #[error("refused link to {target:?}: {reason}")]
    Link {
        /// The target as given.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A whiteout that names nothing, or something outside its directory.
    #[error("refused whiteout: {0}")]
    Whiteout(&'static str),
    /// An extended attribute that is overlayfs's own.
    #[error("the extended attribute {0:?} is overlayfs's own and refused in a layer")]
    OverlayAttribute(String),
    /// An entry below something that is not a directory.
    #[error("{0:?} is in its way and is not a directory")]
    NotDirectory(String),
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File(Option<Map>),
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

/// One entry; its body, if any, is read from the [`Reader`] before the next.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Bytes of the body as stored.
    pub(crate) stored: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    pub(crate) xattrs: crate::fsutil::Xattrs,
}

/// Longest PAX header or long name: attributes are at most 64 KiB each, and a hostile header must not fill the memory.
const LONGEST_EXTENSION: u64 = 8 << 20;

/// What precedes an entry and describes it.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

pub(crate) struct Reader<R> {
    pub(crate) input: Input<R>,
    global: Pax,
    /// Bytes of the current entry's body and padding that nobody has read.
    left: u64,
    /// The last entry's path, to name the place of a fault.
    last: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(reader: R, limit: u64) -> Self {
        Reader {
            input: Input::new(reader, limit),
            global: Pax::default(),
            left: 0,
            last: Vec::new(),
        }
    }

    /// The path of the entry being read: where a fault happened.
    pub(crate) fn place(&self) -> &[u8] {
        &self.last
    }

    /// The next entry; `None` after the end mark, with everything behind it read and found to be zeros.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        self.input.skip(std::mem::take(&mut self.left))?;
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.input.block()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(Fault::Truncated)
                };
            };
            if block.iter().all(|b| *b == 0) {
                if !extensions.is_empty() {
                    return Err(Fault::Truncated);
                }
                self.input.finish()?;
                return Ok(None);
            }
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            checksum(&header)?;
            numbers(&header)?;
            let size = number::unsigned("size", &header.as_old().size)?;
            match header.entry_type().as_byte() {
                b'x' | b'X' => extensions.pax(&self.extension(size)?)?,
                b'g' => {
                    let data = self.extension(size)?;
                    self.global.merge_global(&data)?;
                }
                b'L' => set_once(&mut extensions.long_name, self.extension(size)?)?,
                b'K' => set_once(&mut extensions.long_link, self.extension(size)?)?,
                // A volume's label names the archive, not a file.
                b'V' => self.input.skip(size.saturating_add(padding(size)))?,
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    /// The body of a regular file, piece by piece.
    pub(crate) fn body(&mut self, most: u64) -> Result<&[u8], Fault> {
        let chunk = self.input.chunk(most)?;
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Ok(chunk)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > LONGEST_EXTENSION {
            return Err(Fault::LongExtension(size));
        }
        self.input.body(size)
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        header_size: u64,
        extensions: Extensions,
    ) -> Result<Entry, Fault> {
        let old = header.as_old();
        let pax = extensions.pax.unwrap_or_default();
        let mut path = header.path_bytes().into_owned();
        if let Some(long) = extensions.long_name {
            if pax.path.as_ref().is_some_and(|p| *p != long) {
                return Err(Fault::Ambiguous("a GNU long name and a PAX path differ"));
            }
            path = long;
        }
        path = pax.sparse.name.clone().or(pax.path).unwrap_or(path);
        self.last.clone_from(&path);

        let mut linkname = until_nul(&old.linkname).to_vec();
        if let Some(long) = extensions.long_link {
            if pax.linkpath.as_ref().is_some_and(|p| *p != long) {
                return Err(Fault::Ambiguous(
                    "a GNU long link and a PAX linkpath differ",
                ));
            }
            linkname = long;
        }
        linkname = pax.linkpath.unwrap_or(linkname);

        let flag = header.entry_type().as_byte();
        let size = pax.size.unwrap_or(header_size);
        // v7 archives mark a directory by its name alone, and GNU tar reads later ones so too.
        let is_directory =
            flag == b'5' || flag == b'D' || (matches!(flag, b'0' | 0) && path.ends_with(b"/"));
        let mut stored = 0;
        let kind = match flag {
            _ if is_directory => {
                // A GNU dumpdir's body lists names and matters to incremental restores only. POSIX lets other directories
                // have a size, an allocation limit, and no body.
                if flag == b'D' {
                    self.input.skip(size.saturating_add(padding(size)))?;
                } else if flag != b'5' {
                    no_body(flag, size)?;
                }
                Kind::Directory
            }
            b'0' | 0 | b'7' => {
                stored = size;
                Kind::File(pax.sparse.map(&mut self.input, &mut stored)?)
            }
            b'S' => {
                let gnu = header
                    .as_gnu()
                    .ok_or(Fault::Sparse("it is not in a GNU header"))?;
                stored = size;
                Kind::File(Some(sparse::old_gnu(gnu, &mut self.input, stored)?))
            }
            // Some writers repeat the target's size; no reader takes it for a body.
            b'1' => Kind::Hardlink(linkname),
            b'2' => {
                no_body(flag, size)?;
                Kind::Symlink(linkname)
            }
            b'3' | b'4' => {
                no_body(flag, size)?;
                let (major, minor) = device(header)?;
                if flag == b'3' {
                    Kind::Character { major, minor }
                } else {
                    Kind::Block { major, minor }
                }
            }
            b'6' => {
                no_body(flag, size)?;
                Kind::Fifo
            }
            other => return Err(Fault::UnsupportedType(other)),
        };
        self.left = stored
            .checked_add(padding(stored))
            .ok_or(Fault::Number { field: "size" })?;

        let header_time = || {
            number::field("mtime", &old.mtime).map(|seconds| Timestamp {
                seconds,
                nanoseconds: 0,
            })
        };
        Ok(Entry {
            path,
            kind,
            stored,
            mode: number::unsigned32("mode", &old.mode)? & 0o7777,
            uid: pax
                .uid
                .or(self.global.uid)
                .map_or_else(|| number::unsigned32("uid", &old.uid), Ok)?,
            gid: pax
                .gid
                .or(self.global.gid)
                .map_or_else(|| number::unsigned32("gid", &old.gid), Ok)?,
            mtime: pax
                .mtime
                .or(self.global.mtime)
                .map_or_else(header_time, Ok)?,
            xattrs: pax.xattrs,
        })
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    fn pax(&mut self, data: &[u8]) -> Result<(), Fault> {
        if self.pax.is_some() {
            return Err(Fault::Ambiguous("two PAX headers before one entry"));
        }
        self.pax = Some(Pax::local(data)?);
        Ok(())
    }
}

fn set_once(slot: &mut Option<Vec<u8>>, body: Vec<u8>) -> Result<(), Fault> {
    if slot.is_some() {
        return Err(Fault::Ambiguous("two long names before one entry"));
    }
    // Readers differ in whether the size or the first NUL ends a name.
    let name = until_nul(&body);
    if body
        .get(name.len()..)
        .unwrap_or_default()
        .iter()
        .any(|b| *b != 0)
    {
        return Err(Fault::Ambiguous("a long name goes on behind its NUL"));
    }
    *slot = Some(name.to_vec());
    Ok(())
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

fn no_body(kind: u8, size: u64) -> Result<(), Fault> {
    if size == 0 {
        Ok(())
    } else {
        Err(Fault::UnexpectedBody { kind, size })
    }
}

fn device(header: &tar::Header) -> Result<(u32, u32), Fault> {
    // Both later formats keep the numbers at the same place; v7 has none.
    let ustar = header.as_ustar().map(|u| (&u.dev_major, &u.dev_minor));
    let gnu = header.as_gnu().map(|g| (&g.dev_major, &g.dev_minor));
    let Some((major, minor)) = ustar.or(gnu) else {
        return Ok((0, 0));
    };
    Ok((
        number::unsigned32("device major", major)?,
        number::unsigned32("device minor", minor)?,
    ))
}

/// Every number of a header has to be one, also where it does not matter: some readers take a bad one for the end.
fn numbers(header: &tar::Header) -> Result<(), Fault> {
    let old = header.as_old();
    number::unsigned32("mode", &old.mode)?;
    number::field("uid", &old.uid)?;
    number::field("gid", &old.gid)?;
    number::field("mtime", &old.mtime)?;
    device(header).map(drop)
}

/// The sum of the header's bytes with blanks for the sum itself; old writers summed signed bytes.
fn checksum(header: &tar::Header) -> Result<(), Fault> {
    let want = number::field("checksum", &header.as_old().cksum).map_err(|_| Fault::Checksum)?;
    let bytes = || {
        let blanks = |(i, b): (usize, &u8)| if (148..156).contains(&i) { b' ' } else { *b };
        header.as_bytes().iter().enumerate().map(blanks)
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    if want == unsigned || want == signed {
        Ok(())
    } else {
        Err(Fault::Checksum)
    }
}

#[cfg(test)]
mod tests;
