//! `mounts`: each entry becomes one operation, but for control groups, which on v1 are many.

use std::os::unix::ffi::OsStrExt;

use oci_spec::runtime::{Mount, Spec};
use orlop_init::plan::{CBytes, Create, Op, Source};

use super::namespaces::{NEWCGROUP, NEWIPC, NEWNET, NEWPID, NEWUSER, Namespaces};
use super::options::{self, Options};
use super::{CompileError, Settings, text};
use crate::host::Hierarchy;

pub(super) fn compile(
    spec: &Spec,
    settings: &Settings<'_>,
    namespaces: &Namespaces,
) -> Result<Vec<Op>, CompileError> {
    let mut ops = Vec::new();
    for (place, mount) in spec.mounts().iter().flatten().enumerate() {
        let at = format!("mounts[{place}]");
        let target = text::target(mount.destination(), &format!("{at}.destination"))?;
        let kind = mount.typ().as_deref().unwrap_or("");
        let words = mount.options().as_deref().unwrap_or_default();
        let parsed = options::parse(words, kind == "bind", &at)?;
        if mount
            .uid_mappings()
            .as_ref()
            .is_some_and(|maps| !maps.is_empty())
            || mount
                .gid_mappings()
                .as_ref()
                .is_some_and(|maps| !maps.is_empty())
        {
            return Err(CompileError::unsupported(
                format!("{at}.uidMappings"),
                "an id-mapped mount",
            ));
        }
        match kind {
            _ if parsed.bind => ops.push(bind(mount, target, &parsed, settings, &at)?),
            "cgroup" | "cgroup2" => {
                control_groups(&mut ops, target, &parsed, settings, namespaces, &at)?
            }
            "" | "none" => {
                return Err(CompileError::invalid(
                    format!("{at}.type"),
                    "a mount that is no bind mount needs a type",
                ));
            }
            // A user namespace may not mount what shows a namespace it does not own.
            "proc" if namespaces.own(NEWUSER) && !namespaces.own(NEWPID) => {
                ops.push(host_bind(b"/proc", target, &parsed));
            }
            "mqueue" if namespaces.own(NEWUSER) && !namespaces.own(NEWIPC) => {
                ops.push(host_bind(b"/dev/mqueue", target, &parsed))
            }
            "sysfs" if namespaces.own(NEWUSER) && !namespaces.own(NEWNET) => {
                ops.push(host_bind(b"/sys", target, &parsed))
            }
            fstype => ops.push(new(fstype, mount, target, &parsed, &at)?),
        }
    }
    Ok(ops)
}

fn operation(source: Source, target: CBytes, create: Create, parsed: &Options) -> Op {
    Op::Mount {
        source,
        target,
        create,
        attributes: parsed.set,
        clear: parsed.clear,
        recursive: (parsed.recursive_set, parsed.recursive_clear),
        propagation: parsed.propagation,
    }
}

fn bind(
    mount: &Mount,
    target: CBytes,
    parsed: &Options,
    settings: &Settings<'_>,
    at: &str,
) -> Result<Op, CompileError> {
    let at = format!("{at}.source");
    let Some(source) = mount
        .source()
        .as_ref()
        .filter(|source| !source.as_os_str().is_empty())
    else {
        return Err(CompileError::invalid(at, "a bind mount needs a source"));
    };
    // The specification: a relative source is relative to the bundle.
    let path = match settings.bundle {
        Some(bundle) if source.is_relative() => bundle.join(source),
        _ => source.clone(),
    };
    if !path.is_absolute() {
        return Err(CompileError::invalid(
            at,
            format!("{} is not an absolute path", path.display()),
        ));
    }
    let path = text::bytes(path.as_os_str().as_bytes(), &at)?;
    Ok(operation(
        Source::HostPath {
            path,
            recursive: parsed.recursive_bind,
        },
        target,
        Create::LikeSource,
        parsed,
    ))
}

/// What the caller has mounted, where the container may not mount its own.
fn host_bind(path: &[u8], target: CBytes, parsed: &Options) -> Op {
    let mut parsed = parsed.clone();
    // The caller's mounts may be locked: flags are added, never taken away, and for everything below too.
    parsed.recursive_set |= parsed.set & options::RDONLY;
    parsed.clear = 0;
    parsed.recursive_clear = 0;
    operation(
        Source::HostPath {
            path: path.to_vec(),
            recursive: true,
        },
        target,
        Create::Dir,
        &parsed,
    )
}

fn new(
    fstype: &str,
    mount: &Mount,
    target: CBytes,
    parsed: &Options,
    at: &str,
) -> Result<Op, CompileError> {
    let source = match mount.source() {
        Some(source) => text::bytes(source.as_os_str().as_bytes(), &format!("{at}.source"))?,
        None => fstype.as_bytes().to_vec(),
    };
    let fstype = text::string(fstype, &format!("{at}.type"))?;
    Ok(operation(
        Source::New {
            fstype,
            source,
            options: parsed.data.clone(),
        },
        target,
        Create::Dir,
        parsed,
    ))
}

/// The tree of control groups as the container's cgroup namespace shows it: one mount on v2, a directory of mounts on v1.
fn control_groups(
    ops: &mut Vec<Op>,
    target: CBytes,
    parsed: &Options,
    settings: &Settings<'_>,
    namespaces: &Namespaces,
    at: &str,
) -> Result<(), CompileError> {
    if !namespaces.own(NEWCGROUP) {
        // Without one, a mount would show the host's whole tree.
        return Err(CompileError::unsupported(
            at,
            "a cgroup mount without a cgroup namespace",
        ));
    }
    let made = |fstype: &str, options: Vec<CBytes>| Source::New {
        fstype: fstype.into(),
        source: fstype.into(),
        options,
    };
    let v1: Vec<&str> = settings
        .host
        .hierarchies
        .iter()
        .filter_map(|hierarchy| match hierarchy {
            Hierarchy::V1(controllers) => Some(controllers.as_str()),
            Hierarchy::V2 => None,
        })
        .collect();
    if v1.is_empty() {
        ops.push(operation(
            made("cgroup2", Vec::new()),
            target,
            Create::Dir,
            parsed,
        ));
        return Ok(());
    }
    let directory = Options {
        set: parsed.set & !options::RDONLY,
        ..Options::default()
    };
    let mode = vec![b"mode=755".to_vec()];
    ops.push(operation(
        made("tmpfs", mode),
        target.clone(),
        Create::Dir,
        &directory,
    ));
    let below = |name: &str| [&target[..], b"/", name.as_bytes()].concat();
    for controllers in v1 {
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let options = controllers
            .split(',')
            .map(|controller| controller.as_bytes().to_vec())
            .collect();
        ops.push(operation(
            made("cgroup", options),
            below(name),
            Create::Dir,
            parsed,
        ));
        for single in name.split(',').filter(|single| *single != name) {
            ops.push(Op::Symlink {
                target: below(single),
                link: name.into(),
            });
        }
    }
    if settings.host.hierarchies.contains(&Hierarchy::V2) {
        ops.push(operation(
            made("cgroup2", Vec::new()),
            below("unified"),
            Create::Dir,
            parsed,
        ));
    }
    if parsed.set & options::RDONLY != 0 {
        ops.push(Op::ReadOnly { target });
    }
    Ok(())
}
