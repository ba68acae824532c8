//! Suites that look at the source and do not run it.

use super::{cargo, whole};
use crate::command::find;
use crate::tally::Tally;
use crate::{Failure, deps, lint};

pub(super) fn format() -> Result<Tally, Failure> {
    let mut command = cargo();
    command.args(["fmt", "--all", "--check"]);
    whole(command).map(Tally::of)
}

pub(super) fn clippy() -> Result<Tally, Failure> {
    let mut command = cargo();
    command.args([
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]);
    whole(command).map(Tally::of)
}

pub(super) fn deps() -> Result<Tally, Failure> {
    deps::check().map(|complaints| tally(&complaints))
}

pub(super) fn lint() -> Result<Tally, Failure> {
    lint::check().map(|complaints| tally(&complaints))
}

fn tally(complaints: &[String]) -> Tally {
    for complaint in complaints {
        println!("{complaint}");
    }
    Tally::of(complaints.is_empty())
}

/// An embedder who needs no images builds none of the code for them.
pub(super) fn features() -> Result<Tally, Failure> {
    let mut total = Tally::default();
    for features in [
        &["--no-default-features"][..],
        &["--no-default-features", "--features", "tokio"],
    ] {
        let mut command = cargo();
        command
            .args([
                "check",
                "--quiet",
                "--locked",
                "--package",
                "orlop-runtime",
                "--lib",
            ])
            .args(features);
        total.add(Tally::of(whole(command)?));
    }
    Ok(total)
}

/// `cargo deny` without its advisories, which need a network.
pub(super) fn deny() -> Result<Tally, Failure> {
    if find("cargo-deny").is_none() {
        println!("installing cargo-deny");
        let mut command = cargo();
        command.args(["install", "--quiet", "--locked", "cargo-deny"]);
        if !whole(command)? {
            return Ok(super::absent(
                "deny",
                "cargo-deny is not installed and cannot be",
            ));
        }
    }
    let mut command = cargo();
    command.args([
        "deny",
        "--locked",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    whole(command).map(Tally::of)
}
