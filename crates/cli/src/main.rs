//! `orlop`: containers from the command line, without a daemon.

#![deny(unsafe_code)]

mod args;
mod commands;
mod credentials;
mod failure;
mod hints;
mod output;
mod parse;
mod progress;
mod session;
mod signals;
mod streams;
mod terminal;
mod times;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader of the help that goes away early is no failure.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(failure::ORLOP_FAILED),
            };
        }
    };
    match commands::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
