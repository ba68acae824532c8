//! What this host has: which hierarchies are mounted where, with which controllers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, OFlags};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::controller::{Controller, Controllers};
use crate::dir::{Dir, Hierarchy, Version};
use crate::error::Error;
use crate::limits::Limits;
use crate::mountinfo::{self, MountKind};
use crate::path::CgroupPath;

/// Which of the kernel's two interfaces a host has mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only v1 hierarchies.
    V1,
    /// Only the one v2 hierarchy.
    V2,
    /// v1 hierarchies with controllers, and the v2 hierarchy beside them.
    Hybrid,
}

/// The cgroup hierarchies of a host.
///
/// Holds one descriptor for each mounted hierarchy and is cheap to clone; the [`Cgroup`]s made from it
/// share these and hold none of their own.
#[derive(Debug, Clone)]
pub struct Cgroups {
    /// v1 first, in the mount table's order; v2, if there is one, last.
    pub(crate) hierarchies: Arc<[Arc<Hierarchy>]>,
}

impl Cgroups {
    /// Looks at this process's mount table.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`] if there is no cgroup mount, [`Error::BadTable`] or [`Error::Io`] if the
    /// table or a mount cannot be read.
    pub fn detect() -> Result<Cgroups, Error> {
        let path = Path::new("/proc/self/mountinfo");
        let table = std::fs::read(path).map_err(|source| Error::Io {
            action: "reading",
            path: path.to_owned(),
            source,
        })?;
        Cgroups::detect_in(&String::from_utf8_lossy(&table), Path::new("/"))
    }

    /// As [`Cgroups::detect`], from the text of a mount table whose mount points lie below `root`.
    ///
    /// # Errors
    ///
    /// As [`Cgroups::detect`].
    pub fn detect_in(mountinfo: &str, root: &Path) -> Result<Cgroups, Error> {
        let mut v1 = Vec::new();
        let mut v2 = Vec::new();
        for found in mountinfo::parse(mountinfo)? {
            let mount = mountinfo::below(root, &found.point);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd =
                rustix::fs::open(&mount, flags, rustix::fs::Mode::empty()).map_err(|source| {
                    Error::Io {
                        action: "opening",
                        path: mount.clone(),
                        source: source.into(),
                    }
                })?;
            let (version, controllers) = match found.kind {
                MountKind::V1 { controllers, .. } => (Version::V1, controllers),
                MountKind::V2 => (Version::V2, Controllers::NONE),
            };
            let mut hierarchy = Hierarchy {
                version,
                controllers,
                mount,
                fd,
            };
            if version == Version::V1 {
                v1.push(Arc::new(hierarchy));
                continue;
            }
            let probe = Arc::new(hierarchy);
            let offered = Dir::new(&probe, "").read("cgroup.controllers")?;
            hierarchy = Arc::into_inner(probe).ok_or(Error::NotMounted)?;
            hierarchy.controllers = Controllers::parse_v2(&offered);
            v2.push(Arc::new(hierarchy));
        }
        if v1.is_empty() && v2.is_empty() {
            return Err(Error::NotMounted);
        }
        v1.append(&mut v2);
        Ok(Cgroups {
            hierarchies: v1.into(),
        })
    }

    /// Which interfaces are mounted.
    pub fn mode(&self) -> Mode {
        let v1 = self.hierarchies.iter().any(|h| h.version == Version::V1);
        match (v1, self.v2().is_some()) {
            (true, true) => Mode::Hybrid,
            (true, false) => Mode::V1,
            (false, _) => Mode::V2,
        }
    }

    /// Every controller that some hierarchy offers.
    pub fn controllers(&self) -> Controllers {
        self.hierarchies
            .iter()
            .fold(Controllers::NONE, |set, h| set.union(h.controllers))
    }

    /// The same host, but new cgroups are made in fewer v1 hierarchies: those with one of `wanted`, and
    /// always v2. Each v1 hierarchy adds some 100 µs to a start, so a caller who needs only memory and
    /// CPU limits saves by saying so; what is left out has no limits and no statistics.
    #[must_use = "the value it is called on is unchanged"]
    pub fn restricted_to(&self, wanted: impl IntoIterator<Item = Controller>) -> Cgroups {
        let wanted: Controllers = wanted.into_iter().collect();
        let keep = |h: &&Arc<Hierarchy>| {
            h.version == Version::V2 || !h.controllers.intersection(wanted).is_empty()
        };
        Cgroups {
            hierarchies: self.hierarchies.iter().filter(keep).cloned().collect(),
        }
    }

    /// Creates a new leaf and sets its limits: all or nothing, a failure removes what was made.
    ///
    /// Missing parents are created and stay if the call succeeds. On v2 every controller the host offers
    /// is enabled on the way down; on v1 a new cpuset inherits its parent's CPUs and memory nodes.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`], [`Error::NotDelegated`], [`Error::InternalProcesses`],
    /// [`Error::NoController`], and those of [`Cgroup::set`].
    pub fn create(&self, path: &CgroupPath, limits: &Limits) -> Result<Cgroup, Error> {
        crate::create::create(self, path, limits)
    }

    /// The cgroup at `path`, in those hierarchies that have it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if none has.
    pub fn open(&self, path: &CgroupPath) -> Result<Cgroup, Error> {
        let mut dirs = Vec::with_capacity(self.hierarchies.len());
        for hierarchy in self.hierarchies.iter() {
            let dir = Dir::new(hierarchy, path.as_str());
            if dir.exists()? {
                dirs.push(dir);
            }
        }
        if dirs.is_empty() {
            return Err(Error::NotFound { path: path.clone() });
        }
        Ok(Cgroup::from_dirs(path.clone(), dirs))
    }

    /// The cgroups directly below `parent` in any hierarchy, sorted; empty if there is no such parent.
    /// What a killed caller left behind in only some hierarchies is listed too.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a directory cannot be read.
    pub fn children(&self, parent: &CgroupPath) -> Result<Vec<CgroupPath>, Error> {
        let mut names = BTreeSet::new();
        for hierarchy in self.hierarchies.iter() {
            names.extend(Dir::new(hierarchy, parent.as_str()).children()?);
        }
        // A name this crate would not have made is nobody's to collect.
        Ok(names
            .into_iter()
            .filter_map(|name| parent.join(name).ok())
            .collect())
    }

    /// The v2 cgroup this process may divide up: its own, if whoever runs it has handed it over
    /// (cgroups(7), "Cgroup delegation"). For root, the hierarchy's root counts as handed over, and
    /// there is no path to give: `None`.
    ///
    /// A process in it blocks enabling controllers for children, so a caller first moves itself into a
    /// child ([`Cgroup::attach`]).
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`] without v2 (v1 has no safe delegation), [`Error::NotDelegated`] if the
    /// subtree is not this user's.
    pub fn delegated(&self) -> Result<Option<CgroupPath>, Error> {
        let file = Path::new("/proc/self/cgroup");
        let table = std::fs::read_to_string(file).map_err(|source| Error::Io {
            action: "reading",
            path: file.to_owned(),
            source,
        })?;
        self.delegated_in(&table)
    }

    /// As [`Cgroups::delegated`], from the text of a `/proc/PID/cgroup`.
    ///
    /// # Errors
    ///
    /// As [`Cgroups::delegated`].
    pub fn delegated_in(&self, proc_cgroup: &str) -> Result<Option<CgroupPath>, Error> {
        let v2 = self.v2().ok_or(Error::NotMounted)?;
        let own = mountinfo::own_v2(proc_cgroup).ok_or(Error::NotMounted)?;
        let path = match own {
            "/" => None,
            own => Some(CgroupPath::new(own)?),
        };
        let dir = Dir::new(v2, path.as_ref().map_or("", CgroupPath::as_str));
        for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
            let place = dir.path().join(file);
            let writable =
                rustix::fs::accessat(rustix::fs::CWD, &place, Access::WRITE_OK, AtFlags::EACCESS);
            if let Err(source) = writable {
                return Err(Error::NotDelegated {
                    path: dir.path(),
                    action: format!("writing {}", place.display()),
                    source: source.into(),
                });
            }
        }
        Ok(path)
    }

    pub(crate) fn v2(&self) -> Option<&Arc<Hierarchy>> {
        self.hierarchies.iter().find(|h| h.version == Version::V2)
    }

    /// The hierarchies a new cgroup is made in. v2's own freezer makes v1's superfluous, and every
    /// hierarchy less is time saved in each start.
    pub(crate) fn for_creation(&self) -> impl Iterator<Item = &Arc<Hierarchy>> {
        let v2 = self.v2().is_some();
        let freezer: Controllers = [Controller::Freezer].into_iter().collect();
        self.hierarchies
            .iter()
            .filter(move |h| !(v2 && h.version == Version::V1 && h.controllers == freezer))
    }
}
