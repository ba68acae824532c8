//! All tests, suite by suite.

mod checks;
mod programs;
mod tests;
mod user;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use crate::command::in_ci;
use crate::packages;
use crate::tally::Tally;
use crate::{Failure, command, vm};

/// How to test.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these suites; all if none is named
    #[arg(value_name = "SUITE", value_parser = SUITES.map(|suite| suite.name))]
    suites: Vec<String>,
    /// Leave out what takes minutes: the acceptance tests, the virtual machine, the measurements
    #[arg(long)]
    short: bool,
    /// Install nothing
    #[arg(long)]
    no_install: bool,
    /// Show every test, not only those that fail
    #[arg(long, short)]
    verbose: bool,
}

/// One suite: a name, what it shows, and how it is run.
struct Suite {
    name: &'static str,
    about: &'static str,
    long: bool,
    run: fn(&Options) -> Result<Tally, Failure>,
}

/// In the order in which they run: what is quick to fail comes first.
const SUITES: [Suite; 12] = [
    Suite {
        name: "format",
        about: "rustfmt has nothing to change",
        long: false,
        run: |_| checks::format(),
    },
    Suite {
        name: "lint",
        about: "the house rules hold",
        long: false,
        run: |_| checks::lint(),
    },
    Suite {
        name: "deps",
        about: "every crate knows only what it may",
        long: false,
        run: |_| checks::deps(),
    },
    Suite {
        name: "clippy",
        about: "clippy has nothing to say",
        long: false,
        run: |_| checks::clippy(),
    },
    Suite {
        name: "features",
        about: "crates build with fewer features too",
        long: false,
        run: |_| checks::features(),
    },
    Suite {
        name: "tests",
        about: "unit, integration and doc tests of all crates",
        long: false,
        run: tests::all,
    },
    Suite {
        name: "user",
        about: "the same tests as an ordinary user",
        long: false,
        run: user::all,
    },
    Suite {
        name: "examples",
        about: "the examples run",
        long: false,
        run: programs::examples,
    },
    Suite {
        name: "benches",
        about: "the measurements run, once each",
        long: true,
        run: programs::benches,
    },
    Suite {
        name: "deny",
        about: "bans, licences and sources of dependencies",
        long: false,
        run: |_| checks::deny(),
    },
    Suite {
        name: "vm",
        about: "tests that depend on cgroups, in a machine with pure cgroup v2",
        long: true,
        run: |options| match vm::available() {
            Ok(()) => vm::in_uml(options.verbose),
            Err(error) => Ok(absent("vm", &error.to_string())),
        },
    },
    Suite {
        name: "acceptance",
        about: "real images, from a registry to a running container",
        long: true,
        run: programs::acceptance,
    },
];

/// Runs the suites, prints what was skipped, and ends with the one line that adds them up.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    if !options.no_install {
        packages::ensure()?;
    }
    let mut total = Tally::default();
    let mut failed = BTreeMap::new();
    for suite in SUITES.iter().filter(|suite| options.includes(suite)) {
        let began = Instant::now();
        println!("== {}: {}", suite.name, suite.about);
        let tally = (suite.run)(options).unwrap_or_else(|error| {
            println!("failed: {}: {error}", suite.name);
            Tally::of(false)
        });
        println!(
            "-- {}: {tally} ({:.0} s)\n",
            suite.name,
            began.elapsed().as_secs_f32()
        );
        if tally.failed > 0 {
            failed.insert(suite.name, tally.failed);
        }
        total.add(tally);
    }
    for skipped in &total.skipped {
        println!("skipped: {skipped}");
    }
    for (suite, count) in &failed {
        println!("failed: {suite}: {count}");
    }
    println!("took {:.0} s", started.elapsed().as_secs_f32());
    println!("{total}");
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Options {
    fn includes(&self, suite: &Suite) -> bool {
        if self.suites.is_empty() {
            !(self.short && suite.long)
        } else {
            self.suites.iter().any(|name| name == suite.name)
        }
    }
}

/// What cannot be tested here: a skip, but in continuous integration a failure.
fn absent(name: &str, reason: &str) -> Tally {
    if in_ci() {
        println!("failed: {name}: {reason}, and in continuous integration it may not be absent");
        return Tally::of(false);
    }
    Tally::skip(name, reason)
}

/// A command that passes or fails as a whole; its output goes through.
fn whole(mut command: std::process::Command) -> Result<bool, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(std::process::Stdio::null())
        .status()
        .map_err(|error| format!("starting {name}: {error}"))?;
    Ok(status.success())
}

use command::cargo;
