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

/// A small generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

/// Damages an archive where readers look: in headers, with the checksum made right again, or in what stands between them.
fn damage(archive: &mut Vec<u8>, random: &mut Random) {
    let headers: Vec<usize> = (0..archive.len() / 512)
        .map(|b| b * 512)
        .filter(|at| archive[at + 257..].starts_with(b"ustar"))
        .collect();
    let at = headers[random.below(headers.len())];
    match random.below(8) {
        // Fields: name, mode, uid, size, time, type, link, magic and version, prefix.
        0..=4 => {
            let fields = [
                (0, 100),
                (100, 8),
                (124, 12),
                (124, 12),
                (156, 1),
                (157, 100),
                (257, 8),
                (345, 155),
            ];
            let (start, length) = fields[random.below(fields.len())];
            let values = [
                b'0', b'1', b'7', b'9', b' ', 0, b'/', b'x', b'L', b'g', b'5', 0x80, 0xff, b'-',
            ];
            let offset = random.below(length);
            archive[at + start + offset] = values[random.below(values.len())];
        }
        // The body of a header, or the padding behind.
        5 => {
            let offset = (at + 512 + random.below(600)).min(archive.len() - 1);
            archive[offset] = b"0123456789=\n x"[random.below(14)];
        }
        6 => drop(archive.drain(at..at + 512)),
        _ => {
            let block = archive[at..at + 512].to_vec();
            let to = random.below(archive.len() / 512) * 512;
            archive.splice(to..to, block);
        }
    }
    let mut header = tar::Header::new_old();
    if let Some(block) = archive.get(at..at + 512) {
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        archive[at..at + 512].copy_from_slice(header.as_bytes());
    }
}

/// Paths with what regular files hold: what an archive says about content.
fn contents(root: &std::os::fd::OwnedFd) -> std::collections::BTreeMap<String, String> {
    let line = |(path, line): (String, String)| {
        let kind = line[..line.len().min(3)].to_owned();
        let body = line.split("bytes, ").nth(1).unwrap_or_default().to_owned();
        (path, format!("{kind} {body}"))
    };
    dump(root)
        .into_iter()
        .filter(|(path, _)| !path.is_empty())
        .map(line)
        .collect()
}

/// What we accept, GNU tar and Python's tarfile must read alike: or else one archive shows one thing to a scanner and
/// another to a container.
#[test]
fn damaged_archives_are_refused_or_read_alike() {
    need_root!("damaged_archives_are_refused_or_read_alike");
    let inner = Tar::new().file("smuggled", "hidden").raw();
    let base = Tar::new()
        .dir("d/")
        .file("d/one", "first")
        .pax("size", inner.len().to_string().as_bytes())
        .entry("nested", b'0', |_| {}, &inner)
        .pax("path", b"d/from-pax")
        .pax("mtime", b"1234567890.5")
        .file("x", "second")
        .entry("././@LongLink", b'L', |_| {}, b"d/from-long-name\0")
        .file("y", "third")
        .link("d/hard", "d/one")
        .symlink("d/soft", "one")
        .file("last", &"z".repeat(700))
        .bytes();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = Vec::new();
    for n in 0..1500 {
        let mut archive = base.clone();
        for _ in 0..=random.below(2) {
            damage(&mut archive, &mut random);
        }
        let s = fast_store();
        if s.snapshots
            .apply(None, &id(1), &archive[..], &ApplyLimits::default())
            .is_err()
        {
            continue;
        }
        let ours = contents(&detached_view(&s.snapshots.view("v", &id(1)).unwrap()));
        std::fs::write(folder.path().join(format!("{n}.tar")), &archive).unwrap();
        accepted.push((n, ours));
    }
    println!("{} of 1500 accepted", accepted.len());
    assert!((100..1400).contains(&accepted.len()), "{}", accepted.len());
    let theirs = by_python(folder.path());
    let mut disagreements = Vec::new();
    for (n, ours) in &accepted {
        let file = folder.path().join(format!("{n}.tar"));
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let tar = std::process::Command::new("tar")
            .args(["-x", "-p", "--numeric-owner", "-C"])
            .arg(&out)
            .arg("-f")
            .arg(&file)
            .output()
            .expect("tar is missing: apt install tar");
        let gnu = contents(&open_path(&out));
        // Its exit status is not asked: it also tells of what a later entry made good.
        if *ours != gnu {
            let stderr = String::from_utf8_lossy(&tar.stderr).into_owned();
            disagreements.push(format!("{n}: ours {ours:?}\n GNU tar {gnu:?} {stderr}"));
        }
        std::fs::remove_dir_all(&out).unwrap();
        let names: Vec<_> = ours.keys().cloned().collect();
        match theirs.get(&n.to_string()) {
            Some(python) if *python == names => {}
            python => disagreements.push(format!("{n}: ours {names:?}\n Python {python:?}")),
        }
    }
    assert!(
        disagreements.is_empty(),
        "{} of {}:\n{}",
        disagreements.len(),
        accepted.len(),
        disagreements.join("\n")
    );
}

/// Paths in each archive of a folder, sorted, as Python's tarfile reads them.
fn by_python(folder: &std::path::Path) -> std::collections::HashMap<String, Vec<String>> {
    let script = r#"
import glob, json, os, sys, tarfile
out = {}
for path in glob.glob(sys.argv[1] + "/*.tar"):
    key = os.path.basename(path)[:-4]
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as tar:
            names = set()
            for member in tar:
                parts = [p for p in member.name.split("/") if p not in ("", ".")]
                names.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
        raw = sorted(os.fsencode(n) for n in names)
        out[key] = [n.decode("utf-8", "replace") for n in raw]
    except Exception as error:
        out[key] = ["error: " + repr(error)]
print(json.dumps(out))
"#;
    let out = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(folder)
        .output()
        .expect("python3 is missing: apt install python3");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap()
}
