//! Memory: mappings of the plan and of the status page.

use core::ptr;

use super::*;

/// Private memory, or a file's: shared and writable from offset 0, private and read-only behind it.
pub(super) fn map(length: usize, file: Option<(i32, usize)>) -> Result<usize> {
    const READ: usize = 1;
    const WRITE: usize = 2;
    const SHARED: usize = 1;
    const PRIVATE: usize = 2;
    const ANONYMOUS: usize = 0x20;
    let (protection, flags, fd, offset) = match file {
        None => (READ | WRITE, PRIVATE | ANONYMOUS, usize::MAX, 0),
        Some((fd, 0)) => (READ | WRITE, SHARED, fd as usize, 0),
        Some((fd, offset)) => (READ, PRIVATE, fd as usize, offset),
    };
    call(arch::MMAP, [0, length, protection, flags, fd, offset])
}

/// The page shared with whoever started this program.
pub struct Status(usize);

impl Status {
    pub fn map(file: &Fd) -> Result<Status> {
        map(4096, Some((file.raw(), 0))).map(Status)
    }

    pub(super) fn word(&self, index: usize) -> usize {
        self.0 + index * size_of::<u32>()
    }

    pub fn set(&self, index: usize, value: u32) {
        // SAFETY: the mapping holds a page, and every index comes from `protocol::status`; the other side only reads.
        unsafe { ptr::write_volatile(self.word(index) as *mut u32, value) };
    }
}

/// The plan, from its offset in the memory file to the end.
pub fn map_plan(file: &Fd, offset: usize) -> Result<&'static [u8]> {
    const SEEK_END: usize = 2;
    let end = call(arch::LSEEK, [file.raw() as usize, 0, SEEK_END, 0, 0, 0])?;
    let length = end
        .checked_sub(offset)
        .filter(|length| *length > 0)
        .ok_or(Errno::PROTO)?;
    let base = map(length, Some((file.raw(), offset)))?;
    // SAFETY: a fresh read-only mapping of that many bytes, never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(base as *const u8, length) })
}
