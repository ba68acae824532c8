//! Mounts, by file descriptor where the kernel can.

use core::ffi::CStr;

use super::*;

pub fn open_tree(directory: i32, path: &CStr, recursive: bool) -> Result<Fd> {
    const CLONE: usize = 1;
    let flags =
        CLONE | O_CLOEXEC as usize | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    fd(call(
        OPEN_TREE,
        [directory as usize, text(path), flags, 0, 0, 0],
    ))
}

/// Attaches a mount known by its fd at a target known by its fd.
pub fn move_mount(mount: i32, target: i32) -> Result<()> {
    const FROM_EMPTY_TO_EMPTY: usize = 0x4 | 0x40;
    let path = at(c"");
    let arguments = [
        mount as usize,
        path,
        target as usize,
        path,
        FROM_EMPTY_TO_EMPTY,
        0,
    ];
    done(call(MOVE_MOUNT, arguments))
}

pub fn fsopen(fstype: &CStr) -> Result<Fd> {
    const CLOEXEC: usize = 1;
    fd(call(FSOPEN, [text(fstype), CLOEXEC, 0, 0, 0, 0]))
}

pub fn fsconfig_flag(context: &Fd, key: &CStr) -> Result<()> {
    done(call(
        FSCONFIG,
        [context.raw() as usize, 0, text(key), 0, 0, 0],
    ))
}

pub fn fsconfig_string(context: &Fd, key: &CStr, value: &CStr) -> Result<()> {
    done(call(
        FSCONFIG,
        [context.raw() as usize, 1, text(key), text(value), 0, 0],
    ))
}

pub fn fsconfig_create(context: &Fd) -> Result<()> {
    done(call(FSCONFIG, [context.raw() as usize, 6, 0, 0, 0, 0]))
}

pub fn fsmount(context: &Fd, attributes: u64) -> Result<Fd> {
    const CLOEXEC: usize = 1;
    fd(call(
        FSMOUNT,
        [
            context.raw() as usize,
            CLOEXEC,
            attributes as usize,
            0,
            0,
            0,
        ],
    ))
}

pub fn mount_setattr(
    mount: i32,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<()> {
    let attributes = [set, clear, propagation, 0];
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let path = at(c"");
    let size = size_of_val(&attributes);
    done(call(
        MOUNT_SETATTR,
        [mount as usize, path, flags, at(&attributes), size, 0],
    ))
}

pub fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<()> {
    let arguments = [
        text(source),
        text(target),
        text(fstype),
        flags as usize,
        text(data),
        0,
    ];
    done(call(arch::MOUNT, arguments))
}

/// Both paths are the working directory: the old root ends up on top of the new one.
pub fn pivot_root_here() -> Result<()> {
    done(call(arch::PIVOT_ROOT, [at(c"."), at(c"."), 0, 0, 0, 0]))
}

pub fn umount_here() -> Result<()> {
    const DETACH: usize = 2;
    done(call(arch::UMOUNT2, [at(c"."), DETACH, 0, 0, 0, 0]))
}
