//! A server in a few lines whose every answer, and its end, is scripted by the test.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, MediaType};
use orlop_registry_client::{Builder, Client, Hasher, Retry, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first byte asked for.
    pub(crate) fn range_start(&self) -> usize {
        self.header("range")
            .and_then(|r| r.strip_prefix("bytes="))
            .and_then(|r| r.split('-').next())
            .and_then(|r| r.parse().ok())
            .unwrap_or(0)
    }
}

/// How a connection goes on after the bytes of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    Close,
    Stall,
    Reset,
    /// The same piece for ever, in HTTP chunks.
    Endless,
    /// A byte each so often.
    Trickle(Duration),
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    head: String,
    body: Vec<u8>,
    then: Then,
    length: Option<usize>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} x\r\n"),
            body: Vec::new(),
            then: Then::Close,
            length: None,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// States another length than the body has.
    pub(crate) fn length(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    async fn send(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let framing = match self.then {
            Then::Endless => "Transfer-Encoding: chunked".to_owned(),
            _ => format!("Content-Length: {}", self.length.unwrap_or(self.body.len())),
        };
        stream
            .write_all(format!("{}{framing}\r\nConnection: close\r\n\r\n", self.head).as_bytes())
            .await?;
        if !matches!(self.then, Then::Endless) {
            stream.write_all(&self.body).await?;
        }
        stream.flush().await?;
        match self.then {
            Then::Close => {}
            Then::Stall => std::future::pending().await,
            Then::Reset => {
                // Let what was written be read before the reset throws it away.
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.set_zero_linger()?;
            }
            Then::Endless => loop {
                stream
                    .write_all(format!("{:x}\r\n", self.body.len()).as_bytes())
                    .await?;
                stream.write_all(&self.body).await?;
                stream.write_all(b"\r\n").await?;
            },
            Then::Trickle(pause) => loop {
                tokio::time::sleep(pause).await;
                stream.write_all(b"x").await?;
            },
        }
        Ok(())
    }
}

/// The server; gone when dropped.
pub(crate) struct Hostile {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    /// Answers each request by `script`, which is also given the number of requests for that path so far.
    pub(crate) async fn start<F>(script: F) -> Self
    where
        F: Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let closed: Arc<Mutex<usize>> = Arc::default();
        let script = Arc::new(script);
        let (log, count) = (Arc::clone(&asked), Arc::clone(&closed));
        let task = tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (script, log, count) =
                    (Arc::clone(&script), Arc::clone(&log), Arc::clone(&count));
                connections.spawn(async move {
                    let _ = serve(stream, &*script, &log).await;
                    *count.lock().unwrap() += 1;
                });
            }
        });
        Self {
            address,
            asked,
            closed,
            task,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked()
            .iter()
            .filter(|a| a.path.starts_with(path))
            .count()
    }

    pub(crate) fn closed(&self) -> usize {
        *self.closed.lock().unwrap()
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }
}

async fn serve<F>(mut stream: TcpStream, script: &F, log: &Mutex<Vec<Asked>>) -> std::io::Result<()>
where
    F: Fn(&Asked, usize) -> Answer,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        // A TLS greeting: plain HTTP only here.
        if head[0] == 0x16 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let mut first = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(str::to_owned);
    let mut asked = Asked {
        method: first.next().unwrap_or_default(),
        path: first.next().unwrap_or_default(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        body: Vec::new(),
    };
    let length = asked
        .header("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).await?;
    let before = {
        let mut log = log.lock().unwrap();
        let before = log
            .iter()
            .filter(|a| a.path == asked.path && a.method == asked.method)
            .count();
        log.push(asked.clone());
        before
    };
    let answer = script(&asked, before);
    // The client hanging up ends it too.
    let (mut reader, writer) = (vec![0; 1], &mut stream);
    let stalled = matches!(answer.then, Then::Stall);
    if stalled {
        let mut answer = answer;
        answer.then = Then::Close;
        answer.send(writer).await?;
        let _ = writer.read(&mut reader).await;
        return Ok(());
    }
    answer.send(writer).await
}

/// Short patience, few and quick retries.
pub(crate) fn impatient() -> Builder {
    Client::builder()
        .timeouts(Timeouts {
            connect: Duration::from_millis(500),
            response: Duration::from_millis(500),
            idle: Duration::from_millis(300),
            commit: Duration::from_millis(500),
        })
        .retry(Retry {
            times: 2,
            first_delay: Duration::from_millis(5),
            max_delay: Duration::from_millis(20),
            max_retry_after: Duration::from_secs(2),
        })
}

pub(crate) fn digest(data: &[u8]) -> Digest {
    let mut hasher = Hasher::sha256();
    hasher.update(data);
    hasher.text().parse().unwrap()
}

pub(crate) fn layer(data: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::ImageLayerGzip, data.len() as u64, digest(data))
}

/// A manifest with no layers.
pub(crate) fn manifest() -> Vec<u8> {
    let config = digest(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[]}}"#
    )
    .into_bytes()
}

/// Bytes that do not repeat within a chunk.
pub(crate) fn data(length: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}

/// Reads a blob to its end.
pub(crate) async fn drain(
    client: &Client,
    reference: &Reference,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, orlop_registry_client::Error> {
    let mut stream = client.blob(reference, descriptor, 0).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whatever a registry does, the answer comes in good time.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("took longer than ten seconds")
}
