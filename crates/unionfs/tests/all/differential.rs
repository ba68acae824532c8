//! The same archive through GNU tar and through us.

use orlop_unionfs::ApplyLimits;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use crate::need_root;
use crate::support::*;
use crate::tree::{assert_same, dump};

/// A tree with something of everything that the oldest format can carry.
fn plain(root: &std::os::fd::OwnedFd) {
    let mode = Mode::from_raw_mode;
    rustix::fs::mkdirat(root, "d", mode(0o755)).unwrap();
    rustix::fs::mkdirat(root, "d/e", mode(0o755)).unwrap();
    write(root, "d/file", "content");
    write(root, "d/e/empty", "");
    write(root, "block", &"b".repeat(512));
    rustix::fs::linkat(root, "d/file", root, "hard", AtFlags::empty()).unwrap();
    rustix::fs::symlinkat("d/file", root, "soft").unwrap();
    rustix::fs::chownat(
        root,
        "block",
        Some(Uid::from_raw(1000)),
        Some(Gid::from_raw(100)),
        AtFlags::empty(),
    )
    .unwrap();
    rustix::fs::chmodat(root, "d/e", mode(0o1770), AtFlags::empty()).unwrap();
    rustix::fs::chmodat(root, "block", mode(0o4711), AtFlags::empty()).unwrap();
}

/// What needs a later format.
fn modern(root: &std::os::fd::OwnedFd) {
    let mode = Mode::from_raw_mode;
    rustix::fs::mknodat(root, "fifo", FileType::Fifo, mode(0o640), 0).unwrap();
    rustix::fs::mknodat(
        root,
        "dev",
        FileType::BlockDevice,
        mode(0o660),
        rustix::fs::makedev(7, 300),
    )
    .unwrap();
}

/// What needs an extension: long names, large ids, holes.
fn extended(root: &std::os::fd::OwnedFd) {
    let mode = Mode::from_raw_mode;
    let long = "n".repeat(120);
    rustix::fs::mkdirat(root, &*long, mode(0o755)).unwrap();
    let file = format!("{long}/{}", "m".repeat(140));
    write(root, &file, "deep");
    rustix::fs::symlinkat(&*"s".repeat(150), root, "longlink").unwrap();
    rustix::fs::linkat(root, &*file, root, "longhard", AtFlags::empty()).unwrap();
    write(root, "bigid", "x");
    rustix::fs::chownat(
        root,
        "bigid",
        Some(Uid::from_raw(4_000_000_000)),
        Some(Gid::from_raw(3_000_000)),
        AtFlags::empty(),
    )
    .unwrap();
    let odd: &[u8] = b"odd-\xff\x80";
    rustix::fs::openat(root, odd, OFlags::CREATE | OFlags::WRONLY, mode(0o644)).unwrap();
    let sparse = open(root, "sparse", OFlags::CREATE | OFlags::RDWR).unwrap();
    for n in 0..40u64 {
        rustix::io::pwrite(&sparse, b"data", n * 300_000).unwrap();
    }
    rustix::fs::ftruncate(&sparse, 20_000_000).unwrap();
    write(root, "old", "x");
    let time = Timespec {
        tv_sec: -86400,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(root, "old", &times, AtFlags::empty()).unwrap();
}

#[test]
fn gnu_tar_and_we_agree() {
    need_root!("gnu_tar_and_we_agree");
    type Fill = fn(&std::os::fd::OwnedFd);
    let table: Vec<(&[&str], &[Fill])> = vec![
        (&["--format=v7"], &[plain]),
        (&["--format=oldgnu"], &[plain, modern, extended]),
        (&["--format=oldgnu", "--sparse"], &[plain, modern, extended]),
        (&["--format=ustar"], &[plain, modern]),
        (&["--format=gnu"], &[plain, modern, extended]),
        (&["--format=gnu", "--sparse"], &[plain, modern, extended]),
        (&["--format=pax"], &[plain, modern, extended]),
        (
            &["--format=pax", "--sparse", "--sparse-version=0.0"],
            &[plain, modern, extended],
        ),
        (
            &["--format=pax", "--sparse", "--sparse-version=0.1"],
            &[plain, modern, extended],
        ),
        (
            &["--format=pax", "--sparse", "--sparse-version=1.0"],
            &[plain, modern, extended],
        ),
        (
            &[
                "--format=pax",
                "--pax-option=globexthdr.name=g,comment=hello",
            ],
            &[plain],
        ),
    ];
    for (options, fills) in table {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let made = dir.path().join("made");
        std::fs::create_dir(&made).unwrap();
        for fill in fills {
            fill(&open_path(&made));
        }
        let mut args = options.to_vec();
        args.extend(["--numeric-owner", "-C", made.to_str().unwrap(), "-c", "."]);
        let archive = gnu_tar(&args, b"");

        let theirs = dir.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        gnu_tar(
            &[
                "-x",
                "-p",
                "--numeric-owner",
                "--same-owner",
                "-C",
                theirs.to_str().unwrap(),
            ],
            &archive,
        );

        let s = fast_store();
        let applied = s
            .snapshots
            .apply(None, &id(1), &archive[..], &ApplyLimits::default());
        applied
            .unwrap_or_else(|e| panic!("{options:?}: {e:?} {:?}", std::error::Error::source(&e)));
        let ours = detached_view(&s.snapshots.view("v", &id(1)).unwrap());
        println!("{options:?}: {} bytes", archive.len());
        assert_same(&dump(open_path(&theirs)), &dump(&ours));
        if options.contains(&"--sparse") {
            let blocks = rustix::fs::statat(&ours, "sparse", AtFlags::empty())
                .unwrap()
                .st_blocks;
            assert!(
                blocks * 512 < 1_000_000,
                "{options:?}: holes were filled: {blocks}"
            );
        }
    }
}
