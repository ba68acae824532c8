//! Owners, attributes, modes and times: set in the order that keeps them, and only where they differ.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::Warnings;
use crate::archive::{Entry, Fault};
use crate::encoding::{Encoding, is_overlay_xattr};
use crate::error::At;
use crate::fsutil::XattrPath;
use crate::{Error, Timestamp};

/// What an entry says about its inode.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: crate::fsutil::Xattrs,
}

impl Meta {
    pub(super) fn of(entry: &mut Entry) -> Result<Meta, Error> {
        for (name, _) in &entry.xattrs {
            if is_overlay_xattr(name) {
                return Err(Error::archive(
                    &entry.path,
                    Fault::OverlayAttribute(String::from_utf8_lossy(name).into_owned()),
                ));
            }
        }
        let xattrs = std::mem::take(&mut entry.xattrs);
        Ok(Meta {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs,
        })
    }
}

/// Sets attributes for one process's identity, and remembers what it may not do.
pub(super) struct Setter {
    encoding: Encoding,
    uid: u32,
    gid: u32,
    /// Cleared by the first refusal: an ordinary user would be refused for every entry.
    may_chown: bool,
    pub(super) warnings: Warnings,
}

impl Setter {
    pub(super) fn new(encoding: Encoding) -> Self {
        Setter {
            encoding,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            may_chown: true,
            warnings: Warnings::default(),
        }
    }

    /// Everything for an open file or directory; `created` is the mode it has now.
    pub(super) fn open(
        &mut self,
        fd: BorrowedFd<'_>,
        path: &[u8],
        meta: &Meta,
        created: u32,
    ) -> Result<(), Error> {
        if self.wants_owner(meta) {
            let result = fs::fchown(
                fd,
                Some(Uid::from_raw(meta.uid)),
                Some(Gid::from_raw(meta.gid)),
            );
            self.owner_result(result, path, meta)?;
        }
        for (name, value) in &meta.xattrs {
            self.xattr(&XattrPath::Fd(fd), path, name, value)?;
        }
        // An ACL set above may have changed the mode.
        if meta.mode != created || !meta.xattrs.is_empty() {
            fs::fchmod(fd, Mode::from_raw_mode(meta.mode)).at_entry("setting mode of", path)?;
        }
        fs::futimens(fd, &times(meta.mtime)).at_entry("setting times of", path)
    }

    /// Everything for what is not opened: links, devices, FIFOs.
    pub(super) fn named(
        &mut self,
        dir: impl AsFd,
        name: &[u8],
        path: &[u8],
        meta: &Meta,
        link: bool,
    ) -> Result<(), Error> {
        let dir = dir.as_fd();
        if self.wants_owner(meta) {
            let ids = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
            let result = fs::chownat(dir, name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW);
            self.owner_result(result, path, meta)?;
        }
        for (attribute, value) in &meta.xattrs {
            // The kernel allows user.* on files and directories only (xattr(7)).
            if !attribute.starts_with(b"user.") {
                self.xattr(&XattrPath::name(dir, name), path, attribute, value)?;
            }
        }
        if !link {
            // Just made by us in a directory nobody else reaches, and no link: chmod by name follows nothing.
            fs::chmodat(dir, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())
                .at_entry("setting mode of", path)?;
        }
        fs::utimensat(dir, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .at_entry("setting times of", path)
    }

    fn wants_owner(&mut self, meta: &Meta) -> bool {
        if meta.uid == self.uid && meta.gid == self.gid {
            return false;
        }
        if !self.may_chown {
            self.squashed(meta);
        }
        self.may_chown
    }

    fn squashed(&mut self, meta: &Meta) {
        // Root of the image is the owner of the store inside its user namespace: nothing is lost there.
        if meta.uid != 0 || meta.gid != 0 {
            self.warnings.owners += 1;
        }
    }

    fn owner_result(
        &mut self,
        result: rustix::io::Result<()>,
        path: &[u8],
        meta: &Meta,
    ) -> Result<(), Error> {
        match result {
            // EINVAL: the id has no mapping in our user namespace.
            Err(e @ (Errno::PERM | Errno::INVAL)) if self.encoding == Encoding::User => {
                self.may_chown = e != Errno::PERM;
                self.squashed(meta);
                Ok(())
            }
            other => other.at_entry("setting owner of", path),
        }
    }

    fn xattr(
        &mut self,
        to: &XattrPath<'_>,
        path: &[u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        match to.set(name, value) {
            Err(Errno::OPNOTSUPP | Errno::PERM) => {
                self.warnings.note_attribute(path, name);
                Ok(())
            }
            other => other.at_entry("setting extended attribute of", path),
        }
    }
}

pub(super) fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
