//! The kernel, as safe functions: system calls by number and their structures, a file for each family.
//!
//! All `unsafe` of the program stands here and in the `sys_*` files beside.

use core::ffi::CStr;
use core::ptr;

#[cfg(target_arch = "aarch64")]
#[path = "sys_aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "sys_x86_64.rs"]
mod arch;
#[path = "sys_channel.rs"]
mod channel;
#[path = "sys_compiler.rs"]
mod compiler;
#[path = "sys_files.rs"]
mod files;
#[path = "sys_memory.rs"]
mod memory;
#[path = "sys_mounts.rs"]
mod mounts;
#[path = "sys_process.rs"]
mod process;

pub use channel::*;
pub use files::*;
pub use memory::*;
pub use mounts::*;
pub use process::*;

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
