//! The process: birth, identity, limits, the end.

use core::ffi::{CStr, c_char};
use core::ptr;

use super::*;
use crate::wire::Texts;

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
        let base = super::memory::map(bytes, None)?;
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
