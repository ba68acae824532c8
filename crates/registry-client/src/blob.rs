//! Blobs, downloaded as a stream that repairs itself.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest};
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::auth::Scopes;
use crate::client::Client;
use crate::digest::Hasher;
use crate::endpoint::Target;
use crate::error::{Cause, Error};
use crate::events::Event;
use crate::http::{Request, from_reqwest};
use crate::operation::Operation;
use crate::retry::Delays;

/// At least this much has to arrive within the idle time.
const TRICKLE: u64 = 1024;
/// After this much more has arrived, a broken connection is forgiven as if it were the first.
const PROGRESS: u64 = 256 * 1024;

/// A blob on its way. Dropping it ends the download.
///
/// Chunks come in order and end where the descriptor says. The last one is handed out only after the digest of
/// the whole was found right, so whoever has seen the end (`None`) has the bytes asked for; until then they
/// are unverified. Broken connections are continued by a range request.
#[derive(Debug)]
pub struct BlobStream {
    client: Client,
    target: Target,
    digest: Digest,
    size: u64,
    offset: u64,
    /// `None` if the stream began in the middle without the state of the bytes before.
    hasher: Option<Hasher>,
    response: Option<Response>,
    /// Bytes to pass over, where a registry ignored the range asked for.
    skip: u64,
    delays: Delays,
    forgiven_at: u64,
    /// Since when, and from which offset on, at least `TRICKLE` bytes are awaited.
    window: (Instant, u64),
    done: bool,
}

impl BlobStream {
    pub(crate) async fn open(
        client: &Client,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
        hasher: Option<Hasher>,
    ) -> Result<BlobStream, Error> {
        let mut stream = BlobStream {
            client: client.clone(),
            target: Target::new(reference)?,
            digest: descriptor.digest().clone(),
            size: descriptor.size(),
            offset,
            hasher,
            response: None,
            skip: 0,
            delays: client.inner.retry.delays(),
            forgiven_at: offset,
            window: (Instant::now(), offset),
            done: false,
        };
        if offset > stream.size {
            let got = format!("and {offset} are there already");
            return Err(stream.fail(Cause::Size {
                expected: stream.size,
                got,
            }));
        }
        if offset == stream.size {
            stream.verify()?;
            stream.done = true;
        } else {
            stream.connect().await?;
        }
        Ok(stream)
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Digest`](crate::ErrorKind::Digest), [`ErrorKind::Size`](crate::ErrorKind::Size), and what
    /// remains of the connection's errors after retries. After an error the stream is at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        let result = self.advance().await;
        if result.is_err() {
            self.done = true;
            self.response = None;
        }
        result
    }

    /// The bytes handed out so far, together with those before the start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Leaves it to the caller to verify the digest, who hashes the bytes anyway. The size is still verified.
    #[must_use]
    pub fn without_digest(mut self) -> Self {
        self.hasher = None;
        self
    }

    /// The state of the digest over all bytes so far, to continue later by
    /// [`Client::blob_continue`]; `None` if the stream began in the middle.
    pub fn hasher(&self) -> Option<&Hasher> {
        self.hasher.as_ref()
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        futures_util::stream::unfold(self, |mut blob| async move {
            let item = blob.chunk().await.transpose()?;
            Some((item, blob))
        })
    }

    fn operation(&self) -> Operation {
        Operation::GetBlob(self.digest.clone())
    }

    fn fail(&self, cause: Cause) -> Error {
        self.target.error(cause, &self.operation())
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let idle = self.client.inner.timeouts.idle;
            let cause = match &mut self.response {
                None => {
                    self.client.tell(|| Event::Resuming {
                        digest: self.digest.clone(),
                        offset: self.offset,
                    });
                    self.connect().await?;
                    continue;
                }
                Some(response) => match timeout_at(self.window.0 + idle, response.chunk()).await {
                    Err(_) => Cause::Timeout {
                        what: "more of the blob",
                        after: idle,
                    },
                    Ok(Err(error)) => from_reqwest(error, Duration::ZERO),
                    Ok(Ok(None)) => Cause::Connection {
                        what: format!(
                            "the connection ended after {} of {} bytes",
                            self.offset, self.size
                        ),
                        source: std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into(),
                    },
                    Ok(Ok(Some(chunk))) => match self.take(chunk).await? {
                        Some(chunk) => return Ok(Some(chunk)),
                        None => continue,
                    },
                },
            };
            self.response = None;
            if self.offset >= self.forgiven_at.saturating_add(PROGRESS) {
                self.forgiven_at = self.offset;
                self.delays = self.client.inner.retry.delays();
            }
            let (client, target, operation) =
                (self.client.clone(), self.target.clone(), self.operation());
            client
                .pause(&mut self.delays, &target, &operation, cause)
                .await?;
        }
    }

    /// Takes in a chunk; `None` if nothing of it is to be handed out.
    async fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, Error> {
        let now = Instant::now();
        if self.skip > 0 {
            let passed = self.skip.min(chunk.len() as u64);
            let _ = chunk.split_to(usize::try_from(passed).unwrap_or(chunk.len()));
            self.skip -= passed;
            self.window.0 = now;
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        let left = self.size - self.offset;
        if chunk.len() as u64 > left {
            return Err(self.fail(Cause::Size {
                expected: self.size,
                got: "but the registry sends more".into(),
            }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.offset += chunk.len() as u64;
        if self.offset >= self.window.1.saturating_add(TRICKLE) {
            self.window = (now, self.offset);
        }
        if self.offset == self.size {
            self.verify()?;
            self.refuse_surplus().await?;
            self.done = true;
            self.response = None;
        }
        self.client.tell(|| Event::Downloaded {
            digest: self.digest.clone(),
            bytes: self.offset,
            total: self.size,
        });
        Ok(Some(chunk))
    }

    fn verify(&self) -> Result<(), Error> {
        match &self.hasher {
            Some(hasher) if hasher.text() != self.digest.as_ref() => {
                Err(self.fail(Cause::Digest {
                    expected: self.digest.to_string(),
                    actual: hasher.text(),
                }))
            }
            _ => Ok(()),
        }
    }

    /// A body without a stated length may go on.
    async fn refuse_surplus(&mut self) -> Result<(), Error> {
        let idle = self.client.inner.timeouts.idle;
        let Some(response) = &mut self.response else {
            return Ok(());
        };
        if response
            .headers()
            .contains_key(reqwest::header::CONTENT_LENGTH)
        {
            return Ok(());
        }
        match tokio::time::timeout(idle, response.chunk()).await {
            Ok(Ok(Some(more))) if !more.is_empty() => Err(self.fail(Cause::Size {
                expected: self.size,
                got: "but the registry sends more".into(),
            })),
            // The bytes are all there and right: how the connection ends is nobody's concern.
            _ => Ok(()),
        }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let operation = self.operation();
        let path = format!("v2/{}/blobs/{}", self.target.repository, self.digest);
        let url = self.client.url(&self.target, &operation, &path).await?;
        // A body encoded on the way would be neither of the right size nor of the right digest.
        let mut request = Request::new(Method::GET, url)
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.offset)).map_err(|e| {
                self.fail(Cause::InvalidSource {
                    what: "writing a range",
                    source: e.into(),
                })
            })?;
            request = request.header(RANGE, range);
        }
        let scopes = Scopes::pull(&self.target.repository);
        let also = [StatusCode::RANGE_NOT_SATISFIABLE];
        let answer = self
            .client
            .call(&self.target, &operation, request, scopes, &also)
            .await?;
        let left = match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header("content-range").and_then(parse_content_range);
                match range {
                    Some((start, total))
                        if start == self.offset && total.is_none_or(|t| t == self.size) => {}
                    Some((_, Some(total))) if total != self.size => {
                        let got = format!("but the registry has {total}");
                        return Err(self.fail(Cause::Size {
                            expected: self.size,
                            got,
                        }));
                    }
                    _ => {
                        return Err(self.fail(Cause::Protocol(
                            "the registry answers another range than asked for".into(),
                        )));
                    }
                }
                self.skip = 0;
                self.size - self.offset
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let got = format!("but the registry has none after {}", self.offset);
                return Err(self.fail(Cause::Size {
                    expected: self.size,
                    got,
                }));
            }
            _ => {
                self.skip = self.offset;
                self.size
            }
        };
        if let Some(length) = answer.response.content_length()
            && length != left
        {
            let got = format!(
                "but the registry announces {}",
                length.saturating_add(self.size - left)
            );
            return Err(self.fail(Cause::Size {
                expected: self.size,
                got,
            }));
        }
        self.window = (Instant::now(), self.offset);
        self.response = Some(answer.response);
        Ok(())
    }
}

/// `bytes 5-9/10` gives (5, Some(10)); `bytes 5-9/*` gives (5, None).
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= end).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -1-9/10", None),
        ] {
            assert_eq!(parse_content_range(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_survived(text in "(bytes )?[ -~]{0,40}") {
            let _ = parse_content_range(&text);
        }
    }
}
