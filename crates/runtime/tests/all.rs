//! The runtime against the real kernel. `support.rs` says what a test needs.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "all/collect.rs"]
mod collect;
#[path = "all/end.rs"]
mod end;
#[path = "all/escapes.rs"]
mod escapes;
#[path = "all/faults.rs"]
mod faults;
#[path = "all/isolation.rs"]
mod isolation;
#[path = "all/moby.rs"]
mod moby;
#[path = "all/process.rs"]
mod process;
#[path = "all/streams.rs"]
mod streams;
#[path = "all/support.rs"]
mod support;
