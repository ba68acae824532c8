//! The runtime: what a program keeps to start containers with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::Spec;
use orlop_cgroups::{CgroupPath, Cgroups};
use orlop_namespaces::Launcher;

use crate::builder::{Builder, SpecBuilder};
use crate::host::Host;
use crate::root::Root;
use crate::seccomp::Cache;
use crate::state::{Owner, Record, start_time};
use crate::{Error, container};

/// What a [`Runtime`] is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Directory for the records of what is running; made with mode 0700 if it is missing. Any number of processes may share
    /// one; it should be on a file system that does not survive a reboot, or it is collected then.
    pub state: PathBuf,
    /// Parent of the containers' cgroups; `None` starts them in the caller's own, without limits and statistics.
    pub cgroup_parent: Option<String>,
}

impl Options {
    /// With `state` for the records, and cgroups below `orlop`.
    pub fn new(state: impl Into<PathBuf>) -> Options {
        Options {
            state: state.into(),
            cgroup_parent: Some("orlop".to_owned()),
        }
    }
}

/// Starts containers. Cheap to clone, `Send + Sync`, and usable from any number of threads at once.
///
/// It holds three file descriptors: the launcher's program, the lock of its place in the state directory and, where there are
/// cgroups, those of their mounts.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) launcher: Launcher,
    pub(crate) cgroups: Option<(Cgroups, CgroupPath)>,
    pub(crate) filters: Cache,
    pub(crate) owner: Owner,
}

/// What [`Runtime::gc`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Ids of containers whose owner is dead and of which nothing is left now.
    pub containers: Vec<String>,
}

impl Runtime {
    /// Take up work in a state directory.
    ///
    /// # Errors
    /// The directory cannot be made or locked, `/proc` is missing, or the kernel has no `memfd_create`.
    pub fn new(options: Options) -> Result<Runtime, Error> {
        let host = Host::detect().map_err(|source| Error::io("reading", "/proc", source))?;
        let cgroups = match options.cgroup_parent {
            None => None,
            Some(parent) => {
                let path = CgroupPath::new(&parent).map_err(|source| Error::Cgroup {
                    doing: "naming",
                    source,
                })?;
                // A host without them starts containers too; asking for a limit is an error then.
                Cgroups::detect().ok().map(|cgroups| (cgroups, path))
            }
        };
        let launcher = Launcher::new().map_err(|source| Error::Start {
            source,
            kind: crate::ErrorKind::Other,
        })?;
        let owner = Owner::new(&options.state)?;
        Ok(Runtime {
            shared: Arc::new(Shared {
                host,
                launcher,
                cgroups,
                filters: Cache::default(),
                owner,
            }),
        })
    }

    /// A container on `root`, with Docker's defaults.
    pub fn container(&self, root: impl Into<Root>) -> Builder {
        Builder::new(self.clone(), root.into())
    }

    /// The container of an OCI runtime specification. Relative paths in it begin at `bundle`.
    pub fn from_spec(&self, spec: &Spec, bundle: impl AsRef<Path>) -> SpecBuilder {
        SpecBuilder::new(self.clone(), spec.clone(), bundle.as_ref().to_owned())
    }

    /// The facts plans are compiled against.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Remove what owners of this state directory left behind when they were killed: processes, cgroups, records. Containers of
    /// living owners, in this process or another, are not touched.
    ///
    /// # Errors
    /// The state directory cannot be read. What cannot be removed now stays for the next call.
    pub fn gc(&self) -> Result<Collected, Error> {
        let containers = self
            .shared
            .owner
            .collect(|record| self.shared.remove_leftover(record))?;
        Ok(Collected { containers })
    }
}

impl Shared {
    /// Whether nothing is left of the container.
    fn remove_leftover(&self, record: &Record) -> bool {
        if let Some(process) = &record.process {
            kill_leftover(process.pid, process.start);
        }
        let Some(path) = record
            .cgroup
            .as_ref()
            .and_then(|path| CgroupPath::new(path).ok())
        else {
            return true;
        };
        let Some((cgroups, _)) = &self.cgroups else {
            return false;
        };
        match cgroups.open(&path) {
            Ok(cgroup) => container::remove_cgroup(cgroup).is_ok(),
            Err(error) => error.kind() == orlop_cgroups::ErrorKind::NotFound,
        }
    }
}

/// Kill the process that had this id and started then, and no other.
fn kill_leftover(pid: u32, start: u64) {
    let Some(pid_) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    else {
        return;
    };
    let Ok(pidfd) = rustix::process::pidfd_open(pid_, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    // The fd holds whatever has the id now; only then is it looked at.
    if start_time(pid) == Some(start) {
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
    }
}
