//! Plans in few words.

use orlop_init::{CBytes, Create, Op, Plan, Source};
use orlop_namespaces::{Kind, Launcher, Resources, SpawnError, Started};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

pub(crate) static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| Launcher::new().unwrap());

pub(crate) fn text(text: &str) -> CBytes {
    text.as_bytes().to_vec()
}

pub(crate) fn texts(all: &[&str]) -> Vec<CBytes> {
    all.iter().map(|each| text(each)).collect()
}

pub(crate) fn exec(argv: &[&str]) -> Op {
    Op::Exec {
        candidates: texts(&argv[..1]),
        argv: texts(argv),
        env: texts(&["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]),
    }
}

pub(crate) fn clone(kinds: &[Kind]) -> Op {
    Op::Clone {
        flags: Kind::flags(kinds.iter().copied()),
        cgroup: None,
    }
}

pub(crate) const MS_PRIVATE: u64 = 1 << 18;

pub(crate) const INSIDE: [Kind; 4] = [Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts];

/// The host's root, with a tmpfs over /tmp.
pub(crate) fn host_root() -> Vec<Op> {
    vec![
        Op::Propagation { flags: MS_PRIVATE },
        Op::Root {
            source: Source::HostPath {
                path: text("/"),
                recursive: true,
            },
            attributes: 0,
        },
    ]
}

pub(crate) fn fresh(fstype: &str, target: &str, options: &[&str]) -> Op {
    Op::Mount {
        source: Source::New {
            fstype: text(fstype),
            source: text(fstype),
            options: texts(options),
        },
        target: text(target),
        create: Create::No,
        attributes: 0,
        clear: 0,
        recursive: (0, 0),
        propagation: 0,
    }
}

pub(crate) fn plan(ops: Vec<Op>) -> Plan {
    Plan::new(ops)
}

/// Runs a plan with its output in a pipe: exit code and output. The last operation is the exec.
pub(crate) fn output(mut ops: Vec<Op>) -> Result<(i32, String), SpawnError> {
    let (reader, writer) = std::io::pipe().unwrap();
    let exec = ops.pop().unwrap();
    let slot = Plan::new([ops.clone(), vec![exec.clone()]].concat()).slots();
    for fd in [1, 2] {
        ops.push(Op::Fd {
            slot: orlop_init::Slot(slot),
            fd,
        });
    }
    ops.push(exec);
    assert_eq!(slot, 0, "slots of the plan itself are not supported here");
    let writer = OwnedFd::from(writer);
    let resources = Resources {
        slots: vec![writer.as_fd()],
        id_maps: None,
    };
    let started = LAUNCHER.start(&plan(ops), resources)?;
    drop(writer);
    Ok(finish(&started, reader.into()))
}

pub(crate) fn finish(started: &Started, reader: OwnedFd) -> (i32, String) {
    let mut said = String::new();
    File::from(reader).read_to_string(&mut said).unwrap();
    let exit = started.process.wait().unwrap();
    let code = match exit.status {
        orlop_namespaces::ExitStatus::Code(code) => code,
        orlop_namespaces::ExitStatus::Signal { signal, .. } => -signal,
    };
    (code, said)
}
