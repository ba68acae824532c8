//! Files, directories, what stands in them, and requests to devices.

use core::ffi::CStr;

use super::*;

pub fn open(path: &CStr, flags: u64) -> Result<Fd> {
    let flags = (flags | O_CLOEXEC) as usize;
    fd(call(
        arch::OPENAT,
        [AT_FDCWD as usize, text(path), flags, 0, 0, 0],
    ))
}

/// `openat2` with `RESOLVE_*` flags.
pub fn openat2(directory: i32, path: &CStr, flags: u64, resolve: u64) -> Result<Fd> {
    let how = [flags | O_CLOEXEC, 0, resolve];
    let mut tries = 0;
    loop {
        let result = call(
            OPENAT2,
            [
                directory as usize,
                text(path),
                at(&how),
                size_of_val(&how),
                0,
                0,
            ],
        );
        // The kernel gives up when something is renamed meanwhile.
        if result != Err(Errno::AGAIN) || tries == 128 {
            return fd(result);
        }
        tries += 1;
    }
}

pub fn write(file: i32, bytes: &[u8]) -> Result<()> {
    match call(
        arch::WRITE,
        [file as usize, at(bytes), bytes.len(), 0, 0, 0],
    )? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

pub fn dup_to(file: i32, number: u32) -> Result<()> {
    done(call(
        arch::DUP3,
        [file as usize, number as usize, 0, 0, 0, 0],
    ))
}

/// A copy with the lowest free number from `least` on, closed on `execve`.
pub fn dup_above(file: i32, least: u32) -> Result<Fd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    fd(call(
        arch::FCNTL,
        [file as usize, F_DUPFD_CLOEXEC, least as usize, 0, 0, 0],
    ))
}

/// Closes the numbers from `first` to `last`, or marks them to be closed on `execve`.
pub fn close_range(first: u32, last: u32, on_exec: bool) -> Result<()> {
    const ON_EXEC: usize = 4;
    let flags = if on_exec { ON_EXEC } else { 0 };
    done(call(
        CLOSE_RANGE,
        [first as usize, last as usize, flags, 0, 0, 0],
    ))
}

pub fn fchdir(directory: i32) -> Result<()> {
    done(call(arch::FCHDIR, [directory as usize, 0, 0, 0, 0, 0]))
}

/// The length of the working directory's path with its NUL.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    call(arch::GETCWD, [at_mut(buffer), buffer.len(), 0, 0, 0, 0])
}

pub fn mkdirat(directory: i32, name: &CStr, mode: u32) -> Result<()> {
    done(call(
        arch::MKDIRAT,
        [directory as usize, text(name), mode as usize, 0, 0, 0],
    ))
}

pub fn mknodat(directory: i32, name: &CStr, mode: u32, device: u32) -> Result<()> {
    done(call(
        arch::MKNODAT,
        [
            directory as usize,
            text(name),
            mode as usize,
            device as usize,
            0,
            0,
        ],
    ))
}

pub fn symlinkat(link: &CStr, directory: i32, name: &CStr) -> Result<()> {
    done(call(
        arch::SYMLINKAT,
        [text(link), directory as usize, text(name), 0, 0, 0],
    ))
}

pub fn readlinkat(directory: i32, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    call(
        arch::READLINKAT,
        [
            directory as usize,
            text(name),
            at_mut(buffer),
            buffer.len(),
            0,
            0,
        ],
    )
}

pub fn chown_at(directory: i32, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    let arguments = [
        directory as usize,
        text(name),
        uid as usize,
        gid as usize,
        AT_SYMLINK_NOFOLLOW,
        0,
    ];
    done(call(arch::FCHOWNAT, arguments))
}

pub fn fchown(file: i32, uid: u32, gid: u32) -> Result<()> {
    done(call(
        arch::FCHOWN,
        [file as usize, uid as usize, gid as usize, 0, 0, 0],
    ))
}

/// What `statx` tells of a file, in the kernel's layout.
#[repr(C)]
#[derive(Default)]
pub struct Stat {
    mask: u32,
    blksize: u32,
    pub attributes: u64,
    nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    spare: u16,
    pub ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    times: [u64; 8],
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub dev_major: u32,
    pub dev_minor: u32,
    rest: [u64; 14],
}

impl Stat {
    const KIND: u16 = 0o170000;

    pub fn is_dir(&self) -> bool {
        self.mode & Self::KIND == 0o040000
    }

    pub fn is_fifo(&self) -> bool {
        self.mode & Self::KIND == 0o010000
    }

    pub fn is_device(&self, mode: u32, major: u32, minor: u32) -> bool {
        let kind = u32::from(self.mode & Self::KIND) == mode & u32::from(Self::KIND);
        kind && (self.rdev_major, self.rdev_minor) == (major, minor)
    }
}

pub fn stat(file: i32) -> Result<Stat> {
    const BASIC: usize = 0x7ff;
    let mut stat = Stat::default();
    let path = at(c"");
    call(
        arch::STATX,
        [
            file as usize,
            path,
            AT_EMPTY_PATH,
            BASIC,
            at_mut(&mut stat),
            0,
        ],
    )?;
    Ok(stat)
}

/// The magic number of the file system a file is on.
pub fn filesystem(file: i32) -> Result<u64> {
    let mut statfs = [0u64; 16];
    call(
        arch::FSTATFS,
        [file as usize, at_mut(&mut statfs), 0, 0, 0, 0],
    )?;
    let [magic, ..] = statfs;
    Ok(magic)
}

pub fn ioctl_value(file: i32, request: usize, value: usize) -> Result<usize> {
    call(arch::IOCTL, [file as usize, request, value, 0, 0, 0])
}

pub fn ioctl<T>(file: i32, request: usize, argument: &mut T) -> Result<usize> {
    call(
        arch::IOCTL,
        [file as usize, request, at_mut(argument), 0, 0, 0],
    )
}

pub fn socket(domain: usize, kind: usize) -> Result<Fd> {
    const CLOEXEC: usize = 0x8_0000;
    fd(call(arch::SOCKET, [domain, kind | CLOEXEC, 0, 0, 0, 0]))
}

pub fn sethostname(name: &CStr) -> Result<()> {
    done(call(
        arch::SETHOSTNAME,
        [text(name), name.to_bytes().len(), 0, 0, 0, 0],
    ))
}

pub fn setdomainname(name: &CStr) -> Result<()> {
    done(call(
        arch::SETDOMAINNAME,
        [text(name), name.to_bytes().len(), 0, 0, 0, 0],
    ))
}
