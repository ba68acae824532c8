//! Limits of a container: what its cgroup and its program may use.

use oci_spec::runtime::PosixRlimitType;

use super::{Builder, Rlimit};

impl Builder {
    /// Memory in bytes, 6 MiB at least; beyond it the kernel kills a process of the container. 0 is no limit.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.settings.memory = (bytes != 0).then_some(bytes);
        self
    }

    /// Memory and swap together, in bytes; -1 is no limit. Twice the memory otherwise.
    pub fn memory_swap(mut self, bytes: i64) -> Self {
        self.settings.memory_swap = Some(bytes);
        self
    }

    /// Memory in bytes below which little is reclaimed from the container.
    pub fn memory_reservation(mut self, bytes: u64) -> Self {
        self.settings.memory_reservation = Some(bytes);
        self
    }

    /// Processors' worth of time: 1.5 is one and a half. 0 is no limit.
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.settings.cpus = (cpus != 0.0).then_some(cpus);
        self
    }

    /// Share of processor time against other containers, where there is too little: 1024 is usual.
    pub fn cpu_shares(mut self, shares: u64) -> Self {
        self.settings.cpu_shares = Some(shares);
        self
    }

    /// Processors it may run on, as `0-2,7`.
    pub fn cpuset_cpus(mut self, list: impl Into<String>) -> Self {
        self.settings.cpuset_cpus = Some(list.into());
        self
    }

    /// Memory nodes it may use, as `0-1`.
    pub fn cpuset_mems(mut self, list: impl Into<String>) -> Self {
        self.settings.cpuset_mems = Some(list.into());
        self
    }

    /// Processes and threads it may have; 0 and less is no limit.
    pub fn pids(mut self, limit: i64) -> Self {
        self.settings.pids = Some(if limit <= 0 { -1 } else { limit });
        self
    }

    /// A resource limit of the program.
    pub fn rlimit(mut self, resource: PosixRlimitType, soft: u64, hard: u64) -> Self {
        self.settings
            .rlimits
            .retain(|limit| limit.resource != resource);
        self.settings.rlimits.push(Rlimit {
            resource,
            soft,
            hard,
        });
        self
    }
}
