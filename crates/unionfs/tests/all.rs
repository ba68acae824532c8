//! Against the real kernel: overlayfs, extended attributes, user namespaces.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[allow(dead_code)]
#[path = "all/support.rs"]
mod support;

#[path = "all/mounting.rs"]
mod mounting;

#[path = "all/tree.rs"]
mod tree;

#[path = "all/hostile.rs"]
mod hostile;

#[path = "all/layering.rs"]
mod layering;

#[path = "all/roundtrip.rs"]
mod roundtrip;

#[path = "all/differential.rs"]
mod differential;

#[path = "all/processes.rs"]
mod processes;

#[path = "all/cost.rs"]
mod cost;

#[path = "all/committing.rs"]
mod committing;
