//! A registry that hangs, resets, throttles or is not there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orlop_registry_client::{ErrorKind, Event};

use crate::hostile::{Answer, Hostile, Then, data, drain, impatient, layer, manifest, soon};

#[tokio::test]
async fn hangs_before_the_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reference = format!("{}/a", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let error = soon(impatient().build().unwrap().manifest(&reference))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(
        error.to_string().contains("took longer than 500ms"),
        "{error}"
    );
}

#[tokio::test]
async fn hangs_or_trickles_within_a_blob() {
    let whole = data(100_000);
    for then in [Then::Stall, Then::Trickle(Duration::from_millis(20))] {
        let part = whole[..50_000].to_vec();
        let server = Hostile::start(move |asked, _| match asked.path.as_str() {
            "/v2/" => Answer::new(200),
            _ => Answer::new(200)
                .body(part.clone())
                .length(100_000)
                .then(then),
        })
        .await;
        let client = impatient().build().unwrap();
        let error = soon(drain(&client, &server.reference("a"), &layer(&whole)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{then:?}: {error}");
    }
}

#[tokio::test]
async fn hangs_within_a_manifest() {
    let server = Hostile::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200).body("{").length(100).then(Then::Stall),
    })
    .await;
    let error = soon(
        impatient()
            .build()
            .unwrap()
            .manifest(&server.reference("a")),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn resets() {
    let server = Hostile::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200).length(100).then(Then::Reset),
    })
    .await;
    let error = soon(
        impatient()
            .build()
            .unwrap()
            .manifest(&server.reference("a")),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn nobody_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let started = Instant::now();
    for host in ["127.0.0.1", "localhost"] {
        let reference = format!("{host}:{port}/a").parse().unwrap();
        let error = soon(impatient().build().unwrap().manifest(&reference))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn waits_as_it_is_asked_to() {
    for status in [429, 503] {
        let server = Hostile::start(move |asked, before| match (asked.path.as_str(), before) {
            ("/v2/", _) => Answer::new(200),
            (_, 0) => Answer::new(status).header("Retry-After", "1"),
            _ => Answer::new(200).body(manifest()),
        })
        .await;
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let client = impatient()
            .build()
            .unwrap()
            .with_events(move |event| seen.lock().unwrap().push(event));
        let started = Instant::now();
        soon(client.manifest(&server.reference("a"))).await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1));
        let events = events.lock().unwrap();
        assert!(
            matches!(&events[..], [Event::Retrying { attempt: 1, delay, reason, .. }]
            if delay.as_secs() == 1 && reason.contains(&status.to_string())),
            "{events:?}"
        );
    }
}

#[tokio::test]
async fn throttled_for_good() {
    let server = Hostile::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200),
        "/v2/a/manifests/latest" => Answer::new(429)
            .header("Retry-After", "3600")
            .body(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#),
        _ => Answer::new(429),
    })
    .await;
    let client = impatient().build().unwrap();
    let error = soon(client.manifest(&server.reference("a")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(
        error.to_string().contains("slow down") && error.to_string().contains("3600 s"),
        "{error}"
    );
    assert_eq!(server.count("/v2/a/"), 1, "an hour is not waited for");
    let error = soon(client.manifest(&server.reference("b")))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::RateLimited, Some(429))
    );
    assert_eq!(server.count("/v2/b/"), 3);
}

#[tokio::test]
async fn failing_for_good() {
    let server = Hostile::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(502).body("<html>bad gateway</html>"),
    })
    .await;
    let error = soon(
        impatient()
            .build()
            .unwrap()
            .manifest(&server.reference("a")),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Server, Some(502))
    );
}

#[tokio::test]
async fn what_is_not_http() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reference = format!("{}/a", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let server = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"220 mail.test ESMTP\r\n").await;
        }
    });
    let error = soon(impatient().build().unwrap().manifest(&reference))
        .await
        .unwrap_err();
    server.abort();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

/// Dropping a download hangs up.
#[tokio::test]
async fn dropped() {
    let whole = data(100_000);
    let part = whole[..1000].to_vec();
    let server = Hostile::start(move |asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200)
            .body(part.clone())
            .length(100_000)
            .then(Then::Stall),
    })
    .await;
    let client = impatient().build().unwrap();
    let mut stream = client
        .blob(&server.reference("a"), &layer(&whole), 0)
        .await
        .unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    let before = server.closed();
    drop(stream);
    soon(async {
        while server.closed() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
