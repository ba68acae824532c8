//! Talk to container registries: pull and push over the OCI distribution protocol.
//!
//! ```no_run
//! use orlop_registry_client::{Client, Credentials};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder()
//!     .credentials(|registry: &str| {
//!         Ok(if registry == "r.example" { Credentials::basic("me", "secret") } else { Credentials::Anonymous })
//!     })
//!     .build()?;
//! let reference = "docker.io/library/busybox:latest".parse()?;
//! let resolved = client.resolve(&reference, |index| index.manifests().first().cloned()).await?;
//! for layer in resolved.image.image().map(|image| image.layers().as_slice()).unwrap_or_default() {
//!     let mut blob = client.blob(&reference, layer, 0).await?;
//!     while let Some(chunk) = blob.chunk().await? {
//!         println!("{} of {}: {} bytes more", blob.offset(), layer.size(), chunk.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every byte is verified against the digest and size asked for; manifests are kept as the bytes they came as.
//! Logging in (Basic, Bearer, refresh tokens) happens by itself when a registry asks, with credentials from a
//! provider the caller passes; they are bound to the registry's origin and follow no redirect away from it. Broken
//! downloads continue where they were. Every wait is bounded. Dropping a future cancels what it does.
//!
//! # Limits
//! Needs a tokio runtime with I/O and time enabled. No environment variable, file or system proxy is read: the
//! compiled-in public roots are trusted, and what [`Builder::root_certificates`] adds. HTTP/1.1 only. One blob is
//! downloaded over one connection. Docker's schema 1 is refused. Layers that are stored at foreign addresses only
//! are not fetched from there. Mirrors are the caller's to try. Digests: SHA-256, SHA-384 and SHA-512.
//!
//! After the [OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md)
//! 1.1 and Docker's [token authentication](https://distribution.github.io/distribution/spec/auth/token/).

#![deny(unsafe_code)]

mod auth;
mod blob;
mod blobs;
mod builder;
mod challenge;
mod client;
mod credentials;
mod digest;
mod endpoint;
mod error;
mod events;
mod http;
mod manifest;
mod manifests;
mod operation;
mod push;
mod retry;
mod source;
mod tags;
mod tls;
mod token;
mod words;

pub use blob::BlobStream;
pub use builder::{Builder, Timeouts};
pub use client::Client;
pub use credentials::{CredentialFuture, CredentialProvider, Credentials};
pub use digest::Hasher;
pub use endpoint::PlainHttp;
pub use error::{Error, ErrorKind};
pub use events::Event;
pub use manifest::{Content, Manifest};
pub use manifests::Resolved;
pub use operation::Operation;
pub use push::Pushed;
pub use retry::Retry;
pub use source::BlobSource;
pub use words::ServerError;
