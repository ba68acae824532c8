//! Docker's little languages: sizes, CPUs, volumes, mounts, environment. Text in, values out; no files, no environment.

pub(crate) mod cpus;
pub(crate) mod env;
pub(crate) mod mount;
pub(crate) mod security;
pub(crate) mod size;
pub(crate) mod tmpfs;
pub(crate) mod ulimit;
pub(crate) mod volume;
