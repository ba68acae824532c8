//! Operations as they stand in an error.

use orlop_init::{Create, Op, Slot, Source};

#[test]
fn in_words() {
    let new = |fstype: &str| Source::New {
        fstype: fstype.into(),
        source: "x".into(),
        options: vec![],
    };
    let mount = |source, target: &[u8]| Op::Mount {
        source,
        target: target.to_vec(),
        create: Create::No,
        attributes: 0,
        clear: 0,
        recursive: (0, 0),
        propagation: 0,
    };
    let exec = |candidates: &[&str]| Op::Exec {
        candidates: candidates.iter().map(|text| (*text).into()).collect(),
        argv: vec!["nginx".into()],
        env: vec![],
    };
    let table = [
        (mount(new("proc"), b"/proc"), "mounting proc at /proc"),
        (
            mount(Source::Detached(Slot(3)), b"/"),
            "mounting the mount in slot 3 at /",
        ),
        (
            mount(
                Source::HostPath {
                    path: "/h".into(),
                    recursive: true,
                },
                b"/caf\xc3\xa9\n\xff",
            ),
            "mounting /h at /café\\n\\xff",
        ),
        (
            Op::Hostname { name: "x".into() },
            "setting the host name to x",
        ),
        (
            Op::Clone {
                flags: 0x0402_0000,
                cgroup: Some(Slot(0)),
            },
            "cloning into new namespaces (mount, uts) into a cgroup",
        ),
        (
            Op::JoinNamespace {
                slot: Slot(0),
                kind: 0x4000_0080,
            },
            "joining the network, time namespace",
        ),
        (
            Op::Rlimit {
                resource: 7,
                soft: 1,
                hard: 2,
            },
            "setting RLIMIT_NOFILE to 1 (hard 2)",
        ),
        (Op::Umask { mask: 0o22 }, "setting the umask to 022"),
        (exec(&["/usr/sbin/nginx"]), "executing /usr/sbin/nginx"),
        (
            exec(&["/usr/sbin/nginx", "/usr/bin/nginx"]),
            "executing nginx",
        ),
    ];
    for (op, words) in table {
        assert_eq!(op.to_string(), words);
    }
}
