//! The kernel, as safe functions: system calls by number, their structures, and what the compiler asks of a C library.
//!
//! All `unsafe` of the program stands here and in the two files for an architecture each.

use core::ffi::{CStr, c_char};
use core::ptr;

use crate::wire::Texts;

#[cfg(target_arch = "aarch64")]
#[path = "sys_aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "sys_x86_64.rs"]
mod arch;

pub const O_DIRECTORY: u64 = arch::O_DIRECTORY;
pub const O_NOFOLLOW: u64 = arch::O_NOFOLLOW;
pub const O_WRONLY: u64 = 0x1;
pub const O_RDWR: u64 = 0x2;
pub const O_NOCTTY: u64 = 0x100;
pub const O_CLOEXEC: u64 = 0x8_0000;
pub const O_PATH: u64 = 0x20_0000;

// System calls since 5.0 have one number everywhere.
const OPEN_TREE: usize = 428;
const MOVE_MOUNT: usize = 429;
const FSOPEN: usize = 430;
const FSCONFIG: usize = 431;
const FSMOUNT: usize = 432;
const CLONE3: usize = 435;
const CLOSE_RANGE: usize = 436;
const OPENAT2: usize = 437;
const MOUNT_SETATTR: usize = 442;

pub const AT_FDCWD: i32 = -100;
const AT_EMPTY_PATH: usize = 0x1000;
const AT_RECURSIVE: usize = 0x8000;
const AT_SYMLINK_NOFOLLOW: usize = 0x100;

/// An error number of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

#[rustfmt::skip]
#[allow(dead_code)]
impl Errno {
    pub const PERM: Errno = Errno(1);
    pub const NOENT: Errno = Errno(2);
    pub const INTR: Errno = Errno(4);
    pub const AGAIN: Errno = Errno(11);
    pub const ACCES: Errno = Errno(13);
    pub const EXIST: Errno = Errno(17);
    pub const XDEV: Errno = Errno(18);
    pub const NODEV: Errno = Errno(19);
    pub const NOTDIR: Errno = Errno(20);
    pub const INVAL: Errno = Errno(22);
    pub const ROFS: Errno = Errno(30);
    pub const NAMETOOLONG: Errno = Errno(36);
    pub const NOSYS: Errno = Errno(38);
    pub const LOOP: Errno = Errno(40);
    pub const PROTO: Errno = Errno(71);
    pub const NOTSUP: Errno = Errno(95);
    pub const TIMEDOUT: Errno = Errno(110);
    pub const STALE: Errno = Errno(116);
}

pub type Result<T> = core::result::Result<T, Errno>;

/// A file descriptor that is closed when it goes.
pub struct Fd(i32);

impl Fd {
    pub fn raw(&self) -> i32 {
        self.0
    }

    /// Takes over a number received from the kernel.
    pub fn own(raw: i32) -> Fd {
        Fd(raw)
    }

    /// Gives the number away: it stays open until the final `execve`.
    pub fn keep(self) -> i32 {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        call(arch::CLOSE, [self.0 as usize, 0, 0, 0, 0, 0]).ok();
    }
}

/// A system call whose every pointer the functions of this file made from a reference that outlives the call.
fn call(number: usize, arguments: [usize; 6]) -> Result<usize> {
    // SAFETY: `call` is private to this file; each use below passes what the numbered call takes.
    let result = unsafe { arch::syscall(number, arguments) };
    if result < 0 {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

fn fd(result: Result<usize>) -> Result<Fd> {
    result.map(|raw| Fd(raw as i32))
}

fn done(result: Result<usize>) -> Result<()> {
    result.map(|_| ())
}

fn at<T: ?Sized>(reference: &T) -> usize {
    ptr::from_ref(reference).cast::<u8>() as usize
}

fn at_mut<T: ?Sized>(reference: &mut T) -> usize {
    ptr::from_mut(reference).cast::<u8>() as usize
}

fn text(text: &CStr) -> usize {
    text.as_ptr() as usize
}

// --- the process ---

/// Called by the entry with the stack as the kernel left it: `argc`, `argv`.
pub(crate) unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the kernel put `argc` and then the pointers of `argv`, each to a C string, here.
    let number = unsafe {
        if *stack < 2 {
            exit(1);
        }
        CStr::from_ptr(*stack.add(2) as *const c_char)
    };
    let mut channel = 0i32;
    for digit in number.to_bytes() {
        channel = channel
            .wrapping_mul(10)
            .wrapping_add(i32::from(digit.wrapping_sub(b'0')));
    }
    crate::main(Fd(channel))
}

pub fn exit(status: i32) -> ! {
    loop {
        call(arch::EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]).ok();
    }
}

/// `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The other process after a clone.
pub enum Cloned {
    Child,
    Parent { pid: u32, pidfd: Fd },
}

/// A sibling of this process in new namespaces. The kernel notes its id in the status page before it runs.
pub fn clone_sibling(namespaces: u64, cgroup: Option<i32>, status: &Status) -> Result<Cloned> {
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        flags: namespaces | CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID,
        pidfd: at_mut(&mut pidfd) as u64,
        parent_tid: status.word(crate::protocol::status::CONTAINER) as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup as u64;
    }
    // A copy of this address space, as `fork`: this program has one thread, and its stack is copied with it.
    match call(CLONE3, [at(&args), size_of::<CloneArgs>(), 0, 0, 0, 0])? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: written by the kernel during the call.
            let pidfd = Fd(unsafe { ptr::read_volatile(&pidfd) });
            Ok(Cloned::Parent {
                pid: pid as u32,
                pidfd,
            })
        }
    }
}

pub fn setns(namespace: i32, kind: u64) -> Result<()> {
    done(call(
        arch::SETNS,
        [namespace as usize, kind as usize, 0, 0, 0, 0],
    ))
}

pub fn unshare(kind: u64) -> Result<()> {
    done(call(arch::UNSHARE, [kind as usize, 0, 0, 0, 0, 0]))
}

pub fn setsid() -> Result<()> {
    done(call(arch::SETSID, [0; 6]))
}

pub fn umask(mask: u32) -> u32 {
    call(arch::UMASK, [mask as usize, 0, 0, 0, 0, 0]).unwrap_or(0) as u32
}

pub fn prctl(option: usize, a: usize, b: usize) -> Result<usize> {
    call(arch::PRCTL, [option, a, b, 0, 0, 0])
}

pub fn prlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    done(call(
        arch::PRLIMIT64,
        [0, resource as usize, at(&limit), 0, 0, 0],
    ))
}

pub fn setgroups(groups: &[u8]) -> Result<()> {
    done(call(
        arch::SETGROUPS,
        [groups.len() / 4, at(groups), 0, 0, 0, 0],
    ))
}

pub fn setresgid(gid: u32) -> Result<()> {
    let gid = gid as usize;
    done(call(arch::SETRESGID, [gid, gid, gid, 0, 0, 0]))
}

pub fn setresuid(uid: u32) -> Result<()> {
    let uid = uid as usize;
    done(call(arch::SETRESUID, [uid, uid, uid, 0, 0, 0]))
}

pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let low = [effective as u32, permitted as u32, inheritable as u32];
    let high = [
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    let data = [low, high];
    done(call(arch::CAPSET, [at(&header), at(&data), 0, 0, 0, 0]))
}

/// `struct sock_fprog`.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: usize,
}

/// Loads a filter; returns the listener's number if the flags ask for one.
pub fn seccomp_filter(program: &[u8], flags: u64) -> Result<usize> {
    const SET_MODE_FILTER: usize = 1;
    let program = FilterProgram {
        length: (program.len() / 8) as u16,
        instructions: at(program),
    };
    call(
        arch::SECCOMP,
        [SET_MODE_FILTER, flags as usize, at(&program), 0, 0, 0],
    )
}

pub fn keyctl_join_session() -> Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    done(call(arch::KEYCTL, [JOIN_SESSION_KEYRING, 0, 0, 0, 0, 0]))
}

pub fn signals_to_default() {
    let default = [0usize; 4];
    for signal in 1..=64 {
        // SIGKILL and SIGSTOP refuse; there is nothing to reset about them.
        call(arch::RT_SIGACTION, [signal, at(&default), 0, 8, 0, 0]).ok();
    }
}

pub fn unblock_signals() -> Result<()> {
    const SIG_SETMASK: usize = 2;
    let none = 0u64;
    done(call(
        arch::RT_SIGPROCMASK,
        [SIG_SETMASK, at(&none), 0, 8, 0, 0],
    ))
}

/// Pointers to strings, ended by a null pointer, as `execve` takes them.
pub struct Vector(usize);

impl Vector {
    pub fn new(texts: Texts<'static>) -> Result<Vector> {
        let bytes = (texts.len() + 1) * size_of::<usize>();
        let base = map(bytes, None)?;
        for (index, each) in texts.enumerate() {
            // SAFETY: the fresh mapping has room for one pointer more than there are texts; the last stays null.
            unsafe { (base as *mut usize).add(index).write(text(each)) };
        }
        Ok(Vector(base))
    }
}

/// Returns only to say why not.
pub fn execve(path: &CStr, argv: &Vector, env: &Vector) -> Errno {
    match call(arch::EXECVE, [text(path), argv.0, env.0, 0, 0, 0]) {
        Err(errno) => errno,
        Ok(_) => Errno::NOSYS,
    }
}

// --- memory ---

/// Private memory, or a file's: shared and writable from offset 0, private and read-only behind it.
fn map(length: usize, file: Option<(i32, usize)>) -> Result<usize> {
    const READ: usize = 1;
    const WRITE: usize = 2;
    const SHARED: usize = 1;
    const PRIVATE: usize = 2;
    const ANONYMOUS: usize = 0x20;
    let (protection, flags, fd, offset) = match file {
        None => (READ | WRITE, PRIVATE | ANONYMOUS, usize::MAX, 0),
        Some((fd, 0)) => (READ | WRITE, SHARED, fd as usize, 0),
        Some((fd, offset)) => (READ, PRIVATE, fd as usize, offset),
    };
    call(arch::MMAP, [0, length, protection, flags, fd, offset])
}

/// The page shared with whoever started this program.
pub struct Status(usize);

impl Status {
    pub fn map(file: &Fd) -> Result<Status> {
        map(4096, Some((file.raw(), 0))).map(Status)
    }

    fn word(&self, index: usize) -> usize {
        self.0 + index * size_of::<u32>()
    }

    pub fn set(&self, index: usize, value: u32) {
        // SAFETY: the mapping holds a page, and every index comes from `protocol::status`; the other side only reads.
        unsafe { ptr::write_volatile(self.word(index) as *mut u32, value) };
    }
}

/// The plan, from its offset in the memory file to the end.
pub fn map_plan(file: &Fd, offset: usize) -> Result<&'static [u8]> {
    const SEEK_END: usize = 2;
    let end = call(arch::LSEEK, [file.raw() as usize, 0, SEEK_END, 0, 0, 0])?;
    let length = end
        .checked_sub(offset)
        .filter(|length| *length > 0)
        .ok_or(Errno::PROTO)?;
    let base = map(length, Some((file.raw(), offset)))?;
    // SAFETY: a fresh read-only mapping of that many bytes, never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(base as *const u8, length) })
}

// --- files ---

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

// --- mounts ---

pub fn open_tree(directory: i32, path: &CStr, recursive: bool) -> Result<Fd> {
    const CLONE: usize = 1;
    let flags =
        CLONE | O_CLOEXEC as usize | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    fd(call(
        OPEN_TREE,
        [directory as usize, text(path), flags, 0, 0, 0],
    ))
}

/// Attaches a mount known by its fd at a target known by its fd.
pub fn move_mount(mount: i32, target: i32) -> Result<()> {
    const FROM_EMPTY_TO_EMPTY: usize = 0x4 | 0x40;
    let path = at(c"");
    let arguments = [
        mount as usize,
        path,
        target as usize,
        path,
        FROM_EMPTY_TO_EMPTY,
        0,
    ];
    done(call(MOVE_MOUNT, arguments))
}

pub fn fsopen(fstype: &CStr) -> Result<Fd> {
    const CLOEXEC: usize = 1;
    fd(call(FSOPEN, [text(fstype), CLOEXEC, 0, 0, 0, 0]))
}

pub fn fsconfig_flag(context: &Fd, key: &CStr) -> Result<()> {
    done(call(
        FSCONFIG,
        [context.raw() as usize, 0, text(key), 0, 0, 0],
    ))
}

pub fn fsconfig_string(context: &Fd, key: &CStr, value: &CStr) -> Result<()> {
    done(call(
        FSCONFIG,
        [context.raw() as usize, 1, text(key), text(value), 0, 0],
    ))
}

pub fn fsconfig_create(context: &Fd) -> Result<()> {
    done(call(FSCONFIG, [context.raw() as usize, 6, 0, 0, 0, 0]))
}

pub fn fsmount(context: &Fd, attributes: u64) -> Result<Fd> {
    const CLOEXEC: usize = 1;
    fd(call(
        FSMOUNT,
        [
            context.raw() as usize,
            CLOEXEC,
            attributes as usize,
            0,
            0,
            0,
        ],
    ))
}

pub fn mount_setattr(
    mount: i32,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<()> {
    let attributes = [set, clear, propagation, 0];
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let path = at(c"");
    let size = size_of_val(&attributes);
    done(call(
        MOUNT_SETATTR,
        [mount as usize, path, flags, at(&attributes), size, 0],
    ))
}

pub fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<()> {
    let arguments = [
        text(source),
        text(target),
        text(fstype),
        flags as usize,
        text(data),
        0,
    ];
    done(call(arch::MOUNT, arguments))
}

/// Both paths are the working directory: the old root ends up on top of the new one.
pub fn pivot_root_here() -> Result<()> {
    done(call(arch::PIVOT_ROOT, [at(c"."), at(c"."), 0, 0, 0, 0]))
}

pub fn umount_here() -> Result<()> {
    const DETACH: usize = 2;
    done(call(arch::UMOUNT2, [at(c"."), DETACH, 0, 0, 0, 0]))
}

// --- the channel ---

/// `struct msghdr` with one `struct iovec`.
#[repr(C)]
struct Message {
    name: usize,
    name_length: u32,
    parts: usize,
    part_count: usize,
    control: usize,
    control_length: usize,
    flags: i32,
}

/// `struct cmsghdr` for file descriptors, with room for as many as one message carries.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; crate::protocol::FDS_A_MESSAGE],
}

const CONTROL_HEADER: usize = 16;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;

/// Sends a message, with a file descriptor if there is one.
pub fn send(channel: &Fd, bytes: &[u8], file: Option<i32>) -> Result<()> {
    const NOSIGNAL: usize = 0x4000;
    let part = [at(bytes), bytes.len()];
    let control = [
        CONTROL_HEADER + 4,
        (SCM_RIGHTS as usize) << 32 | SOL_SOCKET as usize,
        file.unwrap_or(-1) as usize,
    ];
    let message = Message {
        name: 0,
        name_length: 0,
        parts: at(&part),
        part_count: 1,
        control: if file.is_some() { at(&control) } else { 0 },
        control_length: if file.is_some() {
            size_of_val(&control)
        } else {
            0
        },
        flags: 0,
    };
    done(call(
        arch::SENDMSG,
        [channel.raw() as usize, at(&message), NOSIGNAL, 0, 0, 0],
    ))
}

/// The file descriptors of a message.
pub struct Fds(Control);

impl Fds {
    pub fn new() -> Fds {
        Fds(Control {
            length: 0,
            level: 0,
            kind: 0,
            fds: [-1; crate::protocol::FDS_A_MESSAGE],
        })
    }

    /// Those of the message received last.
    pub fn received(&self) -> &[i32] {
        let Control {
            length,
            level,
            kind,
            fds,
        } = &self.0;
        let carried = (*level, *kind) == (SOL_SOCKET, SCM_RIGHTS);
        let count = if carried {
            length.saturating_sub(CONTROL_HEADER) / 4
        } else {
            0
        };
        fds.get(..count).unwrap_or(fds)
    }
}

/// Waits for a message: its first byte. `None` at the end of the channel.
pub fn receive(channel: &Fd, fds: &mut Fds) -> Result<Option<u8>> {
    const CMSG_CLOEXEC: usize = 0x4000_0000;
    fds.0.level = 0;
    let mut byte = [0u8; 8];
    let part = [at_mut(&mut byte), byte.len()];
    let mut message = Message {
        name: 0,
        name_length: 0,
        parts: at(&part),
        part_count: 1,
        control: at_mut(&mut fds.0),
        control_length: size_of::<Control>(),
        flags: 0,
    };
    loop {
        match call(
            arch::RECVMSG,
            [
                channel.raw() as usize,
                at_mut(&mut message),
                CMSG_CLOEXEC,
                0,
                0,
                0,
            ],
        ) {
            Err(Errno::INTR) => {}
            Ok(0) => return Ok(None),
            // SAFETY: written by the kernel during the call.
            Ok(_) => return Ok(Some(unsafe { ptr::read_volatile(&byte[0]) })),
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether the other end is still there.
pub fn is_open(channel: &Fd) -> bool {
    const PEEK_DONTWAIT: usize = 0x2 | 0x40;
    let mut byte = 0u8;
    let arguments = [
        channel.raw() as usize,
        at_mut(&mut byte),
        1,
        PEEK_DONTWAIT,
        0,
        0,
    ];
    call(arch::RECVFROM, arguments) == Err(Errno::AGAIN)
}

// --- what the compiler asks of a C library ---

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    for index in 0..count {
        // SAFETY: the caller vouches for both ranges.
        unsafe { *to.add(index) = *from.add(index) };
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    for step in 0..count {
        let index = if (to as usize) < from as usize {
            step
        } else {
            count - 1 - step
        };
        // SAFETY: the caller vouches for both ranges; the order never overwrites what is still to be read.
        unsafe { *to.add(index) = *from.add(index) };
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    for index in 0..count {
        // SAFETY: the caller vouches for the range.
        unsafe { *to.add(index) = byte as u8 };
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: the caller vouches for both ranges.
        let (x, y) = unsafe { (*a.add(index), *b.add(index)) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: as the caller vouches.
    unsafe { memcmp(a, b, count) }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller vouches that a NUL follows.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    length
}

/// Named by the compiled core library's tables, which nothing here ever consults.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}
