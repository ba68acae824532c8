//! Many processes on one store, some of them killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use orlop_image::{Claim, Store, digest, platform, reference};

use crate::support::{names, scratch};

const ROLE: &str = "ORLOP_IMAGE_TEST_ROLE";
const DIR: &str = "ORLOP_IMAGE_TEST_STORE";

/// The test binary again, running one test as a child with a role.
fn start(role: &str, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "concurrency::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(DIR, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn shared_blob(number: u32) -> Vec<u8> {
    (0..60_000_u32)
        .flat_map(|i| (i ^ number).wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// What the children do; without a role nothing.
#[test]
fn child() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR)) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let store = Store::open(&dir).unwrap();
    let (role, argument) = role.split_once(':').unwrap();
    match role {
        "pull" => pull(&store, argument.parse().unwrap(), argument, 4),
        "share" => pull(&store, 0, argument, 1),
        "gc" => {
            for _ in 0..argument.parse().unwrap() {
                store.gc().unwrap();
            }
        }
        "hold" => hold(&store),
        "tag" => {
            let descriptor = store
                .put(orlop_image::MediaType::ImageManifest, b"{}")
                .unwrap();
            let mut mine = Vec::new();
            for round in 0..20 {
                let name = reference::parse(&format!("tag{argument}:{round}")).unwrap();
                store.tag(&name, &descriptor).unwrap();
                if round % 3 == 0 {
                    store.untag(&name).unwrap();
                } else {
                    mine.push(name.to_string());
                }
                let index = std::fs::read_to_string(dir.join("index.json")).unwrap();
                for name in &mine {
                    assert!(index.contains(name), "another process's index lacks {name}");
                }
            }
        }
        other => panic!("no role {other}"),
    }
}

/// Fetches the same layers as everybody else, in another order, and tags an image of its own.
fn pull(store: &Store, number: u32, name: &str, rounds: u32) {
    let name = reference::parse(&format!("image{name}")).unwrap();
    for round in 1..=rounds {
        let lease = store.lease().unwrap();
        let mut layers = Vec::new();
        for i in 0..6 {
            let bytes = shared_blob((i + number) % 6);
            let digest = digest::of(&bytes);
            if let Claim::Fetch(mut ingest) =
                lease.claim(&digest, Some(bytes.len() as u64)).unwrap()
            {
                println!("fetched {digest}");
                for chunk in bytes.chunks(50_000) {
                    ingest.append(chunk).unwrap();
                    std::thread::yield_now();
                }
                ingest.commit().unwrap();
            }
            layers.push((digest, bytes.len() as u64));
        }
        let mut image =
            orlop_image::builder::ImageBuilder::new(platform::host()).created(i64::from(number));
        for (digest, size) in &layers {
            let blob = orlop_image::Descriptor::new(
                orlop_image::MediaType::ImageLayer,
                *size,
                digest.clone(),
            );
            image = image.stored_layer("x", blob, digest.clone());
        }
        image.commit(&lease, Some(&name)).unwrap();
        drop(lease);
        let found = store.resolve(&name).unwrap().expect("tagged");
        let image = store.image(found.digest(), &platform::host()).unwrap();
        for layer in image.layers() {
            assert!(
                store.has(layer.descriptor.digest()),
                "gc took a layer of a tagged image"
            );
        }
        if round < rounds {
            store.untag(&name).unwrap();
        }
    }
}

/// Leaves something unfinished of every kind, says so, and waits to be killed.
fn hold(store: &Store) {
    let lease = store.lease().unwrap();
    let mut named = lease
        .ingest(Some((&digest::of(b"never whole"), Some(11))))
        .unwrap();
    named.append(b"never").unwrap();
    let mut unnamed = lease.ingest(None).unwrap();
    unnamed.append(&[7; 100_000]).unwrap();
    lease
        .put(
            orlop_image::MediaType::ImageConfig,
            b"committed, never tagged",
        )
        .unwrap();
    println!("holding");
    std::thread::sleep(std::time::Duration::from_secs(60));
    drop((named, unnamed));
}

#[test]
fn many_processes_pull_and_collect_at_once() {
    let s = scratch();
    let mut children: Vec<Child> = (0..6)
        .map(|number| start(&format!("pull:{number}"), s.store.path()))
        .collect();
    children.push(start("gc:40", s.store.path()));
    children.push(start("gc:40", s.store.path()));
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(s.store.tags().unwrap().len(), 6);
    let report = s.store.fsck(false).unwrap();
    assert_eq!(report.damage, []);
    s.store.gc().unwrap();
    // Six layers, and a config and a manifest an image.
    assert_eq!(s.store.blobs().unwrap().len(), 18);
    let index = std::fs::read_to_string(s.store.path().join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    assert_eq!(
        index["manifests"].as_array().map(Vec::len),
        Some(6),
        "the index missed a tag"
    );
}

#[test]
fn the_index_misses_no_tag_of_any_process() {
    let s = scratch();
    for round in 0..3 {
        let children: Vec<Child> = (0..5)
            .map(|i| start(&format!("tag:{round}-{i}"), s.store.path()))
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let index = std::fs::read_to_string(s.store.path().join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let tags = s.store.tags().unwrap().len();
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(tags));
        assert_eq!(tags, (round + 1) * 5 * 13);
    }
}

#[test]
fn two_processes_share_one_download() {
    let s = scratch();
    let children: Vec<Child> = (0..4)
        .map(|i| start(&format!("share:{i}"), s.store.path()))
        .collect();
    let mut fetched = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The test harness puts its own words before the first line.
        fetched.extend(
            text.lines()
                .filter_map(|line| line.split_once("fetched "))
                .map(|(_, digest)| digest.to_owned()),
        );
    }
    fetched.sort();
    let all = fetched.len();
    fetched.dedup();
    // Without gc beside them every layer comes once, whoever fetched it.
    assert_eq!((fetched.len(), all), (6, 6), "{fetched:?}");
}

#[test]
fn what_a_killed_process_leaves_is_collected_and_not_before() {
    let s = scratch();
    let mut child = start("hold:", s.store.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("holding")),
        "the child did not start"
    );
    let committed = digest::of(b"committed, never tagged");
    let report = s.store.gc().unwrap();
    assert_eq!(
        (report.leftovers, report.removed.len()),
        (0, 0),
        "it is alive: {report:?}"
    );
    assert!(s.store.has(&committed));
    assert_eq!(names(&s.store.path().join("ingest")).len(), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let report = s.store.gc().unwrap();
    assert_eq!(report.leftovers, 2, "{report:?}");
    assert_eq!(report.removed, [committed]);
    crate::support::assert_empty(&s.store);
}

#[test]
fn the_next_process_resumes_what_a_killed_one_began() {
    let s = scratch();
    let mut child = start("hold:", s.store.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("holding")),
        "the child did not start"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let digest = digest::of(b"never whole");
    let Claim::Fetch(mut ingest) = s.store.claim(&digest, Some(11)).unwrap() else {
        panic!("it was not whole")
    };
    assert_eq!(ingest.resume().unwrap(), 5);
    ingest.append(b" whole").unwrap();
    ingest.commit().unwrap();
    assert_eq!(s.store.read(&digest).unwrap(), b"never whole");
}

/// Kills a process that pulls at many moments; whatever it left, the store is sound and gc empties it.
#[test]
fn kill_at_any_moment_leaves_a_sound_store() {
    let s = scratch();
    for round in 0..12_u64 {
        let mut child = start("pull:1", s.store.path());
        std::thread::sleep(std::time::Duration::from_millis(4 + 5 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(s.store.fsck(false).unwrap().damage, [], "round {round}");
    }
    for tag in s.store.tags().unwrap() {
        s.store.untag(&tag.name).unwrap();
    }
    s.store.gc().unwrap();
    crate::support::assert_empty(&s.store);
    assert_eq!(names(&s.store.path().join("tags")), Vec::<String>::new());
}
