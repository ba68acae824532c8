//! How containers end, and what they used.

use std::time::{Duration, Instant};

use orlop_runtime::{ErrorKind, ExitStatus};

use super::support::*;

#[test]
fn codes_and_signals() {
    let bench = Bench::new();
    let end = |script: &str| bench.sh(script).output().unwrap().exit;
    assert_eq!(end("exit 0").code(), Some(0));
    let exit = end("exit 42");
    assert_eq!(
        (
            exit.code(),
            exit.signal(),
            exit.shell_code(),
            exit.success()
        ),
        (Some(42), None, 42, false)
    );
    let container = bench
        .container()
        .command(["sleep", "1000"])
        .start()
        .unwrap();
    assert!(container.try_wait().unwrap().is_none());
    container.kill(libc::SIGKILL).unwrap();
    let exit = container.wait().unwrap();
    assert_eq!(
        exit.status,
        ExitStatus::Signal {
            signal: 9,
            core: false
        }
    );
    assert_eq!(exit.shell_code(), 137);
    assert!(!exit.oom_killed, "a plain kill is no want of memory");
    // Again, and from the other side.
    assert_eq!(container.wait().unwrap().status, exit.status);
    assert_eq!(container.try_wait().unwrap().unwrap().status, exit.status);
    assert!(container.kill(9).is_err());
}

#[test]
fn want_of_memory_is_told_from_a_kill() {
    if !root("want_of_memory_is_told_from_a_kill") {
        return;
    }
    let bench = Bench::new();
    // `tail` keeps an endless line whole.
    let hog = bench
        .container()
        .command(["tail", "/dev/zero"])
        .memory(16 << 20)
        .output()
        .unwrap();
    assert_eq!(hog.exit.signal(), Some(9), "{}", hog.exit);
    assert!(hog.exit.oom_killed);
    assert!(hog.exit.to_string().contains("out of memory"));
    let stats = hog.exit.stats.unwrap().memory.unwrap();
    assert!(
        stats.oom_kills >= 1 && stats.limit == Some(16 << 20),
        "{stats:?}"
    );

    let plain = bench
        .container()
        .command(["sleep", "1000"])
        .memory(16 << 20)
        .start()
        .unwrap();
    plain.kill(9).unwrap();
    let exit = plain.wait().unwrap();
    assert!(exit.signal() == Some(9) && !exit.oom_killed);
}

#[test]
fn usage_and_statistics() {
    let bench = Bench::new();
    let script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    let exit = bench.sh(script).output().unwrap().exit;
    let usage = exit.usage.unwrap();
    assert!(usage.user > Duration::from_millis(5), "{usage:?}");
    assert!(usage.max_resident > 100 << 10, "{usage:?}");
    if rustix::process::geteuid().is_root() {
        let cpu = exit.stats.unwrap().cpu.unwrap();
        assert!(cpu.usage_ns > 5_000_000, "{cpu:?}");
    }
}

#[test]
fn limits_hold() {
    if !root("limits_hold") {
        return;
    }
    let bench = Bench::new();
    let container = bench
        .container()
        .command(["sleep", "1000"])
        .memory(32 << 20)
        .pids(7)
        .cpus(0.5)
        .start()
        .unwrap();
    let stats = container.stats().unwrap().unwrap();
    assert_eq!(stats.memory.unwrap().limit, Some(32 << 20));
    let pids = stats.pids.unwrap();
    assert_eq!((pids.limit, pids.current), (Some(7), 1));
    drop(container);
    // Forks fail beyond the limit, and the shell says so.
    let crowd = bench
        .sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all")
        .pids(4)
        .output()
        .unwrap();
    assert!(
        !crowd.exit.success() && String::from_utf8_lossy(&crowd.stderr).contains("fork"),
        "{crowd:?}"
    );
    // Half a processor for a quarter of a second of work takes half a second.
    let begun = Instant::now();
    let exit = bench
        .sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
        .cpus(0.2)
        .output()
        .unwrap()
        .exit;
    let used = Duration::from_nanos(exit.stats.unwrap().cpu.unwrap().usage_ns);
    assert!(
        begun.elapsed() > used * 3,
        "{:?} for {used:?}",
        begun.elapsed()
    );
    for impossible in [
        bench.container().memory(1),
        bench.container().cpus(-1.0),
        bench.container().cpus(f64::NAN),
        bench.container().memory(64 << 20).memory_swap(32 << 20),
    ] {
        let error = impossible.command(["true"]).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", chain(&error));
    }
    let unlimited = bench
        .container()
        .command(["sleep", "1000"])
        .memory(0)
        .pids(0)
        .cpus(0.0)
        .start()
        .unwrap();
    let stats = unlimited.stats().unwrap().unwrap();
    assert_eq!(
        (stats.memory.unwrap().limit, stats.pids.unwrap().limit),
        (None, None)
    );
}

#[test]
fn dropping_ends_and_cleans_up() {
    let bench = Bench::new();
    let container = bench.sh("sleep 1000 & sleep 1000").start().unwrap();
    let pid = container.pid();
    let directories = container
        .cgroup()
        .map(|cgroup| cgroup.directories())
        .unwrap_or_default();
    drop(container);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    for directory in directories {
        assert!(!directory.exists(), "{}", directory.display());
    }
    let owners: Vec<_> = std::fs::read_dir(bench.state.path().join("owners"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(
        std::fs::read_dir(owners[0].path()).unwrap().count(),
        1,
        "only the lock is left"
    );
}

#[test]
fn stragglers_end_with_the_first_process() {
    if !root("stragglers_end_with_the_first_process") {
        return;
    }
    let bench = Bench::new();
    // In the host's pid namespace nothing but the cgroup holds them together.
    let output = bench
        .sh("sleep 1000 >/dev/null 2>&1 & echo $!")
        .host_pid(true)
        .output()
        .unwrap();
    let pid: u32 = text(&output).trim().parse().unwrap();
    let path = format!("/proc/{pid}/stat");
    let gone = || std::fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone());
}
