//! Docker's semantics as a library: images by name, and containers run from them, without a daemon.
//!
//! ```no_run
//! use std::io::Read;
//!
//! use orlop_engine::{Engine, Options, RunRequest};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open(Options::new("/var/lib/example"))?;
//! let mut request = RunRequest::new("hello");
//! request.remove = true;
//! let mut running = engine.start(&request)?;
//! let mut said = String::new();
//! if let Some(stdout) = running.take_stdout() {
//!     std::fs::File::from(stdout).read_to_string(&mut said)?;
//! }
//! let ended = running.wait()?;
//! println!("it said {said:?} and ended with {}", ended.code);
//! # Ok(())
//! # }
//! ```
//!
//! An [`Engine`] is a directory: images, unpacked layers, containers and volumes. Any number of engines and processes
//! may work in one at a time; nothing but the directory is shared. What the crates below do with blobs, snapshots and
//! processes, this one does with names: it finds an image by what a person calls it, lays a caller's wishes over the
//! image's configuration by Docker's rules ([`merge()`]), remembers containers that have ended, and refuses to remove
//! what something else needs.
//!
//! A container is looked after by the process that started it. When that is killed, the next call of any engine on the
//! same directory notices, kills what is left of the container, and removes or remembers it as was asked for.
//!
//! # Limits
//! Containers run in the foreground of a process; none outlives it. The network is none, or the host's. There are no
//! health checks, restart policies and log files. For an ordinary user a container has one user, root, who is that
//! user outside, and limits need a control group that was delegated to the user.
//!
//! # Needs
//! Linux 5.11 for overlayfs without root, and user namespaces; as root any kernel with overlayfs. Pulling needs a tokio
//! runtime. No environment variable is read and nothing is printed: that is for programs like `orlop`.

#![deny(unsafe_code)]

mod archive;
mod binds;
mod changes;
mod check;
mod containers;
mod engine;
mod error;
mod etc;
mod files;
mod fill;
pub mod hello;
mod id;
mod images;
mod inspect;
mod limits;
mod merge;
mod name;
mod pull;
mod record;
mod remove;
mod request;
mod run;
mod signal;
mod start;
mod usage;
mod volumes;

pub use archive::{ImportOptions, LoadedImage};
pub use changes::change;
pub use engine::{Engine, Options};
pub use error::{Cause, Error, ErrorKind};
pub use images::{Found, ImageSummary};
pub use merge::{DEFAULT_PATH, Settings, merge};
pub use pull::{PullOptions, Pulled};
pub use record::{Container, MountRecord, State};
pub use remove::{Collected, Removed};
pub use request::{Limits, Mount, MountSource, Network, RunRequest, Seccomp, Ulimit};
pub use run::{Ended, Running};
pub use usage::DiskUsage;

// What a caller passes on or gets back from the crates below.
pub use orlop_image::Digest;
pub use orlop_registry_client::{CredentialFuture, CredentialProvider, Credentials};
pub use orlop_runtime::Terminal;
pub use orlop_runtime::images::PullEvent;
pub use orlop_unionfs::Warnings;
