//! What the program is: user, capabilities, filter, limits, environment.

use orlop_runtime::spec::PosixRlimitType;
use orlop_runtime::{Clamp, Error, ErrorKind, Seccomp, Warning};

use super::support::*;

fn status(builder: orlop_runtime::Builder) -> std::collections::HashMap<String, String> {
    run(builder.command(["cat", "/proc/self/status"]))
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[test]
fn capabilities_are_dockers_exactly() {
    let bench = Bench::new();
    let seen = status(bench.container());
    for (set, mask) in [
        ("CapEff", "00000000a80425fb"),
        ("CapPrm", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        assert_eq!(seen[set], mask, "{set}");
    }
    assert_eq!(
        (
            seen["NoNewPrivs"].as_str(),
            seen["Seccomp"].as_str(),
            seen["Seccomp_filters"].as_str()
        ),
        ("0", "2", "1")
    );
    let none = status(
        bench
            .container()
            .cap_drop("ALL")
            .cap_add("CHOWN")
            .no_new_privileges(true),
    );
    assert_eq!(
        (none["CapEff"].as_str(), none["CapBnd"].as_str()),
        ("0000000000000001", "0000000000000001")
    );
    assert_eq!(
        (none["NoNewPrivs"].as_str(), none["Seccomp"].as_str()),
        ("1", "2")
    );
    let more = status(
        bench
            .container()
            .cap_add("sys_ptrace")
            .cap_drop("CAP_MKNOD")
            .seccomp(Seccomp::Unconfined),
    );
    assert_eq!(
        more["CapEff"],
        format!("{:016x}", (0xa804_25fb_u64 | 1 << 19) & !(1 << 27))
    );
    assert_eq!(more["Seccomp"], "0");
}

#[test]
fn another_user_has_no_capability() {
    if !root("another_user_has_no_capability") {
        return;
    }
    let bench = Bench::new();
    let seen = status(bench.container().user("app"));
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
    assert_eq!(seen["CapBnd"], "00000000a80425fb");
    assert_eq!(seen["Uid"], "1000\t1000\t1000\t1000");
    assert_eq!(seen["Gid"], "1001\t1001\t1001\t1001");
    assert_eq!(seen["Groups"], "50 1001");
}

#[test]
fn users_groups_and_home() {
    if !root("users_groups_and_home") {
        return;
    }
    let bench = Bench::new();
    let seen = |user: &str| run(bench.sh("id -u; id -g; id -G; echo $HOME").user(user));
    assert_eq!(seen("app"), "1000\n1001\n1001 50\n/home/app\n");
    assert_eq!(seen("1000:staff"), "1000\n50\n50\n/home/app\n");
    assert_eq!(seen("4242"), "4242\n0\n0\n/\n");
    assert_eq!(
        run(bench
            .sh("id -G")
            .user("app")
            .group_add("staff")
            .group_add("77")),
        "1001 50 77\n"
    );
    for (user, text) in [
        ("nobody", "there is no user \"nobody\""),
        ("app:none", "there is no group \"none\""),
        ("+1", "is no user"),
    ] {
        let error = bench
            .container()
            .command(["true"])
            .user(user)
            .start()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(chain(&error).contains(text), "{}", chain(&error));
    }
    // Another user can still open its own streams by name.
    assert_eq!(run(bench.sh("echo out > /dev/stdout").user("app")), "out\n");
}

#[test]
fn more_privilege_than_the_caller_has() {
    let bench = Bench::new();
    let host = bench.runtime.host();
    let missing = host.all_capabilities() & !host.bounding;
    if !root("more_privilege_than_the_caller_has") || missing == 0 {
        return;
    }
    let name = orlop_runtime::compile::capabilities::names(missing).remove(0);
    let error = bench
        .container()
        .command(["true"])
        .cap_add(&name)
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Privilege);
    assert!(chain(&error).contains(&name));
    let container = bench
        .container()
        .command(["true"])
        .cap_add(&name)
        .clamp(Clamp::All)
        .start()
        .unwrap();
    assert_eq!(
        container.warnings(),
        [Warning::CapabilityDropped { capability: name }]
    );
    assert!(container.wait().unwrap().success());
}

#[test]
fn environment_directory_and_names() {
    let bench = Bench::new();
    let seen = run(bench
        .container()
        .command(["env"])
        .env("A", "1")
        .env("A", "2")
        .env("EMPTY", "")
        .hostname("box"));
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A=2",
            "EMPTY=",
            "HOME=/root",
            "HOSTNAME=box",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]
    );
    assert_eq!(
        run(bench.container().command(["pwd"]).cwd("/home/app")),
        "/home/app\n"
    );
    assert_eq!(
        run(bench.container().command(["pwd"]).cwd("/made/for/it")),
        "/made/for/it\n"
    );
    assert_eq!(
        run(bench
            .sh("hostname; cat /proc/sys/kernel/domainname")
            .hostname("h")
            .domainname("d")),
        "h\nd\n"
    );
    let id = run(bench.sh("hostname").id("abcdefabcdef0123"));
    assert_eq!(id, "abcdefabcdef\n");
    assert_eq!(
        run(bench
            .sh("umask; id -u; cat /proc/self/oom_score_adj")
            .umask(0o27)
            .oom_score_adj(500)),
        "0027\n0\n500\n"
    );
    assert_eq!(
        run(bench
            .sh("cat /proc/sys/kernel/shm_rmid_forced")
            .sysctl("kernel.shm_rmid_forced", "1")),
        "1\n"
    );
}

#[test]
fn resource_limits() {
    let bench = Bench::new();
    let container = bench
        .container()
        .command(["cat", "/proc/self/limits"])
        .rlimit(PosixRlimitType::RlimitNofile, 64, 128)
        .rlimit(PosixRlimitType::RlimitCore, 0, 0);
    let seen = run(container);
    let line = |name: &str| {
        let line = seen.lines().find(|line| line.starts_with(name)).unwrap();
        line.trim_start_matches(name)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(line("Max open files")[..2], ["64", "128"]);
    assert_eq!(line("Max core file size")[..2], ["0", "0"]);
}

#[test]
fn the_filter_is_active() {
    let bench = Bench::new();
    // unshare is refused by Docker's profile before any capability is asked about.
    assert_eq!(
        run(bench.sh("unshare -m true 2>/dev/null && echo allowed || echo refused")),
        "refused\n"
    );
    if rustix::process::geteuid().is_root() {
        let open = bench
            .sh("unshare -m true 2>/dev/null && echo allowed || echo refused")
            .cap_add("SYS_ADMIN");
        assert_eq!(run(open), "allowed\n");
    }
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":5},
        {"names":["sethostname"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    let own = |script: &str| {
        bench.sh(script).seccomp(Seccomp::Profile(Box::new(
            serde_json::from_str(profile).unwrap(),
        )))
    };
    let seen = own("mkdir /tmp/x 2>&1").output().unwrap();
    assert!(
        String::from_utf8_lossy(&seen.stdout).contains("Input/output error"),
        "{seen:?}"
    );
    let killed = own("exec hostname x").output().unwrap();
    assert_eq!(killed.exit.signal(), Some(31), "{}", killed.exit);
}

#[test]
fn a_listener_gets_the_calls_it_asked_for() {
    let bench = Bench::new();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let container = bench
        .container()
        .command(["mkdir", "/tmp/x"])
        .no_new_privileges(true)
        .seccomp(Seccomp::Profile(Box::new(
            serde_json::from_str(profile).unwrap(),
        )))
        .start()
        .unwrap();
    let listener = container.seccomp_listener.as_ref().expect("a listener");
    let mut fds = [rustix::event::PollFd::new(
        listener,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    assert_eq!(
        rustix::event::poll(&mut fds, Some(&timeout)).unwrap(),
        1,
        "the call is asked about"
    );
    container.kill(9).unwrap();
    assert_eq!(container.wait().unwrap().signal(), Some(9));
}

#[test]
fn missing_and_unusable_commands() {
    let bench = Bench::new();
    let kind = |command: &[&str]| {
        let error = bench
            .container()
            .command(command.iter().copied())
            .start()
            .unwrap_err();
        (error.kind(), chain(&error))
    };
    let (missing, text) = kind(&["no-such-program"]);
    assert_eq!(missing, ErrorKind::CommandNotFound);
    assert!(
        text.contains("executing no-such-program") && text.contains("ENOENT"),
        "{text}"
    );
    assert_eq!(kind(&["/bin/none/of/it"]).0, ErrorKind::CommandNotFound);
    assert_eq!(kind(&["/etc/passwd"]).0, ErrorKind::CommandNotExecutable);
    assert_eq!(kind(&["/etc"]).0, ErrorKind::CommandNotExecutable);
    assert_eq!(kind(&[]).0, ErrorKind::Invalid);
    std::fs::write(bench.rootfs.path.join("bin/garbage"), [0u8; 64]).unwrap();
    std::fs::set_permissions(
        bench.rootfs.path.join("bin/garbage"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    assert_eq!(kind(&["garbage"]).0, ErrorKind::CommandNotExecutable);
    let error = bench
        .container()
        .command(["true"])
        .env("A=B", "c")
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
}
