//! `process`: what the program is and what it may do.

use std::os::unix::ffi::OsStrExt;

use oci_spec::runtime::{PosixRlimitType, Process};
use orlop_init::plan::{CBytes, Op};
use orlop_namespaces::IdMaps;

use super::{Clamp, CompileError, Settings, Warning, idmaps, text};

/// Where programs are looked for when the environment does not say: Docker's default.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The kernel's numbers of the resources (`asm-generic/resource.h`), which both supported architectures use.
fn resource(kind: PosixRlimitType) -> (u32, &'static str) {
    match kind {
        PosixRlimitType::RlimitCpu => (0, "RLIMIT_CPU"),
        PosixRlimitType::RlimitFsize => (1, "RLIMIT_FSIZE"),
        PosixRlimitType::RlimitData => (2, "RLIMIT_DATA"),
        PosixRlimitType::RlimitStack => (3, "RLIMIT_STACK"),
        PosixRlimitType::RlimitCore => (4, "RLIMIT_CORE"),
        PosixRlimitType::RlimitRss => (5, "RLIMIT_RSS"),
        PosixRlimitType::RlimitNproc => (6, "RLIMIT_NPROC"),
        PosixRlimitType::RlimitNofile => (7, "RLIMIT_NOFILE"),
        PosixRlimitType::RlimitMemlock => (8, "RLIMIT_MEMLOCK"),
        PosixRlimitType::RlimitAs => (9, "RLIMIT_AS"),
        PosixRlimitType::RlimitLocks => (10, "RLIMIT_LOCKS"),
        PosixRlimitType::RlimitSigpending => (11, "RLIMIT_SIGPENDING"),
        PosixRlimitType::RlimitMsgqueue => (12, "RLIMIT_MSGQUEUE"),
        PosixRlimitType::RlimitNice => (13, "RLIMIT_NICE"),
        PosixRlimitType::RlimitRtprio => (14, "RLIMIT_RTPRIO"),
        PosixRlimitType::RlimitRttime => (15, "RLIMIT_RTTIME"),
    }
}

/// `CAP_SYS_RESOURCE`.
const RAISE_LIMITS: u64 = 1 << 24;

pub(super) fn rlimits(
    process: &Process,
    settings: &Settings<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Op>, CompileError> {
    let mut ops: Vec<Op> = Vec::new();
    for (place, limit) in process.rlimits().iter().flatten().enumerate() {
        let at = format!("process.rlimits[{place}]");
        let (number, name) = resource(limit.typ());
        let (mut soft, mut hard) = (limit.soft(), limit.hard());
        if soft > hard {
            return Err(CompileError::invalid(
                at,
                format!("the soft limit {soft} is above the hard limit {hard}"),
            ));
        }
        if ops
            .iter()
            .any(|op| matches!(op, Op::Rlimit { resource, .. } if *resource == number))
        {
            return Err(CompileError::invalid(
                at,
                format!("{name} is there already"),
            ));
        }
        let own = settings
            .host
            .hard_limits
            .get(number as usize)
            .copied()
            .unwrap_or(u64::MAX);
        if hard > own && settings.host.capabilities & RAISE_LIMITS == 0 {
            if settings.clamp == Clamp::No {
                return Err(CompileError::Privilege {
                    at,
                    what: format!("{name} {hard}, above the caller's {own},"),
                });
            }
            warnings.push(Warning::RlimitClamped {
                resource: name.to_owned(),
                asked: hard,
                granted: own,
            });
            hard = own;
            soft = soft.min(own);
        }
        ops.push(Op::Rlimit {
            resource: number,
            soft,
            hard,
        });
    }
    Ok(ops)
}

pub(super) fn oom_score(
    process: &Process,
    settings: &Settings<'_>,
) -> Result<Option<Op>, CompileError> {
    let Some(value) = process.oom_score_adj() else {
        return Ok(None);
    };
    if !(-1000..=1000).contains(&value) {
        return Err(CompileError::invalid(
            "process.oomScoreAdj",
            format!("{value} is not within -1000 to 1000"),
        ));
    }
    Ok(Some(Op::OomScoreAdj {
        value,
        clamp: settings.clamp == Clamp::All,
    }))
}

/// The program's identity. In a user namespace without `setgroups`, supplementary groups cannot be had.
pub(super) fn user(
    process: &Process,
    maps: Option<&IdMaps>,
    warnings: &mut Vec<Warning>,
) -> Result<Op, CompileError> {
    let user = process.user();
    let (uid, gid) = (user.uid(), user.gid());
    let wanted = user.additional_gids().clone().unwrap_or_default();
    if uid == u32::MAX || gid == u32::MAX || wanted.contains(&u32::MAX) {
        return Err(CompileError::invalid("process.user", "4294967295 is no id"));
    }
    let groups = match maps {
        None => Some(wanted),
        Some(maps) => {
            for (map, id, at) in [
                (&maps.uid, uid, "process.user.uid"),
                (&maps.gid, gid, "process.user.gid"),
            ] {
                if !idmaps::holds(map, id) {
                    return Err(CompileError::invalid(
                        at,
                        format!("{id} is not mapped in the user namespace"),
                    ));
                }
            }
            if maps.setgroups {
                let (held, lost) = wanted
                    .into_iter()
                    .partition(|group| idmaps::holds(&maps.gid, *group));
                drop_groups(lost, warnings);
                Some(held)
            } else {
                // The group itself needs no leave.
                drop_groups(
                    wanted.into_iter().filter(|group| *group != gid).collect(),
                    warnings,
                );
                None
            }
        }
    };
    Ok(Op::User {
        uid,
        gid,
        groups,
        keep_caps: uid != 0,
    })
}

fn drop_groups(groups: Vec<u32>, warnings: &mut Vec<Warning>) {
    if !groups.is_empty() {
        warnings.push(Warning::GroupsDropped { groups });
    }
}

pub(super) fn exec(process: &Process) -> Result<Op, CompileError> {
    let mut argv = Vec::new();
    for (place, argument) in process.args().iter().flatten().enumerate() {
        argv.push(text::string(argument, &format!("process.args[{place}]"))?);
    }
    let mut env = Vec::new();
    for (place, variable) in process.env().iter().flatten().enumerate() {
        let at = format!("process.env[{place}]");
        if variable.starts_with('=') || !variable.contains('=') {
            return Err(CompileError::invalid(at, "is not NAME=value"));
        }
        env.push(text::string(variable, &at)?);
    }
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(CompileError::invalid(
            "process.args",
            "there is no program to start",
        ));
    };
    // The last of two settings counts, as with the program's own getenv after putenv.
    let path = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix(b"PATH="))
        .unwrap_or(DEFAULT_PATH.as_bytes());
    Ok(Op::Exec {
        candidates: candidates(program, path),
        argv,
        env,
    })
}

/// What `execvp` would try, in its order.
fn candidates(program: &[u8], path: &[u8]) -> Vec<CBytes> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let mut out: Vec<CBytes> = Vec::new();
    for directory in path.split(|byte| *byte == b':') {
        // An empty entry is the working directory.
        let directory: &[u8] = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let separator: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
        let candidate = [directory, separator, program].concat();
        if !out.contains(&candidate) {
            out.push(candidate);
        }
    }
    out
}

pub(super) fn working_directory(process: &Process) -> Result<CBytes, CompileError> {
    let cwd = process.cwd();
    if cwd.as_os_str().is_empty() {
        return Ok(b"/".to_vec());
    }
    if !cwd.is_absolute() {
        return Err(CompileError::invalid(
            "process.cwd",
            format!("{} is not an absolute path", cwd.display()),
        ));
    }
    text::bytes(cwd.as_os_str().as_bytes(), "process.cwd")
}

/// Rows and columns of the terminal; none is a size the program may choose.
pub(super) fn window(process: &Process) -> Result<(u16, u16), CompileError> {
    let Some(size) = process.console_size() else {
        return Ok((0, 0));
    };
    let fit = |value: u64, name: &str| {
        u16::try_from(value).map_err(|_| {
            CompileError::invalid(
                format!("process.consoleSize.{name}"),
                format!("{value} is above 65535"),
            )
        })
    };
    Ok((fit(size.height(), "height")?, fit(size.width(), "width")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_search() {
        let names = |program: &str, path: &str| {
            candidates(program.as_bytes(), path.as_bytes())
                .iter()
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("sh", "/usr/bin:/bin"), ["/usr/bin/sh", "/bin/sh"]);
        assert_eq!(names("/bin/sh", "/usr/bin"), ["/bin/sh"]);
        assert_eq!(names("./sh", "/usr/bin"), ["./sh"]);
        assert_eq!(names("sh", ":/bin/:/bin/"), ["./sh", "/bin/sh"]);
        assert_eq!(names("sh", ""), ["./sh"]);
    }
}
