//! A full file system: in a mount namespace of its own, so nothing of it is seen outside.

use std::path::PathBuf;
use std::process::Command;

use orlop_image::{ImportOptions, LoadOptions, Store, digest, import, load};

use crate::support::{chain, names, root, succeed, tar_of, tool};

const DIR: &str = "ORLOP_IMAGE_TEST_FULL";

#[test]
fn no_space_is_a_clear_error_and_leaves_nothing() {
    if !root("no_space_is_a_clear_error_and_leaves_nothing") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=2m,mode=700 tmpfs "$1" && exec "$2" --exact nospace::child --nocapture"#;
    let exe = std::env::current_exe().unwrap();
    let mut command: Command = tool("unshare", "util-linux");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(exe)
        .env(DIR, dir.path());
    let output = succeed(&mut command);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("all of it held"), "{text}");
}

/// What runs on the small file system; without its environment nothing.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let store = Store::open(&dir.join("store")).unwrap();
    let noise: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let full = |store: &Store, error: orlop_image::Error| {
        let text = chain(&error);
        assert!(
            text.contains("No space left on device") && text.contains("ingest"),
            "{text}"
        );
        assert_eq!(names(&store.path().join("ingest")), Vec::<String>::new());
    };
    let mut ingest = store
        .ingest(Some((&digest::of(&noise), Some(noise.len() as u64))))
        .unwrap();
    let error = ingest.append(&noise).unwrap_err();
    drop(ingest);
    full(&store, error);
    let big = tar_of(&[("blob", &noise)]);
    full(
        &store,
        load(&big[..], &store, &LoadOptions::default()).unwrap_err(),
    );
    full(
        &store,
        import(&big[..], &store, ImportOptions::default()).unwrap_err(),
    );
    drop(store);
    let store = Store::open(&dir.join("store")).unwrap();
    store.gc().unwrap();
    crate::support::assert_empty(&store);
    // What fits still works.
    let name = orlop_image::reference::parse("small").unwrap();
    let mut options = ImportOptions::default();
    options.name = Some(name.clone());
    import(&tar_of(&[("bin/sh", b"small")])[..], &store, options).unwrap();
    // A tag that finds no room leaves the old one.
    let before = store.resolve(&name).unwrap();
    let rest: Vec<u8> = vec![1; 4 << 20];
    let _ = std::fs::write(dir.join("filler"), &rest);
    let moved = orlop_image::Descriptor::new(
        orlop_image::MediaType::ImageManifest,
        1,
        before.as_ref().unwrap().digest().clone(),
    );
    assert!(store.tag(&name, &moved).is_err());
    assert_eq!(store.resolve(&name).unwrap(), before);
    println!("all of it held");
}
