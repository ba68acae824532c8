//! A volume's first content: a copy of what the image has at the place where the volume is mounted.
//!
//! The root file system is mounted nowhere yet. As root it is a detached mount, read through its descriptor; for an
//! ordinary user it is a stack of directories that only the container's own namespaces will join, so it is read here as
//! overlayfs would: the topmost entry counts, whiteouts hide, opaque directories end the search.

use std::collections::HashSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use orlop_unionfs::Rootfs;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps};
use rustix::io::Errno;

use crate::error::Error;
use crate::record::MountRecord;

/// Directories within directories: more is an image that wants to exhaust the stack.
const DEEPEST: usize = 256;

/// Copies what the image has at the volume's target into the volume. Nothing there, or no directory, is nothing to copy.
pub(crate) fn volume(rootfs: &Rootfs, mount: &MountRecord) -> Result<(), Error> {
    let filling = |source: io::Error| Error::While {
        operation: format!("filling the volume at {}", mount.target),
        source: Box::new(Error::io("copying to", &mount.source)(source)),
    };
    let roots = roots(rootfs).map_err(filling)?;
    let target = mount.target.trim_start_matches('/');
    let mut stack = Vec::new();
    for root in &roots {
        match open_dir_in(root, target) {
            Ok(dir) => {
                let last = opaque(&dir);
                stack.push(dir);
                if last {
                    break;
                }
            }
            Err(Errno::NOENT) if !hidden(root, target) => {}
            // A file, a whiteout or a link out of the layer hides what is below it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => break,
            Err(errno) => return Err(filling(errno.into())),
        }
    }
    let Some(top) = stack.first() else {
        return Ok(());
    };
    let stat = fs::fstat(top).map_err(|e| filling(e.into()))?;
    let to = open_dir(fs::CWD, OsStr::new(&mount.source)).map_err(|e| filling(e.into()))?;
    merge(&stack, &to, 0).map_err(filling)?;
    dress(&to, &stat).map_err(filling)
}

fn roots(rootfs: &Rootfs) -> io::Result<Vec<OwnedFd>> {
    let paths: Vec<PathBuf> = match rootfs {
        Rootfs::Detached(fd) => return Ok(vec![fd.try_clone()?]),
        Rootfs::Directory(path) => vec![path.clone()],
        Rootfs::Recipe(recipe) => {
            let base = recipe
                .directory
                .clone()
                .unwrap_or_else(|| PathBuf::from("/"));
            let lower = recipe
                .options
                .iter()
                .filter_map(|option| option.strip_prefix(b"lowerdir="));
            lower
                .flat_map(|list| list.split(|b| *b == b':'))
                .map(|path| base.join(OsStr::from_bytes(path)))
                .collect()
        }
        _ => Vec::new(),
    };
    paths
        .iter()
        .map(|path| open_dir(fs::CWD, path.as_os_str()).map_err(io::Error::from))
        .collect()
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

fn open_dir(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    fs::openat(at, name, DIRECTORY, Mode::empty())
}

fn open_dir_in(root: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Whether one of the directories above `path` is opaque in this layer, and `path` is not in it.
fn hidden(root: impl AsFd, path: &str) -> bool {
    Path::new(path)
        .ancestors()
        .skip(1)
        .filter_map(Path::to_str)
        .filter(|above| !above.is_empty())
        .filter_map(|above| open_dir_in(root.as_fd(), above).ok())
        .any(|dir| opaque(&dir))
}

fn opaque(dir: impl AsFd) -> bool {
    ["user.overlay.opaque", "trusted.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0u8; 4];
        matches!(fs::fgetxattr(dir.as_fd(), name, &mut value), Ok(1) if value.first() == Some(&b'y'))
    })
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Copies the union of directories, the topmost first, into `to`.
fn merge(stack: &[OwnedFd], to: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other("its directories are nested too deeply"));
    }
    let mut seen: HashSet<OsString> = HashSet::new();
    for (number, layer) in stack.iter().enumerate() {
        for entry in Dir::read_from(layer)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..")
                || !seen.insert(OsString::from_vec(name.to_bytes().to_vec()))
            {
                continue;
            }
            let stat = fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if is_whiteout(&stat) {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let below = below(stack.get(number..).unwrap_or_default(), name)?;
                fs::mkdirat(to, name, Mode::RWXU)?;
                let made = open_dir(to, name)?;
                merge(&below, &made, depth + 1)?;
                dress(&made, &stat)?;
            } else {
                copy(layer, to, name.to_owned(), &stat)?;
            }
        }
    }
    Ok(())
}

/// The directory `name` of all layers that take part in it.
fn below(stack: &[OwnedFd], name: &std::ffi::CStr) -> io::Result<Vec<OwnedFd>> {
    let mut dirs = Vec::new();
    for layer in stack {
        match open_dir(layer, name) {
            Ok(dir) => {
                let last = opaque(&dir);
                dirs.push(dir);
                if last {
                    break;
                }
            }
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(dirs)
}

fn copy(from: &OwnedFd, to: &OwnedFd, name: CString, stat: &Stat) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut source = File::from(fs::openat(from, &name, flags, Mode::empty())?);
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut copy = File::from(fs::openat(to, &name, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(&mut source, &mut copy)?;
            dress(&copy, stat)
        }
        FileType::Symlink => {
            let target = fs::readlinkat(from, &name, Vec::new())?;
            fs::symlinkat(&target, to, &name)?;
            let owner = (
                Some(fs::Uid::from_raw(stat.st_uid)),
                Some(fs::Gid::from_raw(stat.st_gid)),
            );
            privileged(fs::chownat(
                to,
                &name,
                owner.0,
                owner.1,
                AtFlags::SYMLINK_NOFOLLOW,
            ))
        }
        kind @ (FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice) => {
            // An ordinary user makes no devices; the container could not have opened them either.
            match fs::mknodat(to, &name, kind, mode, stat.st_rdev) {
                Ok(()) => {}
                Err(Errno::PERM) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
            let owner = (
                Some(fs::Uid::from_raw(stat.st_uid)),
                Some(fs::Gid::from_raw(stat.st_gid)),
            );
            privileged(fs::chownat(
                to,
                &name,
                owner.0,
                owner.1,
                AtFlags::SYMLINK_NOFOLLOW,
            ))
        }
        _ => Ok(()),
    }
}

/// Owner, mode and times, in this order: a change of owner takes set-user-ID bits away.
fn dress(fd: impl AsFd, stat: &Stat) -> io::Result<()> {
    let owner = (
        Some(fs::Uid::from_raw(stat.st_uid)),
        Some(fs::Gid::from_raw(stat.st_gid)),
    );
    privileged(fs::fchown(&fd, owner.0, owner.1))?;
    fs::fchmod(&fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds, nanoseconds| fs::Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(stat.st_atime as _, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
    };
    Ok(fs::futimens(&fd, &times)?)
}

/// Without privilege everything belongs to the user already, which is root inside.
fn privileged(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::PERM | Errno::INVAL) if !rustix::process::geteuid().is_root() => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs as std_fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn record(source: &Path, target: &str) -> MountRecord {
        MountRecord {
            kind: "volume".into(),
            name: None,
            source: source.display().to_string(),
            target: target.into(),
            read_only: false,
            anonymous: true,
        }
    }

    #[test]
    fn a_stack_is_read_as_overlayfs_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let (top, low, to) = (
            dir.path().join("top"),
            dir.path().join("low"),
            dir.path().join("to"),
        );
        for path in [
            top.join("data/both"),
            top.join("data/opaque"),
            low.join("data/both"),
            low.join("data/opaque"),
            to.clone(),
        ] {
            std_fs::create_dir_all(path).unwrap();
        }
        let write = |path: PathBuf, text: &str| std_fs::write(path, text).unwrap();
        write(top.join("data/new"), "top");
        write(low.join("data/new"), "low");
        write(low.join("data/old"), "low");
        write(top.join("data/both/a"), "a");
        write(low.join("data/both/b"), "b");
        write(low.join("data/opaque/gone"), "");
        write(low.join("data/file"), "low");
        symlink("/etc/passwd", low.join("data/link")).unwrap();
        std_fs::set_permissions(low.join("data/old"), std_fs::Permissions::from_mode(0o4750))
            .unwrap();
        let opaque = File::open(top.join("data/opaque")).unwrap();
        if let Err(errno) = fs::fsetxattr(
            &opaque,
            "user.overlay.opaque",
            b"y",
            fs::XattrFlags::empty(),
        ) {
            panic!(
                "the file system of {} keeps no user attributes: {errno}",
                dir.path().display()
            );
        }
        let recipe = orlop_unionfs::Recipe {
            fstype: b"overlay".to_vec(),
            source: b"overlay".to_vec(),
            options: vec![b"lowerdir=top:low".to_vec()],
            directory: Some(dir.path().to_owned()),
            read_only: false,
        };
        volume(&Rootfs::Recipe(recipe), &record(&to, "/data")).unwrap();
        let read = |name: &str| std_fs::read_to_string(to.join(name)).unwrap();
        assert_eq!(
            (read("new"), read("old"), read("both/a"), read("both/b")),
            ("top".into(), "low".into(), "a".into(), "b".into())
        );
        assert!(!to.join("opaque/gone").exists());
        assert_eq!(
            std_fs::read_link(to.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(
            std_fs::metadata(to.join("old")).unwrap().mode() & 0o7777,
            0o4750
        );
        let times = |path: &Path| std_fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(times(&to.join("old")), times(&low.join("data/old")));
    }

    #[test]
    fn nothing_there_and_links_out_copy_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (root, to) = (dir.path().join("root"), dir.path().join("to"));
        std_fs::create_dir_all(&root).unwrap();
        std_fs::create_dir_all(&to).unwrap();
        std_fs::write(root.join("file"), "").unwrap();
        symlink("/", root.join("out")).unwrap();
        for target in ["/absent", "/file", "/a/../../..", "/out/etc"] {
            volume(&Rootfs::Directory(root.clone()), &record(&to, target)).unwrap();
        }
        assert_eq!(std_fs::read_dir(&to).unwrap().count(), 0);
    }
}
