//! Why a start failed.

use std::io;

use nix::errno::Errno;
use orlop_init::EncodeError;

use crate::exit::Exit;
use crate::idmap::IdMapError;

/// Why a process was not started. Whatever the reason, nothing is left: no process, no zombie, no file descriptor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The plan cannot be carried out, or would act on the caller's own namespaces.
    #[error("the plan is refused")]
    Plan(#[source] EncodeError),
    /// The plan refers to more slots than the start brings, or than can be handed over.
    #[error("the plan needs {needed} slots, {given} were given (at most {most} can be)")]
    Slots {
        /// Slots the plan refers to.
        needed: usize,
        /// Slots in the [`Resources`](crate::Resources).
        given: usize,
        /// Limit of the channel.
        most: usize,
    },
    /// The caller's side failed before or beside the plan.
    #[error("{action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// An operation of the plan failed.
    #[error("{op} (operation {index}): {errno}")]
    Step {
        /// Its index in the plan.
        index: usize,
        /// The operation in words.
        op: String,
        /// The kernel's reason.
        errno: Errno,
    },
    /// Init ended in the middle of the plan without saying why: something killed it.
    #[error("init died at {op} (operation {index}): {how}")]
    Died {
        /// Index of the operation it was at.
        index: usize,
        /// The operation in words.
        op: String,
        /// How it ended.
        how: String,
    },
    /// Init ended before it had read its plan.
    #[error("init died before it began: {how}")]
    NotBegun {
        /// How it ended.
        how: String,
    },
    /// The id maps of the new user namespace could not be written.
    #[error("mapping ids into the user namespace")]
    IdMaps(#[source] IdMapError),
    /// The plan waits for id maps and the start brings none.
    #[error("the plan waits for id maps, and none were given")]
    NoIdMaps,
}

impl SpawnError {
    /// The kernel's error number behind it, if there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            SpawnError::Step { errno, .. } => Some(*errno),
            SpawnError::System { source, .. } => source.raw_os_error().map(Errno::from_raw),
            _ => None,
        }
    }

    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> SpawnError {
        move |source| SpawnError::System { action, source }
    }
}

/// An end in words, where it is known.
pub(crate) fn in_words(exit: Option<Exit>) -> String {
    exit.map_or_else(
        || String::from("how is not known"),
        |exit| exit.status.to_string(),
    )
}
