//! The tests' only unsafe code: the key system calls have no safe wrapper, and signal handlers cannot have one.

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// `KEY_SPEC_SESSION_KEYRING`.
const SESSION: i32 = -3;
/// `KEYCTL_SEARCH`.
const SEARCH: i32 = 10;

/// Add a key of this name to the session's keyring.
pub(crate) fn add_session_key(name: &str) -> bool {
    let name = CString::new(name).unwrap();
    // SAFETY: both strings end with NUL, the payload is one byte long, and all outlive the call.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            c"x".as_ptr(),
            1usize,
            SESSION,
        )
    };
    added > 0
}

/// Whether the session's keyring has a key of this name.
pub(crate) fn find_session_key(name: &str) -> bool {
    let name = CString::new(name).unwrap();
    // SAFETY: both strings end with NUL and outlive the call; no keyring is linked to.
    let found = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            SEARCH,
            SESSION,
            c"user".as_ptr(),
            name.as_ptr(),
            0,
        )
    };
    found > 0
}

static COUNTED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: libc::c_int) {
    COUNTED.fetch_add(1, Ordering::Relaxed);
}

/// Count `SIGUSR1` and `SIGUSR2`.
pub(crate) fn count_signals() {
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        // SAFETY: the handler only adds to an atomic number.
        unsafe { sigaction(signal, &action) }.unwrap();
    }
}

/// How many came.
pub(crate) fn counted() -> u64 {
    COUNTED.load(Ordering::Relaxed)
}

/// Have the kernel reap every child.
pub(crate) fn ignore_children() {
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
}
