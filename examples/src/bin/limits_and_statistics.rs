//! Limits what a container may use, watches what it does use, and tells a kill for want of memory from another end.
//!
//! Needs root, or a delegated cgroup.

#![allow(clippy::print_stdout)] // A program.

use std::error::Error;
use std::thread;
use std::time::Duration;

use orlop_runtime::{Options, Runtime, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let root = orlop_examples::busybox_root()?;
    let runtime = Runtime::new(Options::new(state.path()))?;

    // Half a processor, for a loop that wants a whole one.
    let busy = runtime
        .container(root.path())
        .command(["sh", "-c", "while true; do :; done"])
        .memory(32 << 20)
        .cpus(0.5)
        .pids(16)
        .start()?;
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(200));
        let stats = busy.stats()?.ok_or("a limited container has a cgroup")?;
        let cpu = stats.cpu.map(|cpu| cpu.usage_ns / 1_000_000);
        let memory = stats.memory.map(|memory| memory.current / 1024);
        println!("busy: {cpu:?} ms of CPU time, {memory:?} KiB of memory");
    }
    busy.kill(9)?;
    let exit = busy.wait()?;
    println!("busy: {exit}");
    assert!(exit.signal() == Some(9) && !exit.oom_killed);

    // `tail` keeps all it reads: more than it may have.
    let hungry = runtime
        .container(root.path())
        .command(["tail", "-c", "100000000", "/dev/zero"])
        .stderr(Stdio::null())
        .memory(16 << 20)
        .start()?;
    let exit = hungry.wait()?;
    println!("hungry: {exit}");
    assert!(exit.oom_killed);
    Ok(())
}
