//! Against the real kernel: overlayfs, extended attributes, user namespaces.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "all/support.rs"]
mod support;

#[path = "all/mounting.rs"]
mod mounting;

#[path = "all/tree.rs"]
mod tree;
