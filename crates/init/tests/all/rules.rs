//! What is no plan, and why.

use orlop_init::{Create, EncodeError, Op, Plan, Slot, Source};

const MOUNT: u64 = 0x0002_0000;
const UTS: u64 = 0x0400_0000;

fn exec() -> Op {
    Op::Exec {
        candidates: vec!["/bin/true".into()],
        argv: vec!["true".into()],
        env: vec![],
    }
}

fn clone(flags: u64) -> Op {
    Op::Clone {
        flags,
        cgroup: None,
    }
}

fn private() -> Op {
    Op::Propagation { flags: 1 << 18 }
}

fn tmpfs() -> Source {
    Source::New {
        fstype: "tmpfs".into(),
        source: "tmpfs".into(),
        options: vec![],
    }
}

fn mount(source: Source) -> Op {
    Op::Mount {
        source,
        target: "/t".into(),
        create: Create::Dir,
        attributes: 0,
        clear: 0,
        recursive: (0, 0),
        propagation: 0,
    }
}

#[test]
fn one_clone_and_one_exec_at_the_end() {
    let encode = |ops| Plan::new(ops).encode();
    assert_eq!(encode(vec![]), Err(EncodeError::Clones { found: 0 }));
    assert_eq!(encode(vec![exec()]), Err(EncodeError::Clones { found: 0 }));
    assert_eq!(
        encode(vec![clone(0), clone(0), exec()]),
        Err(EncodeError::Clones { found: 2 })
    );
    assert_eq!(encode(vec![clone(0)]), Err(EncodeError::Exec));
    assert_eq!(
        encode(vec![clone(0), exec(), exec()]),
        Err(EncodeError::Exec)
    );
    assert_eq!(
        encode(vec![clone(0), exec(), Op::NewSession]),
        Err(EncodeError::Exec)
    );
    assert!(encode(vec![clone(0), exec()]).is_ok());
}

/// The index and reason of what is refused.
fn refused(mut ops: Vec<Op>) -> (usize, &'static str) {
    ops.push(exec());
    match Plan::new(ops.clone()).encode() {
        Err(EncodeError::Refused { index, op, reason }) => {
            assert_eq!(op, ops[index].to_string());
            (index, reason)
        }
        other => panic!("{ops:?} should have been refused: {other:?}"),
    }
}

#[test]
fn the_callers_own_is_out_of_reach() {
    let root = || Op::Root {
        source: tmpfs(),
        attributes: 0,
    };
    let device = Op::Device {
        target: "/d".into(),
        mode: 0,
        major: 0,
        minor: 0,
        uid: 0,
        gid: 0,
    };
    let inside = [
        private(),
        root(),
        mount(tmpfs()),
        Op::Mkdir {
            target: "/d".into(),
            mode: 0o755,
        },
        device,
        Op::Symlink {
            target: "/l".into(),
            link: "x".into(),
        },
        Op::Mask {
            target: "/m".into(),
        },
        Op::ReadOnly {
            target: "/r".into(),
        },
        Op::RootReadOnly,
        Op::Pivot,
        Op::Terminal {
            rows: 0,
            columns: 0,
            console: true,
        },
        Op::WorkingDirectory {
            path: "/w".into(),
            create: true,
        },
        Op::Hostname { name: "h".into() },
        Op::Domainname { name: "d".into() },
        Op::LoopbackUp,
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        Op::Sysctl {
            path: "kernel/hostname".into(),
            value: "h".into(),
        },
    ];
    for op in inside {
        assert_eq!(refused(vec![clone(0), op.clone()]).0, 1, "{op}");
        assert_eq!(
            refused(vec![op.clone(), clone(0x7e02_0000)]),
            (0, "must follow the clone"),
            "{op}"
        );
    }
    // A kernel parameter is not the mount namespace's.
    let sysctl = Op::Sysctl {
        path: "kernel/hostname".into(),
        value: "h".into(),
    };
    assert_eq!(refused(vec![clone(MOUNT), sysctl.clone()]).0, 1);
    assert!(Plan::new(vec![clone(UTS), sysctl, exec()]).encode().is_ok());
}

#[test]
fn mounts_wait_until_nothing_leaks_to_the_host() {
    let shared = Op::Propagation { flags: 1 << 20 };
    for early in [vec![], vec![shared]] {
        for op in [
            mount(tmpfs()),
            Op::Root {
                source: tmpfs(),
                attributes: 0,
            },
        ] {
            let index = early.len() + 1;
            let ops = [vec![clone(MOUNT)], early.clone(), vec![op]].concat();
            assert_eq!(refused(ops).0, index);
        }
    }
    let later_shared = vec![
        clone(MOUNT),
        private(),
        mount(tmpfs()),
        Op::Propagation { flags: 1 << 20 },
        exec(),
    ];
    assert!(Plan::new(later_shared).encode().is_ok());
}

#[test]
fn what_cannot_work_is_refused() {
    let root = || Op::Root {
        source: tmpfs(),
        attributes: 0,
    };
    let host = || {
        mount(Source::HostPath {
            path: "/h".into(),
            recursive: false,
        })
    };
    let workdir = Op::WorkingDirectory {
        path: "/".into(),
        create: false,
    };
    let table = [
        (
            vec![
                Op::JoinNamespace {
                    slot: Slot(0),
                    kind: 1,
                },
                clone(0),
            ],
            0,
        ),
        (
            vec![
                Op::JoinNamespace {
                    slot: Slot(0),
                    kind: 0,
                },
                clone(0),
            ],
            0,
        ),
        (
            vec![
                clone(0),
                Op::JoinNamespace {
                    slot: Slot(0),
                    kind: UTS,
                },
            ],
            1,
        ),
        (vec![clone(0), Op::JoinCgroupV1 { slot: Slot(0) }], 1),
        (vec![clone(0x100)], 0),
        (vec![clone(MOUNT), private(), Op::Pivot], 2),
        (vec![clone(MOUNT), private(), root()], 3),
        (vec![clone(MOUNT), private(), root(), root()], 3),
        (vec![clone(MOUNT), private(), root(), workdir, Op::Pivot], 3),
        (vec![clone(MOUNT), private(), root(), Op::Pivot, host()], 4),
        (
            vec![
                clone(MOUNT),
                private(),
                mount(Source::HostPath {
                    path: "relative".into(),
                    recursive: false,
                }),
            ],
            2,
        ),
        (
            vec![
                clone(0),
                Op::Fd {
                    slot: Slot(0),
                    fd: 1024,
                },
            ],
            1,
        ),
        (
            vec![
                clone(0),
                Op::Seccomp {
                    program: vec![],
                    flags: 0,
                    listener: false,
                },
            ],
            1,
        ),
        (
            vec![
                clone(0),
                Op::Seccomp {
                    program: vec![0; 9],
                    flags: 0,
                    listener: false,
                },
            ],
            1,
        ),
        (
            vec![
                clone(UTS),
                Op::Sysctl {
                    path: "kernel/../../x".into(),
                    value: "1".into(),
                },
            ],
            1,
        ),
        (
            vec![
                clone(UTS),
                Op::Sysctl {
                    path: "/kernel".into(),
                    value: "1".into(),
                },
            ],
            1,
        ),
        (
            vec![
                clone(UTS),
                Op::Sysctl {
                    path: "".into(),
                    value: "1".into(),
                },
            ],
            1,
        ),
    ];
    for (ops, index) in table {
        assert_eq!(refused(ops).0, index);
    }
    let empty = |candidates: &[&str], argv: &[&str]| Op::Exec {
        candidates: candidates.iter().map(|text| (*text).into()).collect(),
        argv: argv.iter().map(|text| (*text).into()).collect(),
        env: vec![],
    };
    for exec in [empty(&[], &["x"]), empty(&["x"], &[])] {
        let error = Plan::new(vec![clone(0), exec]).encode().unwrap_err();
        assert!(
            matches!(error, EncodeError::Refused { index: 1, .. }),
            "{error:?}"
        );
    }
}
