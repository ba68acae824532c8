//! Logging in: which scheme a registry wants, and the tokens got for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use url::Url;

use crate::challenge::Challenge;
use crate::client::Client;
use crate::credentials::{CredentialProvider, Credentials};
use crate::endpoint::{Target, check_onward, origin_text, same_origin};
use crate::error::{Cause, Error, Operation};
use crate::http::{Payload, Request};

const MAX_TOKEN_ANSWER: u64 = 64 * 1024;
const MAX_TOKEN: usize = 16 * 1024;
/// The specification's default and least lifetime of a token.
const LEAST_LIFETIME: Duration = Duration::from_secs(60);
const MOST_LIFETIME: Duration = Duration::from_secs(3600);
const CLIENT_ID: &str = "orlop";

/// What a token has to allow, as `repository:name:actions`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Scopes(BTreeSet<String>);

impl Scopes {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn pull(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:pull")]))
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self(BTreeSet::from([format!(
            "repository:{repository}:pull,push"
        )]))
    }

    pub(crate) fn delete(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:delete")]))
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Takes what a challenge asks for, as far as it concerns the repository in question.
    fn widen(&mut self, asked: &str, repository: &str) {
        let own = format!("repository:{repository}:");
        for scope in asked
            .split(' ')
            .take(8)
            .filter(|s| !repository.is_empty() && s.starts_with(&own))
        {
            self.0.insert(scope.to_owned());
        }
    }

    fn text(&self) -> String {
        self.0
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

struct Token {
    value: HeaderValue,
    anonymous: bool,
    expires: Instant,
}

type Cell = Arc<tokio::sync::Mutex<Option<Token>>>;

/// What is sent with a request.
pub(crate) struct Login {
    pub(crate) header: Option<HeaderValue>,
    pub(crate) anonymous: bool,
}

pub(crate) struct Auth {
    provider: Arc<dyn CredentialProvider>,
    /// By host.
    challenges: Mutex<HashMap<String, Challenge>>,
    /// By host and scopes. A cell is locked while its token is being got, so that many layers of one
    /// image ask once.
    tokens: Mutex<HashMap<(String, Scopes), Cell>>,
}

impl Auth {
    pub(crate) fn new(provider: Arc<dyn CredentialProvider>) -> Self {
        Self {
            provider,
            challenges: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    fn challenge(&self, host: &str) -> Option<Challenge> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .cloned()
    }

    fn cell(&self, host: &str, scopes: &Scopes) -> Cell {
        const MANY: usize = 512;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MANY {
            tokens.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        Arc::clone(tokens.entry((host.to_owned(), scopes.clone())).or_default())
    }

    /// A 401 came with a challenge: remembers it, forgets the login that was refused, and says whether
    /// another attempt may fare better.
    pub(crate) async fn challenged(
        &self,
        target: &Target,
        scopes: &mut Scopes,
        challenge: Challenge,
        used: &Login,
    ) -> bool {
        let known = self.challenge(&target.host);
        if let Some(header) = &used.header {
            let cell = self.cell(&target.host, &key(known.as_ref(), scopes));
            let mut token = cell.lock().await;
            if token.as_ref().is_some_and(|t| t.value == *header) {
                *token = None;
            }
        }
        // A password that was refused once will be refused again.
        let stuck = challenge == Challenge::Basic && known.as_ref() == Some(&Challenge::Basic);
        if let Challenge::Bearer {
            scope: Some(asked), ..
        } = &challenge
        {
            scopes.widen(asked, &target.repository);
        }
        let mut challenges = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.insert(target.host.clone(), challenge);
        !stuck
    }
}

/// A password serves all scopes.
fn key(challenge: Option<&Challenge>, scopes: &Scopes) -> Scopes {
    match challenge {
        Some(Challenge::Basic) => Scopes::none(),
        _ => scopes.clone(),
    }
}

impl Client {
    /// The login for a request: none as long as the registry has not asked for one.
    pub(crate) async fn login(&self, target: &Target, scopes: &Scopes) -> Result<Login, Error> {
        let auth = &self.inner.auth;
        let Some(challenge) = auth.challenge(&target.host) else {
            return Ok(Login {
                header: None,
                anonymous: true,
            });
        };
        let cell = auth.cell(&target.host, &key(Some(&challenge), scopes));
        let mut token = cell.lock().await;
        if let Some(token) = token.as_ref().filter(|t| t.expires > Instant::now()) {
            return Ok(Login {
                header: Some(token.value.clone()),
                anonymous: token.anonymous,
            });
        }
        let operation = Operation::Token(scopes.text());
        let fail = |cause| target.error(cause, &operation);
        let credentials = auth
            .provider
            .credentials(&target.place.registry)
            .await
            .map_err(|e| fail(Cause::Credentials(e)))?;
        let anonymous = credentials.is_anonymous();
        let new = match (&challenge, credentials) {
            (_, Credentials::RegistryToken(text)) => Some(Token {
                value: header(&format!("Bearer {text}")).map_err(fail)?,
                anonymous,
                expires: Instant::now() + MOST_LIFETIME,
            }),
            (Challenge::Basic, Credentials::Basic { username, password }) => Some(Token {
                value: basic(&username, &password).map_err(fail)?,
                anonymous,
                expires: Instant::now() + MOST_LIFETIME,
            }),
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service, .. }, credentials) => {
                let service = service.as_deref();
                Some(
                    self.get_token(target, &operation, realm, service, scopes, credentials)
                        .await?,
                )
            }
        };
        *token = new;
        Ok(Login {
            header: token.as_ref().map(|t| t.value.clone()),
            anonymous,
        })
    }

    /// The token service's two ways: a GET with a password or anonymously, a POST with a refresh token.
    async fn get_token(
        &self,
        target: &Target,
        operation: &Operation,
        realm: &str,
        service: Option<&str>,
        scopes: &Scopes,
        credentials: Credentials,
    ) -> Result<Token, Error> {
        let fail = |cause| target.error(cause, operation);
        let registry = self.endpoint(target).await?.base;
        let mut url = Url::parse(realm).map_err(|_| {
            fail(Cause::Protocol(
                "the registry names a token service that is no address".into(),
            ))
        })?;
        // A plain registry may only name a plain service where it is itself, or anywhere over HTTPS.
        if url.scheme() == "http"
            && !self.inner.plain_http.allows(&host_text(&url))
            && !same_origin(&url, &registry)
        {
            return Err(fail(Cause::Protocol(format!(
                "the registry names a token service without HTTPS: {}",
                origin_text(&url)
            ))));
        }
        check_onward(&registry, &url, "the address of the token service").map_err(fail)?;
        url.set_fragment(None);
        let anonymous = credentials.is_anonymous();
        let (request, login) = match credentials {
            Credentials::IdentityToken(refresh) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", CLIENT_ID);
                form.append_pair("refresh_token", &refresh);
                if let Some(service) = service {
                    form.append_pair("service", service);
                }
                if !scopes.0.is_empty() {
                    form.append_pair("scope", &scopes.text());
                }
                let request = Request::new(Method::POST, url)
                    .header(
                        CONTENT_TYPE,
                        HeaderValue::from_static("application/x-www-form-urlencoded"),
                    )
                    .payload(Payload::Bytes(Bytes::from(form.finish())));
                (request, None)
            }
            credentials => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for scope in &scopes.0 {
                        query.append_pair("scope", scope);
                    }
                }
                let login = match &credentials {
                    Credentials::Basic { username, password } => {
                        url.query_pairs_mut().append_pair("account", username);
                        Some(basic(username, password).map_err(fail)?)
                    }
                    _ => None,
                };
                (Request::new(Method::GET, url), login)
            }
        };
        let mut delays = self.inner.retry.delays();
        let body = loop {
            let cause = match self.send(&request, login.as_ref()).await {
                Ok(answer) if answer.status().is_success() => {
                    match answer
                        .body(
                            MAX_TOKEN_ANSWER,
                            self.inner.timeouts.response,
                            "the token service's answer",
                        )
                        .await
                    {
                        Ok(body) => break body,
                        Err(cause) => cause,
                    }
                }
                Ok(mut answer) => {
                    if !same_origin(&request.url, &registry) {
                        answer.host.get_or_insert_with(|| origin_text(&request.url));
                    }
                    answer.into_cause(anonymous).await
                }
                Err(cause) => cause,
            };
            self.pause(&mut delays, target, operation, cause).await?;
        };
        token_from(&body, anonymous).map_err(fail)
    }
}

fn host_text(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

fn token_from(body: &[u8], anonymous: bool) -> Result<Token, Cause> {
    // serde_json's message would quote what it found, which may be a token.
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| {
        Cause::Protocol("the token service's answer is not the JSON expected".into())
    })?;
    let token = answer
        .token
        .filter(|t| !t.is_empty())
        .or(answer.access_token.filter(|t| !t.is_empty()))
        .ok_or_else(|| Cause::Protocol("the token service's answer holds no token".into()))?;
    if token.len() > MAX_TOKEN {
        return Err(Cause::Protocol(format!(
            "the token is larger than {MAX_TOKEN} bytes"
        )));
    }
    let lifetime = answer
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(LEAST_LIFETIME)
        .clamp(LEAST_LIFETIME, MOST_LIFETIME);
    // Renewed a little early, so that it does not expire between here and there.
    let expires = Instant::now() + lifetime.mul_f64(0.9);
    Ok(Token {
        value: header(&format!("Bearer {token}"))?,
        anonymous,
        expires,
    })
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Cause> {
    if username.contains(':') {
        return Err(Cause::Invalid(
            "a user name with a colon cannot be sent".into(),
        ));
    }
    header(&format!(
        "Basic {}",
        BASE64.encode(format!("{username}:{password}"))
    ))
}

fn header(text: &str) -> Result<HeaderValue, Cause> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Cause::Protocol(format!(
            "the token cannot be sent in {AUTHORIZATION}: it holds control characters"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn token_answers() {
        for (body, good) in [
            (r#"{"token":"a"}"#, true),
            (
                r#"{"access_token":"a","expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}"#,
                true,
            ),
            (r#"{"token":"","access_token":"a"}"#, true),
            (r#"{"token":"a","expires_in":-5}"#, true),
            (r#"{"token":"a","expires_in":1e300}"#, true),
            (r#"{"token":"a\r\nX: y"}"#, false),
            (r#"{"token":""}"#, false),
            (r#"{}"#, false),
            (r#"[]"#, false),
            ("", false),
        ] {
            assert_eq!(token_from(body.as_bytes(), true).is_ok(), good, "{body}");
        }
        let large = format!(r#"{{"token":"{}"}}"#, "x".repeat(MAX_TOKEN + 1));
        assert!(token_from(large.as_bytes(), true).is_err());
    }

    #[test]
    fn a_challenge_cannot_widen_to_another_repository() {
        let mut scopes = Scopes::pull("a/b");
        scopes.widen(
            "repository:a/b:delete repository:a/private:pull registry:catalog:*",
            "a/b",
        );
        assert_eq!(scopes.text(), "repository:a/b:delete repository:a/b:pull");
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(body in "\\{\"(token|access_token|expires_in)\":[ -~]{0,40}\\}") {
            let _ = token_from(body.as_bytes(), true);
        }
    }
}
