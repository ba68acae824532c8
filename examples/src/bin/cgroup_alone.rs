//! A cgroup alone, around a process started by ordinary means: limits, what was used, stopping, and the end.
//!
//! Needs root, or a delegated subtree of cgroup v2.

#![allow(clippy::print_stdout)] // A program.

use std::error::Error;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use orlop_cgroups::{CgroupPath, Cgroups, Limits};

fn main() -> Result<(), Box<dyn Error>> {
    let cgroups = Cgroups::detect()?;
    println!("{:?}: {}", cgroups.mode(), cgroups.controllers());

    let parent = CgroupPath::new(format!("orlop-example-{}", std::process::id()))?;
    let limits = Limits {
        memory_max: Some(16 << 20),
        memory_swap_max: Some(0),
        pids_max: Some(8),
        ..Limits::default()
    };
    let cgroup = cgroups.create(&parent.join("one")?, &limits.cpus(0.25))?;
    let result = demonstrate(&cgroup);

    // Whatever happened: nothing stays behind.
    cgroup.kill()?;
    cgroups.open(&parent)?.remove()?;
    result
}

fn demonstrate(cgroup: &orlop_cgroups::Cgroup) -> Result<(), Box<dyn Error>> {
    // Waits for a line, so that it is inside before it does anything; then a quarter of a CPU is all it gets.
    let mut child = Command::new("sh")
        .args(["-c", "read go; while :; do :; done"])
        .stdin(Stdio::piped())
        .spawn()?;
    cgroup.attach(child.id())?;
    drop(child.stdin.take());
    sleep(Duration::from_millis(500));

    cgroup.freeze()?;
    let stats = cgroup.stats()?;
    if let (Some(cpu), Some(pids)) = (&stats.cpu, &stats.pids) {
        println!(
            "{} ms of CPU time, throttled in {} of {} periods, {} of at most {:?} tasks",
            cpu.usage_ns / 1_000_000,
            cpu.throttled_periods,
            cpu.periods,
            pids.current,
            pids.limit,
        );
    }
    // Kills the frozen, too, and thaws what is left: nothing.
    cgroup.kill()?;
    println!("killed: {}", child.wait()?);

    // More memory than there is: the kernel kills it, and counts that.
    let mut hog = Command::new("sh")
        .args(["-c", "read go; exec tail /dev/zero"])
        .stdin(Stdio::piped())
        .spawn()?;
    cgroup.attach(hog.id())?;
    drop(hog.stdin.take());
    let status = hog.wait()?;
    println!(
        "hog: {status}, {} killed for want of memory",
        cgroup.oom_kills()?
    );
    match cgroup.oom_kills()? {
        1 => Ok(()),
        other => Err(format!("{other} kills were counted").into()),
    }
}
