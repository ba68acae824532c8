//! x86_64: the entry, the system call instruction, and the numbers.

use core::arch::{asm, global_asm};

global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym super::start,
);

/// One system call.
///
/// # Safety
///
/// The arguments must be what the numbered call takes; pointers must be valid for what the kernel does with them.
pub(super) unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for number and arguments; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

pub(super) const O_DIRECTORY: u64 = 0x1_0000;
pub(super) const O_NOFOLLOW: u64 = 0x2_0000;

pub(super) const WRITE: usize = 1;
pub(super) const CLOSE: usize = 3;
pub(super) const LSEEK: usize = 8;
pub(super) const MMAP: usize = 9;
pub(super) const RT_SIGACTION: usize = 13;
pub(super) const RT_SIGPROCMASK: usize = 14;
pub(super) const IOCTL: usize = 16;
pub(super) const SOCKET: usize = 41;
pub(super) const RECVFROM: usize = 45;
pub(super) const SENDMSG: usize = 46;
pub(super) const RECVMSG: usize = 47;
pub(super) const EXECVE: usize = 59;
pub(super) const FCNTL: usize = 72;
pub(super) const GETCWD: usize = 79;
pub(super) const FCHDIR: usize = 81;
pub(super) const FCHOWN: usize = 93;
pub(super) const UMASK: usize = 95;
pub(super) const SETSID: usize = 112;
pub(super) const SETGROUPS: usize = 116;
pub(super) const SETRESUID: usize = 117;
pub(super) const SETRESGID: usize = 119;
pub(super) const CAPSET: usize = 126;
pub(super) const FSTATFS: usize = 138;
pub(super) const PIVOT_ROOT: usize = 155;
pub(super) const PRCTL: usize = 157;
pub(super) const MOUNT: usize = 165;
pub(super) const UMOUNT2: usize = 166;
pub(super) const SETHOSTNAME: usize = 170;
pub(super) const SETDOMAINNAME: usize = 171;
pub(super) const EXIT_GROUP: usize = 231;
pub(super) const KEYCTL: usize = 250;
pub(super) const OPENAT: usize = 257;
pub(super) const MKDIRAT: usize = 258;
pub(super) const MKNODAT: usize = 259;
pub(super) const FCHOWNAT: usize = 260;
pub(super) const SYMLINKAT: usize = 266;
pub(super) const READLINKAT: usize = 267;
pub(super) const UNSHARE: usize = 272;
pub(super) const DUP3: usize = 292;
pub(super) const PRLIMIT64: usize = 302;
pub(super) const SETNS: usize = 308;
pub(super) const SECCOMP: usize = 317;
pub(super) const STATX: usize = 332;
