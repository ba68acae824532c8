//! One request: sent with a login, followed through redirects, tried again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::auth::Scopes;
use crate::challenge;
use crate::client::Client;
use crate::endpoint::{Target, check_onward, origin_text, same_origin};
use crate::error::{Cause, Error};
use crate::events::Event;
use crate::operation::Operation;
use crate::retry::{Delays, Retry, retry_after};
use crate::tls;
use crate::words::server_errors;

const MAX_REDIRECTS: usize = 5;
/// Of an error's body, this much is read, and for this long.
const MAX_ERROR_BODY: u64 = 64 * 1024;
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// What is sent along. All of them can be sent again.
#[derive(Clone)]
pub(crate) enum Payload {
    None,
    Bytes(Bytes),
    /// A body made anew for each attempt, of a known length; the counter moves while it is taken.
    Stream {
        length: u64,
        make: Arc<dyn Fn() -> Body + Send + Sync>,
        taken: Arc<AtomicU64>,
    },
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// Do not send credentials: the address belongs to another host than the registry.
    pub(crate) foreign: bool,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            payload: Payload::None,
            foreign: false,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// The host that answered, if it was not the registry.
    pub(crate) host: Option<String>,
    arrived: Instant,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The whole body, if it is at most `limit` bytes and comes in time.
    pub(crate) async fn body(
        mut self,
        limit: u64,
        within: Duration,
        what: &'static str,
    ) -> Result<Bytes, Cause> {
        let too_large = || Cause::Protocol(format!("{what} is larger than {limit} bytes"));
        if self
            .response
            .content_length()
            .is_some_and(|length| length > limit)
        {
            return Err(too_large());
        }
        let deadline = self.arrived + within;
        let mut body = BytesMut::new();
        loop {
            match tokio::time::timeout_at(deadline, self.response.chunk()).await {
                Err(_) => {
                    return Err(Cause::Timeout {
                        what: "the answer's body",
                        after: within,
                    });
                }
                Ok(Err(error)) => return Err(from_reqwest(error, Duration::ZERO)),
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Ok(Some(chunk))) => {
                    if (body.len() + chunk.len()) as u64 > limit {
                        return Err(too_large());
                    }
                    body.extend_from_slice(&chunk);
                }
            }
        }
    }

    /// What a bad status means, with the registry's words.
    pub(crate) async fn into_cause(self, anonymous: bool) -> Cause {
        let status = self.status();
        let retry_after = retry_after(self.response.headers(), SystemTime::now());
        let host = self.host.clone();
        let body = self
            .body(MAX_ERROR_BODY, ERROR_BODY_TIME, "the error")
            .await
            .unwrap_or_default();
        Cause::Status {
            status,
            errors: server_errors(&body),
            host,
            retry_after,
            anonymous,
        }
    }
}

impl Client {
    /// Sends a request with whatever login the registry wants, again where that may help. Successful
    /// answers and those with a status in `also` come back.
    pub(crate) async fn call(
        &self,
        target: &Target,
        operation: &Operation,
        request: Request,
        scopes: Scopes,
        also: &[StatusCode],
    ) -> Result<Answer, Error> {
        self.call_with(
            target,
            operation,
            request,
            scopes,
            also,
            self.inner.retry.delays(),
        )
        .await
    }

    /// As [`call`](Self::call), but what fails is not tried again, but for one login.
    pub(crate) async fn call_once(
        &self,
        target: &Target,
        operation: &Operation,
        request: Request,
        scopes: Scopes,
    ) -> Result<Answer, Error> {
        self.call_with(
            target,
            operation,
            request,
            scopes,
            &[],
            Retry::never().delays(),
        )
        .await
    }

    async fn call_with(
        &self,
        target: &Target,
        operation: &Operation,
        request: Request,
        mut scopes: Scopes,
        also: &[StatusCode],
        mut delays: Delays,
    ) -> Result<Answer, Error> {
        let mut logged_in = false;
        loop {
            let login = if request.foreign {
                None
            } else {
                Some(self.login(target, &scopes).await?)
            };
            let header = login.as_ref().and_then(|l| l.header.as_ref());
            let cause = match self.send(&request, header).await {
                Ok(answer) if answer.status().is_success() || also.contains(&answer.status()) => {
                    return Ok(answer);
                }
                Ok(answer) => {
                    let refused =
                        answer.status() == StatusCode::UNAUTHORIZED && answer.host.is_none();
                    if let (true, false, Some(login)) = (refused, logged_in, &login)
                        && let Some(challenge) = challenge::from_headers(answer.response.headers())
                    {
                        logged_in = true;
                        let may_help = self
                            .inner
                            .auth
                            .challenged(target, &mut scopes, challenge, login)
                            .await;
                        if may_help {
                            continue;
                        }
                    }
                    let anonymous = login.as_ref().is_none_or(|l| l.anonymous);
                    answer.into_cause(anonymous).await
                }
                Err(cause) => cause,
            };
            self.pause(&mut delays, target, operation, cause).await?;
        }
    }

    /// Waits before another attempt, or gives the cause back as the error if there shall be none.
    pub(crate) async fn pause(
        &self,
        delays: &mut Delays,
        target: &Target,
        operation: &Operation,
        cause: Cause,
    ) -> Result<(), Error> {
        let delay = match &cause {
            _ if !cause.transient() => None,
            Cause::Timeout { .. } => delays.next_after_timeout(),
            Cause::Status { retry_after, .. } => delays.next(*retry_after),
            _ => delays.next(None),
        };
        let Some(delay) = delay else {
            return Err(target.error(cause, operation));
        };
        self.tell(|| Event::Retrying {
            operation: operation.clone(),
            attempt: delays.attempt(),
            delay,
            reason: cause.to_string(),
        });
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// One attempt, redirects included. The login goes only to the request's own origin.
    pub(crate) async fn send(
        &self,
        request: &Request,
        login: Option<&HeaderValue>,
    ) -> Result<Answer, Cause> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let home = same_origin(&url, &request.url);
            let response = self.transmit(request, &url, login.filter(|_| home)).await?;
            let status = response.status();
            let followed = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if !followed {
                let host = (!home).then(|| origin_text(&url));
                return Ok(Answer {
                    response,
                    host,
                    arrived: Instant::now(),
                });
            }
            if request.method != Method::GET && request.method != Method::HEAD {
                return Err(Cause::Protocol(format!(
                    "the registry redirects a {} request",
                    request.method
                )));
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| url.join(text).ok())
                .ok_or_else(|| Cause::Protocol("a redirect without a usable Location".into()))?;
            check_onward(&url, &location, "a redirect")?;
            url = location;
        }
        Err(Cause::Protocol(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    async fn transmit(
        &self,
        request: &Request,
        url: &Url,
        login: Option<&HeaderValue>,
    ) -> Result<Response, Cause> {
        let mut builder = self
            .inner
            .http
            .request(request.method.clone(), url.clone())
            .headers(request.headers.clone());
        if let Some(login) = login {
            builder = builder.header(AUTHORIZATION, login.clone());
        }
        let within = self.inner.timeouts.response;
        let (builder, taken) = match &request.payload {
            Payload::None => (builder, None),
            Payload::Bytes(bytes) => (builder.body(bytes.clone()), None),
            Payload::Stream {
                length,
                make,
                taken,
            } => {
                taken.store(0, Ordering::Relaxed);
                let builder = builder
                    .header(reqwest::header::CONTENT_LENGTH, *length)
                    .body(make());
                (builder, Some((taken, *length)))
            }
        };
        let sending = builder.send();
        let sent = match taken {
            None => timeout(within, sending).await.map_err(|_| Cause::Timeout {
                what: "the answer",
                after: within,
            })?,
            Some((taken, length)) => self.watch_upload(sending, taken, length).await?,
        };
        sent.map_err(|error| from_reqwest(error, self.inner.timeouts.connect))
    }

    /// Awaits an upload for as long as it moves, and then for its acknowledgement.
    async fn watch_upload<F: Future>(
        &self,
        sending: F,
        taken: &AtomicU64,
        length: u64,
    ) -> Result<F::Output, Cause> {
        let timeouts = &self.inner.timeouts;
        let mut sending = std::pin::pin!(sending);
        let mut seen = 0;
        loop {
            let all = seen >= length;
            let window = if all {
                timeouts.commit
            } else {
                timeouts.idle.max(timeouts.connect)
            };
            match timeout(window, &mut sending).await {
                Ok(output) => return Ok(output),
                Err(_) if all => {
                    return Err(Cause::Timeout {
                        what: "acknowledging the upload",
                        after: window,
                    });
                }
                Err(_) => {
                    let now = taken.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(Cause::Timeout {
                            what: "taking any more of the upload",
                            after: window,
                        });
                    }
                    seen = now;
                }
            }
        }
    }
}

/// Sorts an HTTP error; the URL in it, which may hold a signature, is dropped.
pub(crate) fn from_reqwest(error: reqwest::Error, connect: Duration) -> Cause {
    let error = error.without_url();
    if error.is_timeout() && error.is_connect() {
        return Cause::Timeout {
            what: "connecting",
            after: connect,
        };
    }
    if tls::find_error(&error).is_some() {
        return Cause::Tls {
            source: error.into(),
        };
    }
    let what = if error.is_connect() {
        match find_io(&error) {
            Some(io::ErrorKind::ConnectionRefused) => "the connection was refused",
            _ => "connecting failed",
        }
    } else {
        "the connection broke"
    };
    Cause::Connection {
        what: what.to_owned(),
        source: error.into(),
    }
}

fn find_io(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}
