//! Making a new cgroup in every hierarchy, or in none.

use std::io;
use std::sync::Arc;

use crate::apply;
use crate::cgroup::Cgroup;
use crate::controller::{Controller, Controllers};
use crate::dir::{Dir, Hierarchy, Version};
use crate::error::Error;
use crate::layout::{Cgroups, Mode};
use crate::limits::{Limits, Target, settings};
use crate::path::CgroupPath;

/// How often to start again when somebody else removes a parent between two steps.
const ATTEMPTS: u32 = 20;

pub(crate) fn create(
    cgroups: &Cgroups,
    path: &CgroupPath,
    limits: &Limits,
) -> Result<Cgroup, Error> {
    let dirs: Vec<Dir> = cgroups
        .for_creation()
        .map(|hierarchy| Dir::new(hierarchy, path.as_str()))
        .collect();
    // What is wrong with the limits themselves is found before anything is touched.
    let required: Controllers = settings(limits, &|controller| apply::place(&dirs, controller))?
        .iter()
        .filter_map(|setting| match setting.target {
            Target::Of(controller) => Some(controller),
            Target::V2 => None,
        })
        .collect();
    let mut made = Made(Vec::with_capacity(dirs.len() + 2));
    for dir in &dirs {
        match dir.hierarchy.version {
            Version::V1 => make_v1(dir, path, &mut made)?,
            Version::V2 => make_v2(dir, path, cgroups.mode(), required, &mut made)?,
        }
    }
    apply::apply(&dirs, limits)?;
    made.0.clear();
    Ok(Cgroup::from_dirs(path.clone(), dirs))
}

/// The directories made so far; dropping it removes them again.
#[must_use = "dropping it at once removes nothing"]
struct Made(Vec<Dir>);

impl Drop for Made {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            // A parent that somebody else has begun to use stays: the kernel refuses.
            let _ = dir.rmdir();
        }
    }
}

fn make_v1(leaf: &Dir, path: &CgroupPath, made: &mut Made) -> Result<(), Error> {
    let cpuset = leaf.has(Controller::Cpuset);
    make(leaf, path, made, |dir, above| match cpuset {
        true => inherit_cpuset(dir, above),
        false => Ok(()),
    })
}

fn make_v2(
    leaf: &Dir,
    path: &CgroupPath,
    mode: Mode,
    required: Controllers,
    made: &mut Made,
) -> Result<(), Error> {
    let required = required.intersection(leaf.hierarchy.controllers);
    // Beside v1 nothing is switched on that was not asked for: a controller in use here is lost to v1.
    let usual = match mode {
        Mode::V2 => USUAL.into_iter().collect(),
        Mode::V1 | Mode::Hybrid => Controllers::NONE,
    };
    let wanted = required
        .union(usual)
        .intersection(leaf.hierarchy.controllers);
    for attempt in 1.. {
        let mut first_failure = None;
        make(leaf, path, made, |_, above| {
            if let Err(error) = enable(above, wanted) {
                first_failure.get_or_insert(error);
            }
            Ok(())
        })?;
        if required.is_empty() {
            break;
        }
        let available = Controllers::parse_v2(&leaf.read("cgroup.controllers")?);
        let Some(controller) = required.without(available).iter().next() else {
            break;
        };
        // A parent may have been removed and made again by somebody else between enabling and entering.
        if attempt < ATTEMPTS && first_failure.as_ref().is_none_or(has_gone) {
            let _ = leaf.rmdir();
            continue;
        }
        return Err(first_failure.unwrap_or_else(|| Error::NoController {
            needed: "a limit".to_owned(),
            controller,
            path: leaf.path(),
        }));
    }
    Ok(())
}

/// What a container's limits, their later changes and its statistics use; each further controller makes
/// every cgroup dearer, so `rdma` and `misc` are enabled only when asked for.
const USUAL: [Controller; 6] = [
    Controller::Cpu,
    Controller::Cpuset,
    Controller::Memory,
    Controller::Io,
    Controller::Pids,
    Controller::Hugetlb,
];

/// Makes the parents that are missing and the leaf that must be. `each` is called for every directory on
/// the way, made or found, with the one above it: for v2 before the directory is needed, for v1 after.
fn make(
    leaf: &Dir,
    path: &CgroupPath,
    made: &mut Made,
    mut each: impl FnMut(&Dir, &Dir) -> Result<(), Error>,
) -> Result<(), Error> {
    let hierarchy: &Arc<Hierarchy> = &leaf.hierarchy;
    let mut attempt = 0;
    'again: loop {
        attempt += 1;
        let mut above = Dir::new(hierarchy, "");
        for ancestor in path.ancestors() {
            let dir = Dir::new(hierarchy, ancestor);
            match dir.mkdir() {
                Ok(()) => made.0.push(dir.clone()),
                Err(error) => match error.kind() {
                    io::ErrorKind::AlreadyExists => {}
                    io::ErrorKind::NotFound if attempt < ATTEMPTS => continue 'again,
                    // A parent that is there but cannot be made may still be usable.
                    _ if dir.exists()? => {}
                    _ => return Err(Error::change("creating", dir.path(), error)),
                },
            }
            match each(&dir, &above) {
                Err(error) if attempt < ATTEMPTS && has_gone(&error) => continue 'again,
                other => other?,
            }
            above = dir;
        }
        match leaf.mkdir() {
            Ok(()) => made.0.push(leaf.clone()),
            Err(error) => match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    return Err(Error::AlreadyExists { path: leaf.path() });
                }
                io::ErrorKind::NotFound if attempt < ATTEMPTS => continue 'again,
                _ => return Err(Error::change("creating", leaf.path(), error)),
            },
        }
        return each(leaf, &above);
    }
}

/// Whether the directory was removed by somebody else while it was being worked in.
fn has_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } | Error::Set { source, .. }
        if matches!(source.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)))
}

/// A new v1 cpuset is empty, and no task may enter an empty one.
fn inherit_cpuset(dir: &Dir, above: &Dir) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !dir.read(file)?.trim().is_empty() {
            continue;
        }
        let value = above.read(file)?;
        let value = value.trim();
        dir.write_raw(file, value).map_err(|source| Error::Set {
            path: dir.path(),
            file: file.to_owned(),
            value: value.to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// Enables controllers for the children of `dir`, as many as it has.
fn enable(dir: &Dir, wanted: Controllers) -> Result<(), Error> {
    const FILE: &str = "cgroup.subtree_control";
    let missing = wanted.without(Controllers::parse_v2(&dir.read(FILE)?));
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.intersection(Controllers::parse_v2(&dir.read("cgroup.controllers")?));
    if missing.is_empty() {
        return Ok(());
    }
    // Not left to the kernel: cpu and pids it would enable beside processes, by turning the cgroup into the root
    // of a threaded subtree, in which no process can enter the child. Only the hierarchy's own root, which has
    // no type, may have both.
    if dir.has_file("cgroup.type") && !dir.read("cgroup.procs")?.is_empty() {
        return Err(Error::InternalProcesses {
            path: dir.path(),
            controllers: missing.to_string(),
            source: io::Error::from_raw_os_error(libc::EBUSY),
        });
    }
    let words: Vec<String> = missing.iter().map(|c| format!("+{c}")).collect();
    if dir.write_raw(FILE, &words.join(" ")).is_ok() {
        return Ok(());
    }
    // One that cannot be had (cpu, while real-time tasks run) must not keep back the others.
    let mut result = Ok(());
    for (controller, word) in missing.iter().zip(words) {
        if let Err(source) = dir.write_raw(FILE, &word) {
            let error = enable_failed(dir, controller, source);
            result = result.and(Err(error));
        }
    }
    result
}

fn enable_failed(dir: &Dir, controller: Controller, source: io::Error) -> Error {
    let path = dir.path();
    match source.raw_os_error() {
        Some(libc::EBUSY) => Error::InternalProcesses {
            path,
            controllers: controller.to_string(),
            source,
        },
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => Error::NotDelegated {
            path,
            action: format!("enabling {controller} for its children"),
            source,
        },
        _ => Error::Set {
            path,
            file: "cgroup.subtree_control".to_owned(),
            value: format!("+{controller}"),
            source,
        },
    }
}
