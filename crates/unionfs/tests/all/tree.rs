//! A directory tree as text, with every attribute, so that two can be compared.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

/// One line a path: type, mode, owner, size, time, device, content or target, attributes, and the first other name.
pub(crate) fn dump(root: impl AsFd) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut links = HashMap::new();
    walk(root.as_fd(), b"", &mut out, &mut links);
    out
}

fn walk(
    root: std::os::fd::BorrowedFd<'_>,
    path: &[u8],
    out: &mut BTreeMap<String, String>,
    links: &mut HashMap<u64, String>,
) {
    let at = if path.is_empty() { &b"."[..] } else { path };
    let stat = rustix::fs::statat(root, at, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut line = format!(
        "{:o} {}:{} {}.{:09} ",
        stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec
    );
    if kind != FileType::Directory && stat.st_nlink > 1 {
        let first = links.entry(stat.st_ino).or_insert_with(|| lossy(path));
        line += &format!("same as {first} ({} names) ", stat.st_nlink);
    }
    match kind {
        FileType::RegularFile => {
            let fd = rustix::fs::openat(root, at, OFlags::RDONLY, Mode::empty()).unwrap();
            let mut body = Vec::new();
            std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut body).unwrap();
            line += &format!(
                "{} bytes, sum {} ",
                body.len(),
                body.iter().map(|b| u64::from(*b)).sum::<u64>()
            );
        }
        FileType::Symlink => {
            line += &format!(
                "-> {:?} ",
                rustix::fs::readlinkat(root, at, Vec::new()).unwrap()
            )
        }
        _ => {
            line += &format!(
                "{:x} ",
                if kind == FileType::Directory {
                    0
                } else {
                    stat.st_rdev
                }
            )
        }
    }
    line += &xattrs(root, at);
    out.insert(lossy(path), line);
    if kind == FileType::Directory {
        let fd = rustix::fs::openat(root, at, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .unwrap();
        let mut names: Vec<Vec<u8>> = rustix::fs::Dir::read_from(&fd)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_bytes().to_vec())
            .filter(|n| n != b"." && n != b"..")
            .collect();
        names.sort();
        for name in names {
            let child = if path.is_empty() {
                name
            } else {
                [path, b"/", &name].concat()
            };
            walk(root, &child, out, links);
        }
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn xattrs(root: std::os::fd::BorrowedFd<'_>, path: &[u8]) -> String {
    let path = [
        format!("/proc/self/fd/{}/", root.as_raw_fd()).as_bytes(),
        path,
    ]
    .concat();
    let mut names = vec![0u8; 4096];
    let n = rustix::fs::llistxattr(path.as_slice(), &mut names[..]).unwrap();
    names.truncate(n);
    let mut all: Vec<String> = names
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 4096];
            let n = rustix::fs::lgetxattr(path.as_slice(), name, &mut value[..]).unwrap();
            format!("{}={:?}", String::from_utf8_lossy(name), &value[..n])
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// Fails with the lines that differ.
pub(crate) fn assert_same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    let mut differences = Vec::new();
    for path in left.keys().chain(right.keys()) {
        if left.get(path) != right.get(path) {
            differences.push(format!(
                "{path:?}\n  left:  {:?}\n  right: {:?}",
                left.get(path),
                right.get(path)
            ));
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
