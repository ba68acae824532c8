//! Namespaces as things of their own: their kinds, and one kept by file descriptor.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::UnshareFlags;

use crate::process::Process;

/// A kind of namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Mounts. `CLONE_NEWNS`.
    Mount,
    /// Control group root. `CLONE_NEWCGROUP`.
    Cgroup,
    /// Host and domain name. `CLONE_NEWUTS`.
    Uts,
    /// System V and POSIX message queues, semaphores, shared memory. `CLONE_NEWIPC`.
    Ipc,
    /// User and group ids, capabilities. `CLONE_NEWUSER`.
    User,
    /// Process ids. `CLONE_NEWPID`.
    Pid,
    /// Network devices, addresses, ports. `CLONE_NEWNET`.
    Network,
    /// Boot and monotonic clocks. `CLONE_NEWTIME`.
    Time,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 8] = [
        Kind::Mount,
        Kind::Cgroup,
        Kind::Uts,
        Kind::Ipc,
        Kind::User,
        Kind::Pid,
        Kind::Network,
        Kind::Time,
    ];

    /// The `CLONE_NEW*` flag, as [`Op::Clone`](orlop_init::Op::Clone) and [`Op::JoinNamespace`](orlop_init::Op::JoinNamespace) take it.
    pub const fn flag(self) -> u64 {
        match self {
            Kind::Mount => 0x0002_0000,
            Kind::Cgroup => 0x0200_0000,
            Kind::Uts => 0x0400_0000,
            Kind::Ipc => 0x0800_0000,
            Kind::User => 0x1000_0000,
            Kind::Pid => 0x2000_0000,
            Kind::Network => 0x4000_0000,
            Kind::Time => 0x0000_0080,
        }
    }

    /// Its file in `/proc/PID/ns`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Mount => "mnt",
            Kind::Cgroup => "cgroup",
            Kind::Uts => "uts",
            Kind::Ipc => "ipc",
            Kind::User => "user",
            Kind::Pid => "pid",
            Kind::Network => "net",
            Kind::Time => "time",
        }
    }

    /// The flags of several kinds together.
    pub fn flags(kinds: impl IntoIterator<Item = Kind>) -> u64 {
        kinds.into_iter().fold(0, |all, kind| all | kind.flag())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a namespace could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// Its file in `/proc` could not be opened: it takes the rights of ptrace(2) over the process.
    #[error("opening {path}")]
    Open {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The process ended meanwhile.
    #[error("process {pid} is gone")]
    Gone {
        /// Its id while it lived.
        pid: u32,
    },
    /// It could not be created: it takes `CAP_SYS_ADMIN`.
    #[error("creating a {kind} namespace")]
    Create {
        /// Its kind.
        kind: Kind,
        /// Why not.
        source: io::Error,
    },
}

/// A namespace kept alive by a file descriptor, without any process in it. Hand its fd to a plan's
/// [`JoinNamespace`](orlop_init::Op::JoinNamespace) to start a process there.
#[derive(Debug)]
pub struct Namespace {
    kind: Kind,
    fd: OwnedFd,
}

impl Namespace {
    /// The namespace that a process is in.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Open`] without the rights of ptrace(2) over it.
    pub fn open(pid: u32, kind: Kind) -> Result<Namespace, NamespaceError> {
        open(format!("/proc/{pid}/ns/{}", kind.name()), kind)
    }

    /// The namespace that a started process is in: never that of another process which got its id.
    ///
    /// # Errors
    ///
    /// As [`Namespace::open`]; [`NamespaceError::Gone`] once it has ended.
    pub fn of(process: &Process, kind: Kind) -> Result<Namespace, NamespaceError> {
        let namespace = Namespace::open(process.pid(), kind)?;
        process
            .signal(0)
            .map_err(|_| NamespaceError::Gone { pid: process.pid() })?;
        Ok(namespace)
    }

    /// The calling thread's own namespace.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Open`] where `/proc` is missing.
    pub fn own(kind: Kind) -> Result<Namespace, NamespaceError> {
        open(format!("/proc/thread-self/ns/{}", kind.name()), kind)
    }

    /// A new namespace with nothing in it, made ahead of the start that will join it: creating a network namespace takes a hundred
    /// times as long as joining one. Cgroup, uts, ipc and network namespaces can be made so; the others come with a process.
    ///
    /// A thread of its own, which ends at once, enters and leaves it: the calling thread stays where it is.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Create`] without `CAP_SYS_ADMIN`, or for a kind that needs a process.
    pub fn create(kind: Kind) -> Result<Namespace, NamespaceError> {
        let flag = match kind {
            Kind::Cgroup => UnshareFlags::NEWCGROUP,
            Kind::Uts => UnshareFlags::NEWUTS,
            Kind::Ipc => UnshareFlags::NEWIPC,
            Kind::Network => UnshareFlags::NEWNET,
            Kind::Mount | Kind::User | Kind::Pid | Kind::Time => {
                let source = io::Error::from(io::ErrorKind::Unsupported);
                return Err(NamespaceError::Create { kind, source });
            }
        };
        let create = move || {
            crate::sys::unshare(flag).map_err(|source| NamespaceError::Create { kind, source })?;
            Namespace::own(kind)
        };
        let thread = std::thread::Builder::new()
            .name(String::from("namespace"))
            .spawn(create);
        let thread = thread.map_err(|source| NamespaceError::Create { kind, source })?;
        thread.join().unwrap_or_else(|_| {
            Err(NamespaceError::Create {
                kind,
                source: io::Error::from(io::ErrorKind::Other),
            })
        })
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A number that no other living namespace of this machine has: the inode on nsfs.
    ///
    /// # Errors
    ///
    /// The kernel's, which has no reason to refuse.
    pub fn id(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_ino)
    }
}

fn open(path: String, kind: Kind) -> Result<Namespace, NamespaceError> {
    match File::open(&path) {
        Ok(file) => Ok(Namespace {
            kind,
            fd: file.into(),
        }),
        Err(source) => Err(NamespaceError::Open { path, source }),
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
