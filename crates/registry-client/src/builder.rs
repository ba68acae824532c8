//! Building a client.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Auth;
use crate::client::{Client, Inner};
use crate::credentials::{CredentialProvider, Credentials};
use crate::endpoint::PlainHttp;
use crate::error::{BoxError, Cause, Error, Place};
use crate::operation::Operation;
use crate::retry::Retry;
use crate::tls::{self, TlsOptions};

/// How long to wait for a registry. All of them are bounds on silence, none on the length of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included (default 15 s).
    pub connect: Duration,
    /// For the head of an answer, and for the whole of a small one (default 30 s).
    pub response: Duration,
    /// For a blob in transfer: at least 1 KiB has to come or go in this time (default 30 s).
    pub idle: Duration,
    /// For a registry to acknowledge a whole upload, which it may have to hash and move first (default 300 s).
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            response: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            commit: Duration::from_secs(300),
        }
    }
}

/// Collects the options of a [`Client`].
#[must_use = "a builder does nothing until build() is called"]
pub struct Builder {
    credentials: Arc<dyn CredentialProvider>,
    plain_http: PlainHttp,
    timeouts: Timeouts,
    retry: Retry,
    tls: TlsOptions,
    proxies: Vec<(String, String)>,
    user_agent: String,
    max_manifest: u64,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            credentials: Arc::new(|_: &str| -> Result<Credentials, BoxError> {
                Ok(Credentials::Anonymous)
            }),
            plain_http: PlainHttp::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            tls: TlsOptions::default(),
            proxies: Vec::new(),
            user_agent: concat!("orlop/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_manifest: 4 * 1024 * 1024,
        }
    }

    /// Where credentials come from. Default: anonymous everywhere.
    pub fn credentials(mut self, provider: impl CredentialProvider) -> Self {
        self.credentials = Arc::new(provider);
        self
    }

    /// Which registries may speak plain HTTP. Default: those on loopback.
    pub fn plain_http(mut self, policy: PlainHttp) -> Self {
        self.plain_http = policy;
        self
    }

    /// How long to wait.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How often to try again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Trusts the certification authorities of a PEM bundle too, beside the public ones compiled in: a
    /// company's own, or the system's bundle. May be called several times.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots.push(pem.into());
        self
    }

    /// Trusts only what [`root_certificates`](Self::root_certificates) was given.
    pub fn only_given_roots(mut self) -> Self {
        self.tls.only_given_roots = true;
        self
    }

    /// A client certificate chain and its private key, both PEM.
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.identity = Some((chain.into(), key.into()));
        self
    }

    /// Goes through a proxy (`http://…`), but for the hosts in `except` (comma-separated as in
    /// `NO_PROXY`). Default: no proxy, whatever the environment says.
    pub fn proxy(mut self, url: impl Into<String>, except: impl Into<String>) -> Self {
        self.proxies.push((url.into(), except.into()));
        self
    }

    /// The `User-Agent`. Default: `orlop/` and the version.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// The largest manifest or index accepted, in bytes. Default: 4 MiB, as in the specification.
    pub fn max_manifest_size(mut self, bytes: u64) -> Self {
        self.max_manifest = bytes;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if a certificate, key, proxy or the user agent cannot be used.
    pub fn build(self) -> Result<Client, Error> {
        let place = Place {
            registry: String::new(),
            repository: None,
        };
        let fail = |cause: Cause| cause.at(&place, &Operation::Prepare);
        let tls = tls::configuration(&self.tls).map_err(fail)?;
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(self.user_agent)
            .connect_timeout(self.timeouts.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true);
        for (url, except) in &self.proxies {
            let proxy = reqwest::Proxy::all(url).map_err(|e| {
                fail(Cause::InvalidSource {
                    what: "reading the proxy's address",
                    source: e.without_url().into(),
                })
            })?;
            http = http.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(except)));
        }
        let http = http.build().map_err(|e| {
            fail(Cause::InvalidSource {
                what: "setting up the HTTP client",
                source: e.into(),
            })
        })?;
        Ok(Client::from_inner(Inner {
            http,
            auth: Auth::new(self.credentials),
            plain_http: self.plain_http,
            timeouts: self.timeouts,
            retry: self.retry,
            max_manifest: self.max_manifest,
            endpoints: Default::default(),
        }))
    }
}
