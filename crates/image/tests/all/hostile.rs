//! Archives that are truncated or lie: a clear error each, and nothing left.

use orlop_image::{
    Compression, Error, Export, LoadOptions, Store, digest, load, platform, reference, save,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Scratch, assert_empty, chain, scratch, small_image, tar_of};

fn good() -> Vec<u8> {
    let s = scratch();
    small_image(&s.store, "good", Compression::Gzip);
    let name = reference::parse("good").unwrap();
    let mut bytes = Vec::new();
    let export = [Export::named(&s.store, &name).unwrap().unwrap()];
    save(&s.store, &export, &platform::host(), &mut bytes).unwrap();
    bytes
}

fn refused(bytes: &[u8]) -> String {
    let s = scratch();
    let error = load(bytes, &s.store, &LoadOptions::default()).expect_err("it was accepted");
    assert_empty(&s.store);
    chain(&error)
}

#[test]
fn truncated_anywhere() {
    let archive = good();
    // The end marker and the padding may be missing, as some writers leave them out.
    let content = archive.iter().rposition(|byte| *byte != 0).unwrap();
    for part in 1..60 {
        let cut = content * part / 60;
        let text = refused(&archive[..cut]);
        assert!(!text.is_empty());
    }
    let mut packed = orlop_image::compress(Vec::new(), Compression::Gzip).unwrap();
    std::io::Write::write_all(&mut packed, &archive).unwrap();
    let packed = packed.finish().unwrap();
    for cut in [packed.len() - 1, packed.len() - 8, packed.len() / 2, 30] {
        refused(&packed[..cut]);
    }
    let mut trailing = archive;
    trailing.extend([1; 512]);
    assert!(refused(&trailing).contains("behind the end"));
}

/// Every byte of content is under a digest: change any, and it is refused or (in padding and unused header fields) without effect.
#[test]
fn flipped_bits() {
    let archive = good();
    let whole = {
        let s = scratch();
        load(&archive[..], &s.store, &LoadOptions::default()).unwrap()
    };
    for part in 0..150 {
        let mut bytes = archive.clone();
        let at = bytes.len() * part / 150;
        bytes[at] ^= 0x10;
        let s = scratch();
        match load(&bytes[..], &s.store, &LoadOptions::default()) {
            Ok(loaded) => assert!(
                loaded[0].descriptor.digest() == whole[0].descriptor.digest()
                    || s.store.fsck(false).unwrap().damage.is_empty()
            ),
            Err(_) => assert_empty(&s.store),
        }
    }
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest::of(bytes).digest())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest::of(bytes).to_string(), "size": bytes.len()})
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An OCI archive of one image whose parts `change` may falsify.
fn layout(change: impl FnOnce(&mut Value, &mut Value, &mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let mut layer = tar_of(&[("file", b"content")]);
    let mut config = json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest::of(&layer).to_string()]}});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": null,
        "layers": [descriptor(LAYER, &layer)]});
    let mut entry = json!({"mediaType": MANIFEST});
    change(&mut config, &mut manifest, &mut entry, &mut layer);
    let config = config.to_string();
    if manifest["config"].is_null() {
        manifest["config"] = descriptor(CONFIG, config.as_bytes());
    }
    let manifest = manifest.to_string();
    let Value::Object(real) = descriptor(MANIFEST, manifest.as_bytes()) else {
        unreachable!()
    };
    for (key, value) in real {
        if entry.get(&key).is_none() {
            entry[key] = value;
        }
    }
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    tar_of(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", index.as_bytes()),
        (&blob(&layer), &layer),
        (&blob(config.as_bytes()), config.as_bytes()),
        (&blob(manifest.as_bytes()), manifest.as_bytes()),
    ])
}

#[test]
fn layouts_that_lie() {
    let s = scratch();
    load(
        &layout(|_, _, _, _| {})[..],
        &s.store,
        &LoadOptions::default(),
    )
    .expect("the honest one");
    let other = digest::of(b"other").to_string();
    type Change = Box<dyn FnOnce(&mut Value, &mut Value, &mut Value, &mut Vec<u8>)>;
    let cases: Vec<(&str, Change)> = vec![
        (
            "lacks manifest",
            Box::new(|_, _, e, _| e["digest"] = digest::of(b"x").to_string().into()),
        ),
        ("size mismatch", Box::new(|_, _, e, _| e["size"] = 7.into())),
        (
            "invalid value",
            Box::new(|_, _, e, _| e["size"] = (-1).into()),
        ),
        (
            "larger than the limit",
            Box::new(|_, _, e, _| e["size"] = (5 << 20).into()),
        ),
        (
            "announced as",
            Box::new(|_, _, e, _| {
                e["mediaType"] = "application/vnd.oci.image.index.v1+json".into()
            }),
        ),
        (
            "invalid digest",
            Box::new(|_, _, e, _| e["digest"] = "sha1:abc".into()),
        ),
        (
            "parsing",
            Box::new(|_, _, e, _| e["digest"] = "../../../etc/passwd:x".into()),
        ),
        ("digest mismatch", {
            let other = other.clone();
            Box::new(move |c, _, _, _| c["rootfs"]["diff_ids"][0] = other.into())
        }),
        (
            "1 layers and its config 0",
            Box::new(|c, _, _, _| c["rootfs"]["diff_ids"] = json!([])),
        ),
        (
            "1 layers and its config 2",
            Box::new(|c, _, _, _| {
                let id = c["rootfs"]["diff_ids"][0].clone();
                c["rootfs"]["diff_ids"] = json!([id, id]);
            }),
        ),
        (
            "invalid digest",
            Box::new(|c, _, _, _| c["rootfs"]["diff_ids"][0] = "../x".into()),
        ),
        (
            "rootfs type",
            Box::new(|c, _, _, _| c["rootfs"]["type"] = "disk".into()),
        ),
        (
            "lacks blob",
            Box::new(move |_, m, _, _| m["layers"][0]["digest"] = other.into()),
        ),
        (
            "size mismatch",
            Box::new(|_, m, _, _| m["layers"][0]["size"] = 3.into()),
        ),
        (
            "no single meaning",
            Box::new(|_, m, _, _| m["manifests"] = json!([])),
        ),
        (
            "schema 1",
            Box::new(|_, m, _, _| m["schemaVersion"] = 1.into()),
        ),
        (
            "unsupported",
            Box::new(|_, m, _, _| {
                m["layers"][0]["mediaType"] =
                    "application/vnd.oci.image.layer.v1.tar+encrypted".into()
            }),
        ),
        (
            "no image",
            Box::new(|_, m, _, _| {
                m["config"] = descriptor(
                    "application/vnd.example+json",
                    &tar_of(&[("file", b"content")]),
                )
            }),
        ),
        (
            "lacks blob",
            Box::new(|_, _, _, layer| layer.extend([0; 512])),
        ),
    ];
    for (words, change) in cases {
        let text = refused(&layout(change));
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}

#[test]
fn layers_that_unpack_to_something_else() {
    let layer = tar_of(&[("file", b"content")]);
    let mut packed = orlop_image::compress(Vec::new(), Compression::Gzip).unwrap();
    std::io::Write::write_all(&mut packed, &tar_of(&[("file", b"evil")])).unwrap();
    let packed = packed.finish().unwrap();
    let lie = |_: &mut Value, m: &mut Value, _: &mut Value, blob: &mut Vec<u8>| {
        m["layers"][0] = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed);
        *blob = packed.clone();
    };
    let archive = layout(lie);
    let text = refused(&archive);
    assert!(
        text.contains(digest::of(&layer).as_ref()) && text.contains("digest mismatch"),
        "{text}"
    );
    // A caller that unpacks right away compares there.
    let s = scratch();
    let mut options = LoadOptions::default();
    options.verify_diff_ids = false;
    load(&archive[..], &s.store, &options).unwrap();
}

/// A layer of a few kilobytes that unpacks to 64 MiB, and an archive packed likewise.
#[test]
fn bombs_stop_at_the_limit() {
    let zeros = tar_of(&[("zeros", &vec![0; 64 << 20])]);
    let pack = |bytes: &[u8]| {
        let mut packed = orlop_image::compress(Vec::new(), Compression::Zstd).unwrap();
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };
    let bomb = pack(&zeros);
    assert!(bomb.len() < 64 << 10);
    let archive = layout(|c, m, _, blob| {
        c["rootfs"]["diff_ids"][0] = digest::of(&zeros).to_string().into();
        m["layers"][0] = descriptor("application/vnd.oci.image.layer.v1.tar+zstd", &bomb);
        *blob = bomb.clone();
    });
    let s = scratch();
    let mut options = LoadOptions::default();
    options.max_bytes = Some(1 << 20);
    for bytes in [
        &archive,
        &pack(&tar_of(&[("oci-layout", &vec![0; 4 << 20][..])])),
        &bomb,
    ] {
        let text = chain(&load(&bytes[..], &s.store, &options).unwrap_err());
        assert!(text.contains("larger than the limit"), "{text}");
        assert_empty(&s.store);
    }
    options.max_bytes = Some(65 << 20);
    load(&archive[..], &s.store, &options).unwrap();
}

#[test]
fn archives_that_are_something_else() {
    let hex = "0".repeat(64);
    for (files, words) in [
        (&[][..], "neither index.json"),
        (&[("readme", &b"x"[..])][..], "neither index.json"),
        (&[("etc/passwd", b"root")], "import it"),
        (&[("index.json", b"{}")], "no oci-layout"),
        (
            &[("oci-layout", b"{}"), ("index.json", b"{}")],
            "no imageLayoutVersion",
        ),
        (
            &[
                ("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#),
                ("index.json", b"{}"),
            ],
            "2.0.0",
        ),
        (
            &[
                ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
                ("index.json", b"{}"),
            ],
            "neither config",
        ),
        (
            &[
                ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
                ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
            ],
            "it has no image",
        ),
        (&[("manifest.json", b"[]")], "it has no image"),
        (&[("manifest.json", b"{")], "parsing manifest.json"),
        (
            &[("manifest.json", b"[]"), ("manifest.json", b"[]")],
            "twice",
        ),
        (
            &[("manifest.json", br#"[{"Config":"c.json","Layers":[]}]"#)],
            "lacks \"c.json\"",
        ),
        (
            &[("manifest.json", br#"[{"Config":"../c","Layers":[]}]"#)],
            "leads out",
        ),
        (
            &[(
                "manifest.json",
                br#"[{"Config":"/etc/passwd","Layers":[]}]"#,
            )],
            "leads out",
        ),
        (
            &[
                (
                    "manifest.json",
                    br#"[{"Config":"c","RepoTags":["../x"],"Layers":[]}]"#,
                ),
                ("c", b"{}"),
            ],
            "invalid image reference",
        ),
        (
            &[
                ("manifest.json", br#"[{"Config":"c","Layers":[]}]"#),
                ("c", b"not json"),
            ],
            "parsing image config",
        ),
        (
            &[
                ("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#),
                ("c", br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#),
            ],
            "1 layers and the config 0",
        ),
        (
            &[("repositories", br#"{"a":{"b":"../../x"}}"#)],
            "no layer id",
        ),
        (&[("blobs/sha256/abc", b"x")], "invalid digest"),
        (&[(&format!("blobs/sha256/{hex}"), b"x")], "digest mismatch"),
        (&[(&format!("blobs/md5/{hex}"), b"x")], "not supported"),
        (
            &[
                (
                    "manifest.json",
                    format!(r#"[{{"Config":"{hex}.json","Layers":[]}}]"#).as_bytes(),
                ),
                (&format!("{hex}.json"), b"{}"),
            ],
            "digest mismatch",
        ),
    ] {
        let text = refused(&tar_of(files));
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
    assert!(
        refused(
            b"this is no tar at all, but it is long enough to be read as a header block"
                .repeat(10)
                .as_slice()
        )
        .contains("archive")
    );
    let mut device = tar::Header::new_gnu();
    device.set_entry_type(tar::EntryType::Char);
    device.set_size(0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut device, "null", std::io::empty())
        .unwrap();
    assert!(refused(&tar.into_inner().unwrap()).contains("neither a file"));
}

#[test]
fn links_that_lead_astray() {
    for (path, target, words) in [
        ("a/layer.tar", "../../../etc/passwd", "leads out"),
        ("a/layer.tar", "/etc/passwd", "leads out"),
        ("a/layer.tar", "layer.tar", "circle"),
        ("a/layer.tar", "../b/layer.tar", "lacks"),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, path, target).unwrap();
        let diff_id = digest::of(b"x");
        let config = json!({"rootfs": {"type": "layers", "diff_ids": [diff_id]}}).to_string();
        let manifest = json!([{"Config": "c", "Layers": ["a/layer.tar"]}]).to_string();
        for (name, bytes) in [("c", config), ("manifest.json", manifest)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes.as_bytes())
                .unwrap();
        }
        let text = refused(&tar.into_inner().unwrap());
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}

#[test]
fn a_failed_load_takes_nothing_that_was_there() {
    let s = scratch();
    small_image(&s.store, "good", Compression::Gzip);
    let untagged = s
        .store
        .put(orlop_image::MediaType::ImageConfig, b"a container's")
        .unwrap();
    let before = sorted(&s.store);
    let archive = good();
    let Scratch { store, dir: _dir } = s;
    let store_again = Store::open(store.path()).unwrap();
    drop(store);
    let error = load(
        &archive[..archive.len() * 2 / 3],
        &store_again,
        &LoadOptions::default(),
    );
    assert!(
        matches!(
            error,
            Err(Error::Archive { .. } | Error::Entry { .. } | Error::Read { .. })
        ),
        "{error:?}"
    );
    assert_eq!(sorted(&store_again), before);
    assert!(
        store_again.has(untagged.digest()),
        "what no tag leads to may be a container's"
    );
}

fn sorted(store: &Store) -> Vec<String> {
    let mut all: Vec<String> = store
        .blobs()
        .unwrap()
        .into_iter()
        .map(|(digest, _)| digest.to_string())
        .collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn documents_of_any_kind_never_panic(
        name in prop::sample::select(vec!["manifest.json", "repositories", "index.json", "oci-layout"]),
        text in "[\\[\\]{}a-zA-Z0-9\":,./ ]{0,80}",
    ) {
        let s = scratch();
        let files = [("oci-layout", &br#"{"imageLayoutVersion":"1.0.0"}"#[..]), (name, text.as_bytes())];
        let files = if name == "oci-layout" { &files[1..] } else { &files[..] };
        let _ = load(&tar_of(files)[..], &s.store, &LoadOptions::default());
        assert_empty(&s.store);
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        let s = scratch();
        prop_assert!(load(&bytes[..], &s.store, &LoadOptions::default()).is_err());
        assert_empty(&s.store);
    }
}
