//! aarch64: the entry, the system call instruction, and the numbers.

use core::arch::{asm, global_asm};

global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {start}",
    "brk #1",
    start = sym super::start,
);

/// One system call.
///
/// # Safety
///
/// The arguments must be what the numbered call takes; pointers must be valid for what the kernel does with them.
pub(super) unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for number and arguments; the kernel preserves every register but x0.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] as isize => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    result
}

pub(super) const O_DIRECTORY: u64 = 0x4000;
pub(super) const O_NOFOLLOW: u64 = 0x8000;

pub(super) const GETCWD: usize = 17;
pub(super) const DUP3: usize = 24;
pub(super) const FCNTL: usize = 25;
pub(super) const IOCTL: usize = 29;
pub(super) const MKNODAT: usize = 33;
pub(super) const MKDIRAT: usize = 34;
pub(super) const SYMLINKAT: usize = 36;
pub(super) const UMOUNT2: usize = 39;
pub(super) const MOUNT: usize = 40;
pub(super) const PIVOT_ROOT: usize = 41;
pub(super) const FSTATFS: usize = 44;
pub(super) const FCHDIR: usize = 50;
pub(super) const FCHOWNAT: usize = 54;
pub(super) const FCHOWN: usize = 55;
pub(super) const OPENAT: usize = 56;
pub(super) const CLOSE: usize = 57;
pub(super) const LSEEK: usize = 62;
pub(super) const WRITE: usize = 64;
pub(super) const READLINKAT: usize = 78;
pub(super) const CAPSET: usize = 91;
pub(super) const EXIT_GROUP: usize = 94;
pub(super) const UNSHARE: usize = 97;
pub(super) const RT_SIGACTION: usize = 134;
pub(super) const RT_SIGPROCMASK: usize = 135;
pub(super) const SETRESUID: usize = 147;
pub(super) const SETRESGID: usize = 149;
pub(super) const SETSID: usize = 157;
pub(super) const SETGROUPS: usize = 159;
pub(super) const SETHOSTNAME: usize = 161;
pub(super) const SETDOMAINNAME: usize = 162;
pub(super) const UMASK: usize = 166;
pub(super) const PRCTL: usize = 167;
pub(super) const SOCKET: usize = 198;
pub(super) const RECVFROM: usize = 207;
pub(super) const SENDMSG: usize = 211;
pub(super) const RECVMSG: usize = 212;
pub(super) const KEYCTL: usize = 219;
pub(super) const EXECVE: usize = 221;
pub(super) const MMAP: usize = 222;
pub(super) const PRLIMIT64: usize = 261;
pub(super) const SETNS: usize = 268;
pub(super) const SECCOMP: usize = 277;
pub(super) const STATX: usize = 291;
