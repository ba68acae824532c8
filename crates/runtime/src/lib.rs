//! Start containers the way one starts a [`std::process::Command`]: no daemon, no helper program, safe from any thread.
//!
//! ```no_run
//! use orlop_runtime::{Options, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::new(Options::new("/run/example"))?;
//! let output = runtime
//!     .container("/srv/rootfs")
//!     .command(["sh", "-c", "echo hello from $(hostname)"])
//!     .hostname("box")
//!     .memory(64 << 20)
//!     .pids(32)
//!     .output()?;
//! assert!(output.exit.success());
//! assert_eq!(output.stdout, b"hello from box\n");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Builder`] speaks Docker's words and has Docker's defaults; [`Runtime::from_spec`] takes an OCI runtime specification. Both
//! go one way: a specification is [compiled](compile) into a plan, which a program of a few kilobytes carries out between the
//! clone and the container's own program. Nothing of the caller's runs in a container, and a failing step names itself:
//! `mounting proc at /proc (operation 9): EPERM`.
//!
//! # What a call leaves alone
//!
//! The calling process stays as it is: working directory, umask, environment, signal mask and handlers, limits, namespaces,
//! threads. Nothing is printed, no environment variable is read, nothing is mounted in the caller's namespace. Waiting goes by pidfd
//! ([`std::os::fd::AsFd`]), so a program that ignores `SIGCHLD` or reaps everything itself may use this crate.
//!
//! # After `kill -9`
//!
//! What belongs to a container is written to the state directory before it exists. [`Runtime::gc`] on the same directory removes
//! what a killed program left. A container without a cgroup whose owner is killed in the moment between its start and the second
//! write of its record is not found again.
//!
//! # Privilege and kernels
//!
//! As root, or as any user: then root inside is the caller, limits need a delegated cgroup, and only the caller's own ids exist
//! unless [`Builder::id_map_helper`] is given. Linux 5.12 or newer; what a newer kernel does better is tried first.
//!
//! # What it does not do
//!
//! Images (feature `pull`), networks beyond loopback and joining an existing one, logs, restarts. Hooks, AppArmor and SELinux labels,
//! id-mapped mounts and shared root propagation of a specification are refused by name rather than left out.

#![deny(unsafe_code)]

mod builder;
pub mod compile;
mod container;
mod error;
mod exit;
pub mod host;
mod id;
#[cfg(feature = "pull")]
pub mod images;
mod launch;
#[cfg(feature = "tokio")]
mod reactor;
mod read;
mod root;
pub mod rootfs;
mod runtime;
pub mod seccomp;
mod state;
mod stdio;
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
mod sys;
mod terminal;

pub use builder::{Builder, Network, Rlimit, Seccomp, SpecBuilder, UserNamespace};
pub use compile::{Clamp, CompileError, Warning};
pub use container::Container;
pub use error::{Error, ErrorKind};
pub use exit::{Exit, Output};
pub use host::Host;
pub use id::ContainerId;
pub use root::Root;
pub use runtime::{Collected, Options, Runtime};
pub use stdio::Stdio;
pub use terminal::Terminal;

pub use oci_spec::runtime as spec;
pub use orlop_cgroups::{Cgroup, Stats};
pub use orlop_namespaces::{ExitStatus, IdMap, IdMapHelper, Usage};
