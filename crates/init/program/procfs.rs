//! Writes to procfs, through a mount of it that nobody else can touch.

use core::ffi::CStr;

use crate::interpreter::Init;
use crate::paths::{self, BENEATH, NO_MAGICLINKS, NO_SYMLINKS, NO_XDEV};
use crate::sys::{self, Errno, Fd, O_DIRECTORY, O_PATH, O_WRONLY, Result};
use crate::wire::Text;

const PROC_MAGIC: u64 = 0x9fa0;
const PROC_ROOT_INO: u64 = 1;

impl Init {
    /// Before the clone, the caller's own procfs, verified. After it, a detached one of the container's process ids; where that is
    /// not permitted, the one in the root, verified.
    fn procfs(&mut self) -> Result<i32> {
        if let Some(procfs) = &self.procfs {
            return Ok(procfs.raw());
        }
        let procfs = if self.cloned {
            detached().or_else(|_| {
                let root = self.root()?;
                verified(paths::resolve(root, c"/proc", O_DIRECTORY, NO_SYMLINKS)?)
            })?
        } else {
            verified(sys::open(c"/proc", O_PATH | O_DIRECTORY)?)?
        };
        Ok(self.procfs.insert(procfs).raw())
    }

    fn open_proc(&mut self, path: &CStr, flags: u64) -> Result<Fd> {
        let procfs = self.procfs()?;
        let resolve = BENEATH | NO_XDEV | NO_MAGICLINKS;
        match sys::openat2(procfs, path, flags, resolve) {
            // The files of a process that may not be traced are root's.
            Err(Errno::ACCES) if !self.among_strangers => {
                crate::dumpable(true);
                let file = sys::openat2(procfs, path, flags, resolve);
                crate::dumpable(false);
                file
            }
            other => other,
        }
    }

    pub fn write_proc(&mut self, path: &CStr, value: &[u8]) -> Result<()> {
        sys::write(self.open_proc(path, O_WRONLY)?.raw(), value)
    }

    /// Where one of this process's file descriptors leads. The last byte of the buffer's successor stays the NUL.
    pub fn path_of(&mut self, file: i32, buffer: &mut [u8]) -> Result<usize> {
        let mut name = *b"self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
        let mut digits = [0u8; 10];
        let mut count = 0;
        let mut rest = file as u32;
        for digit in &mut digits {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        let number = digits.iter().take(count).rev();
        for (to, from) in name.iter_mut().skip(8).zip(number) {
            *to = *from;
        }
        let procfs = self.procfs()?;
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::INVAL)?;
        sys::readlinkat(procfs, name, buffer)
    }

    pub fn sysctl(&mut self, path: Text<'_>, value: Text<'_>) -> Result<()> {
        let procfs = self.procfs()?;
        let settings = sys::openat2(
            procfs,
            c"sys",
            O_PATH | O_DIRECTORY,
            BENEATH | NO_XDEV | NO_SYMLINKS,
        )?;
        let resolve = BENEATH | NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS;
        let setting = sys::openat2(settings.raw(), path, O_WRONLY, resolve)?;
        sys::write(setting.raw(), value.to_bytes())
    }

    pub fn oom_score_adj(&mut self, value: i32, clamp: bool) -> Result<()> {
        let mut text = [0u8; 12];
        let length = decimal(value, &mut text);
        let value = text.get(text.len() - length..).unwrap_or(&[]);
        match self.write_proc(c"self/oom_score_adj", value) {
            Err(Errno::ACCES | Errno::PERM) if clamp => Ok(()),
            other => other,
        }
    }
}

/// Writes a number at the end of a buffer; returns its length.
fn decimal(value: i32, buffer: &mut [u8; 12]) -> usize {
    let mut rest = value.unsigned_abs();
    let mut length = 0;
    for place in buffer.iter_mut().rev() {
        if rest == 0 && length > 0 {
            if value < 0 {
                *place = b'-';
                length += 1;
            }
            break;
        }
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
    }
    length
}

fn detached() -> Result<Fd> {
    let context = sys::fsopen(c"proc")?;
    sys::fsconfig_create(&context)?;
    sys::fsmount(&context, 0)
}

/// A procfs, and its very root.
fn verified(directory: Fd) -> Result<Fd> {
    let genuine = sys::filesystem(directory.raw())? == PROC_MAGIC;
    if !genuine || sys::stat(directory.raw())?.ino != PROC_ROOT_INO {
        return Err(Errno::NODEV);
    }
    Ok(directory)
}
