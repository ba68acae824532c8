//! What can go wrong, sorted for callers that branch.

use std::io;
use std::path::{Path, PathBuf};

/// A cause that comes from one of the crates below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of the engine. `Display` prints its own level; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a file of the engine's own failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was being done, as a participle.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A text is neither a name nor an id of an image.
    #[error("{name:?} names no image")]
    Name {
        /// The text.
        name: String,
        /// Why not.
        source: Cause,
    },
    /// Something in a request cannot be meant.
    #[error("invalid {what} {value:?}: {reason}")]
    Invalid {
        /// Which part of the request.
        what: &'static str,
        /// What it was.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Neither image nor caller says what to run.
    #[error("no command: image {image:?} has neither entry point nor command, and none was given")]
    NoCommand {
        /// The image as it was named.
        image: String,
    },
    /// The store has no such image.
    #[error("no such image: {image}")]
    NoSuchImage {
        /// The image as it was named.
        image: String,
    },
    /// More than one image's id begins so.
    #[error("{prefix:?} is ambiguous: it is the beginning of {count} ids")]
    Ambiguous {
        /// The beginning.
        prefix: String,
        /// How many ids begin so.
        count: usize,
    },
    /// There is no such container.
    #[error("no such container: {container}")]
    NoSuchContainer {
        /// The container as it was named.
        container: String,
    },
    /// The name is another container's.
    #[error("the container name {name:?} is already in use by container {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        id: String,
    },
    /// Something cannot be removed as it is.
    #[error("cannot remove {what}: {reason}")]
    InUse {
        /// What should have gone.
        what: String,
        /// Who needs it.
        reason: String,
    },
    /// A limit needs what this host or user does not have, and was asked for.
    #[error("{limit} cannot be set: {reason}")]
    Limit {
        /// The limit.
        limit: &'static str,
        /// Why not.
        reason: String,
    },
    /// A record of the engine's own is damaged.
    #[error("reading the record {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The image store refused.
    #[error("{operation}")]
    Image {
        /// What was being done.
        operation: String,
        /// The cause.
        source: Cause,
    },
    /// The snapshots refused.
    #[error("{operation}")]
    Snapshot {
        /// What was being done.
        operation: String,
        /// The cause.
        source: Cause,
    },
    /// The runtime refused.
    #[error("{operation}")]
    Runtime {
        /// What was being done.
        operation: String,
        /// The cause.
        source: Cause,
    },
    /// An image could not be pulled.
    #[error("pulling {name}")]
    Pull {
        /// Its name, as people write it.
        name: String,
        /// The cause.
        source: Box<orlop_runtime::images::ImagesError>,
    },
    /// An image could not be unpacked.
    #[error("{operation}")]
    Unpack {
        /// What was being done.
        operation: String,
        /// The cause.
        source: Box<orlop_runtime::images::ImagesError>,
    },
    /// The command is not there, or cannot be executed.
    #[error("cannot run {command:?} in the container")]
    Command {
        /// The command as it was to be executed.
        command: String,
        /// Whether it is not there.
        missing: bool,
        /// The cause.
        source: Cause,
    },
    /// A registry refused.
    #[error("{operation}")]
    Registry {
        /// What was being done.
        operation: String,
        /// The cause.
        source: Cause,
    },
    /// Something failed on the way to an end that is named here.
    #[error("{operation}")]
    While {
        /// What was being done.
        operation: String,
        /// The cause.
        source: Box<Error>,
    },
}

/// The coarse kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name, option or limit of the caller's cannot be used.
    InvalidInput,
    /// No such image or container.
    NotFound,
    /// Taken, ambiguous or in use.
    Conflict,
    /// The command does not exist in the container.
    CommandNotFound,
    /// The command exists and cannot be executed.
    CommandNotExecutable,
    /// A registry wants credentials, or other ones.
    Unauthorized,
    /// A registry could not be reached.
    Unreachable,
    /// Everything else: the cause tells.
    Other,
}

impl Error {
    /// The coarse kind, for callers that branch.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Name { .. }
            | Error::Invalid { .. }
            | Error::NoCommand { .. }
            | Error::Limit { .. } => ErrorKind::InvalidInput,
            Error::NoSuchImage { .. } | Error::NoSuchContainer { .. } => ErrorKind::NotFound,
            Error::Ambiguous { .. } | Error::NameTaken { .. } | Error::InUse { .. } => {
                ErrorKind::Conflict
            }
            Error::Command { missing: true, .. } => ErrorKind::CommandNotFound,
            Error::Command { missing: false, .. } => ErrorKind::CommandNotExecutable,
            Error::While { source, .. } => source.kind(),
            _ => self.registry_kind().unwrap_or(ErrorKind::Other),
        }
    }

    /// What a registry had to do with it, if one is among the causes.
    fn registry_kind(&self) -> Option<ErrorKind> {
        use orlop_registry_client::{Error as Refused, ErrorKind as Kind};
        let mut cause = std::error::Error::source(self);
        while let Some(level) = cause {
            if let Some(refused) = level.downcast_ref::<Refused>() {
                return match refused.kind() {
                    Kind::Unauthorized | Kind::Denied => Some(ErrorKind::Unauthorized),
                    Kind::Connection | Kind::Timeout => Some(ErrorKind::Unreachable),
                    _ => None,
                };
            }
            cause = level.source();
        }
        None
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            operation,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    pub(crate) fn errno(
        operation: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |source| Error::Io {
            operation,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn image(operation: impl Into<String>) -> impl FnOnce(orlop_image::Error) -> Error {
        move |source| Error::Image {
            operation: operation.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn snapshot(
        operation: impl Into<String>,
    ) -> impl FnOnce(orlop_unionfs::Error) -> Error {
        move |source| Error::Snapshot {
            operation: operation.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn unpack(
        operation: impl Into<String>,
    ) -> impl FnOnce(orlop_runtime::images::ImagesError) -> Error {
        move |source| Error::Unpack {
            operation: operation.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn registry(
        operation: impl Into<String>,
    ) -> impl FnOnce(orlop_registry_client::Error) -> Error {
        move |source| Error::Registry {
            operation: operation.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn runtime(
        operation: impl Into<String>,
    ) -> impl FnOnce(orlop_runtime::Error) -> Error {
        move |source| Error::Runtime {
            operation: operation.into(),
            source: Box::new(source),
        }
    }

    /// A container that did not start: whether it was the command tells callers what code to end with.
    pub(crate) fn start(argv: &[String], source: orlop_runtime::Error) -> Error {
        let missing = match source.kind() {
            orlop_runtime::ErrorKind::CommandNotFound => true,
            orlop_runtime::ErrorKind::CommandNotExecutable => false,
            _ => return Error::runtime("running the container")(source),
        };
        let command = argv.first().cloned().unwrap_or_default();
        Error::Command {
            command,
            missing,
            source: Box::new(source),
        }
    }

    pub(crate) fn invalid(
        what: &'static str,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> Error {
        Error::Invalid {
            what,
            value: value.into(),
            reason: reason.into(),
        }
    }
}
