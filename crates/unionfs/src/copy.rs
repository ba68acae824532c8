//! Copies of single files with all their attributes; data is shared where the file system can.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::Error;
use crate::encoding::is_overlay_xattr;
use crate::error::At;
use crate::fsutil::{self, XattrPath};

/// Gives `to` the owner, attributes, mode and times of `from`; overlayfs's own attributes stay behind.
pub(crate) fn attributes(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    path: &[u8],
) -> Result<(), Error> {
    let want = fs::fstat(from).at_entry("examining", path)?;
    let have = fs::fstat(to).at_entry("examining", path)?;
    if (want.st_uid, want.st_gid) != (have.st_uid, have.st_gid) {
        fs::fchown(
            to,
            Some(Uid::from_raw(want.st_uid)),
            Some(Gid::from_raw(want.st_gid)),
        )
        .at_entry("setting owner of", path)?;
    }
    xattrs(&XattrPath::Fd(from), &XattrPath::Fd(to), path)?;
    fs::fchmod(to, Mode::from_raw_mode(want.st_mode & 0o7777)).at_entry("setting mode of", path)?;
    fs::futimens(to, &times(&want)).at_entry("setting times of", path)
}

fn xattrs(from: &XattrPath<'_>, to: &XattrPath<'_>, path: &[u8]) -> Result<(), Error> {
    for name in fsutil::xattr_names(from).at_entry("listing extended attributes of", path)? {
        if is_overlay_xattr(name.as_bytes()) {
            continue;
        }
        let Some(value) =
            fsutil::xattr(from, &name).at_entry("reading extended attribute of", path)?
        else {
            continue;
        };
        match to.set(name.as_bytes(), &value) {
            // Not kept where there is no privilege for it: a label, or a capability of a file that runs as nobody special.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(e) => return Err(e).at_entry("setting extended attribute of", path),
        }
    }
    Ok(())
}

pub(crate) fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Copies anything but a directory. `path` names it in errors.
pub(crate) fn node(
    from: BorrowedFd<'_>,
    from_name: &[u8],
    stat: &Stat,
    to: BorrowedFd<'_>,
    to_name: &[u8],
    path: &[u8],
) -> Result<(), Error> {
    match fsutil::file_type(stat) {
        FileType::RegularFile => {
            let source = fsutil::open_readable(from, from_name, stat).at_entry("opening", path)?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = fs::openat(to, to_name, flags, Mode::RUSR | Mode::WUSR)
                .at_entry("creating", path)?;
            contents(&source, &target, stat.st_size.cast_unsigned()).at_entry("copying", path)?;
            return attributes(source.as_fd(), target.as_fd(), path);
        }
        FileType::Symlink => {
            let link =
                fs::readlinkat(from, from_name, Vec::new()).at_entry("reading link", path)?;
            fs::symlinkat(&link, to, to_name).at_entry("creating", path)?;
        }
        kind => {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            fs::mknodat(to, to_name, kind, mode, stat.st_rdev).at_entry("creating", path)?;
        }
    }
    let ids = (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    );
    fs::chownat(to, to_name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW)
        .at_entry("setting owner of", path)?;
    xattrs(
        &XattrPath::name(from, from_name),
        &XattrPath::name(to, to_name),
        path,
    )?;
    if fsutil::file_type(stat) != FileType::Symlink {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        fs::chmodat(to, to_name, mode, AtFlags::empty()).at_entry("setting mode of", path)?;
    }
    fs::utimensat(to, to_name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        .at_entry("setting times of", path)
}

/// The bytes of a file: shared extents if possible, else copied inside the kernel, holes kept.
fn contents(from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
    if size == 0 || fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    fs::ftruncate(to, size)?;
    let mut at = 0;
    loop {
        // ENXIO: only a hole is left.
        at = match fs::seek(from, fs::SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(()),
            other => other?,
        };
        let end = fs::seek(from, fs::SeekFrom::Hole(at))?;
        copy_range(from, to, at, end)?;
        at = end;
    }
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> rustix::io::Result<()> {
    let mut buffer = Vec::new();
    while at < end {
        let (mut input, mut output) = (at, at);
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        let copied = match fs::copy_file_range(from, Some(&mut input), to, Some(&mut output), want)
        {
            // Between file systems, or one that has no such call.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                buffer.resize(128 * 1024, 0);
                let read = rustix::io::pread(from, &mut buffer[..want.min(128 * 1024)], at)?;
                let mut written = 0;
                while written < read {
                    written += rustix::io::pwrite(to, &buffer[written..read], at + written as u64)?;
                }
                read
            }
            other => other?,
        };
        if copied == 0 {
            return Ok(());
        }
        at += copied as u64;
    }
    Ok(())
}

/// Whether type, mode, owner and modification time are the same.
pub(crate) fn same_attributes(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)
        && (a.st_mtime, a.st_mtime_nsec) == (b.st_mtime, b.st_mtime_nsec)
}

/// 1970, for what has no time of its own.
pub(crate) fn epoch() -> Timestamps {
    let epoch = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: epoch,
        last_modification: epoch,
    }
}
