//! One cgroup's directory in one hierarchy, and reading and writing the files in it.
//!
//! Everything goes through the descriptor of the hierarchy's mount, opened once: a cgroup itself holds
//! no descriptor, so thousands of them cost none.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::controller::{Controller, Controllers};
use crate::error::Error;

/// Which of the two interfaces a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// A mounted hierarchy.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    /// v1: what is mounted together here. v2: what the mount's root offers.
    pub(crate) controllers: Controllers,
    pub(crate) mount: PathBuf,
    pub(crate) fd: OwnedFd,
}

/// A directory of a hierarchy: its root if `relative` is empty.
#[derive(Debug, Clone)]
pub(crate) struct Dir {
    pub(crate) hierarchy: Arc<Hierarchy>,
    relative: String,
}

impl Dir {
    pub(crate) fn new(hierarchy: &Arc<Hierarchy>, relative: &str) -> Dir {
        Dir {
            hierarchy: Arc::clone(hierarchy),
            relative: relative.to_owned(),
        }
    }

    pub(crate) fn child(&self, name: &str) -> Dir {
        Dir {
            hierarchy: Arc::clone(&self.hierarchy),
            relative: self.inside(name),
        }
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.hierarchy.version == Version::V2
    }

    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.hierarchy.controllers.contains(controller)
    }

    /// For messages, and for what takes no descriptor.
    pub(crate) fn path(&self) -> PathBuf {
        self.hierarchy.mount.join(&self.relative)
    }

    fn inside(&self, name: &str) -> String {
        if self.relative.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.relative)
        }
    }

    /// Where this directory is below its mount, as openat(2) takes it.
    fn at(&self) -> &str {
        if self.relative.is_empty() {
            "."
        } else {
            &self.relative
        }
    }

    pub(crate) fn mkdir(&self) -> io::Result<()> {
        let mode = Mode::from_raw_mode(0o755);
        Ok(rustix::fs::mkdirat(&self.hierarchy.fd, self.at(), mode)?)
    }

    pub(crate) fn rmdir(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.hierarchy.fd,
            self.at(),
            AtFlags::REMOVEDIR,
        )?)
    }

    pub(crate) fn exists(&self) -> Result<bool, Error> {
        self.stat(self.at())
            .map_err(|source| self.failed("looking at", "", source))
    }

    pub(crate) fn has_file(&self, file: &str) -> bool {
        self.stat(&self.inside(file)).unwrap_or(false)
    }

    fn stat(&self, at: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.hierarchy.fd, at, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory itself; `O_PATH`, as `CLONE_INTO_CGROUP` needs no more.
    pub(crate) fn open(&self) -> Result<OwnedFd, Error> {
        self.open_at(self.at(), OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|source| self.failed("opening", "", source))
    }

    /// Opens the directory for bpf(2), which refuses `O_PATH`.
    pub(crate) fn open_readable(&self) -> io::Result<OwnedFd> {
        self.open_at(self.at(), OFlags::RDONLY | OFlags::DIRECTORY)
    }

    pub(crate) fn open_file(&self, file: &str, flags: OFlags) -> io::Result<OwnedFd> {
        self.open_at(&self.inside(file), flags)
    }

    fn open_at(&self, at: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(openat(
            &self.hierarchy.fd,
            at,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    /// The whole of a file.
    pub(crate) fn read(&self, file: &str) -> Result<String, Error> {
        self.read_raw(file)
            .map_err(|source| self.failed("reading", file, source))
    }

    /// The whole of a file, `None` if there is no such file here, the kernel has the feature switched off
    /// (`EOPNOTSUPP`, as pressure files have it), or the cgroup has just gone (`ENODEV`).
    pub(crate) fn try_read(&self, file: &str) -> Result<Option<String>, Error> {
        match self.read_raw(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => Ok(None),
                _ => Err(self.failed("reading", file, error)),
            },
        }
    }

    fn read_raw(&self, file: &str) -> io::Result<String> {
        let fd = self.open_file(file, OFlags::RDONLY)?;
        read_to_string(&fd)
    }

    pub(crate) fn write_raw(&self, file: &str, value: &str) -> io::Result<()> {
        let fd = self.open_file(file, OFlags::WRONLY)?;
        // One write(2): the kernel takes each as a whole command.
        rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes()))?;
        Ok(())
    }

    /// Names of the cgroups directly below; empty if the directory is not there.
    pub(crate) fn children(&self) -> Result<Vec<String>, Error> {
        self.entries(rustix::fs::FileType::Directory)
    }

    /// Names of the files in it.
    pub(crate) fn files(&self) -> Result<Vec<String>, Error> {
        self.entries(rustix::fs::FileType::RegularFile)
    }

    fn entries(&self, wanted: rustix::fs::FileType) -> Result<Vec<String>, Error> {
        let fail = |source: Errno| self.failed("listing", "", source.into());
        let fd = match self.open_at(self.at(), OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
            Err(source) => return Err(self.failed("listing", "", source)),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(fd).map_err(fail)? {
            let entry = match entry {
                Ok(entry) => entry,
                // Removed while it was listed.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(fail(error)),
            };
            let name = entry.file_name();
            if entry.file_type() == wanted
                && !matches!(name.to_bytes(), b"." | b"..")
                && let Ok(name) = name.to_str()
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// This directory and all below it, each after its children.
    pub(crate) fn tree(&self) -> Result<Vec<Dir>, Error> {
        let mut found = Vec::new();
        let mut waiting = vec![self.clone()];
        while let Some(dir) = waiting.pop() {
            for name in dir.children()? {
                waiting.push(dir.child(&name));
            }
            found.push(dir);
        }
        found.reverse();
        Ok(found)
    }

    pub(crate) fn failed(&self, action: &'static str, file: &str, source: io::Error) -> Error {
        let path = self.path();
        let path = if file.is_empty() {
            path
        } else {
            path.join(file)
        };
        Error::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn malformed(&self, file: &str, text: &str) -> Error {
        Error::Malformed {
            path: self.path().join(file),
            text: text.chars().take(80).collect(),
        }
    }
}

/// Reads a descriptor from its current offset to its end.
pub(crate) fn read_to_string(fd: &OwnedFd) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        bytes.reserve(512);
        let got = rustix::io::retry_on_intr(|| {
            rustix::io::read(fd, rustix::buffer::spare_capacity(&mut bytes))
        })?;
        if got == 0 {
            break;
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
