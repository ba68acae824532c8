//! Unpack, change, diff, unpack again: the same tree.

use std::os::fd::OwnedFd;

use orlop_unionfs::{ApplyLimits, Backend, DiffOptions, MountOptions, Rootfs};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use crate::need_root;
use crate::support::*;
use crate::tree::{assert_same, dump};

fn base() -> Tar {
    Tar::new()
        .entry("./", b'5', |h| h.set_mode(0o755), b"")
        .dir("etc/")
        .file("etc/keep", "kept")
        .file("etc/edit", "before")
        .file("etc/remove", "x")
        .dir("dir/")
        .file("dir/a", "1")
        .dir("replaced/")
        .file("replaced/below", "1")
        .dir("gone/")
        .file("gone/x", "1")
        .file("linked", "content")
        .link("linked2", "linked")
}

/// What a container may do to its root.
fn change(root: &OwnedFd) {
    let set_time = |path: &str, seconds, nanoseconds| {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(root, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    let mode = Mode::from_raw_mode;
    write(root, "etc/edit", "after");
    rustix::fs::unlinkat(root, "etc/remove", AtFlags::empty()).unwrap();
    rustix::fs::unlinkat(root, "gone/x", AtFlags::empty()).unwrap();
    rustix::fs::unlinkat(root, "gone", AtFlags::REMOVEDIR).unwrap();
    // A directory in place of one that had other things in it.
    rustix::fs::unlinkat(root, "replaced/below", AtFlags::empty()).unwrap();
    rustix::fs::unlinkat(root, "replaced", AtFlags::REMOVEDIR).unwrap();
    rustix::fs::mkdirat(root, "replaced", mode(0o700)).unwrap();
    write(root, "replaced/new", "2");
    rustix::fs::mkdirat(root, "new", mode(0o755)).unwrap();
    write(root, "new/hard1", &"z".repeat(100_000));
    rustix::fs::linkat(root, "new/hard1", root, "new/hard2", AtFlags::empty()).unwrap();
    rustix::fs::symlinkat(&*"t".repeat(300), root, "new/symlink").unwrap();
    rustix::fs::chownat(
        root,
        "new/symlink",
        Some(Uid::from_raw(11)),
        Some(Gid::from_raw(12)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    rustix::fs::mknodat(root, "new/fifo", FileType::Fifo, mode(0o600), 0).unwrap();
    rustix::fs::mknodat(
        root,
        "new/null",
        FileType::CharacterDevice,
        mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    rustix::fs::mknodat(root, "new/socket", FileType::Socket, mode(0o666), 0).unwrap();
    write(root, "new/käse", "utf-8");
    let odd: &[u8] = b"new/\xff\xfe";
    rustix::fs::openat(root, odd, OFlags::CREATE | OFlags::WRONLY, mode(0o644)).unwrap();
    let long = format!("new/{}", "l".repeat(200));
    write(root, &long, "long");
    write(root, "new/caps", "x");
    let caps = open(root, "new/caps", OFlags::RDWR).unwrap();
    rustix::fs::fchown(
        &caps,
        Some(Uid::from_raw(3_000_000_000)),
        Some(Gid::from_raw(70_000)),
    )
    .unwrap();
    rustix::fs::fsetxattr(&caps, "user.note", b"a\nb\0c", XattrFlags::empty()).unwrap();
    let v2 = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    rustix::fs::fsetxattr(&caps, "security.capability", v2, XattrFlags::empty()).unwrap();
    rustix::fs::fchmod(&caps, mode(0o755)).unwrap();
    write(root, "new/suid", "x");
    rustix::fs::chmodat(root, "new/suid", mode(0o6755), AtFlags::empty()).unwrap();
    let dir = open(root, "dir", OFlags::RDONLY).unwrap();
    rustix::fs::fchmod(&dir, mode(0o1733)).unwrap();
    rustix::fs::fsetxattr(&dir, "user.dir", b"yes", XattrFlags::empty()).unwrap();
    set_time("new/hard1", 1_500_000_000, 123_456_789);
    set_time("new/fifo", -2, 500_000_000);
    set_time("new/symlink", 1, 1);
    set_time("new", 5_000_000_000, 7);
    set_time(".", 1_600_000_000, 5);
    rustix::fs::unlinkat(root, "new/socket", AtFlags::empty()).unwrap();
}

#[test]
fn overlay_diff_gives_the_same_tree() {
    need_root!("overlay_diff_gives_the_same_tree");
    let s = store();
    s.layer(None, &id(1), &base());
    let active = s.snapshots.prepare("c", Some(&id(1))).unwrap();
    let root = detached(&active);
    change(&root);
    let want = dump(&root);
    drop(root);
    let mut first = Vec::new();
    let digests = s.snapshots.diff("c", &mut first).unwrap();
    let mut second = Vec::new();
    assert_eq!(s.snapshots.diff("c", &mut second).unwrap(), digests);
    assert_eq!(first, second);
    assert_eq!(digests.bytes, first.len() as u64);

    let applied = s
        .snapshots
        .apply(Some(&id(1)), &id(2), &first[..], &ApplyLimits::default())
        .unwrap();
    assert_eq!(applied.diff_id, digests.diff_id);
    assert!(applied.warnings.is_empty());
    let again = detached_view(&s.snapshots.view("v", &id(2)).unwrap());
    assert_same(&want, &dump(&again));

    // The snapshot itself as a layer shows the same.
    s.snapshots.commit("c", &id(3)).unwrap();
    assert!(s.snapshots.usage("c").is_err());
    let committed = detached_view(&s.snapshots.view("v3", &id(3)).unwrap());
    assert_same(&want, &dump(&committed));

    // GNU tar sees the same entries.
    let listed = gnu_tar(&["-t"], &first);
    let entries = String::from_utf8_lossy(&listed).lines().count() as u64;
    assert_eq!(entries, digests.entries);
}

#[test]
fn copy_diff_gives_the_same_tree() {
    need_root!("copy_diff_gives_the_same_tree");
    let s = store();
    s.layer(None, &id(1), &base());
    s.layer(
        Some(&id(1)),
        &id(2),
        &Tar::new().file("dir/b", "2").file("etc/.wh.keep", ""),
    );
    let active = s.snapshots.prepare("c", Some(&id(2))).unwrap();
    let how = MountOptions::default().backend(Backend::Copy);
    let Rootfs::Directory(path) = active.mount(&how).unwrap() else {
        panic!("not a copy")
    };
    let untouched = {
        let mut diff = Vec::new();
        s.snapshots.diff("c", &mut diff).unwrap();
        diff
    };
    assert_eq!(untouched, [0; 1024], "nothing changed, nothing is written");
    let root = open_path(&path);
    change(&root);
    let want = dump(&root);
    let mut diff = Vec::new();
    s.snapshots.diff("c", &mut diff).unwrap();
    let names = String::from_utf8_lossy(&gnu_tar(&["-t"], &diff)).into_owned();
    assert!(
        !names.contains("dir/a") && !names.contains("linked"),
        "{names}"
    );
    s.snapshots
        .apply(Some(&id(2)), &id(3), &diff[..], &ApplyLimits::default())
        .unwrap();
    let again = detached_view(&s.snapshots.view("v", &id(3)).unwrap());
    assert_same(&want, &dump(&again));
    s.snapshots.commit("c", &id(4)).unwrap();
    let committed = detached_view(&s.snapshots.view("v4", &id(4)).unwrap());
    assert_same(&want, &dump(&committed));
}

#[test]
fn times_can_be_clamped() {
    need_root!("times_can_be_clamped");
    let s = store();
    s.layer(None, &id(1), &base());
    let mut diffs = Vec::new();
    for key in ["a", "b"] {
        let root = detached(&s.snapshots.prepare(key, Some(&id(1))).unwrap());
        write(&root, "etc/new", "same");
        drop(root);
        let mut diff = Vec::new();
        s.snapshots
            .diff_with(
                key,
                &DiffOptions::default().latest(Some(1_000_000_000)),
                &mut diff,
            )
            .unwrap();
        diffs.push(diff);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(diffs[0], diffs[1]);
}

#[test]
fn usage_counts_each_file_once() {
    need_root!("usage_counts_each_file_once");
    let s = store();
    let root = detached(&s.snapshots.prepare("c", None).unwrap());
    let empty = s.snapshots.usage("c").unwrap();
    write(&root, "a", &"x".repeat(1 << 20));
    rustix::fs::linkat(&root, "a", &root, "b", AtFlags::empty()).unwrap();
    rustix::fs::syncfs(open(&root, ".", OFlags::RDONLY).unwrap()).unwrap();
    let usage = s.snapshots.usage("c").unwrap();
    assert_eq!(usage.inodes, empty.inodes + 1);
    let grown = usage.bytes - empty.bytes;
    assert!((1 << 20..(1 << 20) + 65536).contains(&grown), "{grown}");
}
