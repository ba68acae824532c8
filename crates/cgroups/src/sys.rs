//! All `unsafe` of this crate: bpf(2), for which no safe wrapper exists.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use crate::devices::bpf::Instruction;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// The leading part of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes what is missing as zero.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// For BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// For BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// For BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live, fully initialised `repr(C)` struct of just this size, laid out as the
    // part of `union bpf_attr` that `command` reads or writes; the pointers inside it, if any, point
    // to buffers that the callers below keep alive over the call, with the lengths stated beside them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: only called with what bpf(2) has just returned as a new descriptor (always CLOEXEC), which
    // nobody else knows. Descriptors fit an int.
    unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }
}

/// Loads a device program.
pub(crate) fn load_device_program(code: &[Instruction]) -> io::Result<OwnedFd> {
    // The program calls no helper, so any licence will do; the kernel wants a string.
    let license = c"MIT OR Apache-2.0";
    let mut attr = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(code.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        insns: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // The verifier gives up when a signal is pending, and then it is for the caller to come again (bpf(2), EAGAIN).
    for _ in 0..5 {
        match bpf(PROG_LOAD, &mut attr) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other.map(owned),
        }
    }
    bpf(PROG_LOAD, &mut attr).map(owned)
}

/// The identifiers of the device programs attached to a cgroup itself.
pub(crate) fn attached_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; 64];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        // The kernel allows no more than 64 on one cgroup.
        prog_cnt: 64,
        padding: 0,
    };
    bpf(PROG_QUERY, &mut attr)?;
    ids.truncate(attr.prog_cnt as usize);
    Ok(ids)
}

/// A descriptor for a loaded program.
pub(crate) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = ById {
        id,
        next_id: 0,
        open_flags: 0,
    };
    bpf(PROG_GET_FD_BY_ID, &mut attr).map(owned)
}

/// Attaches a device program beside those there, or in the place of one of them.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if replace.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// Detaches a device program.
pub(crate) fn detach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    bpf(PROG_DETACH, &mut attr).map(drop)
}
