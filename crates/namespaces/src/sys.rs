//! What the safe wrappers do not cover: the clone that executes init, `waitid` with usage, and a pidfd's exit record.

use std::arch::asm;
use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// `struct clone_args` as of Linux 5.3.
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
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// A process that was just made: its id and pidfd.
pub(crate) struct Born {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// Clones a child that shares this thread's memory while the thread stands still, and that does three system calls: it lets the
/// channel survive, executes the program, or, failing that, leaves the error number and exits. No instruction of the child
/// touches the stack. All signals stay blocked meanwhile, so that no handler runs in it.
///
/// The outer error is the clone's, the inner one the `execveat`'s; the process exists in the latter case and has exited.
pub(crate) fn spawn_program(
    program: BorrowedFd<'_>,
    channel: BorrowedFd<'_>,
    argv: [&CStr; 2],
) -> io::Result<(Born, io::Result<()>)> {
    let mut pidfd: RawFd = -1;
    let mut failure: i32 = 0;
    let args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64
            | CLONE_CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    let [name, number] = argv;
    let argv = [name.as_ptr(), number.as_ptr(), ptr::null()];
    let env: [*const c_char; 1] = [ptr::null()];
    let blocked = BlockedSignals::all()?;
    // SAFETY: every pointer is to a local that outlives the call: the thread resumes only when the child has executed or exited.
    let result = unsafe {
        clone_and_execute(
            &args,
            program.as_raw_fd(),
            channel.as_raw_fd(),
            argv.as_ptr(),
            env.as_ptr(),
            &mut failure,
        )
    };
    drop(blocked);
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result as i32));
    }
    // SAFETY: the clone succeeded, so the kernel stored a fresh file descriptor of this process's.
    let pidfd = unsafe { OwnedFd::from_raw_fd(ptr::read_volatile(&pidfd)) };
    // SAFETY: a local that the child may have written while the compiler was not looking.
    let executed = match unsafe { ptr::read_volatile(&failure) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    };
    Ok((
        Born {
            pid: result as u32,
            pidfd,
        },
        executed,
    ))
}

/// # Safety
///
/// `argv` and `env` must be arrays of C strings ended by null, valid as long as the call lasts.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_execute(
    args: &CloneArgs,
    program: RawFd,
    channel: RawFd,
    argv: *const *const c_char,
    env: *const *const c_char,
    failure: &mut i32,
) -> isize {
    let result: isize;
    // SAFETY: the parent's path is one system call. The child's path uses registers only, which the kernel preserves over its
    // system calls but for rax, rcx and r11, and never leaves the block.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            // fcntl(channel, F_SETFD, 0)
            "mov edi, r12d",
            "mov esi, 2",
            "xor edx, edx",
            "mov eax, 72",
            "syscall",
            // execveat(program, "", argv, env, AT_EMPTY_PATH)
            "mov edi, r13d",
            "mov rsi, r14",
            "mov rdx, r15",
            "mov eax, 322",
            "syscall",
            "neg eax",
            "mov dword ptr [r9], eax",
            // exit_group(127)
            "mov edi, 127",
            "mov eax, 231",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r10") env,
            in("r8") libc::AT_EMPTY_PATH as usize,
            in("r9") ptr::from_mut(failure),
            in("r12") channel as usize,
            in("r13") program as usize,
            in("r14") c"".as_ptr(),
            in("r15") argv,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// # Safety
///
/// `argv` and `env` must be arrays of C strings ended by null, valid as long as the call lasts.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_and_execute(
    args: &CloneArgs,
    program: RawFd,
    channel: RawFd,
    argv: *const *const c_char,
    env: *const *const c_char,
    failure: &mut i32,
) -> isize {
    let result: isize;
    // SAFETY: the parent's path is one system call. The child's path uses registers only, which the kernel preserves over its
    // system calls but for x0, and never leaves the block.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            // fcntl(channel, F_SETFD, 0)
            "mov w0, w20",
            "mov w1, #2",
            "mov w2, #0",
            "mov x8, #25",
            "svc 0",
            // execveat(program, "", argv, env, AT_EMPTY_PATH)
            "mov w0, w21",
            "mov x1, x22",
            "mov x2, x23",
            "mov x3, x24",
            "mov w4, #0x1000",
            "mov x8, #281",
            "svc 0",
            "neg w0, w0",
            "str w0, [x25]",
            // exit_group(127)
            "mov w0, #127",
            "mov x8, #94",
            "svc 0",
            "brk #1",
            "2:",
            inlateout("x8") libc::SYS_clone3 as usize => _,
            inlateout("x0") ptr::from_ref(args) as isize => result,
            in("x1") size_of::<CloneArgs>(),
            in("x20") channel as usize,
            in("x21") program as usize,
            in("x22") c"".as_ptr(),
            in("x23") argv,
            in("x24") env,
            in("x25") ptr::from_mut(failure),
        );
    }
    result
}

/// All signals blocked on this thread, those of the C library's own included, until dropped.
struct BlockedSignals {
    before: u64,
    /// The mask is the thread's: it must be restored where it was changed.
    _here: std::marker::PhantomData<*const ()>,
}

impl BlockedSignals {
    fn all() -> io::Result<BlockedSignals> {
        let before = signal_mask(u64::MAX)?;
        Ok(BlockedSignals {
            before,
            _here: std::marker::PhantomData,
        })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // Cannot fail: the mask came from the kernel.
        signal_mask(self.before).ok();
    }
}

/// Sets the calling thread's signal mask; returns the former one.
fn signal_mask(mask: u64) -> io::Result<u64> {
    let mut before = 0u64;
    // SAFETY: both masks have the eight bytes that the last argument states.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &mask,
            &mut before,
            size_of::<u64>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(before)
    }
}

/// How a child ended, as `waitid` tells it.
pub(crate) struct Waited {
    /// `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED`.
    pub(crate) code: i32,
    pub(crate) status: i32,
    pub(crate) usage: libc::rusage,
}

/// `waitid(P_PIDFD)` with the usage that the kernel returns beside it; `None` while the child runs and `flags` have `WNOHANG`.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, flags: i32) -> io::Result<Option<Waited>> {
    loop {
        // SAFETY: plain data of integers, for which all zeroes are valid.
        let (mut info, mut usage): (libc::siginfo_t, libc::rusage) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: both structures live through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                &mut info,
                flags | libc::WEXITED,
                &mut usage,
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: after a successful `waitid` these fields are set, to zero if there is no news.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok((pid != 0).then_some(Waited {
            code: info.si_code,
            status,
            usage,
        }));
    }
}

/// `pidfd_send_signal` with any number, real-time signals included.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no pointer but a null one is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `struct pidfd_info` as of Linux 6.15.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The wait status of a process that somebody else has reaped (Linux 6.15); `None` where the kernel has no record of it.
pub(crate) fn exit_record(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xff, 11, struct pidfd_info)
    const PIDFD_GET_INFO: libc::c_ulong =
        0xc000_ff0b | (size_of::<PidfdInfo>() as libc::c_ulong) << 16;
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the structure has the size that the request states.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Makes a mount read-only, known by its fd.
pub(crate) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    // struct mount_attr: set, clear, propagation, user namespace.
    let attributes = [MOUNT_ATTR_RDONLY, 0, 0, 0];
    // SAFETY: path and structure live through the call, and the last argument is the structure's size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &attributes,
            size_of_val(&attributes),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Ends a child that is known by number only.
pub(crate) fn kill_and_reap(pid: u32) {
    let Ok(pid) = i32::try_from(pid) else { return };
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
    while nix::sys::wait::waitpid(pid, None) == Err(nix::errno::Errno::EINTR) {}
}

/// New namespaces for the calling thread alone: uts, ipc, network and cgroup, which a thread may have for itself.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: unsafe for the sake of `FILES`, which no caller passes.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}
