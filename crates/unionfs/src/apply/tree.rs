//! The directory a layer unpacks into, and the way from an entry's path to an open directory in it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{self, FileType, Mode, Stat};
use rustix::io::Errno;

use super::meta::Meta;
use crate::archive::Fault;
use crate::encoding::Encoding;
use crate::error::At;
use crate::fsutil::{self, XattrPath};
use crate::{Error, fsutil::remove_tree};

/// Directories kept open. Archives list a directory's files together, so few are needed.
const CACHED: usize = 64;
/// Links followed in one path, as many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// An open directory of the layer, and where it is: a path of real directories, without links.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) path: Vec<u8>,
}

impl Dir {
    pub(super) fn child(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(super) struct Tree {
    root: Rc<Dir>,
    /// By the path asked for, which may lead through links.
    cache: HashMap<Vec<u8>, Rc<Dir>>,
    pub(super) encoding: Encoding,
    pub(super) umask: u32,
    /// Directories' attributes, set at the end: entries made inside change times, and modes may bar the way.
    pub(super) directories: BTreeMap<Vec<u8>, Meta>,
    /// Directories made only because something is in them: their attributes come from the layers below.
    pub(super) implicit: BTreeSet<Vec<u8>>,
    /// Hard links to files that this layer does not have; a placeholder stands at each path.
    pub(super) deferred: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The root itself is opaque: layers below are not seen at all.
    pub(super) opaque_root: bool,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, encoding: Encoding) -> Self {
        Tree {
            root: Rc::new(Dir {
                fd: root,
                path: Vec::new(),
            }),
            cache: HashMap::new(),
            encoding,
            umask: fsutil::umask(),
            directories: BTreeMap::new(),
            implicit: BTreeSet::new(),
            deferred: BTreeMap::new(),
            opaque_root: false,
        }
    }

    pub(super) fn root(&self) -> Rc<Dir> {
        Rc::clone(&self.root)
    }

    /// The directory at this path, made with its parents where missing.
    pub(super) fn directory(&mut self, path: &[&[u8]]) -> Result<Rc<Dir>, Error> {
        match self.walk(path, true)? {
            Some(dir) => Ok(dir),
            // Cannot happen: with `make` every missing directory is made.
            None => Err(Error::archive(
                &path.join(&b'/'),
                Fault::Path("it cannot be reached"),
            )),
        }
    }

    /// The directory at this path, if this layer has it.
    pub(super) fn existing(&mut self, path: &[&[u8]]) -> Result<Option<Rc<Dir>>, Error> {
        self.walk(path, false)
    }

    fn walk(&mut self, path: &[&[u8]], make: bool) -> Result<Option<Rc<Dir>>, Error> {
        if path.is_empty() {
            return Ok(Some(self.root()));
        }
        let key = path.join(&b'/');
        if let Some(dir) = self.cache.get(&key) {
            return Ok(Some(Rc::clone(dir)));
        }
        // Nearly always the parent is there and holds no link: one call.
        let dir = match fsutil::open_dir(&self.root, &key) {
            Ok(fd) => Some(Rc::new(Dir {
                fd,
                path: key.clone(),
            })),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => self.walk_slowly(path, make)?,
            Err(e) => return Err(e).at_entry("opening directory", &key),
        };
        if let Some(dir) = &dir {
            self.remember(key, dir);
        }
        Ok(dir)
    }

    fn remember(&mut self, key: Vec<u8>, dir: &Rc<Dir>) {
        if self.cache.len() >= CACHED {
            self.cache.clear();
        }
        self.cache.insert(key, Rc::clone(dir));
    }

    /// One component at a time, links resolved inside the root.
    fn walk_slowly(&mut self, path: &[&[u8]], make: bool) -> Result<Option<Rc<Dir>>, Error> {
        let mut current = self.root();
        let mut rest: VecDeque<Vec<u8>> = path.iter().map(|c| c.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    // The path holds no link, so its parent is the directory's parent.
                    let parent = parent_of(&current.path).to_vec();
                    let fd = fsutil::open_dir(&self.root, &parent)
                        .at_entry("opening directory", &parent)?;
                    current = Rc::new(Dir { fd, path: parent });
                    continue;
                }
                _ => {}
            }
            let here = current.child(&name);
            match fsutil::open_dir(&current, &name) {
                Ok(fd) => current = Rc::new(Dir { fd, path: here }),
                Err(Errno::NOENT) if make => {
                    current = self.make_implicit(&current, &name, false)?
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let Some(stat) = fsutil::stat(&current, &name).at_entry("examining", &here)?
                    else {
                        return Ok(None);
                    };
                    if fsutil::is_whiteout(&stat) {
                        if !make {
                            return Ok(None);
                        }
                        // Deleted below, and now a directory again: nothing of the lower one shines through.
                        self.clear(&current, &name)?;
                        current = self.make_implicit(&current, &name, true)?;
                        continue;
                    }
                    if fsutil::file_type(&stat) != FileType::Symlink {
                        let path = path.join(&b'/');
                        return Err(Error::archive(
                            &path,
                            Fault::NotDirectory(String::from_utf8_lossy(&here).into_owned()),
                        ));
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP).at_entry("following links to", &path.join(&b'/'));
                    }
                    let target = fs::readlinkat(&current, name.as_slice(), Vec::new())
                        .at_entry("reading link", &here)?;
                    if target.as_bytes().starts_with(b"/") {
                        current = self.root();
                    }
                    for component in target.as_bytes().rsplit(|b| *b == b'/') {
                        rest.push_front(component.to_vec());
                    }
                }
                Err(e) => return Err(e).at_entry("opening directory", &here),
            }
        }
        Ok(Some(current))
    }

    fn make_implicit(&mut self, parent: &Dir, name: &[u8], opaque: bool) -> Result<Rc<Dir>, Error> {
        let dir = self.make(parent, name)?;
        self.implicit.insert(dir.path.clone());
        if opaque {
            self.set_opaque(&dir)?;
        }
        Ok(dir)
    }

    /// A fresh directory, open for work until its attributes are set at the end.
    pub(super) fn make(&mut self, parent: &Dir, name: &[u8]) -> Result<Rc<Dir>, Error> {
        let path = parent.child(name);
        fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
            .at_entry("creating directory", &path)?;
        if self.umask & 0o700 != 0 {
            fs::chmodat(parent, name, Mode::RWXU, fs::AtFlags::empty())
                .at_entry("setting mode of", &path)?;
        }
        let fd = fsutil::open_dir(parent, name).at_entry("opening directory", &path)?;
        let dir = Rc::new(Dir { fd, path });
        self.remember(dir.path.clone(), &dir);
        Ok(dir)
    }

    /// Hides what the layers below have in this directory.
    pub(super) fn set_opaque(&mut self, dir: &Dir) -> Result<(), Error> {
        if dir.path.is_empty() {
            self.opaque_root = true;
            return Ok(());
        }
        XattrPath::Fd(dir.as_fd())
            .set(self.encoding.opaque(), b"y")
            .at_entry("marking as opaque", &dir.path)
    }

    /// Removes whatever is at this name, with everything that was remembered about it.
    pub(super) fn clear(&mut self, parent: &Dir, name: &[u8]) -> Result<(), Error> {
        let path = parent.child(name);
        remove_tree(parent, name).at_entry("replacing", &path)?;
        // What was opened through a removed directory or link is somewhere else now.
        self.cache.clear();
        forget(&mut self.directories, &path);
        forget(&mut self.deferred, &path);
        self.implicit.remove(&path);
        let below: Vec<_> = range_below(&path, |r| self.implicit.range(r).cloned().collect());
        for path in below {
            self.implicit.remove(&path);
        }
        Ok(())
    }

    pub(super) fn stat(&self, parent: &Dir, name: &[u8]) -> Result<Option<Stat>, Error> {
        fsutil::stat(parent, name).at_entry("examining", &parent.child(name))
    }
}

pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

pub(crate) fn parent_of(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|b| *b == b'/')
        .and_then(|at| path.get(..at))
        .unwrap_or_default()
}

/// Everything below a path sorts between `path/` and `path0`, as `0` follows `/`.
fn range_below<T>(path: &[u8], with: impl FnOnce(std::ops::Range<Vec<u8>>) -> T) -> T {
    with([path, b"/"].concat()..[path, b"0"].concat())
}

fn forget<T>(map: &mut BTreeMap<Vec<u8>, T>, path: &[u8]) {
    map.remove(path);
    let below: Vec<_> = range_below(path, |r| map.range(r).map(|(k, _)| k.clone()).collect());
    for path in below {
        map.remove(&path);
    }
}
