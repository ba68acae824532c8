//! Several processes in one store: killed, in parallel, without privilege, without space.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use orlop_unionfs::{ApplyLimits, Encoding, Error, MountOptions, Options, Rootfs, Snapshots};

use crate::need_root;
use crate::support::*;

/// Set for a process that is to act as one of the parts below, with the store as its value's rest.
const ROLE: &str = "ORLOP_UNIONFS_TEST_ROLE";

/// This test binary again, in another part.
pub(crate) fn part(role: &str, store: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args([
            "--exact",
            "processes::play_a_part",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, format!("{role}:{}", store.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Does nothing unless started by one of the tests below.
#[test]
fn play_a_part() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (role, path) = role.split_once(':').unwrap();
    let path = Path::new(path);
    let open = || Snapshots::open(path, Options::default()).unwrap();
    match role {
        "apply-from-stdin" => {
            let result = open().apply(
                None,
                &id(1),
                std::io::stdin().lock(),
                &ApplyLimits::default(),
            );
            println!("applied: {}", result.is_ok());
        }
        "lease" => {
            let snapshots = open();
            let _lease = snapshots.lease(&[&id(1)]).unwrap();
            println!("ready");
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        "commit-many" => {
            let snapshots = open();
            for n in 1..=20 {
                let parent = (n > 1).then(|| id(n - 1));
                let tar = Tar::new().file(&format!("f{n}"), "x");
                snapshots
                    .apply(
                        parent.as_deref(),
                        &id(n),
                        &tar.bytes()[..],
                        &ApplyLimits::default(),
                    )
                    .unwrap();
                let key = format!("k{n}");
                match snapshots.prepare(&key, Some(&id(n))) {
                    Ok(_) => println!("prepared {key}"),
                    Err(Error::Exists { .. }) => {}
                    Err(e) => panic!("{e:?}"),
                }
            }
        }
        "fill" => fill_a_small_file_system(path),
        "user" => without_privilege(path),
        other => panic!("no such part: {other}"),
    }
}

fn wait_for(child: &mut Child, what: &str) {
    let mut seen = Vec::new();
    let out = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while !seen.ends_with(what.as_bytes()) {
        assert_eq!(
            out.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&seen)
        );
        seen.push(byte[0]);
    }
}

fn finish(child: Child) -> String {
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

#[test]
fn killed_in_mid_apply() {
    need_root!("killed_in_mid_apply");
    let s = store();
    let mut child = part("apply-from-stdin", s.snapshots.path())
        .spawn()
        .unwrap();
    let mut tar = Tar::new().dir("d/");
    for n in 0..200 {
        tar = tar.file(&format!("d/f{n}"), &"x".repeat(4000));
    }
    child.stdin.as_mut().unwrap().write_all(&tar.raw()).unwrap();
    // It has unpacked something and waits for more.
    while s.entries("staging") == 0 || !has_file(&s.path("staging"), "f100") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Alive, it is left alone.
    let report = s.snapshots.gc(&HashSet::new()).unwrap();
    assert_eq!(report.unfinished, 0);
    assert_eq!(s.entries("staging"), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let report = s.snapshots.gc(&HashSet::new()).unwrap();
    assert_eq!(report.unfinished, 1);
    for dir in ["staging", "trash", "t", "records", "active", "leases"] {
        assert_eq!(s.entries(dir), 0, "{dir}");
    }
    assert!(!s.snapshots.has(&id(1)));
}

fn has_file(dir: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|e| {
        e.file_name() == name
            || e.file_type().is_ok_and(|t| t.is_dir()) && has_file(&e.path(), name)
    })
}

#[test]
fn a_lease_ends_with_its_process() {
    need_root!("a_lease_ends_with_its_process");
    let s = store();
    let mut child = part("lease", s.snapshots.path()).spawn().unwrap();
    wait_for(&mut child, "ready");
    // Leased before it was there.
    s.layer(None, &id(1), &Tar::new().file("a", "1"));
    assert!(s.snapshots.gc(&HashSet::new()).unwrap().layers.is_empty());
    assert!(s.snapshots.has(&id(1)));
    child.kill().unwrap();
    child.wait().unwrap();
    let report = s.snapshots.gc(&HashSet::new()).unwrap();
    assert_eq!((report.layers, report.leases), (vec![id(1)], 1));
    assert!(!s.snapshots.has(&id(1)));
    assert_eq!(
        (s.entries("t"), s.entries("trash"), s.entries("leases")),
        (0, 0, 0)
    );
}

#[test]
fn processes_commit_the_same_layers() {
    need_root!("processes_commit_the_same_layers");
    let s = fast_store();
    let _lease = s.snapshots.lease(
        &(1..=20)
            .map(id)
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let children: Vec<_> = (0..4)
        .map(|_| part("commit-many", s.snapshots.path()).spawn().unwrap())
        .collect();
    // And one that collects all the time.
    for _ in 0..20 {
        s.snapshots.gc(&HashSet::new()).unwrap();
    }
    let mut prepared = HashSet::new();
    for child in children {
        for line in finish(child).lines() {
            // The test harness begins a line of its own without ending it.
            if let Some((_, key)) = line.split_once("prepared ") {
                assert!(prepared.insert(key.to_owned()), "{key} twice");
            }
        }
    }
    assert_eq!(prepared.len(), 20);
    assert_eq!(s.snapshots.layers().unwrap().len(), 20);
    assert_eq!(
        (s.entries("t"), s.entries("staging"), s.entries("trash")),
        (20, 0, 0)
    );
    let root = detached(&s.snapshots.active("k20").unwrap());
    assert_eq!(names(&root, ".").len(), 20);
}

#[test]
fn the_collector_keeps_what_is_needed() {
    need_root!("the_collector_keeps_what_is_needed");
    let s = fast_store();
    for (parent, n) in [
        (None, 1),
        (Some(1), 2),
        (Some(2), 3),
        (Some(1), 4),
        (None, 5),
        (Some(5), 6),
    ] {
        s.layer(
            parent.map(id).as_deref(),
            &id(n),
            &Tar::new().file("f", "x"),
        );
    }
    s.snapshots.view("v", &id(6)).unwrap();
    // A tree of a commit that was cut short before its record.
    std::fs::create_dir(s.path("t/zz")).unwrap();
    let report = s.snapshots.gc(&HashSet::from([id(3)])).unwrap();
    assert_eq!((report.layers, report.trees), (vec![id(4)], 1));
    let left: Vec<_> = s
        .snapshots
        .layers()
        .unwrap()
        .into_iter()
        .map(|l| l.chain_id)
        .collect();
    assert_eq!(left, [1, 2, 3, 5, 6].map(id));
    s.snapshots.remove("v").unwrap();
    assert_eq!(s.snapshots.gc(&HashSet::new()).unwrap().layers.len(), 5);
    assert_eq!(s.entries("t"), 0);
    assert!(matches!(
        s.snapshots.prepare("x", Some(&id(1))),
        Err(Error::NoLayer { .. })
    ));
    // What remains of a snapshot after a power cut can be removed.
    std::fs::create_dir(s.path("active/torn")).unwrap();
    std::fs::write(s.path("active/torn/snapshot.json"), "").unwrap();
    assert_eq!(s.snapshots.gc(&HashSet::new()).unwrap().damaged, ["torn"]);
    s.snapshots.remove("torn").unwrap();
    assert_eq!(s.entries("active"), 0);
}

#[test]
fn keys_and_kinds_are_checked() {
    need_root!("keys_and_kinds_are_checked");
    let s = store();
    s.layer(None, &id(1), &Tar::new().file("a", "1"));
    for bad in ["", "..", "a/b", "/etc", "a\0", "../active/x"] {
        assert!(
            matches!(
                s.snapshots.prepare(bad, None),
                Err(Error::InvalidKey { .. })
            ),
            "{bad:?}"
        );
        assert!(
            matches!(s.snapshots.remove(bad), Err(Error::InvalidKey { .. })),
            "{bad:?}"
        );
        assert!(
            matches!(s.snapshots.usage(bad), Err(Error::InvalidKey { .. })),
            "{bad:?}"
        );
    }
    for bad in ["", "sha256:", "../../etc", "sha256:../x"] {
        assert!(!s.snapshots.has(bad));
        let tar = Tar::new().bytes();
        let error = s
            .snapshots
            .apply(None, bad, &tar[..], &ApplyLimits::default())
            .unwrap_err();
        assert!(matches!(error, Error::InvalidChainId { .. }), "{bad:?}");
        assert!(matches!(
            s.snapshots.prepare("k", Some(bad)),
            Err(Error::InvalidChainId { .. })
        ));
    }
    s.snapshots.prepare("k", None).unwrap();
    assert!(matches!(
        s.snapshots.prepare("k", None),
        Err(Error::Exists { .. })
    ));
    s.snapshots.view("v", &id(1)).unwrap();
    assert!(matches!(
        s.snapshots.active("v"),
        Err(Error::ReadOnly { .. })
    ));
    assert!(matches!(
        s.snapshots.diff("v", Vec::new()),
        Err(Error::ReadOnly { .. })
    ));
    assert!(matches!(
        s.snapshots.commit("v", &id(2)),
        Err(Error::ReadOnly { .. })
    ));
    assert!(matches!(
        s.snapshots.remove("none"),
        Err(Error::NoSnapshot { .. })
    ));
    let keys: Vec<_> = s
        .snapshots
        .list()
        .unwrap()
        .into_iter()
        .map(|i| (i.key, i.writable, i.layers))
        .collect();
    assert_eq!(keys, [("k".into(), true, 0), ("v".into(), false, 1)]);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        std::fs::metadata(s.snapshots.path()).unwrap().mode() & 0o7777,
        0o700
    );
}

#[test]
fn no_space_left() {
    need_root!("no_space_left");
    let dir = tempfile::tempdir().unwrap();
    // The small file system is mounted in a mount namespace that ends with the process.
    let mut command = Command::new("unshare");
    let exe = std::fs::read_link("/proc/self/exe").unwrap();
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc"])
        .arg("mount -t tmpfs -o size=4m,nr_inodes=1k,mode=700 tmpfs \"$1\"; exec \"$2\" --exact processes::play_a_part --nocapture")
        .arg("sh")
        .args([dir.path(), &exe])
        .env(ROLE, format!("fill:{}", dir.path().join("store").display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let text = finish(
        command
            .spawn()
            .expect("unshare is missing: apt install util-linux"),
    );
    assert!(text.contains("all of it"), "{text}");
}

fn fill_a_small_file_system(path: &Path) {
    let snapshots = Snapshots::open(path, Options::default()).unwrap();
    let count = |dir: &str| std::fs::read_dir(path.join(dir)).unwrap().count();
    let big = Tar::new()
        .file("fits", "x")
        .file("usr/lib/big", &"x".repeat(8 << 20))
        .bytes();
    let mut many = Tar::new();
    for n in 0..2000 {
        many = many.file(&format!("f{n}"), "");
    }
    for (archive, place) in [(big, "usr/lib/big"), (many.bytes(), "f")] {
        let error = snapshots
            .apply(None, &id(1), &archive[..], &ApplyLimits::default())
            .unwrap_err();
        let Error::Io { path, source, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{error:?}");
        assert!(path.to_string_lossy().starts_with(place), "{error:?}");
        assert_eq!((count("staging"), count("t"), count("records")), (0, 0, 0));
    }
    let small = Tar::new().file("fits", "x").bytes();
    snapshots
        .apply(None, &id(1), &small[..], &ApplyLimits::default())
        .unwrap();
    println!("all of it");
}

#[test]
fn an_ordinary_user() {
    need_root!("an_ordinary_user");
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(12345), Some(12345)).unwrap();
    let mut command = part("user", &dir.path().join("store"));
    command.uid(12345).gid(12345).current_dir("/");
    let text = finish(command.spawn().unwrap());
    assert!(text.contains("all of it"), "{text}");
    // Its store is gone with everything in it, removed by itself.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// The whole way without any privilege: runs as an ordinary user too.
fn without_privilege(path: &Path) {
    let snapshots = Snapshots::open(path, Options::default()).unwrap();
    assert_eq!(snapshots.encoding(), Encoding::User);
    let base = Tar::new()
        .entry("./", b'5', |h| h.set_mode(0o555), b"")
        .entry("etc/", b'5', |h| h.set_mode(0o555), b"")
        .file("etc/a", "1")
        .file("etc/b", "2")
        .entry("shadow", b'0', |h| h.set_mode(0), b"secret")
        .entry("home", b'0', |h| h.set_uid(1000), b"owned")
        .entry(
            "null",
            b'3',
            |h| {
                h.set_device_major(1).unwrap();
                h.set_device_minor(3).unwrap()
            },
            b"",
        )
        .pax("SCHILY.xattr.user.k", b"v")
        .file("x", "")
        .pax("SCHILY.xattr.trusted.k", b"v")
        .file("y", "")
        .dir("d/")
        .file("d/low", "");
    let applied = snapshots
        .apply(None, &id(1), &base.bytes()[..], &ApplyLimits::default())
        .unwrap();
    let warnings = &applied.warnings;
    assert_eq!(
        (warnings.owners, warnings.devices, warnings.attributes),
        (1, 1, 1),
        "{warnings:?}"
    );
    assert_eq!(warnings.examples, ["null", "y: trusted.k"]);
    let upper = Tar::new()
        .file("etc/.wh.a", "")
        .file("d/.wh..wh..opq", "")
        .file("d/new", "")
        .link("etc/link", "etc/b");
    snapshots
        .apply(
            Some(&id(1)),
            &id(2),
            &upper.bytes()[..],
            &ApplyLimits::default(),
        )
        .unwrap();

    let active = snapshots.prepare("c", Some(&id(2))).unwrap();
    for _ in 0..2 {
        let Rootfs::Recipe(recipe) = active.mount(&MountOptions::default()).unwrap() else {
            panic!("not a recipe")
        };
        let out = mount_recipe_with(
            &["--user", "--map-root-user", "--mount"],
            &recipe,
            &path.parent().unwrap().join("m"),
            "chmod u+w . etc; ls etc d; echo hi >etc/new; rm -rf etc/b d; mkdir d; stat -c %u home",
        );
        assert!(out.starts_with("d:\n") && out.ends_with("\n0\n"), "{out}");
    }
    let mut diff = Vec::new();
    snapshots.diff("c", &mut diff).unwrap();
    let listed = String::from_utf8(gnu_tar(&["-tv", "--numeric-owner"], &diff)).unwrap();
    for entry in ["etc/.wh.b", "d/.wh..wh..opq", "etc/new"] {
        assert!(listed.contains(entry), "{entry}: {listed}");
    }
    assert!(listed.lines().all(|l| l.contains(" 0/0 ")), "{listed}");
    snapshots
        .apply(Some(&id(2)), &id(3), &diff[..], &ApplyLimits::default())
        .unwrap();
    // A copy works too.
    let how = MountOptions::default().backend(orlop_unionfs::Backend::Copy);
    let Rootfs::Directory(copy) = snapshots
        .prepare("copy", Some(&id(3)))
        .unwrap()
        .mount(&how)
        .unwrap()
    else {
        panic!("not a copy")
    };
    assert!(copy.join("etc/new").exists() && !copy.join("etc/b").exists());
    snapshots.commit("c", &id(4)).unwrap();
    snapshots.remove("copy").unwrap();
    let report = snapshots.gc(&HashSet::new()).unwrap();
    assert_eq!(report.layers.len(), 4);
    let count = |dir: &str| std::fs::read_dir(path.join(dir)).unwrap().count();
    assert_eq!(
        (
            count("t"),
            count("active"),
            count("staging"),
            count("trash")
        ),
        (0, 0, 0, 0)
    );
    std::fs::remove_dir_all(path).unwrap();
    println!("all of it");
}

#[test]
fn as_whoever_runs_this() {
    if is_root() {
        // Root tests this part as another user, above.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    without_privilege(&dir.path().join("store"));
}
