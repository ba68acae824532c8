//! What a cgroup costs: making it, entering it in each of the kernel's ways, reading it, stopping it, removing it; and how long a
//! task waits that has used up its quota.

#![allow(clippy::print_stdout)] // A program.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use orlop_benches::{Options, Suite};
use orlop_cgroups::{Cgroup, CgroupPath, Cgroups, Controller, Limits};
use orlop_namespaces::{Launcher, Op, Plan, Resources, Slot};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Be the task that is throttled: keep the CPU busy for so many milliseconds and print the longest stop, in nanoseconds
    #[arg(long, hide = true)]
    spin: Option<u64>,
}

type Failure = Box<dyn std::error::Error>;

/// A parent for everything made here, removed with all that is left in it.
struct Scene {
    cgroups: Cgroups,
    parent: CgroupPath,
}

impl Scene {
    fn new() -> Result<Scene, Failure> {
        let parent = CgroupPath::new(format!("orlop-bench-{}", std::process::id()))?;
        Ok(Scene {
            cgroups: Cgroups::detect()?,
            parent,
        })
    }

    fn create(&self, cgroups: &Cgroups, limits: &Limits) -> Result<Cgroup, orlop_cgroups::Error> {
        cgroups.create(&self.parent.join("one")?, limits)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Ok(cgroup) = self.cgroups.open(&self.parent) {
            // A measurement that failed has said so; there is nobody to tell about this.
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(milliseconds) = arguments.spin {
        println!(
            "{}",
            longest_stop(Duration::from_millis(milliseconds)).as_nanos()
        );
        return ExitCode::SUCCESS;
    }
    let scene = match Scene::new() {
        Ok(scene) => scene,
        Err(error) => {
            let mut suite = Suite::new("cgroup", &arguments.options);
            suite.fail("cgroups", &error.to_string());
            return suite.finish();
        }
    };
    let mut suite = Suite::new("cgroup", &arguments.options);
    make_and_remove(&mut suite, &scene);
    enter(&mut suite, &scene);
    living(&mut suite, &scene);
    throttle(&mut suite, &scene);
    suite.finish()
}

fn make_and_remove<'a>(suite: &mut Suite<'a>, scene: &'a Scene) {
    let limited = Limits {
        memory_max: Some(64 << 20),
        pids_max: Some(64),
        ..Limits::default()
    }
    .cpus(0.5);
    let wanted = [Controller::Memory, Controller::Cpu, Controller::Pids];
    let few = scene.cgroups.restricted_to(wanted);
    for (name, cgroups, limits) in [
        ("all", scene.cgroups.clone(), Limits::default()),
        ("all", scene.cgroups.clone(), limited.clone()),
        ("memory cpu pids", few, limited),
    ] {
        let parameters = [
            ("hierarchies", name.into()),
            ("limits", (!limits.is_empty()).into()),
        ];
        let (of, limits_of) = (cgroups.clone(), limits.clone());
        suite.case("create", &parameters, move |meter| {
            let cgroup = meter.measure(|| scene.create(&of, &limits_of))?;
            Ok(cgroup.remove()?)
        });
        suite.case("remove", &parameters, move |meter| {
            let cgroup = scene.create(&cgroups, &limits)?;
            Ok(meter.measure(|| cgroup.remove())?)
        });
    }
}

/// Starting `true` and waiting for it, in a cgroup or in none: what entering adds is the difference to the first.
fn enter<'a>(suite: &mut Suite<'a>, scene: &'a Scene) {
    let launcher = match Launcher::new() {
        Ok(launcher) => launcher,
        Err(error) => return suite.fail("start", &error.to_string()),
    };
    let start = |way: &str| [("into", way.into())];
    let plain = launcher.clone();
    suite.case("start", &start("none"), move |meter| {
        meter.measure(|| run(&plain, None, &[]))
    });
    let v2 = launcher.clone();
    if scene.cgroups.mode() == orlop_cgroups::Mode::V1 {
        suite.skip(
            "start",
            &start("CLONE_INTO_CGROUP"),
            "there is no cgroup v2 here",
        );
    } else {
        suite.case("start", &start("CLONE_INTO_CGROUP"), move |meter| {
            let cgroup = scene.create(&scene.cgroups, &Limits::default())?;
            let join = cgroup.join()?;
            meter.measure(|| run(&v2, join.v2.as_ref(), &[]))?;
            Ok(cgroup.remove()?)
        });
    }
    if scene.cgroups.mode() != orlop_cgroups::Mode::V2 {
        let v1 = launcher.clone();
        suite.case("start", &start("v1 tasks"), move |meter| {
            let cgroup = scene.create(&scene.cgroups, &Limits::default())?;
            let join = cgroup.join()?;
            meter.measure(|| run(&v1, None, &join.v1_tasks))?;
            Ok(cgroup.remove()?)
        });
    }
    suite.case("start", &start("everything"), move |meter| {
        let cgroup = scene.create(&scene.cgroups, &Limits::default())?;
        let join = cgroup.join()?;
        meter.measure(|| run(&launcher, join.v2.as_ref(), &join.v1_tasks))?;
        Ok(cgroup.remove()?)
    });
    suite.case("attach", &[("by", "cgroup.procs".into())], move |meter| {
        let cgroup = scene.create(&scene.cgroups, &Limits::default())?;
        let child = Waiting::start("")?;
        meter.measure(|| cgroup.attach(child.0.id()))?;
        drop(child);
        Ok(cgroup.remove()?)
    });
}

/// Starts `true` by a plan that enters the cgroup, and waits.
fn run(
    launcher: &Launcher,
    v2: Option<&std::os::fd::OwnedFd>,
    v1: &[std::os::fd::OwnedFd],
) -> Result<(), Failure> {
    let mut slots = Vec::new();
    let mut ops = Vec::new();
    for fd in v1 {
        ops.push(Op::JoinCgroupV1 {
            slot: Slot(slots.len() as u16),
        });
        slots.push(fd.as_fd());
    }
    let cgroup = v2.map(|fd| {
        slots.push(fd.as_fd());
        Slot(slots.len() as u16 - 1)
    });
    ops.push(Op::Clone { flags: 0, cgroup });
    ops.push(Op::Exec {
        candidates: vec!["/bin/true".into()],
        argv: vec!["true".into()],
        env: Vec::new(),
    });
    let started = launcher.start(
        &Plan::new(ops),
        Resources {
            slots,
            ..Resources::default()
        },
    )?;
    match started.process.wait()?.status.success() {
        true => Ok(()),
        false => Err("true failed".into()),
    }
}

/// A cgroup with a process in it.
fn living<'a>(suite: &mut Suite<'a>, scene: &'a Scene) {
    let inhabited = move || -> Result<(Cgroup, Waiting), Failure> {
        let cgroup = scene.create(&scene.cgroups, &Limits::default())?;
        let child = Waiting::start("")?;
        cgroup.attach(child.0.id())?;
        Ok((cgroup, child))
    };
    suite.case("stats", &[], move |meter| {
        let (cgroup, child) = inhabited()?;
        meter.measure_many(10, || (0..10).try_for_each(|_| cgroup.stats().map(drop)))?;
        drop(child);
        Ok(cgroup.remove()?)
    });
    suite.case("oom_kills", &[], move |meter| {
        let (cgroup, child) = inhabited()?;
        meter.measure_many(10, || {
            (0..10).try_for_each(|_| cgroup.oom_kills().map(drop))
        })?;
        drop(child);
        Ok(cgroup.remove()?)
    });
    suite.case("freeze and thaw", &[], move |meter| {
        let (cgroup, child) = inhabited()?;
        meter.measure(|| cgroup.freeze().and_then(|()| cgroup.thaw()))?;
        drop(child);
        Ok(cgroup.remove()?)
    });
    suite.case("kill", &[], move |meter| {
        let (cgroup, child) = inhabited()?;
        meter.measure(|| cgroup.kill())?;
        drop(child);
        Ok(cgroup.remove()?)
    });
}

/// The longest a busy task stands still under a quota of half a CPU: at best half the period.
fn throttle<'a>(suite: &mut Suite<'a>, scene: &'a Scene) {
    for period_us in [10_000u64, 100_000] {
        suite.case(
            "throttle latency",
            &[("period_us", period_us.into())],
            move |meter| {
                let limits = Limits {
                    cpu_quota_us: Some(period_us / 2),
                    cpu_period_us: Some(period_us),
                    ..Limits::default()
                };
                let cgroup = scene.create(&scene.cgroups, &limits)?;
                // Three periods and a bit, so that two ends of a quota fall into it.
                let milliseconds = (period_us * 7 / 2 / 1000).to_string();
                let program = std::env::current_exe()?;
                let script = format!("exec '{}' --spin {milliseconds}", program.display());
                let mut child = Waiting::start(&script)?;
                cgroup.attach(child.0.id())?;
                let longest: u64 = child.go()?.trim().parse()?;
                meter.record(Duration::from_nanos(longest));
                Ok(cgroup.remove()?)
            },
        );
    }
}

fn longest_stop(length: Duration) -> Duration {
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    let mut last = started;
    while last - started < length {
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}

/// A shell that waits for a line before it does anything; killed with the value.
struct Waiting(Child);

impl Waiting {
    fn start(script: &str) -> std::io::Result<Waiting> {
        Command::new("/bin/sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Waiting)
    }

    /// Lets it go on, and returns what it prints.
    fn go(&mut self) -> std::io::Result<String> {
        if let Some(mut stdin) = self.0.stdin.take() {
            stdin.write_all(b"\n")?;
        }
        let mut out = self.0.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        std::io::read_to_string(&mut out)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
