//! Logging in: what goes where, and above all where it does not.

use std::collections::HashMap;

use orlop_registry_client::{Client, Credentials, ErrorKind, PlainHttp};

use crate::hostile::{Answer, Asked, Hostile, Then, data, drain, impatient, layer, manifest, soon};

const TOKEN: &str = "t0ken-value";

fn client_for(server: &Hostile, credentials: Credentials) -> Client {
    impatient()
        .credentials(HashMap::from([(server.address.to_string(), credentials)]))
        .build()
        .unwrap()
}

fn bearer(asked: &Asked) -> bool {
    asked.header("authorization") == Some(&format!("Bearer {TOKEN}"))
}

/// A registry with its token service under the same roof.
async fn with_token_service(accept: fn(&Asked) -> bool) -> Hostile {
    Hostile::start(move |asked, _| {
        if asked.path.starts_with("/token") {
            return if accept(asked) {
                Answer::new(200).body(format!(r#"{{"token":"{TOKEN}","expires_in":300}}"#))
            } else {
                Answer::new(401).body(r#"{"details":"incorrect username or password"}"#)
            };
        }
        if bearer(asked) {
            return Answer::new(200).body(manifest());
        }
        let host = asked.header("host").unwrap_or_default().to_owned();
        Answer::new(401).header("WWW-Authenticate", &format!("Bearer realm=\"http://{host}/token\",service=\"s v\",scope=\"repository:other:pull\""))
    })
    .await
}

#[tokio::test]
async fn a_token_for_a_password_and_once() {
    // "me:s3cret"
    let server =
        with_token_service(|asked| asked.header("authorization") == Some("Basic bWU6czNjcmV0"))
            .await;
    let client = client_for(&server, Credentials::basic("me", "s3cret"));
    for _ in 0..3 {
        client.manifest(&server.reference("a/b")).await.unwrap();
    }
    let tokens: Vec<_> = server
        .asked()
        .into_iter()
        .filter(|a| a.path.starts_with("/token"))
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].path,
        "/token?service=s+v&scope=repository%3Aa%2Fb%3Apull&account=me"
    );
    // Another repository wants another token.
    client.manifest(&server.reference("c")).await.unwrap();
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test]
async fn many_at_once_ask_for_one_token() {
    let server = with_token_service(|_| true).await;
    let client = client_for(&server, Credentials::Anonymous);
    client.manifest(&server.reference("warm-up")).await.unwrap();
    let reference = server.reference("a");
    let all = (0..8).map(|_| client.manifest(&reference));
    for result in futures_util::future::join_all(all).await {
        result.unwrap();
    }
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test]
async fn a_refresh_token_is_posted() {
    let server = with_token_service(|asked| {
        let form = String::from_utf8_lossy(&asked.body);
        asked.method == "POST"
            && asked.path == "/token"
            && form.contains("grant_type=refresh_token")
            && form.contains("refresh_token=r3fresh")
            && form.contains("scope=repository%3Aa%3Apull")
    })
    .await;
    let client = client_for(&server, Credentials::IdentityToken("r3fresh".into()));
    client.manifest(&server.reference("a")).await.unwrap();
}

#[tokio::test]
async fn a_given_token_is_sent_as_it_is() {
    let server = with_token_service(|_| false).await;
    let client = client_for(&server, Credentials::RegistryToken(TOKEN.into()));
    client.manifest(&server.reference("a")).await.unwrap();
    assert_eq!(server.count("/token"), 0);
}

#[tokio::test]
async fn refused() {
    let server = with_token_service(|_| false).await;
    let client = client_for(&server, Credentials::basic("me", "s3cret"));
    let error = soon(client.manifest(&server.reference("a")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("incorrect username or password") && !text.contains("s3cret"),
        "{text}"
    );
    assert_eq!(server.count("/token"), 1, "a refusal is not repeated");
}

#[tokio::test]
async fn basic() {
    let server = Hostile::start(|asked, _| match asked.header("authorization") {
        Some("Basic bWU6czNjcmV0") => Answer::new(200).body(manifest()),
        _ => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let client = client_for(&server, Credentials::basic("me", "s3cret"));
    client.manifest(&server.reference("a")).await.unwrap();
    client.ping(&server.reference("a")).await.unwrap();
    for (credentials, words) in [
        (Credentials::basic("me", "wrong"), "were not accepted"),
        (Credentials::Anonymous, "no credentials were given"),
    ] {
        let client = client_for(&server, credentials);
        let error = soon(client.manifest(&server.reference("a")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A token that ends while a blob is on its way is renewed when the download is taken up again.
#[tokio::test]
async fn expired_in_mid_transfer() {
    let whole = data(200_000);
    let blob = whole.clone();
    let server = Hostile::start(move |asked, before| {
        let host = asked.header("host").unwrap_or_default().to_owned();
        if asked.path.starts_with("/token") {
            return Answer::new(200).body(format!(r#"{{"token":"{before}"}}"#));
        }
        let start = asked.range_start();
        let wanted = if start == 0 { "Bearer 0" } else { "Bearer 1" };
        if asked.header("authorization") != Some(wanted) {
            return Answer::new(401).header(
                "WWW-Authenticate",
                &format!("Bearer realm=\"http://{host}/token\""),
            );
        }
        if start == 0 {
            return Answer::new(200).body(&blob[..100_000]).length(blob.len());
        }
        let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
        Answer::new(206)
            .header("Content-Range", &range)
            .body(&blob[start..])
    })
    .await;
    let client = client_for(&server, Credentials::Anonymous);
    let got = soon(drain(&client, &server.reference("a"), &layer(&whole)))
        .await
        .unwrap();
    assert!(got == whole);
    assert_eq!(server.count("/token"), 2);
}

/// The content host after a redirect sees no login, whatever it asks for.
#[tokio::test]
async fn a_redirect_takes_no_login_along() {
    let whole = data(10_000);
    let blob = whole.clone();
    let content = Hostile::start(move |asked, _| match asked.path.as_str() {
        "/denied" => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"gimme\""),
        _ => Answer::new(200).body(blob.clone()),
    })
    .await;
    let address = content.address;
    let denied = crate::hostile::digest(b"denied").to_string();
    let server = Hostile::start(move |asked, _| {
        if asked.header("authorization").is_none() {
            return Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let path = if asked.path.ends_with(&denied) {
            "denied"
        } else {
            "content"
        };
        Answer::new(307).header("Location", &format!("http://{address}/{path}?signature=x"))
    })
    .await;
    let client = client_for(&server, Credentials::basic("me", "s3cret"));
    let got = soon(drain(&client, &server.reference("a"), &layer(&whole)))
        .await
        .unwrap();
    assert!(got == whole);
    let error = soon(drain(&client, &server.reference("a"), &layer(b"denied")))
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("signature"), "{error}");
    let asked = content.asked();
    assert!(asked.len() >= 2);
    for asked in asked {
        assert_eq!(asked.header("authorization"), None);
        assert_eq!(asked.header("cookie"), None);
        assert_eq!(asked.header("referer"), None);
    }
}

#[tokio::test]
async fn redirects_end() {
    let server = Hostile::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200),
        "/v2/a/manifests/latest" => Answer::new(302).header("Location", "/v2/a/manifests/latest"),
        "/v2/b/manifests/latest" => Answer::new(302).header("Location", "file:///etc/passwd"),
        _ => Answer::new(302),
    })
    .await;
    for repository in ["a", "b", "c"] {
        let error = soon(
            impatient()
                .build()
                .unwrap()
                .manifest(&server.reference(repository)),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    assert!(server.count("/v2/a/") <= 7);
}

/// Realms that would carry a password in the clear, out of the protocol, or nowhere.
#[tokio::test]
async fn bad_realms() {
    for realm in [
        "http://auth.invalid/token",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "token",
        "https://me:pw@auth.invalid/",
        "",
    ] {
        let server = Hostile::start(move |_, _| {
            Answer::new(401).header(
                "WWW-Authenticate",
                &format!("Bearer realm=\"{realm}\",service=\"s\""),
            )
        })
        .await;
        let client = client_for(&server, Credentials::basic("me", "s3cret"));
        let error = soon(client.manifest(&server.reference("a")))
            .await
            .unwrap_err();
        let expected = if realm.is_empty() {
            ErrorKind::Unauthorized
        } else {
            ErrorKind::Protocol
        };
        assert_eq!(error.kind(), expected, "{realm}: {error}");
        assert!(
            server
                .asked()
                .iter()
                .all(|a| a.header("authorization").is_none())
        );
    }
}

#[tokio::test]
async fn bad_tokens() {
    for (name, answer) in [
        (
            "giant",
            Answer::new(200).body(format!(r#"{{"token":"{}"}}"#, "x".repeat(20_000))),
        ),
        ("large answer", Answer::new(200).body(vec![b' '; 100_000])),
        (
            "endless",
            Answer::new(200)
                .body(vec![b' '; 10_000])
                .then(Then::Endless),
        ),
        (
            "header smuggling",
            Answer::new(200).body("{\"token\":\"a\\r\\nX-Evil: 1\"}"),
        ),
        ("no token", Answer::new(200).body("{}")),
    ] {
        let server = Hostile::start(move |asked, _| {
            if asked.path.starts_with("/token") {
                return answer.clone();
            }
            let host = asked.header("host").unwrap_or_default().to_owned();
            Answer::new(401).header(
                "WWW-Authenticate",
                &format!("Bearer realm=\"http://{host}/token\""),
            )
        })
        .await;
        let client = client_for(&server, Credentials::Anonymous);
        let error = soon(client.manifest(&server.reference("a")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_provider_that_fails() {
    let server = with_token_service(|_| true).await;
    let client = impatient()
        .credentials(|_: &str| Err("the helper is locked".into()))
        .build()
        .unwrap();
    let error = client.manifest(&server.reference("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the helper is locked"
    );
}

/// Without leave for plain HTTP nothing is sent in the clear.
#[tokio::test]
async fn no_plain_http_without_leave() {
    let server = with_token_service(|_| true).await;
    let client = impatient().plain_http(PlainHttp::Never).build().unwrap();
    let error = soon(client.manifest(&server.reference("a")))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Connection | ErrorKind::Tls),
        "{error}"
    );
    assert!(server.asked().is_empty());
}

/// Only the proxy is spoken to; it sees which registry is meant.
#[tokio::test]
async fn through_a_proxy() {
    let proxy = Hostile::start(|asked, _| match asked.method.as_str() {
        "CONNECT" => Answer::new(502),
        _ => Answer::new(200).body(manifest()),
    })
    .await;
    let client = impatient()
        .plain_http(PlainHttp::Hosts(vec!["plain.test".into()]))
        .proxy(format!("http://{}", proxy.address), "direct.test")
        .build()
        .unwrap();
    client
        .manifest(&"plain.test/a".parse().unwrap())
        .await
        .unwrap();
    let paths: Vec<String> = proxy.asked().into_iter().map(|a| a.path).collect();
    assert_eq!(
        paths,
        [
            "plain.test:443",
            "http://plain.test/v2/",
            "http://plain.test/v2/a/manifests/latest"
        ]
    );
    let error = soon(client.manifest(&"direct.test/a".parse().unwrap()))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout),
        "{error}"
    );
    assert_eq!(proxy.asked().len(), 3);
    assert_eq!(
        impatient()
            .proxy("no address", "")
            .build()
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
}
