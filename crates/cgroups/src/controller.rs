//! The kernel's controllers and sets of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the kernel's controllers, by what it governs; names differ between v1 and v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Controller {
    /// CPU time: weights and quotas.
    Cpu,
    /// CPU time used (v1 only; part of `cpu` and the core in v2).
    Cpuacct,
    /// CPUs and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Block devices: `io` in v2, `blkio` in v1.
    Io,
    /// The number of tasks.
    Pids,
    /// Access to devices (v1 only; a BPF program in v2).
    Devices,
    /// Freezing (v1 only; part of the core in v2).
    Freezer,
    /// Huge pages.
    Hugetlb,
    /// RDMA handles.
    Rdma,
    /// Scalar host resources.
    Misc,
    /// Class identifiers of network packets (v1 only).
    #[serde(rename = "net_cls")]
    NetCls,
    /// Priorities of network packets (v1 only).
    #[serde(rename = "net_prio")]
    NetPrio,
    /// Grouping for perf(1).
    #[serde(rename = "perf_event")]
    PerfEvent,
}

impl Controller {
    pub(crate) const ALL: [Controller; 14] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Io,
        Controller::Pids,
        Controller::Devices,
        Controller::Freezer,
        Controller::Hugetlb,
        Controller::Rdma,
        Controller::Misc,
        Controller::NetCls,
        Controller::NetPrio,
        Controller::PerfEvent,
    ];

    /// The name in a v2 `cgroup.controllers` and in this crate's messages.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Io => "io",
            Controller::Pids => "pids",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::Hugetlb => "hugetlb",
            Controller::Rdma => "rdma",
            Controller::Misc => "misc",
            Controller::NetCls => "net_cls",
            Controller::NetPrio => "net_prio",
            Controller::PerfEvent => "perf_event",
        }
    }

    /// The name in a v1 mount's options.
    pub fn v1_name(self) -> &'static str {
        match self {
            Controller::Io => "blkio",
            other => other.name(),
        }
    }

    fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Controller`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Controllers(u32);

impl Controllers {
    /// No controller.
    pub const NONE: Controllers = Controllers(0);

    /// Whether `controller` is in the set.
    pub fn contains(self, controller: Controller) -> bool {
        self.0 & controller.bit() != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The controllers, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL
            .into_iter()
            .filter(move |controller| self.contains(*controller))
    }

    /// Both sets' controllers.
    pub fn union(self, other: Controllers) -> Controllers {
        Controllers(self.0 | other.0)
    }

    /// The controllers that are not in `other`.
    pub fn without(self, other: Controllers) -> Controllers {
        Controllers(self.0 & !other.0)
    }

    /// The controllers that are in both.
    pub fn intersection(self, other: Controllers) -> Controllers {
        Controllers(self.0 & other.0)
    }

    pub(crate) fn insert(&mut self, controller: Controller) {
        self.0 |= controller.bit();
    }

    /// From the words of a v2 `cgroup.controllers`; a name this crate does not know is skipped.
    pub(crate) fn parse_v2(text: &str) -> Controllers {
        text.split_ascii_whitespace()
            .filter_map(|word| Controller::ALL.into_iter().find(|c| c.name() == word))
            .collect()
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<I: IntoIterator<Item = Controller>>(iter: I) -> Controllers {
        let mut set = Controllers::NONE;
        for controller in iter {
            set.insert(controller);
        }
        set
    }
}

impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, controller) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{controller}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
