//! Small file system helpers, all relative to a directory's descriptor.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Opens a directory below `at` without following any link on the way.
pub(crate) fn open_dir(at: impl AsFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    resolve(at, path, flags)
}

/// Opens a file below `at` without following any link on the way.
pub(crate) fn open_file(at: impl AsFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    resolve(
        at,
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
    )
}

/// Opens a regular file to read it, even one whose owner may not: `/etc/shadow` has mode 0 in some images, and without
/// privilege its owner has to allow himself first.
pub(crate) fn open_readable(
    at: impl AsFd,
    name: &[u8],
    stat: &Stat,
) -> rustix::io::Result<OwnedFd> {
    match open_file(&at, name) {
        Err(Errno::ACCESS) if file_type(stat) == FileType::RegularFile => {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            chmod(&at, name, mode | Mode::RUSR)?;
            let opened = open_file(&at, name);
            chmod(&at, name, mode)?;
            opened
        }
        other => other,
    }
}

/// Sets the mode of what is at this name, and never of what a link there points to, even one just put there.
pub(crate) fn chmod(at: impl AsFd, name: &[u8], mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = resolve(at, name, flags)?;
    if file_type(&fs::fstat(&fd)?) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    // fchmod refuses such a descriptor; through procfs it is reached without a name.
    fs::chmod(proc_fd(fd.as_fd()), mode)
}

fn resolve(at: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: a rename raced the check for `..`; there is none in our paths, so trying again ends.
        match fs::openat2(at.as_fd(), path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The type and attributes of a name, links not followed; `None` if there is nothing.
pub(crate) fn stat(at: impl AsFd, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Overlayfs's mark of something deleted: a character device 0/0
/// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Names in a directory with their types, without `.` and `..`, in the order the kernel gives them.
pub(crate) fn list(dir: impl AsFd) -> rustix::io::Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

/// A directory that may exist already.
pub(crate) fn mkdir(at: impl AsFd, name: &str, mode: u32) -> rustix::io::Result<()> {
    match fs::mkdirat(at, name, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Levels below which removal moves directories up instead of going down: bounds descriptors and stack for trees of any depth.
const DEEPEST: usize = 48;

/// Removes whatever `name` is, with everything below it; fine if it is gone already.
///
/// Links are never followed. Directories without write permission are opened up first, as an ordinary user needs it.
pub(crate) fn remove_tree(at: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    let at = at.as_fd();
    match remove_one(at, name) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(Errno::NOENT) => return Ok(()),
        other => return other,
    }
    let mut moved = 0u64;
    loop {
        let before = moved;
        remove_below(at, name, at, name, DEEPEST, &mut moved)?;
        match remove_one(at, name) {
            Err(Errno::NOENT) => return Ok(()),
            // Deep directories were moved up to the top, or somebody else is busy in here: another round.
            Err(Errno::NOTEMPTY | Errno::EXIST) if moved > before => {}
            other => return other,
        }
    }
}

/// Unlinks a file or an empty directory.
fn remove_one(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    match fs::unlinkat(at, name, AtFlags::empty()) {
        // EPERM is what POSIX says for a directory, EISDIR what Linux does.
        Err(Errno::ISDIR | Errno::PERM) => fs::unlinkat(at, name, AtFlags::REMOVEDIR),
        other => other,
    }
}

fn remove_below(
    at: BorrowedFd<'_>,
    name: &[u8],
    top_at: BorrowedFd<'_>,
    top: &[u8],
    depth: usize,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    let dir = match open_dir(at, name) {
        Err(Errno::ACCESS) => {
            // Only ever reached without privilege, below a directory that belongs to the caller.
            chmod(at, name, Mode::RWXU)?;
            open_dir(at, name)?
        }
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut opened_up = false;
    for (child, kind) in list(&dir)? {
        let child = child.as_bytes();
        let mut result = match kind {
            FileType::Directory => fs::unlinkat(&dir, child, AtFlags::REMOVEDIR),
            _ => remove_one(dir.as_fd(), child),
        };
        if result == Err(Errno::ACCESS) && !opened_up {
            fs::fchmod(&dir, Mode::RWXU)?;
            opened_up = true;
            result = remove_one(dir.as_fd(), child);
        }
        match result {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        if depth > 0 {
            remove_below(dir.as_fd(), child, top_at, top, depth - 1, moved)?;
        } else {
            let top = open_dir(top_at, top)?;
            loop {
                *moved += 1;
                match fs::renameat_with(
                    &dir,
                    child,
                    &top,
                    format!(".deep-{moved}"),
                    fs::RenameFlags::NOREPLACE,
                ) {
                    Err(Errno::EXIST) => {}
                    other => break other?,
                }
            }
            continue;
        }
        match fs::unlinkat(&dir, child, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Extended attributes: names and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// All extended attribute names of an open file or directory.
pub(crate) fn xattr_names(path: &XattrPath<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut buffer = vec![0u8; 1024];
    let length = loop {
        match path.list(&mut buffer) {
            Err(Errno::RANGE) => {
                let want = path.list(&mut [][..])?;
                buffer.resize(want.max(buffer.len() * 2), 0);
            }
            // A file system without attributes has none.
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            other => break other?,
        }
    };
    buffer.truncate(length);
    Ok(buffer
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .filter_map(|n| CString::new(n).ok())
        .collect())
}

/// One extended attribute's value; `None` if there is none of the name.
pub(crate) fn xattr(
    path: &XattrPath<'_>,
    name: &std::ffi::CStr,
) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0u8; 256];
    loop {
        match path.get(name, &mut buffer) {
            Err(Errno::RANGE) => {
                let want = path.get(name, &mut [][..])?;
                buffer.resize(want.max(buffer.len() * 2), 0);
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e),
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
        }
    }
}

/// Where extended attributes are read and written: by descriptor, or for what cannot be opened (links, devices, FIFOs) by
/// name below a directory.
pub(crate) enum XattrPath<'a> {
    Fd(BorrowedFd<'a>),
    /// `/proc/self/fd/<directory>/<name>`, whose last component the `l` calls do not follow.
    Name(Vec<u8>),
}

impl<'a> XattrPath<'a> {
    pub(crate) fn name(dir: BorrowedFd<'_>, name: &[u8]) -> XattrPath<'a> {
        XattrPath::Name([proc_fd(dir).as_bytes(), b"/", name].concat())
    }

    fn list(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            XattrPath::Fd(fd) => fs::flistxattr(fd, buffer),
            XattrPath::Name(path) => fs::llistxattr(path.as_slice(), buffer),
        }
    }

    fn get(&self, name: &std::ffi::CStr, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            XattrPath::Fd(fd) => fs::fgetxattr(fd, name, buffer),
            XattrPath::Name(path) => fs::lgetxattr(path.as_slice(), name, buffer),
        }
    }

    pub(crate) fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        match self {
            XattrPath::Fd(fd) => fs::fsetxattr(fd, name, value, fs::XattrFlags::empty()),
            XattrPath::Name(path) => {
                fs::lsetxattr(path.as_slice(), name, value, fs::XattrFlags::empty())
            }
        }
    }
}

/// A path to an open descriptor. `thread-self`, because a thread may have a descriptor table of its own.
pub(crate) fn proc_fd(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd())
}

/// The calling process's umask, which only changing it or procfs tells; without procfs, the worst case.
pub(crate) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o777)
}

/// Writes a whole buffer.
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
