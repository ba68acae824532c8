//! What a cgroup may use.

mod convert;
mod oci;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::devices::{DeviceAccess, DeviceKind, DeviceRule};
pub use convert::{shares_to_weight, weight_to_shares};
pub(crate) use settings::{Change, Setting, Target, settings};

/// "No limit", for the fields of [`Limits`] that take a number.
pub const UNLIMITED: u64 = u64::MAX;

/// Limits of a cgroup; what is `None` or empty stays as it is.
///
/// Amounts of memory are in bytes, times in microseconds. [`UNLIMITED`] lifts a limit.
///
/// ```
/// use orlop_cgroups::Limits;
/// let limits = Limits {
///     memory_max: Some(64 << 20),
///     pids_max: Some(100),
///     ..Limits::default()
/// }
/// .cpus(1.5);
/// assert_eq!(limits.cpu_quota_us, Some(150_000));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory, in bytes (`memory.max`; v1 `memory.limit_in_bytes`). At least one page.
    pub memory_max: Option<u64>,
    /// Swap alone, in bytes (`memory.swap.max`). v1 counts memory and swap together: there the sum with
    /// `memory_max`, which must then be given, is written. Zero or [`UNLIMITED`] on a kernel without swap
    /// accounting is no error.
    pub memory_swap_max: Option<u64>,
    /// Memory that is reclaimed only in need (`memory.low`; v1 `memory.soft_limit_in_bytes`).
    pub memory_low: Option<u64>,
    /// Memory above which the cgroup is throttled and reclaimed from (`memory.high`; v2 only).
    pub memory_high: Option<u64>,
    /// 0 to 100, how willingly to swap (v1 only).
    pub memory_swappiness: Option<u64>,
    /// Whether tasks wait instead of being killed when memory is out (v1 only).
    pub memory_oom_kill_disable: Option<bool>,
    /// Buffers of TCP sockets, in bytes (v1 only).
    pub memory_kernel_tcp: Option<u64>,
    /// Refuse a `memory_max` below what is in use instead of reclaiming and killing.
    pub memory_check_before_update: bool,
    /// CPU time in each period, in µs (`cpu.max`); at least 1000 for the kernel.
    pub cpu_quota_us: Option<u64>,
    /// The period, in µs, 1000 to 1,000,000 for the kernel; 100,000 by default.
    pub cpu_period_us: Option<u64>,
    /// Unused quota that may be saved up, in µs (`cpu.max.burst`).
    pub cpu_burst_us: Option<u64>,
    /// Share of the CPU when it is contended, 1 to 10,000, by default 100 (`cpu.weight`). Converted on v1.
    pub cpu_weight: Option<u64>,
    /// The same in v1's scale, 2 to 262,144, by default 1024 (`cpu.shares`). Converted on v2. Only one of
    /// the two may be given.
    pub cpu_shares: Option<u64>,
    /// Whether the cgroup runs only when nothing else wants to (`cpu.idle`).
    pub cpu_idle: Option<bool>,
    /// Real-time CPU time in each real-time period, in µs (v1 only).
    pub cpu_rt_runtime_us: Option<i64>,
    /// The real-time period, in µs (v1 only).
    pub cpu_rt_period_us: Option<u64>,
    /// CPUs, as `0-3,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as `0-1`.
    pub cpuset_mems: Option<String>,
    /// The number of tasks (threads, not only processes).
    pub pids_max: Option<u64>,
    /// Share of block devices when they are contended, in the OCI scale of 10 to 1000.
    pub io_weight: Option<u16>,
    /// The same against the cgroup's own children (v1 before Linux 5.0 only).
    pub io_leaf_weight: Option<u16>,
    /// Weights by device.
    pub io_weight_devices: Vec<IoWeight>,
    /// Throttling by device.
    pub io_max: Vec<IoMax>,
    /// Bytes of huge pages by page size, as `2MB` or `1GB`.
    pub hugetlb: BTreeMap<String, u64>,
    /// RDMA handles and objects by device.
    pub rdma: BTreeMap<String, RdmaMax>,
    /// Class identifier of the packets sent (v1 only).
    pub net_class_id: Option<u32>,
    /// Priority of the packets sent, by interface (v1 only).
    pub net_priorities: BTreeMap<String, u32>,
    /// Which devices may be used: everything is denied but what the rules, read in order, allow, the last
    /// one that matches deciding. `None` leaves devices alone. Needs CAP_SYS_ADMIN (v2: `bpf(2)`).
    pub devices: Option<Vec<DeviceRule>>,
    /// Further v2 files with what to write to them, after everything else. v2 only.
    pub unified: BTreeMap<String, String>,
}

/// A weight for one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoWeight {
    /// Major device number.
    pub major: u32,
    /// Minor device number.
    pub minor: u32,
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// 10 to 1000 (v1 before Linux 5.0 only).
    pub leaf_weight: Option<u16>,
}

/// Throttling of one block device; [`UNLIMITED`] (or zero, as OCI has it) lifts a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoMax {
    /// Major device number.
    pub major: u32,
    /// Minor device number.
    pub minor: u32,
    /// Bytes read in a second.
    pub read_bps: Option<u64>,
    /// Bytes written in a second.
    pub write_bps: Option<u64>,
    /// Reads in a second.
    pub read_iops: Option<u64>,
    /// Writes in a second.
    pub write_iops: Option<u64>,
}

/// RDMA limits of one device; `None` is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RdmaMax {
    /// HCA handles.
    pub hca_handles: Option<u32>,
    /// HCA objects.
    pub hca_objects: Option<u32>,
}

impl Limits {
    /// Sets quota and period for so many CPUs, as `docker run --cpus` does: `1.5` is 150 ms in every
    /// 100 ms. What is no positive number lifts the limit.
    #[must_use]
    pub fn cpus(mut self, cpus: f64) -> Limits {
        const PERIOD_US: u64 = 100_000;
        self.cpu_period_us = Some(PERIOD_US);
        self.cpu_quota_us = Some(if cpus > 0.0 && cpus.is_finite() {
            // Below a hundredth of a CPU the kernel refuses; let it say so.
            (cpus * PERIOD_US as f64) as u64
        } else {
            UNLIMITED
        });
        self
    }

    /// Whether nothing at all is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}
