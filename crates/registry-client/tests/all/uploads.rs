//! Uploads, to a registry in a few lines that can demand chunks and lose its connection.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use orlop_registry_client::{BlobSource, ErrorKind, Pushed};

use crate::hostile::{Answer, Asked, Hostile, data, impatient, layer, soon};

/// What a registry has taken in.
#[derive(Default)]
struct State {
    received: Vec<u8>,
    finished: bool,
    cancelled: bool,
}

#[derive(Clone, Copy, Default)]
struct Manner {
    min_chunk: Option<u64>,
    /// Take only half of the second chunk and fail.
    lose_second: bool,
    refuse_mount: bool,
    too_large: bool,
}

fn act(state: &Mutex<State>, manner: Manner, asked: &Asked, before: usize) -> Answer {
    let mut state = state.lock().unwrap();
    let open = |status: u16| {
        let answer = Answer::new(status).header("Location", "/v2/a/blobs/uploads/1?_state=x%3D");
        match manner.min_chunk {
            Some(least) => answer.header("OCI-Chunk-Min-Length", &least.to_string()),
            None => answer,
        }
    };
    match asked.method.as_str() {
        "HEAD" => Answer::new(404),
        "POST" if asked.path.contains("mount=") && !manner.refuse_mount => Answer::new(201),
        "POST" => open(202),
        "PATCH" => {
            let start = format!("{}-", state.received.len());
            if !asked
                .header("content-range")
                .unwrap_or_default()
                .starts_with(&start)
            {
                return Answer::new(416);
            }
            if manner.lose_second && before == 1 {
                state
                    .received
                    .extend_from_slice(&asked.body[..asked.body.len() / 2]);
                return Answer::new(500);
            }
            state.received.extend_from_slice(&asked.body);
            open(202)
        }
        "GET" if asked.path.contains("uploads") => {
            open(204).header("Range", &format!("0-{}", state.received.len() - 1))
        }
        "PUT" if manner.too_large && !asked.body.is_empty() => Answer::new(413),
        "PUT" => {
            assert!(
                asked.path.contains("_state=x%3D&digest=sha256%3A"),
                "{}",
                asked.path
            );
            state.received.extend_from_slice(&asked.body);
            state.finished = true;
            Answer::new(201)
        }
        "DELETE" => {
            state.cancelled = true;
            Answer::new(204)
        }
        _ => Answer::new(200),
    }
}

async fn registry(manner: Manner) -> (Hostile, Arc<Mutex<State>>) {
    let state: Arc<Mutex<State>> = Arc::default();
    let shared = Arc::clone(&state);
    (
        Hostile::start(move |asked, before| act(&shared, manner, asked, before)).await,
        state,
    )
}

#[tokio::test]
async fn whole_or_in_chunks() {
    let blob = data(20 << 20);
    for manner in [
        Manner::default(),
        Manner {
            min_chunk: Some(100),
            ..Manner::default()
        },
        Manner {
            min_chunk: Some(9 << 20),
            lose_second: true,
            ..Manner::default()
        },
        Manner {
            too_large: true,
            ..Manner::default()
        },
    ] {
        let (server, state) = registry(manner).await;
        let client = impatient().build().unwrap();
        let source = Bytes::from(blob.clone());
        let pushed = soon(client.push_blob(&server.reference("a"), &layer(&blob), source, None))
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
        let state = state.lock().unwrap();
        assert!(state.finished && state.received == blob);
        let patches = server
            .asked()
            .iter()
            .filter(|a| a.method == "PATCH")
            .count();
        let chunked = manner.min_chunk.is_some() || manner.too_large;
        assert_eq!(patches, if chunked { 3 } else { 0 });
        let asked_how_far = server
            .asked()
            .iter()
            .any(|a| a.method == "GET" && a.path.contains("uploads"));
        assert_eq!(asked_how_far, manner.lose_second);
    }
}

#[tokio::test]
async fn empty() {
    for min_chunk in [None, Some(5)] {
        let (server, state) = registry(Manner {
            min_chunk,
            ..Manner::default()
        })
        .await;
        let client = impatient().build().unwrap();
        soon(client.push_blob(&server.reference("a"), &layer(b""), Bytes::new(), None))
            .await
            .unwrap();
        assert!(state.lock().unwrap().finished);
    }
}

#[tokio::test]
async fn mounted_or_not() {
    for refuse_mount in [false, true] {
        let (server, state) = registry(Manner {
            refuse_mount,
            ..Manner::default()
        })
        .await;
        let client = impatient().build().unwrap();
        let blob = b"hello".as_slice();
        let source = Bytes::from_static(b"hello");
        let pushed = soon(client.push_blob(
            &server.reference("a"),
            &layer(blob),
            source,
            Some("from/here"),
        ))
        .await
        .unwrap();
        assert_eq!(
            pushed,
            if refuse_mount {
                Pushed::Uploaded
            } else {
                Pushed::Mounted
            }
        );
        assert_eq!(state.lock().unwrap().finished, refuse_mount);
        let posts = server.asked().iter().filter(|a| a.method == "POST").count();
        assert_eq!(posts, 1, "the upload opened instead of the mount is used");
    }
}

struct Broken;

impl BlobSource for Broken {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        if offset >= 500_000 {
            return Err(std::io::Error::other("bad sector"));
        }
        buffer.fill(0);
        Ok(buffer.len())
    }
}

/// A source that ends early or breaks is named as the culprit, and the registry told to forget it.
#[tokio::test]
async fn a_source_that_fails() {
    let (server, _state) = registry(Manner::default()).await;
    let client = impatient().build().unwrap();
    let blob = data(1 << 20);
    let short = Bytes::from(blob[..1000].to_vec());
    let error = soon(client.push_blob(&server.reference("a"), &layer(&blob), short, None))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source, "{error}");
    assert!(error.to_string().contains("offset 1000"), "{error}");
    let (server, state) = registry(Manner {
        min_chunk: Some(1),
        ..Manner::default()
    })
    .await;
    let error = soon(client.push_blob(&server.reference("a"), &layer(&blob), Broken, None))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source, "{error}");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "bad sector"
    );
    let state = state.lock().unwrap();
    assert!(state.cancelled && !state.finished);
}
