//! The project's own chores: `cargo xtask help` lists them.
//!
//! `cargo xtask test` is the one that matters: it installs what the tests need, runs all of them and ends with one line
//! `N passed, N failed, N skipped`.

#![deny(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program: what it finds goes to the terminal.

mod acceptance;
mod command;
mod deps;
mod lint;
mod packages;
mod soak;
mod suites;
mod tally;
mod vm;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a chore returns when it cannot even be done.
type Failure = Box<dyn Error>;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The project's own chores",
    disable_version_flag = true
)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need, then run all of them
    Test(suites::Options),
    /// Test with real images: from a registry to a running container, and to and from other tools
    Acceptance(acceptance::Options),
    /// Start ten thousand containers from a busy program, and see that nothing hangs or stays
    Soak(soak::Options),
    /// Install what the tests need, or say what is missing
    Packages,
    /// Check which crate knows which
    Deps,
    /// Virtual machines with pure cgroup v2
    Vm(vm::Options),
    /// Check the house rules no other tool checks: where `unsafe` stands, how long a file is
    Lint,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test(options) => suites::run(&options),
        Chore::Acceptance(options) => acceptance::run(&options),
        Chore::Soak(options) => soak::run(&options),
        Chore::Packages => packages::ensure().map(|()| ExitCode::SUCCESS),
        Chore::Deps => deps::check().map(report),
        Chore::Vm(options) => vm::run(&options),
        Chore::Lint => lint::check().map(report),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Prints what a check found wrong.
fn report(complaints: Vec<String>) -> ExitCode {
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
