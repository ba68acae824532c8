//! Against the real kernel.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "all/support.rs"]
mod support;

#[path = "all/start.rs"]
mod start;
