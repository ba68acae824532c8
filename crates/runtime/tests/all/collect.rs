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
