//! Limits out of an OCI runtime specification's `linux.resources`.
//!
//! Source: opencontainers/runtime-spec, config-linux.md, "Control groups". Zero is "not set" where the
//! kernel has no meaning for it, as in the reference implementation; -1 is unlimited.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
    LinuxThrottleDevice,
};

use super::{IoMax, IoWeight, Limits, RdmaMax, UNLIMITED};
use crate::devices::{DeviceAccess, DeviceKind, DeviceRule};
use crate::error::Error;

impl TryFrom<&LinuxResources> for Limits {
    type Error = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] for values that have no meaning: a swap limit below the memory limit or without
    /// one, negative amounts, device rules with unknown letters, ...
    fn try_from(resources: &LinuxResources) -> Result<Limits, Error> {
        let mut limits = Limits::default();
        if let Some(given) = resources.memory() {
            memory(&mut limits, given)?;
        }
        if let Some(given) = resources.cpu() {
            cpu(&mut limits, given)?;
        }
        if let Some(pids) = resources.pids() {
            // Zero and below: no limit, as Docker and runc take it.
            limits.pids_max = Some(u64::try_from(pids.limit()).map_or(UNLIMITED, |n| match n {
                0 => UNLIMITED,
                n => n,
            }));
        }
        if let Some(given) = resources.block_io() {
            block_io(&mut limits, given)?;
        }
        for page in resources.hugepage_limits().iter().flatten() {
            let max = amount("hugepageLimits", page.limit())?;
            limits.hugetlb.insert(page.page_size().clone(), max);
        }
        if let Some(network) = resources.network() {
            limits.net_class_id = network.class_id();
            for interface in network.priorities().iter().flatten() {
                limits
                    .net_priorities
                    .insert(interface.name().clone(), interface.priority());
            }
        }
        for (device, max) in resources.rdma().iter().flatten() {
            let max = RdmaMax {
                hca_handles: max.hca_handles(),
                hca_objects: max.hca_objects(),
            };
            limits.rdma.insert(device.clone(), max);
        }
        if let Some(rules) = resources.devices() {
            limits.devices = Some(rules.iter().map(device).collect::<Result<_, _>>()?);
        }
        if let Some(unified) = resources.unified() {
            limits.unified = unified
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
        }
        Ok(limits)
    }
}

fn memory(limits: &mut Limits, memory: &LinuxMemory) -> Result<(), Error> {
    let max = set("memory.limit", memory.limit())?;
    let both = set("memory.swap", memory.swap())?;
    limits.memory_max = max;
    limits.memory_swap_max = match (max, both) {
        (_, Some(UNLIMITED)) => Some(UNLIMITED),
        (Some(UNLIMITED), None) => Some(UNLIMITED),
        (_, None) => None,
        (None | Some(UNLIMITED), Some(both)) => {
            return Err(invalid(
                "memory.swap",
                both,
                "it includes the memory limit, and there is none",
            ));
        }
        (Some(max), Some(both)) => Some(both.checked_sub(max).ok_or_else(|| {
            invalid(
                "memory.swap",
                both,
                "it includes the memory limit, and is less",
            )
        })?),
    };
    limits.memory_low = set("memory.reservation", memory.reservation())?;
    limits.memory_kernel_tcp = set("memory.kernelTCP", memory.kernel_tcp())?;
    limits.memory_swappiness = memory.swappiness();
    limits.memory_oom_kill_disable = memory.disable_oom_killer();
    limits.memory_check_before_update = memory.check_before_update().unwrap_or(false);
    // `kernel` has had no effect since Linux 5.4, and `useHierarchy` is always on.
    Ok(())
}

fn cpu(limits: &mut Limits, cpu: &LinuxCpu) -> Result<(), Error> {
    limits.cpu_shares = cpu.shares().filter(|shares| *shares != 0);
    limits.cpu_quota_us = cpu
        .quota()
        .filter(|quota| *quota != 0)
        .map(|quota| u64::try_from(quota).unwrap_or(UNLIMITED));
    limits.cpu_period_us = cpu.period().filter(|period| *period != 0);
    limits.cpu_burst_us = cpu.burst();
    limits.cpu_idle = match cpu.idle() {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(other) => return Err(invalid("cpu.idle", other, "it must be 0 or 1")),
    };
    limits.cpu_rt_runtime_us = cpu.realtime_runtime().filter(|us| *us != 0);
    limits.cpu_rt_period_us = cpu.realtime_period().filter(|us| *us != 0);
    limits.cpuset_cpus = cpu.cpus().clone().filter(|list| !list.is_empty());
    limits.cpuset_mems = cpu.mems().clone().filter(|list| !list.is_empty());
    Ok(())
}

fn block_io(limits: &mut Limits, io: &LinuxBlockIo) -> Result<(), Error> {
    limits.io_weight = io.weight().filter(|weight| *weight != 0);
    limits.io_leaf_weight = io.leaf_weight().filter(|weight| *weight != 0);
    for device in io.weight_device().iter().flatten() {
        limits.io_weight_devices.push(IoWeight {
            major: number("blockIO", device.major())?,
            minor: number("blockIO", device.minor())?,
            weight: device.weight().filter(|weight| *weight != 0),
            leaf_weight: device.leaf_weight().filter(|weight| *weight != 0),
        });
    }
    let fields = [
        (
            io.throttle_read_bps_device(),
            set_read_bps as fn(&mut IoMax, u64),
        ),
        (io.throttle_write_bps_device(), |max, rate| {
            max.write_bps = Some(rate)
        }),
        (io.throttle_read_iops_device(), |max, rate| {
            max.read_iops = Some(rate)
        }),
        (io.throttle_write_iops_device(), |max, rate| {
            max.write_iops = Some(rate)
        }),
    ];
    for (devices, field) in fields {
        for device in devices.iter().flatten() {
            let max = throttled(&mut limits.io_max, device)?;
            field(max, device.rate());
        }
    }
    Ok(())
}

fn set_read_bps(max: &mut IoMax, rate: u64) {
    max.read_bps = Some(rate);
}

/// The entry of a device, made if there is none yet.
fn throttled<'a>(
    list: &'a mut Vec<IoMax>,
    device: &LinuxThrottleDevice,
) -> Result<&'a mut IoMax, Error> {
    let major = number("blockIO", device.major())?;
    let minor = number("blockIO", device.minor())?;
    let index = list
        .iter()
        .position(|known| (known.major, known.minor) == (major, minor))
        .unwrap_or(list.len());
    if index == list.len() {
        list.push(IoMax {
            major,
            minor,
            ..IoMax::default()
        });
    }
    Ok(&mut list[index])
}

fn device(rule: &LinuxDeviceCgroup) -> Result<DeviceRule, Error> {
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A => DeviceKind::All,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        LinuxDeviceType::P => {
            return Err(invalid(
                "devices",
                rule,
                "a FIFO is no device to the kernel",
            ));
        }
    };
    // -1 is any, as in runc.
    let any = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(given) => u32::try_from(given)
            .map(Some)
            .map_err(|_| invalid("devices", rule, "there is no such device number")),
    };
    let access = match rule.access().as_deref() {
        None | Some("") => DeviceAccess::ALL,
        Some(text) => DeviceAccess::parse(text)
            .ok_or_else(|| invalid("devices", rule, "access is made of r, w and m"))?,
    };
    Ok(DeviceRule {
        allow: rule.allow(),
        kind,
        major: any(rule.major())?,
        minor: any(rule.minor())?,
        access,
    })
}

/// An amount of which zero means that it is not set.
fn set(setting: &str, given: Option<i64>) -> Result<Option<u64>, Error> {
    match given {
        None | Some(0) => Ok(None),
        Some(given) => amount(setting, given).map(Some),
    }
}

fn amount(setting: &str, given: i64) -> Result<u64, Error> {
    match given {
        -1 => Ok(UNLIMITED),
        given => u64::try_from(given)
            .map_err(|_| invalid(setting, given, "it is negative, and -1 alone is unlimited")),
    }
}

fn number(setting: &str, given: i64) -> Result<u32, Error> {
    u32::try_from(given).map_err(|_| invalid(setting, given, "there is no such device number"))
}

fn invalid(setting: &str, value: impl ToString, reason: &str) -> Error {
    Error::Invalid {
        setting: setting.to_owned(),
        value: value.to_string(),
        reason: reason.to_owned(),
    }
}
