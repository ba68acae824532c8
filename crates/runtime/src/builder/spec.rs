//! From a builder's settings to a specification: the one form that is compiled.

use std::collections::HashMap;
use std::path::Path;

use oci_spec::runtime::{
    BoxBuilder, Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpu, LinuxIdMapping,
    LinuxIdMappingBuilder, LinuxMemory, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPids,
    LinuxResources, PosixRlimitBuilder, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder,
    UserBuilder,
};
use orlop_namespaces::IdMap;

use super::defaults::{self, MountFacts};
use super::settings::{Container, Network, Seccomp, UserNamespace};
use crate::compile::{Warning, capabilities, process::DEFAULT_PATH};
use crate::host::Host;
use crate::id::ContainerId;
use crate::rootfs::View;
use crate::rootfs::users;
use crate::{Clamp, Error};

/// What making a specification needs beside the settings.
pub(super) struct Facts<'a> {
    pub(super) id: &'a ContainerId,
    pub(super) host: &'a Host,
    pub(super) clamp: Clamp,
    /// The container will have a cgroup, if the caller may make one.
    pub(super) cgroups: bool,
    /// Where the user's names are looked up.
    pub(super) root: &'a View,
}

fn built<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|error| Error::invalid(error.to_string()))
}

pub(super) fn make(
    settings: &Container,
    facts: &Facts<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Spec, Error> {
    let maps = maps(settings, facts.host);
    let own_users = maps.is_some();
    let mut spec = SpecBuilder::default()
        .version("1.2.0")
        .root(built(
            RootBuilder::default()
                .path("/")
                .readonly(settings.read_only)
                .build(),
        )?)
        .process(process(settings, facts, own_users, warnings)?)
        .mounts(mounts(settings, facts, maps.as_ref())?)
        .linux(linux(settings, facts, maps.as_ref())?);
    if !settings.host_uts {
        spec = spec.hostname(
            settings
                .hostname
                .clone()
                .unwrap_or_else(|| facts.id.short().to_owned()),
        );
        if let Some(name) = &settings.domainname {
            spec = spec.domainname(name.clone());
        }
    }
    let mut spec = built(spec.build())?;
    if settings.host_uts {
        // The builder's own default is another runtime's name.
        spec.set_hostname(settings.hostname.clone());
    }
    Ok(spec)
}

/// The maps of users and of groups, where there is a new user namespace.
type Maps = (Vec<IdMap>, Vec<IdMap>);

fn maps(settings: &Container, host: &Host) -> Option<Maps> {
    let single = |outside| {
        vec![IdMap {
            inside: 0,
            outside,
            length: 1,
        }]
    };
    match &settings.user_namespace {
        UserNamespace::Host => None,
        UserNamespace::Auto if host.privileged => None,
        UserNamespace::Auto | UserNamespace::Own => Some((single(host.uid), single(host.gid))),
        UserNamespace::Map { uid, gid } => Some((uid.clone(), gid.clone())),
    }
}

fn mappings(maps: &[IdMap]) -> Result<Vec<LinuxIdMapping>, Error> {
    let one = |map: &IdMap| {
        built(
            LinuxIdMappingBuilder::default()
                .container_id(map.inside)
                .host_id(map.outside)
                .size(map.length)
                .build(),
        )
    };
    maps.iter().map(one).collect()
}

fn process(
    settings: &Container,
    facts: &Facts<'_>,
    own_users: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Process, Error> {
    let resolved = users::resolve(facts.root, &settings.user)?;
    // The group itself is among the supplementary ones, or a program that drops it would lose what the group forbids
    // (CVE-2022-36109).
    let mut groups = vec![resolved.gid];
    for group in settings
        .group_add
        .iter()
        .map(|group| users::resolve_group(facts.root, group))
    {
        groups.push(group?);
    }
    for group in &resolved.groups {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    let mut user = UserBuilder::default()
        .uid(resolved.uid)
        .gid(resolved.gid)
        .additional_gids(groups);
    if let Some(umask) = settings.umask {
        user = user.umask(umask);
    }
    let mut process = ProcessBuilder::default()
        .user(built(user.build())?)
        .args(settings.command.clone())
        .env(environment(settings, facts, &resolved.home)?)
        .cwd(settings.cwd.clone().unwrap_or_else(|| "/".into()))
        .no_new_privileges(settings.no_new_privileges)
        .terminal(settings.terminal.is_some());
    if let Some((rows, columns)) = settings.terminal {
        process = process.console_size(built(
            BoxBuilder::default().height(rows).width(columns).build(),
        )?);
    }
    let mut limits = Vec::new();
    for limit in &settings.rlimits {
        limits.push(built(
            PosixRlimitBuilder::default()
                .typ(limit.resource)
                .soft(limit.soft)
                .hard(limit.hard)
                .build(),
        )?);
    }
    process = process.rlimits(limits);
    if let Some(score) = settings.oom_score_adj {
        process = process.oom_score_adj(score);
    }
    let set = capabilities::to_spec(granted(settings, facts, own_users, warnings)?);
    // Inheritable and ambient stay empty: a file with inheritable capabilities would otherwise give them to any user
    // (CVE-2022-24769).
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(capabilities::to_spec(0))
        .ambient(capabilities::to_spec(0));
    built(process.capabilities(built(sets.build())?).build())
}

/// The environment: Docker's three variables and the home, unless they are set.
fn environment(settings: &Container, facts: &Facts<'_>, home: &str) -> Result<Vec<String>, Error> {
    let mut out: Vec<String> = Vec::new();
    let hostname = settings
        .hostname
        .clone()
        .unwrap_or_else(|| facts.id.short().to_owned());
    let mut defaults = vec![("PATH", DEFAULT_PATH), ("HOME", home)];
    if settings.hostname.is_some() || !settings.host_uts {
        defaults.push(("HOSTNAME", &hostname));
    }
    if settings.terminal.is_some() {
        defaults.push(("TERM", "xterm"));
    }
    for (name, value) in defaults {
        if !settings.env.iter().any(|(set, _)| set == name) {
            out.push(format!("{name}={value}"));
        }
    }
    for (place, (name, value)) in settings.env.iter().enumerate() {
        if name.is_empty() || name.contains('=') {
            return Err(Error::invalid(format!(
                "{name:?} is no name of an environment variable"
            )));
        }
        // The last of several settings counts.
        if !settings
            .env
            .iter()
            .skip(place + 1)
            .any(|(later, _)| later == name)
        {
            out.push(format!("{name}={value}"));
        }
    }
    Ok(out)
}

/// Docker's default capabilities or all of them, with what is added and dropped. What is only a default is clamped to what the
/// caller has; what was asked for by name is not, unless the caller chose so.
fn granted(
    settings: &Container,
    facts: &Facts<'_>,
    own_users: bool,
    warnings: &mut Vec<Warning>,
) -> Result<u64, Error> {
    let all = facts.host.all_capabilities();
    let has = if own_users { all } else { facts.host.bounding };
    let named = |names: &[String]| -> Result<(bool, u64), Error> {
        let mut mask = 0;
        let mut every = false;
        for name in names {
            if name.eq_ignore_ascii_case("ALL") {
                every = true;
            } else {
                mask |= capabilities::bit(name)
                    .ok_or_else(|| Error::invalid(format!("there is no capability {name:?}")))?;
            }
        }
        Ok((every, mask))
    };
    let (add_all, added) = named(&settings.cap_add)?;
    let (drop_all, dropped) = named(&settings.cap_drop)?;
    let default = match () {
        () if settings.privileged || add_all => all,
        () if drop_all => 0,
        () => capabilities::DEFAULT & all,
    };
    let beyond = default & !dropped & !has & !added;
    if beyond != 0 {
        warnings.extend(
            capabilities::names(beyond)
                .into_iter()
                .map(|capability| Warning::CapabilityDropped { capability }),
        );
    }
    let by_name = added & !dropped;
    if by_name & !has != 0 && facts.clamp == Clamp::No && !settings.privileged {
        return Err(Error::Spec(crate::compile::CompileError::Privilege {
            at: "cap_add".into(),
            what: capabilities::names(by_name & !has).join(", "),
        }));
    }
    Ok(default & !dropped & has | by_name)
}

fn mounts(
    settings: &Container,
    facts: &Facts<'_>,
    maps: Option<&Maps>,
) -> Result<Vec<oci_spec::runtime::Mount>, Error> {
    const TTY: u32 = 5;
    let holds = |maps: &[IdMap]| {
        maps.iter()
            .any(|map| TTY >= map.inside && TTY - map.inside < map.length)
    };
    let mut out = defaults::mounts(&MountFacts {
        privileged: settings.privileged,
        tty_group: maps.is_none_or(|(_, gid)| holds(gid)),
        shm_size: settings.shm_size.unwrap_or(defaults::SHM_SIZE),
        cgroup: !facts.host.hierarchies.is_empty(),
        host_ipc: settings.host_ipc,
        mqueue: maps.is_none() || !settings.host_ipc || Path::new("/dev/mqueue").exists(),
    })?;
    for mount in &settings.mounts {
        // A mount of the caller's takes the place of a default one.
        out.retain(|default| default.destination() != mount.destination());
        out.push(mount.clone());
    }
    // What is mounted on something comes after it, in whatever order they were given.
    out.sort_by_key(|mount| mount.destination().components().count());
    Ok(out)
}

fn linux(settings: &Container, facts: &Facts<'_>, maps: Option<&Maps>) -> Result<Linux, Error> {
    let mut namespaces = vec![
        (LinuxNamespaceType::Mount, None),
        (LinuxNamespaceType::Cgroup, None),
    ];
    for (kind, shared) in [
        (LinuxNamespaceType::Pid, settings.host_pid),
        (LinuxNamespaceType::Ipc, settings.host_ipc),
        (LinuxNamespaceType::Uts, settings.host_uts),
    ] {
        if !shared {
            namespaces.push((kind, None));
        }
    }
    match &settings.network {
        Network::None => namespaces.push((LinuxNamespaceType::Network, None)),
        Network::Host => {}
        Network::Namespace(path) => {
            namespaces.push((LinuxNamespaceType::Network, Some(path.clone())))
        }
    }
    if maps.is_some() {
        namespaces.push((LinuxNamespaceType::User, None));
    }
    let mut list = Vec::new();
    for (kind, path) in namespaces {
        let mut namespace = LinuxNamespaceBuilder::default().typ(kind);
        if let Some(path) = path {
            namespace = namespace.path(path);
        }
        list.push(built(namespace.build())?);
    }
    let hidden = |chosen: &Option<Vec<String>>, default: &[&str]| match chosen {
        Some(paths) => paths.clone(),
        None if settings.privileged => Vec::new(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    let mut linux = LinuxBuilder::default()
        .namespaces(list)
        .masked_paths(hidden(&settings.masked_paths, &defaults::MASKED))
        .readonly_paths(hidden(&settings.readonly_paths, &defaults::READ_ONLY))
        .sysctl(settings.sysctls.iter().cloned().collect::<HashMap<_, _>>())
        .devices(settings.devices.clone())
        .resources(resources(settings, facts, maps.is_some())?);
    if let Some((uid, gid)) = maps {
        linux = linux
            .uid_mappings(mappings(uid)?)
            .gid_mappings(mappings(gid)?);
    }
    if let Seccomp::Profile(profile) = &settings.seccomp {
        linux = linux.seccomp((**profile).clone());
    }
    built(linux.build())
}

const CPU_PERIOD_US: u64 = 100_000;
/// Docker's least memory limit: below it not even the set-up fits.
const LEAST_MEMORY: u64 = 6 << 20;

fn resources(
    settings: &Container,
    facts: &Facts<'_>,
    own_users: bool,
) -> Result<LinuxResources, Error> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut out = LinuxResources::default();
    if let Some(limit) = settings.memory.filter(|limit| *limit < LEAST_MEMORY) {
        return Err(Error::invalid(format!(
            "a memory limit of {limit} bytes is below the least one, 6 MiB"
        )));
    }
    if settings.memory.is_some()
        || settings.memory_swap.is_some()
        || settings.memory_reservation.is_some()
    {
        let mut memory = LinuxMemory::default();
        memory.set_limit(settings.memory.map(signed));
        memory.set_reservation(settings.memory_reservation.map(signed));
        // As much swap as memory, unless told otherwise.
        memory.set_swap(
            settings
                .memory_swap
                .or_else(|| settings.memory.map(|limit| signed(limit.saturating_mul(2)))),
        );
        out.set_memory(Some(memory));
    }
    let mut cpu = LinuxCpu::default();
    if let Some(cpus) = settings.cpus {
        if !cpus.is_finite() || cpus <= 0.0 {
            return Err(Error::invalid(format!("{cpus} is no number of processors")));
        }
        // The kernel's smallest quota is a millisecond.
        let quota = (cpus * CPU_PERIOD_US as f64).round().clamp(1000.0, 1e15) as i64;
        cpu.set_quota(Some(quota));
        cpu.set_period(Some(CPU_PERIOD_US));
    }
    cpu.set_shares(settings.cpu_shares);
    cpu.set_cpus(settings.cpuset_cpus.clone());
    cpu.set_mems(settings.cpuset_mems.clone());
    if cpu != LinuxCpu::default() {
        out.set_cpu(Some(cpu));
    }
    if let Some(limit) = settings.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        out.set_pids(Some(pids));
    }
    // A user namespace makes no devices of its own, and its caller may not write the rules.
    if facts.host.privileged && facts.cgroups && !own_users && !settings.privileged {
        let mut rules = defaults::device_rules()?;
        for device in &settings.devices {
            rules.push(defaults::device_rule(
                true,
                device.typ(),
                Some(device.major()),
                Some(device.minor()),
                "rwm",
            )?);
        }
        out.set_devices(Some(rules));
    }
    Ok(out)
}
