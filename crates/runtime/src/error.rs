//! What can go wrong between a request and a running container.

use std::io;
use std::path::PathBuf;

use orlop_init::plan::{Op, Plan};
use orlop_namespaces::{SpawnError, WaitError};

use crate::compile::CompileError;
use crate::rootfs::users::{ParseUserError, UserError};

/// For callers that branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong: an unknown user, an impossible limit, a bad path.
    Invalid,
    /// The program to start does not exist in the container: exit code 127 by custom.
    CommandNotFound,
    /// The program exists but cannot be executed: exit code 126 by custom.
    CommandNotExecutable,
    /// More privilege than the caller has.
    Privilege,
    /// This host or this library cannot do it.
    Unsupported,
    /// A name that is taken.
    AlreadyExists,
    /// A step of the set-up failed.
    Setup,
    /// Anything else.
    Other,
}

/// Why a container was not started, or not waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification.
    #[error(transparent)]
    Spec(#[from] CompileError),
    /// A `--user` that cannot be read.
    #[error(transparent)]
    UserText(#[from] ParseUserError),
    /// A user that is not in the container's files.
    #[error("looking the user up")]
    User(#[from] UserError),
    /// A request that is wrong before any specification is made of it.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
    },
    /// One of the standard streams is the caller's own terminal.
    #[error(
        "{stream} is the caller's terminal, into which a container could type: pass Stdio::inherit_terminal() to hand it over all the same"
    )]
    CallersTerminal {
        /// `stdin`, `stdout` or `stderr`.
        stream: &'static str,
    },
    /// Control groups.
    #[error("{doing} the container's cgroup")]
    Cgroup {
        /// `making`, `joining` …
        doing: &'static str,
        /// The cause.
        #[source]
        source: orlop_cgroups::Error,
    },
    /// A step of the start.
    #[error("starting the container")]
    Start {
        /// The step and its error.
        #[source]
        source: SpawnError,
        /// What kind of failure it is.
        kind: ErrorKind,
    },
    /// The end could not be learnt.
    #[error("waiting for the container")]
    Wait(#[from] WaitError),
    /// A system call or a file.
    #[error("{doing} {}", path.display())]
    Io {
        /// `opening`, `writing` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Error::Io {
            doing,
            path: path.into(),
            source: source.into(),
        }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Error::Invalid { what: what.into() }
    }

    /// A failed start, seen against the plan that failed.
    pub(crate) fn start(plan: &Plan, source: SpawnError) -> Self {
        let kind = match &source {
            SpawnError::Step { index, errno, .. } => match plan.ops().get(*index) {
                Some(Op::Exec { .. }) => exec_kind(*errno as i32),
                _ => ErrorKind::Setup,
            },
            _ => ErrorKind::Other,
        };
        Error::Start { source, kind }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Spec(CompileError::Unsupported { .. }) => ErrorKind::Unsupported,
            Error::Spec(CompileError::Privilege { .. }) => ErrorKind::Privilege,
            Error::Spec(_)
            | Error::UserText(_)
            | Error::User(_)
            | Error::Invalid { .. }
            | Error::CallersTerminal { .. } => ErrorKind::Invalid,
            Error::Start { kind, .. } => *kind,
            Error::Cgroup { source, .. } => match source.kind() {
                orlop_cgroups::ErrorKind::Invalid => ErrorKind::Invalid,
                orlop_cgroups::ErrorKind::Unsupported => ErrorKind::Unsupported,
                orlop_cgroups::ErrorKind::NotDelegated => ErrorKind::Privilege,
                orlop_cgroups::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                _ => ErrorKind::Other,
            },
            Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                ErrorKind::AlreadyExists
            }
            Error::Wait(_) | Error::Io { .. } => ErrorKind::Other,
        }
    }
}

/// Shells' distinction between 127 and 126.
fn exec_kind(errno: i32) -> ErrorKind {
    match errno {
        libc::ENOENT | libc::ENOTDIR => ErrorKind::CommandNotFound,
        _ => ErrorKind::CommandNotExecutable,
    }
}
