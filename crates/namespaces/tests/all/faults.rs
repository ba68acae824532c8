//! Every kind of operation, made to fail: each names itself, its index and the kernel's reason.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use orlop_init::{Create, Op, Plan, Slot};
use orlop_namespaces::{Kind, Resources, SpawnError};

use crate::support::*;

/// A plan whose last operation before the exec fails, what it says and why.
struct Fault {
    ops: Vec<Op>,
    says: &'static str,
    errno: Errno,
}

fn inside(ops: Vec<Op>) -> Vec<Op> {
    let start = vec![
        clone(&[Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Network]),
        Op::Propagation { flags: MS_PRIVATE },
        Op::Root {
            source: new("tmpfs", &[]),
            attributes: 0,
        },
    ];
    [start, ops].concat()
}

fn faults() -> Vec<Fault> {
    let long = "x".repeat(65);
    let fault = |ops, says, errno| Fault { ops, says, errno };
    let nobody = Op::User {
        uid: 65534,
        gid: 65534,
        groups: Some(vec![]),
        keep_caps: false,
    };
    // Slot 0 is /dev/null, opened for reading.
    let mut faults = vec![
        fault(
            vec![Op::JoinNamespace {
                slot: Slot(0),
                kind: Kind::Uts.flag(),
            }],
            "joining the uts namespace",
            Errno::EINVAL,
        ),
        fault(
            vec![Op::JoinCgroupV1 { slot: Slot(0) }],
            "joining the cgroup in slot 0",
            Errno::EBADF,
        ),
        fault(
            vec![Op::TimeOffsets {
                text: text("monotonic yesterday"),
            }],
            "setting the clocks of the time namespace",
            Errno::EINVAL,
        ),
        fault(
            vec![Op::Rlimit {
                resource: 99,
                soft: 1,
                hard: 1,
            }],
            "setting resource limit 99 to 1 (hard 1)",
            Errno::EINVAL,
        ),
        fault(
            vec![Op::Rlimit {
                resource: 7,
                soft: 2,
                hard: 1,
            }],
            "setting RLIMIT_NOFILE to 2 (hard 1)",
            Errno::EINVAL,
        ),
        fault(
            vec![Op::OomScoreAdj {
                value: 5000,
                clamp: false,
            }],
            "setting oom_score_adj to 5000",
            Errno::EINVAL,
        ),
        fault(
            vec![Op::Clone {
                flags: Kind::Uts.flag(),
                cgroup: Some(Slot(0)),
            }],
            "cloning into new namespaces (uts) into a cgroup",
            Errno::EBADF,
        ),
        fault(
            vec![clone(&[]), Op::NewSession, Op::NewSession],
            "starting a session",
            Errno::EPERM,
        ),
        fault(
            vec![clone(&[]), Op::ControllingTerminal],
            "taking the controlling terminal",
            Errno::ENOTTY,
        ),
        fault(
            vec![
                clone(&[]),
                Op::Seccomp {
                    program: vec![0xff; 8],
                    flags: 0,
                    listener: false,
                },
            ],
            "loading the seccomp filter",
            Errno::EINVAL,
        ),
        fault(
            vec![clone(&[]), nobody.clone(), Op::BoundingSet { keep: 0 }],
            "dropping capabilities from the bounding set",
            Errno::EPERM,
        ),
        fault(
            vec![
                clone(&[]),
                nobody.clone(),
                Op::User {
                    uid: 0,
                    gid: 0,
                    groups: None,
                    keep_caps: false,
                },
            ],
            "becoming user 0:0",
            Errno::EPERM,
        ),
        fault(
            vec![
                clone(&[]),
                nobody.clone(),
                Op::Capabilities {
                    effective: 1,
                    permitted: 1,
                    inheritable: 0,
                    ambient: 0,
                },
            ],
            "setting the capabilities",
            Errno::EPERM,
        ),
        fault(
            vec![
                clone(&[]),
                Op::WorkingDirectory {
                    path: text("/no/such"),
                    create: false,
                },
            ],
            "changing the working directory to /no/such",
            Errno::ENOENT,
        ),
        fault(
            vec![clone(&[Kind::Uts]), Op::Hostname { name: text(&long) }],
            "setting the host name to",
            Errno::EINVAL,
        ),
        fault(
            vec![clone(&[Kind::Uts]), Op::Domainname { name: text(&long) }],
            "setting the domain name to",
            Errno::EINVAL,
        ),
        fault(
            vec![
                clone(&[Kind::Mount]),
                Op::Propagation {
                    flags: MS_PRIVATE | 1 << 19,
                },
            ],
            "setting the propagation of all mounts",
            Errno::EINVAL,
        ),
        fault(
            vec![
                clone(&[Kind::Mount]),
                Op::Propagation { flags: MS_PRIVATE },
                Op::Root {
                    source: host("/no/such"),
                    attributes: 0,
                },
            ],
            "mounting /no/such as the root",
            Errno::ENOENT,
        ),
    ];
    let target = |path: &str| text(path);
    faults.extend(
        [
            (
                vec![mount(new("nosuchfs", &[]), "/")],
                "mounting nosuchfs at /",
                Errno::ENODEV,
            ),
            (
                vec![mount(new("tmpfs", &["size=lots"]), "/")],
                "mounting tmpfs at /",
                Errno::EINVAL,
            ),
            (
                vec![mount(new("tmpfs", &[]), "/missing")],
                "mounting tmpfs at /missing",
                Errno::ENOENT,
            ),
            (
                vec![mount_as(host("/etc/hostname"), "/dir", Create::Dir, 0)],
                "mounting /etc/hostname at /dir",
                Errno::ENOTDIR,
            ),
            (
                vec![
                    Op::Symlink {
                        target: target("/\u{e9}"),
                        link: target("\u{e9}"),
                    },
                    Op::Mkdir {
                        target: target("/\u{e9}/a"),
                        mode: 0,
                    },
                ],
                "making the directory /é/a",
                Errno::ELOOP,
            ),
            (
                vec![
                    Op::RootReadOnly,
                    Op::Mkdir {
                        target: target("/new"),
                        mode: 0o755,
                    },
                ],
                "making the directory /new",
                Errno::EROFS,
            ),
            (
                vec![Op::Device {
                    target: target("/null"),
                    mode: 0o777_777,
                    major: 1,
                    minor: 3,
                    uid: 0,
                    gid: 0,
                }],
                "making the device /null (1:3)",
                Errno::EINVAL,
            ),
            (
                vec![Op::Symlink {
                    target: target("/a/."),
                    link: target("b"),
                }],
                "making the link /a/. to b",
                Errno::EINVAL,
            ),
            (
                vec![
                    Op::Symlink {
                        target: target("/l"),
                        link: target("l"),
                    },
                    Op::Mask {
                        target: target("/l"),
                    },
                ],
                "masking /l",
                Errno::ELOOP,
            ),
            (
                vec![
                    Op::Symlink {
                        target: target("/l"),
                        link: target("l"),
                    },
                    Op::ReadOnly {
                        target: target("/l"),
                    },
                ],
                "making /l read-only",
                Errno::ELOOP,
            ),
            (
                vec![Op::Terminal {
                    rows: 0,
                    columns: 0,
                    console: false,
                }],
                "making the terminal",
                Errno::ENOENT,
            ),
            (
                vec![
                    Op::Pivot,
                    Op::Pivot,
                    Op::WorkingDirectory {
                        path: target("/bin"),
                        create: false,
                    },
                ],
                "changing the root",
                Errno::EBUSY,
            ),
            (
                vec![Op::Sysctl {
                    path: target("kernel/none"),
                    value: target("1"),
                }],
                "setting /proc/sys/kernel/none to 1",
                Errno::ENOENT,
            ),
        ]
        .map(|(ops, says, errno)| fault(inside(ops), says, errno)),
    );
    faults
}

#[test]
fn each_names_itself() {
    if !is_root("each_names_itself") || alone("faults::each_names_itself") {
        return;
    }
    let null = File::open("/dev/null").unwrap();
    output(vec![clone(&[]), exec(&["/bin/true"])]).unwrap();
    let before = Caller::now();
    for Fault {
        mut ops,
        says,
        errno,
    } in faults()
    {
        if !ops.iter().any(|op| matches!(op, Op::Clone { .. })) {
            ops.push(clone(&[]));
        }
        let rooted = ops.iter().any(|op| matches!(op, Op::Root { .. }));
        if rooted && !ops.contains(&Op::Pivot) {
            ops.push(Op::Pivot);
        }
        ops.push(exec(&["/bin/true"]));
        let resources = Resources {
            slots: vec![null.as_fd()],
            id_maps: None,
        };
        match LAUNCHER.start(&Plan::new(ops.clone()), resources) {
            Err(SpawnError::Step {
                index,
                op,
                errno: found,
            }) => {
                assert!(op.starts_with(says), "{op:?} is not {says:?}");
                assert_eq!(op, ops[index].to_string());
                assert_eq!(found, errno, "{op} ({index})");
            }
            other => panic!("{says}: {other:?}"),
        }
        before.is_still(&Caller::now(), says);
    }
}

#[test]
fn the_message_is_whole() {
    let error = output(vec![clone(&[]), exec(&["/no/such"])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "executing /no/such (operation 3): ENOENT: No such file or directory"
    );
    assert_eq!(error.errno(), Some(Errno::ENOENT));
}

#[test]
fn resources_run_out_without_a_trace() {
    // In init itself: no number is left for the container's pidfd.
    let limit = Op::Rlimit {
        resource: 7,
        soft: 3,
        hard: 3,
    };
    let ops = vec![limit, clone(&[]), exec(&["/bin/true"])];
    assert_eq!(
        step(output(ops), 1),
        (String::from("cloning"), Errno::EMFILE)
    );
}

/// A filter that refuses one system call with EPERM and lets every other pass.
fn refuse(call: libc::c_long) -> Op {
    let instruction = |code: u16, jump_false: u8, value: u32| {
        let [code_low, code_high] = code.to_ne_bytes();
        let [a, b, c, d] = value.to_ne_bytes();
        [code_low, code_high, 0, jump_false, a, b, c, d]
    };
    let call = u32::try_from(call).unwrap();
    let program = [
        instruction(0x20, 0, 0),           // load the call's number
        instruction(0x15, 1, call),        // is it the one?
        instruction(0x06, 0, 0x0005_0001), // errno 1
        instruction(0x06, 0, 0x7fff_0000), // allow
    ];
    Op::Seccomp {
        program: program.concat(),
        flags: 0,
        listener: false,
    }
}

/// Operations that no argument makes fail, refused by a filter that the plan loads before them. `Umask` is not among them: the
/// system call has no way to fail.
#[test]
fn what_cannot_be_asked_wrongly_can_still_be_refused() {
    if !is_root("what_cannot_be_asked_wrongly_can_still_be_refused") {
        return;
    }
    let null = File::open("/dev/null").unwrap();
    let stderr = Op::Fd {
        slot: Slot(0),
        fd: 2,
    };
    let cases = [
        (libc::SYS_keyctl, Op::NewSessionKeyring, "session keyring"),
        (libc::SYS_ioctl, Op::LoopbackUp, "loopback"),
        (libc::SYS_prctl, Op::NoNewPrivileges, "no_new_privs"),
        (libc::SYS_close_range, Op::CloseFrom { first: 3 }, "clos"),
        (libc::SYS_mount_setattr, Op::RootReadOnly, "read-only"),
        (libc::SYS_dup3, stderr, "2"),
    ];
    for (call, op, names) in cases {
        let mut ops = inside(vec![]);
        let index = ops.len() + 1;
        ops.extend([refuse(call), op, Op::Pivot, exec(&["/bin/true"])]);
        let resources = Resources {
            slots: vec![null.as_fd()],
            id_maps: None,
        };
        let (said, errno) = step(LAUNCHER.start(&Plan::new(ops), resources), index);
        assert_eq!(errno, Errno::EPERM, "{said}");
        assert!(said.contains(names), "{said:?} does not name {names:?}");
    }
}
