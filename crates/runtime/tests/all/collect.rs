//! What a killed owner leaves, and its collection. The killing itself needs a process of its own: see `alone.rs`.

use orlop_runtime::{Options, Runtime};

use super::support::*;

#[test]
fn the_living_are_left_alone() {
    let bench = Bench::new();
    let container = bench
        .container()
        .command(["sleep", "1000"])
        .start()
        .unwrap();
    let mut options = Options::new(bench.state.path());
    options.cgroup_parent = Some(parent());
    let other = Runtime::new(options).unwrap();
    assert!(other.gc().unwrap().containers.is_empty());
    assert!(bench.runtime.gc().unwrap().containers.is_empty());
    assert!(container.try_wait().unwrap().is_none());
    drop(container);
    assert!(other.gc().unwrap().containers.is_empty());
}

#[test]
fn a_record_without_a_container_goes() {
    let bench = Bench::new();
    let dead = bench.state.path().join("owners/1");
    std::fs::create_dir_all(&dead).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    std::fs::write(
        dead.join("ghost"),
        r#"{"id":"ghost","cgroup":"orlop-test-none/ghost","process":null}"#,
    )
    .unwrap();
    assert_eq!(bench.runtime.gc().unwrap().containers, ["ghost"]);
    assert!(!dead.exists());
}

#[test]
fn without_a_parent_of_cgroups() {
    let (state, rootfs) = (tempfile::tempdir().unwrap(), Rootfs::new());
    let mut options = Options::new(state.path());
    options.cgroup_parent = None;
    let runtime = Runtime::new(options).unwrap();
    let container = || runtime.container(rootfs.path.as_path());
    let running = container().command(["sleep", "1000"]).start().unwrap();
    let theirs = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid())).unwrap();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(theirs, own);
    drop(running);
    // A limit that cannot be kept is refused, not dropped.
    let refused = container()
        .command(["true"])
        .memory(64 << 20)
        .output()
        .unwrap_err();
    assert!(refused.to_string().contains("cgroup"), "{refused}");
}
