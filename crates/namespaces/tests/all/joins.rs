//! Existing namespaces and control groups: opened, made ahead, joined.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;

use nix::errno::Errno;
use orlop_init::{Op, Plan, Slot};
use orlop_namespaces::{Kind, Namespace, NamespaceError, Resources, Started};

use crate::support::*;

fn link(pid: u32, kind: Kind) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{}", kind.name()))
        .unwrap()
        .display()
        .to_string()
}

#[test]
fn kinds_are_the_kernels() {
    for kind in Kind::ALL {
        if kind == Kind::Time && !std::path::Path::new("/proc/self/ns/time").exists() {
            println!("skipped: kinds_are_the_kernels: a kernel without time namespaces");
            continue;
        }
        let own = Namespace::own(kind).unwrap();
        let expected = format!("{}:[{}]", kind.name(), own.id().unwrap());
        assert_eq!(link(std::process::id(), kind), expected);
        assert_eq!(own.kind(), kind);
    }
    assert_eq!(Kind::flags(Kind::ALL), 0x7e02_0080);
    assert!(matches!(
        Namespace::open(u32::MAX, Kind::Uts),
        Err(NamespaceError::Open { .. })
    ));
}

#[test]
fn made_ahead_and_joined() {
    if !is_root("made_ahead_and_joined") {
        return;
    }
    for kind in [Kind::Network, Kind::Uts, Kind::Ipc, Kind::Cgroup] {
        let before = link(std::process::id(), kind);
        let made = Namespace::create(kind).unwrap();
        assert_eq!(link(std::process::id(), kind), before);
        let ops = vec![
            Op::JoinNamespace {
                slot: Slot(0),
                kind: kind.flag(),
            },
            clone(&[]),
            exec(&["/bin/readlink", &format!("/proc/self/ns/{}", kind.name())]),
        ];
        let (_, said) = output_with(ops, &[made.as_fd()], None).unwrap();
        assert_eq!(
            said.trim(),
            format!("{}:[{}]", kind.name(), made.id().unwrap())
        );
        assert_ne!(said.trim(), before);
    }
    for kind in [Kind::Mount, Kind::User, Kind::Pid, Kind::Time] {
        assert!(matches!(
            Namespace::create(kind),
            Err(NamespaceError::Create { .. })
        ));
    }
}

/// A container that sleeps, with its own root.
fn sleeper(root: &Root) -> Started {
    let mut ops = root.begin(&[Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts, Kind::Network]);
    ops.extend([
        proc(),
        Op::Hostname {
            name: text("sleeper"),
        },
        Op::LoopbackUp,
        Op::Pivot,
        exec(&["/bin/sleep", "1000"]),
    ]);
    LAUNCHER
        .start(&Plan::new(ops), Resources::default())
        .unwrap()
}

#[test]
fn several_at_once_by_pidfd() {
    if !is_root("several_at_once_by_pidfd") {
        return;
    }
    let root = Root::new();
    let sleeper = sleeper(&root);
    let pid = sleeper.process.pid();
    let kinds = [Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts, Kind::Network];
    let ops = vec![
        Op::JoinNamespace {
            slot: Slot(0),
            kind: Kind::flags(kinds),
        },
        clone(&[]),
        Op::WorkingDirectory {
            path: text("/tmp"),
            create: false,
        },
        sh(
            "hostname; pwd; test $$ -gt 1; echo $?; for kind in mnt pid ipc uts net; do readlink /proc/self/ns/$kind; done; ls -d /proc/1/cwd /etc; cat /proc/1/cmdline",
        ),
    ];
    let (_, said) = output_with(ops, &[sleeper.process.as_fd()], None).unwrap();
    let links: String = kinds.iter().map(|kind| link(pid, *kind) + "\n").collect();
    assert_eq!(
        said,
        format!("sleeper\n/tmp\n0\n{links}/etc\n/proc/1/cwd\n/bin/sleep\x001000\x00")
    );

    let pinned = Namespace::of(&sleeper.process, Kind::Uts).unwrap();
    sleeper.process.signal(libc::SIGKILL).unwrap();
    sleeper.process.wait().unwrap();
    assert!(Namespace::of(&sleeper.process, Kind::Uts).is_err());
    // The namespace lives on by its file descriptor.
    let ops = vec![
        Op::JoinNamespace {
            slot: Slot(0),
            kind: Kind::Uts.flag(),
        },
        clone(&[]),
        exec(&["/bin/hostname"]),
    ];
    assert_eq!(
        output_with(ops, &[pinned.as_fd()], None).unwrap().1,
        "sleeper\n"
    );
}

#[test]
fn a_dead_process_cannot_be_joined() {
    let started = LAUNCHER
        .start(
            &Plan::new(vec![clone(&[]), exec(&["/bin/true"])]),
            Resources::default(),
        )
        .unwrap();
    started.process.wait().unwrap();
    let ops = vec![
        Op::JoinNamespace {
            slot: Slot(0),
            kind: Kind::Uts.flag(),
        },
        clone(&[]),
        exec(&["/bin/true"]),
    ];
    let failed = step(output_with(ops, &[started.process.as_fd()], None), 0);
    assert_eq!(
        failed,
        (String::from("joining the uts namespace"), Errno::ESRCH)
    );
}

/// The mount point of the pure v2 hierarchy and of one of v1, if this machine has them.
fn cgroup_roots() -> (Option<String>, Option<String>) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let find = |fstype: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let found = fields[2] == fstype && fields[3].split(',').any(|each| each == option);
            found.then(|| fields[1].to_owned())
        })
    };
    (find("cgroup2", "rw"), find("cgroup", "pids"))
}

#[test]
fn born_in_a_cgroup() {
    if !is_root("born_in_a_cgroup") {
        return;
    }
    let (v2, v1) = cgroup_roots();
    assert!(
        v2.is_some() || v1.is_some(),
        "no cgroup hierarchy is mounted"
    );
    let name = format!("orlop-test-{}", std::process::id());
    let said = |ops: Vec<Op>, file: &File| output_with(ops, &[file.as_fd()], None).unwrap().1;
    let show = || exec(&["/bin/cat", "/proc/self/cgroup"]);
    if let Some(root) = v2 {
        let path = format!("{root}/{name}");
        fs::create_dir(&path).unwrap();
        let into = Op::Clone {
            flags: 0,
            cgroup: Some(Slot(0)),
        };
        let said = said(vec![into, show()], &File::open(&path).unwrap());
        assert!(said.contains(&format!("0::/{name}\n")), "{said}");
        fs::remove_dir(&path).unwrap();
    }
    if let Some(root) = v1 {
        let path = format!("{root}/{name}");
        fs::create_dir(&path).unwrap();
        let tasks = OpenOptions::new()
            .write(true)
            .open(format!("{path}/tasks"))
            .unwrap();
        let said = said(
            vec![Op::JoinCgroupV1 { slot: Slot(0) }, clone(&[]), show()],
            &tasks,
        );
        assert!(said.contains(&format!(":pids:/{name}\n")), "{said}");
        fs::remove_dir(&path).unwrap();
    }
}

/// Whoever starts into a frozen cgroup waits for the thaw, but is not frozen: its thread can be looked at, and the others go on.
#[test]
fn a_frozen_cgroup_does_not_freeze_its_starter() {
    if !is_root("a_frozen_cgroup_does_not_freeze_its_starter") {
        return;
    }
    let root = cgroup_roots().0.expect("no cgroup v2 is mounted");
    let path = format!("{root}/orlop-test-frozen-{}", std::process::id());
    fs::create_dir(&path).unwrap();
    let freeze = |value: &str| fs::write(format!("{path}/cgroup.freeze"), value).unwrap();
    let members = || fs::read_to_string(format!("{path}/cgroup.procs")).unwrap();
    freeze("1");
    let directory = File::open(&path).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            tell.send(rustix::thread::gettid()).unwrap();
            let into = Op::Clone {
                flags: 0,
                cgroup: Some(Slot(0)),
            };
            output_with(vec![into, exec(&["/bin/true"])], &[directory.as_fd()], None)
        });
        let thread = told.recv().unwrap();
        while members().is_empty() {
            std::thread::yield_now();
        }
        let state = || {
            let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().chars().next().unwrap()
        };
        // The shared clone is over, or the cgroup would have no member: what is left is an ordinary wait for a message.
        let mut asleep = false;
        for _ in 0..1000 {
            asleep = state() == 'S';
            if asleep {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let members = members();
        assert!(!members.contains(&format!("{}\n", std::process::id())));
        assert!(!starter.is_finished(), "nothing can run in a frozen cgroup");
        freeze("0");
        assert!(asleep, "the starter's thread was in state {}", state());
        assert_eq!(starter.join().unwrap().unwrap().0, 0);
    });
    fs::remove_dir(&path).unwrap();
}
