//! The same tests once more, as an ordinary user without a single capability.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::tests::Program;
use super::{Options, absent, cargo};
use crate::Failure;
use crate::command::{check, is_root, run_lines};
use crate::tally::Tally;

/// A user that no machine has, so that nothing is delegated to it.
const USER: &str = "12345";

/// Longer than any one test program needs.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Crates whose tests depend on who runs them.
const PACKAGES: &[&str] = &[
    "orlop-cgroups",
    "orlop-cli",
    "orlop-engine",
    "orlop-image",
    "orlop-namespaces",
    "orlop-runtime",
    "orlop-unionfs",
];

/// A test that needs root has run in the suite before this one: here it is neither passed nor skipped.
pub(super) fn all(options: &Options) -> Result<Tally, Failure> {
    if !is_root() {
        println!("   the suite before this one was it");
        return Ok(Tally::default());
    }
    let programs = programs()?;
    let reachable = |program: &PathBuf| {
        as_user("test")
            .arg("-x")
            .arg(program)
            .status()
            .is_ok_and(|status| status.success())
    };
    if !programs.iter().all(reachable) {
        return Ok(absent(
            "user",
            "an ordinary user cannot reach the folder of the build",
        ));
    }
    let folder = tempfile::Builder::new().prefix("orlop-user-").tempdir()?;
    check(Command::new("chown").arg(USER).arg(folder.path()))?;
    let mut total = Tally::default();
    for path in programs {
        let mut command = as_user(&path);
        command
            .arg("--show-output")
            .current_dir(folder.path())
            .env("TMPDIR", folder.path())
            .env("HOME", folder.path());
        let mut program = Program::named(&path.display().to_string());
        let status = run_lines(command, LIMIT, |line| {
            if options.verbose {
                println!("{line}");
            }
            program.read(line);
        })?;
        let mut tally = program.end(options.verbose);
        if !status.success() && tally.failed == 0 {
            println!("{} ended with {status}", path.display());
            tally.failed = 1;
        }
        total.add(Tally {
            skipped: Default::default(),
            ran: Default::default(),
            ..tally
        });
    }
    Ok(total)
}

fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        USER,
        "--regid",
        USER,
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    command.arg(program).stdin(std::process::Stdio::null());
    command
}

/// The test programs of the crates, built.
fn programs() -> Result<Vec<PathBuf>, Failure> {
    let mut command = cargo();
    command.args([
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--no-run",
        "--message-format=json",
    ]);
    let messages = check(&mut command)?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = |message: &Value| {
        let id = message["package_id"].as_str().unwrap_or_default();
        PACKAGES.iter().any(|package| {
            id.contains(&format!("#{package}@")) || id.contains(&format!("/{}#", short(package)))
        })
    };
    Ok(messages
        .filter(|message| message["profile"]["test"] == true && ours(message))
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect())
}

/// A package's folder.
fn short(package: &str) -> &str {
    package.strip_prefix("orlop-").unwrap_or(package)
}
