//! Docker's default profile: what containers need and what does not reach past them.
//!
//! The facts are those of `moby/profiles`, `seccomp/default.json` at v0.2.3 (Docker Engine 29). What depends on capabilities,
//! on the architecture and on the kernel is decided when the profile is made.

use super::arch::Arch;
use super::profile::{Action, Compare, Condition, Profile};

/// What the profile depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The native architecture.
    pub arch: Arch,
    /// The container's bounding set, a bit a capability (`capabilities(7)`).
    pub capabilities: u64,
    /// The kernel's version: major, minor.
    pub kernel: (u32, u32),
}

/// Docker's default profile for these facts.
pub fn docker_default(facts: &Facts) -> Profile {
    let mut profile = Profile::new(Action::Errno(EPERM), facts.arch.family().to_vec());
    // runc's default where a profile names no flags.
    profile.flags = super::FLAG_SPEC_ALLOW;
    for name in ALWAYS {
        profile.rule(name, Action::Allow, Vec::new());
    }
    for conditional in CONDITIONAL {
        for name in conditional.names {
            if conditional.when.iter().any(|when| when.holds(facts)) {
                profile.rule(name, Action::Allow, Vec::new());
            } else {
                profile.known.push((*name).to_owned());
            }
        }
    }
    for value in PERSONALITIES {
        profile.rule(
            "personality",
            Action::Allow,
            argument(0, Compare::Equal(value)),
        );
    }
    // Every address family but AF_ALG (38) and AF_VSOCK (40).
    for compare in [Compare::Less(38), Compare::Equal(39), Compare::Greater(40)] {
        profile.rule("socket", Action::Allow, argument(0, compare));
    }
    if !has(facts, CAP_SYS_ADMIN) {
        // clone without any CLONE_NEW* flag; clone3's flags are behind a pointer, so C libraries are sent back to clone.
        profile.rule(
            "clone",
            Action::Allow,
            argument(
                0,
                Compare::Masked {
                    mask: NAMESPACE_FLAGS,
                    value: 0,
                },
            ),
        );
        profile.rule("clone3", Action::Errno(ENOSYS), Vec::new());
    }
    profile
}

fn argument(index: u8, compare: Compare) -> Vec<Condition> {
    vec![Condition { index, compare }]
}

fn has(facts: &Facts, capability: u32) -> bool {
    facts.capabilities & (1 << capability) != 0
}

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET`.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// `PER_LINUX`, `PER_LINUX32`, the two with `UNAME26`, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

// Capability numbers (linux/capability.h).
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_MODULE: u32 = 16;
const CAP_SYS_RAWIO: u32 = 17;
const CAP_SYS_CHROOT: u32 = 18;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_PACCT: u32 = 20;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_BOOT: u32 = 22;
const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_TIME: u32 = 25;
const CAP_SYS_TTY_CONFIG: u32 = 26;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// When calls are allowed that are not allowed always.
enum When {
    Capability(u32),
    Kernel(u32, u32),
    X86,
    Arm,
}

impl When {
    fn holds(&self, facts: &Facts) -> bool {
        match *self {
            When::Capability(capability) => has(facts, capability),
            When::Kernel(major, minor) => facts.kernel >= (major, minor),
            When::X86 => facts.arch == Arch::X86_64,
            When::Arm => facts.arch == Arch::Aarch64,
        }
    }
}

/// Calls allowed where any of the conditions holds.
struct Conditional {
    when: &'static [When],
    names: &'static [&'static str],
}

const CONDITIONAL: &[Conditional] = &[
    Conditional {
        // Before 4.8 a tracer could change a call after its check.
        when: &[When::Kernel(4, 8), When::Capability(CAP_SYS_PTRACE)],
        names: &["process_vm_readv", "process_vm_writev", "ptrace"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_PTRACE)],
        names: &["kcmp", "pidfd_getfd", "process_madvise"],
    },
    Conditional {
        when: &[When::Arm],
        names: &[
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "breakpoint",
            "cacheflush",
            "set_tls",
            "sync_file_range2",
        ],
    },
    Conditional {
        when: &[When::X86],
        names: &["arch_prctl", "modify_ldt"],
    },
    Conditional {
        when: &[When::Capability(CAP_DAC_READ_SEARCH)],
        names: &["open_by_handle_at"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_ADMIN)],
        names: &[
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "umount",
            "umount2",
            "unshare",
        ],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_ADMIN), When::Capability(CAP_BPF)],
        names: &["bpf"],
    },
    Conditional {
        when: &[
            When::Capability(CAP_SYS_ADMIN),
            When::Capability(CAP_PERFMON),
        ],
        names: &["perf_event_open"],
    },
    Conditional {
        when: &[
            When::Capability(CAP_SYS_ADMIN),
            When::Capability(CAP_SYSLOG),
        ],
        names: &["syslog"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_BOOT)],
        names: &["reboot"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_CHROOT)],
        names: &["chroot"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_MODULE)],
        names: &["delete_module", "finit_module", "init_module"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_PACCT)],
        names: &["acct"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_RAWIO)],
        names: &["ioperm", "iopl"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_TIME)],
        names: &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_TTY_CONFIG)],
        names: &["vhangup"],
    },
    Conditional {
        when: &[When::Capability(CAP_SYS_NICE)],
        names: &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    },
];

const ALWAYS: &[&str] = &[
    "_llseek",
    "_newselect",
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "ioctl",
    "ioprio_get",
    "ioprio_set",
    "ipc",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listmount",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_mrelease",
    "pselect6",
    "pselect6_time64",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "riscv_hwprobe",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "send",
    "sendfile",
    "sendfile64",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setuid32",
    "setxattr",
    "setxattrat",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "sigprocmask",
    "sigreturn",
    "socketcall",
    "socketpair",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    "times",
    "tkill",
    "truncate",
    "truncate64",
    "ugetrlimit",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "uretprobe",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
];
