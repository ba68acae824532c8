//! Both ways between Orlop and the tools its users already have.

use std::path::Path;
use std::process::Command;

use orlop_image::{Compression, Export, LoadOptions, Store, load_path, platform, reference, save};

use crate::support::{root, scratch, small_image, succeed, tool};

fn skopeo() -> Command {
    let mut command = tool("skopeo", "skopeo");
    // The machine's policy is not what is tested.
    command.arg("--insecure-policy");
    command
}

fn archive(store: &Store, names: &[&str], path: &Path) {
    let images: Vec<Export> = names
        .iter()
        .map(|name| {
            Export::named(store, &reference::parse(name).unwrap())
                .unwrap()
                .unwrap()
        })
        .collect();
    save(
        store,
        &images,
        &platform::host(),
        std::fs::File::create(path).unwrap(),
    )
    .unwrap();
}

#[test]
fn skopeo_reads_the_store_itself() {
    let s = scratch();
    let descriptor = small_image(&s.store, "busybox:1", Compression::Gzip);
    small_image(&s.store, "localhost:5000/other:2", Compression::Zstd);
    let source = format!(
        "oci:{}:docker.io/library/busybox:1",
        s.store.path().display()
    );
    let output = succeed(skopeo().args(["inspect", "--raw", &source]));
    assert_eq!(
        orlop_image::digest::of(&output.stdout),
        *descriptor.digest()
    );
    let target = s.dir.path().join("copy");
    succeed(
        skopeo()
            .arg("copy")
            .arg("--all")
            .arg(&source)
            .arg(format!("oci:{}:x", target.display())),
    );
    let to = scratch();
    let loaded = load_path(&target, &to.store, &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].descriptor.digest(), descriptor.digest());
}

#[test]
fn skopeo_reads_what_orlop_saves_and_the_other_way_round() {
    let s = scratch();
    let descriptor = small_image(&s.store, "busybox:1", Compression::Gzip);
    let image = s
        .store
        .image(descriptor.digest(), &platform::host())
        .unwrap();
    let path = s.dir.path().join("saved.tar");
    archive(&s.store, &["busybox:1"], &path);
    for (source, exact) in [("oci-archive", true), ("docker-archive", false)] {
        for target in ["oci", "oci-archive", "docker-archive", "dir"] {
            let copy = s.dir.path().join(format!("{source}-{target}"));
            let name = if target == "dir" { "" } else { ":busybox:1" };
            succeed(
                skopeo()
                    .arg("copy")
                    .arg(format!("{source}:{}", path.display()))
                    .arg(format!("{target}:{}{name}", copy.display())),
            );
            if target == "dir" {
                continue;
            }
            let to = scratch();
            let loaded =
                load_path(&copy, &to.store, &LoadOptions::default()).unwrap_or_else(|error| {
                    panic!("{source} {target}: {}", crate::support::chain(&error))
                });
            assert_eq!(
                loaded[0].names[0].to_string(),
                "docker.io/library/busybox:1",
                "{source} {target}"
            );
            let found = to
                .store
                .image(loaded[0].descriptor.digest(), &platform::host())
                .unwrap();
            // Between formats skopeo writes the config anew.
            if exact == target.starts_with("oci") {
                assert_eq!(found.id(), image.id(), "{source} {target}");
            }
            assert!(found.diff_ids().eq(image.diff_ids()), "{source} {target}");
            if exact && target.starts_with("oci") {
                assert_eq!(found.digest(), image.digest(), "{source} {target}");
            }
        }
    }
}

#[test]
fn podman_loads_what_orlop_saves_and_the_other_way_round() {
    if !root("podman_loads_what_orlop_saves_and_the_other_way_round") {
        return;
    }
    let s = scratch();
    let ids: Vec<_> = [
        ("localhost/one:1", Compression::Gzip),
        ("docker.io/library/two:2", Compression::Zstd),
    ]
    .iter()
    .map(|(name, compression)| {
        let descriptor = small_image(&s.store, name, *compression);
        s.store
            .image(descriptor.digest(), &platform::host())
            .unwrap()
            .id()
            .clone()
    })
    .collect();
    archive(
        &s.store,
        &["localhost/one:1"],
        &s.dir.path().join("one.tar"),
    );
    archive(
        &s.store,
        &["localhost/one:1", "two:2"],
        &s.dir.path().join("both.tar"),
    );
    tool("podman", "podman");
    // Its own mount and network namespaces, so that nothing of it outlives the test.
    let script = r#"
        set -e
        mount -t tmpfs tmpfs /run
        podman() { command podman --root "$PWD/root" --runroot "$PWD/run" --storage-driver vfs \
            --cgroup-manager cgroupfs --events-backend none "$@"; }
        podman load -q -i one.tar
        podman images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' > one.txt
        podman load -q -i both.tar
        podman images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' > both.txt
        podman save -q --format docker-archive -o docker.tar localhost/one:1
        podman save -q --format oci-archive -o oci.tar localhost/one:1
        podman save -q --multi-image-archive -o multi.tar localhost/one:1 docker.io/library/two:2
    "#;
    succeed(
        tool("unshare", "util-linux")
            .args(["-m", "-n", "sh", "-c", script])
            .current_dir(s.dir.path()),
    );
    let one = s
        .store
        .resolve(&reference::parse("localhost/one:1").unwrap())
        .unwrap()
        .unwrap();
    let image = s.store.image(one.digest(), &platform::host()).unwrap();
    let read = |name: &str| std::fs::read_to_string(s.dir.path().join(name)).unwrap();
    assert!(
        read("one.txt").contains(&format!("localhost/one:1 {}", ids[0])),
        "{}",
        read("one.txt")
    );
    assert!(
        read("both.txt").contains(&format!("docker.io/library/two:2 {}", ids[1])),
        "{}",
        read("both.txt")
    );
    for (file, count) in [("docker.tar", 1), ("oci.tar", 1), ("multi.tar", 2)] {
        let to = scratch();
        let loaded = load_path(&s.dir.path().join(file), &to.store, &LoadOptions::default())
            .unwrap_or_else(|error| panic!("{file}: {}", crate::support::chain(&error)));
        assert_eq!(loaded.len(), count, "{file}");
        let one = to
            .store
            .resolve(&reference::parse("localhost/one:1").unwrap())
            .unwrap()
            .expect(file);
        let found = to.store.image(one.digest(), &platform::host()).unwrap();
        assert!(found.diff_ids().eq(image.diff_ids()), "{file}");
        // podman writes the config anew for an OCI archive.
        if file != "oci.tar" {
            assert_eq!(found.id(), image.id(), "{file}");
        }
    }
}
