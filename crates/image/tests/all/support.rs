//! What the tests share.

use std::path::Path;
use std::process::{Command, Output};

use orlop_image::builder::ImageBuilder;
use orlop_image::{Compression, Descriptor, Store, platform, reference};

pub(crate) struct Scratch {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

/// A store in a directory that goes with the test.
pub(crate) fn scratch() -> Scratch {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&dir.path().join("store")).expect("a new store");
    Scratch { dir, store }
}

/// A tar of files with their content.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, *content)
            .expect("in memory");
    }
    tar.into_inner().expect("in memory")
}

/// An image of two layers, one of them incompressible.
pub(crate) fn small_image(store: &Store, name: &str, compression: Compression) -> Descriptor {
    let noise: Vec<u8> = (0..20_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let one = tar_of(&[("bin/tool", &noise), ("etc/name", name.as_bytes())]);
    let two = tar_of(&[("data", b"second layer")]);
    ImageBuilder::new(platform::host())
        .compression(compression)
        .created(1_700_000_000)
        .layer("one", &one[..])
        .note("nothing")
        .layer("two", &two[..])
        .command(["/bin/tool"])
        .env(["PATH=/bin"])
        .commit(store, Some(&reference::parse(name).expect("a name")))
        .expect("an image")
}

/// The path of a peer tool, or a failure that says what to install.
pub(crate) fn tool(name: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    assert!(
        std::env::split_paths(&path).any(|dir| dir.join(name).is_file()),
        "{name} is needed: apt-get install {package}"
    );
    Command::new(name)
}

pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// `error: cause: cause`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Nothing is in the store: no blob, no unfinished file, no lease, no trash.
pub(crate) fn assert_empty(store: &Store) {
    assert_eq!(store.blobs().unwrap(), [], "blobs");
    assert_eq!(store.tags().unwrap(), [], "tags");
    for dir in ["ingest", "leases", "trash"] {
        assert_eq!(
            names(&store.path().join(dir)),
            Vec::<String>::new(),
            "{dir}"
        );
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Whether this test runs as root; says so where it does not.
pub(crate) fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test}: needs root");
    }
    root
}
