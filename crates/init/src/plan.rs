//! A launch as data: the operations that turn a fresh process into a container, in order.
//!
//! A [`Plan`] holds no pointer and no file descriptor, so it is `Send + Sync`, comparable, printable, and one plan starts a
//! thousand containers. What a single start consumes is handed over beside it, in numbered [`Slot`]s.

use alloc::vec::Vec;

/// A file descriptor that one start hands to init: the index into the list that travels with the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

/// Bytes without NUL, handed to the kernel as a C string: a path, a name, an option. Paths need not be UTF-8.
pub type CBytes = Vec<u8>;

/// Where a mount's source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A detached mount (`fsmount`, `open_tree`) made by the caller: attached as it is.
    Detached(Slot),
    /// A file or directory the caller opened (`O_PATH`): cloned with `open_tree`, recursively if asked.
    Fd {
        /// The opened file or directory.
        slot: Slot,
        /// Take the mounts below it along (`rbind`).
        recursive: bool,
    },
    /// A path in the caller's mount namespace, opened by init before the root changes, and cloned.
    HostPath {
        /// Absolute path in the caller's mount namespace.
        path: CBytes,
        /// Take the mounts below it along (`rbind`).
        recursive: bool,
    },
    /// A file system made new in the container's namespaces: `fsopen` and `fsconfig`, or `mount(2)` where these lack.
    New {
        /// File system type: `proc`, `tmpfs`, `overlay` …
        fstype: CBytes,
        /// What the mount table shows as its source.
        source: CBytes,
        /// Options for the superblock, `key=value` or a flag each.
        options: Vec<CBytes>,
    },
}

/// What stands at a mount's target if nothing does yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// Nothing: a missing target is an error.
    No,
    /// A directory, with its parents.
    Dir,
    /// An empty file, with its parents.
    File,
    /// A directory or a file, as the source is.
    LikeSource,
}

/// One step of a launch. Paths called *target* are inside the new root and are resolved there with
/// `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`, whatever links the image contains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    // --- before the second clone, with the caller's rights ---
    /// `setns` into an existing namespace of the `CLONE_NEW*` kind.
    JoinNamespace { slot: Slot, kind: u64 },
    /// Join a v1 cgroup: write `0` to its opened `tasks` file. Before the cgroup namespace exists.
    JoinCgroupV1 { slot: Slot },
    /// New time namespace with these offsets (text for `/proc/self/timens_offsets`).
    TimeOffsets { text: CBytes },
    /// The second clone: `CLONE_NEW*` flags, and the v2 cgroup to be born in. Exactly one in a plan; what follows runs in the
    /// child, which becomes the container.
    Clone { flags: u64, cgroup: Option<Slot> },

    // --- in the container's namespaces ---
    /// Wait until the caller has written the id maps, then become `uid:gid` inside the user namespace.
    AwaitIdMaps { uid: u32, gid: u32 },
    /// A session keyring of the container's own.
    NewSessionKeyring,
    /// `setsid`.
    NewSession,
    /// Bring the loopback device up.
    LoopbackUp,
    /// `sethostname`.
    Hostname { name: CBytes },
    /// `setdomainname`.
    Domainname { name: CBytes },
    /// Propagation of the old tree (`MS_PRIVATE`, `MS_SLAVE` …, always recursive): first of all mounts.
    Propagation { flags: u64 },
    /// The new root: attached over the old one, its fd remembered; every target is resolved below it.
    Root {
        source: Source,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
    },
    /// A mount at a target.
    Mount {
        source: Source,
        target: CBytes,
        create: Create,
        /// `MOUNT_ATTR_*` to set on this mount.
        attributes: u64,
        /// `MOUNT_ATTR_*` to clear on this mount.
        clear: u64,
        /// Attributes for the whole subtree (`rro` …): set, clear.
        recursive: (u64, u64),
        /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, with `MS_REC` if recursive; 0 leaves it.
        propagation: u64,
    },
    /// A directory with its parents, in the root.
    Mkdir { target: CBytes, mode: u32 },
    /// A device node; where `mknod` is not permitted, the caller's node of the same number bound over an empty file.
    Device {
        target: CBytes,
        /// Type and permission bits for `mknod`.
        mode: u32,
        major: u32,
        minor: u32,
        uid: u32,
        gid: u32,
    },
    /// A symbolic link; an existing one that says the same is fine.
    Symlink { target: CBytes, link: CBytes },
    /// Hide a file (a verified `/dev/null`) or a directory (an empty read-only tmpfs); a missing target is skipped.
    Mask { target: CBytes },
    /// Make a target read-only, with everything below; a missing target is skipped.
    ReadOnly { target: CBytes },
    /// Make a new terminal from the container's own devpts, send its master to the caller, make it stdio and the controlling
    /// terminal, bind it at `/dev/console`.
    Terminal {
        rows: u16,
        columns: u16,
        console: bool,
    },
    /// Make a file descriptor number `fd` (0 to 2, or a preserved one) of the caller's.
    Fd { slot: Slot, fd: u32 },
    /// The tty on fd 0 becomes the controlling terminal.
    ControllingTerminal,
    /// `pivot_root`, and drop the old root.
    Pivot,
    /// Make the root itself read-only.
    RootReadOnly,
    /// Write `value` to `/proc/sys/<path>` through a verified procfs.
    Sysctl { path: CBytes, value: CBytes },
    /// `/proc/self/oom_score_adj`. `clamp`: where lowering is not permitted, keep what is there.
    OomScoreAdj { value: i32, clamp: bool },
    /// `prlimit64` with the kernel's resource number.
    Rlimit { resource: u32, soft: u64, hard: u64 },
    /// `umask`.
    Umask { mask: u32 },
    /// `no_new_privs`.
    NoNewPrivileges,
    /// Load this classic BPF program (8 bytes an instruction) with these `SECCOMP_FILTER_FLAG_*`. `listener`: send the notify fd
    /// to the caller.
    Seccomp {
        program: Vec<u8>,
        flags: u64,
        listener: bool,
    },
    /// Drop from the bounding set everything not in this mask.
    BoundingSet { keep: u64 },
    /// Supplementary groups, group, user. `keep_caps` keeps the permitted set across the change, for the `Capabilities` after it.
    /// `groups` `None` leaves them (rootless with `setgroups` denied).
    User {
        uid: u32,
        gid: u32,
        groups: Option<Vec<u32>>,
        keep_caps: bool,
    },
    /// The thread's capability sets, as 64-bit masks.
    Capabilities {
        effective: u64,
        permitted: u64,
        inheritable: u64,
        ambient: u64,
    },
    /// `chdir`, and verify that the result is inside the root. `create`: make it (uid:gid of the process) if missing.
    WorkingDirectory { path: CBytes, create: bool },
    /// Close (or mark) every fd from `first` on, except preserved ones; part of what init does last in any case.
    CloseFrom { first: u32 },
    /// The end: the first candidate that can be executed. More than one when `argv[0]` was searched in PATH.
    Exec {
        candidates: Vec<CBytes>,
        argv: Vec<CBytes>,
        env: Vec<CBytes>,
    },
}

/// A compiled launch: an ordered list of [`Op`]s and its wire form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    ops: Vec<Op>,
}

impl Plan {
    /// A plan of these operations, in this order.
    pub fn new(ops: Vec<Op>) -> Self {
        Plan { ops }
    }

    /// The operations, in order: a failure names one by its index here.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
}
