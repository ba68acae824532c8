//! Carrying out settings in the directories of a cgroup.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::pid::PidController;

use crate::controller::Controller;
use crate::devices::{DeviceRule, bpf};
use crate::dir::{Dir, Version};
use crate::error::Error;
use crate::limits::{Change, Limits, Setting, Target, settings};
use crate::sys;

/// Sets `limits` in the cgroup made of `dirs`.
pub(crate) fn apply(dirs: &[Dir], limits: &Limits) -> Result<(), Error> {
    let settings = settings(limits, &|controller| place(dirs, controller))?;
    if limits.memory_check_before_update {
        check_memory(dirs, limits)?;
    }
    // Some pairs of files must be written in an order that depends on their old values (limit and
    // memory plus swap, period and quota): what the kernel refuses is tried once more after the rest.
    let mut refused = Vec::new();
    for setting in &settings {
        match carry_out(dirs, setting) {
            Err(error @ Error::Set { .. }) if order_matters(setting, &error) => {
                refused.push((setting, error));
            }
            other => other?,
        }
    }
    for (setting, error) in refused {
        if carry_out(dirs, setting).is_err() {
            return Err(error);
        }
    }
    Ok(())
}

/// Which of the directories' hierarchies has a controller.
pub(crate) fn place(dirs: &[Dir], controller: Controller) -> Option<Version> {
    find(dirs, controller).map(|dir| dir.hierarchy.version)
}

fn find(dirs: &[Dir], controller: Controller) -> Option<&Dir> {
    dirs.iter().find(|dir| dir.has(controller))
}

fn order_matters(setting: &Setting, error: &Error) -> bool {
    let controller = matches!(
        setting.target,
        Target::Of(Controller::Memory | Controller::Cpu)
    );
    controller
        && matches!(error, Error::Set { source, .. }
            if matches!(source.raw_os_error(), Some(libc::EINVAL | libc::EBUSY)))
}

fn carry_out(dirs: &[Dir], setting: &Setting) -> Result<(), Error> {
    let dir = match setting.target {
        Target::Of(controller) => find(dirs, controller),
        Target::V2 => dirs.iter().find(|dir| dir.is_v2()),
    };
    let Some(dir) = dir else {
        return Err(Error::Unsupported {
            setting: describe(setting),
            reason: "no cgroup v2 hierarchy is mounted".to_owned(),
        });
    };
    let done = match &setting.change {
        Change::Write(files) => {
            let (file, value) = files
                .iter()
                .find(|(file, _)| files.len() == 1 || dir.has_file(file))
                .or(files.last())
                .map_or(("", ""), |(file, value)| (file.as_ref(), value.as_str()));
            dir.write_raw(file, value)
                .map_err(|source| (file.to_owned(), value.to_owned(), source))
        }
        Change::DeviceProgram(rules) => return device_program(dir, rules),
        change => through_cgroups_rs(dir, change),
    };
    let Err((file, value, source)) = done else {
        return Ok(());
    };
    // cgroups-rs opens with O_CREAT, which the kernel answers with EACCES where there is no such file.
    let lacking = matches!(
        source.raw_os_error(),
        Some(libc::ENOENT | libc::EACCES | libc::EPERM)
    ) && !dir.has_file(&file);
    match lacking {
        true if setting.may_lack => Ok(()),
        true => Err(lacks(dir, setting, file)),
        false => Err(Error::Set {
            path: dir.path(),
            file,
            value,
            source,
        }),
    }
}

fn lacks(dir: &Dir, setting: &Setting, file: String) -> Error {
    if let Target::Of(controller) = setting.target
        && dir.is_v2()
    {
        let enabled = dir.read("cgroup.controllers").unwrap_or_default();
        if !enabled
            .split_ascii_whitespace()
            .any(|word| word == controller.name())
        {
            return Error::NoController {
                needed: file,
                controller,
                path: dir.path(),
            };
        }
    }
    Error::Unsupported {
        setting: file,
        reason: "the kernel has no such file".to_owned(),
    }
}

fn describe(setting: &Setting) -> String {
    match &setting.change {
        Change::Write(files) => files
            .first()
            .map_or(String::new(), |(file, _)| file.to_string()),
        Change::DeviceProgram(_) => "devices".to_owned(),
        other => format!("{other:?}"),
    }
}

type Refused = (String, String, io::Error);

/// The setters of cgroups-rs that are sound in both versions; the crate's documentation says why only
/// these.
fn through_cgroups_rs(dir: &Dir, change: &Change) -> Result<(), Refused> {
    let (path, v2) = (dir.path(), dir.is_v2());
    let root = || dir.hierarchy.mount.clone();
    let named = |v1: &str, two: &str| if v2 { two.to_owned() } else { v1.to_owned() };
    let (file, value, result) = match change {
        Change::Pids(max) => {
            let value = max.map_or("max".to_owned(), |max| max.to_string());
            // Beyond what fits, the kernel has no more pids to give either.
            let max = max.map_or(MaxValue::Max, |max| {
                MaxValue::Value(i64::try_from(max).unwrap_or(i64::MAX))
            });
            let pids = PidController::new(path, root(), v2);
            ("pids.max".to_owned(), value, pids.set_pid_max(max))
        }
        Change::Weight(weight) => {
            let cpu = CpuController::new(path, root(), v2);
            let file = named("cpu.shares", "cpu.weight");
            (file, weight.to_string(), cpu.set_shares(*weight))
        }
        Change::Quota { quota, period } => quota_and_period(&path, root(), v2, *quota, *period),
        Change::Cpus(list) => {
            let cpuset = CpuSetController::new(path, root(), v2);
            (
                "cpuset.cpus".to_owned(),
                list.clone(),
                cpuset.set_cpus(list),
            )
        }
        Change::Mems(list) => {
            let cpuset = CpuSetController::new(path, root(), v2);
            (
                "cpuset.mems".to_owned(),
                list.clone(),
                cpuset.set_mems(list),
            )
        }
        Change::Write(_) | Change::DeviceProgram(_) => return Ok(()),
    };
    result.map_err(|error| (file, value, cause(&error)))
}

fn quota_and_period(
    path: &Path,
    root: std::path::PathBuf,
    v2: bool,
    quota: Option<Option<u64>>,
    period: Option<u64>,
) -> (String, String, cgroups_rs::fs::error::Result<()>) {
    // The caller has checked that a quota fits.
    let us = quota.map(|quota| quota.map_or(-1, |us| i64::try_from(us).unwrap_or(i64::MAX)));
    let file = match (v2, quota) {
        (true, _) => "cpu.max",
        (false, Some(_)) => "cpu.cfs_quota_us",
        (false, None) => "cpu.cfs_period_us",
    };
    let shown = |us: i64| {
        if v2 && us < 0 {
            "max".to_owned()
        } else {
            us.to_string()
        }
    };
    let value = [us.map(shown), period.map(|us| us.to_string())];
    let value = value.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let cpu = CpuController::new(path.to_owned(), root, v2);
    (
        file.to_owned(),
        value,
        cpu.set_cfs_quota_and_period(us, period),
    )
}

/// The kernel's answer inside an error of cgroups-rs.
fn cause(error: &cgroups_rs::fs::error::Error) -> io::Error {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match io.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

/// Refuses a memory limit below what is in use, when the caller asked for that.
fn check_memory(dirs: &[Dir], limits: &Limits) -> Result<(), Error> {
    let (Some(max), Some(dir)) = (limits.memory_max, find(dirs, Controller::Memory)) else {
        return Ok(());
    };
    let file = if dir.is_v2() {
        "memory.current"
    } else {
        "memory.usage_in_bytes"
    };
    let text = dir.read(file)?;
    let used: u64 = text
        .trim()
        .parse()
        .map_err(|_| dir.malformed(file, &text))?;
    if max < used {
        return Err(Error::Invalid {
            setting: "memory_max".to_owned(),
            value: max.to_string(),
            reason: format!("{used} bytes are in use"),
        });
    }
    Ok(())
}

/// Puts a device program in the place of those attached to the cgroup.
fn device_program(dir: &Dir, rules: &[DeviceRule]) -> Result<(), Error> {
    let failed = |action| {
        move |source| Error::DeviceProgram {
            action,
            path: dir.path(),
            source,
        }
    };
    let program = sys::load_device_program(&bpf::program(rules)).map_err(failed("loading"))?;
    let cgroup = dir
        .open_readable()
        .map_err(failed("opening the place of"))?;
    let old: Vec<OwnedFd> = sys::attached_device_programs(cgroup.as_fd())
        .map_err(failed("listing"))?
        .into_iter()
        .filter_map(|id| sys::program_by_id(id).ok())
        .collect();
    // With one there, the change is atomic where the kernel can (Linux 5.6). Otherwise both hold for a
    // moment, which denies more and never less.
    if let [one] = &old[..]
        && sys::attach_device_program(cgroup.as_fd(), program.as_fd(), Some(one.as_fd())).is_ok()
    {
        return Ok(());
    }
    sys::attach_device_program(cgroup.as_fd(), program.as_fd(), None)
        .map_err(failed("attaching"))?;
    for program in &old {
        sys::detach_device_program(cgroup.as_fd(), program.as_fd()).map_err(failed("replacing"))?;
    }
    Ok(())
}
