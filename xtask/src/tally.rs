//! Counting: what passed, what failed, what was skipped and why.

use std::collections::BTreeSet;
use std::fmt;

/// The result of a suite, or of several added up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// `name: reason`, once each.
    pub(crate) skipped: BTreeSet<String>,
    /// The functions of the tests that ran, skipped or not.
    pub(crate) ran: BTreeSet<String>,
    /// Skips read before the result that counts them as passed.
    pub(crate) early: usize,
}

impl Tally {
    /// Of one check that either holds or does not.
    pub(crate) fn of(holds: bool) -> Tally {
        Tally {
            passed: usize::from(holds),
            failed: usize::from(!holds),
            ..Tally::default()
        }
    }

    /// Of one check that could not be made.
    pub(crate) fn skip(name: &str, reason: &str) -> Tally {
        Tally {
            skipped: BTreeSet::from([format!("{name}: {reason}")]),
            ..Tally::default()
        }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        // What one machine or user cannot test, another may: a test is skipped if it was skipped wherever it ran.
        let skipped: BTreeSet<String> = other.skipped.iter().map(|line| name(line)).collect();
        self.ran.extend(other.ran.difference(&skipped).cloned());
        self.skipped.extend(other.skipped);
        let ran = &self.ran;
        self.skipped.retain(|line| !ran.contains(&name(line)));
    }

    /// Takes one line of a test program's output into account: Rust's own `test result:` lines and `test … ignored`, and the
    /// line `skipped: name: reason` that a test prints when it cannot run here. Rust counts such a test as passed; we do not.
    pub(crate) fn read_line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(skipped) = line.strip_prefix("skipped: ") {
            // A test may say it twice, but is one test.
            let name = skipped.split(": ").next().unwrap_or(skipped).to_owned() + ": ";
            if !self.skipped.iter().any(|seen| seen.starts_with(&name)) {
                self.skipped.insert(skipped.to_owned());
                self.early += 1;
                self.settle();
            }
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += number_before(counts, " passed");
            self.settle();
            self.failed += number_before(counts, " failed");
        } else if let Some((name, reason)) = ignored(line) {
            self.skipped.insert(format!("{name}: {reason}"));
        } else if let Some(path) = passed(line) {
            let function = path.rsplit("::").next().unwrap_or(path);
            self.ran.insert(function.to_owned());
        }
    }
}

impl Tally {
    /// Takes skips off what Rust counted as passed, as far as it has been counted yet.
    fn settle(&mut self) {
        let known = self.early.min(self.passed);
        self.passed -= known;
        self.early -= known;
    }
}

/// The test a `skipped` line is about.
fn name(skipped: &str) -> String {
    skipped.split(": ").next().unwrap_or(skipped).to_owned()
}

/// `test a::b ... ok`.
fn passed(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... ok")
}

/// `test a::b ... ignored, the reason`.
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let reason = rest.strip_prefix(", ").unwrap_or("ignored");
    Some((name, reason))
}

fn number_before(text: &str, word: &str) -> usize {
    text.split(word)
        .next()
        .and_then(|head| head.rsplit([' ', ';', '.']).next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            self.skipped.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn results_are_added_up() {
        let tally = read(
            "running 2 tests\n\
             test result: ok. 11 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s\n",
        );
        assert_eq!(tally.to_string(), "14 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn a_skipped_test_did_not_pass_and_counts_once() {
        let tally = read(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s\n\
             skipped: memory_limit: no memory controller\n\
             skipped: memory_limit: no memory controller\n\
             test soak ... ignored, takes an hour\n",
        );
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 2 skipped");
        assert!(tally.skipped.contains("soak: takes an hour"), "{tally:?}");
    }

    #[test]
    fn skipped_here_and_run_there_is_no_skip() {
        let here = "test a::v1 ... ok\ntest a::v2 ... ok\nskipped: v2: needs v2\ntest result: ok. 2 passed; 0 failed\n";
        let there = "test a::v1 ... ok\ntest a::v2 ... ok\nskipped: v1: needs v1\ntest result: ok. 2 passed; 0 failed\n";
        let mut total = Tally::default();
        total.add(read(here));
        assert_eq!(total.to_string(), "1 passed, 0 failed, 1 skipped");
        total.add(read(there));
        assert_eq!(total.to_string(), "2 passed, 0 failed, 0 skipped");
        // Still the same when both skip.
        let mut total = Tally::default();
        total.add(read(here));
        total.add(read(here));
        assert_eq!(total.skipped.len(), 1);
    }

    #[test]
    fn a_skip_may_be_read_before_its_result() {
        let tally =
            read("skipped: a: b\ntest result: ok. 1 passed; 0 failed; 0 ignored; finished in 1s\n");
        assert_eq!(tally.skipped.len(), 1);
    }
}
