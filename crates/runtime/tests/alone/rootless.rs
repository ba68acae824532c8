//! As a real user without any capability.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use orlop_runtime::{ErrorKind, IdMap, IdMapHelper, Network, UserNamespace};

use crate::support::{Bench, chain, run};

const USER: u32 = 65534;

/// This program, run by a user without capabilities, in a mount namespace where `prepare` has been done.
fn as_user(part: &str, prepare: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let program = dir.path().join("alone");
    // Where it was built may be closed to others.
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let script = format!(
        "{prepare}\nexec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all env TMPDIR={} {} --part {part}",
        dir.path().display(),
        program.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-ec", &script])
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("done"), "{text}");
}

pub(crate) fn without_helpers() {
    if rustix::process::geteuid().is_root() {
        as_user("rootless-part", "");
    } else {
        part();
    }
}

pub(crate) fn with_helpers() {
    if !crate::support::root("rootless_with_helpers") {
        return;
    }
    // Only this mount namespace's users have these ids to give.
    as_user(
        "helpers-part",
        "f=$(mktemp); echo nobody:300000:65536 > $f; chmod 644 $f; mount --bind $f /etc/subuid; mount --bind $f /etc/subgid; rm $f 2>/dev/null || true",
    );
}

fn no_capabilities() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(
        status.contains("CapEff:\t0000000000000000")
            && status.contains("CapPrm:\t0000000000000000"),
        "{status}"
    );
}

pub(crate) fn part() {
    no_capabilities();
    let own = rustix::process::geteuid().as_raw();
    let bench = Bench::new();
    let host = bench.runtime.host();
    assert!(!host.privileged && host.uid == own);
    assert_eq!(
        run(bench
            .sh("id -u; id -g; echo $HOME; hostname")
            .hostname("box")),
        "0\n0\n/root\nbox\n"
    );
    let maps = run(bench.sh("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"));
    let words: Vec<&str> = maps.split_whitespace().collect();
    assert_eq!(words[..3], ["0", own.to_string().as_str(), "1"]);
    assert_eq!(words[6], "deny");
    let status = run(bench.sh("grep -E 'CapEff|Seccomp:' /proc/self/status"));
    assert_eq!(status, "CapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    // Written files are the caller's.
    run(bench.sh("echo x > /made && chown 0:0 /made"));
    let made = std::fs::metadata(bench.rootfs.path.join("made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), own);
    let devices = run(bench.sh("echo x > /dev/null; head -c 4 /dev/urandom | wc -c; ls /dev/pts | grep -c ptmx; test -w /dev/shm && echo shm; ls /sys/class/net"));
    assert_eq!(devices, "4\n1\nshm\nlo\n");
    // The caller's network, where its sysfs has to be the caller's too.
    run(bench
        .sh("test -d /sys/class/net && test -d /proc/1")
        .network(Network::Host));
    let seen = run(bench
        .sh("touch /x 2>&1; echo 1 > /proc/sys/kernel/msgmax 2>&1; true")
        .read_only(true));
    assert!(seen.contains("Read-only file system"), "{seen}");
    let output = bench
        .sh("test -t 0 && tty")
        .terminal(10, 20)
        .output()
        .unwrap();
    assert!(output.exit.success(), "{output:?}");
    assert_eq!(bench.sh("exit 5").output().unwrap().exit.code(), Some(5));
    // What takes more than a user has is refused, and says why.
    let error = bench
        .container()
        .command(["true"])
        .user("app")
        .start()
        .unwrap_err();
    assert!(
        chain(&error).contains("1000 is not mapped"),
        "{}",
        chain(&error)
    );
    let two = vec![IdMap {
        inside: 0,
        outside: own,
        length: 2,
    }];
    let mapped = bench
        .container()
        .command(["true"])
        .user_namespace(UserNamespace::Map {
            uid: two.clone(),
            gid: two,
        });
    assert_eq!(mapped.start().unwrap_err().kind(), ErrorKind::Privilege);
    if let Err(error) = bench.container().command(["true"]).memory(64 << 20).start() {
        assert_eq!(error.kind(), ErrorKind::Privilege, "{}", chain(&error));
    }
    let error = bench
        .container()
        .command(["no-such-program"])
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandNotFound);
    println!("done");
}

pub(crate) fn helpers_part() {
    no_capabilities();
    let own = rustix::process::geteuid().as_raw();
    let helper = IdMapHelper {
        newuidmap: "/usr/bin/newuidmap".into(),
        newgidmap: "/usr/bin/newgidmap".into(),
    };
    for program in [&helper.newuidmap, &helper.newgidmap] {
        assert!(
            Path::new(program).exists(),
            "{} is missing: install the package uidmap",
            program.display()
        );
    }
    let bench = Bench::new();
    let maps = vec![
        IdMap {
            inside: 0,
            outside: own,
            length: 1,
        },
        IdMap {
            inside: 1,
            outside: 300_000,
            length: 65_535,
        },
    ];
    let mapped = || {
        let namespace = UserNamespace::Map {
            uid: maps.clone(),
            gid: maps.clone(),
        };
        bench
            .container()
            .user_namespace(namespace)
            .id_map_helper(helper.clone())
    };
    assert_eq!(run(mapped().command(["id", "-u"])), "0\n");
    assert_eq!(
        run(mapped()
            .command(["sh", "-c", "id -u; id -g; id -G"])
            .user("app")),
        "1000\n1001\n1001 50\n"
    );
    run(mapped().command([
        "sh",
        "-c",
        "touch /tmp/theirs && chown 1000:1001 /tmp/theirs",
    ]));
    let theirs = std::fs::metadata(bench.rootfs.path.join("tmp/theirs")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&theirs), 300_999);
    // Only the container's root may remove it again.
    run(mapped().command(["rm", "/tmp/theirs"]));
    println!("done");
}
