//! Pulls that fail or are dropped, and what they leave: nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop_image::{Compression, ErrorKind as StoreErrorKind};
use orlop_registry_client::ErrorKind;
use orlop_runtime::images::{ImagesError, PullEvent};
use orlop_unionfs::ApplyLimits;
use tokio::sync::Notify;

use crate::fixture::{Place, Source, client, host, noise, tar};

fn layers() -> Vec<Vec<u8>> {
    (1..=4)
        .map(|n| tar(&[(&format!("file{n}"), Some(noise(n, 2 << 20)))]))
        .collect()
}

/// The registry's disk has other bytes than it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_in_a_layer() {
    let source = Source::new();
    let descriptor = source.image("broken", host(), &layers());
    let reference = source.publish("broken", &[]);
    let image = source.store.image(descriptor.digest(), &host()).unwrap();
    for at in [0, 10, 1 << 20] {
        let file = source.registry_blob(image.layers()[2].descriptor.digest());
        let right = std::fs::read(&file).unwrap();
        let mut wrong = right.clone();
        wrong[at] ^= 0x55;
        std::fs::write(&file, &wrong).unwrap();
        let place = Place::new();
        let error = place
            .images
            .pull(&client(), &reference, &host(), |_| ())
            .await
            .unwrap_err();
        // The digest is to blame, not what unzipping such bytes led to.
        match &error {
            ImagesError::Store { source, .. } => {
                assert!(
                    matches!(**source, orlop_image::Error::DigestMismatch { .. }),
                    "{at}: {source}"
                );
            }
            other => panic!("{at}: {other:?}"),
        }
        assert!(place.images.store().resolve(&reference).unwrap().is_none());
        place.assert_clean();
        std::fs::write(&file, &right).unwrap();
    }
}

#[tokio::test]
async fn a_layer_that_is_missing_or_short() {
    let source = Source::new();
    let descriptor = source.image("short", host(), &layers());
    let reference = source.publish("short", &[]);
    let image = source.store.image(descriptor.digest(), &host()).unwrap();
    let file = source.registry_blob(image.layers()[3].descriptor.digest());
    let right = std::fs::read(&file).unwrap();
    std::fs::write(&file, &right[..right.len() / 2]).unwrap();
    let place = Place::new();
    let error = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ImagesError::Registry { source, .. } if source.kind() == ErrorKind::Size),
        "{error:?}"
    );
    place.assert_clean();
    std::fs::remove_file(&file).unwrap();
    let error = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ImagesError::Registry { source, .. } if source.kind() == ErrorKind::NotFound),
        "{error:?}"
    );
    place.assert_clean();
}

/// A layer that is what the manifest says, but not what the config says.
#[tokio::test]
async fn wrong_diff_id() {
    let source = Source::new();
    let (stated, sent) = (
        tar(&[("a", Some(noise(1, 100)))]),
        tar(&[("a", Some(noise(2, 100)))]),
    );
    let honest = source.image("honest", host(), std::slice::from_ref(&sent));
    let blob = source
        .store
        .image(honest.digest(), &host())
        .unwrap()
        .layers()[0]
        .descriptor
        .clone();
    let reference = orlop_image::reference::parse("lying").unwrap();
    orlop_image::builder::ImageBuilder::new(host())
        .compression(Compression::Gzip)
        .stored_layer("a lie", blob, orlop_image::digest::of(&stated))
        .commit(&source.store, Some(&reference))
        .unwrap();
    let reference = source.publish("lying", &["--preserve-digests"]);
    let place = Place::new();
    let error = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap_err();
    assert!(matches!(error, ImagesError::DiffId { .. }), "{error:?}");
    place.assert_clean();
}

#[tokio::test]
async fn beyond_the_limits() {
    let source = Source::new();
    source.image("bomb", host(), &[tar(&[("zeros", Some(vec![0; 4 << 20]))])]);
    let reference = source.publish("bomb", &[]);
    let place = Place::new();
    let limits = ApplyLimits {
        bytes: 1 << 20,
        ..ApplyLimits::default()
    };
    let images = place.again().with_limits(limits);
    let error = images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap_err();
    assert!(matches!(error, ImagesError::Unpack { .. }), "{error:?}");
    drop(images);
    place.assert_clean();
}

/// A future that is dropped in the middle of the layers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled() {
    let source = Source::new();
    let large: Vec<_> = (1..=3)
        .map(|n| tar(&[("large", Some(noise(n, 10 << 20)))]))
        .collect();
    source.image("cancelled", host(), &large);
    let reference = source.publish("cancelled", &[]);
    let place = Place::new();
    for after in [1, 40] {
        let reached = Arc::new(Notify::new());
        let (tell, count) = (Arc::clone(&reached), std::sync::atomic::AtomicUsize::new(0));
        let images = place.again();
        let progress = move |event| {
            if matches!(event, PullEvent::Downloading { .. })
                && count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == after
            {
                tell.notify_one();
            }
        };
        let (client, host) = (client(), host());
        tokio::select! {
            result = images.pull(&client, &reference, &host, progress) => panic!("not cancelled: {result:?}"),
            () = reached.notified() => {}
        }
        drop(images);
        assert!(place.images.store().resolve(&reference).unwrap().is_none());
        // Without a collection snapshots in the making are gone, and with one the rest is.
        place.assert_clean();
    }
    // Cancelled once more, and then continued from what there is.
    let reached = Arc::new(Notify::new());
    let tell = Arc::clone(&reached);
    let progress = move |event| {
        if matches!(event, PullEvent::Downloading { bytes, .. } if bytes > 2 << 20) {
            tell.notify_one();
        }
    };
    let (client, host) = (client(), host());
    tokio::select! {
        result = place.images.pull(&client, &reference, &host, progress) => panic!("not cancelled: {result:?}"),
        () = reached.notified() => {}
    }
    let resumed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&resumed);
    let first: std::sync::Mutex<std::collections::HashSet<String>> = Default::default();
    let started = Instant::now();
    place
        .images
        .pull(&client, &reference, &host, move |event| {
            if let PullEvent::Downloading { digest, bytes, .. } = event
                && first.lock().unwrap().insert(digest.to_string())
                && bytes > 2 << 20
            {
                seen.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        })
        .await
        .unwrap();
    assert!(
        resumed.load(std::sync::atomic::Ordering::Relaxed),
        "began anew"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn not_there() {
    let source = Source::new();
    let place = Place::new();
    let reference = source.registry.reference("no/such:image");
    let error = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ImagesError::Registry { source, .. } if source.kind() == ErrorKind::NotFound),
        "{error:?}"
    );
    assert!(error.to_string().contains("no/such:image"));
    place.assert_clean();
}

/// Collection takes what has lost its name and leaves what is in use.
#[tokio::test]
async fn collected() {
    let source = Source::new();
    source.image("kept", host(), &layers());
    source.image("gone", host(), &[tar(&[("own", Some(noise(9, 1000)))])]);
    let (kept, gone) = (source.publish("kept", &[]), source.publish("gone", &[]));
    let place = Place::new();
    let [first, second] = [&kept, &gone].map(|reference| {
        let images = place.again();
        let reference = reference.clone();
        async move {
            let pulled = images
                .pull(&client(), &reference, &host(), |_| ())
                .await
                .unwrap();
            (pulled.image.clone(), pulled.chain_id.unwrap())
        }
    });
    let ((_, first), (image, second)) = (first.await, second.await);
    place.images.store().untag(&gone).unwrap();
    let (_snapshot, root) = place
        .images
        .rootfs(&image, "c1", &Default::default())
        .unwrap();
    drop(root);
    let again = place.again();
    let report = again.gc().unwrap();
    assert_eq!(report.blobs.removed.len(), 3, "manifest, config and layer");
    assert!(report.layers.layers.is_empty(), "a snapshot stands on it");
    assert!(again.snapshots().has(&first) && again.snapshots().has(&second));
    again.snapshots().remove("c1").unwrap();
    assert_eq!(
        again.gc().unwrap().layers.layers,
        std::slice::from_ref(&second)
    );
    assert!(again.snapshots().has(&first) && !again.snapshots().has(&second));
    assert!(again.gc().unwrap().blobs.removed.is_empty());
}

/// Without the blobs there is nothing to unpack.
#[test]
fn unpack_without_blobs() {
    let source = Source::new();
    let descriptor = source.image("gone", host(), &layers());
    let image = source.store.image(descriptor.digest(), &host()).unwrap();
    let place = Place::new();
    let error = place.images.unpack(&image).unwrap_err();
    assert!(
        matches!(&error, ImagesError::Store { source, .. } if source.kind() == StoreErrorKind::NotFound),
        "{error:?}"
    );
    place.assert_clean();
}
