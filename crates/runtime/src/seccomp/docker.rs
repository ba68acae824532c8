//! Docker's default profile: what containers need and what does not reach past them.
//!
//! The facts are those of `moby/profiles`, `seccomp/default.json` at v0.2.3 (Docker Engine 29). What depends on capabilities,
//! on the architecture and on the kernel is decided when the profile is made.

use super::always::ALWAYS;
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
