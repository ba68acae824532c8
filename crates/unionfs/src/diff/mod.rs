//! From a snapshot back to a layer tar.

mod compare;
mod upper;
mod writer;

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType};
use serde::{Deserialize, Serialize};

use crate::apply::lower::Lower;
use crate::copy;
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil;
use crate::mount::mapped::Noted;
use crate::store::ACTIVE;
use crate::store::active::{Handle, UPPER};
use crate::store::record::ActiveKind;
use crate::{Error, Timestamp, flatten};
#[cfg(test)]
pub(crate) use writer::pax_record;
use writer::{Head, Writer};

/// How a diff is written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DiffOptions {
    /// No time in the archive is later than this many seconds after 1970: what reproducible builds call
    /// `SOURCE_DATE_EPOCH`. `None` keeps all times.
    pub latest: Option<i64>,
    /// How owners on disk become owners in the archive, for a store whose containers ran in a user namespace. Empty: as
    /// they are, and in a store of an ordinary user that user is 0.
    pub uids: Vec<IdRange>,
    /// The same for groups.
    pub gids: Vec<IdRange>,
}

impl DiffOptions {
    /// Sets [`latest`](Self::latest).
    pub fn latest(mut self, seconds: Option<i64>) -> Self {
        self.latest = seconds;
        self
    }

    /// Sets [`uids`](Self::uids) and [`gids`](Self::gids).
    pub fn ids(mut self, uids: Vec<IdRange>, gids: Vec<IdRange>) -> Self {
        self.uids = uids;
        self.gids = gids;
        self
    }
}

/// A range of ids, as in `/proc/<pid>/uid_map` (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id in the archive.
    pub inside: u32,
    /// First id on disk.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// What a diff came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digests {
    /// Digest of the archive: `sha256:<hex>`.
    pub diff_id: String,
    /// Length of the archive in bytes.
    pub bytes: u64,
    /// Entries in it.
    pub entries: u64,
}

/// One thing to say about a path.
enum Item {
    /// The file, directory, link … as it is.
    Node(Vec<u8>),
    /// What the layers below have there is gone.
    Whiteout(Vec<u8>),
    /// What the layers below have in this directory is gone.
    Opaque(Vec<u8>),
}

/// Writes what a snapshot changed as an uncompressed layer tar.
pub(crate) fn diff(
    snapshot: &Handle,
    options: &DiffOptions,
    out: impl Write,
) -> Result<Digests, Error> {
    let inner = &snapshot.inner;
    let key = snapshot.key.as_str();
    if snapshot.record.kind == ActiveKind::View {
        return Err(Error::ReadOnly {
            key: key.to_owned(),
        });
    }
    let shown = inner.path.join(ACTIVE).join(key);
    let dir = fsutil::open_dir(inner.directory(ACTIVE)?, key.as_bytes()).at("opening", &shown)?;
    let (root, mut items) = if flatten::exists(snapshot)? {
        let root = fsutil::open_dir(&dir, flatten::TREE.as_bytes()).at("opening", &shown)?;
        let lower = Lower {
            trees: inner.open_trees(&snapshot.record.trees)?,
            encoding: inner.encoding,
        };
        let items = compare::items(&root, &lower)?;
        (root, items)
    } else {
        let root = fsutil::open_dir(&dir, UPPER.as_bytes()).at("opening", &shown)?;
        let items = upper::items(&root, inner.encoding)?;
        (root, items)
    };
    let noted = crate::mount::mapped::noted(snapshot, &dir)?;
    let ids = Ids::new(options, inner.encoding, noted.unwrap_or_default());
    if root_changed(snapshot, &root, &ids)? {
        items.insert(0, Item::Node(Vec::new()));
    }
    let mut pack = Pack {
        root,
        writer: Writer::new(out),
        links: HashMap::new(),
        latest: options.latest,
        ids,
    };
    for item in &items {
        pack.item(item)?;
    }
    pack.writer.finish()
}

/// Whether the root directory differs from what a snapshot of these layers begins with.
fn root_changed(snapshot: &Handle, root: &OwnedFd, ids: &Ids) -> Result<bool, Error> {
    let Some(name) = &snapshot.record.root else {
        return Ok(true);
    };
    let trees = snapshot.inner.open_trees(std::slice::from_ref(name))?;
    let Some(before) = trees.first() else {
        return Ok(true);
    };
    let old = fs::fstat(before).at("examining", "/")?;
    let mut new = fs::fstat(root).at("examining", "/")?;
    if !ids.noted {
        return Ok(!copy::same_attributes(&old, &new) || xattrs_differ(before, root)?);
    }
    (new.st_uid, new.st_gid) = (ids.uid(new.st_uid, b"/")?, ids.gid(new.st_gid, b"/")?);
    Ok(!copy::same_attributes(&old, &new) || xattrs_differ(before, root)?)
}

fn xattrs_differ(a: &OwnedFd, b: &OwnedFd) -> Result<bool, Error> {
    let all = |of: &OwnedFd| xattrs(fsutil::XattrPath::Fd(of.as_fd()), b"/");
    Ok(all(a)? != all(b)?)
}

/// Extended attributes without overlayfs's own, sorted by name.
fn xattrs(of: fsutil::XattrPath<'_>, path: &[u8]) -> Result<fsutil::Xattrs, Error> {
    let mut all = Vec::new();
    for name in fsutil::xattr_names(&of).at_entry("listing extended attributes of", path)? {
        if crate::encoding::is_overlay_xattr(name.as_bytes()) {
            continue;
        }
        let value = fsutil::xattr(&of, &name).at_entry("reading extended attribute of", path)?;
        all.extend(value.map(|value| (name.into_bytes(), value)));
    }
    all.sort_unstable();
    Ok(all)
}

struct Pack<W> {
    root: OwnedFd,
    writer: Writer<W>,
    /// The first path of each file with more than one name.
    links: HashMap<(u64, u64), Vec<u8>>,
    latest: Option<i64>,
    ids: Ids,
}

impl<W: Write> Pack<W> {
    fn item(&mut self, item: &Item) -> Result<(), Error> {
        match item {
            Item::Node(path) => self.node(path),
            Item::Whiteout(path) => {
                let (parent, name) = split(path);
                self.mark(join(parent, &[b".wh.", name].concat()))
            }
            Item::Opaque(path) => self.mark(join(path, b".wh..wh..opq")),
        }
    }

    /// An empty file whose name says what is gone; without a time of its own, so that two diffs do not differ.
    fn mark(&mut self, path: Vec<u8>) -> Result<(), Error> {
        let head = Head {
            path,
            flag: b'0',
            mode: 0o644,
            ..Head::default()
        };
        self.writer.head(&head)
    }

    fn node(&mut self, path: &[u8]) -> Result<(), Error> {
        let (parent, name) = split(path);
        let parent = fsutil::open_dir(&self.root, parent).at_entry("opening directory", parent)?;
        let name = if name.is_empty() { b"." } else { name };
        let Some(stat) = fsutil::stat(&parent, name).at_entry("examining", path)? else {
            return Err(changed(path));
        };
        let kind = fsutil::file_type(&stat);
        let mut head = Head {
            path: path.to_vec(),
            mode: stat.st_mode & 0o7777,
            uid: self.ids.uid(stat.st_uid, path)?,
            gid: self.ids.gid(stat.st_gid, path)?,
            mtime: self.time(&stat),
            ..Head::default()
        };
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                head.flag = b'1';
                head.link = first.clone();
                return self.writer.head(&head);
            }
            self.links.insert(inode, path.to_vec());
        }
        match kind {
            FileType::RegularFile => {
                let file = fsutil::open_readable(&parent, name, &stat).at_entry("opening", path)?;
                head.flag = b'0';
                head.size = stat.st_size.cast_unsigned();
                head.xattrs = xattrs(fsutil::XattrPath::Fd(file.as_fd()), path)?;
                self.writer.head(&head)?;
                return self.writer.body(file, head.size, path);
            }
            FileType::Directory => {
                let dir = fsutil::open_dir(&parent, name).at_entry("opening directory", path)?;
                head.flag = b'5';
                head.path = if path.is_empty() {
                    b"./".to_vec()
                } else {
                    [path, b"/"].concat()
                };
                head.xattrs = xattrs(fsutil::XattrPath::Fd(dir.as_fd()), path)?;
                return self.writer.head(&head);
            }
            FileType::Symlink => {
                head.flag = b'2';
                let link = fs::readlinkat(&parent, name, Vec::new());
                head.link = link.at_entry("reading link", path)?.into_bytes();
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                head.flag = if kind == FileType::CharacterDevice {
                    b'3'
                } else {
                    b'4'
                };
                head.device = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
            }
            FileType::Fifo => head.flag = b'6',
            // A socket is nothing without the process behind it, and tar has no entry for one.
            _ => return Ok(()),
        }
        head.xattrs = xattrs(fsutil::XattrPath::name(parent.as_fd(), name), path)?;
        self.writer.head(&head)
    }

    fn time(&self, stat: &fs::Stat) -> Timestamp {
        let time = Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        };
        let latest = self.latest.map(|seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        });
        latest.map_or(time, |latest| time.min(latest))
    }
}

/// Owners on disk to owners in the archive.
struct Ids {
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
    /// The snapshot holds a user namespace's owners.
    noted: bool,
}

impl Ids {
    /// What the caller says, else what was noted when the snapshot was mounted, else what the store's kind implies.
    fn new(options: &DiffOptions, encoding: Encoding, noted: Noted) -> Ids {
        let own = |outside| match encoding {
            Encoding::Trusted => Vec::new(),
            Encoding::User => vec![IdRange {
                inside: 0,
                outside,
                length: 1,
            }],
        };
        let first = |given: &Vec<IdRange>, noted: Vec<IdRange>, own: Vec<IdRange>| {
            [given.clone(), noted]
                .into_iter()
                .find(|r| !r.is_empty())
                .unwrap_or(own)
        };
        Ids {
            noted: !noted.uids.is_empty(),
            uids: first(
                &options.uids,
                noted.uids,
                own(rustix::process::geteuid().as_raw()),
            ),
            gids: first(
                &options.gids,
                noted.gids,
                own(rustix::process::getegid().as_raw()),
            ),
        }
    }

    fn uid(&self, id: u32, path: &[u8]) -> Result<u32, Error> {
        map_back(&self.uids, id).ok_or_else(|| unmapped("user", id, path))
    }

    fn gid(&self, id: u32, path: &[u8]) -> Result<u32, Error> {
        map_back(&self.gids, id).ok_or_else(|| unmapped("group", id, path))
    }
}

/// An id on disk to the one in the archive; without any range it stays.
pub(crate) fn map_back(ranges: &[IdRange], id: u32) -> Option<u32> {
    if ranges.is_empty() {
        return Some(id);
    }
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.outside)?;
        (offset < range.length).then(|| range.inside.checked_add(offset))?
    })
}

fn unmapped(what: &str, id: u32, path: &[u8]) -> Error {
    corrupt(
        path,
        format!("its {what} {id} has no place in the archive's id map"),
    )
}

fn changed(path: &[u8]) -> Error {
    corrupt(path, "it changed while the diff was made".to_owned())
}

fn corrupt(path: &[u8], reason: String) -> Error {
    use std::os::unix::ffi::OsStrExt;
    Error::Corrupt {
        path: std::ffi::OsStr::from_bytes(path).into(),
        reason,
    }
}

/// Parent and last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let parent = crate::apply::parent_of(path);
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    (parent, name)
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_maps() {
        let range = |inside, outside, length| IdRange {
            inside,
            outside,
            length,
        };
        let ranges = [range(0, 1000, 1), range(1, 100_000, 65536)];
        assert_eq!(map_back(&ranges, 1000), Some(0));
        assert_eq!(map_back(&ranges, 100_000), Some(1));
        assert_eq!(map_back(&ranges, 165_535), Some(65536));
        assert_eq!(map_back(&ranges, 165_536), None);
        assert_eq!(map_back(&ranges, 0), None);
        assert_eq!(map_back(&[], 7), Some(7));
        assert_eq!(map_back(&[range(u32::MAX, 0, 2)], 1), None);
    }
}
