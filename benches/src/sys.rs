//! The raw system calls of the floor: the least that a container start can be made of.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::ptr;

/// Everything the child needs, made before it exists: it must not allocate.
pub(crate) struct Start {
    root: CString,
    program: CString,
    overlay: Option<CString>,
    flags: u64,
}

/// What the child exits with is its step's number, so that a failure names itself.
const STEPS: [&str; 9] = [
    "the start",
    "mount --make-rprivate /",
    "binding the root",
    "changing into the root",
    "mounting proc",
    "mounting dev",
    "pivot_root",
    "dropping the old root",
    "execve",
];

impl Start {
    /// `program` is a path inside `root`; `overlay` are the options of an overlay mounted over `root` first.
    pub(crate) fn new(
        root: &Path,
        program: &str,
        overlay: Option<String>,
        flags: u64,
    ) -> io::Result<Start> {
        let text = |bytes: Vec<u8>| {
            CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        };
        Ok(Start {
            root: text(std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()).to_vec())?,
            program: text(program.into())?,
            overlay: overlay.map(|options| text(options.into())).transpose()?,
            flags,
        })
    }

    /// Clones, lets the child mount and execute, and waits for its end.
    pub(crate) fn run(&self) -> io::Result<()> {
        let mut pidfd: RawFd = -1;
        let mut arguments = libc::clone_args {
            flags: self.flags | libc::CLONE_VFORK as u64 | libc::CLONE_PIDFD as u64,
            pidfd: ptr::from_mut(&mut pidfd) as u64,
            child_tid: 0,
            parent_tid: 0,
            exit_signal: libc::SIGCHLD as u64,
            stack: 0,
            stack_size: 0,
            tls: 0,
            set_tid: 0,
            set_tid_size: 0,
            cgroup: 0,
        };
        // SAFETY: `arguments` is a whole clone_args that outlives the call, and `pidfd` is writable. Without CLONE_VM the child
        // has its own copy of this memory and stack, and it only makes system calls until it executes or exits.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone3,
                ptr::from_mut(&mut arguments),
                size_of::<libc::clone_args>(),
            )
        };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => self.become_container(),
            _ => wait(pidfd),
        }
    }

    /// In the child.
    fn become_container(&self) -> ! {
        let step = match self.steps() {
            Ok(never) => match never {},
            Err(step) => step,
        };
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(step) }
    }

    fn steps(&self) -> Result<std::convert::Infallible, i32> {
        let root = self.root.as_ptr();
        let none = ptr::null();
        // SAFETY: every pointer is to a C string that lives as long as `self` or the program, or null where the call allows it;
        // none of the calls keeps one.
        unsafe {
            step(
                1,
                libc::mount(
                    none,
                    c"/".as_ptr(),
                    none,
                    libc::MS_REC | libc::MS_PRIVATE,
                    none.cast(),
                ),
            )?;
            step(
                2,
                match &self.overlay {
                    Some(options) => libc::mount(
                        c"overlay".as_ptr(),
                        root,
                        c"overlay".as_ptr(),
                        0,
                        options.as_ptr().cast(),
                    ),
                    None => libc::mount(root, root, none, libc::MS_BIND, none.cast()),
                },
            )?;
            step(3, libc::chdir(root))?;
            step(
                4,
                libc::mount(
                    c"proc".as_ptr(),
                    c"proc".as_ptr(),
                    c"proc".as_ptr(),
                    0,
                    none.cast(),
                ),
            )?;
            step(
                5,
                libc::mount(
                    c"tmpfs".as_ptr(),
                    c"dev".as_ptr(),
                    c"tmpfs".as_ptr(),
                    0,
                    none.cast(),
                ),
            )?;
            step(
                6,
                i32::try_from(libc::syscall(
                    libc::SYS_pivot_root,
                    c".".as_ptr(),
                    c".".as_ptr(),
                ))
                .unwrap_or(-1),
            )?;
            step(7, libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
            let argv = [self.program.as_ptr(), ptr::null()];
            let environment = [ptr::null()];
            libc::execve(self.program.as_ptr(), argv.as_ptr(), environment.as_ptr());
        }
        Err(8)
    }
}

fn step(number: i32, result: i32) -> Result<(), i32> {
    if result == 0 { Ok(()) } else { Err(number) }
}

/// Waits for the process behind `pidfd` and closes it.
fn wait(pidfd: RawFd) -> io::Result<()> {
    // SAFETY: a siginfo_t of zeros is valid, and waitid writes at most one.
    let (result, status) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let result = libc::waitid(libc::P_PIDFD, pidfd as libc::id_t, &mut info, libc::WEXITED);
        (result, info.si_status())
    };
    let error = io::Error::last_os_error();
    // SAFETY: `pidfd` came from clone3, belongs to us, and is not used again.
    unsafe { libc::close(pidfd) };
    if result != 0 {
        return Err(error);
    }
    match usize::try_from(status)
        .ok()
        .and_then(|status| STEPS.get(status))
    {
        _ if status == 0 => Ok(()),
        Some(step) => Err(io::Error::other(format!("{step} failed in the child"))),
        None => Err(io::Error::other(format!("the child ended with {status}"))),
    }
}
