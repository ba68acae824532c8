//! Archives that want out of their directory, or to lie about what they hold.

use orlop_unionfs::{ApplyLimits, Error, Fault};

use crate::need_root;
use crate::support::*;

/// A canary outside the store that no archive may touch.
struct Canary {
    dir: tempfile::TempDir,
}

impl Canary {
    fn new() -> Canary {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "untouched").unwrap();
        for (path, mode) in [
            (dir.path().to_owned(), 0o700),
            (dir.path().join("file"), 0o644),
        ] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
        }
        Canary { dir }
    }

    fn path(&self) -> String {
        self.dir.path().to_str().unwrap().to_owned()
    }

    fn assert_untouched(&self) {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(self.dir.path().join("file")).unwrap();
        assert_eq!(
            (file.nlink(), file.mode() & 0o777, file.uid()),
            (1, 0o644, 0)
        );
        assert_eq!(
            std::fs::read_to_string(self.dir.path().join("file")).unwrap(),
            "untouched"
        );
        assert_eq!(
            std::fs::metadata(self.dir.path()).unwrap().mode() & 0o777,
            0o700
        );
        assert_eq!(std::fs::read_dir(self.dir.path()).unwrap().count(), 1);
    }
}

fn apply(s: &Store, tar: &Tar) -> Result<(), Error> {
    s.snapshots
        .apply(None, &id(1), &tar.bytes()[..], &ApplyLimits::default())
        .map(drop)
}

/// Whatever becomes of the archive, nothing outside changes, and a failure leaves nothing.
fn attack(what: &str, tar: &Tar, canary: &Canary) -> Result<(), Error> {
    let s = store();
    let result = apply(&s, tar);
    canary.assert_untouched();
    assert_eq!(s.entries("staging"), 0, "{what}");
    assert_eq!(s.snapshots.has(&id(1)), result.is_ok(), "{what}");
    assert_eq!(s.entries("t"), usize::from(result.is_ok()), "{what}");
    result
}

#[test]
fn refused_archives() {
    need_root!("refused_archives");
    let canary = Canary::new();
    let out = canary.path();
    let root = |t: Tar| t;
    let table: Vec<(&str, Tar)> = vec![
        ("dot dot", Tar::new().file("../file", "x")),
        (
            "dot dot inside",
            Tar::new().dir("a/").file("a/../../file", "x"),
        ),
        (
            "dot dot in a PAX path",
            Tar::new().pax("path", b"a/../../file").file("x", "x"),
        ),
        (
            "link to the host",
            Tar::new().link("x", &format!("{out}/file")),
        ),
        (
            "link upwards",
            Tar::new().link("x", "../../../../etc/passwd"),
        ),
        (
            "link through a link",
            Tar::new().symlink("d", &out).link("x", "d/file"),
        ),
        ("link to a directory", Tar::new().dir("d/").link("x", "d")),
        ("link to the root", Tar::new().link("x", "/")),
        ("link to nothing", Tar::new().link("x", "y")),
        ("below a file", Tar::new().file("f", "").file("f/x", "")),
        ("whiteout of nothing", Tar::new().file("d/.wh.", "")),
        ("whiteout of itself", Tar::new().file("d/.wh..", "")),
        ("whiteout of the parent", Tar::new().file("d/.wh...", "")),
        (
            "whiteout as a directory",
            Tar::new().dir(".wh.d/").file(".wh.d/x", ""),
        ),
        (
            "overlay's whiteout",
            Tar::new().entry("w", b'3', |_| {}, b""),
        ),
        (
            "opaque by attribute",
            Tar::new()
                .pax("SCHILY.xattr.trusted.overlay.opaque", b"y")
                .dir("d/"),
        ),
        (
            "redirect by attribute",
            Tar::new()
                .pax("SCHILY.xattr.user.overlay.redirect", b"/etc")
                .dir("d/"),
        ),
        (
            "root as a file",
            Tar::new()
                .file("./", "")
                .entry("./", b'2', |h| h.set_link_name("x").unwrap(), b""),
        ),
        ("empty link", Tar::new().entry("l", b'2', |_| {}, b"")),
        (
            "malformed PAX",
            Tar::new()
                .entry("p", b'x', |_| {}, b"99 path=x\n")
                .file("x", ""),
        ),
        ("unknown type", Tar::new().entry("x", b'M', |_| {}, b"")),
        (
            "name too long",
            Tar::new().pax("path", &[b'n'; 300]).file("x", ""),
        ),
        (
            "path too long",
            Tar::new()
                .pax("path", &b"abcdefg/".repeat(600))
                .file("x", ""),
        ),
        (
            "endless links",
            Tar::new()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("a/x", ""),
        ),
    ];
    for (what, tar) in table {
        let error = attack(what, &root(tar), &canary).expect_err(what);
        // Every message names the entry or the limit.
        assert!(
            matches!(
                error,
                Error::Archive { .. } | Error::Limit { .. } | Error::Io { .. }
            ),
            "{what}: {error:?}"
        );
    }
}

#[test]
fn contained_archives() {
    need_root!("contained_archives");
    let canary = Canary::new();
    let out = canary.path();
    let table: Vec<(&str, Tar)> = vec![
        ("absolute", Tar::new().file("/etc/x", "x")),
        (
            "write through a link",
            Tar::new()
                .symlink("d", &out)
                .file("d/file", "pwned")
                .file("d/new", "pwned"),
        ),
        (
            "replace a link by a file",
            Tar::new()
                .symlink("file", &format!("{out}/file"))
                .file("file", "pwned"),
        ),
        (
            "chmod through a link",
            Tar::new()
                .symlink("d", &out)
                .entry("d", b'5', |h| h.set_mode(0o777), b""),
        ),
        (
            "chmod through a relative link",
            Tar::new()
                .symlink("d", "../../../../../../../../tmp")
                .dir("d/")
                .entry("d/", b'5', |h| h.set_mode(0o7777), b""),
        ),
        (
            "directory swapped for a link",
            Tar::new()
                .dir("d/")
                .file("d/a", "")
                .symlink("d", &out)
                .file("d/file", "pwned"),
        ),
        (
            "late metadata on a swapped directory",
            Tar::new()
                .dir("d/")
                .entry("d/s", b'5', |h| h.set_mode(0o777), b"")
                .symlink("d", &out),
        ),
        (
            "whiteout through a link",
            Tar::new().symlink("d", &out).file("d/.wh.file", ""),
        ),
        (
            "opaque through a link",
            Tar::new().symlink("d", &out).file("d/.wh..wh..opq", ""),
        ),
        (
            "link chain",
            Tar::new()
                .symlink("a", "b")
                .symlink("b", &out)
                .file("a/file", "pwned"),
        ),
        (
            "owner through a link",
            Tar::new().symlink("d", &format!("{out}/file")).entry(
                "d",
                b'0',
                |h| h.set_uid(99),
                b"pwned",
            ),
        ),
        (
            "fifo and devices",
            Tar::new()
                .entry("f", b'6', |_| {}, b"")
                .entry(
                    "n",
                    b'3',
                    |h| {
                        h.set_device_major(1).unwrap();
                        h.set_device_minor(3).unwrap()
                    },
                    b"",
                )
                .file("n", "now a file")
                .file("f", "now a file"),
        ),
    ];
    for (what, tar) in table {
        attack(what, &tar, &canary).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    }
}

#[test]
fn links_resolve_inside_the_root() {
    need_root!("links_resolve_inside_the_root");
    let s = store();
    let tar = Tar::new()
        .dir("real/")
        .symlink("abs", "/real")
        .symlink("up", "../../real")
        .file("abs/a", "1")
        .file("up/b", "2")
        .symlink("dangling", "made/here")
        .file("dangling/c", "3");
    apply(&s, &tar).unwrap();
    let root = detached_view(&s.snapshots.view("v", &id(1)).unwrap());
    assert_eq!(names(&root, "real"), ["a", "b"]);
    assert_eq!(names(&root, "made/here"), ["c"]);
}

#[test]
fn limits_stop_bombs() {
    need_root!("limits_stop_bombs");
    let limits = ApplyLimits {
        bytes: 1000,
        archive_bytes: 100_000,
        entries: 10,
        depth: 5,
    };
    let mut many = Tar::new();
    for n in 0..11 {
        many = many.file(&format!("f{n}"), "");
    }
    let mut sparse = Tar::new();
    for (k, v) in [
        ("major", "1"),
        ("minor", "0"),
        ("name", "s"),
        ("realsize", "1099511627776"),
    ] {
        sparse = sparse.pax(&format!("GNU.sparse.{k}"), v.as_bytes());
    }
    let mut map = b"0\n".to_vec();
    map.resize(512, 0);
    let table: Vec<(&str, Vec<u8>)> = vec![
        (
            "bytes",
            Tar::new()
                .file("a", &"x".repeat(600))
                .file("b", &"x".repeat(600))
                .bytes(),
        ),
        ("entries", many.bytes()),
        (
            "path components",
            Tar::new().file("a/b/c/d/e/f", "").bytes(),
        ),
        ("bytes", sparse.entry("s", b'0', |_| {}, &map).bytes()),
        (
            "archive bytes",
            [Tar::new().file("a", "").bytes(), vec![0; 200_000]].concat(),
        ),
        (
            "bytes",
            Tar::new()
                .entry("a", b'0', |h| h.set_size(1 << 40), b"")
                .raw(),
        ),
    ];
    for (what, bytes) in table {
        let s = store();
        let error = s
            .snapshots
            .apply(None, &id(1), &bytes[..], &limits)
            .expect_err(what);
        assert!(
            matches!(error, Error::Limit { what: w, .. } if w == what),
            "{what}: {error:?}"
        );
        assert_eq!((s.entries("staging"), s.entries("t")), (0, 0));
    }
    // An endless stream of zeros ends at the limit too.
    let s = store();
    let error = s
        .snapshots
        .apply(None, &id(1), std::io::repeat(0), &limits)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limit {
                what: "archive bytes",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_truncated_archive_names_the_entry() {
    need_root!("a_truncated_archive_names_the_entry");
    let whole = Tar::new()
        .file("first", "1")
        .file("usr/bin/second", &"x".repeat(5000))
        .bytes();
    for cut in [512 + 512 + 100, 512 * 3 + 1, 512 * 3 + 4096] {
        let s = store();
        let error = s
            .snapshots
            .apply(None, &id(1), &whole[..cut], &ApplyLimits::default())
            .unwrap_err();
        let Error::Archive { entry, source } = error else {
            panic!("{error:?}")
        };
        assert!(matches!(source, Fault::Truncated), "{source:?}");
        assert_eq!(
            entry,
            if cut < 1536 {
                "first"
            } else {
                "usr/bin/second"
            }
        );
        assert_eq!((s.entries("staging"), s.entries("t")), (0, 0));
    }
}

#[test]
fn a_deep_tree_is_removed() {
    need_root!("a_deep_tree_is_removed");
    let s = store();
    let active = s.snapshots.prepare("c", None).unwrap();
    let mut dir = detached(&active);
    // Longer than any path may be, as a program inside can make it step by step.
    for _ in 0..3000 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::RWXU).unwrap();
        dir = open(&dir, "d", rustix::fs::OFlags::RDONLY).unwrap().into();
    }
    drop(dir);
    s.snapshots.remove("c").unwrap();
    assert_eq!(s.entries("trash"), 0);
}
