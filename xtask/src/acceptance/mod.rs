//! Acceptance: real images go all the way, from a registry, an archive or this program itself to a running container, and back to
//! the tools others use.
//!
//! All of it happens in network, mount and pid namespaces of its own, so that a registry on loopback disturbs nobody and
//! nothing can stay behind unseen.

mod exchange;
pub(crate) mod fixtures;
mod leftovers;
mod refusals;
mod running;
mod user;
mod world;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::command::{cargo, check, is_root, run_lines, target};
use crate::tally::Tally;

use leftovers::Machine;
use world::World;

/// Longer than the slowest machine needs.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// One thing that must hold.
struct Check {
    name: &'static str,
    holds: fn(&World) -> Result<(), Failure>,
}

/// How to run the acceptance tests.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only checks whose name contains this, with those that fill the registry
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// What the outer process tells the inner one: the program under test and the Debian image
    #[arg(long, hide = true, num_args = 2, value_names = ["ORLOP", "DEBIAN"])]
    inside: Option<Vec<PathBuf>>,
}

/// `cargo xtask acceptance`.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let tally = match options.inside.as_deref() {
        Some([orlop, debian]) => inside(orlop, debian, options.filter.as_deref())?,
        _ => outside(options.filter.as_deref())?,
    };
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds what is needed and goes into namespaces of its own.
pub(crate) fn outside(filter: Option<&str>) -> Result<Tally, Failure> {
    if !is_root() {
        return Err("the acceptance tests need root: they mount, and start a registry in a network namespace of its own".into());
    }
    check(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "orlop-cli",
        "--package",
        "orlop-examples",
        "--bins",
    ]))?;
    let debian = fixtures::debian()?;
    let mut command = Command::new("unshare");
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(env::current_exe()?);
    command
        .arg("acceptance")
        .arg("--inside")
        .arg(target().join("debug/orlop"))
        .arg(debian);
    command.args(filter.map(|text| format!("--filter={text}")));
    let mut tally = Tally::default();
    let status = run_lines(command, LIMIT, |line| {
        tally.read_line(line);
        if !line.starts_with("test result:") {
            println!("{line}");
        }
    })?;
    if !status.success() && tally.failed == 0 {
        return Err(format!("the acceptance tests ended with {status}").into());
    }
    Ok(tally)
}

fn inside(orlop: &Path, debian: &Path, filter: Option<&str>) -> Result<Tally, Failure> {
    check(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    // A /tmp of our own, on a disk: others use theirs meanwhile, and images may be larger than memory.
    let folder = tempfile::Builder::new()
        .prefix("acceptance-")
        .tempdir_in(target())?;
    check(Command::new("chmod").arg("1777").arg(folder.path()))?;
    check(
        Command::new("mount")
            .arg("--bind")
            .arg(folder.path())
            .arg("/tmp"),
    )?;
    check(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let before = Machine::now();
    let world = World::new(orlop, debian)?;
    let mut tally = Tally::default();
    let wanted = |check: &&Check| {
        check.name.starts_with("fill") || filter.is_none_or(|text| check.name.contains(text))
    };
    let all = [
        running::CHECKS,
        exchange::CHECKS,
        refusals::CHECKS,
        user::CHECKS,
        running::LAST,
    ];
    for check in all.into_iter().flatten().filter(wanted) {
        tally.add(report(check.name, || (check.holds)(&world)));
    }
    tally.add(report(
        "nothing is left: mounts, cgroups, processes, files",
        || {
            world.end()?;
            before.compare()
        },
    ));
    println!(
        "test result: {} passed; {} failed;",
        tally.passed, tally.failed
    );
    Ok(tally)
}

fn report(name: &str, holds: impl FnOnce() -> Result<(), Failure>) -> Tally {
    let began = Instant::now();
    let result = holds();
    let took = began.elapsed().as_secs_f32();
    match &result {
        Ok(()) => println!("   passed: {name} ({took:.1} s)"),
        Err(error) => println!("   failed: {name} ({took:.1} s): {error}"),
    }
    Tally::of(result.is_ok())
}
