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
    let mut total = Tally::default();
    let mut program = Program::default();
    let status = run_lines(command, LIMIT, |line| {
        if options.verbose {
            println!("{line}");
        }
        if let Some(next) = Program::begins(line) {
            total.add(std::mem::replace(&mut program, next).end(options.verbose));
        }
        program.read(line);
    })?;
    total.add(program.end(options.verbose));
    if !status.success() && total.failed == 0 {
        println!("cargo test ended with {status}");
        total.failed = 1;
    }
    Ok(total)
}

/// What one test program has said so far.
#[derive(Default)]
pub(super) struct Program {
    name: String,
    lines: Vec<String>,
    /// The doc tests of a crate are several programs that go by one name.
    several: bool,
}

impl Program {
    /// Cargo announces each test program on a line of its own.
    fn begins(line: &str) -> Option<Program> {
        let line = line.trim_start();
        let one = |several: bool| {
            move |name: &str| Program {
                name: name.to_owned(),
                lines: Vec::new(),
                several,
            }
        };
        let program = line.strip_prefix("Running ").map(one(false));
        program.or_else(|| line.strip_prefix("Doc-tests ").map(one(true)))
    }

    pub(super) fn named(name: &str) -> Program {
        Program {
            name: name.to_owned(),
            ..Program::default()
        }
    }

    pub(super) fn read(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// What it comes to. A word is printed if all went well, else, unless it has been shown already, everything it said.
    pub(super) fn end(self, shown: bool) -> Tally {
        let tally = self.tally();
        if tally.failed > 0 && !shown {
            println!("{}", self.lines.join("\n"));
        } else if tally.passed > 0 {
            println!("   {tally}: {}", self.name);
        }
        tally
    }

    /// A test may start the same program again, whose result stands among the lines as well: its own is the last.
    fn tally(&self) -> Tally {
        let is_result = |line: &String| line.starts_with("test result: ");
        let last = self.lines.iter().rposition(is_result);
        let mut tally = Tally::default();
        for (index, line) in self.lines.iter().enumerate() {
            if self.several || !is_result(line) || Some(index) == last {
                tally.read_line(line);
            }
        }
        // One that crashed prints no result.
        let crashed = !self.name.is_empty() && last.is_none() && !self.several;
        tally.failed += usize::from(crashed);
        tally
    }
}

#[cfg(test)]
mod counting {
    use super::*;

    fn program(announced: &str, lines: &str) -> Tally {
        let mut program = Program::begins(announced).expect("an announcement");
        lines.lines().for_each(|line| program.read(line));
        program.tally()
    }

    #[test]
    fn a_program_within_a_program_is_not_counted() {
        let lines = "running 2 tests\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 58 filtered out\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        let tally = program("     Running tests/all.rs (target/debug/deps/all-0)", lines);
        assert_eq!((tally.passed, tally.failed), (1, 1));
    }

    #[test]
    fn doc_tests_are_several_programs() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            program("   Doc-tests orlop_image", &line.repeat(2)).passed,
            4
        );
    }

    #[test]
    fn a_program_that_crashes_has_failed() {
        let tally = program(
            "     Running tests/all.rs (target/debug/deps/all-0)",
            "running 3 tests\n",
        );
        assert_eq!(tally.failed, 1);
    }
}
