//! One process, one store.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use orlop_image::{Claim, Compression, Error, Store, digest, platform, reference};

use crate::support::{assert_empty, names, scratch, small_image};

#[test]
fn a_store_is_an_oci_layout_of_mode_0700() {
    let s = scratch();
    let mode = fs::metadata(s.store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let layout = fs::read_to_string(s.store.path().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = fs::read_to_string(s.store.path().join("index.json")).unwrap();
    assert!(index.contains(r#""manifests":[]"#), "{index}");
    Store::open(s.store.path()).expect("it opens again");
}

#[test]
fn what_is_no_store_is_left_alone() {
    let s = scratch();
    let other = s.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    assert!(matches!(Store::open(&other), Err(Error::NotAStore { .. })));
    assert_eq!(names(&other), ["precious"]);
    // Another tool's layout would lose its names.
    let layout = s.dir.path().join("layout");
    small_image(&s.store, "a", Compression::Gzip);
    let export = orlop_image::Export::named(&s.store, &reference::parse("a").unwrap())
        .unwrap()
        .unwrap();
    orlop_image::layout::save_dir(&s.store, &[export], &platform::host(), &layout).unwrap();
    assert!(matches!(Store::open(&layout), Err(Error::NotAStore { .. })));
}

#[test]
fn a_blob_has_no_name_before_it_is_verified() {
    let s = scratch();
    let good = digest::of(b"hello");
    let ingest = |expected, size, bytes: &[u8]| {
        let mut ingest = s.store.ingest(Some((expected, size)))?;
        ingest.append(bytes)?;
        ingest.commit()
    };
    assert!(matches!(
        ingest(&good, None, b"hullo"),
        Err(Error::DigestMismatch { .. })
    ));
    assert!(matches!(
        ingest(&good, Some(5), b"hell"),
        Err(Error::SizeMismatch {
            expected: 5,
            actual: 4
        })
    ));
    assert!(matches!(
        ingest(&good, Some(5), b"hello!"),
        Err(Error::SizeMismatch {
            expected: 5,
            actual: 6
        })
    ));
    drop(s.store.ingest(Some((&good, None))).unwrap());
    assert!(!s.store.has(&good));
    assert!(names(&s.store.path().join("ingest")).is_empty());
    assert_eq!(ingest(&good, Some(5), b"hello").unwrap(), (good.clone(), 5));
    assert_eq!(s.store.read(&good).unwrap(), b"hello");
    // The stream is stopped at the first byte too many, not at its end.
    let mut ingest = s.store.ingest(Some((&digest::of(b"x"), Some(10)))).unwrap();
    // Long enough to be told from one that ends, and no more than a disk can take.
    let mut endless = std::io::repeat(b'x').take(16 << 20);
    let error = ingest
        .append_from(&mut endless, "an endless stream")
        .unwrap_err();
    assert!(
        matches!(error, Error::SizeMismatch { expected: 10, .. }),
        "{error:?}"
    );
    let error = std::io::copy(&mut endless, &mut ingest).unwrap_err();
    assert!(
        error.get_ref().is_some_and(|inner| inner.is::<Error>()),
        "{error:?}"
    );
}

#[test]
fn sha512_blobs_are_verified_as_well() {
    let s = scratch();
    let mut hasher =
        digest::Hasher::for_digest(&digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap())
            .unwrap();
    hasher.update(b"hello");
    let digest = hasher.finish();
    let mut ingest = s.store.ingest(Some((&digest, Some(5)))).unwrap();
    ingest.write_all(b"hello").unwrap();
    ingest.commit().unwrap();
    assert_eq!(s.store.read(&digest).unwrap(), b"hello");
    assert!(s.store.path().join("blobs/sha512").is_dir());
    let mut wrong = s.store.ingest(Some((&digest, Some(5)))).unwrap();
    wrong.write_all(b"hallo").unwrap();
    assert!(matches!(wrong.commit(), Err(Error::DigestMismatch { .. })));
    assert_eq!(s.store.fsck(false).unwrap().damage, []);
}

#[test]
fn a_suspended_download_resumes_at_its_offset() {
    let s = scratch();
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let digest = digest::of(&bytes);
    let size = bytes.len() as u64;
    let mut first = s.store.ingest(Some((&digest, Some(size)))).unwrap();
    first.append(&bytes[..100_000]).unwrap();
    first.suspend();
    let mut second = s.store.ingest(Some((&digest, Some(size)))).unwrap();
    assert_eq!(second.resume().unwrap(), 100_000);
    assert_eq!(second.offset(), 100_000);
    second.append(&bytes[100_000..]).unwrap();
    second.commit().unwrap();
    let mut read = Vec::new();
    s.store
        .blob(&digest)
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert_eq!(read, bytes);
    // Without resume, or after restart, it begins anew.
    let other = digest::of(b"other");
    let mut left = s.store.ingest(Some((&other, Some(5)))).unwrap();
    left.append(b"zzz").unwrap();
    left.suspend();
    let mut fresh = s.store.ingest(Some((&other, Some(5)))).unwrap();
    fresh.append(b"other").unwrap();
    fresh.commit().unwrap();
    // What is left longer than announced is cut, and a wrong start is found out at the end.
    let third = digest::of(b"third");
    let mut wrong = s.store.ingest(Some((&third, None))).unwrap();
    wrong.append(b"THIRD and more").unwrap();
    wrong.suspend();
    let mut resumed = s.store.ingest(Some((&third, Some(5)))).unwrap();
    assert_eq!(resumed.resume().unwrap(), 5);
    assert!(matches!(
        resumed.commit(),
        Err(Error::DigestMismatch { .. })
    ));
    assert!(!s.store.has(&third));
    assert!(names(&s.store.path().join("ingest")).is_empty());
}

#[test]
fn claims_share_the_work() {
    let s = scratch();
    let digest = digest::of(b"shared");
    let Claim::Fetch(mut mine) = s.store.claim(&digest, Some(6)).unwrap() else {
        panic!("nobody has it")
    };
    assert!(matches!(
        s.store.try_claim(&digest, Some(6)).unwrap(),
        Claim::Busy
    ));
    let waiter = {
        let store = s.store.clone();
        let digest = digest.clone();
        std::thread::spawn(move || matches!(store.claim(&digest, Some(6)).unwrap(), Claim::Present))
    };
    std::thread::sleep(std::time::Duration::from_millis(50));
    mine.append(b"shared").unwrap();
    mine.commit().unwrap();
    assert!(waiter.join().unwrap(), "the waiter fetched it again");
    // A writer that gives up hands over to the next.
    let digest = digest::of(b"given up");
    let Claim::Fetch(mine) = s.store.claim(&digest, None).unwrap() else {
        panic!("nobody has it")
    };
    let waiter = {
        let store = s.store.clone();
        let digest = digest.clone();
        std::thread::spawn(move || {
            let Claim::Fetch(mut ingest) = store.claim(&digest, None).unwrap() else {
                return false;
            };
            ingest.append(b"given up").unwrap();
            ingest.commit().unwrap();
            true
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(50));
    drop(mine);
    assert!(waiter.join().unwrap());
    assert_eq!(s.store.read(&digest).unwrap(), b"given up");
}

#[test]
fn tags_and_the_index_follow_each_other() {
    let s = scratch();
    let descriptor = small_image(&s.store, "busybox:1", Compression::Gzip);
    let name = reference::parse("busybox:1").unwrap();
    assert_eq!(s.store.resolve(&name).unwrap().as_ref(), Some(&descriptor));
    let by_digest = reference::parse(&format!("busybox@{}", descriptor.digest())).unwrap();
    assert_eq!(
        s.store.resolve(&by_digest).unwrap().as_ref(),
        Some(&descriptor)
    );
    let elsewhere = reference::parse(&format!("other@{}", descriptor.digest())).unwrap();
    assert_eq!(s.store.resolve(&elsewhere).unwrap(), None);
    let long = reference::parse(&format!(
        "localhost:5000/{}:{}",
        ["a"; 120].join("/"),
        "t".repeat(128)
    ))
    .unwrap();
    s.store.tag(&long, &descriptor).unwrap();
    let index = || fs::read_to_string(s.store.path().join("index.json")).unwrap();
    assert!(index().contains(&long.to_string()));
    assert!(s.store.untag(&long).unwrap());
    assert!(!s.store.untag(&long).unwrap());
    assert!(!index().contains(&long.to_string()));
    assert!(index().contains("docker.io/library/busybox:1"));
    let absent =
        orlop_image::Descriptor::new(orlop_image::MediaType::ImageManifest, 3, digest::of(b"abs"));
    assert!(matches!(
        s.store.tag(&name, &absent),
        Err(Error::BlobMissing { .. })
    ));
    // A process that died between the record and the index: the next one to open the store mends it.
    fs::remove_file(s.store.path().join("index.json")).unwrap();
    Store::open(s.store.path()).unwrap();
    assert!(index().contains("docker.io/library/busybox:1"));
}

#[test]
fn a_blob_not_yet_tagged_is_protected_by_its_lease() {
    let s = scratch();
    let other = Store::open(s.store.path()).unwrap();
    let lease = s.store.lease().unwrap();
    // Of unknown digest, as layers being packed are.
    let mut ingest = lease.ingest(None).unwrap();
    ingest.append(b"a layer").unwrap();
    let (digest, _) = ingest.commit().unwrap();
    assert_eq!(other.gc().unwrap().removed, []);
    drop(lease);
    assert_eq!(other.gc().unwrap().removed, [digest]);
    // What came in through the handle itself stays as long as the handle.
    let kept = s
        .store
        .put(orlop_image::MediaType::ImageConfig, b"kept")
        .unwrap();
    assert_eq!(other.gc().unwrap().removed, []);
    drop(s.store);
    assert_eq!(
        other.gc().unwrap().removed,
        std::slice::from_ref(kept.digest())
    );
}

#[test]
fn gc_keeps_what_a_root_leads_to() {
    let s = scratch();
    let tagged = small_image(&s.store, "tagged", Compression::Gzip);
    let container = small_image(&s.store, "container", Compression::Zstd);
    s.store
        .untag(&reference::parse("container").unwrap())
        .unwrap();
    let path = s.store.path().to_owned();
    drop(s.store);
    let store = Store::open(&path).unwrap();
    let all = store.blobs().unwrap().len();
    let roots = HashSet::from([container.digest().clone()]);
    let report = store.gc_keeping(&roots).unwrap();
    assert_eq!((report.removed.len(), report.kept), (0, all));
    let lease = store.lease().unwrap();
    assert!(lease.keep(container.digest()).unwrap());
    assert_eq!(
        store.gc().unwrap().removed.len(),
        0,
        "a lease protects what its manifest leads to"
    );
    drop(lease);
    let report = store.gc().unwrap();
    // Manifest, config and both layers are its own: the layers differ by their packing.
    assert_eq!(report.removed.len(), 4, "{report:?}");
    let image = store.image(tagged.digest(), &platform::host()).unwrap();
    assert!(
        image
            .layers()
            .iter()
            .all(|layer| store.has(layer.descriptor.digest()))
    );
    store.untag(&reference::parse("tagged").unwrap()).unwrap();
    store.gc().unwrap();
    assert_empty(&store);
}

#[test]
fn fsck_finds_and_repairs() {
    let s = scratch();
    let descriptor = small_image(&s.store, "a", Compression::Gzip);
    let sound = s.store.fsck(false).unwrap();
    assert_eq!((sound.blobs, sound.damage.len()), (4, 0));
    let image = s
        .store
        .image(descriptor.digest(), &platform::host())
        .unwrap();
    let layer = image.layers()[0].descriptor.digest();
    let path = s.store.blob_path(layer).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let found = s.store.fsck(false).unwrap();
    assert_eq!(found.damage.len(), 1);
    assert!(
        found.damage[0].to_string().contains(layer.as_ref()),
        "{:?}",
        found.damage
    );
    s.store.fsck(true).unwrap();
    let after = s.store.fsck(false).unwrap();
    assert_eq!(after.damage.len(), 1);
    assert!(
        after.damage[0].to_string().contains("lacks blob"),
        "{:?}",
        after.damage
    );
    // A damaged manifest is not believed.
    fs::write(s.store.blob_path(descriptor.digest()).unwrap(), "{}").unwrap();
    assert!(
        s.store
            .image(descriptor.digest(), &platform::host())
            .is_err()
    );
    assert_eq!(s.store.gc().unwrap().damaged, [descriptor.digest().clone()]);
}

#[test]
fn indexes_choose_by_platform() {
    let s = scratch();
    let one = small_image(&s.store, "a", Compression::Gzip);
    let entry = |descriptor: &orlop_image::Descriptor, text: &str| {
        let mut entry = descriptor.clone();
        entry.set_platform(Some(platform::parse(text).unwrap()));
        entry
    };
    let absent =
        orlop_image::Descriptor::new(orlop_image::MediaType::ImageManifest, 3, digest::of(b"abs"));
    let host = platform::format(&platform::host());
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [entry(&absent, "linux/s390x"), entry(&one, &host)],
    });
    let index = s
        .store
        .put(
            orlop_image::MediaType::ImageIndex,
            &serde_json::to_vec(&index).unwrap(),
        )
        .unwrap();
    let nested = serde_json::json!({"schemaVersion": 2, "manifests": [index]});
    let nested = s
        .store
        .put(
            orlop_image::MediaType::ImageIndex,
            &serde_json::to_vec(&nested).unwrap(),
        )
        .unwrap();
    for digest in [index.digest(), nested.digest()] {
        assert_eq!(
            s.store.image(digest, &platform::host()).unwrap().digest(),
            one.digest()
        );
    }
    let error = s
        .store
        .image(index.digest(), &platform::parse("windows/amd64").unwrap())
        .unwrap_err();
    let text = crate::support::chain(&error);
    assert!(
        text.contains(&format!("available: linux/s390x, {host}")),
        "{text}"
    );
    let error = s
        .store
        .image(index.digest(), &platform::parse("linux/s390x").unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), orlop_image::ErrorKind::NotFound);
    // An index that leads to itself in effect: deeper than anybody nests.
    let mut deep = index;
    for _ in 0..5 {
        let next = serde_json::json!({"schemaVersion": 2, "manifests": [deep]});
        deep = s
            .store
            .put(
                orlop_image::MediaType::ImageIndex,
                &serde_json::to_vec(&next).unwrap(),
            )
            .unwrap();
    }
    assert!(s.store.image(deep.digest(), &platform::host()).is_err());
}
