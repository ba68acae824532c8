//! A launch as data: the operations that turn a fresh process into a container, in order.
//!
//! A [`Plan`] holds no pointer and no file descriptor, so it is `Send + Sync`, comparable, printable, and one plan starts a
//! thousand containers. What a single start consumes is handed over beside it, in numbered [`Slot`]s.

use alloc::vec::Vec;

pub use crate::wire::{Create, Slot};

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
    /// As [`Source::New`], with a directory of the caller's mount namespace from which relative paths in the options begin: so a
    /// stack of many layers stays below the 4,096 bytes that `mount(2)` takes.
    NewIn {
        /// Absolute path of the directory.
        directory: CBytes,
        /// File system type.
        fstype: CBytes,
        /// What the mount table shows as its source.
        source: CBytes,
        /// Options for the superblock, `key=value` or a flag each.
        options: Vec<CBytes>,
    },
}

/// One step of a launch. Paths called *target* are inside the new root and are resolved there with
/// `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`, whatever links the image contains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    // --- before the second clone, with the caller's rights ---
    /// `setns` into an existing namespace of the `CLONE_NEW*` kind.
    JoinNamespace {
        /// An opened namespace, or a pidfd whose namespaces are joined.
        slot: Slot,
        /// `CLONE_NEW*`: one for a namespace, one or several for a pidfd.
        kind: u64,
    },
    /// Join a v1 cgroup: write `0` to its opened `tasks` file. Before the cgroup namespace exists.
    JoinCgroupV1 {
        /// The `tasks` file, opened for writing.
        slot: Slot,
    },
    /// New time namespace with these offsets (text for `/proc/self/timens_offsets`).
    TimeOffsets {
        /// Lines as `monotonic 86400 0`.
        text: CBytes,
    },
    /// The second clone: `CLONE_NEW*` flags, and the v2 cgroup to be born in. Exactly one in a plan; what follows runs in the
    /// child, which becomes the container.
    Clone {
        /// `CLONE_NEW*`.
        flags: u64,
        /// The directory of a v2 cgroup, opened.
        cgroup: Option<Slot>,
    },

    // --- in the container's namespaces ---
    /// Wait until the caller has written the id maps, then become `uid:gid` inside the user namespace.
    AwaitIdMaps {
        /// User inside the namespace.
        uid: u32,
        /// Group inside the namespace.
        gid: u32,
    },
    /// A session keyring of the container's own.
    NewSessionKeyring,
    /// `setsid`.
    NewSession,
    /// Bring the loopback device up.
    LoopbackUp,
    /// `sethostname`.
    Hostname {
        /// At most 64 bytes.
        name: CBytes,
    },
    /// `setdomainname`.
    Domainname {
        /// At most 64 bytes.
        name: CBytes,
    },
    /// Propagation of the old tree (`MS_PRIVATE`, `MS_SLAVE` …, always recursive): first of all mounts.
    Propagation {
        /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`.
        flags: u64,
    },
    /// The new root: attached over the old one, its fd remembered; every target is resolved below it.
    Root {
        /// Where the new root comes from.
        source: Source,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
    },
    /// A mount at a target.
    Mount {
        /// What is mounted.
        source: Source,
        /// Where, in the root.
        target: CBytes,
        /// What to make where nothing is.
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
    Mkdir {
        /// Where, in the root.
        target: CBytes,
        /// Permission bits of the last directory; its parents get 0755.
        mode: u32,
    },
    /// A device node; where `mknod` is not permitted, the caller's node of the same number bound over an empty file.
    Device {
        /// Where, in the root.
        target: CBytes,
        /// Type and permission bits for `mknod`.
        mode: u32,
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A symbolic link; an existing one that says the same is fine.
    Symlink {
        /// Where the link stands, in the root.
        target: CBytes,
        /// What it says.
        link: CBytes,
    },
    /// Hide a file (a verified `/dev/null`) or a directory (an empty read-only tmpfs); a missing target is skipped.
    Mask {
        /// What is hidden, in the root.
        target: CBytes,
    },
    /// Make a target read-only, with everything below; a missing target is skipped.
    ReadOnly {
        /// What becomes read-only, in the root.
        target: CBytes,
    },
    /// Make a new terminal from the container's own devpts, send its master to the caller, make it stdio and the controlling
    /// terminal, bind it at `/dev/console`.
    Terminal {
        /// Height in characters; 0 leaves the size unset.
        rows: u16,
        /// Width in characters.
        columns: u16,
        /// Bind it at `/dev/console`.
        console: bool,
    },
    /// Make a file descriptor number `fd` (0 to 2, or a preserved one) of the caller's.
    Fd {
        /// What the caller hands over.
        slot: Slot,
        /// The number it has in the program.
        fd: u32,
    },
    /// The tty on fd 0 becomes the controlling terminal.
    ControllingTerminal,
    /// `pivot_root`, and drop the old root.
    Pivot,
    /// Make the root itself read-only.
    RootReadOnly,
    /// Write `value` to `/proc/sys/<path>` through a verified procfs.
    Sysctl {
        /// Path below `/proc/sys`, with slashes.
        path: CBytes,
        /// What is written there.
        value: CBytes,
    },
    /// `/proc/self/oom_score_adj`. `clamp`: where lowering is not permitted, keep what is there.
    OomScoreAdj {
        /// -1000 to 1000.
        value: i32,
        /// Keep what is there where lowering is not permitted.
        clamp: bool,
    },
    /// `prlimit64` with the kernel's resource number.
    Rlimit {
        /// `RLIMIT_*` as the kernel numbers it.
        resource: u32,
        /// Soft limit, in the resource's unit; `u64::MAX` is none.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// `umask`.
    Umask {
        /// Permission bits that new files lack.
        mask: u32,
    },
    /// `no_new_privs`.
    NoNewPrivileges,
    /// Load this classic BPF program (8 bytes an instruction) with these `SECCOMP_FILTER_FLAG_*`. `listener`: send the notify fd
    /// to the caller.
    Seccomp {
        /// `struct sock_filter` after `struct sock_filter`.
        program: Vec<u8>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u64,
        /// Make a listener and send it to the caller.
        listener: bool,
    },
    /// Drop from the bounding set everything not in this mask.
    BoundingSet {
        /// A bit for each capability that stays.
        keep: u64,
    },
    /// Supplementary groups, group, user. `keep_caps` keeps the permitted set across the change, for the `Capabilities` after it.
    /// `groups` `None` leaves them (rootless with `setgroups` denied).
    User {
        /// Real, effective and saved user.
        uid: u32,
        /// Real, effective and saved group.
        gid: u32,
        /// Supplementary groups.
        groups: Option<Vec<u32>>,
        /// `PR_SET_KEEPCAPS` across the change.
        keep_caps: bool,
    },
    /// The thread's capability sets, as 64-bit masks.
    Capabilities {
        /// What the thread may do at once.
        effective: u64,
        /// What it may make effective.
        permitted: u64,
        /// What survives `execve` of a file with inheritable capabilities.
        inheritable: u64,
        /// What survives any `execve`; within permitted and inheritable.
        ambient: u64,
    },
    /// `chdir`, and verify that the result is inside the root. `create`: make it (uid:gid of the process) if missing.
    WorkingDirectory {
        /// Absolute path in the root.
        path: CBytes,
        /// Make it where it is missing.
        create: bool,
    },
    /// Close (or mark) every fd from `first` on, except preserved ones; part of what init does last in any case.
    CloseFrom {
        /// The lowest number to close.
        first: u32,
    },
    /// The end: the first candidate that can be executed. More than one when `argv[0]` was searched in PATH.
    Exec {
        /// Paths to try, in order.
        candidates: Vec<CBytes>,
        /// Arguments, the first being the program's name for itself.
        argv: Vec<CBytes>,
        /// `NAME=value` each.
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
