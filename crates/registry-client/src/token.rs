//! Tokens: got from the service a registry names, and the headers they go into.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use url::Url;

use crate::auth::{Scopes, Token};
use crate::client::Client;
use crate::credentials::Credentials;
use crate::endpoint::{Target, check_onward, origin_text, same_origin};
use crate::error::{Cause, Error};
use crate::http::{Payload, Request};
use crate::operation::Operation;

const MAX_TOKEN_ANSWER: u64 = 64 * 1024;
const MAX_TOKEN: usize = 16 * 1024;
/// The specification's default and least lifetime of a token.
const LEAST_LIFETIME: Duration = Duration::from_secs(60);
pub(crate) const MOST_LIFETIME: Duration = Duration::from_secs(3600);
const CLIENT_ID: &str = "orlop";

impl Client {
    /// The token service's two ways: a GET with a password or anonymously, a POST with a refresh token.
    pub(crate) async fn get_token(
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
                if scopes.each().next().is_some() {
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
                    for scope in scopes.each() {
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

pub(crate) fn basic(username: &str, password: &str) -> Result<HeaderValue, Cause> {
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

pub(crate) fn header(text: &str) -> Result<HeaderValue, Cause> {
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

    proptest! {
        #[test]
        fn any_answer_is_survived(body in "\\{\"(token|access_token|expires_in)\":[ -~]{0,40}\\}") {
            let _ = token_from(body.as_bytes(), true);
        }
    }
}
