//! Pulling and unpacking, from Debian's docker-registry filled by skopeo.

#![cfg(feature = "pull")]
#![allow(clippy::unwrap_used)]

#[path = "images/broken.rs"]
mod broken;
#[path = "../../registry-client/tests/all/docker_registry.rs"]
#[allow(dead_code)]
mod docker_registry;
#[path = "images/fixture.rs"]
mod fixture;
#[path = "images/pulls.rs"]
mod pulls;
