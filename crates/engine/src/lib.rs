//! Docker's semantics as a library: images by name, containers run from them.

pub mod hello;
