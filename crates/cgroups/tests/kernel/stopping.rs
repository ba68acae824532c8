//! Freezing and killing.

use std::time::{Duration, Instant};

use orlop_cgroups::{ErrorKind, Limits};

use super::support::{Scene, Waiting, eventually};

#[test]
fn a_frozen_cgroup_stands_still() {
    let Some(scene) = Scene::new("a_frozen_cgroup_stands_still") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let mut busy = Waiting::inside("while :; do :; done", &cgroup);
    busy.go();
    let usage = || cgroup.stats().unwrap().cpu.unwrap().usage_ns;
    eventually("progress", || usage() > 20_000_000);
    assert!(!cgroup.is_frozen().unwrap());

    cgroup.freeze().unwrap();
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    let before = usage();
    std::thread::sleep(Duration::from_millis(200));
    // One tick of accounting may come late.
    assert!(usage() - before < 15_000_000, "it ran on while frozen");

    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    eventually("progress again", || usage() > before + 20_000_000);
    cgroup.kill().unwrap();
}

#[test]
fn a_frozen_cgroup_is_killed_and_thawed() {
    let Some(scene) = Scene::new("a_frozen_cgroup_is_killed_and_thawed") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let process = Waiting::inside("", &cgroup);
    cgroup.freeze().unwrap();
    cgroup.kill().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    assert!(cgroup.processes().unwrap().is_empty());
    drop(process);
    cgroup.remove().unwrap();
}

#[test]
fn whatever_forks_is_killed() {
    let Some(scene) = Scene::new("whatever_forks_is_killed") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    // Each generation forks the next and ends, so no list of pids stays true; two lines of it.
    let script = "f() { (f) & }; f; f; trap '' TERM HUP INT; sleep 60";
    let mut process = Waiting::inside(script, &cgroup);
    process.go();
    std::thread::sleep(Duration::from_millis(100));
    let inner = scene.create("one/inner", &Limits::default());
    let second = Waiting::inside("", &inner);
    let started = Instant::now();
    cgroup.kill().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(cgroup.processes().unwrap().is_empty());
    drop((process, second));
    cgroup.remove().unwrap();
}

#[test]
fn without_cgroup_kill_each_is_signalled() {
    let Some(scene) = Scene::new("without_cgroup_kill_each_is_signalled") else {
        return;
    };
    // Only v1 directories are known to this one, as on a host without v2.
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let v1: String = table
        .lines()
        .filter(|line| !line.contains(" - cgroup2 "))
        .map(|line| format!("{line}\n"))
        .collect();
    let Ok(cgroups) = orlop_cgroups::Cgroups::detect_in(&v1, std::path::Path::new("/")) else {
        println!("skipped: without_cgroup_kill_each_is_signalled: there is no cgroup v1 here");
        return;
    };
    let path = scene.parent.join("one").unwrap();
    let cgroup = cgroups.create(&path, &Limits::default()).unwrap();
    let mut process = Waiting::inside("f() { (f) & }; f; f; sleep 60", &cgroup);
    process.go();
    std::thread::sleep(Duration::from_millis(50));
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.thaw().unwrap();
    cgroup.kill().unwrap();
    assert!(cgroup.processes().unwrap().is_empty());
    drop(process);
    cgroup.remove().unwrap();
}

/// The test binary runs itself again as this test, inside the cgroup named here.
const INSIDE: &str = "ORLOP_TEST_CGROUP";

#[test]
fn nobody_kills_or_freezes_himself() {
    let name = "nobody_kills_or_freezes_himself";
    let Some(scene) = Scene::new(name) else {
        return;
    };
    if let Ok(path) = std::env::var(INSIDE) {
        let path = orlop_cgroups::CgroupPath::new(path).unwrap();
        let cgroup = scene.cgroups.open(&path).unwrap();
        assert_eq!(cgroup.kill().unwrap_err().kind(), ErrorKind::InUse);
        assert_eq!(cgroup.freeze().unwrap_err().kind(), ErrorKind::InUse);
        return;
    }
    let cgroup = scene.create("one", &Limits::default());
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "{INSIDE}={} exec {} --exact kernel::stopping::{name}",
        cgroup.path(),
        program.display()
    );
    let mut process = Waiting::inside(&script, &cgroup);
    process.go();
    let (out, err, status) = process.output();
    assert!(status.success() && out.contains("1 passed"), "{out}{err}");
}
