//! The real program on the real kernel, as root and as an ordinary user.

// In a test, what is not expected is to end it.
#![allow(clippy::unwrap_used)]

#[path = "all/errors.rs"]
mod errors;
#[path = "all/images.rs"]
mod images;
#[path = "all/leftovers.rs"]
mod leftovers;
#[path = "all/run.rs"]
mod run;
#[path = "all/terminal.rs"]
mod terminal;
#[path = "all/world.rs"]
mod world;
