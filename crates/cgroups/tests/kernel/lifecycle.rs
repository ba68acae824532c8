//! Making, joining, listing, removing; and what happens when it cannot be done.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use orlop_cgroups::{CgroupPath, Controller, ErrorKind, Limits, Mode};

use super::support::{Scene, Waiting, chain};

#[test]
fn a_cgroup_is_made_listed_and_removed() {
    let Some(scene) = Scene::new("a_cgroup_is_made_listed_and_removed") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    for dir in cgroup.directories() {
        assert!(dir.is_dir(), "{}", dir.display());
    }
    scene.create("deep/er", &Limits::default());
    let children = scene.cgroups.children(&scene.parent).unwrap();
    let names: Vec<_> = children.iter().map(CgroupPath::name).collect();
    assert_eq!(names, ["deep", "one"]);

    let path = cgroup.path().clone();
    let error = scene.cgroups.create(&path, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(
        scene.cgroups.open(&path).is_ok(),
        "the failed create removed the existing one"
    );

    let directories = cgroup.directories();
    cgroup.clone().remove().unwrap();
    assert!(directories.iter().all(|dir| !dir.exists()));
    // Again is no error; to open it is.
    cgroup.remove().unwrap();
    assert_eq!(
        scene.cgroups.open(&path).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // Children go with their parent.
    scene.cgroups.open(&scene.parent).unwrap().remove().unwrap();
    assert!(scene.cgroups.children(&scene.parent).unwrap().is_empty());
}

#[test]
fn a_failed_create_leaves_nothing() {
    let Some(scene) = Scene::with("a_failed_create_leaves_nothing", &[Controller::Cpu]) else {
        return;
    };
    // Below the kernel's least quota of 1 ms: found only when it is written.
    let limits = Limits {
        cpu_quota_us: Some(10),
        ..Limits::default()
    };
    let path = scene.parent.join("deep/one").unwrap();
    let error = scene.cgroups.create(&path, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = chain(&error);
    for part in ["cpu.", "10", "Invalid argument", path.as_str()] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        scene.cgroups.open(&scene.parent).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn leftovers_in_one_hierarchy_are_found_and_removed() {
    let name = "leftovers_in_one_hierarchy_are_found_and_removed";
    let Some(scene) = Scene::new(name) else {
        return;
    };
    let cgroup = scene.create("dead", &Limits::default());
    // As after a kill in the middle of create or remove.
    for dir in cgroup.directories().iter().skip(1) {
        std::fs::remove_dir(dir).unwrap();
    }
    let children = scene.cgroups.children(&scene.parent).unwrap();
    assert_eq!(children.len(), 1);
    let found = scene.cgroups.open(&children[0]).unwrap();
    assert_eq!(found.directories().len(), 1);
    assert_eq!(found.stats().unwrap().io, []);
    found.remove().unwrap();
    assert!(scene.cgroups.children(&scene.parent).unwrap().is_empty());
}

#[test]
fn a_process_is_attached_everywhere() {
    let Some(scene) = Scene::new("a_process_is_attached_everywhere") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let mut process = Waiting::inside("cat /proc/self/cgroup", &cgroup);
    assert_eq!(cgroup.processes().unwrap(), [process.pid()]);
    process.go();
    let (out, err, status) = process.output();
    assert!(status.success(), "{err}");
    let wanted = format!(":/{}", cgroup.path());
    let inside = out.lines().filter(|line| line.ends_with(&wanted)).count();
    assert_eq!(inside, cgroup.directories().len(), "{out}");

    let error = cgroup.attach(u32::MAX >> 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // 0 would be this very process.
    assert_eq!(cgroup.attach(0).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_process_joins_by_descriptors() {
    let Some(scene) = Scene::new("a_process_joins_by_descriptors") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let join = cgroup.join().unwrap();
    let v1 = join.v1_tasks.len();
    match scene.cgroups.mode() {
        Mode::V1 => assert!(join.v2.is_none() && v1 > 0),
        Mode::V2 => assert!(join.v2.is_some() && v1 == 0),
        Mode::Hybrid => assert!(join.v2.is_some() && v1 > 0),
    }
    if let Some(fd) = &join.v2 {
        // The very directory, for clone3 to use.
        let stat = rustix::fs::fstat(fd.as_fd()).unwrap();
        let inodes: Vec<_> = cgroup
            .directories()
            .iter()
            .map(|dir| std::fs::metadata(dir).unwrap().ino())
            .collect();
        assert!(inodes.contains(&stat.st_ino));
    }
    for tasks in join.v1_tasks {
        // The shell's own echo writes 0, which is the writer.
        let output = Command::new("sh")
            .args(["-c", "echo 0; cat /proc/self/cgroup >&2"])
            .stdout(Stdio::from(tasks))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let wanted = format!(":/{}", cgroup.path());
        assert_eq!(
            text.lines().filter(|line| line.ends_with(&wanted)).count(),
            1,
            "{text}"
        );
    }
}

#[test]
fn a_cgroup_in_use_is_not_removed() {
    let Some(scene) = Scene::new("a_cgroup_in_use_is_not_removed") else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let process = Waiting::inside("", &cgroup);
    let error = cgroup.clone().remove().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains("1 processes"), "{error}");
    process.wait();
    // The process is a zombie no longer, but the kernel may still be at it: remove waits.
    cgroup.remove().unwrap();
}

#[test]
fn fewer_hierarchies_on_request() {
    let Some(scene) = Scene::with("fewer_hierarchies_on_request", &[Controller::Memory]) else {
        return;
    };
    let few = scene.cgroups.restricted_to([Controller::Memory]);
    let limits = Limits {
        memory_max: Some(64 << 20),
        ..Limits::default()
    };
    let path = scene.parent.join("one").unwrap();
    let cgroup = few.create(&path, &limits).unwrap();
    if scene.cgroups.mode() == Mode::Hybrid {
        assert_eq!(cgroup.directories().len(), 2);
        // A limit for a controller that was left out is an error, not silence.
        let limits = Limits {
            pids_max: Some(5),
            ..Limits::default()
        };
        assert_eq!(
            cgroup.set(&limits).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
    assert_eq!(
        cgroup.stats().unwrap().memory.unwrap().limit,
        Some(64 << 20)
    );
}

#[test]
fn v2_parents_with_processes_are_explained() {
    let needed = [Controller::Memory];
    let Some(scene) = Scene::pure_v2("v2_parents_with_processes_are_explained", &needed) else {
        return;
    };
    let parent = scene.create("parent", &Limits::default());
    let process = Waiting::inside("", &parent);
    let limits = Limits {
        memory_max: Some(64 << 20),
        ..Limits::default()
    };
    let path = parent.path().join("child").unwrap();
    let error = scene.cgroups.create(&path, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(
        error.to_string().contains("processes of its own"),
        "{error}"
    );
    assert_eq!(
        scene.cgroups.open(&path).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // Without limits there is nothing to enable, and a cgroup without controllers will do.
    scene
        .cgroups
        .create(&path, &Limits::default())
        .unwrap()
        .remove()
        .unwrap();
    drop(process);
    scene.cgroups.create(&path, &limits).unwrap();
}

#[test]
fn many_at_once_under_one_parent() {
    let Some(scene) = Scene::new("many_at_once_under_one_parent") else {
        return;
    };
    // Each thread makes and removes the parent too, so that they pull it away from under each other.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let scene = &scene;
            scope.spawn(move || {
                for round in 0..10 {
                    let path = scene.parent.join(format!("p/{thread}-{round}")).unwrap();
                    let cgroup = scene.cgroups.create(&path, &Limits::default()).unwrap();
                    cgroup.remove().unwrap();
                    let parent = path.parent().unwrap();
                    for dir in scene
                        .cgroups
                        .open(&parent)
                        .iter()
                        .flat_map(|p| p.directories())
                    {
                        let _ = std::fs::remove_dir(dir);
                    }
                }
            });
        }
    });
}
