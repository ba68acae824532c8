//! The real program on the real kernel, as root and as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where, and one that is skipped, why"
)]

#[path = "all/errors.rs"]
mod errors;
#[path = "all/images.rs"]
mod images;
#[path = "all/leftovers.rs"]
mod leftovers;
#[path = "all/pull.rs"]
mod pull;
#[path = "all/run.rs"]
mod run;
#[path = "all/terminal.rs"]
mod terminal;
#[path = "all/world.rs"]
mod world;
