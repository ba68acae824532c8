//! Pushing blobs: looked up, mounted, or uploaded whole or in chunks.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Body, Method, StatusCode};
use url::Url;

use crate::auth::Scopes;
use crate::client::Client;
use crate::endpoint::{Target, check_onward, check_repository, same_origin};
use crate::error::{Cause, Error, ErrorKind};
use crate::events::Event;
use crate::http::{Answer, Payload, Request};
use crate::operation::Operation;
use crate::source::{BlobSource, read};

/// The least size of a chunk where a registry wants chunks.
const CHUNK: u64 = 8 * 1024 * 1024;
/// No registry gets larger chunks, whatever it asks for.
const MAX_CHUNK: u64 = 1024 * 1024 * 1024;

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there already.
    Existed,
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

struct Upload<'a> {
    client: &'a Client,
    target: &'a Target,
    operation: Operation,
    digest: &'a Digest,
    size: u64,
    scopes: Scopes,
    source: Arc<dyn BlobSource>,
    /// Why the source could not be read: the HTTP layer only says that the body broke.
    broken: Arc<Mutex<Option<(u64, io::Error)>>>,
}

/// An upload the registry has opened.
struct Session {
    location: Url,
    min_chunk: Option<u64>,
}

impl Client {
    /// Makes sure the repository of `reference` has a blob: looks it up, tries to mount it from the repository
    /// `from` of the same registry, and else uploads it.
    ///
    /// # Errors
    /// [`ErrorKind::Source`] if the source ends early or cannot be read, [`ErrorKind::Digest`] if the registry
    /// finds other bytes than the descriptor says, [`ErrorKind::Unauthorized`] or [`ErrorKind::Denied`], and any
    /// error of the connection. An upload that failed is cancelled at the registry as far as it answers.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: impl BlobSource,
        from: Option<&str>,
    ) -> Result<Pushed, Error> {
        let target = Target::new(reference)?;
        let digest = descriptor.digest();
        if self.blob_exists(reference, digest).await?.is_some() {
            return Ok(Pushed::Existed);
        }
        let upload = Upload {
            client: self,
            target: &target,
            operation: Operation::PutBlob(digest.clone()),
            digest,
            size: descriptor.size(),
            scopes: Scopes::push(&target.repository),
            source: Arc::new(source),
            broken: Arc::default(),
        };
        let mut session = None;
        if let Some(from) = from.filter(|from| *from != target.repository) {
            session = match upload.mount(from).await? {
                Mount::Done => return Ok(Pushed::Mounted),
                Mount::Refused(session) => session,
            };
        }
        upload.run(session).await?;
        Ok(Pushed::Uploaded)
    }
}

enum Mount {
    Done,
    /// With the upload opened instead, if one was.
    Refused(Option<Session>),
}

impl Upload<'_> {
    fn fail(&self, cause: Cause) -> Error {
        self.target.error(cause, &self.operation)
    }

    async fn call(&self, request: Request, also: &[StatusCode]) -> Result<Answer, Error> {
        self.client
            .call(
                self.target,
                &self.operation,
                request,
                self.scopes.clone(),
                also,
            )
            .await
    }

    async fn mount(&self, from: &str) -> Result<Mount, Error> {
        let operation = Operation::MountBlob(self.digest.clone(), from.to_owned());
        check_repository(from).map_err(|cause| self.target.error(cause, &operation))?;
        let path = format!(
            "v2/{}/blobs/uploads/?mount={}&from={from}",
            self.target.repository, self.digest
        );
        let url = self.client.url(self.target, &operation, &path).await?;
        let request = empty(Request::new(Method::POST, url));
        let scopes = self.scopes.clone().and(Scopes::pull(from));
        match self
            .client
            .call(self.target, &operation, request, scopes, &[])
            .await
        {
            Ok(answer) if answer.status() == StatusCode::CREATED => Ok(Mount::Done),
            Ok(answer) => Ok(Mount::Refused(Some(self.session(&answer).await?))),
            // No right to the other repository, or a registry that knows no mounts: the bytes can still be sent.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unauthorized
                        | ErrorKind::Denied
                        | ErrorKind::NotFound
                        | ErrorKind::Rejected
                        | ErrorKind::Unsupported
                ) =>
            {
                Ok(Mount::Refused(None))
            }
            Err(error) => Err(error),
        }
    }

    async fn run(&self, mut session: Option<Session>) -> Result<(), Error> {
        let mut delays = self.client.inner.retry.delays();
        loop {
            let open = match session.take() {
                Some(session) => session,
                None => self.start().await?,
            };
            let result = match open.min_chunk {
                Some(least) => self.chunked(&open, least).await,
                None => match self.monolithic(&open).await {
                    Err(error) if error.status() == Some(413) => match self.start().await {
                        Ok(fresh) => self.chunked(&fresh, CHUNK).await,
                        Err(error) => Err(error),
                    },
                    result => result,
                },
            };
            let Err(error) = result else { return Ok(()) };
            self.cancel(&open).await;
            if let Some((offset, source)) = self
                .broken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
            {
                return Err(self.fail(Cause::Source { offset, source }));
            }
            // The requests of a session were already retried where that can help; a broken session needs a new one.
            let lost = error.cause().transient() || error.status() == Some(404);
            let Some(delay) = delays.next(error.retry_after()).filter(|_| lost) else {
                return Err(error);
            };
            self.client.tell(|| Event::Retrying {
                operation: self.operation.clone(),
                attempt: delays.attempt(),
                delay,
                reason: error.to_string(),
            });
            tokio::time::sleep(delay).await;
        }
    }

    async fn start(&self) -> Result<Session, Error> {
        let path = format!("v2/{}/blobs/uploads/", self.target.repository);
        let url = self.client.url(self.target, &self.operation, &path).await?;
        let answer = self
            .call(empty(Request::new(Method::POST, url)), &[])
            .await?;
        self.session(&answer).await
    }

    async fn session(&self, answer: &Answer) -> Result<Session, Error> {
        let min_chunk = answer
            .header("oci-chunk-min-length")
            .and_then(|text| text.trim().parse().ok());
        Ok(Session {
            location: self.location(answer).await?,
            min_chunk,
        })
    }

    /// Where to go on. Registries behind a proxy that ends TLS are known to answer `http://` for themselves.
    async fn location(&self, answer: &Answer) -> Result<Url, Error> {
        let home = self.client.endpoint(self.target).await?;
        let text = answer.header("location").ok_or_else(|| {
            self.fail(Cause::Protocol(
                "the registry opens an upload without saying where".into(),
            ))
        })?;
        let mut location = answer.response.url().join(text).map_err(|_| {
            self.fail(Cause::Protocol(
                "the address of the upload cannot be read".into(),
            ))
        })?;
        if !home.is_plain() && location.scheme() == "http" && location.host() == home.base.host() {
            let port = home.base.port();
            if location.set_scheme("https").is_ok() {
                let _ = location.set_port(port);
            }
        }
        check_onward(&home.base, &location, "the address of the upload")
            .map_err(|cause| self.fail(cause))?;
        Ok(location)
    }

    async fn request(&self, method: Method, url: Url) -> Result<Request, Error> {
        let home = self.client.endpoint(self.target).await?;
        let foreign = !same_origin(&url, &home.base);
        let mut request = Request::new(method, url);
        request.foreign = foreign;
        Ok(request)
    }

    fn final_url(&self, location: &Url) -> Url {
        let mut url = location.clone();
        url.query_pairs_mut()
            .append_pair("digest", self.digest.as_ref());
        url
    }

    /// The source's bytes from `start` up to `end`, as often as the body is needed.
    fn payload(&self, start: u64, end: u64) -> Payload {
        let taken = Arc::new(AtomicU64::new(0));
        let (source, broken) = (Arc::clone(&self.source), Arc::clone(&self.broken));
        let (client, digest, total) = (self.client.clone(), self.digest.clone(), self.size);
        let counter = Arc::clone(&taken);
        let make = move || {
            let (source, broken, counter) = (
                Arc::clone(&source),
                Arc::clone(&broken),
                Arc::clone(&counter),
            );
            let (client, digest) = (client.clone(), digest.clone());
            Body::wrap_stream(futures_util::stream::try_unfold(start, move |at| {
                let (source, broken, counter) = (
                    Arc::clone(&source),
                    Arc::clone(&broken),
                    Arc::clone(&counter),
                );
                let (client, digest) = (client.clone(), digest.clone());
                async move {
                    if at >= end {
                        return Ok::<_, io::Error>(None);
                    }
                    match read(source, at, end).await {
                        Ok(piece) => {
                            let next = at + piece.len() as u64;
                            counter.store(next - start, Ordering::Relaxed);
                            client.tell(|| Event::Uploaded {
                                digest,
                                bytes: next,
                                total,
                            });
                            Ok(Some((piece, next)))
                        }
                        Err(error) => {
                            let told = io::Error::new(
                                error.kind(),
                                "the data to upload could not be read",
                            );
                            *broken.lock().unwrap_or_else(PoisonError::into_inner) =
                                Some((at, error));
                            Err(told)
                        }
                    }
                }
            }))
        };
        Payload::Stream {
            length: end - start,
            make: Arc::new(make),
            taken,
        }
    }

    async fn monolithic(&self, session: &Session) -> Result<(), Error> {
        let request = self
            .request(Method::PUT, self.final_url(&session.location))
            .await?;
        let request = octets(request).payload(self.payload(0, self.size));
        // Sending the same body to the same session again would append to it, so each attempt is a new session.
        self.once(request).await.map(drop)
    }

    /// One attempt, with one more login if it is asked for.
    async fn once(&self, request: Request) -> Result<Answer, Error> {
        self.client
            .call_once(self.target, &self.operation, request, self.scopes.clone())
            .await
    }

    async fn chunked(&self, session: &Session, least: u64) -> Result<(), Error> {
        let step = least.clamp(CHUNK, MAX_CHUNK);
        let mut location = session.location.clone();
        let mut offset = 0;
        let mut delays = self.client.inner.retry.delays();
        while offset < self.size {
            let end = offset.saturating_add(step).min(self.size);
            let range = HeaderValue::from_str(&format!("{offset}-{}", end - 1)).map_err(|e| {
                self.fail(Cause::InvalidSource {
                    what: "writing a range",
                    source: e.into(),
                })
            })?;
            let request = self.request(Method::PATCH, location.clone()).await?;
            let request = octets(request)
                .header(CONTENT_RANGE, range)
                .payload(self.payload(offset, end));
            match self.once(request).await {
                Ok(answer) => {
                    location = self.location(&answer).await?;
                    offset = end;
                }
                Err(error) => {
                    let recoverable = error.cause().transient() || error.status() == Some(416);
                    let source_broke = self
                        .broken
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .is_some();
                    let Some(delay) = delays
                        .next(error.retry_after())
                        .filter(|_| recoverable && !source_broke)
                    else {
                        return Err(error);
                    };
                    tokio::time::sleep(delay).await;
                    // The registry knows how far it got.
                    let answer = self
                        .call(self.request(Method::GET, location.clone()).await?, &[])
                        .await?;
                    offset = answer
                        .header("range")
                        .and_then(uploaded)
                        .filter(|there| *there <= self.size)
                        .ok_or_else(|| {
                            self.fail(Cause::Protocol(
                                "the registry does not say how far the upload got".into(),
                            ))
                        })?;
                    location = self.location(&answer).await.unwrap_or(location);
                }
            }
        }
        let request = self.request(Method::PUT, self.final_url(&location)).await?;
        self.once(empty(octets(request))).await.map(drop)
    }

    /// Tells the registry to forget an upload, for as long as is decent.
    async fn cancel(&self, session: &Session) {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
        if let Ok(request) = self.request(Method::DELETE, session.location.clone()).await {
            let _ = tokio::time::timeout(PATIENCE, self.once(request)).await;
        }
    }
}

fn octets(request: Request) -> Request {
    request.header(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    )
}

fn empty(request: Request) -> Request {
    const ZERO: HeaderValue = HeaderValue::from_static("0");
    let name: HeaderName = CONTENT_LENGTH;
    request.header(name, ZERO)
}

/// How many bytes `Range: 0-9` stands for.
fn uploaded(text: &str) -> Option<u64> {
    let text = text.trim().strip_prefix("bytes=").unwrap_or(text.trim());
    let (start, last) = text.split_once('-')?;
    if start.trim() != "0" {
        return None;
    }
    let last: u64 = last.trim().parse().ok()?;
    // docker-registry says 0-0 for nothing as well as for one byte; from nothing on is right for both.
    if last == 0 {
        Some(0)
    } else {
        last.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_uploads() {
        for (text, expected) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0-", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(uploaded(text), expected, "{text}");
        }
    }
}
