//! A fault in each kind of operation: the failing step names itself, and nothing is left.

use orlop_runtime::spec::Spec;
use orlop_runtime::{Builder, Error, ErrorKind, Network, Root};

use super::support::*;

/// The error of a start that must fail in its set-up.
fn fault(builder: Builder) -> String {
    let error = builder.start().expect_err("the start should fail");
    assert!(
        matches!(error.kind(), ErrorKind::Setup | ErrorKind::Other),
        "{:?}: {}",
        error.kind(),
        chain(&error)
    );
    chain(&error)
}

fn check(bench: &Bench, text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    let owners: Vec<_> = std::fs::read_dir(bench.state.path().join("owners"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(
        std::fs::read_dir(owners[0].path()).unwrap().count(),
        1,
        "a record is left after {text:?}"
    );
}

fn faulty(make: impl FnOnce(&Bench) -> Builder, wanted: &[&str]) {
    let bench = Bench::new();
    let text = fault(make(&bench));
    check(&bench, &text, wanted);
}

#[test]
fn mounts() {
    faulty(
        |b| b.sh("true").volume("/no/such/source", "/data"),
        &["mounting /no/such/source at /data (operation ", "ENOENT"],
    );
    faulty(
        |b| b.sh("true").tmpfs("/data", &["size=nonsense"]),
        &["mounting tmpfs at /data", "EINVAL"],
    );
    faulty(
        |b| {
            std::fs::write(b.rootfs.path.join("file"), "").unwrap();
            b.sh("true").tmpfs("/file/below", &[])
        },
        &["mounting tmpfs at /file/below", "ENOTDIR"],
    );
}

#[test]
fn the_root() {
    let bench = Bench::new();
    let error = bench
        .runtime
        .container("/no/such/root")
        .command(["true"])
        .start()
        .unwrap_err();
    assert!(chain(&error).contains("/no/such/root"), "{}", chain(&error));
    // A file is no mount to attach.
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let error = bench
        .runtime
        .container(Root::detached(file.into()))
        .command(["true"])
        .start()
        .unwrap_err();
    assert!(!chain(&error).is_empty());
}

#[test]
fn directories_links_and_devices() {
    faulty(
        |b| {
            // Something else stands where a link should.
            std::fs::remove_dir(b.rootfs.path.join("dev")).unwrap();
            std::fs::write(b.rootfs.path.join("dev"), "").unwrap();
            b.sh("true")
        },
        &["mounting tmpfs at /dev", "ENOTDIR"],
    );
    faulty(
        |b| b.sh("true").cwd("/etc/passwd/below"),
        &[
            "changing the working directory to /etc/passwd/below",
            "ENOTDIR",
        ],
    );
    faulty(
        |b| b.sh("true").cwd("/etc/passwd"),
        &["changing the working directory to /etc/passwd", "ENOTDIR"],
    );
}

#[test]
fn hidden_paths() {
    faulty(
        |b| {
            std::fs::write(b.rootfs.path.join("plain"), "").unwrap();
            b.sh("true")
                .masked_paths(["/plain/below/it"])
                .readonly_paths(["/plain"])
                .tmpfs("/plain/x", &[])
        },
        &["/plain"],
    );
}

#[test]
fn limits_names_and_parameters() {
    if !root("limits_names_and_parameters") {
        return;
    }
    faulty(
        |b| b.sh("true").sysctl("net.ipv4.no_such_parameter", "1"),
        &[
            "setting /proc/sys/net/ipv4/no_such_parameter to 1",
            "ENOENT",
        ],
    );
    faulty(
        |b| b.sh("true").sysctl("net.ipv4.ip_forward", "word"),
        &["setting /proc/sys/net/ipv4/ip_forward to word", "EINVAL"],
    );
}

#[test]
fn namespaces() {
    let bench = Bench::new();
    let error = bench
        .sh("true")
        .network(Network::Namespace("/no/such/netns".into()))
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && chain(&error).contains("/no/such/netns"));
    faulty(
        |b| {
            b.sh("true")
                .network(Network::Namespace("/etc/passwd".into()))
        },
        &["joining the network namespace (operation 0)", "EINVAL"],
    );
}

#[test]
fn the_filter_and_the_program() {
    faulty_kind(
        |b| b.container().command(["/etc/passwd"]),
        ErrorKind::CommandNotExecutable,
        &["executing /etc/passwd", "EACCES"],
    );
    faulty_kind(
        |b| b.container().command(["nowhere"]),
        ErrorKind::CommandNotFound,
        &["executing nowhere", "ENOENT"],
    );
    // A filter that refuses what comes after it is named by what it refuses.
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["execve","execveat"],"action":"SCMP_ACT_ERRNO","errnoRet":7}]}"#;
    faulty_kind(
        |b| {
            b.sh("true")
                .seccomp(orlop_runtime::Seccomp::Profile(Box::new(
                    serde_json::from_str(profile).unwrap(),
                )))
        },
        ErrorKind::CommandNotExecutable,
        &["executing sh", "E2BIG"],
    );
    // Even one that kills the process at its first call.
    let profile = r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#;
    let bench = Bench::new();
    let error = bench
        .sh("true")
        .seccomp(orlop_runtime::Seccomp::Profile(Box::new(
            serde_json::from_str(profile).unwrap(),
        )))
        .start()
        .unwrap_err();
    check(&bench, &chain(&error), &["init died at", "SIGSYS"]);
}

fn faulty_kind(make: impl FnOnce(&Bench) -> Builder, kind: ErrorKind, wanted: &[&str]) {
    let bench = Bench::new();
    let error = make(&bench).start().unwrap_err();
    assert_eq!(error.kind(), kind, "{}", chain(&error));
    check(&bench, &chain(&error), wanted);
}

#[test]
fn cgroups() {
    if !root("cgroups") {
        return;
    }
    let bench = Bench::new();
    let id = "twice";
    let first = bench
        .container()
        .command(["sleep", "1000"])
        .id(id)
        .start()
        .unwrap();
    let error = bench
        .container()
        .command(["true"])
        .id(id)
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", chain(&error));
    assert!(
        first.try_wait().unwrap().is_none(),
        "the first one is left alone"
    );
    drop(first);
    let error = bench
        .container()
        .command(["true"])
        .cpuset_cpus("999")
        .start()
        .unwrap_err();
    assert!(chain(&error).contains("cpuset"), "{}", chain(&error));
    let error = bench
        .container()
        .command(["true"])
        .id("../up")
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// The same through a specification.
#[test]
fn a_specification() {
    let bench = Bench::new();
    let mut spec: Spec = bench.sh("echo from a spec; exit 3").to_spec().unwrap();
    let mut root = spec.root().clone().unwrap();
    root.set_path("root".into());
    spec.set_root(Some(root));
    let bundle = bench.rootfs.path.parent().unwrap();
    let output = bench.runtime.from_spec(&spec, bundle).output().unwrap();
    assert_eq!(
        (output.exit.code(), output.stdout.as_slice()),
        (Some(3), &b"from a spec\n"[..])
    );
    let again = bench.runtime.from_spec(&spec, bundle).plan().unwrap();
    assert_eq!(
        again,
        bench.runtime.from_spec(&spec, bundle).plan().unwrap()
    );

    spec.set_hostname(Some("x".repeat(65)));
    let error = bench.runtime.from_spec(&spec, bundle).start().unwrap_err();
    assert!(chain(&error).starts_with("hostname: "), "{}", chain(&error));
}
