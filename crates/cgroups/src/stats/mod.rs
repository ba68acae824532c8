//! What a cgroup uses and has used.

pub(crate) mod parse;
mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::error::Error;
use crate::events::Resource;

/// A cgroup's statistics; `None` where this host has no controller for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time.
    pub cpu: Option<CpuStats>,
    /// Memory and swap.
    pub memory: Option<MemoryStats>,
    /// Tasks.
    pub pids: Option<PidsStats>,
    /// Block devices, by device number; only those that were used.
    pub io: Vec<IoStats>,
    /// Huge pages by page size (`2MB`), only those in use or limited.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// Time lost to a lack of resources (v2 with PSI).
    pub pressure: PressureStats,
}

/// CPU time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuStats {
    /// All of it.
    pub usage_ns: u64,
    /// Spent in user mode.
    pub user_ns: u64,
    /// Spent in the kernel.
    pub system_ns: u64,
    /// By CPU (v1 only).
    pub per_cpu_ns: Vec<u64>,
    /// Enforcement periods that have passed, while a quota was set.
    pub periods: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// How long tasks were kept waiting for it, summed over CPUs.
    pub throttled_ns: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStats {
    /// In use, with the page cache.
    pub current: u64,
    /// The most that was in use (v2: Linux 5.19).
    pub peak: Option<u64>,
    /// The limit; `None` if unlimited.
    pub limit: Option<u64>,
    /// Swap in use; `None` without swap accounting.
    pub swap_current: Option<u64>,
    /// The limit of swap alone; `None` if unlimited or without swap accounting.
    pub swap_limit: Option<u64>,
    /// How often the limit was hit and memory had to be reclaimed.
    pub limit_hits: u64,
    /// Processes killed because memory was out.
    pub oom_kills: u64,
    /// `memory.stat` as the kernel has it; the keys differ between v1 and v2.
    pub stat: BTreeMap<String, u64>,
}

impl MemoryStats {
    /// What is in use and cannot simply be dropped: without the inactive page cache, as `docker stats`
    /// and Kubernetes count.
    pub fn working_set(&self) -> u64 {
        let inactive = self
            .stat
            .get("total_inactive_file")
            .or_else(|| self.stat.get("inactive_file"))
            .copied()
            .unwrap_or(0);
        self.current.saturating_sub(inactive)
    }
}

/// Tasks: threads, not only processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` if unlimited.
    pub limit: Option<u64>,
    /// How many forks were refused.
    pub refused: u64,
}

/// Use of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IoStats {
    /// Major device number.
    pub major: u32,
    /// Minor device number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HugetlbStats {
    /// Bytes in use.
    pub current: u64,
    /// Bytes that may be in use; `None` if unlimited.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub limit_hits: u64,
}

/// Pressure by resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PressureStats {
    /// Waiting for a CPU.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for block devices.
    pub io: Option<Pressure>,
}

/// How much of the time tasks were waiting.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pressure {
    /// Some of them.
    pub some: PressureShare,
    /// All of them at once; `None` where the kernel does not tell.
    pub full: Option<PressureShare>,
}

/// Shares of time in percent, over three windows, and the sum.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PressureShare {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last 60 seconds.
    pub avg60: f64,
    /// Over the last 300 seconds.
    pub avg300: f64,
    /// In all, in microseconds.
    pub total_us: u64,
}

pub(crate) fn read(cgroup: &Cgroup) -> Result<Stats, Error> {
    let mut stats = Stats::default();
    v1::read(cgroup, &mut stats)?;
    if let Some(dir) = cgroup.v2() {
        v2::read(dir, &mut stats)?;
        for (resource, slot) in [
            (Resource::Cpu, &mut stats.pressure.cpu),
            (Resource::Memory, &mut stats.pressure.memory),
            (Resource::Io, &mut stats.pressure.io),
        ] {
            let file = resource.file();
            if let Some(text) = dir.try_read(file)? {
                let pressure = parse::pressure(&text).ok_or_else(|| dir.malformed(file, &text))?;
                *slot = Some(pressure);
            }
        }
    }
    Ok(stats)
}

pub(crate) fn oom_kills(cgroup: &Cgroup) -> Result<u64, Error> {
    if let Some(dir) = cgroup.v1(Controller::Memory) {
        return v1::oom_kills(dir);
    }
    match cgroup.v2() {
        Some(dir) => v2::oom_kills(dir),
        None => Ok(0),
    }
}
