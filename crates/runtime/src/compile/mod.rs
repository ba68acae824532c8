//! From a specification to a plan.
//!
//! Pure: what is read is the specification and the [`Host`] taken earlier; nothing is opened, made or changed. The same input
//! gives an equal result, from any thread.

pub mod capabilities;
mod devices;
mod error;
mod idmaps;
mod mounts;
pub(crate) mod namespaces;
pub(crate) mod options;
pub(crate) mod process;
mod sysctl;
#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hooks, Linux, Process, Spec};
use orlop_init::plan::{CBytes, Op, Plan, Slot, Source};
use orlop_namespaces::{IdMapHelper, IdMaps};

pub use error::{CompileError, Warning};

use crate::host::Host;
use crate::seccomp;
use namespaces::{NEWNET, NEWPID, NEWTIME, NEWUSER, NEWUTS, Namespaces};

/// What to do where the specification asks for more privilege than the caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clamp {
    /// It is an error.
    #[default]
    No,
    /// Grant what there is, and tell so by a [`Warning`].
    All,
}

/// Where the root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSource {
    /// A directory of the caller's, with what is mounted below it: bound.
    Directory(PathBuf),
    /// A mount attached nowhere, handed over at the start.
    Detached,
    /// Mounted by the container in its own namespaces.
    Recipe {
        /// File system type.
        fstype: CBytes,
        /// What the mount table shows as its source.
        source: CBytes,
        /// Options of the superblock.
        options: Vec<CBytes>,
        /// Where relative paths among the options begin.
        directory: Option<CBytes>,
    },
}

/// Which system-call filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeccompChoice {
    /// What the specification says, which may be none.
    #[default]
    Spec,
    /// Docker's default profile, for the container's bounding set.
    Docker,
}

/// How the standard streams are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Streams {
    /// Three file descriptors are handed over at the start.
    #[default]
    Handed,
    /// As `Handed`; the first is a terminal and becomes the controlling one.
    HandedTerminal,
}

/// What compiling needs beside the specification.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The machine and the caller's rights.
    pub host: &'a Host,
    /// Compiled filters.
    pub filters: &'a seccomp::Cache,
    /// The root.
    pub root: &'a RootSource,
    /// Where relative sources begin.
    pub bundle: Option<&'a Path>,
    /// More privilege than there is.
    pub clamp: Clamp,
    /// The filter.
    pub seccomp: SeccompChoice,
    /// Standard streams, where the specification asks for no terminal.
    pub streams: Streams,
    /// Further file descriptors handed over, by their number in the program.
    pub fds: &'a [u32],
    /// `newuidmap` and `newgidmap`, where the caller has them and wants them used.
    pub id_map_helper: Option<&'a IdMapHelper>,
}

/// What stands in a slot of the plan; the start opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// An existing namespace.
    Namespace {
        /// Its file.
        path: PathBuf,
        /// `CLONE_NEW*`.
        kind: u64,
    },
    /// The root, where it is [`RootSource::Detached`].
    Root,
    /// A file descriptor that becomes this number in the program.
    Fd(u32),
}

/// Slots as they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Slots(Vec<Need>);

impl Slots {
    fn need(&mut self, need: Need) -> Slot {
        let slot = slot(self.0.len());
        self.0.push(need);
        slot
    }
}

fn slot(place: usize) -> Slot {
    Slot(u16::try_from(place).unwrap_or(u16::MAX))
}

/// A compiled specification: everything of a start that does not depend on the single start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    before: Vec<Op>,
    clone_flags: u64,
    after: Vec<Op>,
    /// What the slots must hold, in order; the cgroup's follow.
    pub needs: Vec<Need>,
    /// Maps of a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// What was granted less fully than asked for.
    pub warnings: Vec<Warning>,
}

impl Compiled {
    /// Whether the container has a new pid namespace, so that nothing in it outlives its first process.
    pub fn own_pids(&self) -> bool {
        self.clone_flags & NEWPID != 0
    }

    /// The plan for a container that joins `v1` cgroups of v1 and is born in one of v2 if `v2`: its slots follow
    /// [`needs`](Self::needs), the v1 `tasks` files first.
    pub fn plan(&self, v1: usize, v2: bool) -> Plan {
        let first = self.needs.len();
        let mut ops = Vec::with_capacity(self.before.len() + v1 + 1 + self.after.len());
        ops.extend(self.before.iter().cloned());
        ops.extend((0..v1).map(|place| Op::JoinCgroupV1 {
            slot: slot(first + place),
        }));
        ops.push(Op::Clone {
            flags: self.clone_flags,
            cgroup: v2.then(|| slot(first + v1)),
        });
        ops.extend(self.after.iter().cloned());
        Plan::new(ops)
    }
}

/// Compile `spec`.
///
/// # Errors
/// [`CompileError`], naming the place in the specification.
pub fn compile(spec: &Spec, settings: &Settings<'_>) -> Result<Compiled, CompileError> {
    let Some(process) = spec.process() else {
        return Err(CompileError::invalid(
            "process",
            "there is no process to start",
        ));
    };
    let Some(linux) = spec.linux() else {
        return Err(CompileError::invalid(
            "linux",
            "is missing: a container needs namespaces",
        ));
    };
    refuse_unsupported(spec, process, linux)?;
    let mut warnings = Vec::new();
    let mut slots = Slots::default();
    let namespaces = namespaces::compile(linux, settings.host.privileged, &mut slots)?;
    let id_maps = idmaps::compile(linux, settings, &namespaces)?;

    let mut before = namespaces.joins.clone();
    let mut clone_flags = namespaces.new;
    if let Some(op) = namespaces::time_offsets(linux, &namespaces)? {
        // The operation makes the namespace itself: a clone would freeze its clocks before they are set.
        clone_flags &= !NEWTIME;
        before.push(op);
    }
    let mut limits = process::rlimits(process, settings, &mut warnings)?;
    limits.splice(..0, process::oom_score(process, settings)?);
    if namespaces.own(NEWUSER) && settings.host.privileged {
        // Raising them takes privilege on the host, which ends at the user namespace.
        before.append(&mut limits);
    }

    let mut after = Vec::new();
    if let Some(maps) = &id_maps {
        after.push(Op::AwaitIdMaps {
            uid: idmaps::first(&maps.uid),
            gid: idmaps::first(&maps.gid),
        });
    }
    after.extend([Op::NewSessionKeyring, Op::NewSession]);
    if namespaces.new & NEWNET != 0 {
        after.push(Op::LoopbackUp);
    }
    file_systems(
        spec,
        linux,
        process,
        settings,
        &namespaces,
        &mut slots,
        &mut after,
    )?;
    after.extend(sysctl::compile(linux.sysctl().as_ref(), &namespaces)?);
    names(spec, &namespaces, &mut after)?;
    after.append(&mut limits);
    let umask = process.user().umask().unwrap_or(0o022);
    after.push(Op::Umask {
        mask: umask & 0o777,
    });
    streams(process, settings, &mut slots, &mut after);
    identity(
        linux,
        process,
        settings,
        id_maps.as_ref(),
        &namespaces,
        &mut warnings,
        &mut after,
    )?;
    after.push(process::exec(process)?);
    Ok(Compiled {
        before,
        clone_flags,
        after,
        needs: slots.0,
        id_maps,
        warnings,
    })
}

/// Mounts, devices, the terminal that hangs on them, the change of root, and what is hidden afterwards.
fn file_systems(
    spec: &Spec,
    linux: &Linux,
    process: &Process,
    settings: &Settings<'_>,
    namespaces: &Namespaces,
    slots: &mut Slots,
    ops: &mut Vec<Op>,
) -> Result<(), CompileError> {
    ops.push(Op::Propagation {
        flags: root_propagation(linux)?,
    });
    ops.push(Op::Root {
        source: root(settings.root, slots)?,
        attributes: 0,
    });
    ops.extend(mounts::compile(spec, settings, namespaces)?);
    devices::compile(spec, ops)?;
    if process.terminal().unwrap_or(false) {
        let (rows, columns) = process::window(process)?;
        ops.push(Op::Terminal {
            rows,
            columns,
            console: true,
        });
    }
    let read_only = spec
        .root()
        .as_ref()
        .and_then(|root| root.readonly())
        .unwrap_or(false);
    let cwd = process::working_directory(process)?;
    if read_only && cwd != b"/" {
        ops.push(Op::Mkdir {
            target: cwd,
            mode: 0o755,
        });
    }
    ops.push(Op::Pivot);
    for (place, path) in linux.masked_paths().iter().flatten().enumerate() {
        ops.push(Op::Mask {
            target: text::target(Path::new(path), &format!("linux.maskedPaths[{place}]"))?,
        });
    }
    for (place, path) in linux.readonly_paths().iter().flatten().enumerate() {
        ops.push(Op::ReadOnly {
            target: text::target(Path::new(path), &format!("linux.readonlyPaths[{place}]"))?,
        });
    }
    if read_only {
        ops.push(Op::RootReadOnly);
    }
    Ok(())
}

fn root(source: &RootSource, slots: &mut Slots) -> Result<Source, CompileError> {
    Ok(match source {
        RootSource::Directory(path) => Source::HostPath {
            path: text::target(path, "root.path")?,
            recursive: true,
        },
        RootSource::Detached => Source::Detached(slots.need(Need::Root)),
        RootSource::Recipe {
            fstype,
            source,
            options,
            directory: None,
        } => Source::New {
            fstype: fstype.clone(),
            source: source.clone(),
            options: options.clone(),
        },
        RootSource::Recipe {
            fstype,
            source,
            options,
            directory: Some(directory),
        } => Source::NewIn {
            directory: directory.clone(),
            fstype: fstype.clone(),
            source: source.clone(),
            options: options.clone(),
        },
    })
}

fn root_propagation(linux: &Linux) -> Result<u64, CompileError> {
    let at = "linux.rootfsPropagation";
    match linux.rootfs_propagation().as_deref() {
        None | Some("") => Ok(options::MS_PRIVATE),
        Some(name) => match options::propagation(name) {
            Some(flags) if flags & options::MS_SHARED != 0 => {
                Err(CompileError::unsupported(at, "a shared root"))
            }
            Some(flags) => {
                Ok(flags & (options::MS_PRIVATE | options::MS_SLAVE | options::MS_UNBINDABLE))
            }
            None => Err(CompileError::invalid(
                at,
                format!("{name} is no kind of propagation"),
            )),
        },
    }
}

fn names(spec: &Spec, namespaces: &Namespaces, ops: &mut Vec<Op>) -> Result<(), CompileError> {
    for (name, at) in [
        (spec.hostname(), "hostname"),
        (spec.domainname(), "domainname"),
    ] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
            continue;
        };
        if !namespaces.own(NEWUTS) {
            return Err(CompileError::invalid(
                at,
                "needs a uts namespace of the container's own",
            ));
        }
        // The kernel's __NEW_UTS_LEN.
        if name.len() > 64 {
            return Err(CompileError::invalid(at, "is longer than 64 bytes"));
        }
        let name = text::string(name, at)?;
        ops.push(if at == "hostname" {
            Op::Hostname { name }
        } else {
            Op::Domainname { name }
        });
    }
    Ok(())
}

fn streams(process: &Process, settings: &Settings<'_>, slots: &mut Slots, ops: &mut Vec<Op>) {
    let standard: &[u32] = if process.terminal().unwrap_or(false) {
        &[]
    } else {
        &[0, 1, 2]
    };
    for fd in standard.iter().chain(settings.fds) {
        ops.push(Op::Fd {
            slot: slots.need(Need::Fd(*fd)),
            fd: *fd,
        });
    }
    if settings.streams == Streams::HandedTerminal && !standard.is_empty() {
        ops.push(Op::ControllingTerminal);
    }
}

/// From the set-up's privilege down to the program's own.
fn identity(
    linux: &Linux,
    process: &Process,
    settings: &Settings<'_>,
    maps: Option<&IdMaps>,
    namespaces: &Namespaces,
    warnings: &mut Vec<Warning>,
    ops: &mut Vec<Op>,
) -> Result<(), CompileError> {
    // A user namespace brings every capability the kernel knows, whatever the caller has.
    let grantable = if namespaces.own(NEWUSER) {
        settings.host.all_capabilities()
    } else {
        settings.host.bounding
    };
    let sets = capabilities::sets(
        process.capabilities().as_ref(),
        grantable,
        settings.clamp,
        warnings,
    )?;
    let filter = match (settings.seccomp, linux.seccomp()) {
        (SeccompChoice::Spec, None) => None,
        (SeccompChoice::Spec, Some(spec)) => {
            Some(settings.filters.profile(&seccomp::from_spec(spec)?)?)
        }
        (SeccompChoice::Docker, _) => {
            let arch = seccomp::Arch::native().ok_or(seccomp::Error::NoArchitecture)?;
            let facts = seccomp::Facts {
                arch,
                capabilities: sets.bounding,
                kernel: settings.host.kernel,
            };
            Some(settings.filters.docker_default(&facts)?)
        }
    };
    let filter = filter.map(|filter| Op::Seccomp {
        program: filter.program.to_vec(),
        flags: filter.flags,
        listener: filter.listener,
    });
    ops.push(Op::WorkingDirectory {
        path: process::working_directory(process)?,
        create: true,
    });
    let mut late = None;
    if process.no_new_privileges().unwrap_or(false) {
        ops.push(Op::NoNewPrivileges);
        late = filter;
    } else {
        // Loading a filter without no_new_privs takes CAP_SYS_ADMIN, which goes next.
        ops.extend(filter);
    }
    ops.push(Op::BoundingSet {
        keep: sets.bounding,
    });
    ops.push(process::user(process, maps, warnings)?);
    ops.push(sets.op());
    ops.extend(late);
    Ok(())
}

/// What the specification can say and this library cannot do: an error, since leaving it out silently would be a container
/// other than the one asked for.
fn refuse_unsupported(spec: &Spec, process: &Process, linux: &Linux) -> Result<(), CompileError> {
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let refused = [
        (
            spec.hooks().as_ref().is_some_and(any_hook),
            "hooks",
            "running hooks",
        ),
        (
            filled(process.apparmor_profile()),
            "process.apparmorProfile",
            "an AppArmor profile",
        ),
        (
            filled(process.selinux_label()),
            "process.selinuxLabel",
            "an SELinux label",
        ),
        (
            process.scheduler().is_some(),
            "process.scheduler",
            "a scheduling policy",
        ),
        (
            process.io_priority().is_some(),
            "process.ioPriority",
            "an I/O priority",
        ),
        (
            process.exec_cpu_affinity().is_some(),
            "process.execCPUAffinity",
            "a CPU affinity of exec",
        ),
        (
            filled(linux.mount_label()),
            "linux.mountLabel",
            "an SELinux label",
        ),
        (
            linux.intel_rdt().is_some(),
            "linux.intelRdt",
            "resource director technology",
        ),
        (
            linux.memory_policy().is_some(),
            "linux.memoryPolicy",
            "a memory policy",
        ),
        (
            linux.personality().is_some(),
            "linux.personality",
            "a personality",
        ),
        (
            linux
                .net_devices()
                .as_ref()
                .is_some_and(|devices| !devices.is_empty()),
            "linux.netDevices",
            "moving network devices",
        ),
        (spec.vm().is_some(), "vm", "a virtual machine"),
    ];
    match refused.into_iter().find(|(present, ..)| *present) {
        Some((_, at, what)) => Err(CompileError::unsupported(at, what)),
        None => Ok(()),
    }
}

fn any_hook(hooks: &Hooks) -> bool {
    #[allow(deprecated)] // Still valid in a configuration.
    let prestart = hooks.prestart();
    [
        prestart,
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ]
    .into_iter()
    .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}
