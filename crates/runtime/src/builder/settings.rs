//! What a container is asked to be, in Docker's words.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxDevice, LinuxSeccomp, Mount, PosixRlimitType};
use orlop_namespaces::IdMap;

use crate::rootfs::users::{Id, UserSpec};

/// Whose network a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// Its own, with nothing but loopback, which is up.
    #[default]
    None,
    /// The caller's.
    Host,
    /// One that exists, by its file: `/run/netns/…` or `/proc/PID/ns/net`.
    Namespace(PathBuf),
}

/// Which users a container's users are outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UserNamespace {
    /// The caller's own where the caller is root, else [`UserNamespace::Own`].
    #[default]
    Auto,
    /// The caller's own.
    Host,
    /// A new one in which root is the caller, and nobody else exists. Needs no privilege and no helper.
    Own,
    /// A new one with these maps. Without privilege it needs [`Builder::id_map_helper`](crate::Builder::id_map_helper).
    Map {
        /// Users.
        uid: Vec<IdMap>,
        /// Groups.
        gid: Vec<IdMap>,
    },
}

/// Which system calls a container may make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// Those of this profile.
    Profile(Box<LinuxSeccomp>),
}

/// A resource limit of the program (`setrlimit(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub resource: PosixRlimitType,
    /// What holds now, in the resource's unit; `u64::MAX` is none.
    pub soft: u64,
    /// What the program may raise it to.
    pub hard: u64,
}

/// Everything a builder collects about the container itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: UserSpec,
    pub(crate) group_add: Vec<Id>,
    pub(crate) umask: Option<u32>,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) memory: Option<u64>,
    pub(crate) memory_swap: Option<i64>,
    pub(crate) memory_reservation: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) cpu_shares: Option<u64>,
    pub(crate) cpuset_cpus: Option<String>,
    pub(crate) cpuset_mems: Option<String>,
    pub(crate) pids: Option<i64>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<LinuxDevice>,
    pub(crate) shm_size: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
    pub(crate) network: Network,
    pub(crate) user_namespace: UserNamespace,
    pub(crate) host_pid: bool,
    pub(crate) host_ipc: bool,
    pub(crate) host_uts: bool,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) masked_paths: Option<Vec<String>>,
    pub(crate) readonly_paths: Option<Vec<String>>,
    pub(crate) terminal: Option<(u16, u16)>,
}
