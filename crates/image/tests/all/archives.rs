//! Archives of every kind, made here, in and out.

use std::collections::BTreeMap;

use orlop_image::{
    Compression, Error, Export, LoadOptions, Store, digest, load, load_path, platform, reference,
    save,
};
use serde_json::json;

use crate::support::{assert_empty, scratch, small_image, tar_of};

fn saved(store: &Store, names: &[&str]) -> Vec<u8> {
    let images: Vec<Export> = names
        .iter()
        .map(|name| {
            Export::named(store, &reference::parse(name).unwrap())
                .unwrap()
                .unwrap()
        })
        .collect();
    let mut bytes = Vec::new();
    save(store, &images, &platform::host(), &mut bytes).unwrap();
    bytes
}

#[test]
fn saved_images_load_again_with_the_same_digests() {
    let from = scratch();
    let names = ["one:1", "two", "localhost:5000/three/x:y"];
    let descriptors: Vec<_> = names
        .iter()
        .zip([Compression::Gzip, Compression::Zstd, Compression::None])
        .map(|(name, compression)| small_image(&from.store, name, compression))
        .collect();
    let archive = saved(&from.store, &names);
    assert_eq!(
        archive,
        saved(&from.store, &names),
        "the same images give the same bytes"
    );
    for packing in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut packed = orlop_image::compress(Vec::new(), packing).unwrap();
        std::io::Write::write_all(&mut packed, &archive).unwrap();
        let to = scratch();
        let loaded = load(
            &packed.finish().unwrap()[..],
            &to.store,
            &LoadOptions::default(),
        )
        .unwrap();
        assert_eq!(loaded.len(), 3);
        for (name, descriptor) in names.iter().zip(&descriptors) {
            let found = to
                .store
                .resolve(&reference::parse(name).unwrap())
                .unwrap()
                .expect(name);
            assert_eq!(found.digest(), descriptor.digest());
        }
        assert_eq!(
            to.store.blobs().unwrap().len(),
            from.store.blobs().unwrap().len()
        );
        assert_eq!(to.store.fsck(false).unwrap().damage, []);
    }
    // One of several, and one that is not there.
    let to = scratch();
    let mut options = LoadOptions::default();
    options.only = Some(reference::parse("two").unwrap());
    let loaded = load(&archive[..], &to.store, &options).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(to.store.tags().unwrap().len(), 1);
    assert_eq!(
        to.store.blobs().unwrap().len(),
        4,
        "blobs of the others are gone"
    );
    options.only = Some(reference::parse("four").unwrap());
    assert!(load(&archive[..], &scratch().store, &options).is_err());
}

#[test]
fn layout_directories_save_and_load() {
    let from = scratch();
    let descriptor = small_image(&from.store, "a/b:c", Compression::Gzip);
    let name = reference::parse("a/b:c").unwrap();
    let export = [Export::named(&from.store, &name).unwrap().unwrap()];
    let dir = from.dir.path().join("layout");
    orlop_image::layout::save_dir(&from.store, &export, &platform::host(), &dir).unwrap();
    let again = orlop_image::layout::save_dir(&from.store, &export, &platform::host(), &dir);
    assert!(
        again.is_err(),
        "a directory with content is not overwritten"
    );
    assert_eq!(
        crate::support::names(from.dir.path()),
        ["layout", "store"],
        "nothing is left"
    );
    let to = scratch();
    let loaded = load_path(&dir, &to.store, &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].names, std::slice::from_ref(&name));
    assert_eq!(
        to.store.resolve(&name).unwrap().unwrap().digest(),
        descriptor.digest()
    );
    // A store is itself a layout.
    let third = scratch();
    load_path(from.store.path(), &third.store, &LoadOptions::default()).unwrap();
    assert_eq!(
        third.store.resolve(&name).unwrap().unwrap().digest(),
        descriptor.digest()
    );
    // A blob that lies is found out, and nothing is left.
    let image = from
        .store
        .image(descriptor.digest(), &platform::host())
        .unwrap();
    let layer = dir
        .join("blobs/sha256")
        .join(image.layers()[0].descriptor.digest().digest());
    let mut bytes = std::fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let fourth = scratch();
    assert!(load_path(&dir, &fourth.store, &LoadOptions::default()).is_err());
    assert_empty(&fourth.store);
    // A link to other bytes is as bad, a pipe does not block, and a link to the right bytes is fine.
    std::fs::remove_file(&layer).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &layer).unwrap();
    assert!(load_path(&dir, &fourth.store, &LoadOptions::default()).is_err());
    assert_empty(&fourth.store);
    std::fs::remove_file(&layer).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, &layer, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = load_path(&dir, &fourth.store, &LoadOptions::default()).unwrap_err();
    assert!(
        crate::support::chain(&error).contains("not a regular file"),
        "{error:?}"
    );
    assert_empty(&fourth.store);
    std::fs::remove_file(&layer).unwrap();
    let blob = from
        .store
        .blob_path(image.layers()[0].descriptor.digest())
        .unwrap();
    std::os::unix::fs::symlink(blob, &layer).unwrap();
    load_path(&dir, &fourth.store, &LoadOptions::default()).unwrap();
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, bytes).unwrap();
}

fn link(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_entry_type(kind);
    tar.append_link(&mut header, path, target).unwrap();
}

/// What Docker 1.10 to 24 wrote: a folder a layer, and links where two layers are the same.
#[test]
fn docker_save_with_linked_layers() {
    let layer = tar_of(&[("file", b"content")]);
    let diff_id = digest::of(&layer);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/file"], "Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": [&diff_id, &diff_id, &diff_id]},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let id = digest::of(&config);
    let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
    let mut tar = tar::Builder::new(Vec::new());
    // Links may come before what they lead to.
    link(
        &mut tar,
        tar::EntryType::Symlink,
        &format!("{b}/layer.tar"),
        &format!("../{a}/layer.tar"),
    );
    append(&mut tar, &format!("{a}/VERSION"), b"1.0");
    append(&mut tar, &format!("{a}/json"), b"{}");
    append(&mut tar, &format!("./{a}/layer.tar"), &layer);
    link(
        &mut tar,
        tar::EntryType::Link,
        &format!("{c}/layer.tar"),
        &format!("{a}/layer.tar"),
    );
    append(&mut tar, &format!("{}.json", id.digest()), &config);
    let manifest = json!([{
        "Config": format!("{}.json", id.digest()),
        "RepoTags": ["busybox:1.36", "busybox:latest"],
        "Layers": [format!("{a}/layer.tar"), format!("{b}/layer.tar"), format!("{c}/layer.tar")],
    }]);
    append(&mut tar, "manifest.json", manifest.to_string().as_bytes());
    append(&mut tar, "repositories", b"{}");
    let bytes = tar.into_inner().unwrap();
    let s = scratch();
    let loaded = load(&bytes[..], &s.store, &LoadOptions::default()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names.len(), 2);
    let image = s
        .store
        .image(loaded[0].descriptor.digest(), &platform::host())
        .unwrap();
    assert_eq!(
        image.id(),
        &id,
        "the config keeps its bytes, and so the image its id"
    );
    assert!(image.docker().healthcheck.is_some());
    assert!(image.diff_ids().all(|found| *found == diff_id));
    assert_eq!(s.store.blobs().unwrap().len(), 3, "layer, config, manifest");
}

/// kaniko, jib and bazel pack the layers.
#[test]
fn docker_archive_with_packed_layers() {
    let layer = tar_of(&[("file", b"content")]);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut packed = orlop_image::compress(Vec::new(), compression).unwrap();
        std::io::Write::write_all(&mut packed, &layer).unwrap();
        let packed = packed.finish().unwrap();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest::of(&layer)]},
        });
        let manifest =
            json!([{"Config": "config.json", "RepoTags": null, "Layers": ["layer.tar.gz"]}]);
        let archive = |layer: &[u8]| {
            tar_of(&[
                ("manifest.json", manifest.to_string().as_bytes()),
                ("config.json", config.to_string().as_bytes()),
                ("layer.tar.gz", layer),
            ])
        };
        let s = scratch();
        let mut options = LoadOptions::default();
        options.name = Some(reference::parse("given").unwrap());
        let loaded = load(&archive(&packed)[..], &s.store, &options).unwrap();
        assert_eq!(
            loaded[0].names[0].to_string(),
            "docker.io/library/given:latest"
        );
        let image = s
            .store
            .image(loaded[0].descriptor.digest(), &platform::host())
            .unwrap();
        assert_eq!(image.layers()[0].compression, compression);
        assert_eq!(
            image.layers()[0].descriptor.digest(),
            &digest::of(&packed),
            "kept as it is"
        );
        // One whose content is another.
        let mut other = orlop_image::compress(Vec::new(), compression).unwrap();
        std::io::Write::write_all(&mut other, &tar_of(&[("file", b"other")])).unwrap();
        let t = scratch();
        let error = load(
            &archive(&other.finish().unwrap())[..],
            &t.store,
            &LoadOptions::default(),
        )
        .unwrap_err();
        let text = crate::support::chain(&error);
        assert!(
            text.contains("layer.tar.gz") && text.contains("digest mismatch"),
            "{text}"
        );
        assert_empty(&t.store);
    }
}

/// What Docker wrote before 1.10.
#[test]
fn docker_save_of_old() {
    let (base, top) = ("1".repeat(64), "2".repeat(64));
    let lower = tar_of(&[("file", b"lower")]);
    let upper = tar_of(&[("file", b"upper")]);
    let build = |parent: &str| {
        let v1 = |id: &str, parent: &str| {
            json!({
                "id": id, "parent": parent, "created": "2015-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
                "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) ADD"]},
                "config": {"Cmd": ["/file"], "Env": null, "Image": "x"},
            })
            .to_string()
        };
        let repositories = json!({"old": {"latest": top, "1": top}}).to_string();
        tar_of(&[
            (&format!("{top}/json"), v1(&top, &base).as_bytes()),
            (&format!("{top}/layer.tar"), &upper),
            (&format!("{top}/VERSION"), b"1.0"),
            (&format!("{base}/json"), v1(&base, parent).as_bytes()),
            (&format!("{base}/layer.tar"), &lower),
            ("repositories", repositories.as_bytes()),
        ])
    };
    let s = scratch();
    let loaded = load(&build("")[..], &s.store, &LoadOptions::default()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names.len(), 2);
    let image = s
        .store
        .image(loaded[0].descriptor.digest(), &platform::host())
        .unwrap();
    let diff_ids: Vec<_> = image.diff_ids().cloned().collect();
    assert_eq!(diff_ids, [digest::of(&lower), digest::of(&upper)]);
    assert_eq!(image.config().history().as_ref().unwrap().len(), 2);
    assert_eq!(
        image.config().config().as_ref().unwrap().cmd().as_deref(),
        Some(&["/file".to_owned()][..])
    );
    // Parents in a circle, and a parent that is a path.
    for parent in [&top, "../../etc", &"9".repeat(64)] {
        let t = scratch();
        let error = load(&build(parent)[..], &t.store, &LoadOptions::default()).unwrap_err();
        assert!(
            matches!(error.kind(), orlop_image::ErrorKind::InvalidContent),
            "{error:?}"
        );
        assert_empty(&t.store);
    }
}

#[test]
fn an_index_with_one_platform_present_loads() {
    let from = scratch();
    let one = small_image(&from.store, "a", Compression::Gzip);
    let mut here = one.clone();
    here.set_platform(Some(platform::host()));
    let mut absent =
        orlop_image::Descriptor::new(orlop_image::MediaType::ImageManifest, 3, digest::of(b"abs"));
    absent.set_platform(Some(platform::parse("linux/s390x").unwrap()));
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [absent, here]});
    let bytes = serde_json::to_vec(&index).unwrap();
    let index = from
        .store
        .put(orlop_image::MediaType::ImageIndex, &bytes)
        .unwrap();
    let name = reference::parse("multi").unwrap();
    from.store.tag(&name, &index).unwrap();
    from.store.untag(&reference::parse("a").unwrap()).unwrap();
    let to = scratch();
    load_path(from.store.path(), &to.store, &LoadOptions::default()).unwrap();
    assert_eq!(
        to.store.resolve(&name).unwrap().unwrap().digest(),
        index.digest()
    );
    assert_eq!(
        to.store
            .image(index.digest(), &platform::host())
            .unwrap()
            .digest(),
        one.digest()
    );
    // Saved, it is the one image.
    let archive = saved(&to.store, &["multi"]);
    let third = scratch();
    let loaded = load(&archive[..], &third.store, &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].descriptor.digest(), one.digest());
}

#[test]
fn saving_what_is_not_whole_says_so() {
    let s = scratch();
    let descriptor = small_image(&s.store, "a", Compression::Gzip);
    let image = s
        .store
        .image(descriptor.digest(), &platform::host())
        .unwrap();
    let layer = s
        .store
        .blob_path(image.layers()[1].descriptor.digest())
        .unwrap();
    let export = [Export {
        descriptor,
        names: Vec::new(),
    }];
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let error = save(&s.store, &export, &platform::host(), std::io::sink()).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    std::fs::remove_file(&layer).unwrap();
    let error = save(&s.store, &export, &platform::host(), std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), orlop_image::ErrorKind::NotFound);
    let contents: BTreeMap<_, _> = s
        .store
        .blobs()
        .unwrap()
        .into_iter()
        .map(|(d, n)| (d.to_string(), n))
        .collect();
    assert_eq!(contents.len(), 3);
}

/// The second of two names cannot be given: the first goes back to what had it.
#[test]
fn names_are_given_all_or_none() {
    let from = scratch();
    small_image(&from.store, "one", Compression::Gzip);
    small_image(&from.store, "two", Compression::Gzip);
    let archive = saved(&from.store, &["one", "two"]);
    let to = scratch();
    let name = reference::parse("one").unwrap();
    let other = small_image(&to.store, "one", Compression::Zstd);
    // A directory where the record of the second name belongs.
    let record = digest::of(b"docker.io/library/two:latest");
    std::fs::create_dir(to.store.path().join("tags").join(record.digest())).unwrap();
    let blobs = to.store.blobs().unwrap().len();
    assert!(load(&archive[..], &to.store, &LoadOptions::default()).is_err());
    std::fs::remove_dir(to.store.path().join("tags").join(record.digest())).unwrap();
    assert_eq!(to.store.resolve(&name).unwrap(), Some(other));
    assert_eq!(to.store.tags().unwrap().len(), 1);
    // The obstacle was in the way of clearing up as well.
    to.store.gc().unwrap();
    assert_eq!(to.store.blobs().unwrap().len(), blobs);
}
