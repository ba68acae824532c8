//! Compile a container spec into a plan and run it: the crate embedders link.
#[cfg(feature = "pull")]
pub mod images;
pub mod seccomp;
