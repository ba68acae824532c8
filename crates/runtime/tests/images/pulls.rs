//! Pulls that succeed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use orlop_image::platform;
use orlop_runtime::images::PullEvent;
use orlop_unionfs::MountOptions;

use crate::fixture::{Place, Source, client, host, inside, noise, tar};

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

/// Three layers: the second changes and deletes files of the first, the third is large.
fn layers() -> Vec<Vec<u8>> {
    vec![
        tar(&[
            ("etc", None),
            ("etc/a", some("one")),
            ("etc/b", some("one")),
            ("etc/c", some("one")),
        ]),
        tar(&[("etc/b", some("two")), ("etc/.wh.c", some(""))]),
        tar(&[
            ("big", Some(noise(1, 6 << 20))),
            ("soft", Some(vec![7; 3 << 20])),
        ]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_and_zstd() {
    let source = Source::new();
    source.image("plain:v1", host(), &layers());
    for (name, more) in [
        ("plain:v1", &[][..]),
        ("plain:v1", &["--format", "v2s2"][..]),
        (
            "plain:v1",
            &[
                "--dest-compress-format",
                "zstd",
                "--dest-compress-level",
                "3",
            ][..],
        ),
    ] {
        let reference = source.publish(name, more);
        let place = Place::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let pulled = place
            .images
            .pull(&client(), &reference, &host(), move |e| {
                seen.lock().unwrap().push(e)
            })
            .await
            .unwrap();
        assert_eq!(pulled.image.layers().len(), 3);
        assert_eq!(
            place
                .images
                .store()
                .resolve(&reference)
                .unwrap()
                .unwrap()
                .digest(),
            pulled.descriptor.digest()
        );
        for layer in pulled.image.layers() {
            assert!(place.images.store().has(layer.descriptor.digest()));
            assert!(place.images.snapshots().has(layer.chain_id.as_ref()));
        }
        let kinds = |wanted: fn(&PullEvent) -> bool| {
            events.lock().unwrap().iter().filter(|e| wanted(e)).count()
        };
        assert_eq!(kinds(|e| matches!(e, PullEvent::Resolved { .. })), 1);
        assert_eq!(kinds(|e| matches!(e, PullEvent::Downloaded { .. })), 3);
        assert_eq!(kinds(|e| matches!(e, PullEvent::Unpacked { .. })), 3);
        assert_eq!(kinds(|e| matches!(e, PullEvent::Finished { .. })), 3);

        let (_snapshot, root) = place
            .images
            .rootfs(&pulled.image, "c1", &MountOptions::default())
            .unwrap();
        let Some(etc) = inside(&root, "etc") else {
            println!("skipped: gzip_and_zstd: the root's content: only root can look into a mount");
            continue;
        };
        let read = |name: &str| std::fs::read_to_string(etc.join(name)).ok();
        assert_eq!(
            (read("a"), read("b"), read("c")),
            (Some("one".into()), Some("two".into()), None)
        );
        assert!(std::fs::read(inside(&root, "big").unwrap()).unwrap() == noise(1, 6 << 20));
        assert!(std::fs::read(inside(&root, "soft").unwrap()).unwrap() == vec![7; 3 << 20]);
    }
}

/// A second pull fetches nothing; a snapshot that is gone is made from the blob.
#[tokio::test]
async fn again() {
    let source = Source::new();
    source.image("again", host(), &layers());
    let reference = source.publish("again", &[]);
    let place = Place::new();
    let first = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap();
    let other = Place::new();
    // The same blobs beside no snapshots, as after a `load`.
    let from = other.images.store();
    for layer in first.image.layers() {
        let mut blob = place
            .images
            .store()
            .blob(layer.descriptor.digest())
            .unwrap();
        let mut ingest = from
            .ingest(Some((layer.descriptor.digest(), None)))
            .unwrap();
        std::io::copy(&mut blob, &mut ingest).unwrap();
        ingest.commit().unwrap();
    }
    for (place, unpacked) in [(&place, 0), (&other, 3)] {
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let pulled = place
            .images
            .pull(&client(), &reference, &host(), move |e| {
                seen.lock().unwrap().push(e)
            })
            .await
            .unwrap();
        assert_eq!(pulled.chain_id, first.chain_id);
        let events = events.lock().unwrap();
        assert_eq!(
            events
                .iter()
                .filter(|e| matches!(e, PullEvent::Present { .. }))
                .count(),
            3
        );
        assert_eq!(
            events
                .iter()
                .filter(|e| matches!(e, PullEvent::Unpacked { .. }))
                .count(),
            unpacked
        );
        assert!(
            !events
                .iter()
                .any(|e| matches!(e, PullEvent::Downloading { .. }))
        );
    }
}

/// One name, several platforms: each gets its own, and who finds none is told what there is.
#[tokio::test]
async fn platforms() {
    let source = Source::new();
    let wanted: Vec<_> = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
        .iter()
        .map(|p| platform::parse(p).unwrap())
        .collect();
    let images: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(n, p)| {
            let file = Some(format!("number {n}").into_bytes());
            (
                source.image(&format!("part{n}"), p.clone(), &[tar(&[("which", file)])]),
                p.clone(),
            )
        })
        .collect();
    source.index("many", &images);
    let reference = source.publish("many", &["--all"]);
    let place = Place::new();
    for (descriptor, wanted) in &images {
        let pulled = place
            .images
            .pull(&client(), &reference, wanted, |_| ())
            .await
            .unwrap();
        assert_eq!(pulled.image.descriptor().digest(), descriptor.digest());
        assert_ne!(pulled.descriptor.digest(), descriptor.digest());
        assert!(pulled.image.matches(wanted));
        // The index itself is tagged, and leads to the image.
        let found = place.images.store().resolve(&reference).unwrap().unwrap();
        assert_eq!(
            place.images.store().image(found.digest(), wanted).unwrap(),
            pulled.image
        );
    }
    let absent = platform::parse("linux/s390x").unwrap();
    let error = place
        .images
        .pull(&client(), &reference, &absent, |_| ())
        .await
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("linux/s390x") && cause.contains("linux/arm64"),
        "{cause}"
    );
}

/// Several pulls at once, of one image and of another with a layer in common: each blob comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn side_by_side() {
    let source = Source::new();
    let common = tar(&[("common", Some(noise(2, 8 << 20)))]);
    let own = |n: u64| tar(&[("own", Some(noise(n, 1 << 20)))]);
    source.image("first", host(), &[common.clone(), own(3)]);
    source.image("second", host(), &[common.clone(), own(4)]);
    let references = [source.publish("first", &[]), source.publish("second", &[])];
    let place = Place::new();
    let bytes: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let pulls = (0..4).map(|n| {
        let (images, reference) = (place.again(), references[n % 2].clone());
        let bytes = Arc::clone(&bytes);
        tokio::spawn(async move {
            let before: Mutex<HashMap<String, u64>> = Mutex::default();
            let count = move |event| {
                if let PullEvent::Downloading {
                    digest, bytes: now, ..
                } = event
                {
                    let then = before
                        .lock()
                        .unwrap()
                        .insert(digest.to_string(), now)
                        .unwrap_or(0);
                    *bytes.lock().unwrap().entry(digest.to_string()).or_default() += now - then;
                }
            };
            images
                .pull(&client(), &reference, &host(), count)
                .await
                .unwrap()
        })
    });
    let pulled = futures_util::future::join_all(pulls).await;
    let bytes = bytes.lock().unwrap();
    assert_eq!(bytes.len(), 3);
    for pulled in pulled {
        let pulled = pulled.unwrap();
        for layer in pulled.image.layers() {
            assert_eq!(
                bytes[layer.descriptor.digest().as_ref()],
                layer.descriptor.size()
            );
        }
        assert!(place.images.snapshots().has(&pulled.chain_id.unwrap()));
    }
}

/// The same layer twice in one image, and more layers than are fetched at a time.
#[tokio::test(flavor = "current_thread")]
async fn repeated_and_many() {
    let source = Source::new();
    let same = tar(&[("same", some("same"))]);
    let mut layers = vec![
        same.clone(),
        tar(&[("between", some("x"))]),
        same.clone(),
        same,
    ];
    layers.extend((0..8).map(|n| tar(&[(&format!("file{n}"), some("y"))])));
    source.image("repeated", host(), &layers);
    let reference = source.publish("repeated", &[]);
    let place = Place::new();
    let pulled = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap();
    assert_eq!(pulled.image.layers().len(), 12);
    for layer in pulled.image.layers() {
        assert!(place.images.snapshots().has(layer.chain_id.as_ref()));
    }
}

#[tokio::test]
async fn no_layers() {
    let source = Source::new();
    source.image("empty", host(), &[]);
    let reference = source.publish("empty", &[]);
    let place = Place::new();
    let pulled = place
        .images
        .pull(&client(), &reference, &host(), |_| ())
        .await
        .unwrap();
    assert_eq!(pulled.chain_id, None);
    place
        .images
        .rootfs(&pulled.image, "c1", &MountOptions::default())
        .unwrap();
    let error = place
        .images
        .rootfs(&pulled.image, "c1", &MountOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("c1"), "{error}");
}

/// What was loaded, not pulled, is unpacked the same way.
#[test]
fn unpack_alone() {
    let source = Source::new();
    let descriptor = source.image("loaded", host(), &layers());
    let image = source.store.image(descriptor.digest(), &host()).unwrap();
    let place = Place::new();
    let images =
        orlop_runtime::images::Images::new(source.store.clone(), place.images.snapshots().clone());
    // Where a root is wanted it is unpacked at need.
    let (snapshot, _root) = images
        .rootfs(&image, "c1", &MountOptions::default())
        .unwrap();
    assert_eq!(snapshot.key(), "c1");
    assert_eq!(
        images.unpack(&image).unwrap(),
        image.top().map(ToString::to_string)
    );
    assert_eq!(
        images.unpack(&image).unwrap(),
        image.top().map(ToString::to_string)
    );
}
