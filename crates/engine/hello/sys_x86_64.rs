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
pub(super) unsafe fn syscall(number: usize, a: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for number and arguments; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

pub(super) const READ: usize = 0;
pub(super) const WRITE: usize = 1;
pub(super) const CLOSE: usize = 3;
pub(super) const GETPID: usize = 39;
pub(super) const UNAME: usize = 63;
pub(super) const GETUID: usize = 102;
pub(super) const GETGID: usize = 104;
pub(super) const STATFS: usize = 137;
pub(super) const CLOCK_GETTIME: usize = 228;
pub(super) const EXIT_GROUP: usize = 231;
pub(super) const OPENAT: usize = 257;
pub(super) const READLINKAT: usize = 267;
