//! From a packed layer to a staged snapshot: inflated on one thread, untarred on another.

use std::io::{self, Read};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use oci_spec::image::DigestAlgorithm;
use orlop_image::digest::Hasher;
use orlop_image::{Image, Layer, Store, decompress};
use orlop_unionfs::{Applied, ApplyLimits, Snapshots, Staging};

use super::Images;
use super::error::{ImagesError, UnpackError};
use super::pipe::{Filled, pipe};

/// Layers of one image unpacked at a time, each on two threads.
const AT_ONCE: usize = 3;

/// Unpacks one layer from `packed`, and checks it against its diff id.
pub(super) fn stage(
    snapshots: &Snapshots,
    layer: &Layer,
    packed: impl Read,
    limits: &ApplyLimits,
) -> Result<(Staging, Applied), ImagesError> {
    let failed = |source: UnpackError| ImagesError::Unpack {
        digest: layer.descriptor.digest().clone(),
        source: Box::new(source),
    };
    let mut staging = snapshots.begin().map_err(|e| failed(e.into()))?;
    let mut tar = decompress(packed).map_err(|e| failed(e.into()))?;
    // unionfs hashes with SHA-256; a config may name its layers by another algorithm.
    let mut other = match layer.diff_id.algorithm() {
        DigestAlgorithm::Sha256 => None,
        _ => Some(Hasher::for_digest(&layer.diff_id).map_err(|e| failed(e.into()))?),
    };
    let (writer, reader) = pipe();
    let (filled, applied) = thread::scope(|scope| {
        let untar = thread::Builder::new()
            .name("orlop-untar".to_owned())
            .spawn_scoped(scope, || staging.apply(reader, limits))
            .map_err(|source| ImagesError::Thread {
                doing: "unpack a layer",
                source,
            })?;
        let filled = writer.fill(&mut tar, |bytes| {
            if let Some(hasher) = &mut other {
                hasher.update(bytes);
            }
        });
        let applied = untar.join().map_err(|_| ImagesError::Thread {
            doing: "unpack a layer",
            source: io::Error::other("it panicked"),
        })?;
        Ok((filled, applied))
    })?;
    let applied = match filled {
        // What the other thread says then is only the consequence.
        Err(source) => {
            let what = "the packed layer".to_owned();
            return Err(failed(orlop_image::Error::Read { what, source }.into()));
        }
        Ok(Filled::Ended | Filled::Closed) => applied.map_err(|e| failed(e.into()))?,
    };
    let actual = other.map_or_else(
        || applied.diff_id.clone(),
        |hasher| hasher.finish().to_string(),
    );
    if actual != layer.diff_id.as_ref() {
        return Err(ImagesError::DiffId {
            digest: layer.descriptor.digest().clone(),
            expected: layer.diff_id.clone(),
            actual,
        });
    }
    Ok((staging, applied))
}

/// Unpacks a layer whose blob is in the store; stops early once `stop` is set.
pub(super) fn stage_stored(
    store: &Store,
    snapshots: &Snapshots,
    layer: &Layer,
    limits: &ApplyLimits,
    stop: &AtomicBool,
) -> Result<(Staging, Applied), ImagesError> {
    let digest = layer.descriptor.digest();
    let blob = store
        .blob(digest)
        .map_err(ImagesError::store(format!("opening layer {digest}")))?;
    stage(snapshots, layer, Stoppable { inner: blob, stop }, limits)
}

/// Makes staged layers real, from the lowest: all data flushed in one go, which is what takes the time.
pub(super) fn commit(
    snapshots: &Snapshots,
    image: &Image,
    staged: Vec<Option<Staging>>,
) -> Result<(), ImagesError> {
    let mut parent: Option<&str> = None;
    let mut layers = Vec::new();
    for (chain_id, staging) in image.chain_ids().map(AsRef::as_ref).zip(staged) {
        layers.extend(staging.map(|staging| (staging, parent, chain_id)));
        parent = Some(chain_id);
    }
    snapshots
        .commit_all(layers)
        .map_err(|source| ImagesError::Layers {
            operation: "committing layers",
            source: Box::new(source),
        })
}

/// Keeps an image's layers from being collected, those that are still to come as well.
pub(super) fn lease(
    snapshots: &Snapshots,
    image: &Image,
) -> Result<orlop_unionfs::Lease, ImagesError> {
    let chain_ids: Vec<&str> = image.chain_ids().map(AsRef::as_ref).collect();
    snapshots
        .lease(&chain_ids)
        .map_err(|source| ImagesError::Layers {
            operation: "leasing layers",
            source: Box::new(source),
        })
}

/// Unpacks all that is missing of an image in the store.
pub(super) fn image(images: &Images, image: &Image) -> Result<Option<String>, ImagesError> {
    let Some(top) = image.top() else {
        return Ok(None);
    };
    // A layer keeps those below it.
    if !images.snapshots.has(top.as_ref()) {
        let _lease = lease(&images.snapshots, image)?;
        let staged = stage_missing(images, image)?;
        commit(&images.snapshots, image, staged)?;
    }
    Ok(Some(top.to_string()))
}

fn stage_missing(images: &Images, image: &Image) -> Result<Vec<Option<Staging>>, ImagesError> {
    let layers = image.layers();
    let missing: Vec<usize> = (0..layers.len())
        .filter(|n| {
            layers
                .get(*n)
                .is_some_and(|layer| !images.snapshots.has(layer.chain_id.as_ref()))
        })
        .collect();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = AT_ONCE.min(cores.max(2)).min(missing.len());
    let results: Mutex<Vec<(usize, Result<Staging, ImagesError>)>> = Mutex::new(Vec::new());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        while let Some(n) = missing.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let Some(layer) = layers.get(n).filter(|_| !stop.load(Ordering::Relaxed)) else {
                break;
            };
            let result = stage_stored(
                &images.store,
                &images.snapshots,
                layer,
                &images.limits,
                &stop,
            );
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((n, result.map(|(staging, _)| staging)));
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            // Fewer threads than wished for are fine: this one is enough.
            let _ = thread::Builder::new()
                .name("orlop-unpack".to_owned())
                .spawn_scoped(scope, work);
        }
        work();
    });
    let mut staged: Vec<Option<Staging>> = layers.iter().map(|_| None).collect();
    // In the order they were finished: the first error is the cause of the others.
    for (n, result) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let staging = result?;
        if let Some(slot) = staged.get_mut(n) {
            *slot = Some(staging);
        }
    }
    Ok(staged)
}

struct Stoppable<'a, R> {
    inner: R,
    stop: &'a AtomicBool,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        self.inner.read(to)
    }
}
