//! User namespaces: as root, and as a user without any privilege. As root, a test of the latter kind runs itself again as one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::errno::Errno;
use orlop_init::{Create, Op, Plan, Slot, Source};
use orlop_namespaces::{
    IdMap, IdMapHelper, IdMaps, Kind, Resources, SpawnError, map_root_and, parse_id_maps,
    parse_sub_ids,
};

use crate::support::*;

const SOMEBODY: u32 = 23456;
const SUB_IDS: &str = "somebody:300000:65536\n";

const WITH_USER: [Kind; 7] = [
    Kind::User,
    Kind::Mount,
    Kind::Pid,
    Kind::Ipc,
    Kind::Uts,
    Kind::Cgroup,
    Kind::Network,
];

fn map(inside: u32, outside: u32, length: u32) -> IdMap {
    IdMap {
        inside,
        outside,
        length,
    }
}

fn own_maps() -> IdMaps {
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    IdMaps {
        uid: vec![map(0, uid, 1)],
        gid: vec![map(0, gid, 1)],
        setgroups: false,
        helper: None,
    }
}

/// Runs the test of this name again, as a user. `prepare` is shell run as root before that, in a mount namespace of its own.
fn again_as_somebody(test: &str, prepare: &str) -> bool {
    if !nix::unistd::geteuid().is_root() {
        return false;
    }
    // A copy, for the user may not be able to reach the original.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let script = format!(
        "{prepare}\nexec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups --inh-caps -all \"$0\" --exact {test} --nocapture"
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-ec", &script])
        .arg(&copy)
        .env("TMPDIR", "/tmp")
        .current_dir("/");
    let output = command
        .output()
        .expect("unshare and setpriv are needed: apt install util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains("skipped:"), "{said}");
    true
}

/// The usual container of a user: everything new, devices from the host.
fn container(root: &Root) -> Vec<Op> {
    let mut ops = vec![
        clone(&WITH_USER),
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        Op::NewSessionKeyring,
        Op::Propagation { flags: 1 << 19 },
        root.op(),
        proc(),
        mount(new("tmpfs", &["mode=0755"]), "/dev"),
        mount_as(
            new("devpts", &["newinstance", "ptmxmode=0666"]),
            "/dev/pts",
            Create::Dir,
            NOSUID,
        ),
        mount_as(
            Source::HostPath {
                path: text("/sys"),
                recursive: true,
            },
            "/sys",
            Create::No,
            0,
        ),
    ];
    for (name, minor) in [("null", 3), ("zero", 5)] {
        ops.push(Op::Device {
            target: text(&format!("/dev/{name}")),
            mode: 0o020666,
            major: 1,
            minor,
            uid: 0,
            gid: 0,
        });
    }
    ops.extend([
        Op::Hostname { name: text("user") },
        Op::LoopbackUp,
        Op::OomScoreAdj {
            value: -500,
            clamp: true,
        },
        Op::OomScoreAdj {
            value: 600,
            clamp: false,
        },
        Op::Sysctl {
            path: text("net/ipv4/ip_unprivileged_port_start"),
            value: text("80"),
        },
        Op::Pivot,
        Op::Mask {
            target: text("/proc/keys"),
        },
        Op::Mask {
            target: text("/proc/bus"),
        },
        Op::ReadOnly {
            target: text("/proc/sys"),
        },
    ]);
    ops
}

#[test]
fn as_a_user_alone() {
    if again_as_somebody("users::as_a_user_alone", "") {
        return;
    }
    let root = Root::new();
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("file"), "mine").unwrap();
    let file = fs::File::open(data.path()).unwrap();
    let mut ops = container(&root);
    let at = ops.iter().position(|op| *op == Op::Pivot).unwrap();
    let slot = Source::Fd {
        slot: Slot(0),
        recursive: false,
    };
    ops.insert(at, mount(slot, "/mnt"));
    ops.push(sh("id -u; id -g; hostname; echo x >/dev/null; cat /mnt/file; echo; cat /proc/self/uid_map; cat /proc/keys | wc -l; cat /proc/self/oom_score_adj; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep CapEff /proc/self/status"));
    let (code, said) =
        output_with(ops, &[std::os::fd::AsFd::as_fd(&file)], Some(own_maps())).unwrap();
    let uid = nix::unistd::geteuid();
    assert_eq!(code, 0, "{said}");
    let start = format!(
        "0\n0\nuser\nmine\n         0 {:>10}          1\n0\n600\n80\nCapEff:\t000001ff",
        uid.as_raw()
    );
    assert!(said.starts_with(&start), "{said}");
}

#[test]
fn a_users_clocks() {
    if again_as_somebody("users::a_users_clocks", "") {
        return;
    }
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        println!("a kernel without time namespaces");
        return;
    }
    let ops = vec![
        clone(&[Kind::User, Kind::Mount, Kind::Pid]),
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        Op::TimeOffsets {
            text: text("boottime 864000 0"),
        },
        exec(&["/bin/cat", "/proc/uptime"]),
    ];
    let said = output_with(ops, &[], Some(own_maps())).unwrap().1;
    let own = fs::read_to_string("/proc/uptime").unwrap();
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(uptime(&said) >= uptime(&own) + 863_990, "{said}");
}

#[test]
fn a_user_may_map_nothing_else() {
    if again_as_somebody("users::a_user_may_map_nothing_else", "") {
        return;
    }
    let mut maps = own_maps();
    maps.uid.push(map(1, 1, 1000));
    let ops = vec![
        clone(&[Kind::User]),
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        exec(&["/bin/true"]),
    ];
    let error = output_with(ops, &[], Some(maps)).unwrap_err();
    let SpawnError::IdMaps(cause) = error else {
        panic!("{error:?}")
    };
    assert!(cause.to_string().contains("/uid_map"), "{cause}");
}

#[test]
fn privilege_is_missed_by_name() {
    if again_as_somebody("users::privilege_is_missed_by_name", "") {
        return;
    }
    for kind in [Kind::Mount, Kind::Pid, Kind::Network, Kind::Uts] {
        assert_eq!(
            step(output(vec![clone(&[kind]), exec(&["/bin/true"])]), 0).1,
            Errno::EPERM
        );
    }
    let ops = vec![
        clone(&[]),
        Op::User {
            uid: 0,
            gid: 0,
            groups: None,
            keep_caps: false,
        },
        exec(&["/bin/true"]),
    ];
    assert_eq!(
        step(output(ops), 1),
        (String::from("becoming user 0:0"), Errno::EPERM)
    );
}

#[test]
fn as_a_user_with_helpers() {
    let prepare = format!(
        "mount -t tmpfs tmpfs /mnt
         cp -a /etc /mnt/etc
         printf '%s' '{SUB_IDS}' | tee /mnt/etc/subuid >/mnt/etc/subgid
         echo somebody:x:{SOMEBODY}:{SOMEBODY}::/:/bin/sh >>/mnt/etc/passwd
         mount --bind /mnt/etc /etc"
    );
    if again_as_somebody("users::as_a_user_with_helpers", &prepare) {
        return;
    }
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let runs = |file| {
        parse_sub_ids(
            &fs::read_to_string(file).unwrap_or_default(),
            me.as_ref().map(|me| me.name.as_str()),
            uid,
        )
    };
    let (uids, gids) = (runs("/etc/subuid"), runs("/etc/subgid"));
    if uids.is_empty() || gids.is_empty() {
        println!("skipped: as_a_user_with_helpers: no subordinate ids");
        return;
    }
    let helper = IdMapHelper {
        newuidmap: "/usr/bin/newuidmap".into(),
        newgidmap: "/usr/bin/newgidmap".into(),
    };
    assert!(
        helper.newuidmap.exists(),
        "newuidmap is needed: apt install uidmap"
    );
    let maps = IdMaps {
        uid: map_root_and(uid, &uids),
        gid: map_root_and(nix::unistd::getegid().as_raw(), &gids),
        setgroups: true,
        helper: Some(helper.clone()),
    };
    let root = Root::new();
    let mut ops = container(&root);
    ops.push(Op::User {
        uid: 1000,
        gid: 1001,
        groups: Some(vec![1002]),
        keep_caps: false,
    });
    ops.push(sh(
        "id -u; id -G; cat /proc/self/uid_map; grep CapEff /proc/self/status",
    ));
    let (code, said) = output_with(ops, &[], Some(maps)).unwrap();
    assert_eq!(code, 0, "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["1000", "1001 1002"]);
    let written = parse_id_maps(&lines[2..4].join("\n")).unwrap();
    assert_eq!(
        written,
        [map(0, uid, 1), map(1, uids[0].first, uids[0].count)]
    );
    assert_eq!(lines[4], "CapEff:\t0000000000000000");

    let foreign = IdMaps {
        uid: vec![map(0, 0, 1)],
        gid: vec![map(0, 0, 1)],
        setgroups: true,
        helper: Some(helper),
    };
    let ops = vec![
        clone(&[Kind::User]),
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        exec(&["/bin/true"]),
    ];
    let error = output_with(ops, &[], Some(foreign)).unwrap_err();
    let SpawnError::IdMaps(cause) = error else {
        panic!("{error:?}")
    };
    assert!(
        cause.to_string().starts_with("/usr/bin/newuidmap refused"),
        "{cause}"
    );
}

#[test]
fn as_root_with_other_ids() {
    if !is_root("as_root_with_other_ids") {
        return;
    }
    let root = Root::new();
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(closed.path().join("shared")).unwrap();
    fs::write(closed.path().join("shared/file"), "beyond a closed door").unwrap();
    let maps = IdMaps {
        uid: vec![map(0, 400_000, 65536)],
        gid: vec![map(0, 400_000, 65536)],
        setgroups: true,
        helper: None,
    };
    let mut ops = container(&root);
    let at = ops.iter().position(|op| *op == Op::Pivot).unwrap();
    ops.insert(
        at,
        mount(host(closed.path().join("shared").to_str().unwrap()), "/mnt"),
    );
    ops.push(sh(
        "id -u; cat /mnt/file; echo; cat /proc/self/uid_map; stat -c %u /mnt/file",
    ));
    let (code, said) = output_with(ops, &[], Some(maps)).unwrap();
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        said,
        "0\nbeyond a closed door\n         0     400000      65536\n65534\n"
    );
}

#[test]
fn maps_must_be_there() {
    let ops = vec![
        clone(&[Kind::User]),
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        exec(&["/bin/true"]),
    ];
    let error = LAUNCHER
        .start(&Plan::new(ops.clone()), Resources::default())
        .unwrap_err();
    assert!(matches!(error, SpawnError::NoIdMaps), "{error:?}");
    let mut maps = own_maps();
    maps.uid = vec![map(5, nix::unistd::geteuid().as_raw(), 1)];
    assert_eq!(
        step(output_with(ops, &[], Some(maps)), 1),
        (
            String::from("becoming 0:0 in the user namespace"),
            Errno::EINVAL
        )
    );
}
