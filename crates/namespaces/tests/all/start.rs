//! The start itself: status, output, signals, file descriptors, candidates.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use orlop_init::{Op, Plan, Slot};
use orlop_namespaces::{ExitStatus, Resources, SpawnError};

use crate::support::*;

fn start(ops: Vec<Op>) -> Result<orlop_namespaces::Started, SpawnError> {
    LAUNCHER.start(&Plan::new(ops), Resources::default())
}

#[test]
fn output_and_code_come_back() {
    let said = output(vec![clone(&[]), sh("echo hello; exit 42")]).unwrap();
    assert_eq!(said, (42, String::from("hello\n")));
}

#[test]
fn waiting_again_gives_the_same() {
    let started = start(vec![clone(&[]), sh("exit 3")]).unwrap();
    let exit = started.process.wait().unwrap();
    assert_eq!(exit.status, ExitStatus::Code(3));
    assert!(exit.usage.is_some_and(|usage| usage.max_resident > 4096));
    assert_eq!(started.process.wait().unwrap(), exit);
    assert_eq!(started.process.try_wait().unwrap(), Some(exit));
    assert_eq!(
        started.process.signal(9).unwrap_err().raw_os_error(),
        Some(libc::ESRCH)
    );
}

#[test]
fn many_threads_wait() {
    let started = start(vec![clone(&[]), sh("sleep 0.05; exit 7")]).unwrap();
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| started.process.wait().unwrap()))
            .collect();
        for wait in waits {
            assert_eq!(wait.join().unwrap().status, ExitStatus::Code(7));
        }
    });
}

#[test]
fn signals_reach_it() {
    let started = start(vec![clone(&[]), exec(&["/bin/sleep", "100"])]).unwrap();
    assert_eq!(started.process.try_wait().unwrap(), None);
    started.process.signal(libc::SIGTERM).unwrap();
    let killed = ExitStatus::Signal {
        signal: libc::SIGTERM,
        core: false,
    };
    assert_eq!(started.process.wait().unwrap().status, killed);
    assert!(started.process.signal(1000).is_err());
}

#[test]
fn signal_mask_and_dispositions_are_fresh() {
    // The test runner, like every Rust program, ignores SIGPIPE.
    let script = "while read name value; do case $name in Sig*) echo $name $value;; esac; done </proc/self/status";
    let (_, said) = output(vec![clone(&[]), exec(&["/bin/sh", "-c", script])]).unwrap();
    let value = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(
        (value("SigBlk"), value("SigIgn"), value("SigPnd")),
        (0, 0, 0),
        "{said}"
    );
}

#[test]
fn no_file_descriptor_leaks() {
    let leaked = File::open("/etc/passwd").unwrap();
    // One that the caller forgot to mark.
    let copy = nix::unistd::dup(&leaked).unwrap();
    nix::fcntl::fcntl(
        &copy,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let (_, said) = output(vec![
        clone(&[]),
        sh("ls /proc/self/fd | wc -l; readlink /proc/$$/fd/3; true"),
    ])
    .unwrap();
    // 0, 1, 2, and what ls itself opened.
    assert_eq!(said, "4\n");
}

#[test]
fn files_get_the_numbers_asked_for() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"from the pipe").unwrap();
    drop(writer);
    let reader = OwnedFd::from(reader);
    let ops = vec![
        clone(&[]),
        Op::Fd {
            slot: Slot(0),
            fd: 7,
        },
        sh("cat <&7; ls /proc/self/fd | wc -l"),
    ];
    let (_, said) = output_with(ops, &[reader.as_fd()], None).unwrap();
    assert_eq!(said, "from the pipe5\n");
}

#[test]
fn more_slots_than_a_message_carries() {
    let null = File::open("/dev/null").unwrap();
    for count in [251, 252, 253, 504, 505, 506, 507] {
        let passwd = File::open("/etc/hostname").unwrap();
        let mut slots = vec![null.as_fd(); count];
        slots.push(passwd.as_fd());
        let last = Slot(u16::try_from(count).unwrap());
        let ops = vec![
            clone(&[]),
            Op::Fd { slot: last, fd: 0 },
            exec(&["/bin/cat"]),
        ];
        let (_, said) = output_with(ops, &slots, None).unwrap();
        assert_eq!(
            said,
            std::fs::read_to_string("/etc/hostname").unwrap(),
            "{count}"
        );
    }
}

#[test]
fn a_missing_slot_is_refused() {
    let ops = vec![
        clone(&[]),
        Op::Fd {
            slot: Slot(4),
            fd: 0,
        },
        sh(""),
    ];
    let error = start(ops).unwrap_err();
    assert!(
        matches!(
            error,
            SpawnError::Slots {
                needed: 5,
                given: 0,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn candidates_are_tried_in_order() {
    let try_each = |candidates: &[&str]| {
        let op = Op::Exec {
            candidates: texts(candidates),
            argv: texts(&["sh", "-c", "echo $0"]),
            env: vec![],
        };
        output(vec![clone(&[]), op])
    };
    assert_eq!(try_each(&["/nowhere/sh", "/bin/sh"]).unwrap().1, "sh\n");
    assert_eq!(try_each(&["/etc/passwd", "/bin/sh"]).unwrap().1, "sh\n");
    assert_eq!(
        step(try_each(&["/nowhere/sh", "/nor/here"]), 3),
        (String::from("executing sh"), Errno::ENOENT)
    );
    assert_eq!(
        step(try_each(&["/etc/passwd", "/nor/here"]), 3).1,
        Errno::EACCES
    );
    assert_eq!(step(try_each(&["/nor/here", "/etc"]), 3).1, Errno::EACCES);
    assert_eq!(step(try_each(&["/etc/passwd/x"]), 3).1, Errno::ENOTDIR);
}

#[test]
fn a_magic_link_is_not_executed() {
    for path in ["/proc/self/exe", "/proc/self/fd/2"] {
        assert_eq!(
            step(output(vec![clone(&[]), exec(&[path])]), 3).1,
            Errno::ELOOP
        );
    }
}

#[test]
fn long_environments_and_arguments_arrive() {
    let long = "x".repeat(100_000);
    let script = "echo ${#BIG} ${#1}";
    let op = Op::Exec {
        candidates: texts(&["/bin/sh"]),
        argv: texts(&["sh", "-c", script, "sh", &long]),
        env: (0..2000)
            .map(|n| text(&format!("N{n}=1")))
            .chain([text(&format!("BIG={long}"))])
            .collect(),
    };
    assert_eq!(output(vec![clone(&[]), op]).unwrap().1, "100000 100000\n");
}

#[test]
fn session_umask_limits_and_niceties() {
    let ops = vec![
        clone(&[]),
        Op::NewSession,
        Op::NewSessionKeyring,
        Op::Umask { mask: 0o027 },
        Op::Rlimit {
            resource: 7,
            soft: 100,
            hard: 200,
        },
        Op::NoNewPrivileges,
        Op::OomScoreAdj {
            value: 500,
            clamp: false,
        },
        Op::CloseFrom { first: 3 },
        sh(
            "umask; ulimit -n; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj; cut -d' ' -f6 /proc/$$/stat; echo $$",
        ),
    ];
    let (_, said) = output(ops).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[..4],
        ["0027", "100", "NoNewPrivs:\t1", "500"],
        "{said}"
    );
    assert_eq!(lines[4], lines[5], "it should lead its session");
}

#[test]
fn the_callers_umask_is_inherited() {
    let before = output(vec![clone(&[]), sh("umask")]).unwrap().1;
    let own = std::process::Command::new("/bin/sh")
        .args(["-c", "umask"])
        .output()
        .unwrap();
    assert_eq!(before.as_bytes(), own.stdout);
}

#[test]
fn lowering_the_oom_score_is_clamped() {
    let ops = |clamp| {
        vec![
            clone(&[]),
            Op::User {
                uid: 65534,
                gid: 65534,
                groups: None,
                keep_caps: false,
            },
            Op::OomScoreAdj {
                value: -1000,
                clamp,
            },
            sh("cat /proc/self/oom_score_adj"),
        ]
    };
    if is_root("lowering_the_oom_score_is_clamped") {
        assert_eq!(output(ops(true)).unwrap().0, 0);
        assert_eq!(step(output(ops(false)), 2).1, Errno::EACCES);
    }
}
