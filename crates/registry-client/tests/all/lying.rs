//! A registry that lies: wrong bytes, wrong sizes, ambiguous or endless content.

use std::sync::{Arc, Mutex};

use orlop_registry_client::{Error, ErrorKind, Event};

use crate::hostile::{
    Answer, Hostile, Then, data, digest, drain, impatient, layer, manifest, soon,
};

/// Downloads `wanted` from a registry that answers blobs by `answer`.
async fn blob_error(wanted: &[u8], answer: Answer) -> (Error, Hostile) {
    let server = Hostile::start(move |_, _| answer.clone()).await;
    let client = impatient().build().unwrap();
    let error = soon(drain(&client, &server.reference("a/b"), &layer(wanted)))
        .await
        .unwrap_err();
    (error, server)
}

#[tokio::test]
async fn wrong_bytes() {
    let (error, _server) = blob_error(b"right", Answer::new(200).body("wrong")).await;
    assert_eq!(error.kind(), ErrorKind::Digest, "{error}");
    let text = error.to_string();
    assert!(
        text.contains(digest(b"right").as_ref()) && text.contains(digest(b"wrong").as_ref()),
        "{text}"
    );
    assert!(text.contains("a/b") && text.contains("127.0.0.1"), "{text}");
}

/// The last chunk of a blob with a wrong digest is never handed out.
#[tokio::test]
async fn wrong_bytes_are_not_completed() {
    let right = data(1 << 20);
    let mut wrong = right.clone();
    wrong[17] ^= 1;
    let server = Hostile::start(move |_, _| Answer::new(200).body(wrong.clone())).await;
    let client = impatient().build().unwrap();
    let mut stream = client
        .blob(&server.reference("a"), &layer(&right), 0)
        .await
        .unwrap();
    let mut got = 0;
    let error = loop {
        match soon(stream.chunk()).await {
            Ok(chunk) => got += chunk.expect("the stream ended well").len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Digest);
    assert!(got < right.len());
    assert!(stream.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn another_length_announced() {
    for length in ["longer body", "short"] {
        let (error, server) = blob_error(b"eightbyt", Answer::new(200).body(length)).await;
        assert_eq!(error.kind(), ErrorKind::Size, "{error}");
        assert_eq!(
            server.count("/v2/a/b/blobs"),
            1,
            "a lie is not asked for twice"
        );
    }
}

#[tokio::test]
async fn endless_body() {
    let (error, _server) = blob_error(
        &data(5000),
        Answer::new(200).body(data(700)).then(Then::Endless),
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Size, "{error}");
}

/// Right bytes, and then more of them where no length was stated.
#[tokio::test]
async fn surplus_after_the_end() {
    let piece = data(512);
    let wanted = piece.clone();
    let (error, _server) =
        blob_error(&wanted, Answer::new(200).body(piece).then(Then::Endless)).await;
    assert_eq!(error.kind(), ErrorKind::Size, "{error}");
}

#[tokio::test]
async fn broken_downloads_are_continued() {
    for honours_range in [true, false] {
        let whole = data(300_000);
        let blob = whole.clone();
        let server = Hostile::start(move |asked, before| {
            let start = if honours_range {
                asked.range_start()
            } else {
                0
            };
            let rest = &blob[start..];
            let answer = if start > 0 {
                let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
                Answer::new(206).header("Content-Range", &range)
            } else {
                Answer::new(200)
            };
            if asked.path == "/v2/" || before >= 2 {
                return answer.body(rest);
            }
            let then = if before == 0 {
                Then::Close
            } else {
                Then::Reset
            };
            answer
                .body(&rest[..100_000.min(rest.len())])
                .length(rest.len())
                .then(then)
        })
        .await;
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let client = impatient()
            .build()
            .unwrap()
            .with_events(move |event| seen.lock().unwrap().push(event));
        let got = soon(drain(&client, &server.reference("a"), &layer(&whole)))
            .await
            .unwrap();
        assert!(got == whole, "{honours_range}");
        let asked = server.asked();
        let ranges: Vec<usize> = asked
            .iter()
            .filter(|a| a.path != "/v2/")
            .map(|a| a.range_start())
            .collect();
        assert_eq!(ranges[0], 0);
        assert!(ranges[1] > 0 && ranges.len() == 3, "{ranges:?}");
        let events = events.lock().unwrap();
        assert!(
            events
                .iter()
                .any(|e| matches!(e, Event::Resuming { offset, .. } if *offset > 0))
        );
        assert!(events.iter().any(|e| matches!(
            e,
            Event::Downloaded {
                bytes: 300_000,
                total: 300_000,
                ..
            }
        )));
    }
}

/// The part from before the break was changed: the digest goes on across it and notices.
#[tokio::test]
async fn a_resumed_lie_is_found() {
    let whole = data(200_000);
    let blob = whole.clone();
    let server = Hostile::start(move |asked, before| {
        let start = asked.range_start();
        if before == 0 {
            let mut changed = blob.clone();
            changed[5] ^= 1;
            return Answer::new(200)
                .body(&changed[..100_000])
                .length(blob.len());
        }
        let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
        Answer::new(206)
            .header("Content-Range", &range)
            .body(&blob[start..])
    })
    .await;
    let client = impatient().build().unwrap();
    let error = soon(drain(&client, &server.reference("a"), &layer(&whole)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Digest, "{error}");
}

#[tokio::test]
async fn another_range_than_asked_for() {
    let whole = data(1000);
    let blob = whole.clone();
    let server = Hostile::start(move |asked, before| match before {
        0 => Answer::new(200).body(&blob[..500]).length(1000),
        _ => Answer::new(206)
            .header("Content-Range", "bytes 0-999/1000")
            .body(&blob[asked.range_start()..]),
    })
    .await;
    let client = impatient().build().unwrap();
    let error = soon(drain(&client, &server.reference("a"), &layer(&whole)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn a_download_never_whole_fails() {
    let whole = data(1000);
    let (error, server) =
        blob_error(&whole, Answer::new(200).body(&whole[..10]).length(1000)).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert_eq!(server.count("/v2/a/b/blobs"), 3);
}

#[tokio::test]
async fn later_with_the_hash_kept() {
    let whole = data(100_000);
    let blob = whole.clone();
    let server = Hostile::start(move |asked, _| {
        let start = asked.range_start();
        if start == 0 {
            return Answer::new(200).body(blob.clone());
        }
        let range = format!("bytes {start}-{}/*", blob.len() - 1);
        Answer::new(206)
            .header("Content-Range", &range)
            .body(&blob[start..])
    })
    .await;
    let client = impatient().build().unwrap();
    let reference = server.reference("a");
    let mut first = client.blob(&reference, &layer(&whole), 0).await.unwrap();
    let chunk = first.chunk().await.unwrap().unwrap();
    let state = first.hasher().unwrap().clone();
    drop(first);
    let mut second = client
        .blob_continue(&reference, &layer(&whole), state)
        .await
        .unwrap();
    let mut got = chunk.to_vec();
    while let Some(chunk) = soon(second.chunk()).await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == whole);
}

#[tokio::test]
async fn lying_manifests() {
    let index_type = "application/vnd.oci.image.index.v1+json";
    let cases = [
        (
            "digest of the header",
            Answer::new(200)
                .header("Docker-Content-Digest", digest(b"x").as_ref())
                .body(manifest()),
            ErrorKind::Digest,
        ),
        (
            "type of the header",
            Answer::new(200)
                .header("Content-Type", index_type)
                .body(manifest()),
            ErrorKind::Protocol,
        ),
        (
            "ambiguous",
            Answer::new(200).body(r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#),
            ErrorKind::Protocol,
        ),
        (
            "schema 1",
            Answer::new(200).body(r#"{"schemaVersion":1,"fsLayers":[]}"#),
            ErrorKind::Unsupported,
        ),
        (
            "not JSON",
            Answer::new(200).body("<html>"),
            ErrorKind::Protocol,
        ),
        (
            "huge",
            Answer::new(200).length(5 << 20),
            ErrorKind::Protocol,
        ),
        (
            "endless",
            Answer::new(200).body(data(60_000)).then(Then::Endless),
            ErrorKind::Protocol,
        ),
        (
            "missing",
            Answer::new(404)
                .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
            ErrorKind::NotFound,
        ),
        ("denied", Answer::new(403), ErrorKind::Denied),
        (
            "endless error",
            Answer::new(404).body(data(60_000)).then(Then::Endless),
            ErrorKind::NotFound,
        ),
    ];
    for (name, answer, kind) in cases {
        let server = Hostile::start(move |asked, _| match asked.path.as_str() {
            "/v2/" => Answer::new(200),
            _ => answer.clone(),
        })
        .await;
        let error = soon(
            impatient()
                .build()
                .unwrap()
                .manifest(&server.reference("a:latest")),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        if name == "missing" {
            assert!(
                error
                    .to_string()
                    .contains("MANIFEST_UNKNOWN: manifest unknown"),
                "{error}"
            );
        }
    }
}

/// By digest, whatever the registry says, those bytes or none.
#[tokio::test]
async fn a_manifest_by_digest_is_that_one() {
    let server = Hostile::start(|_, _| Answer::new(200).body(manifest())).await;
    let client = impatient().build().unwrap();
    let right = server.reference(&format!("a:tag@{}", digest(&manifest())));
    let got = client.manifest(&right).await.unwrap();
    assert_eq!(got.bytes, manifest());
    assert_eq!(*got.descriptor.digest(), digest(&manifest()));
    let wrong = server.reference(&format!("a@{}", digest(b"other")));
    assert_eq!(
        client.manifest(&wrong).await.unwrap_err().kind(),
        ErrorKind::Digest
    );
}

#[tokio::test]
async fn nested_indexes_are_followed_but_not_for_ever() {
    fn index(of: &[u8], media_type: &str) -> Vec<u8> {
        let (digest, size) = (digest(of), of.len());
        format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}]}}"#).into_bytes()
    }
    let index_type = "application/vnd.oci.image.index.v1+json";
    let mut documents = vec![
        manifest(),
        index(&manifest(), "application/vnd.oci.image.manifest.v1+json"),
    ];
    for _ in 0..8 {
        documents.push(index(documents.last().unwrap(), index_type));
    }
    let all = documents.clone();
    let server = Hostile::start(move |asked, _| {
        let found = all
            .iter()
            .find(|d| asked.path.ends_with(digest(d).as_ref()));
        found.map_or(Answer::new(404), |d| Answer::new(200).body(d.clone()))
    })
    .await;
    let client = impatient().build().unwrap();
    for (depth, good) in [(0, true), (1, true), (3, true), (9, false)] {
        let reference = server.reference(&format!("a@{}", digest(&documents[depth])));
        let result =
            soon(client.resolve(&reference, |index| index.manifests().first().cloned())).await;
        match result {
            Ok(resolved) => {
                assert!(good);
                assert_eq!(resolved.image.bytes, manifest());
                assert_eq!(resolved.indexes.len(), depth);
                assert_eq!(resolved.top().bytes, documents[depth]);
            }
            Err(error) => assert!(!good && error.kind() == ErrorKind::Protocol, "{error}"),
        }
    }
    let reference = server.reference(&format!("a@{}", digest(&documents[1])));
    let error = client.resolve(&reference, |_| None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn lists_that_do_not_end() {
    let server = Hostile::start(|asked, _| {
        let next = if asked.path.starts_with("/v2/a/") {
            "</v2/a/tags/list?n=1000>"
        } else {
            "<http://r.invalid/v2/>"
        };
        Answer::new(200)
            .header("Link", &format!("{next}; rel=\"next\""))
            .body(r#"{"tags":["x"]}"#)
    })
    .await;
    let client = impatient().build().unwrap();
    for repository in ["a", "b"] {
        let error = soon(client.tags(&server.reference(repository)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}
