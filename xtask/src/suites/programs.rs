//! Suites that run the project's programs.

use std::time::Duration;

use serde_json::Value;

use super::{Options, absent, cargo, whole};
use crate::Failure;
use crate::acceptance;
use crate::command::{in_ci, is_root, run_lines};
use crate::tally::Tally;

/// Longer than any single example or measurement needs.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Programs that want a registry to talk to: the acceptance tests have one and run them.
const WANT_A_REGISTRY: &[&str] = &["pull"];

pub(super) fn examples(options: &Options) -> Result<Tally, Failure> {
    each(options, "orlop-examples", &[])
}

pub(super) fn benches(options: &Options) -> Result<Tally, Failure> {
    // The comparison with peers compares the command line, too.
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "--package", "orlop-cli"]);
    if !whole(build)? {
        return Ok(Tally::of(false));
    }
    each(options, "orlop-benches", &["--quick"])
}

/// Builds all programs of a package, then runs one after the other.
fn each(options: &Options, package: &str, arguments: &[&str]) -> Result<Tally, Failure> {
    let mut build = cargo();
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        package,
        "--bins",
        "--examples",
    ]);
    if !whole(build)? {
        return Ok(Tally::of(false));
    }
    let mut tally = Tally::default();
    for (kind, name) in programs(package)? {
        if WANT_A_REGISTRY.contains(&name.as_str()) {
            continue;
        }
        let mut command = cargo();
        command
            .args([
                "run",
                "--quiet",
                "--locked",
                "--package",
                package,
                &format!("--{kind}"),
                &name,
                "--",
            ])
            .args(arguments);
        let mut output = Vec::new();
        let mut skips = Tally::default();
        let ran = run_lines(command, LIMIT, |line| {
            // A peer that is absent is a skip on a desk, and a failure where everything must be tested.
            if line.starts_with("skipped: ") {
                skips.read_line(&line.replacen("skipped: ", &format!("skipped: {name} "), 1));
            }
            output.push(line.to_owned());
        });
        let refused = in_ci() && !skips.skipped.is_empty();
        let passed = matches!(&ran, Ok(status) if status.success()) && !refused;
        println!("   {}: {name}", if passed { "passed" } else { "failed" });
        if !passed || options.verbose {
            println!("{}", output.join("\n"));
            if let Err(error) = ran {
                println!("{error}");
            }
        }
        tally.add(Tally::of(passed));
        tally.add(Tally {
            skipped: skips.skipped,
            ..Tally::default()
        });
    }
    Ok(tally)
}

/// The programs of a package: `bin` or `example`, and the name.
fn programs(package: &str) -> Result<Vec<(String, String)>, Failure> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let targets = packages
        .iter()
        .find(|found| found["name"] == package)
        .and_then(|found| found["targets"].as_array());
    let mut programs = Vec::new();
    for target in targets.into_iter().flatten() {
        let kind = target["kind"][0].as_str().unwrap_or_default();
        if let ("bin" | "example", Some(name)) = (kind, target["name"].as_str()) {
            programs.push((kind.to_owned(), name.to_owned()));
        }
    }
    Ok(programs)
}

pub(super) fn acceptance(_: &Options) -> Result<Tally, Failure> {
    if is_root() {
        acceptance::outside(None)
    } else {
        Ok(absent("acceptance", "needs root"))
    }
}
