use super::*;
use crate::host::Hierarchy;
use proptest::prelude::*;

fn host() -> Host {
    Host {
        privileged: true,
        uid: 0,
        gid: 0,
        capabilities: ((1 << 41) - 1) & !(1 << 24),
        bounding: ((1 << 41) - 1) & !(1 << 24),
        last_capability: 40,
        kernel: (6, 1),
        hard_limits: [1000; 16],
        hierarchies: vec![
            Hierarchy::V1("cpu,cpuacct".into()),
            Hierarchy::V1("name=systemd".into()),
            Hierarchy::V2,
        ],
    }
}

fn rootless() -> Host {
    Host {
        privileged: false,
        uid: 1000,
        gid: 1000,
        capabilities: 0,
        ..host()
    }
}

const BASE: &str = r#"{"ociVersion":"1.2.0","root":{"path":"rootfs"},
    "process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["true"],"env":["PATH=/bin"]},
    "linux":{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"},{"type":"network"}]}}"#;

/// `BASE` with the value at a JSON pointer set.
fn spec(changes: &[(&str, &str)]) -> Spec {
    let mut value: serde_json::Value = serde_json::from_str(BASE).unwrap();
    for (pointer, new) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let new = serde_json::from_str(new).unwrap_or_else(|e| panic!("{new}: {e}"));
        match value.pointer_mut(parent).unwrap() {
            serde_json::Value::Object(map) => {
                map.insert(key.to_owned(), new);
            }
            serde_json::Value::Array(list) => list.push(new),
            other => panic!("{other}"),
        }
    }
    serde_json::from_value(value).unwrap()
}

fn compile_on(host: &Host, spec: &Spec, clamp: Clamp) -> Result<Compiled, CompileError> {
    let root = RootSource::Directory("/rootfs".into());
    compile(
        spec,
        &Settings {
            host,
            filters: &seccomp::Cache::default(),
            root: &root,
            bundle: Some(Path::new("/bundle")),
            clamp,
            seccomp: SeccompChoice::Spec,
            streams: Streams::Handed,
            fds: &[],
            id_map_helper: None,
        },
    )
}

fn ops(changes: &[(&str, &str)]) -> Vec<Op> {
    compile_on(&host(), &spec(changes), Clamp::No)
        .unwrap()
        .plan(0, false)
        .ops()
        .to_vec()
}

#[test]
fn shape_of_a_plan() {
    fn shared<T: Send + Sync + Clone + PartialEq + std::fmt::Debug>(_: &T) {}
    let compiled = compile_on(&host(), &spec(&[]), Clamp::No).unwrap();
    shared(&compiled);
    assert_eq!(
        compiled,
        compile_on(&host(), &spec(&[]), Clamp::No).unwrap()
    );
    let plan = compiled.plan(2, true);
    let words: Vec<String> = plan.ops().iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "joining the cgroup in slot 3",
            "joining the cgroup in slot 4",
            "cloning into new namespaces (mount, cgroup, uts, ipc, pid, network) into a cgroup",
            "joining a new session keyring",
            "starting a session",
            "bringing the loopback device up",
            "setting the propagation of all mounts",
            "mounting /rootfs as the root",
            "making the device /dev/null (1:3)",
            "making the device /dev/zero (1:5)",
            "making the device /dev/full (1:7)",
            "making the device /dev/random (1:8)",
            "making the device /dev/urandom (1:9)",
            "making the device /dev/tty (5:0)",
            "making the link /dev/fd to /proc/self/fd",
            "making the link /dev/stdin to /proc/self/fd/0",
            "making the link /dev/stdout to /proc/self/fd/1",
            "making the link /dev/stderr to /proc/self/fd/2",
            "making the link /dev/core to /proc/kcore",
            "changing the root",
            "setting the umask to 022",
            "making file descriptor 0 of slot 0",
            "making file descriptor 1 of slot 1",
            "making file descriptor 2 of slot 2",
            "changing the working directory to /",
            "dropping capabilities from the bounding set",
            "becoming user 0:0",
            "setting the capabilities",
            "executing /bin/true",
        ]
    );
    plan.encode().unwrap();
}

/// Each wrong value is named by its place.
#[test]
fn errors_name_their_place() {
    for (pointer, value, place) in [
        ("/process/cwd", r#""tmp""#, "process.cwd"),
        ("/process/args", "[]", "process.args"),
        ("/process/args", r#"["a\u0000b"]"#, "process.args[0]"),
        ("/process/env", r#"["A=1","B"]"#, "process.env[1]"),
        ("/process/oomScoreAdj", "1001", "process.oomScoreAdj"),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_CPU","soft":2,"hard":1}]"#,
            "process.rlimits[0]",
        ),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_CPU","soft":2,"hard":1001}]"#,
            "process.rlimits[0]",
        ),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_CPU","soft":1,"hard":1},{"type":"RLIMIT_CPU","soft":1,"hard":1}]"#,
            "process.rlimits[1]",
        ),
        (
            "/process/user",
            r#"{"uid":4294967295,"gid":0}"#,
            "process.user",
        ),
        (
            "/process/apparmorProfile",
            r#""docker-default""#,
            "process.apparmorProfile",
        ),
        (
            "/process/capabilities",
            r#"{"bounding":["CAP_SYS_RESOURCE"]}"#,
            "process.capabilities.bounding",
        ),
        (
            "/process/capabilities",
            r#"{"effective":["CAP_CHOWN"]}"#,
            "process.capabilities.effective",
        ),
        (
            "/linux/namespaces",
            r#"[{"type":"pid"}]"#,
            "linux.namespaces",
        ),
        (
            "/linux/namespaces",
            r#"[{"type":"mount"},{"type":"pid"},{"type":"pid"}]"#,
            "linux.namespaces[2]",
        ),
        (
            "/linux/namespaces",
            r#"[{"type":"mount"},{"type":"network","path":"ns/net"}]"#,
            "linux.namespaces[1].path",
        ),
        (
            "/linux/namespaces",
            r#"[{"type":"mount"},{"type":"user"}]"#,
            "linux.uidMappings",
        ),
        (
            "/linux/uidMappings",
            r#"[{"containerID":0,"hostID":0,"size":1}]"#,
            "linux.uidMappings",
        ),
        (
            "/linux/timeOffsets",
            r#"{"monotonic":{"secs":1}}"#,
            "linux.timeOffsets",
        ),
        (
            "/linux/sysctl",
            r#"{"kernel.core_pattern":"x"}"#,
            "linux.sysctl.kernel.core_pattern",
        ),
        (
            "/linux/rootfsPropagation",
            r#""sideways""#,
            "linux.rootfsPropagation",
        ),
        (
            "/linux/maskedPaths",
            r#"["proc/kcore"]"#,
            "linux.maskedPaths[0]",
        ),
        (
            "/linux/readonlyPaths",
            r#"["/proc","proc"]"#,
            "linux.readonlyPaths[1]",
        ),
        (
            "/linux/devices",
            r#"[{"path":"dev/x","type":"c","major":1,"minor":3}]"#,
            "linux.devices[0].path",
        ),
        (
            "/linux/devices",
            r#"[{"path":"/dev/x","type":"c","major":-1,"minor":3}]"#,
            "linux.devices[0].major",
        ),
        (
            "/linux/devices",
            r#"[{"path":"/dev/x","type":"a","major":1,"minor":3}]"#,
            "linux.devices[0].type",
        ),
        (
            "/linux/seccomp",
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            "linux.seccomp.defaultAction",
        ),
        (
            "/mounts",
            r#"[{"destination":"proc","type":"proc"}]"#,
            "mounts[0].destination",
        ),
        ("/mounts", r#"[{"destination":"/x"}]"#, "mounts[0].type"),
        (
            "/mounts",
            r#"[{"destination":"/x","type":"bind"}]"#,
            "mounts[0].source",
        ),
        (
            "/mounts",
            r#"[{"destination":"/x","type":"bind","source":"/y","options":["bind","size=1"]}]"#,
            "mounts[0].options[1]",
        ),
        ("/hooks", r#"{"poststop":[{"path":"/bin/true"}]}"#, "hooks"),
        (
            "/hostname",
            r#""h23456789012345678901234567890123456789012345678901234567890123456""#,
            "hostname",
        ),
    ] {
        let error = compile_on(&host(), &spec(&[(pointer, value)]), Clamp::No).expect_err(value);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{place}: ")),
            "{text} does not name {place}"
        );
    }
}

#[test]
fn privilege_is_clamped_on_request() {
    let wanted = spec(&[
        (
            "/process/capabilities",
            r#"{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"permitted":["CAP_CHOWN"]}"#,
        ),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_NOFILE","soft":5000,"hard":5000}]"#,
        ),
        ("/process/oomScoreAdj", "-500"),
    ]);
    assert!(matches!(
        compile_on(&host(), &wanted, Clamp::No),
        Err(CompileError::Privilege { .. })
    ));
    let compiled = compile_on(&host(), &wanted, Clamp::All).unwrap();
    assert_eq!(
        compiled.warnings,
        [
            Warning::RlimitClamped {
                resource: "RLIMIT_NOFILE".into(),
                asked: 5000,
                granted: 1000
            },
            Warning::CapabilityDropped {
                capability: "CAP_SYS_RESOURCE".into()
            },
        ]
    );
    let plan = compiled.plan(0, false);
    assert!(plan.ops().contains(&Op::BoundingSet { keep: 1 }));
    assert!(plan.ops().contains(&Op::Rlimit {
        resource: 7,
        soft: 1000,
        hard: 1000
    }));
    assert!(plan.ops().contains(&Op::OomScoreAdj {
        value: -500,
        clamp: true
    }));
}

#[test]
fn the_filter_comes_before_the_drop_only_without_no_new_privs() {
    let filter = (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let place = |ops: &[Op], wanted: fn(&Op) -> bool| ops.iter().position(wanted).unwrap();
    let seccomp = |op: &Op| matches!(op, Op::Seccomp { .. });
    let capabilities = |op: &Op| matches!(op, Op::Capabilities { .. });
    let plain = ops(&[filter]);
    assert!(place(&plain, seccomp) < place(&plain, |op| matches!(op, Op::BoundingSet { .. })));
    let locked = ops(&[filter, ("/process/noNewPrivileges", "true")]);
    assert_eq!(place(&locked, seccomp), locked.len() - 2);
    assert!(place(&locked, |op| matches!(op, Op::NoNewPrivileges)) < place(&locked, capabilities));
}

#[test]
fn user_namespaces() {
    let mapped = |size: u32, outside: u32| {
        let map = format!(r#"[{{"containerID":0,"hostID":{outside},"size":{size}}}]"#);
        spec(&[
            (
                "/linux/namespaces",
                r#"[{"type":"mount"},{"type":"user"},{"type":"ipc"}]"#,
            ),
            ("/linux/uidMappings", &map),
            ("/linux/gidMappings", &map),
            (
                "/process/user",
                r#"{"uid":0,"gid":0,"additionalGids":[0,7]}"#,
            ),
            (
                "/mounts",
                r#"[{"destination":"/sys","type":"sysfs","options":["ro"]}]"#,
            ),
        ])
    };
    let compiled = compile_on(&rootless(), &mapped(1, 1000), Clamp::No).unwrap();
    let maps = compiled.id_maps.clone().unwrap();
    assert!(!maps.setgroups && maps.helper.is_none());
    assert_eq!(
        compiled.warnings,
        [Warning::GroupsDropped { groups: vec![7] }]
    );
    let plan = compiled.plan(0, false);
    assert!(plan.ops().contains(&Op::User {
        uid: 0,
        gid: 0,
        groups: None,
        keep_caps: false
    }));
    // sysfs cannot be mounted where the network namespace is somebody else's.
    assert!(plan.ops().iter().any(|op| matches!(op, Op::Mount { source: Source::HostPath { path, recursive: true }, .. } if path == b"/sys")));
    // More than one's own id takes helpers, another's id too.
    for spec in [mapped(2, 1000), mapped(1, 1001)] {
        assert!(matches!(
            compile_on(&rootless(), &spec, Clamp::No),
            Err(CompileError::Privilege { .. })
        ));
    }
    let as_root = compile_on(&host(), &mapped(65536, 100_000), Clamp::No).unwrap();
    assert!(as_root.id_maps.unwrap().setgroups);
}

#[test]
fn joins_in_the_order_of_privilege() {
    let joined = spec(&[(
        "/linux/namespaces",
        r#"[{"type":"mount"},{"type":"user","path":"/proc/1/ns/user"},{"type":"network","path":"/proc/1/ns/net"}]"#,
    )]);
    let kinds = |host: &Host| {
        let compiled = compile_on(host, &joined, Clamp::No).unwrap();
        compiled
            .needs
            .iter()
            .filter_map(|need| match need {
                Need::Namespace { kind, .. } => Some(*kind),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&host()), [NEWNET, NEWUSER]);
    assert_eq!(kinds(&rootless()), [NEWUSER, NEWNET]);
}

#[test]
fn control_group_mounts_by_layout() {
    let wanted = spec(&[(
        "/mounts",
        r#"[{"destination":"/sys/fs/cgroup","type":"cgroup","options":["ro","nosuid"]}]"#,
    )]);
    let words = |host: &Host| {
        let plan = compile_on(host, &wanted, Clamp::No).unwrap().plan(0, false);
        plan.ops()
            .iter()
            .map(ToString::to_string)
            .filter(|word| word.contains("cgroup/") || word.contains("/cgroup"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(&host()),
        [
            "mounting tmpfs at /sys/fs/cgroup",
            "mounting cgroup at /sys/fs/cgroup/cpu,cpuacct",
            "making the link /sys/fs/cgroup/cpu to cpu,cpuacct",
            "making the link /sys/fs/cgroup/cpuacct to cpu,cpuacct",
            "mounting cgroup at /sys/fs/cgroup/systemd",
            "mounting cgroup2 at /sys/fs/cgroup/unified",
            "making /sys/fs/cgroup read-only",
        ]
    );
    let unified = Host {
        hierarchies: vec![Hierarchy::V2],
        ..host()
    };
    assert_eq!(words(&unified), ["mounting cgroup2 at /sys/fs/cgroup"]);
}

#[test]
fn relative_sources_are_the_bundles() {
    let plan = ops(&[(
        "/mounts",
        r#"[{"destination":"/x","source":"data","options":["rbind","ro"]}]"#,
    )]);
    let found = plan.iter().any(|op| matches!(op, Op::Mount { source: Source::HostPath { path, recursive: true }, create: orlop_init::plan::Create::LikeSource, attributes: 1, .. } if path == b"/bundle/data"));
    assert!(found);
}

proptest! {
    /// Whatever the text, compiling answers, and what it accepts can be encoded.
    #[test]
    fn any_process_is_an_answer(
        args in proptest::collection::vec(".{0,20}", 0..4),
        env in proptest::collection::vec(".{0,20}", 0..4),
        cwd in ".{0,20}", hostname in ".{0,70}", destination in ".{0,20}", path in ".{0,20}",
    ) {
        let spec = spec(&[
            ("/process/args", &json(&args)), ("/process/env", &json(&env)), ("/process/cwd", &json(&cwd)),
            ("/hostname", &json(&hostname)), ("/linux/maskedPaths", &json(&vec![path])),
            ("/mounts", &format!(r#"[{{"destination":{},"type":"tmpfs"}}]"#, json(&destination))),
        ]);
        if let Ok(compiled) = compile_on(&host(), &spec, Clamp::No) {
            compiled.plan(1, true).encode().unwrap();
        }
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}
