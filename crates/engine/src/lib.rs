//! Docker's semantics as a library: images by name, and containers run from them.

#![deny(unsafe_code)]

mod archive;
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
pub use request::{Limits, Mount, MountSource, Network, PullPolicy, RunRequest, Seccomp, Ulimit};
pub use run::{Ended, Running};
pub use usage::DiskUsage;

// What a caller passes on or gets back from the crates below.
pub use orlop_image::Digest;
pub use orlop_registry_client::{CredentialFuture, CredentialProvider, Credentials};
pub use orlop_runtime::Terminal;
pub use orlop_runtime::images::PullEvent;
pub use orlop_unionfs::Warnings;
