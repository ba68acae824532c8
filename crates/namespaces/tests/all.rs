//! Against the real kernel.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says what it skips"
)]

#[path = "all/caller.rs"]
mod caller;
#[path = "all/faults.rs"]
mod faults;
#[path = "all/identity.rs"]
mod identity;
#[path = "all/joins.rs"]
mod joins;
#[path = "all/mounts.rs"]
mod mounts;
#[path = "all/robust.rs"]
mod robust;
#[path = "all/start.rs"]
mod start;
#[path = "all/support.rs"]
mod support;
#[path = "all/sys.rs"]
mod sys;
#[path = "all/users.rs"]
mod users;
