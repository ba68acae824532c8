//! The crate against the real kernel, real files and its peers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy counts only functions marked as tests, not their helpers"
)]

mod archives;
mod concurrency;
mod hostile;
mod import;
mod nospace;
mod peers;
mod store;
mod support;
