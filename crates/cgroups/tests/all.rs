//! Against real kernels: limits are proved by their effect. One binary, so that it can be run as it is in
//! a virtual machine with another layout of cgroups.

// Helpers of tests are tests: they may panic, and say why something was skipped.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kernel;
