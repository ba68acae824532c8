//! A clone by itself: which namespaces cost what, whether the caller's size matters, and creating a namespace against joining one.

use std::error::Error;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use clap::Parser;
use orlop_benches::{Options, Suite, rootfs};
use orlop_namespaces::{Create, Kind, Launcher, Namespace, Op, Plan, Resources, Slot, Source};

/// What a clone costs.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Memory that this process keeps resident in the cases about its size, in MiB.
    #[arg(long, default_value_t = 256)]
    resident: usize,
}

fn main() -> ExitCode {
    let Arguments { options, resident } = Arguments::parse();
    let prepared = prepare();
    let mut suite = Suite::new("clone", &options);
    if !rustix::process::geteuid().is_root() {
        suite.skip(
            "start and wait",
            &[],
            "new namespaces without a user namespace need root",
        );
        return suite.finish();
    }
    let (launcher, root) = match &prepared {
        Ok((launcher, root)) => (launcher, root.path().as_os_str().as_encoded_bytes()),
        Err(error) => {
            suite.fail("preparation", &error.to_string());
            return suite.finish();
        }
    };
    each_kind(&mut suite, launcher);
    create_and_join(&mut suite, launcher);
    whole_containers(&mut suite, launcher, root);
    let program = "/bin/true";
    suite.case("posix_spawn of a dynamic true", &[], move |meter| {
        meter.measure(|| Command::new(program).status())?;
        Ok(())
    });
    big_callers(&mut suite, launcher, resident);
    suite.finish()
}

fn prepare() -> Result<(Launcher, tempfile::TempDir), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    rootfs::busybox(root.path())?;
    Ok((Launcher::new()?, root))
}

fn run(launcher: &Launcher, plan: &Plan, resources: Resources<'_>) -> Result<(), Box<dyn Error>> {
    let exit = launcher.start(plan, resources)?.process.wait()?;
    if exit.status.success() {
        Ok(())
    } else {
        Err(exit.status.to_string().into())
    }
}

fn exec(program: &str) -> Op {
    Op::Exec {
        candidates: vec![program.into()],
        argv: vec!["true".into()],
        env: vec![],
    }
}

/// The static busybox, so that the dynamic linker's time is not measured along.
fn minimal(kinds: &[Kind]) -> Plan {
    let flags = Kind::flags(kinds.iter().copied());
    Plan::new(vec![
        Op::Clone {
            flags,
            cgroup: None,
        },
        exec("/bin/busybox"),
    ])
}

fn each_kind<'a>(suite: &mut Suite<'a>, launcher: &'a Launcher) {
    const NONE: &[Kind] = &[];
    const USUAL: &[Kind] = &[Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts, Kind::Cgroup];
    const ALL: &[Kind] = &[
        Kind::Mount,
        Kind::Pid,
        Kind::Ipc,
        Kind::Uts,
        Kind::Cgroup,
        Kind::Network,
    ];
    let single = [
        ("mount", &[Kind::Mount]),
        ("pid", &[Kind::Pid]),
        ("ipc", &[Kind::Ipc]),
        ("uts", &[Kind::Uts]),
        ("cgroup", &[Kind::Cgroup]),
        ("network", &[Kind::Network]),
    ];
    let sets = [("none", NONE), ("all but network", USUAL), ("all", ALL)];
    let single = single.into_iter().map(|(name, kind)| (name, &kind[..]));
    for (name, kinds) in sets.into_iter().chain(single) {
        let plan = minimal(kinds);
        suite.case(
            "start and wait",
            &[("namespaces", name.into())],
            move |meter| meter.measure(|| run(launcher, &plan, Resources::default())),
        );
    }
}

fn create_and_join<'a>(suite: &mut Suite<'a>, launcher: &'a Launcher) {
    for kind in [Kind::Network, Kind::Uts, Kind::Ipc] {
        suite.case(
            "create a namespace",
            &[("kind", kind.name().into())],
            move |meter| {
                let made = meter.measure(|| Namespace::create(kind))?;
                // Its end is not measured.
                drop(made);
                Ok(())
            },
        );
        let join = Op::JoinNamespace {
            slot: Slot(0),
            kind: kind.flag(),
        };
        let clone = Op::Clone {
            flags: 0,
            cgroup: None,
        };
        let plan = Plan::new(vec![join, clone, exec("/bin/busybox")]);
        match Namespace::create(kind) {
            Ok(namespace) => {
                suite.case(
                    "start in an existing one",
                    &[("kind", kind.name().into())],
                    move |meter| {
                        let slots = vec![namespace.as_fd()];
                        meter.measure(|| {
                            run(
                                launcher,
                                &plan,
                                Resources {
                                    slots,
                                    id_maps: None,
                                },
                            )
                        })
                    },
                );
            }
            Err(error) => suite.fail("start in an existing one", &error.to_string()),
        }
    }
}

fn whole_containers<'a>(suite: &mut Suite<'a>, launcher: &'a Launcher, root: &[u8]) {
    let mount = |fstype: &str, target: &str| Op::Mount {
        source: Source::New {
            fstype: fstype.into(),
            source: fstype.into(),
            options: vec![],
        },
        target: target.into(),
        create: Create::No,
        attributes: 0,
        clear: 0,
        recursive: (0, 0),
        propagation: 0,
    };
    for network in [false, true] {
        let kinds = [Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts, Kind::Cgroup];
        let flags = Kind::flags(kinds) | if network { Kind::Network.flag() } else { 0 };
        let plan = Plan::new(vec![
            Op::Clone {
                flags,
                cgroup: None,
            },
            Op::Propagation { flags: 1 << 18 },
            Op::Root {
                source: Source::HostPath {
                    path: root.to_vec(),
                    recursive: false,
                },
                attributes: 0,
            },
            mount("proc", "/proc"),
            mount("tmpfs", "/dev"),
            Op::Pivot,
            exec("/bin/true"),
        ]);
        suite.case(
            "container with three mounts",
            &[("network", network.into())],
            move |meter| meter.measure(|| run(launcher, &plan, Resources::default())),
        );
    }
}

fn big_callers<'a>(suite: &mut Suite<'a>, launcher: &'a Launcher, resident: usize) {
    for size in [0, resident] {
        let parameter = i64::try_from(size).unwrap_or(i64::MAX);
        let plan = minimal(&[]);
        suite.case(
            "start from a big caller",
            &[("resident MiB", parameter.into())],
            move |meter| {
                let memory = vec![1u8; size << 20];
                let result = meter.measure(|| run(launcher, &plan, Resources::default()));
                drop(memory);
                result
            },
        );
    }
}
