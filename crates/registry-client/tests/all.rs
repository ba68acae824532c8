//! The client against Debian's docker-registry and against a server that misbehaves on purpose.

#![allow(clippy::unwrap_used)]

#[path = "all/docker_registry.rs"]
mod docker_registry;
#[path = "all/hostile.rs"]
mod hostile;
#[path = "all/login.rs"]
mod login;
#[path = "all/lying.rs"]
mod lying;
#[path = "all/real.rs"]
mod real;
#[path = "all/silent.rs"]
mod silent;
#[path = "all/uploads.rs"]
mod uploads;
