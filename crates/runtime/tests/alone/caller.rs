//! The caller is the same before, during and after, whatever is switched on and whatever signals come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use orlop_runtime::spec::PosixRlimitType;
use orlop_runtime::{Builder, UserNamespace};

use crate::sample;
use crate::support::{Bench, chain, parent};
use crate::sys;

const STARTS: usize = 24;

/// Everything a builder has.
fn everything(bench: &Bench, round: usize) -> Builder {
    let root = rustix::process::geteuid().is_root();
    let mut builder = bench
        .sh("exit 7")
        .env("A", "1")
        .cwd("/tmp")
        .umask(0o077)
        .hostname("box")
        .tmpfs("/run", &["size=1m"])
        .volume("/usr", "/usr")
        .rlimit(PosixRlimitType::RlimitNofile, 64, 64)
        .oom_score_adj(700)
        .sysctl("kernel.shm_rmid_forced", "1")
        .cap_drop("NET_RAW")
        .no_new_privileges(round.is_multiple_of(2))
        .read_only(true);
    if root {
        builder = builder.memory(64 << 20).cpus(1.0).pids(20);
    }
    if root && round.is_multiple_of(3) {
        builder = builder.user_namespace(UserNamespace::Own);
    }
    if round % 4 == 1 {
        builder = builder.terminal(24, 80);
    }
    builder
}

pub(crate) fn is_left_alone() {
    let bench = Bench::new();
    // A caller's own child, to be still its own afterwards, and memory that a plain fork would have to copy.
    let resident = vec![1u8; 1 << 30];
    sys::count_signals();
    let own_fd = tempfile::tempfile().unwrap();
    // The threads are there from the beginning, so that they are no difference.
    let (stop, sampled, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let (go, wait) = std::sync::mpsc::channel::<sample::Process>();
    let sampler = std::thread::spawn({
        let (stop, sampled) = (stop.clone(), sampled.clone());
        move || {
            let Ok(before) = wait.recv() else { return };
            let own = sample::process().without_traffic();
            while !stop.load(Ordering::Relaxed) {
                sample::process()
                    .without_traffic()
                    .expect_as(&own, "while a container starts");
                let now = sample::fds();
                for (number, target) in &before.fds {
                    assert_eq!(
                        now.get(number),
                        Some(target),
                        "descriptor {number} changed while a container starts"
                    );
                }
                sampled.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let starter = nix::sys::pthread::pthread_self();
    let storm = std::thread::spawn({
        let (stop, sent) = (stop.clone(), sent.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let thread =
                    nix::sys::pthread::pthread_kill(starter, nix::sys::signal::Signal::SIGUSR1);
                let process = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::USR2,
                );
                assert!(thread.is_ok() && process.is_ok());
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let before = sample::process();
    assert!(before.children.is_empty());
    go.send(before.clone()).unwrap();
    for round in 0..STARTS {
        let output = everything(&bench, round)
            .output()
            .unwrap_or_else(|error| panic!("round {round}: {}", chain(&error)));
        assert_eq!(output.exit.code(), Some(7), "{output:?}");
        // Failing leaves as little.
        assert!(
            everything(&bench, round)
                .command(["no-such-program"])
                .start()
                .is_err()
        );
        // The sampler's own files come and go.
        sample::process().without_traffic().expect_as(
            &before.clone().without_traffic(),
            &format!("by round {round}"),
        );
    }
    stop.store(true, Ordering::Relaxed);
    sampler.join().unwrap();
    storm.join().unwrap();
    let after = sample::process();
    assert_eq!(after.fds, before.fds);
    assert_eq!(after.children, before.children);
    assert!(sampled.load(Ordering::Relaxed) > 20 && sent.load(Ordering::Relaxed) > 100);
    assert!(sys::counted() > 100, "the signals have come through");
    assert_eq!(sample::cgroups_left(&parent()), Vec::<String>::new());
    assert!(resident.iter().all(|byte| *byte == 1));
    drop(own_fd);
}
