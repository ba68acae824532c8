//! The caller's session: its keys and its terminal.

use std::process::Command;

use orlop_runtime::{Seccomp, Stdio};

use crate::support::{Bench, root, run};
use crate::sys;

pub(crate) fn a_keyring_of_its_own() {
    if !root("a_keyring_of_its_own") {
        return;
    }
    let name = format!("orlop-test-{}", std::process::id());
    assert!(
        sys::add_session_key(&name),
        "adding a key to the session's keyring"
    );
    assert!(sys::find_session_key(&name), "the caller finds its own key");
    let bench = Bench::new();
    let own = std::env::current_exe().unwrap();
    let container = bench
        .runtime
        .container("/")
        .command([own.to_str().unwrap(), "--part", "keyring"])
        .env("ORLOP_TEST_KEY", &name)
        .seccomp(Seccomp::Unconfined);
    assert_eq!(run(container), "hidden\n");
}

pub(crate) fn keyring_part() {
    let found = sys::find_session_key(&std::env::var("ORLOP_TEST_KEY").unwrap());
    println!("{}", if found { "found" } else { "hidden" });
}

pub(crate) fn the_callers_terminal_is_refused() {
    let command = format!(
        "{} --part inherit",
        std::env::current_exe().unwrap().display()
    );
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .output();
    let output = output.expect("script is missing: install the package bsdutils");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("refused: stdout is the caller's terminal"),
        "{text}"
    );
}

pub(crate) fn inherit_part() {
    let bench = Bench::new();
    let error = bench.container().command(["true"]).start().unwrap_err();
    println!("refused: {error}");
    let asked = bench
        .container()
        .command(["true"])
        .stdout(Stdio::inherit_terminal())
        .stderr(Stdio::inherit_terminal());
    assert!(asked.start().unwrap().wait().unwrap().success());
}
