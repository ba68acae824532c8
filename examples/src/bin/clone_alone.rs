//! A clone alone: one process in namespaces of its own, with nothing but `orlop-namespaces`. No image, no cgroup, no root needed.
//!
//! ```text
//! cargo run --package orlop-examples --bin clone_alone
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::os::unix::fs::MetadataExt;

use orlop_namespaces::{
    Create, IdMaps, Kind, Launcher, Op, Plan, Resources, Source, SpawnError, Started,
};

const MS_PRIVATE: u64 = 1 << 18;

fn main() -> Result<(), Box<dyn Error>> {
    let root = orlop_examples::busybox_root()?;
    // The launcher owns a small sealed file; one does for the whole process, from any thread.
    let launcher = Launcher::new()?;
    let me = std::fs::metadata(root.path())?;
    let start = |program: &str| -> Result<Started, SpawnError> {
        let id_maps = Some(IdMaps::root_is(me.uid(), me.gid()));
        let plan = plan(root.path().as_os_str().as_encoded_bytes(), program);
        launcher.start(
            &plan,
            Resources {
                id_maps,
                ..Resources::default()
            },
        )
    };

    let started = start("/bin/sh")?;
    println!("started process {}", started.process.pid());
    let exit = started.process.wait()?;
    println!("it {}", exit.status);
    if let Some(usage) = exit.usage {
        println!("it used {:?} of processor time", usage.user + usage.system);
    }

    // A step that fails says which one it is.
    match start("/bin/no-such-program") {
        Err(error) => println!("as it should be: {error}"),
        Ok(_) => return Err("a program that does not exist was started".into()),
    }
    Ok(())
}

/// Namespaces of its own, the root, a proc, a host name, the program.
fn plan(root: &[u8], program: &str) -> Plan {
    let kinds = [
        Kind::User,
        Kind::Mount,
        Kind::Pid,
        Kind::Uts,
        Kind::Ipc,
        Kind::Network,
    ];
    let script = "echo I am process $$ and user $(id -u) on $(hostname), and see $(ls -d /proc/[0-9]* | sort | head -n 1); exit 7";
    Plan::new(vec![
        Op::Clone {
            flags: Kind::flags(kinds),
            cgroup: None,
        },
        Op::AwaitIdMaps { uid: 0, gid: 0 },
        Op::Propagation { flags: MS_PRIVATE },
        Op::Root {
            source: Source::HostPath {
                path: root.to_vec(),
                recursive: false,
            },
            attributes: 0,
        },
        Op::Mount {
            source: Source::New {
                fstype: "proc".into(),
                source: "proc".into(),
                options: vec![],
            },
            target: "/proc".into(),
            create: Create::Dir,
            attributes: 0,
            clear: 0,
            recursive: (0, 0),
            propagation: 0,
        },
        Op::Hostname {
            name: "alone".into(),
        },
        Op::Pivot,
        Op::Exec {
            candidates: vec![program.into()],
            argv: [program, "-c", script].map(Into::into).into(),
            env: vec!["PATH=/bin".into()],
        },
    ])
}
