//! Device rules, by what a process inside may open.

use std::os::unix::process::ExitStatusExt as _;

use orlop_cgroups::{Cgroup, DeviceAccess, DeviceKind, DeviceRule, Limits};

use super::support::{Scene, Waiting};

/// Whether a process in `cgroup` may do what the shell `script` does.
fn may(cgroup: &Cgroup, script: &str) -> bool {
    let mut process = Waiting::inside(script, cgroup);
    process.go();
    let (_, err, status) = process.output();
    assert_eq!(status.signal(), None);
    assert!(
        status.success() || err.contains("not permitted"),
        "{script}: {err}"
    );
    status.success()
}

fn limits(rules: Vec<DeviceRule>) -> Limits {
    Limits {
        devices: Some(rules),
        ..Limits::default()
    }
}

#[test]
fn a_device_is_denied() {
    let Some(scene) = Scene::new("a_device_is_denied") else {
        return;
    };
    let null = DeviceRule::allow_char(1, Some(3), DeviceAccess::ALL);
    let cgroup = scene.create("one", &limits(vec![null]));
    assert!(may(&cgroup, "true > /dev/null"));
    assert!(may(&cgroup, "true < /dev/null"));
    assert!(!may(&cgroup, "true < /dev/zero"));
    assert!(!may(&cgroup, "true < /dev/full"));

    // Changed while it lives: the new list holds and the old one is gone.
    let zero = DeviceRule::allow_char(1, Some(5), DeviceAccess::ALL);
    cgroup.set(&limits(vec![zero])).unwrap();
    assert!(may(&cgroup, "true < /dev/zero"));
    assert!(!may(&cgroup, "true < /dev/null"));
    for _ in 0..3 {
        cgroup
            .set(&limits(DeviceRule::container_defaults()))
            .unwrap();
    }
    assert!(may(&cgroup, "true < /dev/zero"));
    assert!(may(&cgroup, "true < /dev/null"));
}

#[test]
fn reading_and_writing_are_told_apart() {
    let Some(scene) = Scene::new("reading_and_writing_are_told_apart") else {
        return;
    };
    let read = DeviceAccess::parse("r").unwrap();
    let write = DeviceAccess::parse("w").unwrap();
    let zero = DeviceRule::allow_char(1, Some(5), read);
    let full = DeviceRule::allow_char(1, Some(7), DeviceAccess::ALL);
    let no_write = DeviceRule {
        allow: false,
        kind: DeviceKind::All,
        major: None,
        minor: None,
        access: write,
    };
    let cgroup = scene.create("one", &limits(vec![zero, full, no_write]));
    assert!(may(&cgroup, "true < /dev/zero"));
    assert!(!may(&cgroup, "true > /dev/zero"));
    assert!(!may(&cgroup, "true 1<> /dev/zero"));
    assert!(may(&cgroup, "true < /dev/full"));
    assert!(!may(&cgroup, "true 1<> /dev/full"));
}

#[test]
fn everything_but_one() {
    let Some(scene) = Scene::new("everything_but_one") else {
        return;
    };
    let all = DeviceRule {
        allow: true,
        kind: DeviceKind::All,
        major: None,
        minor: None,
        access: DeviceAccess::ALL,
    };
    let no_zero = DeviceRule {
        allow: false,
        ..DeviceRule::allow_char(1, Some(5), DeviceAccess::ALL)
    };
    let cgroup = scene.create("one", &limits(vec![all, no_zero]));
    assert!(!may(&cgroup, "true < /dev/zero"));
    assert!(may(&cgroup, "true < /dev/full"));
    // A list that ends in "all" needs no further look.
    cgroup.set(&limits(vec![no_zero, all])).unwrap();
    assert!(may(&cgroup, "true < /dev/zero"));
}

#[test]
fn making_a_node_is_separate() {
    let Some(scene) = Scene::new("making_a_node_is_separate") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("null").display().to_string();
    let cgroup = scene.create("one", &limits(DeviceRule::container_defaults()));
    // Any node may be made, and few be used.
    assert!(may(&cgroup, &format!("mknod {node} c 10 200 && rm {node}")));
    let read = DeviceRule::allow_char(1, Some(3), DeviceAccess::parse("rw").unwrap());
    cgroup.set(&limits(vec![read])).unwrap();
    assert!(!may(&cgroup, &format!("mknod {node} c 1 3")));
}
