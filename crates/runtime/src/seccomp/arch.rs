//! The architectures a filter can speak for, their audit numbers and their system-call tables.

use std::str::FromStr;

use oci_spec::runtime::Arch as SpecArch;

/// Bit that marks a system call of the x32 interface on x86_64.
pub(crate) const X32_BIT: u32 = 0x4000_0000;
/// Where arm's private system calls begin (`__ARM_NR_BASE`).
const ARM_PRIVATE: u32 = 0x000f_0000;

/// A system-call interface: an instruction set together with its calling convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 32-bit pointers on x86_64; shares x86_64's audit number.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm, EABI.
    Arm,
}

impl Arch {
    /// The interface this library was built for, if it is one a filter can be made for.
    pub const fn native() -> Option<Arch> {
        if cfg!(target_arch = "x86_64") {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else {
            None
        }
    }

    /// The interfaces a kernel of this architecture may run programs of, itself first.
    pub const fn family(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 | Arch::X86 | Arch::X32 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Arch::Aarch64 | Arch::Arm => &[Arch::Aarch64, Arch::Arm],
        }
    }

    /// `AUDIT_ARCH_*` (`linux/audit.h`), as the filter sees it in `seccomp_data.arch`.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// The number a call of this name has here, with the x32 bit where it belongs; `None` where there is no such call.
    pub fn number(self, name: &str) -> Option<u32> {
        let id = match self {
            Arch::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
            Arch::X86 => syscalls::x86::Sysno::from_str(name).ok()?.id(),
            Arch::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok()?.id(),
            Arch::Arm => return arm_number(name),
            Arch::X32 => return x32_number(name),
        };
        u32::try_from(id).ok()
    }

    /// Whether a number lies in the ordinary table, not among an architecture's private calls.
    pub(crate) const fn ordinary(self, number: u32) -> bool {
        !matches!(self, Arch::Arm) || number < ARM_PRIVATE
    }

    /// The largest number that can be one of this interface.
    pub(crate) const fn last_number(self) -> u32 {
        match self {
            Arch::X86_64 => X32_BIT - 1,
            _ => u32::MAX,
        }
    }
}

impl TryFrom<SpecArch> for Arch {
    type Error = SpecArch;

    /// The interface of an OCI name; the ones no filter is made for come back as the error.
    fn try_from(arch: SpecArch) -> Result<Self, SpecArch> {
        match arch {
            SpecArch::ScmpArchNative => Arch::native().ok_or(arch),
            SpecArch::ScmpArchX86_64 => Ok(Arch::X86_64),
            SpecArch::ScmpArchX86 => Ok(Arch::X86),
            SpecArch::ScmpArchX32 => Ok(Arch::X32),
            SpecArch::ScmpArchAarch64 => Ok(Arch::Aarch64),
            SpecArch::ScmpArchArm => Ok(Arch::Arm),
            other => Err(other),
        }
    }
}

fn arm_number(name: &str) -> Option<u32> {
    match name {
        "breakpoint" => Some(ARM_PRIVATE + 1),
        "cacheflush" => Some(ARM_PRIVATE + 2),
        "usr26" => Some(ARM_PRIVATE + 3),
        "usr32" => Some(ARM_PRIVATE + 4),
        "set_tls" => Some(ARM_PRIVATE + 5),
        // One call under two names.
        "sync_file_range2" => arm_number("arm_sync_file_range"),
        _ => u32::try_from(syscalls::arm::Sysno::from_str(name).ok()?.id()).ok(),
    }
}

/// The calls whose x32 form has a number of its own, from 512 on (`syscall_64.tbl`, ABI `x32`).
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls of the 64-bit table that x32 has not (`syscall_64.tbl`, ABI `64`, without an x32 form).
const NOT_X32: [&str; 13] = [
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
    "uprobe",
    "uretprobe",
];

fn x32_number(name: &str) -> Option<u32> {
    if let Some(place) = X32_OWN.iter().position(|own| *own == name) {
        return Some(X32_BIT + 512 + u32::try_from(place).ok()?);
    }
    if NOT_X32.contains(&name) {
        return None;
    }
    Some(X32_BIT + Arch::X86_64.number(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_interface() {
        for (arch, name, number) in [
            (Arch::X86_64, "read", Some(0)),
            (Arch::X86_64, "execve", Some(59)),
            (Arch::X86_64, "socketcall", None),
            (Arch::X86, "socketcall", Some(102)),
            (Arch::X86, "read", Some(3)),
            (Arch::X32, "read", Some(X32_BIT)),
            (Arch::X32, "rt_sigaction", Some(X32_BIT + 512)),
            (Arch::X32, "rt_sigreturn", Some(X32_BIT + 513)),
            (Arch::X32, "execve", Some(X32_BIT + 520)),
            (Arch::X32, "pwritev2", Some(X32_BIT + 547)),
            (Arch::X32, "uselib", None),
            (Arch::Aarch64, "openat", Some(56)),
            (Arch::Aarch64, "open", None),
            (Arch::Arm, "open", Some(5)),
            (Arch::Arm, "set_tls", Some(0xf0005)),
            (Arch::Arm, "sync_file_range2", Some(341)),
        ] {
            assert_eq!(arch.number(name), number, "{arch:?} {name}");
        }
    }
}
