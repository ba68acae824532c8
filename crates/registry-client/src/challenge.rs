//! `WWW-Authenticate`: what a registry asks for.

use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Headers longer than this are not read at all.
const MAX_HEADER: usize = 8 * 1024;

/// A challenge this client can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The best challenge among the headers: a token before a password.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Challenge> {
    let mut best = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        match parse(text) {
            Some(bearer @ Challenge::Bearer { .. }) => return Some(bearer),
            Some(Challenge::Basic) => best = Some(Challenge::Basic),
            None => {}
        }
    }
    best
}

fn parse(text: &str) -> Option<Challenge> {
    if text.len() > MAX_HEADER {
        return None;
    }
    let mut best = None;
    for challenge in ChallengeParser::new(text) {
        let Ok(challenge) = challenge else { break };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            let parameter = |name: &str| {
                challenge
                    .params
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.to_unescaped())
                    .filter(|value| !value.is_empty())
            };
            if let Some(realm) = parameter("realm") {
                return Some(Challenge::Bearer {
                    realm,
                    service: parameter("service"),
                    scope: parameter("scope"),
                });
            }
        } else if challenge.scheme.eq_ignore_ascii_case("basic") {
            best = Some(Challenge::Basic);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
                scope: scope.map(Into::into),
            })
        };
        let cases = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/busybox:pull"),
                ),
            ),
            (
                r#"Bearer realm="https://a/t", scope="repository:a:pull,push""#,
                bearer("https://a/t", None, Some("repository:a:pull,push")),
            ),
            (
                r#"bearer Realm="https://a/t""#,
                bearer("https://a/t", None, None),
            ),
            (r#"Basic realm="basic-realm""#, Some(Challenge::Basic)),
            (
                r#"Basic realm="x", Bearer realm="https://a/t""#,
                bearer("https://a/t", None, None),
            ),
            (r#"Negotiate"#, None),
            (r#"Bearer service="x""#, None),
            ("", None),
            ("Bearer realm=\"unterminated", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(
            parse(&format!("Basic realm=\"{}\"", "x".repeat(9000))),
            None
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn nearly_right_is_survived(text in "(Bearer|Basic|Digest)? ?(realm|scope|service)?=?\"?[ -~]{0,80}\"?,?") {
            let _ = parse(&text);
        }
    }
}
