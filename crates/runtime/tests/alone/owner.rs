//! An owner that is killed while its containers run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orlop_runtime::{Options, Runtime};

use crate::sample;
use crate::support::{Bench, parent};

/// Starts two containers, one without a cgroup, says so, and waits to be killed.
pub(crate) fn part() {
    let state = std::env::var("ORLOP_TEST_STATE").unwrap();
    let root = std::env::var("ORLOP_TEST_ROOT").unwrap();
    let mut options = Options::new(&state);
    options.cgroup_parent = Some(std::env::var("ORLOP_TEST_PARENT").unwrap());
    let with = Runtime::new(options.clone()).unwrap();
    options.cgroup_parent = None;
    let without = Runtime::new(options).unwrap();
    let start = |runtime: &Runtime, id: &str| {
        runtime
            .container(root.as_str())
            .command(["sleep", "1000"])
            .id(id)
            .stdout(orlop_runtime::Stdio::null())
            .start()
            .unwrap()
    };
    let (a, b) = (start(&with, "with"), start(&without, "without"));
    println!("{} {}", a.pid(), b.pid());
    std::thread::sleep(Duration::from_secs(1000));
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn killed_is_collected() {
    let bench = Bench::new();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--part", "owner"])
        .env("ORLOP_TEST_STATE", bench.state.path())
        .env("ORLOP_TEST_ROOT", &bench.rootfs.path)
        .env("ORLOP_TEST_PARENT", parent())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pids: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{line:?}");
    assert!(
        bench.runtime.gc().unwrap().containers.is_empty(),
        "its owner lives"
    );
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(pids.iter().all(|pid| alive(pid)), "nothing ends by itself");
    let mut collected = bench.runtime.gc().unwrap().containers;
    collected.sort();
    assert_eq!(collected, ["with", "without"]);
    let deadline = Instant::now() + Duration::from_secs(5);
    while pids.iter().any(|pid| alive(pid)) {
        assert!(Instant::now() < deadline, "{pids:?} are alive");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sample::cgroups_left(&parent()), Vec::<String>::new());
    assert_eq!(
        std::fs::read_dir(bench.state.path().join("owners"))
            .unwrap()
            .count(),
        1,
        "only this one's place is left"
    );
}
