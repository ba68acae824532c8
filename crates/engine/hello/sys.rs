//! System calls, and what the compiler expects of a C library.

#[cfg(target_arch = "aarch64")]
#[path = "sys_aarch64.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "sys_x86_64.rs"]
mod machine;

use core::ffi::CStr;
use machine::syscall;

const AT_FDCWD: usize = -100_isize as usize;
const O_CLOEXEC: usize = 0o2_000_000;
const CLOCK_MONOTONIC: usize = 1;
const ST_RDONLY: u64 = 1;

/// Where the entry goes: the kernel has laid argument count, arguments, a zero, variables, a zero on the stack.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the kernel's layout, execve(2); the strings live as long as the process.
    let environment = unsafe {
        let count = *stack;
        Environment {
            first: stack.add(1 + count + 1).cast(),
        }
    };
    exit(crate::main(environment))
}

/// The environment as the kernel laid it out.
pub(crate) struct Environment {
    first: *const *const core::ffi::c_char,
}

impl Environment {
    /// What follows `prefix` in the variable that begins with it.
    pub(crate) fn find(&self, prefix: &[u8]) -> Option<&[u8]> {
        let mut next = self.first;
        loop {
            // SAFETY: the array ends with a null pointer, which ends the loop; each string before it ends with a zero.
            let variable = unsafe {
                let pointer = *next;
                if pointer.is_null() {
                    return None;
                }
                next = next.add(1);
                CStr::from_ptr(pointer)
            };
            if let Some(value) = variable.to_bytes().strip_prefix(prefix) {
                return Some(value);
            }
        }
    }
}

fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { syscall(machine::EXIT_GROUP, [status as usize, 0, 0, 0]) };
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn monotonic() -> u64 {
    let mut time = [0_i64; 2];
    // SAFETY: struct timespec is two 64-bit numbers on both machines.
    unsafe {
        syscall(
            machine::CLOCK_GETTIME,
            [CLOCK_MONOTONIC, time.as_mut_ptr() as usize, 0, 0],
        )
    };
    (time[0] as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time[1] as u64)
}

fn plain(number: usize) -> u64 {
    // SAFETY: calls without arguments that only answer.
    unsafe { syscall(number, [0; 4]) as u64 }
}

pub(crate) fn pid() -> u64 {
    plain(machine::GETPID)
}

pub(crate) fn uid() -> u64 {
    plain(machine::GETUID)
}

pub(crate) fn gid() -> u64 {
    plain(machine::GETGID)
}

/// The host's name, from a buffer for the six fields of `struct utsname`, 65 bytes each.
pub(crate) fn hostname(names: &mut [u8; 390]) -> &[u8] {
    // SAFETY: the buffer has the size of struct utsname.
    unsafe { syscall(machine::UNAME, [names.as_mut_ptr() as usize, 0, 0, 0]) };
    let name = names.get(65..130).unwrap_or_default();
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    name.get(..end).unwrap_or_default()
}

/// The type of the root file system, and whether it is read-only.
pub(crate) fn root() -> Option<(u64, bool)> {
    // struct statfs: type first, flags eleventh, 120 bytes in all on both machines.
    let mut answer = [0_u64; 15];
    // SAFETY: the path ends with a zero, the buffer has the size of struct statfs.
    let result = unsafe {
        syscall(
            machine::STATFS,
            [b"/\0".as_ptr() as usize, answer.as_mut_ptr() as usize, 0, 0],
        )
    };
    // The words: type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags.
    (result == 0).then_some((answer[0], answer[10] & ST_RDONLY != 0))
}

/// Reads the beginning of a file; the path ends with a zero. Gives the number of bytes.
pub(crate) fn read(path: &[u8], buffer: &mut [u8]) -> Option<usize> {
    if path.last() != Some(&0) {
        return None;
    }
    // SAFETY: the path ends with a zero.
    let file = unsafe {
        syscall(
            machine::OPENAT,
            [AT_FDCWD, path.as_ptr() as usize, O_CLOEXEC, 0],
        )
    };
    if file < 0 {
        return None;
    }
    let mut used = 0;
    while let Some(room) = buffer.get_mut(used..).filter(|room| !room.is_empty()) {
        // SAFETY: the kernel writes at most the buffer's length.
        let count = unsafe {
            syscall(
                machine::READ,
                [file as usize, room.as_mut_ptr() as usize, room.len(), 0],
            )
        };
        if count <= 0 {
            break;
        }
        used += count as usize;
    }
    // SAFETY: the file is this function's own.
    unsafe { syscall(machine::CLOSE, [file as usize, 0, 0, 0]) };
    (used > 0).then_some(used)
}

/// Reads a symbolic link; the path ends with a zero.
pub(crate) fn read_link<'a>(path: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    if path.last() != Some(&0) {
        return None;
    }
    // SAFETY: the path ends with a zero; the kernel writes at most the buffer's length.
    let count = unsafe {
        syscall(
            machine::READLINKAT,
            [
                AT_FDCWD,
                path.as_ptr() as usize,
                buffer.as_mut_ptr() as usize,
                buffer.len(),
            ],
        )
    };
    if count <= 0 {
        return None;
    }
    buffer.get(..count as usize)
}

/// Writes all of a text to standard output.
pub(crate) fn print(mut text: &[u8]) -> bool {
    const EINTR: isize = -4;
    while !text.is_empty() {
        // SAFETY: the kernel reads the text's length.
        let count = unsafe { syscall(machine::WRITE, [1, text.as_ptr() as usize, text.len(), 0]) };
        if count == EINTR {
            continue;
        }
        match text.get(count.max(0) as usize..) {
            Some(rest) if count > 0 => text = rest,
            _ => return false,
        }
    }
    true
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(134)
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
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
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    for index in 0..count {
        // SAFETY: the caller vouches for the range.
        unsafe { *to.add(index) = value as u8 };
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: the caller vouches for both ranges.
        let (a, b) = unsafe { (*one.add(index), *other.add(index)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(one, other, count) }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut count = 0;
    // SAFETY: the caller vouches for a zero at the end.
    while unsafe { *text.add(count) } != 0 {
        count += 1;
    }
    count
}
