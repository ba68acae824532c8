//! Statistics out of v1 hierarchies.

use super::{CpuStats, MemoryStats, PidsStats, Stats, parse};
use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::dir::Dir;
use crate::error::Error;

pub(super) fn read(cgroup: &Cgroup, stats: &mut Stats) -> Result<(), Error> {
    cpu(cgroup, stats)?;
    if let Some(dir) = cgroup.v1(Controller::Memory) {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = cgroup.v1(Controller::Pids) {
        stats.pids = pids(dir)?;
    }
    if let Some(dir) = cgroup.v1(Controller::Io) {
        // The recursive files count what containers inside do; both lack on old kernels.
        let read = |file: &str| match dir.try_read(&format!("{file}_recursive"))? {
            Some(text) => Ok(Some(text)),
            None => dir.try_read(file),
        };
        let bytes = read("blkio.throttle.io_service_bytes")?.unwrap_or_default();
        let operations = read("blkio.throttle.io_serviced")?.unwrap_or_default();
        stats.io = parse::io_v1(&bytes, &operations)
            .ok_or_else(|| dir.malformed("blkio.throttle.io_service_bytes", &bytes))?;
    }
    if let Some(dir) = cgroup.v1(Controller::Hugetlb) {
        super::v2::hugetlb(dir, ["usage_in_bytes", "limit_in_bytes", "failcnt"], stats)?;
    }
    Ok(())
}

fn cpu(cgroup: &Cgroup, stats: &mut Stats) -> Result<(), Error> {
    if let Some(dir) = cgroup.v1(Controller::Cpuacct)
        && let Some(usage_ns) = value(dir, "cpuacct.usage")?
    {
        let cpu = stats.cpu.get_or_insert_default();
        cpu.usage_ns = usage_ns;
        cpu.user_ns = value(dir, "cpuacct.usage_user")?.unwrap_or(0);
        cpu.system_ns = value(dir, "cpuacct.usage_sys")?.unwrap_or(0);
        const PER_CPU: &str = "cpuacct.usage_percpu";
        if let Some(text) = dir.try_read(PER_CPU)? {
            cpu.per_cpu_ns = text
                .split_ascii_whitespace()
                .map(|word| word.parse().map_err(|_| dir.malformed(PER_CPU, &text)))
                .collect::<Result<_, _>>()?;
        }
    }
    if let Some(dir) = cgroup.v1(Controller::Cpu)
        && let Some(text) = dir.try_read("cpu.stat")?
    {
        let cpu: &mut CpuStats = stats.cpu.get_or_insert_default();
        let value = |key| parse::flat_value(&text, key).unwrap_or(0);
        cpu.periods = value("nr_periods");
        cpu.throttled_periods = value("nr_throttled");
        cpu.throttled_ns = value("throttled_time");
    }
    Ok(())
}

fn memory(dir: &Dir) -> Result<Option<MemoryStats>, Error> {
    let Some(current) = value(dir, "memory.usage_in_bytes")? else {
        return Ok(None);
    };
    let mut memory = MemoryStats {
        current,
        peak: value(dir, "memory.max_usage_in_bytes")?,
        limit: limit(dir, "memory.limit_in_bytes")?,
        limit_hits: value(dir, "memory.failcnt")?.unwrap_or(0),
        oom_kills: oom_kills(dir)?,
        ..MemoryStats::default()
    };
    // v1 counts both together; both numbers are read at different moments.
    if let Some(both) = value(dir, "memory.memsw.usage_in_bytes")? {
        memory.limit_hits += value(dir, "memory.memsw.failcnt")?.unwrap_or(0);
        memory.swap_current = Some(both.saturating_sub(current));
        memory.swap_limit = match (limit(dir, "memory.memsw.limit_in_bytes")?, memory.limit) {
            (Some(both), Some(memory)) => Some(both.saturating_sub(memory)),
            _ => None,
        };
    }
    if let Some(text) = dir.try_read("memory.stat")? {
        memory.stat = parse::flat(&text).ok_or_else(|| dir.malformed("memory.stat", &text))?;
        if let Some(swap) = memory.stat.get("total_swap") {
            memory.swap_current = Some(*swap);
        }
    }
    Ok(Some(memory))
}

/// v1 counts a kill only in the very cgroup of the process, so those below are added.
pub(super) fn oom_kills(dir: &Dir) -> Result<u64, Error> {
    let mut kills = 0;
    for dir in dir.tree()? {
        if let Some(text) = dir.try_read("memory.oom_control")? {
            // Since Linux 4.13.
            kills += parse::flat_value(&text, "oom_kill").unwrap_or(0);
        }
    }
    Ok(kills)
}

fn pids(dir: &Dir) -> Result<Option<PidsStats>, Error> {
    let Some(current) = value(dir, "pids.current")? else {
        return Ok(None);
    };
    Ok(Some(PidsStats {
        current,
        limit: limit(dir, "pids.max")?,
        refused: dir
            .try_read("pids.events")?
            .and_then(|text| parse::flat_value(&text, "max"))
            .unwrap_or(0),
    }))
}

pub(super) fn value(dir: &Dir, file: &str) -> Result<Option<u64>, Error> {
    dir.try_read(file)?
        .map(|text| parse::number(&text).ok_or_else(|| dir.malformed(file, &text)))
        .transpose()
}

/// `None` also if there is no such file.
pub(super) fn limit(dir: &Dir, file: &str) -> Result<Option<u64>, Error> {
    match dir.try_read(file)? {
        Some(text) => parse::limit(&text).ok_or_else(|| dir.malformed(file, &text)),
        None => Ok(None),
    }
}
