//! The long form of what the tests do briefly.

use std::process::ExitCode;

use crate::Failure;
use crate::command::cargo;

/// How long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Containers to start, from 16 threads that allocate all the time
    #[arg(long, default_value_t = 10_000)]
    starts: u32,
}

/// Starts so many containers and fails at the first hang, wrong output or leftover.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut command = cargo();
    command.args([
        "test",
        "--quiet",
        "--locked",
        "--package",
        "orlop-runtime",
        "--test",
        "alone",
        "--",
        "--storm",
    ]);
    let status = command.arg(options.starts.to_string()).status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
