//! The store's directory, opened once.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::fs::{self, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::record::{self, Format, LayerRecord};
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil::{self, XattrPath};
use crate::id::ChainId;
use crate::{Error, Options};

/// The version of the format below; another one is refused.
const VERSION: u32 = 1;

/// Directory of layers' trees: `t/<number>`. The names are short because mount(2) takes all of them in one page.
pub(crate) const TREES: &str = "t";
pub(crate) const RECORDS: &str = "records";
pub(crate) const ACTIVE: &str = "active";
pub(crate) const STAGING: &str = "staging";
pub(crate) const TRASH: &str = "trash";
pub(crate) const LEASES: &str = "leases";
/// An empty directory: a lower layer for stacks that have none, or only one.
pub(crate) const EMPTY: &str = "empty";
const LOCK: &str = "lock";
const FORMAT: &str = "store.json";

pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) root: OwnedFd,
    pub(crate) encoding: Encoding,
    /// Where the next tree's number is tried first.
    next_tree: AtomicU64,
    names: AtomicU64,
    /// What was found out about mounting here: see `mount`.
    pub(crate) detached: AtomicU8,
}

/// A hold on the store's lock, given back when dropped.
pub(crate) struct Hold(#[expect(dead_code, reason = "closing it gives the lock back")] OwnedFd);

impl Inner {
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Inner, Error> {
        if let Some(parent) = dir.parent() {
            std::fs::create_dir_all(parent).at("creating", parent)?;
        }
        match fs::mkdir(dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).at("creating", dir),
        }
        let path = std::fs::canonicalize(dir).at("resolving", dir)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(&path, flags, Mode::empty()).at("opening", &path)?;
        // Layers hold setuid programs: nobody else may reach them (CVE-2021-41091).
        let stat = fs::fstat(&root).at("examining", &path)?;
        if stat.st_mode & 0o7777 != 0o700 {
            fs::fchmod(&root, Mode::RWXU).at("setting mode of", &path)?;
        }
        let mut inner = Inner {
            path,
            root,
            encoding: Encoding::Trusted,
            next_tree: AtomicU64::new(0),
            names: AtomicU64::new(0),
            detached: AtomicU8::new(0),
        };
        inner.encoding = inner.format(options)?;
        Ok(inner)
    }

    /// Reads the store's format, or writes it where there is none yet.
    fn format(&self, options: &Options) -> Result<Encoding, Error> {
        let read = || record::read::<Format>(&self.root, FORMAT, &self.path);
        let format = match read()? {
            Some(format) => format,
            None => {
                let _hold = self.lock(FlockOperation::LockExclusive)?;
                match read()? {
                    Some(format) => format,
                    None => self.initialise(options)?,
                }
            }
        };
        if format.version != VERSION {
            let reason = format!(
                "the store has format {}, this program knows {VERSION}",
                format.version
            );
            return Err(Error::Corrupt {
                path: self.path.join(FORMAT),
                reason,
            });
        }
        Ok(format.encoding)
    }

    fn initialise(&self, options: &Options) -> Result<Format, Error> {
        for name in [TREES, RECORDS, ACTIVE, STAGING, TRASH, LEASES, EMPTY] {
            fsutil::mkdir(&self.root, name, 0o700).at("creating", self.path.join(name))?;
        }
        let empty = self.directory(EMPTY)?;
        fs::fchmod(&empty, Mode::from_raw_mode(0o755))
            .at("setting mode of", self.path.join(EMPTY))?;
        let encoding = match options.encoding {
            Some(encoding) => encoding,
            // Trying is the only sure test: it takes privilege and a file system that has such attributes.
            None => match XattrPath::Fd(empty.as_fd()).set(b"trusted.overlay.orlop", b"y") {
                Ok(()) => {
                    let _ = fs::fremovexattr(&empty, "trusted.overlay.orlop");
                    Encoding::Trusted
                }
                Err(_) => Encoding::User,
            },
        };
        let format = Format {
            version: VERSION,
            encoding,
        };
        let temporary = self.unique("format");
        let file = record::write(&self.root, &temporary, &format, &self.path)?;
        fs::fsync(&file).at("writing", self.path.join(&temporary))?;
        fs::renameat(&self.root, &temporary, &self.root, FORMAT)
            .at("writing", self.path.join(FORMAT))?;
        fs::fsync(&self.root).at("writing", &self.path)?;
        Ok(format)
    }

    pub(crate) fn directory(&self, name: &str) -> Result<OwnedFd, Error> {
        fsutil::open_dir(&self.root, name.as_bytes()).at("opening", self.path.join(name))
    }

    /// Takes the store's lock: shared to add something that a collector must not take for garbage, exclusive to collect.
    ///
    /// A fresh descriptor each time: the lock belongs to the open file, and two threads must not share one.
    pub(crate) fn lock(&self, how: FlockOperation) -> Result<Hold, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let at = || self.path.join(LOCK);
        let fd =
            fs::openat(&self.root, LOCK, flags, Mode::RUSR | Mode::WUSR).at("opening", at())?;
        loop {
            match fs::flock(&fd, how) {
                Err(Errno::INTR) => {}
                other => break other.at("locking", at())?,
            }
        }
        Ok(Hold(fd))
    }

    /// A name nobody else uses: by process, time and count. Creation is exclusive all the same.
    pub(crate) fn unique(&self, prefix: &str) -> String {
        let count = self.names.fetch_add(1, Ordering::Relaxed);
        let now = fs_time();
        format!("{prefix}-{}-{now:x}-{count:x}", std::process::id())
    }

    /// Moves something to the trash: from now on it is not there for anybody, whatever happens while it is deleted.
    pub(crate) fn trash(&self, dir: impl AsFd, name: &str) -> Result<Option<String>, Error> {
        let trash = self.directory(TRASH)?;
        loop {
            let to = self.unique("x");
            match rename_directory(&dir, name, &trash, &to, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(Some(to)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e).at("removing", self.path.join(name)),
            }
        }
    }

    pub(crate) fn empty_trash(&self, name: &str) -> Result<(), Error> {
        let trash = self.directory(TRASH)?;
        fsutil::remove_tree(&trash, name.as_bytes())
            .at("removing", self.path.join(TRASH).join(name))
    }

    pub(crate) fn record(&self, id: &ChainId) -> Result<Option<LayerRecord>, Error> {
        record::read(self.directory(RECORDS)?, id.hex(), &self.path.join(RECORDS))
    }

    pub(crate) fn need_record(&self, id: &ChainId) -> Result<LayerRecord, Error> {
        self.record(id)?.ok_or_else(|| Error::NoLayer {
            chain_id: id.as_str().to_owned(),
        })
    }

    /// Gives a tree, which lies at `name` in `from`, its place among the layers. It is durable with the next `syncfs`.
    pub(crate) fn place_tree(&self, from: impl AsFd, name: &str) -> Result<String, Error> {
        let trees = self.directory(TREES)?;
        loop {
            let number = self.next_number(&trees)?;
            match rename_directory(&from, name, &trees, &number, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(number),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e).at("committing", self.path.join(TREES).join(&number)),
            }
        }
    }

    /// Takes a place among the layers with an empty directory, which a tree can be renamed over.
    pub(crate) fn reserve_tree(&self) -> Result<String, Error> {
        let trees = self.directory(TREES)?;
        loop {
            let number = self.next_number(&trees)?;
            match fs::mkdirat(&trees, &number, Mode::RWXU) {
                Ok(()) => return Ok(number),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e).at("committing", self.path.join(TREES).join(&number)),
            }
        }
    }

    fn next_number(&self, trees: &OwnedFd) -> Result<String, Error> {
        if self.next_tree.load(Ordering::Relaxed) == 0 {
            let names = fsutil::list(trees).at("listing", self.path.join(TREES))?;
            let highest = names
                .iter()
                .filter_map(|(n, _)| parse36(n.to_bytes()))
                .max();
            self.next_tree
                .fetch_max(highest.map_or(0, |n| n + 1), Ordering::Relaxed);
        }
        Ok(base36(self.next_tree.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn open_trees(&self, names: &[String]) -> Result<Vec<OwnedFd>, Error> {
        let trees = self.directory(TREES)?;
        let open = |name: &String| {
            fsutil::open_dir(&trees, name.as_bytes())
                .at("opening", self.path.join(TREES).join(name))
        };
        names.iter().map(open).collect()
    }
}

/// Moves a directory to another parent. An ordinary user may do that only with one that is writable itself, as its `..`
/// changes; a layer's root often is not.
pub(crate) fn rename_directory(
    from: impl AsFd,
    name: &str,
    to: impl AsFd,
    new: &str,
    flags: RenameFlags,
) -> rustix::io::Result<()> {
    match fs::renameat_with(from.as_fd(), name, to.as_fd(), new, flags) {
        Err(Errno::ACCESS) => {}
        other => return other,
    }
    let dir = fsutil::open_dir(&from, name.as_bytes())?;
    let mode = Mode::from_raw_mode(fs::fstat(&dir)?.st_mode & 0o7777);
    fs::fchmod(&dir, mode | Mode::RWXU)?;
    let result = fs::renameat_with(from.as_fd(), name, to.as_fd(), new, flags);
    fs::fchmod(&dir, mode)?;
    result
}

fn fs_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec
        .cast_unsigned()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec.cast_unsigned())
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn base36(mut number: u64) -> String {
    let mut text = Vec::new();
    loop {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.iter().rev().collect()
}

fn parse36(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|t| u64::from_str_radix(t, 36).ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        for n in [0, 1, 35, 36, 1295, 1296, u64::MAX] {
            assert_eq!(super::parse36(super::base36(n).as_bytes()), Some(n));
        }
    }
}
