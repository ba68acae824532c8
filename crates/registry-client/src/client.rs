//! The client itself, and how it finds a registry's scheme.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::distribution::Reference;
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;

use crate::auth::{Auth, Scopes};
use crate::builder::{Builder, Timeouts};
use crate::endpoint::{Endpoint, PlainHttp, Target, base_url};
use crate::error::{Cause, Error};
use crate::events::Event;
use crate::http::Request;
use crate::operation::Operation;
use crate::retry::Retry;

/// A client of any number of registries. Cheap to clone; clones share connections, tokens and what was
/// learnt about registries.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    events: Option<Arc<dyn Fn(Event) + Send + Sync>>,
}

pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    pub(crate) auth: Auth,
    pub(crate) plain_http: PlainHttp,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Retry,
    pub(crate) max_manifest: u64,
    pub(crate) endpoints: Mutex<HashMap<String, Arc<OnceCell<Endpoint>>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a builder.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            events: None,
        }
    }

    /// The same client, telling `callback` what happens in operations started through the returned value.
    #[must_use]
    pub fn with_events(&self, callback: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            events: Some(Arc::new(callback)),
        }
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(callback) = &self.events {
            callback(event());
        }
    }

    /// Asks the registry of `reference` whether it speaks the registry API and, if it wants a login,
    /// whether the credentials are accepted (`GET /v2/`).
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) if they are not, and any error of the connection.
    pub async fn ping(&self, reference: &Reference) -> Result<(), Error> {
        let target = Target::registry(reference.registry(), None)?;
        let operation = Operation::Ping;
        let url = self.url(&target, &operation, "v2/").await?;
        self.call(
            &target,
            &operation,
            Request::new(Method::GET, url),
            Scopes::none(),
            &[],
        )
        .await?;
        Ok(())
    }

    pub(crate) async fn url(
        &self,
        target: &Target,
        operation: &Operation,
        path: &str,
    ) -> Result<url::Url, Error> {
        let endpoint = self.endpoint(target).await?;
        endpoint
            .url(path)
            .map_err(|cause| target.error(cause, operation))
    }

    /// HTTPS, or plain HTTP if the policy allows it for this host and HTTPS is not spoken there. Asked
    /// once a host.
    pub(crate) async fn endpoint(&self, target: &Target) -> Result<Endpoint, Error> {
        let https =
            base_url("https", &target.host).map_err(|c| target.error(c, &Operation::Prepare))?;
        if !self.inner.plain_http.allows(&target.host) {
            return Ok(Endpoint { base: https });
        }
        let cell = {
            let mut endpoints = self
                .inner
                .endpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(endpoints.entry(target.host.clone()).or_default())
        };
        let found = cell.get_or_try_init(|| async {
            let mut delays = self.inner.retry.delays();
            loop {
                let cause = match self.probe(target, &https).await {
                    Ok(endpoint) => return Ok(endpoint),
                    Err(cause) => cause,
                };
                // Nobody there: say so at once.
                if matches!(cause, Cause::Connection { .. }) {
                    return Err(target.error(cause, &Operation::Ping));
                }
                self.pause(&mut delays, target, &Operation::Ping, cause)
                    .await?;
            }
        });
        found.await.cloned()
    }

    async fn probe(&self, target: &Target, https: &url::Url) -> Result<Endpoint, Cause> {
        let ping = |base: &url::Url| {
            let endpoint = Endpoint { base: base.clone() };
            async move {
                let request = Request::new(Method::GET, endpoint.url("v2/")?);
                let answer = self.send(&request, None).await?;
                Ok::<_, Cause>((endpoint, answer.status()))
            }
        };
        let first = match ping(https).await {
            Ok((endpoint, _)) => return Ok(endpoint),
            Err(cause) => cause,
        };
        // A server that speaks TLS with a certificate that does not verify is not a plain one.
        let untrusted = matches!(&first, Cause::Tls { source }
            if matches!(crate::tls::find_error(source.as_ref()), Some(rustls::Error::InvalidCertificate(_))));
        if untrusted {
            return Err(first);
        }
        let http = base_url("http", &target.host)?;
        match ping(&http).await {
            // What a TLS port says to plain HTTP.
            Ok((_, StatusCode::BAD_REQUEST)) => Err(first),
            Ok((endpoint, _)) => Ok(endpoint),
            Err(second) => Err(second),
        }
    }
}
