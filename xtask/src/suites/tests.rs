//! The tests of all crates, by plain `cargo test`.

use std::time::Duration;

use super::{Options, cargo};
use crate::Failure;
use crate::command::run_lines;
use crate::tally::Tally;

/// Longer than the slowest machine needs, so that one that hangs is found.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// Unit, integration and doc tests. Of a test program that passes only the result is shown.
pub(super) fn all(options: &Options) -> Result<Tally, Failure> {
    let mut build = cargo();
    build.args(["test", "--quiet", "--locked", "--workspace", "--no-run"]);
    if !super::whole(build)? {
        return Ok(Tally::of(false));
    }
    let mut command = cargo();
    // A test that cannot run here says so in its output, which is shown only if asked for.
    command.args([
        "test",
        "--locked",
        "--workspace",
        "--no-fail-fast",
        "--",
        "--show-output",
    ]);
    let mut tally = Tally::default();
    let mut programs = Vec::new();
    let mut program = Program::default();
    let status = run_lines(command, LIMIT, |line| {
        if options.verbose {
            println!("{line}");
        }
        if let Some(name) = Program::begins(line) {
            programs.push(std::mem::replace(
                &mut program,
                Program {
                    name,
                    ..Program::default()
                },
            ));
        }
        if program.read(line) && !options.verbose {
            program.show();
        }
        tally.read_line(line);
    })?;
    if !status.success() && tally.failed == 0 {
        // A test program that crashed prints no result.
        println!("{}", program.lines.join("\n"));
        tally.failed = 1;
    }
    Ok(tally)
}

/// What one test program has said so far.
#[derive(Default)]
pub(super) struct Program {
    name: String,
    lines: Vec<String>,
    result: Option<String>,
}

impl Program {
    /// Cargo announces each test program on a line of its own.
    fn begins(line: &str) -> Option<String> {
        let line = line.trim_start();
        let name = line
            .strip_prefix("Running ")
            .or_else(|| line.strip_prefix("Doc-tests "))?;
        Some(name.to_owned())
    }

    pub(super) fn named(name: &str) -> Program {
        Program {
            name: name.to_owned(),
            ..Program::default()
        }
    }

    /// Whether this line is the program's result.
    pub(super) fn read(&mut self, line: &str) -> bool {
        self.lines.push(line.to_owned());
        let Some(result) = line.strip_prefix("test result: ") else {
            return false;
        };
        self.result = Some(result.to_owned());
        true
    }

    /// A word if all went well, else everything it said.
    pub(super) fn show(&self) {
        let result = self.result.as_deref().unwrap_or("no result");
        if result.starts_with("ok.") {
            let count = result
                .trim_start_matches("ok. ")
                .split(';')
                .next()
                .unwrap_or(result);
            if !count.starts_with("0 ") {
                println!("   {count}: {}", self.name);
            }
        } else {
            println!("{}", self.lines.join("\n"));
        }
    }
}
