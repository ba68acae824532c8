//! Unpacking a layer: from a tar stream to a directory in overlayfs's encoding.

pub(crate) mod lower;
mod meta;
mod path;
mod tree;

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::archive::{Entry, Fault, Kind, Map, Reader};
use crate::encoding::Encoding;
use crate::error::At;
use crate::{Error, fsutil};
use meta::{Meta, Setter};
use path::Name;
pub(crate) use tree::parent_of;
use tree::{Dir, Tree};

/// How much a layer may unpack to. A layer that goes beyond is refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyLimits {
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// Bytes of the archive itself, uncompressed, padding included.
    pub archive_bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
}

impl Default for ApplyLimits {
    /// Above any image in honest use: 1 TiB, ten million entries, 512 components.
    fn default() -> Self {
        ApplyLimits {
            bytes: 1 << 40,
            archive_bytes: 1 << 40,
            entries: 10_000_000,
            depth: 512,
        }
    }
}

/// A layer that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Digest of the whole uncompressed stream, padding included: `sha256:<hex>`.
    pub diff_id: String,
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// What could not be kept.
    pub warnings: Warnings,
}

/// What of a layer could not be kept, for want of privilege or because the file system lacks it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warnings {
    /// Entries that belong to the store's user now instead of the owner in the archive (other than root).
    pub owners: u64,
    /// Device nodes left out.
    pub devices: u64,
    /// Extended attributes left out.
    pub attributes: u64,
    /// The first few of the devices and attributes, to be shown: `dev/null`, `usr/bin/ping: security.capability`.
    pub examples: Vec<String>,
}

impl Warnings {
    /// Whether everything was kept.
    pub fn is_empty(&self) -> bool {
        self.owners == 0 && self.devices == 0 && self.attributes == 0
    }

    fn note_device(&mut self, path: &[u8]) {
        self.devices += 1;
        self.example(|| String::from_utf8_lossy(path).into_owned());
    }

    fn note_attribute(&mut self, path: &[u8], name: &[u8]) {
        self.attributes += 1;
        self.example(|| {
            format!(
                "{}: {}",
                String::from_utf8_lossy(path),
                String::from_utf8_lossy(name)
            )
        });
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < 16 {
            self.examples.push(text());
        }
    }
}

/// What the commit has to know about an unpacked tree.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// Directories whose attributes come from the layers below.
    pub(crate) implicit: Vec<Vec<u8>>,
    /// Hard links to files of the layers below: path here, target there.
    pub(crate) deferred: Vec<(Vec<u8>, Vec<u8>)>,
    /// The archive had an entry for the root.
    pub(crate) root: bool,
    /// Nothing below is seen.
    pub(crate) opaque_root: bool,
}

/// Unpacks a layer into an empty directory that nobody else reaches.
pub(crate) fn unpack(
    root: OwnedFd,
    encoding: Encoding,
    archive: impl Read,
    limits: &ApplyLimits,
) -> Result<(Applied, Unpacked), Error> {
    let mut reader = Reader::new(archive, limits.archive_bytes);
    let mut applier = Applier {
        tree: Tree::new(root, encoding),
        setter: Setter::new(encoding),
        limits,
        entries: 0,
        bytes: 0,
    };
    loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(fault) => return Err(Error::archive(reader.place(), fault)),
        };
        applier.check_limits(&entry)?;
        applier.entry(entry, &mut reader)?;
    }
    applier.finish_directories()?;
    let Applier {
        mut tree,
        setter,
        entries,
        bytes,
        ..
    } = applier;
    let applied = Applied {
        diff_id: reader.input.digest(),
        entries,
        bytes,
        warnings: setter.warnings,
    };
    let unpacked = Unpacked {
        implicit: std::mem::take(&mut tree.implicit).into_iter().collect(),
        deferred: std::mem::take(&mut tree.deferred).into_iter().collect(),
        root: tree.directories.contains_key(b"".as_slice()),
        opaque_root: tree.opaque_root,
    };
    Ok((applied, unpacked))
}

struct Applier<'a> {
    tree: Tree,
    setter: Setter,
    limits: &'a ApplyLimits,
    entries: u64,
    bytes: u64,
}

impl Applier<'_> {
    fn check_limits(&mut self, entry: &Entry) -> Result<(), Error> {
        let limits = self.limits;
        self.entries += 1;
        let size = match &entry.kind {
            Kind::File(Some(map)) => map.size,
            _ => entry.stored,
        };
        self.bytes = self.bytes.saturating_add(size);
        let exceeded = |what, limit| {
            Err(Error::Limit {
                what,
                limit,
                entry: String::from_utf8_lossy(&entry.path).into_owned(),
            })
        };
        if self.entries > limits.entries {
            return exceeded("entries", limits.entries);
        }
        if self.bytes > limits.bytes {
            return exceeded("bytes", limits.bytes);
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, mut entry: Entry, reader: &mut Reader<R>) -> Result<(), Error> {
        let refuse = |fault| Error::archive(reader.place(), fault);
        let path = std::mem::take(&mut entry.path);
        let components = path::components(&path).map_err(refuse)?;
        if components.len() > self.limits.depth {
            let entry = String::from_utf8_lossy(&path).into_owned();
            return Err(Error::Limit {
                what: "path components",
                limit: self.limits.depth as u64,
                entry,
            });
        }
        let Some((name, parents)) = components.split_last() else {
            return self.root_entry(&mut entry);
        };
        let name = match path::classify(parents, name).map_err(refuse)? {
            Name::Plain(name) => name,
            Name::Ignored => return Ok(()),
            _ if entry.kind == Kind::Directory => {
                return Err(refuse(Fault::Whiteout("it is a directory")));
            }
            Name::Whiteout(name) => {
                let parent = self.tree.directory(parents)?;
                return self.whiteout(&parent, name);
            }
            Name::Opaque => {
                let dir = self.tree.directory(parents)?;
                return self.tree.set_opaque(&dir);
            }
        };
        let meta = Meta::of(&mut entry).map_err(|e| match e {
            Error::Archive { source, .. } => Error::archive(&path, source),
            other => other,
        })?;
        let parent = self.tree.directory(parents)?;
        let here = parent.child(name);
        match entry.kind {
            Kind::Directory => self.directory(&parent, name, meta),
            Kind::File(map) => self.file(&parent, name, &meta, entry.stored, map.as_ref(), reader),
            Kind::Hardlink(target) => self.hardlink(&parent, name, &target),
            Kind::Symlink(target) => {
                if target.is_empty() || target.contains(&0) {
                    return Err(refuse(Fault::Link {
                        target: lossy(&target),
                        reason: "it has no valid target",
                    }));
                }
                self.replacing(&parent, name, || {
                    fs::symlinkat(target.as_slice(), &*parent, name)
                })?;
                self.setter.named(&*parent, name, &here, &meta, true)
            }
            Kind::Fifo => self.node(&parent, name, &meta, FileType::Fifo, 0),
            Kind::Character { major: 0, minor: 0 } => Err(refuse(Fault::Whiteout(
                "a character device 0/0 is how overlayfs itself writes one",
            ))),
            Kind::Character { major, minor } => self.node(
                &parent,
                name,
                &meta,
                FileType::CharacterDevice,
                fs::makedev(major, minor),
            ),
            Kind::Block { major, minor } => self.node(
                &parent,
                name,
                &meta,
                FileType::BlockDevice,
                fs::makedev(major, minor),
            ),
        }
    }

    fn root_entry(&mut self, entry: &mut Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::archive(
                b".",
                Fault::Path("it names the root, and is not a directory"),
            ));
        }
        let meta = Meta::of(entry)?;
        self.tree.directories.insert(Vec::new(), meta);
        Ok(())
    }

    /// Runs `create`; if the name is taken, removes what is there and runs it again.
    fn replacing<T>(
        &mut self,
        parent: &Dir,
        name: &[u8],
        create: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, Error> {
        match create() {
            Err(Errno::EXIST) => {
                self.tree.clear(parent, name)?;
                create()
            }
            other => other,
        }
        .at_entry("creating", &parent.child(name))
    }

    fn directory(&mut self, parent: &Dir, name: &[u8], meta: Meta) -> Result<(), Error> {
        let path = parent.child(name);
        match self.tree.make(parent, name) {
            Ok(_) => {}
            Err(Error::Io { source, .. })
                if source.raw_os_error() == Some(Errno::EXIST.raw_os_error()) =>
            {
                let stat = self.tree.stat(parent, name)?;
                if stat.is_none_or(|s| fsutil::file_type(&s) != FileType::Directory) {
                    // In the layers below something else or nothing was visible here: the new directory begins empty.
                    self.tree.clear(parent, name)?;
                    let dir = self.tree.make(parent, name)?;
                    self.tree.set_opaque(&dir)?;
                }
                self.tree.implicit.remove(&path);
            }
            Err(e) => return Err(e),
        }
        self.tree.directories.insert(path, meta);
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        parent: &Dir,
        name: &[u8],
        meta: &Meta,
        stored: u64,
        map: Option<&Map>,
        reader: &mut Reader<R>,
    ) -> Result<(), Error> {
        let path = parent.child(name);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = meta.mode & 0o777;
        let fd = self.replacing(parent, name, || {
            fs::openat(parent, name, flags, Mode::from_raw_mode(mode))
        })?;
        match map {
            None => copy(reader, &fd, stored, &path)?,
            Some(map) => {
                fs::ftruncate(&fd, map.size).at_entry("writing", &path)?;
                for (offset, length) in &map.data {
                    fs::seek(&fd, SeekFrom::Start(*offset)).at_entry("writing", &path)?;
                    copy(reader, &fd, *length, &path)?;
                }
            }
        }
        self.setter
            .open(fd.as_fd(), &path, meta, mode & !self.tree.umask)
    }

    fn node(
        &mut self,
        parent: &Dir,
        name: &[u8],
        meta: &Meta,
        kind: FileType,
        device: u64,
    ) -> Result<(), Error> {
        let path = parent.child(name);
        let create = || {
            fs::mknodat(
                parent,
                name,
                kind,
                Mode::from_raw_mode(meta.mode & 0o777),
                device,
            )
        };
        match self.replacing(parent, name, create) {
            Err(Error::Io { source, .. })
                if kind != FileType::Fifo
                    && source.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
            {
                self.setter.warnings.note_device(&path);
                Ok(())
            }
            Err(e) => Err(e),
            Ok(()) => self.setter.named(parent, name, &path, meta, false),
        }
    }

    fn hardlink(&mut self, parent: &Dir, name: &[u8], target: &[u8]) -> Result<(), Error> {
        let path = parent.child(name);
        let refuse = |reason| {
            Error::archive(
                &path,
                Fault::Link {
                    target: lossy(target),
                    reason,
                },
            )
        };
        let components = path::components(target).map_err(|fault| Error::archive(&path, fault))?;
        let Some((target_name, target_parents)) = components.split_last() else {
            return Err(refuse("it is the root"));
        };
        if let Some(dir) = self.tree.existing(target_parents)? {
            let target_path = dir.child(target_name);
            if target_path == path {
                return Ok(());
            }
            if let Some(stat) = self.tree.stat(&dir, target_name)? {
                if fsutil::file_type(&stat) == FileType::Directory {
                    return Err(refuse("it is a directory"));
                }
                if fsutil::is_whiteout(&stat) {
                    return Err(refuse("it is deleted by this layer"));
                }
                self.replacing(parent, name, || {
                    fs::linkat(&*dir, *target_name, parent, name, AtFlags::empty())
                })?;
                if let Some(below) = self.tree.deferred.get(&target_path).cloned() {
                    self.tree.deferred.insert(path, below);
                }
                return Ok(());
            }
        }
        // Only a layer below can have it, and that may not be there yet: the commit fills this in.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.replacing(parent, name, || {
            fs::openat(parent, name, flags, Mode::empty())
        })?;
        self.tree.deferred.insert(path, components.join(&b'/'));
        Ok(())
    }

    /// Hides a name of the layers below; what this layer itself has there stays.
    fn whiteout(&mut self, parent: &Dir, name: &[u8]) -> Result<(), Error> {
        let path = parent.child(name);
        match fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {}
            other => return other.at_entry("writing whiteout", &path),
        }
        // A file hides what is below by itself; a directory would merge with it.
        match fsutil::open_dir(parent, name) {
            Ok(fd) => self.tree.set_opaque(&Dir { fd, path }),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(e) => Err(e).at_entry("opening directory", &path),
        }
    }

    /// Attributes of directories, the deepest first: a parent's mode may bar the way to its children.
    fn finish_directories(&mut self) -> Result<(), Error> {
        let root = self.tree.root();
        for (path, meta) in self.tree.directories.iter().rev() {
            let fd = fsutil::open_dir(&root, path).at_entry("opening directory", path)?;
            let created = if path.is_empty() {
                u32::MAX
            } else {
                0o755 & !self.tree.umask
            };
            self.setter.open(fd.as_fd(), path, meta, created)?;
        }
        Ok(())
    }
}

fn copy<R: Read>(
    reader: &mut Reader<R>,
    fd: &OwnedFd,
    mut left: u64,
    path: &[u8],
) -> Result<(), Error> {
    while left > 0 {
        let chunk = match reader.body(left) {
            Ok(chunk) => chunk,
            Err(fault) => return Err(Error::archive(path, fault)),
        };
        left -= chunk.len() as u64;
        fsutil::write_all(fd.as_fd(), chunk).at_entry("writing", path)?;
    }
    Ok(())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
