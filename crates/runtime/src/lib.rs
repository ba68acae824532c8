//! Compile a container spec into a plan and run it: the crate embedders link.
pub mod seccomp;
