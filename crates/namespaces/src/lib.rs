//! Start processes in new or existing Linux namespaces, safely, from any thread.
//!
//! A [`Launcher`] carries out a [`Plan`]: a list of operations that ends in a program's `execve`. The caller's thread clones a child
//! that shares its memory, stands still while that child executes a tiny static program ([`orlop_init`]), and from then on only
//! waits for messages; the tiny program makes the namespaces, the mounts and all the rest. So a start takes no longer from a
//! process of many gigabytes than from a small one, no lock of the caller's can be held in the child, and nothing of the
//! caller's is ever in reach of the container.
//!
//! A sandbox, without root: the host's files, read-only; an empty `/tmp`; no network; nobody else's processes.
//!
//! ```
//! use orlop_namespaces::{Create, IdMaps, Kind, Launcher, Op, Plan, Resources, Source};
//!
//! let new = |fstype: &str, target: &str| Op::Mount {
//!     source: Source::New { fstype: fstype.into(), source: fstype.into(), options: vec![] },
//!     target: target.into(),
//!     create: Create::No,
//!     attributes: 0, clear: 0, recursive: (0, 0), propagation: 0,
//! };
//! let plan = Plan::new(vec![
//!     Op::Clone { flags: Kind::flags([Kind::User, Kind::Mount, Kind::Pid, Kind::Network]), cgroup: None },
//!     Op::AwaitIdMaps { uid: 0, gid: 0 },
//!     Op::Propagation { flags: 1 << 18 }, // MS_PRIVATE
//!     Op::Root { source: Source::HostPath { path: "/".into(), recursive: true }, attributes: 1 }, // read-only
//!     new("proc", "/proc"),
//!     new("tmpfs", "/tmp"),
//!     Op::Pivot,
//!     Op::NoNewPrivileges,
//!     Op::Exec {
//!         candidates: vec!["/bin/sh".into()],
//!         argv: ["sh", "-c", "test $$ = 1 && touch /tmp/mine && ! touch /etc/mine"].map(Into::into).into(),
//!         env: vec!["PATH=/usr/bin:/bin".into()],
//!     },
//! ]);
//! let id_maps = Some(IdMaps::root_is(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()));
//! let started = Launcher::new()?.start(&plan, Resources { id_maps, ..Resources::default() })?;
//! assert!(started.process.wait()?.status.success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A failure names the operation: `mounting proc at /proc (operation 4): EPERM: Operation not permitted`. After a failure nothing of
//! the start is left: no process, no zombie, no file descriptor, no mount.
//!
//! # What the caller keeps
//!
//! A start changes nothing of the calling process: working directory, umask, environment, limits, dumpable flag, signal actions and
//! namespaces stay as they are, at every moment. The calling thread's signals are blocked for the time of one `execve`. No child
//! but the library's own is ever waited for, and each by pidfd; should another part of the process reap it first (`waitpid(-1)`,
//! an ignored `SIGCHLD`), its end is still known on Linux 6.15 and later. Each start sends the caller two `SIGCHLD`: init's own
//! end and, later, the process's.
//!
//! # Limits
//!
//! - Linux 5.14 or later, x86_64 and aarch64. What is newer (`MFD_EXEC`, `lowerdir+`, exit records) is tried, and done without.
//! - While a start is under way, a child that another thread forks *without executing* holds the channel open as long as it lives,
//!   and with it the start.
//! - A seccomp filter with a listener must not notify on what init itself still does: `sendmsg`, the calls of the operations that
//!   follow, and `execve`. Nobody could answer before the start has returned.
//! - It knows no container, no image, no cgroup: what to mount and which limits to set is the plan's author's business.
//! - A start ends with the program executed. That the program then runs well is for its exit status to say.

#![deny(unsafe_code)]

mod channel;
mod error;
mod exit;
mod idmap;
mod launcher;
mod namespace;
mod process;
mod program;
#[allow(unsafe_code)]
mod sys;

pub use error::SpawnError;
pub use exit::{Exit, ExitStatus, Usage};
pub use idmap::{
    IdMap, IdMapError, IdMapHelper, IdMaps, ParseIdMapError, SubIds, map_root_and, parse_id_maps,
    parse_sub_ids,
};
pub use launcher::{Launcher, Resources, Started};
pub use namespace::{Kind, Namespace, NamespaceError};
pub use orlop_init::{CBytes, Create, EncodeError, Op, Plan, Slot, Source};
pub use process::{Process, WaitError};
