//! Event descriptors and pressure.

use std::time::Duration;

use orlop_cgroups::{Controller, ErrorKind, Interest, Limits, Resource};

use super::support::{Scene, Waiting, eventually, skip};

const LONG: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn an_oom_kill_is_told() {
    let Some(scene) = Scene::with("an_oom_kill_is_told", &[Controller::Memory]) else {
        return;
    };
    let limits = Limits {
        memory_max: Some(16 << 20),
        memory_swap_max: Some(0),
        ..Limits::default()
    };
    let cgroup = scene.create("one", &limits);
    let mut event = cgroup.events().unwrap().memory.unwrap();
    assert!(!event.wait(Some(Duration::from_millis(20))).unwrap());
    let mut hog = Waiting::inside("exec tail /dev/zero", &cgroup);
    hog.go();
    assert!(event.wait(LONG).unwrap());
    event.read().unwrap();
    // v1 tells before it kills, and v2 tells of the limit first.
    eventually("the kill", || cgroup.oom_kills().unwrap() == 1);
    hog.wait();
    assert_eq!(cgroup.oom_kills().unwrap(), 1);
}

#[test]
fn an_oom_kill_in_the_end_is_quiet() {
    let Some(scene) = Scene::with("an_oom_kill_in_the_end_is_quiet", &[Controller::Memory]) else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let mut event = cgroup.events().unwrap().memory.unwrap();
    let mut process = Waiting::inside("kill -9 $$", &cgroup);
    process.go();
    process.wait();
    // A plain kill is no event; and reading without one does not block.
    assert!(!event.wait(Some(Duration::from_millis(50))).unwrap());
    event.read().unwrap();
}

#[test]
fn becoming_empty_is_told() {
    let Some(scene) = Scene::new("becoming_empty_is_told") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let process = Waiting::inside("", &cgroup);
    let Some(mut event) = cgroup.events().unwrap().state else {
        skip::<()>("becoming_empty_is_told", "there is no cgroup v2 here");
        return;
    };
    assert_eq!(event.interest(), Interest::Priority);
    process.wait();
    while event.read().unwrap().contains("populated 1") {
        assert!(event.wait(LONG).unwrap());
    }
}

#[test]
fn a_refused_fork_is_told() {
    let Some(scene) = Scene::with("a_refused_fork_is_told", &[Controller::Pids]) else {
        return;
    };
    let cgroup = scene.create(
        "one",
        &Limits {
            pids_max: Some(2),
            ..Limits::default()
        },
    );
    let Some(event) = cgroup.events().unwrap().pids else {
        skip::<()>("a_refused_fork_is_told", "cgroup v1 does not tell");
        return;
    };
    let mut process = Waiting::inside("sleep 9 & sleep 9 & sleep 9", &cgroup);
    process.go();
    assert!(event.wait(LONG).unwrap());
    assert!(cgroup.stats().unwrap().pids.unwrap().refused > 0);
    cgroup.kill().unwrap();
}

#[test]
fn pressure_is_measured_and_told() {
    let name = "pressure_is_measured_and_told";
    let Some(scene) = Scene::with(name, &[Controller::Cpu]) else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default().cpus(0.05));
    let (stall, window) = (Duration::from_millis(50), Duration::from_secs(2));
    if cgroup.stats().unwrap().pressure.cpu.is_none() {
        let error = cgroup
            .pressure_event(Resource::Cpu, false, stall, window)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        skip::<()>(name, "this kernel measures no pressure");
        return;
    }
    let mut event = cgroup
        .pressure_event(Resource::Cpu, false, stall, window)
        .unwrap();
    let mut busy = Waiting::inside("while :; do :; done & while :; do :; done", &cgroup);
    busy.go();
    assert!(event.wait(LONG).unwrap());
    event.read().unwrap();
    let pressure = cgroup.stats().unwrap().pressure.cpu.unwrap();
    assert!(pressure.some.total_us >= 50_000, "{pressure:?}");
    // The kernel takes windows of half a second to ten.
    let long = Duration::from_secs(60);
    let error = cgroup
        .pressure_event(Resource::Memory, true, stall, long)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    cgroup.kill().unwrap();
}
