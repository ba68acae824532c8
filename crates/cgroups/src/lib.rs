//! Control groups, v1, v2 and hybrid: limits, statistics, events, freezing and killing.
//!
//! A [`Cgroups`] is what the host has mounted; a [`Cgroup`] is one group in all of it, under one path.
//!
//! ```no_run
//! use orlop_cgroups::{CgroupPath, Cgroups, Limits};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cgroups = Cgroups::detect()?;
//! let limits = Limits { memory_max: Some(64 << 20), pids_max: Some(32), ..Limits::default() }.cpus(0.5);
//! let cgroup = cgroups.create(&CgroupPath::new("example/one")?, &limits)?;
//!
//! let mut child = std::process::Command::new("sleep").arg("1").spawn()?;
//! cgroup.attach(child.id())?;
//! child.wait()?;
//! println!("{:?}, {} killed for want of memory", cgroup.stats()?.cpu, cgroup.oom_kills()?);
//! cgroup.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! A process that starts inside costs less than one that is moved: [`Cgroup::join`] opens what
//! `clone3(CLONE_INTO_CGROUP)` and a single-threaded launcher need.
//!
//! # What it does not do
//!
//! - It starts no process and changes nothing of the calling one.
//! - It reads no environment variable and mounts nothing; it uses what is mounted.
//! - It does not speak to systemd. Under systemd, hand it a subtree with `Delegate=yes`
//!   ([`Cgroups::delegated`] tells whether it is one).
//! - It does not remember: what a killed caller leaves behind is found with [`Cgroups::children`] and
//!   removed by whoever owns the parent.
//!
//! # Kernel and privilege
//!
//! Linux 5.2 for v2's freezer; `cgroup.kill` (5.14), `memory.peak` (5.19) and PSI are used where they are
//! there. v1 needs root. v2 needs root or a delegated subtree ([`ErrorKind::NotDelegated`]); device rules
//! need CAP_SYS_ADMIN (v1: in the initial user namespace) and, on v2, a kernel with `CONFIG_CGROUP_BPF`.
//!
//! # What is done through cgroups-rs, and what is not
//!
//! The setters of [cgroups-rs](https://docs.rs/cgroups-rs) 0.5 that write one plain value are used, each
//! on a directory this crate has made itself (they open with `O_CREAT`, so on a wrong path they would
//! leave plain files): `pids.max`, `cpu.shares` and `cpu.weight`, `cpu.cfs_quota_us`, `cpu.cfs_period_us`
//! and `cpu.max`, `cpuset.cpus` and `cpuset.mems`. The rest goes around it:
//!
//! | what | why |
//! | --- | --- |
//! | detection, own paths | hierarchies come from fixed places; v1 paths are the caller's own; hybrid is unknown |
//! | create, remove | the builder swallows the errors of memory, blkio and cpuset; removal moves processes to the *root* cgroup |
//! | memory | swappiness is written to `memory.swap.max` on v2; unlimited `memory.low` is written as `-1` |
//! | devices | `c *:*` becomes `c 0:0`; minor numbers over 32767 panic; no v2 program |
//! | processes | thread ids are returned, and a line that cannot be parsed becomes pid 0 |
//! | statistics | what cannot be read becomes zero without an error |
//! | out-of-memory events | v1's file is read on v2 as well |
//! | block I/O, huge pages, freezing, killing, pressure | v2 is missing, or nothing waits for the effect |

#![deny(unsafe_code)]

mod apply;
mod cgroup;
mod controller;
mod create;
mod devices;
mod dir;
mod error;
mod events;
mod freeze;
mod kill;
mod layout;
mod limits;
mod mountinfo;
mod path;
mod remove;
mod stats;
#[allow(unsafe_code)]
mod sys;

pub use cgroup::{Cgroup, Join};
pub use controller::{Controller, Controllers};
pub use error::{Error, ErrorKind};
pub use events::{Event, Events, Interest, Resource};
pub use layout::{Cgroups, Mode};
pub use limits::{
    DeviceAccess, DeviceKind, DeviceRule, IoMax, IoWeight, Limits, RdmaMax, UNLIMITED,
    shares_to_weight, weight_to_shares,
};
pub use path::CgroupPath;
pub use stats::{
    CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats, Pressure, PressureShare,
    PressureStats, Stats,
};
