//! There and back, and bytes that are no plan.

use orlop_init::wire::{Step, View};
use orlop_init::{CBytes, Create, EncodeError, Op, Plan, Slot, Source};
use proptest::collection::vec;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = CBytes> {
    vec(1..=255u8, 0..40)
}

fn host_path() -> impl Strategy<Value = CBytes> {
    text().prop_map(|path| [b"/".to_vec(), path].concat())
}

fn texts() -> impl Strategy<Value = Vec<CBytes>> {
    vec(text(), 0..6)
}

fn slot() -> impl Strategy<Value = Slot> {
    (0..1000u16).prop_map(Slot)
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        slot().prop_map(Source::Detached),
        (slot(), any::<bool>()).prop_map(|(slot, recursive)| Source::Fd { slot, recursive }),
        (host_path(), any::<bool>())
            .prop_map(|(path, recursive)| Source::HostPath { path, recursive }),
        (text(), text(), texts()).prop_map(|(fstype, source, options)| Source::New {
            fstype,
            source,
            options
        }),
        (host_path(), text(), text(), texts()).prop_map(|(directory, fstype, source, options)| {
            Source::NewIn {
                directory,
                fstype,
                source,
                options,
            }
        }),
    ]
}

fn create() -> impl Strategy<Value = Create> {
    prop_oneof![
        Just(Create::No),
        Just(Create::Dir),
        Just(Create::File),
        Just(Create::LikeSource)
    ]
}

/// Operations before the clone.
fn early() -> impl Strategy<Value = Op> {
    const KINDS: [u64; 4] = [0x80, 0x0002_0000, 0x4000_0000, 0x7e02_0080];
    prop_oneof![
        (slot(), proptest::sample::select(KINDS.to_vec()))
            .prop_map(|(slot, kind)| Op::JoinNamespace { slot, kind }),
        slot().prop_map(|slot| Op::JoinCgroupV1 { slot }),
        text().prop_map(|text| Op::TimeOffsets { text }),
        (any::<i32>(), any::<bool>()).prop_map(|(value, clamp)| Op::OomScoreAdj { value, clamp }),
        (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(resource, soft, hard)| Op::Rlimit {
            resource,
            soft,
            hard
        }),
    ]
}

fn mount() -> impl Strategy<Value = Op> {
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<(u64, u64)>(),
        any::<u64>(),
    );
    (source(), text(), create(), numbers).prop_map(
        |(source, target, create, (attributes, clear, recursive, propagation))| Op::Mount {
            source,
            target,
            create,
            attributes,
            clear,
            recursive,
            propagation,
        },
    )
}

fn device() -> impl Strategy<Value = Op> {
    (text(), any::<[u32; 5]>()).prop_map(|(target, [mode, major, minor, uid, gid])| Op::Device {
        target,
        mode,
        major,
        minor,
        uid,
        gid,
    })
}

fn plain() -> impl Strategy<Value = Op> {
    proptest::sample::select(vec![
        Op::NewSessionKeyring,
        Op::NewSession,
        Op::LoopbackUp,
        Op::ControllingTerminal,
        Op::RootReadOnly,
        Op::NoNewPrivileges,
    ])
}

/// Operations after the clone and the first propagation.
fn late() -> impl Strategy<Value = Op> {
    prop_oneof![
        plain(),
        mount(),
        device(),
        any::<(u32, u32)>().prop_map(|(uid, gid)| Op::AwaitIdMaps { uid, gid }),
        text().prop_map(|name| Op::Hostname { name }),
        text().prop_map(|name| Op::Domainname { name }),
        (text(), any::<u32>()).prop_map(|(target, mode)| Op::Mkdir { target, mode }),
        (text(), text()).prop_map(|(target, link)| Op::Symlink { target, link }),
        text().prop_map(|target| Op::Mask { target }),
        text().prop_map(|target| Op::ReadOnly { target }),
        any::<(u16, u16, bool)>().prop_map(|(rows, columns, console)| Op::Terminal {
            rows,
            columns,
            console
        }),
        (slot(), 0..1024u32).prop_map(|(slot, fd)| Op::Fd { slot, fd }),
        ("[a-z]{1,9}/[a-z_]{1,9}", text()).prop_map(|(path, value)| Op::Sysctl {
            path: path.into_bytes(),
            value
        }),
        any::<u32>().prop_map(|mask| Op::Umask { mask }),
        (vec(any::<[u8; 8]>(), 1..5), any::<u64>(), any::<bool>()).prop_map(
            |(program, flags, listener)| Op::Seccomp {
                program: program.concat(),
                flags,
                listener
            }
        ),
        any::<u64>().prop_map(|keep| Op::BoundingSet { keep }),
        (
            any::<u32>(),
            any::<u32>(),
            proptest::option::of(vec(any::<u32>(), 0..5)),
            any::<bool>()
        )
            .prop_map(|(uid, gid, groups, keep_caps)| Op::User {
                uid,
                gid,
                groups,
                keep_caps
            }),
        any::<[u64; 4]>().prop_map(|[effective, permitted, inheritable, ambient]| {
            Op::Capabilities {
                effective,
                permitted,
                inheritable,
                ambient,
            }
        }),
        any::<u32>().prop_map(|first| Op::CloseFrom { first }),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let exec =
        (vec(text(), 1..4), vec(text(), 1..4), texts()).prop_map(|(candidates, argv, env)| {
            Op::Exec {
                candidates,
                argv,
                env,
            }
        });
    let cgroup = proptest::option::of(slot());
    let root = (source(), any::<u64>());
    let directory = proptest::option::of((text(), any::<bool>()));
    let end = (directory, exec);
    (vec(early(), 0..4), cgroup, root, vec(late(), 0..12), end).prop_map(
        |(early, cgroup, (source, attributes), late, (directory, exec))| {
            let mut ops = early;
            ops.push(Op::Clone {
                flags: 0x7e02_0000,
                cgroup,
            });
            ops.push(Op::Propagation { flags: 1 << 18 });
            ops.push(Op::Root { source, attributes });
            ops.extend(late);
            ops.push(Op::Pivot);
            ops.extend(directory.map(|(path, create)| Op::WorkingDirectory { path, create }));
            ops.push(exec);
            Plan::new(ops)
        },
    )
}

proptest! {
    #[test]
    fn there_and_back(plan in plan()) {
        let bytes = plan.encode().unwrap();
        prop_assert_eq!(Plan::decode(&bytes), Some(plan.clone()));
        let view = View::new(&bytes).unwrap();
        prop_assert_eq!(view.len() as usize, plan.ops().len());
        prop_assert_eq!(view.slots, plan.slots());
        for op in plan.ops() {
            prop_assert!(!op.to_string().is_empty());
        }
    }

    #[test]
    fn bytes_that_changed_are_survived(
        plan in plan(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = plan.encode().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn a_plan_cut_short_is_none(plan in plan(), at in any::<prop::sample::Index>()) {
        let bytes = plan.encode().unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        read_all(cut);
        prop_assert_eq!(Plan::decode(cut), None);
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        // The same behind a header that is right.
        let plan = Plan::new(vec![
            Op::Clone { flags: 0, cgroup: None },
            Op::Exec { candidates: vec![vec![]], argv: vec![vec![]], env: vec![] },
        ]);
        let mut whole = plan.encode().unwrap()[..orlop_init::wire::HEADER].to_vec();
        whole.append(&mut bytes);
        let length = u32::try_from(whole.len()).unwrap();
        whole[16..20].copy_from_slice(&length.to_le_bytes());
        read_all(&whole);
    }
}

/// All that the program would look at.
fn read_all(bytes: &[u8]) {
    let _ = Plan::decode(bytes);
    let Some(view) = View::new(bytes) else { return };
    for step in view.steps() {
        if let Some(Step::Exec {
            candidates,
            argv,
            env,
        }) = step
        {
            assert_eq!(argv.count(), argv.len());
            assert_eq!(candidates.count(), candidates.len());
            assert_eq!(env.count(), env.len());
        }
    }
}

#[test]
fn a_text_with_nul_is_refused() {
    let exec = |argv: &str| Op::Exec {
        candidates: vec!["/bin/true".into()],
        argv: vec![argv.into()],
        env: vec![],
    };
    let clone = Op::Clone {
        flags: 0,
        cgroup: None,
    };
    let error = Plan::new(vec![clone, exec("a\0b")]).encode().unwrap_err();
    assert!(
        matches!(&error, EncodeError::Nul { index: 1, .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "executing /bin/true (operation 1): a text holds a NUL byte"
    );
}
