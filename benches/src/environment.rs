//! Where a measurement was taken: figures without it mean little.

use std::fmt;
use std::fs;

use serde::Serialize;

/// The machine, as far as it decides what a launch or an unpack costs.
#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    /// Release of the running kernel.
    pub kernel: String,
    /// Processors this process may use.
    pub cores: usize,
    /// What the processor calls itself.
    pub processor: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Load average of the last minute when the measurement began.
    pub load: String,
    /// Layout of the control groups: `v1`, `v2` or `hybrid`.
    pub cgroups: &'static str,
    /// Built with optimisation.
    pub optimised: bool,
}

impl Environment {
    /// The machine this runs on. What cannot be read is left empty.
    pub fn here() -> Environment {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let meminfo = read("/proc/meminfo");
        Environment {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name").to_owned(),
            memory_mib: field(&meminfo, "MemTotal")
                .split(' ')
                .next()
                .and_then(|kib| kib.parse().ok())
                .unwrap_or(0)
                / 1024,
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            cgroups: cgroup_layout(&read("/proc/self/mountinfo")),
            optimised: cfg!(not(debug_assertions)),
        }
    }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or("", |(_, value)| value.trim())
}

fn cgroup_layout(mountinfo: &str) -> &'static str {
    let has = |fstype: &str| {
        mountinfo
            .lines()
            .any(|line| line.contains(&format!(" - {fstype} ")))
    };
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if self.optimised {
            "optimised"
        } else {
            "not optimised: figures mean nothing"
        };
        write!(
            f,
            "Linux {}, {} cores ({}), {} MiB, cgroups {}, load {}, {build}",
            self.kernel, self.cores, self.processor, self.memory_mib, self.cgroups, self.load
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_by_mount_table() {
        let v1 = "30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        let v2 = "31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        assert_eq!(cgroup_layout(v1), "v1");
        assert_eq!(cgroup_layout(v2), "v2");
        assert_eq!(cgroup_layout(&format!("{v1}\n{v2}")), "hybrid");
        assert_eq!(cgroup_layout(""), "none");
    }

    #[test]
    fn this_machine_has_a_kernel_and_memory() {
        let here = Environment::here();
        assert!(
            !here.kernel.is_empty() && here.cores > 0 && here.memory_mib > 0,
            "{here:?}"
        );
    }
}
