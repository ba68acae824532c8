//! One layer of a pull: claimed, downloaded, kept and unpacked in one pass.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use orlop_image::{Claim, Error as StoreError, Ingest, Layer, Lease, Reference};
use orlop_registry_client::{Client, ErrorKind};
use orlop_unionfs::{Applied, ApplyLimits, Snapshots, Staging};
use tokio::sync::mpsc::{Sender, channel};

use super::arriving::{Arrived, Arriving, Piece};
use super::error::ImagesError;
use super::events::{PullEvent, Tell};
use super::unpack;

/// Pieces between the connection and the disk; one is at most some hundred KiB.
const PIECES_WAITING: usize = 8;
/// How often somebody else's download is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Job {
    pub(super) client: Client,
    pub(super) name: Reference,
    pub(super) store: Lease,
    pub(super) snapshots: Snapshots,
    pub(super) limits: ApplyLimits,
    pub(super) layer: Layer,
    pub(super) tell: Tell,
}

/// A fetched layer: its snapshot, where one was needed and could be made in the same pass.
type Fetched = Option<(Staging, Applied)>;

impl Job {
    /// Brings the layer in. What comes back is to be committed once the layers below are; nothing if the snapshot is
    /// there already.
    pub(super) async fn run(self) -> Result<Option<Staging>, ImagesError> {
        let digest = self.layer.descriptor.digest().clone();
        let needed = !self.snapshots.has(self.layer.chain_id.as_ref());
        let mut restarted = false;
        let mut staged = loop {
            let Some(mut ingest) = self.claim().await? else {
                (self.tell)(PullEvent::Present {
                    digest: digest.clone(),
                });
                break None;
            };
            let resumed;
            (ingest, resumed) = self.resume(ingest).await?;
            match self.fetch(ingest, resumed, needed && resumed == 0).await {
                // What an earlier attempt had left was bad.
                Err(ImagesError::Store { source, .. })
                    if matches!(*source, StoreError::DigestMismatch { .. })
                        && resumed > 0
                        && !restarted =>
                {
                    restarted = true;
                }
                Err(error) => return Err(error),
                Ok(staged) => {
                    (self.tell)(PullEvent::Downloaded {
                        digest: digest.clone(),
                    });
                    break staged;
                }
            }
        };
        // Another process that fetched the blob may have unpacked it, too.
        if staged.is_none() && needed && !self.snapshots.has(self.layer.chain_id.as_ref()) {
            staged = Some(self.unpack_stored().await?);
        }
        if let Some((_, applied)) = &staged {
            (self.tell)(PullEvent::Unpacked {
                digest,
                entries: applied.entries,
                bytes: applied.bytes,
                warnings: applied.warnings.clone(),
            });
        }
        Ok(staged.map(|(staging, _)| staging))
    }

    /// The right to write the blob; nothing if it is there. Waits for others without holding a thread, so that it can
    /// be cancelled.
    async fn claim(&self) -> Result<Option<Ingest>, ImagesError> {
        let mut told = false;
        loop {
            let (store, descriptor) = (self.store.clone(), self.layer.descriptor.clone());
            let claim = blocking(move || {
                store
                    .try_claim(descriptor.digest(), Some(descriptor.size()))
                    .map_err(ImagesError::store(format!(
                        "claiming layer {}",
                        descriptor.digest()
                    )))
            });
            match claim.await? {
                Claim::Present => return Ok(None),
                Claim::Fetch(ingest) => return Ok(Some(*ingest)),
                Claim::Busy => {
                    if !std::mem::replace(&mut told, true) {
                        (self.tell)(PullEvent::Waiting {
                            digest: self.layer.descriptor.digest().clone(),
                        });
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    /// Takes over what an earlier attempt left; gives the offset to go on from.
    async fn resume(&self, mut ingest: Ingest) -> Result<(Ingest, u64), ImagesError> {
        let what = format!("resuming layer {}", self.layer.descriptor.digest());
        blocking(move || {
            let offset = ingest.resume().map_err(ImagesError::store(what))?;
            Ok((ingest, offset))
        })
        .await
    }

    async fn fetch(
        &self,
        ingest: Ingest,
        offset: u64,
        unpack: bool,
    ) -> Result<Fetched, ImagesError> {
        let (sender, receiver) = channel(PIECES_WAITING);
        let keeper = {
            let (snapshots, layer, limits) =
                (self.snapshots.clone(), self.layer.clone(), self.limits);
            let arriving = Arriving::new(receiver, ingest);
            blocking(move || keep(arriving, &layer, unpack.then_some((&snapshots, &limits))))
        };
        // Both at once: the keeper's thread is started when it is first polled.
        let download = async {
            let downloaded = self.download(offset, &sender).await;
            let last = match &downloaded {
                Ok(()) => Some(Piece::End),
                Err(Some(error)) if worthless(error.kind()) => Some(Piece::Discard),
                Err(_) => None,
            };
            if let Some(last) = last {
                let _ = sender.send(last).await;
            }
            drop(sender);
            downloaded
        };
        let (downloaded, kept) = futures_util::future::join(download, keeper).await;
        match (downloaded, kept) {
            (Err(Some(source)), _) => Err(ImagesError::Registry {
                name: self.name.to_string(),
                source,
            }),
            (_, kept) => kept,
        }
    }

    /// Passes the blob's bytes on. `Err(None)` if nobody takes them any more: the keeper knows why.
    async fn download(
        &self,
        offset: u64,
        sender: &Sender<Piece>,
    ) -> Result<(), Option<orlop_registry_client::Error>> {
        let descriptor = &self.layer.descriptor;
        // The ingest verifies the digest, over what was there before as well.
        let mut stream = self
            .client
            .blob(&self.name, descriptor, offset)
            .await
            .map_err(Some)?
            .without_digest();
        loop {
            // A keeper that gave up must not have to wait for a slow registry.
            let chunk = match select(pin!(stream.chunk()), pin!(sender.closed())).await {
                Either::Left((chunk, _)) => chunk.map_err(Some)?,
                Either::Right(_) => return Err(None),
            };
            let Some(chunk) = chunk else { return Ok(()) };
            sender.send(Piece::Data(chunk)).await.map_err(|_| None)?;
            (self.tell)(PullEvent::Downloading {
                digest: descriptor.digest().clone(),
                bytes: stream.offset(),
                total: descriptor.size(),
            });
        }
    }

    async fn unpack_stored(&self) -> Result<(Staging, Applied), ImagesError> {
        let stop = StopOnDrop::default();
        let (job, stopped) = (self.clone(), Arc::clone(&stop.0));
        blocking(move || {
            unpack::stage_stored(
                &job.store,
                &job.snapshots,
                &job.layer,
                &job.limits,
                &stopped,
            )
        })
        .await
    }
}

/// On a thread of its own: the blob into the store, and on the way into a snapshot.
fn keep(
    mut arriving: Arriving,
    layer: &Layer,
    unpack: Option<(&Snapshots, &ApplyLimits)>,
) -> Result<Fetched, ImagesError> {
    let digest = layer.descriptor.digest();
    let staged =
        unpack.map(|(snapshots, limits)| unpack::stage(snapshots, layer, &mut arriving, limits));
    if let Some(Err(error)) = staged {
        if error.is_local() {
            return Err(error);
        }
        // Bad bytes are the registry's fault or the image's: the digest of the whole tells.
        return kept(arriving, digest).and(Err(error));
    }
    kept(arriving, digest)?;
    staged.transpose()
}

fn kept(arriving: Arriving, digest: &orlop_image::Digest) -> Result<(), ImagesError> {
    let keeping = || ImagesError::store(format!("keeping layer {digest}"));
    match arriving.finish() {
        Arrived::Whole(ingest) => ingest.commit().map(drop).map_err(keeping()),
        Arrived::Failed(error) => Err(keeping()(error)),
        Arrived::Broken => Err(ImagesError::BrokenOff {
            digest: digest.clone(),
        }),
    }
}

/// Whether a failed download is no good to continue from.
fn worthless(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Digest | ErrorKind::Size | ErrorKind::Protocol
    )
}

#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs what blocks where it blocks nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImagesError> + Send + 'static,
) -> Result<T, ImagesError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ImagesError::Thread {
            doing: "pull an image",
            source: error.into(),
        })?
}
