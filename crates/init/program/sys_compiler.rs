//! What the compiler asks of a C library.

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    super::exit(125)
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
