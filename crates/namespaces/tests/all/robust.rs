//! Many threads, thieves of children, ignored signals, killed callers, big callers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::wait::waitpid;
use orlop_init::{Op, Plan, Slot};
use orlop_namespaces::{ExitStatus, Kind, Resources, SpawnError, WaitError};

use crate::support::*;
use crate::sys::handle;

/// A container's namespaces as far as the caller may have them.
fn plan() -> Plan {
    let kinds: &[Kind] = if nix::unistd::geteuid().is_root() {
        &[Kind::Uts, Kind::Pid]
    } else {
        &[]
    };
    Plan::new(vec![clone(kinds), exec(&["/bin/true"])])
}

fn run(plan: &Plan) {
    let started = LAUNCHER.start(plan, Resources::default()).unwrap();
    assert_eq!(started.process.wait().unwrap().status, ExitStatus::Code(0));
}

/// Allocates and frees until told to stop.
fn allocate(stop: &AtomicBool) {
    let mut kept = Vec::new();
    for size in (1..).map(|n: usize| n * 7919 % 40_000) {
        kept.push(vec![1u8; size]);
        if kept.len() > 100 {
            kept.clear();
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn sixteen_threads_a_thousand_starts() {
    if alone("robust::sixteen_threads_a_thousand_starts") {
        return;
    }
    let plan = plan();
    run(&plan);
    let before = Caller::now();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let allocators: Vec<_> = (0..2).map(|_| scope.spawn(|| allocate(&stop))).collect();
        let starters: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| (0..125).for_each(|_| run(&plan))))
            .collect();
        for starter in starters {
            starter.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for allocator in allocators {
            allocator.join().unwrap();
        }
    });
    before.is_still(&Caller::now(), "after");
    assert_eq!(waitpid(None, None), Err(nix::errno::Errno::ECHILD));
}

#[test]
fn the_caller_is_left_alone_under_a_storm_of_signals() {
    if alone("robust::the_caller_is_left_alone_under_a_storm_of_signals") {
        return;
    }
    static CAUGHT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: i32) {
        CAUGHT.fetch_add(1, Ordering::Relaxed);
    }
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGUSR1, Signal::SIGALRM, Signal::SIGCHLD] {
        handle(signal, &action);
    }
    let plan = plan();
    run(&plan);
    let (before, during) = (Caller::now(), Caller::in_between());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let starters: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..100).for_each(|_| run(&plan))))
            .collect();
        let storm = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGUSR1).unwrap();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        while !starters.iter().all(|starter| starter.is_finished()) {
            during.is_still(&Caller::in_between(), "during");
        }
        stop.store(true, Ordering::Relaxed);
        storm.join().unwrap();
        for starter in starters {
            starter.join().unwrap();
        }
    });
    assert!(CAUGHT.load(Ordering::Relaxed) > 0);
    before.is_still(&Caller::now(), "after");
}

/// Starts programs that exit with 5 while something else takes the children away; the kernel's record must do, where it has one.
fn ends_are_known_to_the_kernel() {
    let plan = Plan::new(vec![clone(&[]), sh("exit 5")]);
    let mut known = 0;
    for _ in 0..200 {
        match LAUNCHER
            .start(&plan, Resources::default())
            .unwrap()
            .process
            .wait()
        {
            Ok(exit) => {
                assert_eq!(exit.status, ExitStatus::Code(5));
                known += 1;
            }
            Err(WaitError::Reaped { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    println!("{known} of 200 ends were known");
    let release = nix::sys::utsname::uname()
        .unwrap()
        .release()
        .to_str()
        .unwrap()
        .to_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) >= (Some(6), Some(15)) {
        assert_eq!(known, 200);
    }
}

#[test]
fn another_thread_waits_for_any_child() {
    if alone("robust::another_thread_waits_for_any_child") {
        return;
    }
    let stop = AtomicBool::new(false);
    let stolen = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if waitpid(None, None).is_ok() {
                    stolen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        ends_are_known_to_the_kernel();
        stop.store(true, Ordering::Relaxed);
    });
    assert!(
        stolen.load(Ordering::Relaxed) > 0,
        "nothing was stolen: the test shows nothing"
    );
}

#[test]
fn sigchld_is_ignored() {
    if alone("robust::sigchld_is_ignored") {
        return;
    }
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    handle(Signal::SIGCHLD, &ignore);
    ends_are_known_to_the_kernel();
    assert_eq!(
        step(output(vec![clone(&[]), exec(&["/no/such"])]), 3).1,
        nix::errno::Errno::ENOENT
    );
}

/// A pipe that takes no byte more.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
    writer
        .write_all(&vec![0; usize::try_from(size).unwrap()])
        .unwrap();
    (reader, writer)
}

/// A start that stands still at its first operation: it writes to a pipe that nobody reads.
fn start_and_block(writer: &std::io::PipeWriter) -> Result<orlop_namespaces::Started, SpawnError> {
    let ops = vec![
        Op::JoinCgroupV1 { slot: Slot(0) },
        clone(&[]),
        exec(&["/bin/sleep", "1000"]),
    ];
    let resources = Resources {
        slots: vec![writer.as_fd()],
        id_maps: None,
    };
    LAUNCHER.start(&Plan::new(ops), resources)
}

fn children() -> Vec<i32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .map(|pid| pid.parse::<i32>().unwrap()),
        );
    }
    children
}

#[test]
fn killed_in_the_middle_it_says_where() {
    if alone("robust::killed_in_the_middle_it_says_where") {
        return;
    }
    run(&plan());
    let before = Caller::now();
    let (reader, writer) = full_pipe();
    let error = std::thread::scope(|scope| {
        let start = scope.spawn(|| start_and_block(&writer).unwrap_err());
        let init = loop {
            if let [init] = children()[..] {
                break init;
            }
        };
        std::thread::sleep(Duration::from_millis(100));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), Signal::SIGKILL).unwrap();
        start.join().unwrap()
    });
    let SpawnError::Died { index: 0, how, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(how.contains("SIGKILL"), "{how}");
    assert_eq!(
        error.to_string(),
        "init died at joining the cgroup in slot 0 (operation 0): killed by SIGKILL"
    );
    drop((reader, writer));
    before.is_still(&Caller::now(), "after");
}

#[test]
fn a_killed_caller_leaves_nobody_behind() {
    const INNER: &str = "ORLOP_TEST_KILLED";
    let (mut reader, writer) = full_pipe();
    if std::env::var_os(INNER).is_some() {
        // The pipe comes as standard input, which is read by nobody here.
        let writer =
            std::io::PipeWriter::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        std::thread::spawn(move || start_and_block(&writer));
        while children().is_empty() {}
        std::thread::sleep(Duration::from_millis(100));
        println!("blocked {}", children()[0]);
        std::thread::sleep(Duration::from_secs(100));
        return;
    }
    let mut inner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "robust::a_killed_caller_leaves_nobody_behind",
            "--nocapture",
        ])
        .env(INNER, "1")
        .stdin(writer)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(inner.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.contains("blocked "))
        .unwrap();
    let init = line.rsplit(' ').next().unwrap().to_owned();
    let stat = format!("/proc/{init}/stat");
    assert!(
        std::fs::read_to_string(&stat)
            .unwrap()
            .contains("memfd:orlop"),
        "it should be init"
    );
    inner.kill().unwrap();
    inner.wait().unwrap();
    // Let it go on: it must see that nobody is there any more.
    reader.read_exact(&mut [0; 10_000]).unwrap();
    let since = Instant::now();
    loop {
        let alive = std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
        if !alive {
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "init outlives its caller"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        !std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .any(|process| {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                line == b"/bin/sleep\x001000\x00"
            })
    );
}

#[test]
fn a_big_caller_starts_as_fast_as_a_small_one() {
    if alone("robust::a_big_caller_starts_as_fast_as_a_small_one") {
        return;
    }
    let plan = plan();
    let measure = || {
        let mut times: Vec<_> = (0..100)
            .map(|_| {
                let since = Instant::now();
                run(&plan);
                since.elapsed()
            })
            .collect();
        times.sort();
        (times[0], times[50])
    };
    let small = measure();
    let mut memory = Vec::new();
    if memory.try_reserve_exact(1 << 30).is_err() {
        println!("skipped: a_big_caller_starts_as_fast_as_a_small_one: less than 1 GiB to be had");
        return;
    }
    memory.resize(1 << 30, 0u8);
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let big = measure();
    println!("start and wait, best and median: small {small:?}, with 1 GiB resident {big:?}");
    assert_eq!(memory[4096], 1);
}
