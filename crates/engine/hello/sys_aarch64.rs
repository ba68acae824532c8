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
pub(super) unsafe fn syscall(number: usize, a: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for number and arguments; the kernel preserves every register but x0.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] as isize => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3],
            options(nostack),
        );
    }
    result
}

pub(super) const STATFS: usize = 43;
pub(super) const OPENAT: usize = 56;
pub(super) const CLOSE: usize = 57;
pub(super) const READ: usize = 63;
pub(super) const WRITE: usize = 64;
pub(super) const READLINKAT: usize = 78;
pub(super) const EXIT_GROUP: usize = 94;
pub(super) const CLOCK_GETTIME: usize = 113;
pub(super) const UNAME: usize = 160;
pub(super) const GETPID: usize = 172;
pub(super) const GETUID: usize = 174;
pub(super) const GETGID: usize = 176;
