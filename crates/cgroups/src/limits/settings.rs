//! From limits to the list of settings that bring them about: pure, so that the whole mapping is one
//! table to read and to test. Nothing here touches a file.

use std::borrow::Cow;

use super::convert::{io_weight, shares_to_weight, weight_to_shares};
use super::{IoMax, Limits, UNLIMITED};
use crate::controller::Controller;
use crate::devices;
use crate::dir::Version;
use crate::error::Error;

/// Where each controller is found on this host; `None` if nowhere.
pub(crate) trait Places {
    fn place(&self, controller: Controller) -> Option<Version>;
}

impl<F: Fn(Controller) -> Option<Version>> Places for F {
    fn place(&self, controller: Controller) -> Option<Version> {
        self(controller)
    }
}

/// One thing to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) target: Target,
    pub(crate) change: Change,
    /// That no such file exists is as good as having set it.
    pub(crate) may_lack: bool,
}

/// Which hierarchy a setting is made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that has this controller.
    Of(Controller),
    /// v2, whatever controllers it has.
    V2,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// One write: the first of these files that exists, with the value for it.
    Write(Vec<(Cow<'static, str>, String)>),
    /// Through cgroups-rs, whose setters for these are sound in both versions.
    Pids(Option<u64>),
    Weight(u64),
    Quota {
        quota: Option<Option<u64>>,
        period: Option<u64>,
    },
    Cpus(String),
    Mems(String),
    /// The whole v2 device program, with its rules.
    DeviceProgram(Vec<devices::DeviceRule>),
}

/// The settings for `limits`, in the order in which to make them.
pub(crate) fn settings(limits: &Limits, places: &impl Places) -> Result<Vec<Setting>, Error> {
    let mut list = List {
        places,
        settings: Vec::new(),
    };
    list.cpuset(limits)?;
    list.cpu(limits)?;
    list.memory(limits)?;
    list.pids(limits)?;
    list.io(limits)?;
    list.hugetlb(limits)?;
    list.rdma(limits)?;
    list.network(limits)?;
    list.devices(limits)?;
    list.unified(limits)?;
    Ok(list.settings)
}

struct List<'a, P> {
    places: &'a P,
    settings: Vec<Setting>,
}

impl<P: Places> List<'_, P> {
    /// Where `controller` is, or the error that says which limit wanted it.
    fn place(&self, controller: Controller, needed: &str) -> Result<Version, Error> {
        self.places
            .place(controller)
            .ok_or_else(|| Error::NoController {
                needed: needed.to_owned(),
                controller,
                path: "any mounted hierarchy".into(),
            })
    }

    fn v1_only(&self, controller: Controller, setting: &str) -> Result<(), Error> {
        match self.place(controller, setting)? {
            Version::V1 => Ok(()),
            Version::V2 => Err(unsupported(setting, "it exists in cgroup v1 only")),
        }
    }

    fn push(&mut self, controller: Controller, change: Change) {
        self.settings.push(Setting {
            target: Target::Of(controller),
            change,
            may_lack: false,
        });
    }

    fn write(&mut self, controller: Controller, file: impl Into<Cow<'static, str>>, value: String) {
        self.push(controller, Change::Write(vec![(file.into(), value)]));
    }

    fn cpuset(&mut self, limits: &Limits) -> Result<(), Error> {
        let fields = [
            (
                "cpuset_cpus",
                &limits.cpuset_cpus,
                Change::Cpus as fn(String) -> Change,
            ),
            ("cpuset_mems", &limits.cpuset_mems, Change::Mems),
        ];
        for (name, value, change) in fields {
            if let Some(value) = value {
                self.place(Controller::Cpuset, name)?;
                if value.trim().is_empty() {
                    return Err(invalid(name, value, "it is empty"));
                }
                self.push(Controller::Cpuset, change(value.clone()));
            }
        }
        Ok(())
    }

    fn cpu(&mut self, limits: &Limits) -> Result<(), Error> {
        const CPU: Controller = Controller::Cpu;
        if let Some(idle) = limits.cpu_idle {
            self.place(CPU, "cpu_idle")?;
            // Before the weight, which the kernel refuses to change while idle.
            self.write(CPU, "cpu.idle", u8::from(idle).to_string());
        }
        let weight = match (limits.cpu_weight, limits.cpu_shares) {
            (Some(weight), Some(_)) => {
                return Err(invalid("cpu_weight", weight, "cpu_shares is given as well"));
            }
            (Some(weight), None) if !(1..=10_000).contains(&weight) => {
                return Err(invalid("cpu_weight", weight, "it must be 1 to 10000"));
            }
            (Some(weight), None) => Some(match self.place(CPU, "cpu_weight")? {
                Version::V1 => weight_to_shares(weight),
                Version::V2 => weight,
            }),
            (None, Some(shares)) => Some(match self.place(CPU, "cpu_shares")? {
                Version::V1 => shares,
                Version::V2 => shares_to_weight(shares),
            }),
            (None, None) => None,
        };
        if let Some(weight) = weight {
            self.push(CPU, Change::Weight(weight));
        }
        let quota = limits.cpu_quota_us.map(limited);
        let period = limits.cpu_period_us;
        if quota.is_some() || period.is_some() {
            let name = if quota.is_some() {
                "cpu_quota_us"
            } else {
                "cpu_period_us"
            };
            let place = self.place(CPU, name)?;
            if let Some(Some(us)) = quota
                && i64::try_from(us).is_err()
            {
                return Err(invalid(name, us, "it is too large"));
            }
            if quota == Some(Some(0)) {
                return Err(invalid(name, 0, "it is zero"));
            }
            if place == Version::V2 {
                self.push(CPU, Change::Quota { quota, period });
            } else {
                // Two files in v1: which order the kernel accepts depends on the old values.
                if period.is_some() {
                    self.push(
                        CPU,
                        Change::Quota {
                            quota: None,
                            period,
                        },
                    );
                }
                if quota.is_some() {
                    self.push(
                        CPU,
                        Change::Quota {
                            quota,
                            period: None,
                        },
                    );
                }
            }
        }
        if let Some(burst) = limits.cpu_burst_us {
            let file = match self.place(CPU, "cpu_burst_us")? {
                Version::V1 => "cpu.cfs_burst_us",
                Version::V2 => "cpu.max.burst",
            };
            self.write(CPU, file, burst.to_string());
        }
        if let Some(period) = limits.cpu_rt_period_us {
            self.v1_only(CPU, "cpu_rt_period_us")?;
            self.write(CPU, "cpu.rt_period_us", period.to_string());
        }
        if let Some(runtime) = limits.cpu_rt_runtime_us {
            self.v1_only(CPU, "cpu_rt_runtime_us")?;
            self.write(CPU, "cpu.rt_runtime_us", runtime.to_string());
        }
        Ok(())
    }

    fn memory(&mut self, limits: &Limits) -> Result<(), Error> {
        const MEMORY: Controller = Controller::Memory;
        if let Some(max) = limits.memory_max {
            // The kernel takes less, rounds it down to nothing, and kills the first process.
            const PAGE: u64 = 4096;
            if max < PAGE {
                return Err(invalid(
                    "memory_max",
                    max,
                    "it is less than a page (4096 bytes)",
                ));
            }
            let file = match self.place(MEMORY, "memory_max")? {
                Version::V1 => "memory.limit_in_bytes",
                Version::V2 => "memory.max",
            };
            let value = self.amount(MEMORY, max);
            self.write(MEMORY, file, value);
        }
        if let Some(swap) = limits.memory_swap_max {
            self.swap(limits.memory_max, swap)?;
        }
        if let Some(low) = limits.memory_low {
            let file = match self.place(MEMORY, "memory_low")? {
                Version::V1 => "memory.soft_limit_in_bytes",
                Version::V2 => "memory.low",
            };
            let value = self.amount(MEMORY, low);
            self.write(MEMORY, file, value);
        }
        if let Some(high) = limits.memory_high {
            if self.place(MEMORY, "memory_high")? == Version::V1 {
                return Err(unsupported("memory_high", "it exists in cgroup v2 only"));
            }
            let value = self.amount(MEMORY, high);
            self.write(MEMORY, "memory.high", value);
        }
        if let Some(swappiness) = limits.memory_swappiness {
            self.v1_only(MEMORY, "memory_swappiness")?;
            if swappiness > 100 {
                return Err(invalid(
                    "memory_swappiness",
                    swappiness,
                    "it must be 0 to 100",
                ));
            }
            self.write(MEMORY, "memory.swappiness", swappiness.to_string());
        }
        match limits.memory_oom_kill_disable {
            Some(disable) if self.place(MEMORY, "memory_oom_kill_disable")? == Version::V1 => {
                self.write(MEMORY, "memory.oom_control", u8::from(disable).to_string());
            }
            Some(true) => self.v1_only(MEMORY, "memory_oom_kill_disable")?,
            Some(false) | None => {}
        }
        if let Some(tcp) = limits.memory_kernel_tcp {
            self.v1_only(MEMORY, "memory_kernel_tcp")?;
            let value = self.amount(MEMORY, tcp);
            self.write(MEMORY, "memory.kmem.tcp.limit_in_bytes", value);
        }
        Ok(())
    }

    fn swap(&mut self, max: Option<u64>, swap: u64) -> Result<(), Error> {
        const MEMORY: Controller = Controller::Memory;
        let (file, amount) = match self.place(MEMORY, "memory_swap_max")? {
            Version::V2 => ("memory.swap.max", swap),
            Version::V1 if swap == UNLIMITED || max == Some(UNLIMITED) => {
                ("memory.memsw.limit_in_bytes", UNLIMITED)
            }
            Version::V1 => {
                let Some(max) = max else {
                    return Err(invalid(
                        "memory_swap_max",
                        swap,
                        "cgroup v1 limits memory and swap together, so memory_max must be given too",
                    ));
                };
                ("memory.memsw.limit_in_bytes", max.saturating_add(swap))
            }
        };
        let value = self.amount(MEMORY, amount);
        self.write(MEMORY, file, value);
        if let Some(last) = self.settings.last_mut() {
            // Without swap accounting there is no file, and either of these holds already.
            last.may_lack = swap == 0 || swap == UNLIMITED;
        }
        Ok(())
    }

    /// `max` in v2, `-1` in v1.
    fn amount(&self, controller: Controller, amount: u64) -> String {
        match (limited(amount), self.places.place(controller)) {
            (Some(amount), _) => amount.to_string(),
            (None, Some(Version::V2)) => "max".to_owned(),
            (None, _) => "-1".to_owned(),
        }
    }

    fn pids(&mut self, limits: &Limits) -> Result<(), Error> {
        if let Some(max) = limits.pids_max {
            self.place(Controller::Pids, "pids_max")?;
            if max == 0 {
                return Err(invalid("pids_max", max, "no process could start"));
            }
            self.push(Controller::Pids, Change::Pids(limited(max)));
        }
        Ok(())
    }

    fn io(&mut self, limits: &Limits) -> Result<(), Error> {
        const IO: Controller = Controller::Io;
        if let Some(weight) = limits.io_weight {
            check_io_weight("io_weight", weight)?;
            match self.place(IO, "io_weight")? {
                Version::V1 => {
                    self.first_of(["blkio.bfq.weight", "blkio.weight"], |_| weight.to_string())
                }
                // BFQ, whose file is there only when it is in use, has OCI's own scale.
                Version::V2 => self.first_of(["io.bfq.weight", "io.weight"], |wide| match wide {
                    false => weight.to_string(),
                    true => format!("default {}", io_weight(weight)),
                }),
            }
        }
        if let Some(weight) = limits.io_leaf_weight {
            check_io_weight("io_leaf_weight", weight)?;
            self.v1_only(IO, "io_leaf_weight")?;
            self.write(IO, "blkio.leaf_weight", weight.to_string());
        }
        for device in &limits.io_weight_devices {
            let number = format!("{}:{}", device.major, device.minor);
            if let Some(weight) = device.weight {
                check_io_weight("io_weight_devices", weight)?;
                match self.place(IO, "io_weight_devices")? {
                    Version::V1 => {
                        let files = ["blkio.bfq.weight_device", "blkio.weight_device"];
                        self.first_of(files, |_| format!("{number} {weight}"));
                    }
                    Version::V2 => self.first_of(["io.bfq.weight", "io.weight"], |wide| {
                        let weight = if wide {
                            io_weight(weight)
                        } else {
                            weight.into()
                        };
                        format!("{number} {weight}")
                    }),
                }
            }
            if let Some(weight) = device.leaf_weight {
                check_io_weight("io_weight_devices", weight)?;
                self.v1_only(IO, "io_weight_devices")?;
                self.write(IO, "blkio.leaf_weight_device", format!("{number} {weight}"));
            }
        }
        for device in &limits.io_max {
            self.io_max(device)?;
        }
        Ok(())
    }

    fn io_max(&mut self, device: &IoMax) -> Result<(), Error> {
        const IO: Controller = Controller::Io;
        let fields = [
            ("rbps", "blkio.throttle.read_bps_device", device.read_bps),
            ("wbps", "blkio.throttle.write_bps_device", device.write_bps),
            ("riops", "blkio.throttle.read_iops_device", device.read_iops),
            (
                "wiops",
                "blkio.throttle.write_iops_device",
                device.write_iops,
            ),
        ];
        let number = format!("{}:{}", device.major, device.minor);
        let mut line = number.clone();
        let version = self.place(IO, "io_max")?;
        for (key, file, rate) in fields {
            let Some(rate) = rate else { continue };
            // Zero lifts the limit, as v1 has it and OCI took over.
            let rate = limited(rate).filter(|rate| *rate > 0);
            match version {
                Version::V1 => self.write(IO, file, format!("{number} {}", rate.unwrap_or(0))),
                Version::V2 => {
                    let rate = rate.map_or("max".to_owned(), |rate| rate.to_string());
                    line.push_str(&format!(" {key}={rate}"));
                }
            }
        }
        if version == Version::V2 && line != number {
            self.write(IO, "io.max", line);
        }
        Ok(())
    }

    /// The value for the first file if that exists, else that for the second.
    fn first_of(&mut self, files: [&'static str; 2], value: impl Fn(bool) -> String) {
        let [first, second] = files;
        let files = vec![(first.into(), value(false)), (second.into(), value(true))];
        self.push(Controller::Io, Change::Write(files));
    }

    fn hugetlb(&mut self, limits: &Limits) -> Result<(), Error> {
        const HUGETLB: Controller = Controller::Hugetlb;
        for (size, max) in &limits.hugetlb {
            let known = size
                .strip_suffix("KB")
                .or(size.strip_suffix("MB"))
                .or(size.strip_suffix("GB"))
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            if !known {
                return Err(invalid(
                    "hugetlb",
                    size,
                    "a page size looks like 2MB or 1GB",
                ));
            }
            let end = match self.place(HUGETLB, "hugetlb")? {
                Version::V1 => "limit_in_bytes",
                Version::V2 => "max",
            };
            let value = self.amount(HUGETLB, *max);
            self.write(HUGETLB, format!("hugetlb.{size}.{end}"), value.clone());
            // The limit above counts pages when they are touched, this one when they are reserved,
            // where an excess is an error and not a SIGBUS. Since Linux 5.7.
            self.write(HUGETLB, format!("hugetlb.{size}.rsvd.{end}"), value);
            if let Some(last) = self.settings.last_mut() {
                last.may_lack = true;
            }
        }
        Ok(())
    }

    fn rdma(&mut self, limits: &Limits) -> Result<(), Error> {
        for (device, max) in &limits.rdma {
            self.place(Controller::Rdma, "rdma")?;
            if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(invalid("rdma", device, "that is no device name"));
            }
            let number = |n: Option<u32>| n.map_or("max".to_owned(), |n| n.to_string());
            let (handles, objects) = (number(max.hca_handles), number(max.hca_objects));
            let value = format!("{device} hca_handle={handles} hca_object={objects}");
            self.write(Controller::Rdma, "rdma.max", value);
        }
        Ok(())
    }

    fn network(&mut self, limits: &Limits) -> Result<(), Error> {
        if let Some(class) = limits.net_class_id {
            self.v1_only(Controller::NetCls, "net_class_id")?;
            self.write(Controller::NetCls, "net_cls.classid", class.to_string());
        }
        for (interface, priority) in &limits.net_priorities {
            self.v1_only(Controller::NetPrio, "net_priorities")?;
            if interface.is_empty() || interface.contains(char::is_whitespace) {
                return Err(invalid(
                    "net_priorities",
                    interface,
                    "that is no interface name",
                ));
            }
            let value = format!("{interface} {priority}");
            self.write(Controller::NetPrio, "net_prio.ifpriomap", value);
        }
        Ok(())
    }

    fn devices(&mut self, limits: &Limits) -> Result<(), Error> {
        let Some(rules) = &limits.devices else {
            return Ok(());
        };
        // 12 and 20 bits in the kernel; v1 would silently match nothing.
        for rule in rules {
            if rule.major.is_some_and(|n| n >= 1 << 12) || rule.minor.is_some_and(|n| n >= 1 << 20)
            {
                return Err(invalid("devices", rule, "there is no such device number"));
            }
        }
        // No place at all means v2 without anything else: a program needs no controller.
        if self.places.place(Controller::Devices) == Some(Version::V1) {
            for (file, line) in devices::v1::writes(rules)? {
                self.write(Controller::Devices, file, line);
            }
        } else {
            self.settings.push(Setting {
                target: Target::V2,
                change: Change::DeviceProgram(rules.clone()),
                may_lack: false,
            });
        }
        Ok(())
    }

    fn unified(&mut self, limits: &Limits) -> Result<(), Error> {
        for (file, value) in &limits.unified {
            let name = file.split('.').next().unwrap_or("");
            let sound = file.contains('.')
                && !file.contains(|c: char| c == '/' || c.is_control())
                && !file.contains("..");
            // Of the core's files only those are limits; the others are operations.
            let core = matches!(
                file.as_str(),
                "cgroup.max.depth" | "cgroup.max.descendants" | "cgroup.pressure"
            );
            if !sound || (name == "cgroup" && !core) {
                return Err(invalid(
                    "unified",
                    file,
                    "that is no file of a v2 controller",
                ));
            }
            let target = if core {
                Target::V2
            } else {
                let Some(controller) = Controller::ALL.into_iter().find(|c| c.name() == name)
                else {
                    return Err(invalid("unified", file, "there is no such controller"));
                };
                if self.place(controller, file)? == Version::V1 {
                    return Err(unsupported(
                        file,
                        "its controller is in a cgroup v1 hierarchy, and unified settings are v2's",
                    ));
                }
                Target::Of(controller)
            };
            self.settings.push(Setting {
                target,
                change: Change::Write(vec![(file.clone().into(), value.clone())]),
                may_lack: false,
            });
        }
        Ok(())
    }
}

/// `None` if unlimited.
fn limited(amount: u64) -> Option<u64> {
    (amount != UNLIMITED).then_some(amount)
}

fn check_io_weight(setting: &str, weight: u16) -> Result<(), Error> {
    if (10..=1000).contains(&weight) {
        return Ok(());
    }
    Err(invalid(setting, weight, "it must be 10 to 1000"))
}

fn invalid(setting: &str, value: impl ToString, reason: &str) -> Error {
    Error::Invalid {
        setting: setting.to_owned(),
        value: value.to_string(),
        reason: reason.to_owned(),
    }
}

fn unsupported(setting: &str, reason: &str) -> Error {
    Error::Unsupported {
        setting: setting.to_owned(),
        reason: reason.to_owned(),
    }
}
