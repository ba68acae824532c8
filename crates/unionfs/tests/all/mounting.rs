//! Unpack, mount, look.

use orlop_unionfs::{Backend, Error, IdMaps, IdRange, MountOptions, Rootfs};

use crate::need_root;
use crate::support::*;

#[test]
fn layers_are_seen_through_the_mount() {
    need_root!("layers_are_seen_through_the_mount");
    let s = store();
    s.layer(
        None,
        &id(1),
        &Tar::new()
            .dir("etc/")
            .file("etc/a", "one")
            .file("etc/b", "two")
            .dir("d/")
            .file("d/x", "x"),
    );
    s.layer(
        Some(&id(1)),
        &id(2),
        &Tar::new()
            .file("etc/.wh.a", "")
            .file("etc/c", "three")
            .file("d/.wh..wh..opq", "")
            .file("d/y", "y"),
    );
    let active = s.snapshots.prepare("c1", Some(&id(2))).unwrap();
    let root = detached(&active);
    assert_eq!(names(&root, "etc"), ["b", "c"]);
    assert_eq!(names(&root, "d"), ["y"]);
    write(&root, "etc/new", "new");
    assert_eq!(read(&root, "etc/new").as_deref(), Some("new"));
    drop(root);
    s.snapshots.remove("c1").unwrap();
    assert!(s.snapshots.has(&id(1)));
    assert_eq!(s.entries("active"), 0);
    assert_eq!(s.entries("staging"), 0);
    assert_eq!(s.entries("trash"), 0);
}

#[test]
fn many_layers() {
    need_root!("many_layers");
    let s = fast_store();
    let mut parent: Option<String> = None;
    for n in 1..=501 {
        s.layer(
            parent.as_deref(),
            &id(n),
            &Tar::new()
                .file(&format!("f{n}"), "x")
                .file("last", &n.to_string()),
        );
        parent = Some(id(n));
        if ![1, 2, 127, 128, 400, 500].contains(&n) {
            continue;
        }
        let root = detached(
            &s.snapshots
                .prepare(&format!("a{n}"), parent.as_deref())
                .unwrap(),
        );
        assert_eq!(names(&root, ".").len(), n as usize + 1);
        assert_eq!(read(&root, "last"), Some(n.to_string()));
        write(&root, "f1", "changed");
        assert_eq!(read(&root, "f1").as_deref(), Some("changed"));

        let view = detached_view(&s.snapshots.view(&format!("v{n}"), &id(n)).unwrap());
        assert_eq!(names(&view, ".").len(), n as usize + 1);
        assert_eq!(read(&view, "f1").as_deref(), Some("x"));
        let refused = open(&view, "f1", rustix::fs::OFlags::WRONLY).unwrap_err();
        assert_eq!(refused, rustix::io::Errno::ROFS);
    }
    let beyond = s.snapshots.prepare("beyond", Some(&id(501))).unwrap();
    let error = beyond.mount(&MountOptions::default()).unwrap_err();
    assert!(
        matches!(error, Error::TooManyLayers { count: 501, .. }),
        "{error}"
    );
}

#[test]
fn a_recipe_mounts_400_layers_by_mount_2() {
    need_root!("a_recipe_mounts_400_layers_by_mount_2");
    let s = fast_store();
    let mut parent: Option<String> = None;
    for n in 1..=400 {
        s.layer(
            parent.as_deref(),
            &id(n),
            &Tar::new().file(&format!("f{n}"), "x"),
        );
        parent = Some(id(n));
    }
    let how = MountOptions::default()
        .backend(Backend::Recipe)
        .volatile(true);
    let active = s.snapshots.prepare("c", parent.as_deref()).unwrap();
    let Rootfs::Recipe(recipe) = active.mount(&how).unwrap() else {
        panic!("not a recipe")
    };
    let out = mount_recipe(
        &recipe,
        &s.dir.path().join("m"),
        "ls | wc -l; echo hi >f1; cat f1",
    );
    assert_eq!(out, "400\nhi\n");
    let view = s.snapshots.view("v", &id(1)).unwrap();
    let Rootfs::Recipe(recipe) = view.mount(&how).unwrap() else {
        panic!("not a recipe")
    };
    assert!(recipe.read_only);
    assert_eq!(
        mount_recipe(
            &recipe,
            &s.dir.path().join("m"),
            "ls; touch f1 2>/dev/null || echo no"
        ),
        "f1\nno\n"
    );
    let empty = s.snapshots.prepare("e", None).unwrap();
    let Rootfs::Recipe(recipe) = empty.mount(&how).unwrap() else {
        panic!("not a recipe")
    };
    assert_eq!(
        mount_recipe(&recipe, &s.dir.path().join("m"), "touch x; ls"),
        "x\n"
    );
}

#[test]
fn a_snapshot_of_nothing() {
    need_root!("a_snapshot_of_nothing");
    let s = store();
    let root = detached(&s.snapshots.prepare("c", None).unwrap());
    assert!(names(&root, ".").is_empty());
    write(&root, "a", "b");
    assert_eq!(names(&root, "."), ["a"]);
}

#[test]
fn a_long_path_to_the_store_is_no_obstacle() {
    need_root!("a_long_path_to_the_store_is_no_obstacle");
    let dir = tempfile::tempdir().unwrap();
    let long = dir
        .path()
        .join("x".repeat(200))
        .join("y,z:\\ ".repeat(30))
        .join("store");
    let snapshots =
        orlop_unionfs::Snapshots::open(&long, orlop_unionfs::Options::default()).unwrap();
    snapshots
        .apply(
            None,
            &id(1),
            &Tar::new().file("a", "1").bytes()[..],
            &Default::default(),
        )
        .unwrap();
    let root = detached(&snapshots.prepare("c", Some(&id(1))).unwrap());
    assert_eq!(names(&root, "."), ["a"]);
}

#[test]
fn the_root_keeps_its_attributes() {
    need_root!("the_root_keeps_its_attributes");
    let s = store();
    let tar = Tar::new().pax("SCHILY.xattr.user.r", b"v").entry(
        "./",
        b'5',
        |h| {
            h.set_mode(0o1751);
            h.set_uid(7);
            h.set_gid(8);
        },
        b"",
    );
    s.layer(None, &id(1), &tar);
    // A layer that says nothing about the root does not change it.
    s.layer(Some(&id(1)), &id(2), &Tar::new().file("a", ""));
    let root = detached(&s.snapshots.prepare("c", Some(&id(2))).unwrap());
    let line = crate::tree::dump(&root).remove("").unwrap();
    assert!(line.starts_with("41751 7:8 1000000000.000000000"), "{line}");
    assert!(line.ends_with("user.r=[118]"), "{line}");
}

#[test]
fn nothing_appears_in_our_mount_table() {
    need_root!("nothing_appears_in_our_mount_table");
    let s = store();
    s.layer(None, &id(1), &Tar::new().file("a", "1"));
    let root = detached(&s.snapshots.prepare("c", Some(&id(1))).unwrap());
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&*s.dir.path().to_string_lossy()), "{table}");
    drop(root);
}

#[test]
fn backends() {
    need_root!("backends");
    let s = store();
    s.layer(
        None,
        &id(1),
        &Tar::new()
            .entry("./", b'5', |h| h.set_mode(0o711), b"")
            .dir("d/")
            .file("d/gone", "1")
            .file("d/stays", "2")
            .dir("o/")
            .file("o/below", "3")
            .file("t", "file")
            .link("t2", "t")
            .entry(
                "setuid",
                b'0',
                |h| {
                    h.set_mode(0o4755);
                    h.set_uid(12)
                },
                b"x",
            ),
    );
    s.layer(
        Some(&id(1)),
        &id(2),
        &Tar::new()
            .file("d/.wh.gone", "")
            .file("o/.wh..wh..opq", "")
            .file("o/above", "4")
            .dir("t/")
            .symlink("l", "/etc/passwd"),
    );
    let overlay = detached_view(&s.snapshots.view("v", &id(2)).unwrap());
    let copy = s.snapshots.prepare("c", Some(&id(2))).unwrap();
    let Rootfs::Directory(path) = copy
        .mount(&MountOptions::default().backend(Backend::Copy))
        .unwrap()
    else {
        panic!("not a directory")
    };
    let copied = open_path(&path);
    let (mut left, mut right) = (crate::tree::dump(&overlay), crate::tree::dump(&copied));
    // One of two names was replaced: overlayfs still counts both, a copy cannot.
    assert!(left.remove("t2").is_some() && right.remove("t2").is_some());
    crate::tree::assert_same(&left, &right);
    // And from now on it stays a copy.
    std::fs::write(path.join("new"), "1").unwrap();
    let Rootfs::Directory(again) = copy.mount(&MountOptions::default()).unwrap() else {
        panic!("not a directory")
    };
    assert!(again.join("new").exists());
}

#[test]
fn options_reach_the_kernel() {
    need_root!("options_reach_the_kernel");
    let s = store();
    s.layer(None, &id(1), &Tar::new().file("a", "1"));
    let active = s.snapshots.prepare("c", Some(&id(1))).unwrap();
    let how = MountOptions::default().volatile(true).xino(Some(true));
    let Rootfs::Detached(fd) = active.mount(&how).unwrap() else {
        panic!("not detached")
    };
    write(&fd, "b", "2");
    drop(fd);
    // A volatile mount leaves a mark that only goes with a clean end; the kernel writes it into the work directory.
    assert!(s.path("active/c/work/work/incompat/volatile").exists());
    // In the same boot nothing is lost, and it mounts again, either way.
    let again = detached(&active);
    assert_eq!(read(&again, "b").as_deref(), Some("2"));
    drop(again);
    drop(active.mount(&how).unwrap());
    // In another boot it does not.
    std::fs::write(s.path("active/c/volatile"), "\"another boot\"").unwrap();
    let error = active.mount(&how).unwrap_err();
    assert!(matches!(error, Error::Unclean { .. }), "{error:?}");
    let read_only = s.snapshots.prepare("r", Some(&id(1))).unwrap();
    let Rootfs::Detached(fd) = read_only
        .mount(&MountOptions::default().read_only(true))
        .unwrap()
    else {
        panic!("not detached")
    };
    assert_eq!(
        open(&fd, "a", rustix::fs::OFlags::WRONLY).unwrap_err(),
        rustix::io::Errno::ROFS
    );
}

#[test]
fn owners_are_mapped_for_a_user_namespace() {
    need_root!("owners_are_mapped_for_a_user_namespace");
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    let s = store();
    s.layer(
        None,
        &id(1),
        &Tar::new()
            .entry("./", b'5', |h| h.set_mode(0o755), b"")
            .file("a", "1")
            .entry("user", b'0', |h| h.set_uid(1000), b""),
    );
    s.layer(Some(&id(1)), &id(2), &Tar::new().file("b", "2"));
    // A process that is nothing but the owner of a user namespace.
    let mut owner = Command::new("unshare")
        .args(["--user", "sleep", "60"])
        .spawn()
        .expect("unshare is missing: apt install util-linux");
    let pid = owner.id();
    let initial = std::fs::read_link("/proc/self/ns/user").unwrap();
    while std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap() == initial {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{map}"), "0 100000 65536").unwrap();
    }
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/user")).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();

    use std::os::fd::AsFd;
    let ranges = [IdRange {
        inside: 0,
        outside: 100_000,
        length: 65536,
    }];
    let maps = IdMaps {
        user_namespace: namespace.as_fd(),
        uids: &ranges,
        gids: &ranges,
    };
    let how = MountOptions::default();
    let active = s.snapshots.prepare("c", Some(&id(2))).unwrap();
    let Rootfs::Detached(root) = active.mount_mapped(&how, &maps).unwrap() else {
        panic!("not detached")
    };
    let owner = |root: &std::os::fd::OwnedFd, path: &str| {
        let stat = rustix::fs::statat(root, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        (stat.st_uid, stat.st_gid)
    };
    assert_eq!(owner(&root, "a"), (100_000, 100_000));
    assert_eq!(owner(&root, "user"), (101_000, 100_000));
    let status = Command::new("sh")
        .args([
            "-euc",
            "cd /proc/self/fd/0; echo new >new; echo changed >a; rm b",
        ])
        .stdin(open(&root, ".", rustix::fs::OFlags::RDONLY).unwrap())
        .uid(100_000)
        .gid(100_000)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(names(&root, "."), ["a", "new", "user"]);
    drop(root);
    // Mounted otherwise, its files would belong to nobody there.
    let other = [IdRange {
        inside: 0,
        outside: 200_000,
        length: 65536,
    }];
    let other = IdMaps {
        uids: &other,
        ..maps
    };
    assert!(matches!(
        active.mount_mapped(&how, &other),
        Err(Error::Mapped { .. })
    ));
    assert!(matches!(active.mount(&how), Err(Error::Mapped { .. })));
    let Rootfs::Detached(root) = active.mount_mapped(&how, &maps).unwrap() else {
        panic!("not detached")
    };
    assert_eq!(owner(&root, "new"), (100_000, 100_000));
    drop(root);
    // A layer has the owners inside.
    let mut diff = Vec::new();
    s.snapshots.diff("c", &mut diff).unwrap();
    let listed = String::from_utf8(gnu_tar(&["-tv", "--numeric-owner"], &diff)).unwrap();
    assert!(
        listed.lines().count() >= 3 && listed.lines().all(|l| l.contains(" 0/0 ")),
        "{listed}"
    );
    s.snapshots.commit("c", &id(3)).unwrap();
    let root = detached_view(&s.snapshots.view("v3", &id(3)).unwrap());
    assert_eq!(names(&root, "."), ["a", "new", "user"]);
    assert_eq!(
        (owner(&root, "new"), owner(&root, "user")),
        ((0, 0), (1000, 0))
    );
    assert_eq!(s.entries("t"), 3);
    for n in [1, 2] {
        let view = s.snapshots.view(&format!("v{n}"), &id(n)).unwrap();
        let Rootfs::Detached(root) = view.mount_mapped(&how, &maps).unwrap() else {
            panic!("not detached")
        };
        assert_eq!(owner(&root, "user"), (101_000, 100_000));
        assert_eq!(
            open(&root, "a", rustix::fs::OFlags::WRONLY).unwrap_err(),
            rustix::io::Errno::ROFS
        );
    }
}
