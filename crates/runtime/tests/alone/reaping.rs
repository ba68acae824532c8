//! Programs that reap every child, and programs that want none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::sample;
use crate::support::{Bench, chain};
use crate::sys;

/// Exit status where it can be known: the kernel's record is there from 6.15 on.
fn check(bench: &Bench) {
    let (major, minor) = bench.runtime.host().kernel;
    for _ in 0..10 {
        match bench.sh("exit 9").output() {
            Ok(output) => assert_eq!(output.exit.code(), Some(9)),
            Err(error) => {
                assert!((major, minor) < (6, 15), "{}", chain(&error));
                assert!(chain(&error).contains("reaped"), "{}", chain(&error));
            }
        }
        assert!(
            bench
                .container()
                .command(["no-such-program"])
                .start()
                .is_err()
        );
    }
    assert!(sample::children().is_empty());
    assert_eq!(
        sample::cgroups_left(&crate::support::parent()),
        Vec::<String>::new()
    );
}

pub(crate) fn by_another_thread() {
    let bench = Bench::new();
    let stop = Arc::new(AtomicBool::new(false));
    let reaper = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                if waitpid(None, Some(WaitPidFlag::WNOHANG)).is_err() {
                    std::thread::yield_now();
                }
            }
        }
    });
    check(&bench);
    stop.store(true, Ordering::Relaxed);
    reaper.join().unwrap();
}

pub(crate) fn by_the_kernel() {
    // The root is made by running busybox, whose end is to be known.
    let bench = Bench::new();
    sys::ignore_children();
    check(&bench);
}
