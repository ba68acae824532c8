//! Images made here, brought into a registry by skopeo, and a place to pull them to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use orlop_image::builder::ImageBuilder;
use orlop_image::{
    Compression, Descriptor, MediaType, Platform, Reference, Store, platform, reference,
};
use orlop_registry_client::{Client, Retry, Timeouts};
use orlop_runtime::images::Images;
use orlop_unionfs::{Options, Rootfs, Snapshots};

use crate::docker_registry::{Config, DockerRegistry};

/// A file of a layer: path and content; content `None` makes a directory.
pub(crate) type Entry<'a> = (&'a str, Option<Vec<u8>>);

pub(crate) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if content.is_some() { 0o644 } else { 0o755 });
        header.set_mtime(1_700_000_000);
        let data = content.clone().unwrap_or_default();
        header.set_size(data.len() as u64);
        header.set_entry_type(match content {
            Some(_) => tar::EntryType::Regular,
            None => tar::EntryType::Directory,
        });
        builder
            .append_data(&mut header, path, data.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

/// Bytes that no compression makes smaller.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Where images are made.
pub(crate) struct Source {
    _directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) registry: DockerRegistry,
}

impl Source {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("source")).unwrap();
        Self {
            _directory: directory,
            store,
            registry: DockerRegistry::start(&Config::default()),
        }
    }

    /// An image of layers, tagged `name`.
    pub(crate) fn image(&self, name: &str, wanted: Platform, layers: &[Vec<u8>]) -> Descriptor {
        let mut builder = ImageBuilder::new(wanted)
            .compression(Compression::Gzip)
            .command(["/bin/true"]);
        for layer in layers {
            builder = builder.layer("a test", layer.as_slice());
        }
        builder
            .commit(&self.store, Some(&reference::parse(name).unwrap()))
            .unwrap()
    }

    /// An index of images, tagged `name`.
    pub(crate) fn index(&self, name: &str, of: &[(Descriptor, Platform)]) -> Descriptor {
        let manifests: Vec<String> = of
            .iter()
            .map(|(descriptor, wanted)| {
                let mut descriptor = descriptor.clone();
                descriptor.set_platform(Some(wanted.clone()));
                serde_json::to_string(&descriptor).unwrap()
            })
            .collect();
        let media_type = MediaType::ImageIndex;
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#,
            manifests.join(",")
        );
        let descriptor = self.store.put(media_type, text.as_bytes()).unwrap();
        self.store
            .tag(&reference::parse(name).unwrap(), &descriptor)
            .unwrap();
        descriptor
    }

    /// Copies it into the registry by skopeo.
    pub(crate) fn publish(&self, name: &str, more: &[&str]) -> Reference {
        let from = format!(
            "oci:{}:{}",
            self.store.path().display(),
            reference::parse(name).unwrap()
        );
        let to = format!("docker://localhost:{}/{name}", self.registry.port);
        let output = Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
            ])
            .args(more)
            .args([from, to])
            .output()
            .expect("skopeo is needed for this test: apt install skopeo");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.registry.reference(name)
    }

    /// The registry's own file of a blob.
    pub(crate) fn registry_blob(&self, digest: &orlop_image::Digest) -> PathBuf {
        let hex = digest.digest();
        let blobs = self
            .registry
            .directory
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

/// Where they are pulled to.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) images: Images,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let images = open(directory.path());
        Self { directory, images }
    }

    /// Another handle, as another process would have.
    pub(crate) fn again(&self) -> Images {
        open(self.directory.path())
    }

    /// All regular files below both stores that are not their own bookkeeping.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for below in [
            "images/blobs",
            "images/ingest",
            "images/tags",
            "images/leases",
            "snapshots",
        ] {
            walk(&self.directory.path().join(below), &mut found);
        }
        found.retain(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            !["lock", "store.json", "version", "config.json", "format"].contains(&name.as_str())
        });
        found
    }

    /// After a pull that failed or was dropped: nothing stays but what gc finds, and it finds all.
    pub(crate) fn assert_clean(&self) {
        // Threads of a dropped pull end a moment later.
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            // The handle's own lease keeps what came in through it for as long as it lives.
            self.again().gc().unwrap();
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < patience, "left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn open(directory: &Path) -> Images {
    let snapshots = Snapshots::open(&directory.join("snapshots"), Options::default()).unwrap();
    Images::new(Store::open(&directory.join("images")).unwrap(), snapshots)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

pub(crate) fn client() -> Client {
    let timeouts = Timeouts {
        idle: Duration::from_secs(5),
        ..Timeouts::default()
    };
    let retry = Retry {
        times: 1,
        ..Retry::default()
    };
    Client::builder()
        .timeouts(timeouts)
        .retry(retry)
        .build()
        .unwrap()
}

pub(crate) fn host() -> Platform {
    platform::host()
}

/// A path inside a root, if this process can look into it.
pub(crate) fn inside(root: &Rootfs, path: &str) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    match root {
        Rootfs::Detached(mount) => Some(PathBuf::from(format!(
            "/proc/self/fd/{}/{path}",
            mount.as_raw_fd()
        ))),
        Rootfs::Directory(directory) => Some(directory.join(path)),
        _ => None,
    }
}
