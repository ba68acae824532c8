//! One start: from a specification to a running container, undone as a whole if any part fails.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Spec;
use orlop_cgroups::{Cgroup, CgroupPath, Join, Limits};
use orlop_namespaces::{IdMapHelper, IdMaps, Resources};
use rustix::fs::{Mode, OFlags};

use crate::compile::{self, Compiled, Need, SeccompChoice, Settings, Warning};
use crate::container::{self, Container};
use crate::id::ContainerId;
use crate::root::Root;
use crate::runtime::{Runtime, Shared};
use crate::state::{ProcessRecord, Record, start_time};
use crate::stdio::{self, Streams};
use crate::{Clamp, Error};

/// What both builders collect about the start itself.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub(crate) id: Option<ContainerId>,
    pub(crate) streams: Streams,
    pub(crate) fds: Vec<(u32, OwnedFd)>,
    pub(crate) clamp: Clamp,
    pub(crate) id_map_helper: Option<IdMapHelper>,
    pub(crate) cgroup: Option<CgroupPath>,
}

/// A specification with all that goes into its compilation.
pub(crate) struct Request<'a> {
    pub(crate) id: ContainerId,
    pub(crate) spec: &'a Spec,
    pub(crate) root: &'a Root,
    pub(crate) bundle: Option<&'a Path>,
    pub(crate) seccomp: SeccompChoice,
    pub(crate) launch: &'a Launch,
    pub(crate) warnings: Vec<Warning>,
}

impl Request<'_> {
    pub(crate) fn compile(
        &self,
        shared: &Shared,
        streams: compile::Streams,
    ) -> Result<Compiled, Error> {
        let fds: Vec<u32> = self.launch.fds.iter().map(|(number, _)| *number).collect();
        Ok(compile::compile(
            self.spec,
            &Settings {
                host: &shared.host,
                filters: &shared.filters,
                root: &self.root.source()?,
                bundle: self.bundle,
                clamp: self.launch.clamp,
                seccomp: self.seccomp,
                streams,
                fds: &fds,
                id_map_helper: self.launch.id_map_helper.as_ref(),
            },
        )?)
    }
}

pub(crate) fn start(runtime: &Runtime, request: Request<'_>) -> Result<Container, Error> {
    let shared = &runtime.shared;
    let terminal = request
        .spec
        .process()
        .as_ref()
        .and_then(|process| process.terminal())
        .unwrap_or(false);
    let limits = limits(request.spec)?;
    // Everything that is only the caller's own comes first: it needs no undoing.
    let compiled = request.compile(shared, compile::Streams::Handed)?;
    let opened = match terminal {
        true => stdio::Opened::default(),
        false => stdio::open(
            &request.launch.streams,
            stream_owner(request.spec, compiled.id_maps.as_ref(), shared),
        )?,
    };
    let compiled = match opened.terminal {
        true => request.compile(shared, compile::Streams::HandedTerminal)?,
        false => compiled,
    };
    let namespaces = open_namespaces(&compiled)?;
    let mut warnings = request.warnings.clone();
    warnings.extend(compiled.warnings.iter().cloned());

    let cgroup_path =
        match (&shared.cgroups, &request.launch.cgroup) {
            (None, _) => None,
            (Some(_), Some(path)) => Some(path.clone()),
            (Some((_, parent)), None) => Some(parent.join(request.id.as_str()).map_err(
                |source| Error::Cgroup {
                    doing: "naming",
                    source,
                },
            )?),
        };
    let mut record = Record {
        id: request.id.to_string(),
        cgroup: cgroup_path.as_ref().map(ToString::to_string),
        process: None,
    };
    shared.owner.record(&request.id, &record)?;
    let mut undo = Undo {
        shared,
        id: &request.id,
        cgroup: None,
        done: false,
    };

    undo.cgroup = make_cgroup(shared, cgroup_path.as_ref(), &limits, &mut warnings)?;
    let join = match &undo.cgroup {
        Some(cgroup) => cgroup.join().map_err(|source| Error::Cgroup {
            doing: "joining",
            source,
        })?,
        None => Join {
            v2: None,
            v1_tasks: Vec::new(),
        },
    };
    let plan = compiled.plan(join.v1_tasks.len(), join.v2.is_some());
    let slots = fill(&compiled, &namespaces, &opened, &request, &join)?;
    let started = shared
        .launcher
        .start(
            &plan,
            Resources {
                slots,
                id_maps: compiled.id_maps.clone(),
            },
        )
        .map_err(|source| Error::start(&plan, source))?;
    if undo.cgroup.is_none() {
        // Nothing else leads a collector to it.
        let pid = started.process.pid();
        record.process = start_time(pid).map(|start| ProcessRecord { pid, start });
        record.cgroup = None;
        // The container runs; a record that cannot be written must not end it.
        let _ = shared.owner.update(&request.id, &record);
    }
    let cgroup = undo.keep();
    Ok(Container::new(
        runtime.clone(),
        request.id.clone(),
        started,
        cgroup,
        opened,
        warnings,
        compiled.own_pids(),
    ))
}

/// What was made so far, removed again unless the start succeeds.
struct Undo<'a> {
    shared: &'a Shared,
    id: &'a ContainerId,
    cgroup: Option<Cgroup>,
    done: bool,
}

impl Undo<'_> {
    fn keep(mut self) -> Option<Cgroup> {
        self.done = true;
        self.cgroup.take()
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        match self.cgroup.take().map(container::remove_cgroup) {
            Some(Err(_)) => self.shared.owner.abandon(self.id),
            Some(Ok(())) | None => self.shared.owner.forget(self.id),
        }
    }
}

fn limits(spec: &Spec) -> Result<Limits, Error> {
    match spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref())
    {
        None => Ok(Limits::default()),
        Some(resources) => Limits::try_from(resources).map_err(|source| Error::Cgroup {
            doing: "reading the limits of",
            source,
        }),
    }
}

/// Without limits, a container can do without a cgroup; a caller who set some is told why there is none.
fn make_cgroup(
    shared: &Shared,
    path: Option<&CgroupPath>,
    limits: &Limits,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Cgroup>, Error> {
    let error = match (&shared.cgroups, path) {
        (Some((cgroups, _)), Some(path)) => match cgroups.create(path, limits) {
            Ok(cgroup) => return Ok(Some(cgroup)),
            Err(error) => error,
        },
        _ => orlop_cgroups::Error::NotMounted,
    };
    let dispensable = matches!(
        error.kind(),
        orlop_cgroups::ErrorKind::NotDelegated | orlop_cgroups::ErrorKind::Unsupported
    );
    if limits.is_empty() && dispensable {
        warnings.push(Warning::NoCgroup {
            reason: error.to_string(),
        });
        return Ok(None);
    }
    Err(Error::Cgroup {
        doing: "making",
        source: error,
    })
}

/// Who the program is outside, for the owner of its pipes.
fn stream_owner(spec: &Spec, maps: Option<&IdMaps>, shared: &Shared) -> Option<(u32, u32)> {
    let user = spec.process().as_ref()?.user();
    let outside = |maps: &[orlop_namespaces::IdMap], id: u32| {
        maps.iter()
            .find(|map| id >= map.inside && id - map.inside < map.length)
            .map(|map| map.outside + (id - map.inside))
    };
    let (uid, gid) = match maps {
        None => (user.uid(), user.gid()),
        Some(maps) => (
            outside(&maps.uid, user.uid())?,
            outside(&maps.gid, user.gid())?,
        ),
    };
    ((uid, gid) != (shared.host.uid, shared.host.gid)).then_some((uid, gid))
}

fn open_namespaces(compiled: &Compiled) -> Result<Vec<File>, Error> {
    let mut out = Vec::new();
    for need in &compiled.needs {
        if let Need::Namespace { path, .. } = need {
            let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|source| Error::io("opening the namespace", path, source))?;
            out.push(File::from(fd));
        }
    }
    Ok(out)
}

/// The plan's slots: what was compiled, then the cgroup's.
fn fill<'a>(
    compiled: &Compiled,
    namespaces: &'a [File],
    opened: &'a stdio::Opened,
    request: &'a Request<'_>,
    join: &'a Join,
) -> Result<Vec<BorrowedFd<'a>>, Error> {
    let mut namespaces = namespaces.iter();
    let mut slots = Vec::with_capacity(compiled.needs.len() + join.v1_tasks.len() + 1);
    for need in &compiled.needs {
        let fd = match need {
            Need::Namespace { .. } => namespaces.next().map(AsFd::as_fd),
            Need::Root => request.root.mount().map(AsFd::as_fd),
            Need::Fd(number) => opened
                .inside
                .get(*number as usize)
                .map(AsFd::as_fd)
                .or_else(|| {
                    request
                        .launch
                        .fds
                        .iter()
                        .find(|(n, _)| n == number)
                        .map(|(_, fd)| fd.as_fd())
                }),
        };
        slots.push(fd.ok_or_else(|| Error::invalid(format!("nothing was given for {need:?}")))?);
    }
    slots.extend(join.v1_tasks.iter().map(AsFd::as_fd));
    slots.extend(join.v2.as_ref().map(AsFd::as_fd));
    Ok(slots)
}
