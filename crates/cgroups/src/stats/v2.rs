//! Statistics out of the v2 hierarchy. In a hybrid layout only what v1 has not filled in.

use super::v1::{limit, value};
use super::{CpuStats, HugetlbStats, MemoryStats, PidsStats, Stats, parse};
use crate::dir::Dir;
use crate::error::Error;

pub(super) fn read(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    // Even without the controller the core counts CPU time.
    if stats.cpu.is_none()
        && let Some(text) = dir.try_read("cpu.stat")?
    {
        let ns = |key| {
            parse::flat_value(&text, key)
                .unwrap_or(0)
                .saturating_mul(1000)
        };
        let count = |key| parse::flat_value(&text, key).unwrap_or(0);
        stats.cpu = Some(CpuStats {
            usage_ns: ns("usage_usec"),
            user_ns: ns("user_usec"),
            system_ns: ns("system_usec"),
            per_cpu_ns: Vec::new(),
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_ns: ns("throttled_usec"),
        });
    }
    if stats.memory.is_none() {
        stats.memory = memory(dir)?;
    }
    if stats.pids.is_none()
        && let Some(current) = value(dir, "pids.current")?
    {
        stats.pids = Some(PidsStats {
            current,
            limit: limit(dir, "pids.max")?,
            refused: dir
                .try_read("pids.events")?
                .and_then(|text| parse::flat_value(&text, "max"))
                .unwrap_or(0),
        });
    }
    if stats.io.is_empty()
        && let Some(text) = dir.try_read("io.stat")?
    {
        stats.io = parse::io_v2(&text).ok_or_else(|| dir.malformed("io.stat", &text))?;
    }
    if stats.hugetlb.is_empty() {
        hugetlb(dir, ["current", "max", "events"], stats)?;
    }
    Ok(())
}

fn memory(dir: &Dir) -> Result<Option<MemoryStats>, Error> {
    let Some(current) = value(dir, "memory.current")? else {
        return Ok(None);
    };
    let events = dir.try_read("memory.events")?.unwrap_or_default();
    let mut memory = MemoryStats {
        current,
        peak: value(dir, "memory.peak")?,
        limit: limit(dir, "memory.max")?,
        swap_current: value(dir, "memory.swap.current")?,
        swap_limit: limit(dir, "memory.swap.max")?,
        limit_hits: parse::flat_value(&events, "max").unwrap_or(0),
        oom_kills: parse::flat_value(&events, "oom_kill").unwrap_or(0),
        ..MemoryStats::default()
    };
    if let Some(text) = dir.try_read("memory.stat")? {
        memory.stat = parse::flat(&text).ok_or_else(|| dir.malformed("memory.stat", &text))?;
    }
    Ok(Some(memory))
}

pub(super) fn oom_kills(dir: &Dir) -> Result<u64, Error> {
    Ok(dir
        .try_read("memory.events")?
        .and_then(|text| parse::flat_value(&text, "oom_kill"))
        .unwrap_or(0))
}

/// The page sizes are in the names of the files: `hugetlb.2MB.current`.
pub(super) fn hugetlb(
    dir: &Dir,
    [current, max, hits]: [&str; 3],
    stats: &mut Stats,
) -> Result<(), Error> {
    for file in dir.files()? {
        let Some(size) = file
            .strip_prefix("hugetlb.")
            .and_then(|rest| rest.strip_suffix(current))
            .and_then(|rest| rest.strip_suffix('.'))
            .filter(|size| !size.contains('.'))
        else {
            continue;
        };
        let used = value(dir, &file)?.unwrap_or(0);
        let limit = limit(dir, &format!("hugetlb.{size}.{max}"))?;
        if used == 0 && limit.is_none() {
            continue;
        }
        let hits = dir
            .try_read(&format!("hugetlb.{size}.{hits}"))?
            .unwrap_or_default();
        let limit_hits = parse::number(&hits).or(parse::flat_value(&hits, "max"));
        stats.hugetlb.insert(
            size.to_owned(),
            HugetlbStats {
                current: used,
                limit,
                limit_hits: limit_hits.unwrap_or(0),
            },
        );
    }
    Ok(())
}
