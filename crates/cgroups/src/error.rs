//! What can go wrong, with the operation, the place and the cause.

use std::io;
use std::path::PathBuf;

use crate::controller::Controller;
use crate::path::CgroupPath;

/// An error of this crate.
///
/// `Display` prints one level; the kernel's own answer, where there is one, is in
/// [`source`](std::error::Error::source). Branch on [`Error::kind`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is no usable cgroup path.
    #[error("{path:?} is no cgroup path: {reason}")]
    BadPath {
        /// The text as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A line of the mount table, or of `/proc/PID/cgroup`, that is not as proc(5) describes it.
    #[error("line {line} of {origin} is malformed")]
    BadTable {
        /// Which file.
        origin: &'static str,
        /// Counted from one.
        line: usize,
    },
    /// No cgroup hierarchy is mounted where this process can see it.
    #[error("no cgroup hierarchy is mounted")]
    NotMounted,
    /// The place is not this user's to change. Somebody with authority over it (root, or a service
    /// manager's `Delegate=`) has to hand over a subtree first.
    #[error("cgroup {path} is not delegated to this user ({action})")]
    NotDelegated {
        /// The cgroup's directory.
        path: PathBuf,
        /// What was tried.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The cgroup to create is there already.
    #[error("cgroup {path} exists already")]
    AlreadyExists {
        /// The cgroup's directory.
        path: PathBuf,
    },
    /// The cgroup exists in no hierarchy.
    #[error("there is no cgroup {path}")]
    NotFound {
        /// The cgroup asked for.
        path: CgroupPath,
    },
    /// A v2 cgroup that has processes of its own cannot hand controllers to its children
    /// (the "no internal process" rule of cgroups(7)).
    #[error(
        "cgroup {path} has processes of its own and so cannot enable {controllers} for its children: \
         move them into a child first"
    )]
    InternalProcesses {
        /// The parent with the processes.
        path: PathBuf,
        /// The controllers that were to be enabled.
        controllers: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A controller that the limits need is not available here.
    #[error("{needed} needs the {controller} controller, which is not available in {path}")]
    NoController {
        /// The setting that needs it.
        needed: String,
        /// The controller.
        controller: Controller,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A setting that this kernel or this version of cgroups does not have.
    #[error("{setting} cannot be set here: {reason}")]
    Unsupported {
        /// The setting.
        setting: String,
        /// Why.
        reason: String,
    },
    /// A limit that cannot be meant, found before the kernel was asked.
    #[error("{setting} cannot be {value}: {reason}")]
    Invalid {
        /// The setting.
        setting: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refused a value.
    #[error("setting {file} to {value} in {path}")]
    Set {
        /// The cgroup's directory.
        path: PathBuf,
        /// The file in it.
        file: String,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel would not take the device program.
    #[error("{action} the device program of {path}")]
    DeviceProgram {
        /// "loading", "attaching", ...
        action: &'static str,
        /// The cgroup's directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another operation on a file or directory of a cgroup failed.
    #[error("{action} {path}")]
    Io {
        /// "reading", "creating", ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file of the kernel's that reads differently from what its documentation says.
    #[error("{path} reads {text:?}, which cannot be understood")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The offending part.
        text: String,
    },
    /// A process to attach is not there.
    #[error("attaching process {pid} to {path}")]
    Attach {
        /// The process.
        pid: u32,
        /// The cgroup's directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The calling process is itself inside the cgroup it wants to kill or freeze.
    #[error("cannot {action} {path}: the calling process is inside")]
    SelfInside {
        /// "kill" or "freeze".
        action: &'static str,
        /// The cgroup.
        path: CgroupPath,
    },
    /// What was asked did not happen in time.
    #[error("{path} was not {state} within {milliseconds} ms ({processes} processes inside)")]
    Timeout {
        /// The cgroup.
        path: CgroupPath,
        /// "frozen", "empty", ...
        state: &'static str,
        /// How long it was waited for.
        milliseconds: u128,
        /// How many processes are inside.
        processes: usize,
    },
    /// The cgroup cannot be removed because it is in use.
    #[error("cgroup {path} is in use by {processes} processes")]
    InUse {
        /// The cgroup's directory.
        path: PathBuf,
        /// How many processes are inside; zero if only dying ones keep it.
        processes: usize,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The sort of an [`Error`], for callers who branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's text is wrong: a path, or a limit.
    Invalid,
    /// The host has no such thing mounted, or this kernel lacks it.
    Unsupported,
    /// The user may not; a delegated subtree is needed.
    NotDelegated,
    /// It exists already.
    AlreadyExists,
    /// It does not exist.
    NotFound,
    /// It is in use.
    InUse,
    /// It did not happen in time.
    Timeout,
    /// Anything else the kernel reported.
    Io,
}

impl Error {
    /// What sort of error this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::BadPath { .. } | Error::Invalid { .. } => ErrorKind::Invalid,
            Error::NotMounted | Error::NoController { .. } | Error::Unsupported { .. } => {
                ErrorKind::Unsupported
            }
            Error::NotDelegated { .. } => ErrorKind::NotDelegated,
            Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::InternalProcesses { .. } | Error::InUse { .. } | Error::SelfInside { .. } => {
                ErrorKind::InUse
            }
            Error::Timeout { .. } => ErrorKind::Timeout,
            Error::Set { source, .. } => match source.raw_os_error() {
                Some(libc::EINVAL | libc::ERANGE | libc::ENODEV | libc::EOVERFLOW) => {
                    ErrorKind::Invalid
                }
                Some(libc::EACCES | libc::EPERM | libc::EROFS) => ErrorKind::NotDelegated,
                Some(libc::EBUSY) => ErrorKind::InUse,
                _ => ErrorKind::Io,
            },
            Error::Attach { source, .. } => match source.raw_os_error() {
                Some(libc::ESRCH) => ErrorKind::NotFound,
                Some(libc::EACCES | libc::EPERM) => ErrorKind::NotDelegated,
                Some(libc::EBUSY) => ErrorKind::InUse,
                _ => ErrorKind::Io,
            },
            Error::DeviceProgram { source, .. } => match source.raw_os_error() {
                Some(libc::EPERM) => ErrorKind::NotDelegated,
                _ => ErrorKind::Io,
            },
            Error::BadTable { .. } | Error::Malformed { .. } | Error::Io { .. } => ErrorKind::Io,
        }
    }

    /// The error of a failed change: [`Error::NotDelegated`] if it was for want of permission.
    pub(crate) fn change(action: &'static str, path: PathBuf, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Error::NotDelegated {
                path,
                action: action.to_owned(),
                source,
            },
            _ => Error::Io {
                action,
                path,
                source,
            },
        }
    }
}
