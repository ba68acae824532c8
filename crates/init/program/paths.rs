//! Paths inside the root, whatever links stand in it: resolved and made by file descriptor.

use core::ffi::CStr;

use crate::sys::{self, Errno, Fd, O_DIRECTORY, O_PATH, Result};

pub const NO_XDEV: u64 = 0x01;
pub const NO_MAGICLINKS: u64 = 0x02;
pub const NO_SYMLINKS: u64 = 0x04;
pub const BENEATH: u64 = 0x08;
pub const IN_ROOT: u64 = 0x10;

const PARENT_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o100644;
/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;
const PATH_MAX: usize = 4096;

/// What to make at the end of a path.
#[derive(Clone, Copy)]
pub enum Leaf {
    Dir(u32),
    File,
}

/// Opens a path below the root as a place, not for reading.
pub fn resolve(root: i32, path: &CStr, flags: u64, restrict: u64) -> Result<Fd> {
    sys::openat2(
        root,
        path,
        O_PATH | flags,
        IN_ROOT | NO_MAGICLINKS | restrict,
    )
}

/// A path put together in place.
struct Buffer {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Buffer {
    fn new() -> Buffer {
        Buffer {
            bytes: [0; PATH_MAX],
            length: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.length + bytes.len();
        // One byte stays for the NUL.
        if end >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(Errno::NAMETOOLONG)?;
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.length = end;
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        *self.bytes.get_mut(self.length).ok_or(Errno::NAMETOOLONG)? = 0;
        Ok(())
    }

    fn truncate(&mut self, length: usize) -> Result<()> {
        self.length = length;
        self.end()
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    fn text(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::INVAL)
    }
}

/// One name on the stack, NUL-terminated for the kernel.
pub struct Name {
    bytes: [u8; 256],
}

impl Name {
    fn new(name: &[u8]) -> Result<Name> {
        let mut bytes = [0; 256];
        if name.len() >= bytes.len() {
            return Err(Errno::NAMETOOLONG);
        }
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Ok(Name { bytes })
    }

    pub fn text(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// Opens what a path names, making it and its parents where they are missing. A link that leads nowhere is followed, inside the
/// root, and what it names is made.
pub fn make(root: i32, path: &CStr, leaf: Leaf) -> Result<Fd> {
    match resolve(root, path, 0, 0) {
        Err(Errno::NOENT) => make_each(root, path.to_bytes(), leaf),
        found => found,
    }
}

fn make_each(root: i32, path: &[u8], leaf: Leaf) -> Result<Fd> {
    let mut rest = Buffer::new();
    rest.push(path)?;
    for _ in 0..MAX_LINKS {
        let mut next = Buffer::new();
        match make_until_link(root, rest.bytes(), leaf, &mut next)? {
            Some(made) => return Ok(made),
            None => rest = next,
        }
    }
    Err(Errno::LOOP)
}

/// Goes down the path; at a link that leads nowhere, writes the path that it stands for and the rest of this one to `next`.
fn make_until_link(root: i32, path: &[u8], leaf: Leaf, next: &mut Buffer) -> Result<Option<Fd>> {
    let mut so_far = Buffer::new();
    let mut parent = resolve(root, c"/", O_DIRECTORY, 0)?;
    let mut parts = Parts(path);
    while let Some(part) = parts.next() {
        let before = so_far.length;
        so_far.push(b"/")?;
        so_far.push(part)?;
        let last = parts.is_empty();
        let flags = if last { 0 } else { O_DIRECTORY };
        let found = match resolve(root, so_far.text()?, flags, 0) {
            Err(Errno::NOENT) => {
                let name = Name::new(part)?;
                let made = match leaf {
                    Leaf::File if last => sys::mknodat(parent.raw(), name.text(), FILE_MODE, 0),
                    Leaf::Dir(mode) if last => sys::mkdirat(parent.raw(), name.text(), mode),
                    _ => sys::mkdirat(parent.raw(), name.text(), PARENT_MODE),
                };
                match made {
                    Err(Errno::EXIST) => {
                        let mut link = [0; PATH_MAX];
                        if let Ok(length) = sys::readlinkat(parent.raw(), name.text(), &mut link) {
                            let link = link.get(..length).unwrap_or(&[]);
                            if link.first() != Some(&b'/') {
                                so_far.truncate(before)?;
                                next.push(so_far.bytes())?;
                            }
                            next.push(b"/")?;
                            next.push(link)?;
                            next.push(b"/")?;
                            next.push(parts.0)?;
                            return Ok(None);
                        }
                        // Somebody else made it meanwhile.
                    }
                    other => other?,
                }
                resolve(root, so_far.text()?, flags, 0)?
            }
            other => other?,
        };
        parent = found;
    }
    Ok(Some(parent))
}

/// The parent of what a path names, made where missing, and the last name of the path.
pub fn make_parent(root: i32, path: &CStr) -> Result<(Fd, Name)> {
    let bytes = path.to_bytes();
    let bytes = bytes
        .get(..bytes.len() - trailing(bytes, |byte| byte == b'/'))
        .unwrap_or(&[]);
    let length = trailing(bytes, |byte| byte != b'/');
    let (parent, name) = bytes
        .split_at_checked(bytes.len() - length)
        .ok_or(Errno::INVAL)?;
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::INVAL);
    }
    let name = Name::new(name)?;
    let mut directory = Buffer::new();
    directory.push(b"/")?;
    directory.push(parent)?;
    let parent = make(root, directory.text()?, Leaf::Dir(PARENT_MODE))?;
    Ok((parent, name))
}

/// How many bytes at the end are such.
fn trailing(bytes: &[u8], such: impl Fn(u8) -> bool) -> usize {
    bytes.iter().rev().take_while(|byte| such(**byte)).count()
}

/// The names of a path, without empty ones and `.`.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.skip();
        let length = self.0.iter().take_while(|byte| **byte != b'/').count();
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        self.skip();
        (!part.is_empty()).then_some(part)
    }

    fn skip(&mut self) {
        loop {
            self.0 = match self.0 {
                [b'/', rest @ ..] | [b'.', b'/', rest @ ..] => rest,
                [b'.'] => &[],
                _ => return,
            };
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
