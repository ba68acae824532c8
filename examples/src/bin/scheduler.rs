//! A small scheduler: many jobs, each with the memory it may use, are placed so that together they stay within a budget. A job
//! that wants too much for now waits while smaller ones pass it.
//!
//! Needs root, or a delegated cgroup.

#![allow(clippy::print_stdout)] // A program.

use std::error::Error;
use std::os::fd::AsFd;

use orlop_runtime::{Container, Options, Runtime};
use rustix::event::{PollFd, PollFlags, poll};

const MIB: u64 = 1 << 20;

struct Job {
    name: String,
    memory: u64,
    command: Vec<String>,
}

struct Running {
    job: Job,
    container: Container,
}

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let root = orlop_examples::busybox_root()?;
    let runtime = Runtime::new(Options::new(state.path()))?;
    let budget = 128 * MIB;

    let mut waiting: Vec<Job> = (1..=24).map(job).collect();
    let mut running: Vec<Running> = Vec::new();
    let (mut done, mut most) = (0, 0);
    while !waiting.is_empty() || !running.is_empty() {
        let mut used: u64 = running.iter().map(|one| one.job.memory).sum();
        while let Some(index) = waiting.iter().position(|job| used + job.memory <= budget) {
            let job = waiting.remove(index);
            used += job.memory;
            let container = runtime
                .container(root.path())
                .command(job.command.clone())
                .memory(job.memory)
                .pids(8)
                .start()?;
            running.push(Running { job, container });
        }
        most = most.max(used);

        // A container is a descriptor that becomes readable when it ends.
        let mut ends: Vec<_> = running
            .iter()
            .map(|one| PollFd::from_borrowed_fd(one.container.as_fd(), PollFlags::IN))
            .collect();
        poll(&mut ends, None)?;
        let ended: Vec<bool> = ends.iter().map(|end| !end.revents().is_empty()).collect();
        let mut ended = ended.into_iter();
        for one in running.extract_if(.., |_| ended.next().unwrap_or(false)) {
            println!(
                "{}, {} MiB: {}",
                one.job.name,
                one.job.memory / MIB,
                one.container.wait()?
            );
            done += 1;
        }
    }
    println!(
        "{done} jobs, never more than {} of {} MiB promised",
        most / MIB,
        budget / MIB
    );
    assert!(done == 24 && most <= budget);
    Ok(())
}

/// Of different sizes and lengths.
fn job(number: u64) -> Job {
    let sleep = format!("0.{}", number * 7 % 10);
    Job {
        name: format!("job {number}"),
        memory: [8, 16, 64][usize::try_from(number % 3).unwrap_or(0)] * MIB,
        command: ["sleep".to_owned(), sleep].to_vec(),
    }
}
