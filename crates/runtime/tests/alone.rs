//! Tests that need a process of their own: each runs in a fresh one of this program.
//!
//! `cargo test --test alone` runs all; `cargo test --test alone -- --storm 10000` starts that many containers.

#![deny(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]
#![allow(clippy::print_stdout, reason = "this is its own test harness")]
#![allow(dead_code, reason = "the support serves another program too")]

#[path = "alone/caller.rs"]
mod caller;
#[path = "alone/owner.rs"]
mod owner;
#[path = "alone/reaping.rs"]
mod reaping;
#[path = "alone/rootless.rs"]
mod rootless;
#[path = "alone/sample.rs"]
mod sample;
#[path = "alone/session.rs"]
mod session;
#[path = "alone/storm.rs"]
mod storm;
#[path = "all/support.rs"]
mod support;
#[path = "alone/sys.rs"]
#[allow(unsafe_code)]
mod sys;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

type Test = (&'static str, fn());

/// Run by the harness, each in its own process.
const TESTS: [Test; 9] = [
    ("caller_is_left_alone", caller::is_left_alone),
    (
        "children_reaped_by_another_thread",
        reaping::by_another_thread,
    ),
    ("children_reaped_by_the_kernel", reaping::by_the_kernel),
    ("killed_owner_is_collected", owner::killed_is_collected),
    ("a_keyring_of_its_own", session::a_keyring_of_its_own),
    (
        "the_callers_terminal_is_refused",
        session::the_callers_terminal_is_refused,
    ),
    ("rootless", rootless::without_helpers),
    ("rootless_with_helpers", rootless::with_helpers),
    ("storm", storm::short),
];

/// Run by the tests, in processes of other kinds.
const PARTS: [Test; 6] = [
    ("owner", owner::part),
    ("keyring", session::keyring_part),
    ("inherit", session::inherit_part),
    ("rootless-part", rootless::part),
    ("helpers-part", rootless::helpers_part),
    ("sleep", || std::thread::sleep(Duration::from_secs(1000))),
];

/// A test that hangs is a failure, not a wait.
const LIMIT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--part", name, ..] => {
            let found = TESTS.iter().chain(&PARTS).find(|(own, _)| *own == name);
            found.expect("a part of this name").1();
            ExitCode::SUCCESS
        }
        ["--storm", count] => {
            storm::run(count.parse().expect("how many containers"));
            ExitCode::SUCCESS
        }
        _ => all(&arguments),
    }
}

/// The harness, as far as cargo and its like use one.
fn all(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let chosen: Vec<&str> = TESTS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| {
            filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
        })
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    for name in &chosen {
        let (success, output) = in_its_own_process(name);
        println!("test {name} ... {}", if success { "ok" } else { "FAILED" });
        // What is skipped is told; what failed is shown.
        output
            .lines()
            .filter(|line| !success || line.starts_with("skipped: "))
            .for_each(|line| println!("{line}"));
        if !success {
            failed.push(*name);
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let passed = chosen.len() - failed.len();
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out",
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn in_its_own_process(name: &str) -> (bool, String) {
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--part", name])
        .stdin(std::process::Stdio::null())
        .stdout(output.reopen().unwrap())
        .stderr(output.reopen().unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + LIMIT;
    let success = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.success(),
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                child.wait().unwrap();
                break false;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    (
        success,
        String::from_utf8_lossy(&std::fs::read(output.path()).unwrap()).into_owned(),
    )
}
