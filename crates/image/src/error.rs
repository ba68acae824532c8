//! What can go wrong, with the operation, the place and the cause.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;

/// An error of this crate. `Display` prints its own level only; causes are in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a file of the store, an archive or a directory failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was being done, as a participle: "writing", "renaming".
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Reading bytes the caller supplied failed.
    #[error("reading {what}")]
    Read {
        /// What was being read.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing to the caller's output failed.
    #[error("writing {what}")]
    Write {
        /// What was being written.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// A text is no digest this crate verifies (sha256, sha384 and sha512 are).
    #[error("invalid digest {text:?}: {reason}")]
    InvalidDigest {
        /// The text, cut to a bounded length.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is no image reference.
    #[error("invalid image reference {text:?}")]
    InvalidReference {
        /// The text, cut to a bounded length.
        text: String,
        /// The cause.
        source: oci_spec::distribution::ParseError,
    },
    /// A text is no platform.
    #[error("invalid platform {text:?}: {reason}")]
    InvalidPlatform {
        /// The text, cut to a bounded length.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes do not have the digest they were announced with.
    #[error("digest mismatch: expected {expected}, the bytes have {actual}")]
    DigestMismatch {
        /// The digest asked for.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// Bytes are fewer or more than announced. Reading stops one byte after the announced size.
    #[error("size mismatch: expected {expected} bytes, got {}{actual}", if actual > expected { "at least " } else { "" })]
    SizeMismatch {
        /// The announced size in bytes.
        expected: u64,
        /// The size found in bytes.
        actual: u64,
    },
    /// Something that is held in memory is larger than its limit.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The store does not hold a blob.
    #[error("blob {digest} is not in the store")]
    BlobMissing {
        /// Its digest.
        digest: Digest,
    },
    /// A directory is not a store of this crate and must not become one.
    #[error("{} is not an image store: {reason}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// JSON could not be parsed.
    #[error("parsing {what}")]
    Json {
        /// What was being parsed.
        what: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A manifest, index or config is well-formed JSON but makes no sense.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// The document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Docker's schema 1 manifests carry no config and cannot be verified as images.
    #[error(
        "this is a Docker schema 1 manifest, a format withdrawn in 2019 that Orlop does not accept; push the image again with a current tool"
    )]
    Schema1,
    /// A manifest describes something else than a container image.
    #[error("not a container image but an artifact: its config has media type {media_type:?}")]
    NotAnImage {
        /// The media type of the config.
        media_type: String,
    },
    /// An index has no image for the wanted platform.
    #[error("no image for platform {wanted}; available: {}", if available.is_empty() { "none".to_owned() } else { available.join(", ") })]
    NoMatchingPlatform {
        /// The platform asked for.
        wanted: String,
        /// The platforms there are.
        available: Vec<String>,
    },
    /// A layer is packed in a way this crate cannot unpack.
    #[error("unsupported compression or media type: {what}")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// An archive or layout is damaged or lies about its content.
    #[error("invalid image archive: {reason}")]
    Archive {
        /// What is wrong, naming the entry.
        reason: String,
    },
    /// An entry of an archive failed; the cause says how.
    #[error("in archive entry {entry:?}")]
    Entry {
        /// The entry's path in the archive.
        entry: String,
        /// The cause.
        source: Box<Error>,
    },
    /// An image could not be used; the cause says why.
    #[error("image {name}")]
    Image {
        /// Its name or digest.
        name: String,
        /// The cause.
        source: Box<Error>,
    },
}

/// The coarse kind of an [`Error`], for callers that branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused; see the `io::Error` in the chain.
    Io,
    /// A name, digest, platform or option of the caller is malformed.
    InvalidInput,
    /// Content is damaged or lies about itself.
    InvalidContent,
    /// Content is not there.
    NotFound,
    /// Content is sound but not supported.
    Unsupported,
}

impl Error {
    /// The coarse kind, for callers that branch.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io { .. } | Error::Read { .. } | Error::Write { .. } => {
                // Errors of this crate travel through `io::Error` when they pass a `Read` or `Write`.
                self.inner().map_or(ErrorKind::Io, Error::kind)
            }
            Error::InvalidDigest { .. }
            | Error::InvalidReference { .. }
            | Error::InvalidPlatform { .. }
            | Error::NotAStore { .. } => ErrorKind::InvalidInput,
            Error::DigestMismatch { .. }
            | Error::SizeMismatch { .. }
            | Error::TooLarge { .. }
            | Error::Json { .. }
            | Error::Invalid { .. }
            | Error::Archive { .. } => ErrorKind::InvalidContent,
            Error::BlobMissing { .. } | Error::NoMatchingPlatform { .. } => ErrorKind::NotFound,
            Error::Schema1 | Error::NotAnImage { .. } | Error::Unsupported { .. } => {
                ErrorKind::Unsupported
            }
            Error::Entry { source, .. } | Error::Image { source, .. } => source.kind(),
        }
    }

    fn inner(&self) -> Option<&Error> {
        match self {
            Error::Io { source, .. } | Error::Read { source, .. } | Error::Write { source, .. } => {
                source.get_ref()?.downcast_ref()
            }
            _ => None,
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Error {
        move |source| {
            unwrap_io(source, |source| Error::Io {
                operation,
                path: path.as_ref().to_owned(),
                source,
            })
        }
    }

    pub(crate) fn read(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| {
            unwrap_io(source, |source| Error::Read {
                what: what.into(),
                source,
            })
        }
    }

    pub(crate) fn write(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| {
            unwrap_io(source, |source| Error::Write {
                what: what.into(),
                source,
            })
        }
    }

    pub(crate) fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Error {
        move |source| Error::Json {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn archive(reason: impl Into<String>) -> Error {
        Error::Archive {
            reason: reason.into(),
        }
    }

    pub(crate) fn in_entry(entry: &str) -> impl FnOnce(Error) -> Error {
        move |source| Error::Entry {
            entry: cut(entry),
            source: Box::new(source),
        }
    }

    pub(crate) fn in_image(name: impl ToString) -> impl FnOnce(Error) -> Error {
        move |source| Error::Image {
            name: name.to_string(),
            source: Box::new(source),
        }
    }
}

/// An `Error` that went through `Read` or `Write` comes back as itself, not wrapped.
fn unwrap_io(source: io::Error, wrap: impl FnOnce(io::Error) -> Error) -> Error {
    match source.downcast::<Error>() {
        Ok(own) => own,
        Err(source) => wrap(source),
    }
}

/// Untrusted text for a message: at most 200 characters of it.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
