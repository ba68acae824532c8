//! What can go wrong, with the operation, the place and the cause.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::Fault;

/// An operation on a snapshot store that did not succeed.
///
/// `Display` prints this level only; the cause is in [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was being done: "creating", "writing" …
        operation: &'static str,
        /// Where: a path of the store, or an entry's path inside the layer.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A snapshot key that could name something else than one directory entry.
    #[error("invalid snapshot key {key:?}: {reason}")]
    InvalidKey {
        /// The key as given.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A chain id that is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("invalid chain id {chain_id:?}: want sha256: and 64 lower-case hexadecimal digits")]
    InvalidChainId {
        /// The chain id as given.
        chain_id: String,
    },
    /// No committed layer has this chain id.
    #[error("no layer {chain_id}")]
    NoLayer {
        /// The chain id asked for.
        chain_id: String,
    },
    /// No active snapshot or view has this key.
    #[error("no snapshot {key:?}")]
    NoSnapshot {
        /// The key asked for.
        key: String,
    },
    /// An active snapshot or view has this key already.
    #[error("snapshot {key:?} exists already")]
    Exists {
        /// The key asked for.
        key: String,
    },
    /// The operation needs a writable snapshot, and this is a read-only view.
    #[error("snapshot {key:?} is a read-only view")]
    ReadOnly {
        /// The key asked for.
        key: String,
    },
    /// The layer's archive breaks a rule; nothing of it was committed.
    #[error("layer archive, at entry {entry:?}")]
    Archive {
        /// The entry's path, or the one before the break.
        entry: String,
        /// The rule.
        source: Fault,
    },
    /// The layer goes beyond what the caller allows.
    #[error("layer exceeds the limit of {limit} {what} at entry {entry:?}")]
    Limit {
        /// The unit: "bytes", "entries", "path components".
        what: &'static str,
        /// The caller's limit.
        limit: u64,
        /// The entry that crossed it.
        entry: String,
    },
    /// More layers than overlayfs stacks.
    #[error("{count} layers are more than the {limit} that {how} can stack")]
    TooManyLayers {
        /// Layers asked for.
        count: usize,
        /// Layers possible.
        limit: usize,
        /// The way of mounting.
        how: &'static str,
    },
    /// The snapshot was mounted volatile when the machine went down: what is in it may be incomplete.
    #[error("snapshot {key:?} was mounted volatile when the machine went down")]
    Unclean {
        /// The key asked for.
        key: String,
    },
    /// The snapshot was mounted for a user namespace with other id maps, and holds files of its owners.
    #[error("snapshot {key:?} belongs to a user namespace with other id maps")]
    Mapped {
        /// The key asked for.
        key: String,
    },
    /// Something of the store's own is not what this version writes.
    #[error("{}: {reason}", path.display())]
    Corrupt {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller asked for one way of mounting, and it does not work here.
    #[error("mounting by {how} is not possible here")]
    Unavailable {
        /// The way.
        how: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        operation: &'static str,
        path: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        Error::Io {
            operation,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn archive(entry: &[u8], source: Fault) -> Self {
        let entry = String::from_utf8_lossy(entry).into_owned();
        match source {
            Fault::TooLong(limit) => Error::Limit {
                what: "archive bytes",
                limit,
                entry,
            },
            source => Error::Archive { entry, source },
        }
    }
}

/// `map_err` to [`Error::Io`] in few words.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;
    /// The path is bytes of an archive entry.
    fn at_entry(self, operation: &'static str, path: &[u8]) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|e| Error::io(operation, path, e))
    }

    fn at_entry(self, operation: &'static str, path: &[u8]) -> Result<T, Error> {
        use std::os::unix::ffi::OsStrExt;
        self.map_err(|e| Error::io(operation, Path::new(std::ffi::OsStr::from_bytes(path)), e))
    }
}
