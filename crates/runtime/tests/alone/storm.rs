//! Thousands of starts from a busy tokio program that allocates all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::sample;
use crate::support::{Bench, chain, parent};

const THREADS: usize = 16;

/// Enough for a hang or a leak that comes once in a hundred.
pub(crate) fn short() {
    run(480);
}

pub(crate) fn run(starts: usize) {
    let bench = Arc::new(Bench::new());
    let begun = Instant::now();
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .unwrap();
    // Tokio keeps a pair of sockets for signals from its first runtime on.
    let (fds, mounts) = (
        sample::fds(),
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
    );
    tokio.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..THREADS / 4)
            .map(|seed| {
                let stop = stop.clone();
                tokio::spawn(async move {
                    let mut kept = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        kept.push(vec![seed; 64 + kept.len() * 37 % 9000]);
                        if kept.len() > 200 {
                            kept.clear();
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let starters: Vec<_> = (0..THREADS)
            .map(|number| {
                let bench = bench.clone();
                tokio::spawn(async move {
                    for round in 0..starts.div_ceil(THREADS) {
                        let code = (number + round) % 50;
                        let script = format!("echo {number}.{round}; exit {code}");
                        let output = bench
                            .sh(&script)
                            .output_async()
                            .await
                            .unwrap_or_else(|error| panic!("{}", chain(&error)));
                        assert_eq!(output.exit.shell_code() as usize, code);
                        assert_eq!(output.stdout, format!("{number}.{round}\n").into_bytes());
                    }
                })
            })
            .collect();
        for starter in starters {
            starter.await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for task in busy {
            task.await.unwrap();
        }
        // A container whose future is dropped ends, too.
        let lost = bench.container().command(["sleep", "1000"]).output_async();
        let _ = tokio::time::timeout(std::time::Duration::from_millis(300), lost).await;
    });
    drop(tokio);
    println!("{starts} starts in {:.1?}", begun.elapsed());
    assert_eq!(sample::children(), Vec::<String>::new(), "zombies");
    // The reactor's own are gone with it.
    assert!(
        sample::fds()
            .into_iter()
            .all(|(number, target)| fds.get(&number) == Some(&target)),
        "{:?} after {fds:?}",
        sample::fds()
    );
    assert_eq!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
        mounts
    );
    assert_eq!(sample::cgroups_left(&parent()), Vec::<String>::new());
    let owners: Vec<_> = std::fs::read_dir(bench.state.path().join("owners"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(
        std::fs::read_dir(owners[0].path()).unwrap().count(),
        1,
        "records are left"
    );
}
