//! What entries mean together: duplicates, whiteouts, links, in any order and across layers.

use std::collections::HashSet;

use orlop_unionfs::ApplyLimits;

use crate::need_root;
use crate::support::*;

fn view(s: &Store, n: u32) -> std::os::fd::OwnedFd {
    detached_view(&s.snapshots.view(&format!("look-{n}"), &id(n)).unwrap())
}

#[test]
fn the_last_of_duplicates_wins() {
    need_root!("the_last_of_duplicates_wins");
    let s = store();
    let tar = Tar::new()
        .file("f", "1")
        .file("f", "2")
        .dir("d/")
        .file("d/a", "")
        .entry("d/", b'5', |h| h.set_mode(0o700), b"")
        .dir("gone/")
        .file("gone/x", "")
        .file("gone", "a file now")
        .file("was", "")
        .dir("was/")
        .file("was/x", "")
        .symlink("l", "f")
        .file("l", "not a link");
    s.layer(None, &id(1), &tar);
    let root = view(&s, 1);
    assert_eq!(names(&root, "."), ["d", "f", "gone", "l", "was"]);
    assert_eq!(read(&root, "f").as_deref(), Some("2"));
    assert_eq!(names(&root, "d"), ["a"]);
    assert_eq!(read(&root, "gone").as_deref(), Some("a file now"));
    assert_eq!(names(&root, "was"), ["x"]);
    assert_eq!(read(&root, "l").as_deref(), Some("not a link"));
    assert!(crate::tree::dump(&root)["d"].starts_with("40700"));
}

#[test]
fn whiteouts_hit_lower_layers_only_in_any_order() {
    need_root!("whiteouts_hit_lower_layers_only_in_any_order");
    let base = Tar::new()
        .dir("d/")
        .file("d/low", "1")
        .file("f", "low")
        .dir("e/")
        .file("e/low", "1");
    let table: Vec<(&str, Tar, Vec<&str>)> = vec![
        (
            "before its sibling",
            Tar::new().file(".wh.d", "").dir("d/").file("d/new", ""),
            vec!["new"],
        ),
        (
            "after its sibling",
            Tar::new().dir("d/").file("d/new", "").file(".wh.d", ""),
            vec!["new"],
        ),
        (
            "before an implicit directory",
            Tar::new().file(".wh.d", "").file("d/new", ""),
            vec!["new"],
        ),
        (
            "opaque first",
            Tar::new()
                .file("d/.wh..wh..opq", "")
                .dir("d/")
                .file("d/new", ""),
            vec!["new"],
        ),
        (
            "opaque last",
            Tar::new()
                .dir("d/")
                .file("d/new", "")
                .file("d/.wh..wh..opq", ""),
            vec!["new"],
        ),
        (
            "opaque alone",
            Tar::new().file("d/.wh..wh..opq", ""),
            vec![],
        ),
        (
            "of one file",
            Tar::new().file("d/.wh.low", "").file("d/new", ""),
            vec!["new"],
        ),
        (
            "of what is not there",
            Tar::new().file("d/.wh.nothing", ""),
            vec!["low"],
        ),
        (
            "a file, then a directory",
            Tar::new().file("d", "").dir("d/").file("d/new", ""),
            vec!["new"],
        ),
        (
            "merged",
            Tar::new().dir("d/").file("d/new", ""),
            vec!["low", "new"],
        ),
        (
            "by a hard link",
            Tar::new()
                .file(".wh..wh.aufs", "")
                .file("d/new", "")
                .link("d/.wh.low", ".wh..wh.aufs"),
            vec!["new"],
        ),
    ];
    for (what, tar, want) in table {
        let s = store();
        s.layer(None, &id(1), &base);
        s.layer(Some(&id(1)), &id(2), &tar);
        let root = view(&s, 2);
        assert_eq!(names(&root, "d"), want, "{what}");
        assert_eq!(names(&root, "e"), ["low"], "{what}");
    }
}

#[test]
fn an_opaque_root_hides_everything() {
    need_root!("an_opaque_root_hides_everything");
    let s = store();
    s.layer(
        None,
        &id(1),
        &Tar::new()
            .entry("./", b'5', |h| h.set_mode(0o711), b"")
            .file("low", ""),
    );
    s.layer(
        Some(&id(1)),
        &id(2),
        &Tar::new().file("new", "").file(".wh..wh..opq", ""),
    );
    let root = view(&s, 2);
    assert_eq!(names(&root, "."), ["new"]);
    assert!(crate::tree::dump(&root)[""].starts_with("40711"));
    // The parent stays while its child does.
    s.snapshots.gc(&HashSet::from([id(2)])).unwrap();
    assert!(s.snapshots.has(&id(1)));
}

#[test]
fn hard_links_reach_into_lower_layers() {
    need_root!("hard_links_reach_into_lower_layers");
    let s = store();
    let base = Tar::new()
        .entry(
            "usr/",
            b'5',
            |h| {
                h.set_mode(0o711);
                h.set_uid(5)
            },
            b"",
        )
        .dir("usr/bin/")
        .pax("SCHILY.xattr.user.k", b"v")
        .entry(
            "usr/bin/prog",
            b'0',
            |h| {
                h.set_mode(0o4755);
                h.set_uid(3)
            },
            b"program",
        )
        .symlink("bin", "usr/bin")
        .entry("fifo", b'6', |_| {}, b"")
        .file("deleted", "");
    s.layer(None, &id(1), &base);
    s.layer(Some(&id(1)), &id(2), &Tar::new().file(".wh.deleted", ""));
    // Unpacked before its parents are known.
    let upper = Tar::new()
        .dir("opt/")
        .link("opt/prog", "bin/prog")
        .link("opt/again", "opt/prog")
        .link("pipe", "fifo")
        .link("replaced", "usr/bin/prog")
        .file("replaced", "own");
    let mut staging = s.snapshots.begin().unwrap();
    staging
        .apply(&upper.bytes()[..], &ApplyLimits::default())
        .unwrap();
    staging.commit(Some(&id(2)), &id(3)).unwrap();
    let root = view(&s, 3);
    let tree = crate::tree::dump(&root);
    for name in ["opt/prog", "opt/again", "usr/bin/prog"] {
        assert!(tree[name].contains("(3 names)"), "{name}: {}", tree[name]);
        assert!(
            tree[name].starts_with("104755 3:0 1000000000.000000000"),
            "{}",
            tree[name]
        );
        assert!(tree[name].ends_with("user.k=[118]"), "{}", tree[name]);
        assert_eq!(read(&root, name).as_deref(), Some("program"));
    }
    assert!(
        tree["pipe"].starts_with("10644") && tree["pipe"].contains("(2 names)"),
        "{}",
        tree["pipe"]
    );
    assert_eq!(read(&root, "replaced").as_deref(), Some("own"));
    // Nothing else changed on the way.
    assert!(
        tree["usr"].starts_with("40711 5:0 1000000000.000000000"),
        "{}",
        tree["usr"]
    );
    assert!(
        tree["opt"].contains("1000000000.000000000"),
        "{}",
        tree["opt"]
    );

    let mut staging = s.snapshots.begin().unwrap();
    staging
        .apply(
            &Tar::new().link("x", "deleted").bytes()[..],
            &ApplyLimits::default(),
        )
        .unwrap();
    let error = staging.commit(Some(&id(2)), &id(4)).unwrap_err();
    assert!(error.to_string().contains("\"x\""), "{error}");
    assert_eq!(s.entries("staging"), 0);
    assert!(!s.snapshots.has(&id(4)));
}

#[test]
fn directories_not_listed_look_as_below() {
    need_root!("directories_not_listed_look_as_below");
    let s = store();
    let base = Tar::new()
        .entry(
            "srv/",
            b'5',
            |h| {
                h.set_mode(0o2750);
                h.set_gid(9)
            },
            b"",
        )
        .pax("SCHILY.xattr.user.k", b"v")
        .entry("srv/www/", b'5', |h| h.set_mode(0o1777), b"");
    s.layer(None, &id(1), &base);
    let before = crate::tree::dump(view(&s, 1));
    s.layer(
        Some(&id(1)),
        &id(2),
        &Tar::new()
            .file("srv/www/deep/index", "")
            .file("other/x", ""),
    );
    let after = crate::tree::dump(view(&s, 2));
    for path in ["", "srv", "srv/www"] {
        assert_eq!(before[path], after[path], "{path}");
    }
    assert!(
        after["other"].starts_with("40755 0:0 0.000000000"),
        "{}",
        after["other"]
    );
    assert!(
        after["srv/www/deep"].starts_with("40755 0:0 0.000000000"),
        "{}",
        after["srv/www/deep"]
    );
}

#[test]
fn every_attribute_arrives() {
    need_root!("every_attribute_arrives");
    let s = store();
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00";
    let tar = Tar::new()
        .pax("SCHILY.xattr.security.capability", capability)
        .pax("mtime", b"1234567890.123456789")
        .entry(
            "ping",
            b'0',
            |h| {
                h.set_mode(0o755);
                h.set_uid(1);
                h.set_gid(2)
            },
            b"x",
        )
        .entry(
            "suid",
            b'0',
            |h| {
                h.set_mode(0o6755);
                h.set_uid(1000);
                h.set_gid(1000)
            },
            b"x",
        )
        .pax("uid", b"3000000000")
        .pax("gid", b"2097152")
        .pax("mtime", b"-1.5")
        .file("big", "x")
        .pax("path", b"\xff\xfe\xfd-not-utf8")
        .file("x", "x")
        .pax("path", "p".repeat(150).as_bytes())
        .file("x", "y")
        .pax("linkpath", &[b't'; 200])
        .entry("sl", b'2', |h| h.set_uid(7), b"")
        .entry(
            "null",
            b'3',
            |h| {
                h.set_mode(0o666);
                h.set_device_major(1).unwrap();
                h.set_device_minor(3).unwrap()
            },
            b"",
        )
        .entry(
            "blk",
            b'4',
            |h| {
                h.set_device_major(259).unwrap();
                h.set_device_minor(70000).unwrap()
            },
            b"",
        )
        .entry("sticky/", b'5', |h| h.set_mode(0o1777), b"")
        .entry("closed/", b'5', |h| h.set_mode(0), b"")
        .file("closed/in", "x");
    s.layer(None, &id(1), &tar);
    let tree = crate::tree::dump(view(&s, 1));
    let want = [
        ("ping", "100755 1:2 1234567890.123456789 1 bytes, sum 120 security.capability=[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0]".to_owned()),
        ("suid", "106755 1000:1000 1000000000.000000000 1 bytes, sum 120 ".to_owned()),
        ("big", "100644 3000000000:2097152 -2.500000000 1 bytes, sum 120 ".to_owned()),
        ("sl", format!("120777 7:0 1000000000.000000000 -> {:?} ", "t".repeat(200))),
        ("null", "20666 0:0 1000000000.000000000 103 ".to_owned()),
        ("blk", "60644 0:0 1000000000.000000000 1110310370 ".to_owned()),
        ("sticky", "41777 0:0 1000000000.000000000 0 ".to_owned()),
        ("closed", "40000 0:0 1000000000.000000000 0 ".to_owned()),
        ("closed/in", "100644 0:0 1000000000.000000000 1 bytes, sum 120 ".to_owned()),
    ];
    for (path, line) in want {
        let got = &tree[path];
        if path == "blk" {
            assert!(got.starts_with("60644 0:0"), "{got}");
        } else {
            assert_eq!(*got, line, "{path}");
        }
    }
    assert!(tree.contains_key(&"p".repeat(150)));
    assert!(tree.keys().any(|k| k.ends_with("-not-utf8")));
}

#[test]
fn the_diff_id_covers_the_whole_stream() {
    need_root!("the_diff_id_covers_the_whole_stream");
    use sha2::{Digest, Sha256};
    let s = store();
    let mut bytes = Tar::new().file("a", "1").bytes();
    bytes.resize(10240, 0);
    let applied = s
        .snapshots
        .apply(None, &id(1), &bytes[..], &ApplyLimits::default())
        .unwrap();
    assert_eq!(
        applied.diff_id,
        format!("sha256:{}", hex::encode(Sha256::digest(&bytes)))
    );
    assert_eq!((applied.entries, applied.bytes), (1, 1));
    assert!(applied.warnings.is_empty());
    assert_eq!(
        s.snapshots.layers().unwrap()[0].diff_id,
        Some(applied.diff_id)
    );
}
