//! Ids, capabilities, system calls, names, kernel parameters, the terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use orlop_init::{Create, Op, Plan};
use orlop_namespaces::{ExitStatus, Kind, Resources, SpawnError};

use crate::support::*;

const CAPABILITIES: &str = "grep ^Cap /proc/self/status";

fn user(uid: u32, gid: u32, groups: Option<Vec<u32>>) -> Op {
    Op::User {
        uid,
        gid,
        groups,
        keep_caps: true,
    }
}

#[test]
fn users_and_groups() {
    if !is_root("users_and_groups") {
        return;
    }
    let ops = vec![
        clone(&[]),
        user(1234, 567, Some(vec![5, 70000])),
        sh("grep -E '^(Uid|Gid|Groups)' /proc/self/status"),
    ];
    let (_, said) = output(ops).unwrap();
    assert_eq!(
        said,
        "Uid:\t1234\t1234\t1234\t1234\nGid:\t567\t567\t567\t567\nGroups:\t5 70000 \n"
    );
}

#[test]
fn capability_sets() {
    if !is_root("capability_sets") {
        return;
    }
    const NET_BIND: u64 = 1 << 10;
    const KILL: u64 = 1 << 5;
    let ops = vec![
        clone(&[]),
        Op::BoundingSet {
            keep: NET_BIND | KILL,
        },
        user(1234, 567, Some(vec![])),
        Op::Capabilities {
            effective: NET_BIND,
            permitted: NET_BIND | KILL,
            inheritable: NET_BIND,
            ambient: NET_BIND,
        },
        sh(CAPABILITIES),
    ];
    let (_, said) = output(ops).unwrap();
    let mask = format!("{NET_BIND:016x}");
    let expected = format!(
        "CapInh:\t{mask}\nCapPrm:\t{mask}\nCapEff:\t{mask}\nCapBnd:\t{:016x}\nCapAmb:\t{mask}\n",
        NET_BIND | KILL
    );
    assert_eq!(said, expected);
    let none = vec![
        clone(&[]),
        user(1234, 567, None),
        Op::Capabilities {
            effective: 0,
            permitted: 0,
            inheritable: 0,
            ambient: 0,
        },
        sh(CAPABILITIES),
    ];
    let said = output(none).unwrap().1;
    assert!(
        said.starts_with(
            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
        ),
        "{said}"
    );
    assert!(said.ends_with("CapAmb:\t0000000000000000\n"));
}

#[test]
fn pipes_can_be_opened_again_by_the_user() {
    if !is_root("pipes_can_be_opened_again_by_the_user") {
        return;
    }
    let script = "echo again >/proc/self/fd/1";
    assert_eq!(
        output(vec![clone(&[]), user(1234, 567, Some(vec![])), sh(script)]).unwrap(),
        (0, String::from("again\n"))
    );
}

/// `struct sock_filter`.
fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> [u8; 8] {
    let ([a, b], [c, d, e, f]) = (code.to_ne_bytes(), k.to_ne_bytes());
    [a, b, jt, jf, c, d, e, f]
}

/// Everything is allowed but one call, for which the filter returns `action`.
fn filter(number: i64, action: u32) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        instruction(LOAD, 0, 0, 0),
        instruction(JUMP_EQUAL, 0, 1, number as u32),
        instruction(RETURN, 0, 0, action),
        instruction(RETURN, 0, 0, 0x7fff_0000),
    ]
    .concat()
}

const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const NOTIFY: u32 = 0x7fc0_0000;

fn seccomp(number: i64, action: u32, listener: bool) -> Op {
    Op::Seccomp {
        program: filter(number, action),
        flags: 0,
        listener,
    }
}

#[test]
fn a_filter_is_in_force() {
    for before in [vec![Op::NoNewPrivileges], vec![]] {
        if before.is_empty() && !is_root("a_filter_is_in_force") {
            continue;
        }
        let mut ops = vec![clone(&[])];
        ops.extend(before);
        ops.extend([
            seccomp(libc::SYS_mkdirat, ERRNO | 77, false),
            seccomp(libc::SYS_mkdir, ERRNO | 77, false),
        ]);
        ops.push(sh("grep Seccomp: /proc/self/status; mkdir /tmp/forbidden"));
        let (code, said) = output(ops).unwrap();
        assert!(code != 0 && said.starts_with("Seccomp:\t2\n"), "{said}");
        assert!(said.contains("descriptor in bad state"), "{said}");
    }
}

#[test]
fn a_filter_that_forbids_the_end_is_named() {
    // Neither can write a message any more: the shared page tells.
    let refused = vec![
        clone(&[]),
        Op::NoNewPrivileges,
        seccomp(libc::SYS_execve, ERRNO | 13, false),
        sh(""),
    ];
    assert_eq!(
        step(output(refused), 5),
        (String::from("executing /bin/sh"), Errno::EACCES)
    );
    let killed = vec![
        clone(&[]),
        Op::NoNewPrivileges,
        seccomp(libc::SYS_dup3, KILL_PROCESS, false),
        sh(""),
    ];
    match output(killed).unwrap_err() {
        SpawnError::Died { index: 3, op, how } => {
            assert_eq!(op, "making file descriptor 1 of slot 0");
            assert!(how.contains("SIGSYS"), "{how}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_listener_comes_to_the_caller() {
    let ops = vec![
        clone(&[]),
        Op::NoNewPrivileges,
        seccomp(libc::SYS_mkdirat, NOTIFY, true),
        exec(&["/bin/sleep", "100"]),
    ];
    let started = LAUNCHER
        .start(&Plan::new(ops), Resources::default())
        .unwrap();
    let listener = started.seccomp_listener.as_ref().unwrap();
    let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    assert_eq!(link.to_str().unwrap(), "anon_inode:seccomp notify");
    started.process.signal(9).unwrap();
    started.process.wait().unwrap();
}

#[test]
fn names_and_parameters() {
    if !is_root("names_and_parameters") {
        return;
    }
    let root = Root::new();
    let set = |path: &str, value: &str| Op::Sysctl {
        path: text(path),
        value: text(value),
    };
    let ops = vec![
        Op::Hostname {
            name: text("orlop-test"),
        },
        Op::Domainname {
            name: text("example"),
        },
        set("kernel/msgmax", "4321"),
        proc(),
        Op::ReadOnly {
            target: text("/proc/sys"),
        },
        Op::Pivot,
        set("kernel/msgmnb", "9876"),
    ];
    let script =
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax /proc/sys/kernel/msgmnb";
    assert_eq!(root.say(ops, script), "orlop-test\nexample\n4321\n9876\n");
    assert_eq!(
        root.fails(vec![set("kernel/no_such", "1")], 0),
        Errno::ENOENT
    );
    assert_eq!(
        root.fails(vec![set("kernel/msgmax", "many")], 0),
        Errno::EINVAL
    );
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(own, "orlop-test\n");
}

#[test]
fn the_loopback_device_comes_up() {
    if !is_root("the_loopback_device_comes_up") {
        return;
    }
    let (_, said) = output(vec![
        clone(&[Kind::Network]),
        Op::LoopbackUp,
        exec(&["/bin/busybox", "ip", "addr"]),
    ])
    .unwrap();
    assert!(
        said.contains("LOOPBACK,UP") && said.contains("127.0.0.1"),
        "{said}"
    );
}

#[test]
fn the_clocks_are_set() {
    if !is_root("the_clocks_are_set") {
        return;
    }
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        println!("skipped: the_clocks_are_set: a kernel without time namespaces");
        return;
    }
    let ops = vec![
        Op::TimeOffsets {
            text: text("monotonic 0 0\nboottime 864000 0\n"),
        },
        clone(&[]),
        exec(&["/bin/cat", "/proc/uptime"]),
    ];
    let said = output(ops).unwrap().1;
    let own = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(uptime(&said) >= uptime(&own) + 863_990, "{said}");
}

#[test]
fn a_terminal_of_its_own() {
    if !is_root("a_terminal_of_its_own") {
        return;
    }
    let root = Root::new();
    let mut ops = root.begin(&INSIDE);
    ops.extend([
        proc(),
        mount(new("tmpfs", &[]), "/dev"),
        mount_as(new("devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]), "/dev/pts", Create::Dir, 0),
        Op::Terminal { rows: 33, columns: 99, console: true },
        Op::Pivot,
        Op::User { uid: 1234, gid: 5, groups: Some(vec![]), keep_caps: false },
        sh("tty; stty size; stat -c %u $(tty); cut -d' ' -f7 /proc/self/stat;read line; echo got $line"),
    ]);
    for name in ["stty", "cut"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let started = LAUNCHER
        .start(&Plan::new(ops), Resources::default())
        .unwrap();
    let mut master = File::from(started.terminal.unwrap());
    master.write_all(b"typed\n").unwrap();
    let exit = started.process.wait().unwrap();
    let mut said = [0; 1000];
    let mut length = 0;
    while let Ok(more) = master.read(&mut said[length..]) {
        length += more;
        if more == 0 || length == said.len() {
            break;
        }
    }
    let said = String::from_utf8_lossy(&said[..length]);
    assert_eq!(exit.status, ExitStatus::Code(0), "{said}");
    // The line discipline echoes what was typed, sooner or later.
    for part in [
        "/dev/pts/0\r\n",
        "33 99\r\n",
        "1234\r\n",
        "34816\r\n",
        "typed\r\n",
        "got typed\r\n",
    ] {
        assert!(said.contains(part), "{part:?} is missing in {said:?}");
    }
}

#[test]
fn a_console_that_is_a_link_is_refused() {
    if !is_root("a_console_that_is_a_link_is_refused") {
        return;
    }
    let root = Root::new();
    let ops = vec![
        mount(new("tmpfs", &[]), "/dev"),
        mount_as(
            new("devpts", &["newinstance", "ptmxmode=0666"]),
            "/dev/pts",
            Create::Dir,
            0,
        ),
        Op::Symlink {
            target: text("/dev/console"),
            link: text("/etc/target"),
        },
        Op::Terminal {
            rows: 0,
            columns: 0,
            console: true,
        },
    ];
    assert_eq!(root.fails(ops, 3), Errno::ELOOP);
}
