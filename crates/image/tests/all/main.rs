//! The crate against the real kernel, real files and its peers.

mod archives;
mod concurrency;
mod hostile;
mod import;
mod nospace;
mod peers;
mod store;
mod support;
