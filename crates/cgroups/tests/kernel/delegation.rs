//! An ordinary user in a subtree that was handed over, and outside of it.

use std::os::unix::fs::PermissionsExt;

use orlop_cgroups::{CgroupPath, Cgroups, Controller, Error, ErrorKind, Limits};

use super::support::{Scene, Waiting, chain};

/// Set where the test binary runs itself again as an ordinary user.
const INSIDE: &str = "ORLOP_TEST_DELEGATED";
const USER: u32 = 65534;

#[test]
fn a_delegated_subtree_serves_an_ordinary_user() {
    let name = "a_delegated_subtree_serves_an_ordinary_user";
    if std::env::var_os(INSIDE).is_some() {
        return as_user();
    }
    let needed = [Controller::Pids, Controller::Memory];
    let Some(scene) = Scene::pure_v2(name, &needed) else {
        return;
    };
    // With limits, so that the controllers are there to be handed on.
    let cgroup = scene.create(
        "user",
        &Limits {
            pids_max: Some(50),
            memory_max: Some(128 << 20),
            ..Limits::default()
        },
    );
    for dir in cgroup.directories() {
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            std::os::unix::fs::chown(dir.join(file), Some(USER), Some(USER)).unwrap();
        }
    }
    // Where this program was built, another user may not look.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [folder.path(), &program] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let script = format!(
        "export {INSIDE}=1; exec setpriv --reuid {USER} --regid {USER} --clear-groups {} --exact kernel::delegation::{name}",
        program.display()
    );
    let mut process = Waiting::inside(&script, &cgroup);
    process.go();
    let (out, err, status) = process.output();
    assert!(status.success() && out.contains("1 passed"), "{out}{err}");
}

fn as_user() {
    let cgroups = Cgroups::detect().unwrap();
    let own = cgroups.delegated().unwrap().unwrap();
    let limits = Limits {
        pids_max: Some(5),
        ..Limits::default()
    };
    // This very process is in the way of its own children's controllers.
    let path = own.join("box").unwrap();
    let error = cgroups.create(&path, &limits).unwrap_err();
    assert!(
        matches!(error, Error::InternalProcesses { .. }),
        "{}",
        chain(&error)
    );
    let aside = cgroups
        .create(&own.join("self").unwrap(), &Limits::default())
        .unwrap();
    aside.attach(std::process::id()).unwrap();

    let cgroup = cgroups.create(&path, &limits).unwrap();
    assert_eq!(cgroup.stats().unwrap().pids.unwrap().limit, Some(5));
    let process = Waiting::inside("", &cgroup);
    cgroup.freeze().unwrap();
    cgroup.kill().unwrap();
    drop(process);
    cgroup.remove().unwrap();

    // Outside nothing is this user's.
    let outside = CgroupPath::new(format!("orlop-test-user-{}", std::process::id())).unwrap();
    let error = cgroups.create(&outside, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDelegated, "{}", chain(&error));
    let parent = cgroups.open(&own.parent().unwrap()).unwrap();
    let error = parent.attach(std::process::id()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDelegated, "{}", chain(&error));
    // Nor may it load device programs.
    let devices = Limits {
        devices: Some(Vec::new()),
        ..Limits::default()
    };
    let error = cgroups.create(&path, &devices).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDelegated, "{}", chain(&error));
    assert_eq!(cgroups.open(&path).unwrap_err().kind(), ErrorKind::NotFound);
}
