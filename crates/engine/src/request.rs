//! What a caller may ask of a container: the counterpart of `docker run`'s flags, already parsed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A request to run an image, as `docker run` would phrase it. Everything but the image has a default.
///
/// ```
/// use orlop_engine::RunRequest;
///
/// let mut request = RunRequest::new("busybox");
/// request.command = vec!["echo".into(), "hi".into()];
/// request.env = vec!["LANG=C.UTF-8".into()];
/// assert!(!request.terminal);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// The image: a name, a digest, an id or the beginning of an id.
    pub image: String,
    /// `os/arch[/variant]` to choose from a multi-platform image; the host's own when absent.
    pub platform: Option<String>,
    /// The container's name; one is made up when absent.
    pub name: Option<String>,
    /// Arguments after the image; empty means the image's own.
    pub command: Vec<String>,
    /// Replaces the image's entry point and clears its command. An empty string alone means "none".
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=VALUE` sets, a bare `KEY` removes what the image set.
    pub env: Vec<String>,
    /// The working directory, absolute; made when missing.
    pub working_dir: Option<String>,
    /// `name|uid[:group|gid]`, looked up in the image's own passwd and group files.
    pub user: Option<String>,
    /// Further groups, by name or number.
    pub groups: Vec<String>,
    /// The host name inside; the id's first twelve characters when absent.
    pub hostname: Option<String>,
    /// Labels, over those of the image.
    pub labels: BTreeMap<String, String>,
    /// Bind mounts, volumes and tmpfs.
    pub mounts: Vec<Mount>,
    /// Which network the container sees.
    pub network: Network,
    /// Resource limits.
    pub limits: Limits,
    /// Mount the root read-only.
    pub read_only: bool,
    /// Capabilities added to Docker's default set, with or without `CAP_`; `ALL` for all.
    pub cap_add: Vec<String>,
    /// Capabilities taken from it; `ALL` for all.
    pub cap_drop: Vec<String>,
    /// Whether Docker's default system call filter applies.
    pub seccomp: Seccomp,
    /// Set `no_new_privs`.
    pub no_new_privileges: bool,
    /// Give the process a terminal of its own.
    pub terminal: bool,
    /// Keep standard input open; `/dev/null` otherwise.
    pub interactive: bool,
    /// Columns and rows of the terminal at the start.
    pub terminal_size: Option<(u16, u16)>,
    /// Remove the container, its changes and its anonymous volumes when it ends.
    pub remove: bool,
    /// The signal that asks the process to stop; the image's, or SIGTERM, when absent.
    pub stop_signal: Option<String>,
}

impl RunRequest {
    /// A request with Docker's defaults for `image`.
    pub fn new(image: impl Into<String>) -> RunRequest {
        RunRequest {
            image: image.into(),
            platform: None,
            name: None,
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            working_dir: None,
            user: None,
            groups: Vec::new(),
            hostname: None,
            labels: BTreeMap::new(),
            mounts: Vec::new(),
            network: Network::None,
            limits: Limits::default(),
            read_only: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            seccomp: Seccomp::Default,
            no_new_privileges: false,
            terminal: false,
            interactive: false,
            terminal_size: None,
            remove: false,
            stop_signal: None,
        }
    }
}

/// The network a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network namespace of its own with loopback only.
    #[default]
    None,
    /// The host's.
    Host,
}

impl Network {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Network::None => "none",
            Network::Host => "host",
        }
    }
}

/// The system call filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
}

/// Resource limits; absent means unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together, or -1 for unlimited swap.
    pub memory_swap: Option<i64>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<u64>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
    /// Limits of the process itself.
    pub ulimits: Vec<Ulimit>,
}

/// One limit of setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Docker's name: `nofile`, `core`, …
    pub name: String,
    /// The soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// The hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where: an absolute path inside.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        path: PathBuf,
        /// Make a directory of it when it does not exist (`-v` does, `--mount` does not).
        create: bool,
        /// Bring along what is mounted below it.
        recursive: bool,
    },
    /// A volume kept under the engine's root.
    Volume {
        /// Its name; none makes an anonymous volume that goes with the container.
        name: Option<String>,
        /// Fill it, when empty, with what the image has at the target.
        copy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Size limit in bytes.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: Option<u32>,
        /// Further mount options: `exec`, `suid`, `dev` and their opposites.
        options: Vec<String>,
    },
}
