//! Signals, and what is left when the program is killed.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{World, both};

/// Starts a container in the background and waits for it to be there.
fn start(world: &World, options: &[&str], script: &str) -> Child {
    let arguments = [&["run"], options, &["busybox", "sh", "-c", script]].concat();
    let child = world
        .command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.orlop(&["ps", "-q"]).ok().is_empty() {
        assert!(Instant::now() < deadline, "the container does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    // The program replaced setpriv: it has the child's number.
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

fn code(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn signals_reach_the_command() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            for (number, sent) in [
                (1, Signal::SIGHUP),
                (2, Signal::SIGINT),
                (10, Signal::SIGUSR1),
                (15, Signal::SIGTERM),
            ] {
                let script = format!(
                    "trap 'exit 4{number}' {number}; touch /ready; while :; do sleep 0.05; done"
                );
                let mut child = start(world, &["--rm"], &script);
                // The trap is set some time after the start.
                std::thread::sleep(Duration::from_millis(300));
                signal(&child, sent);
                assert_eq!(
                    code(&mut child),
                    Some(format!("4{number}").parse::<i32>().unwrap() & 0xff)
                );
            }
        });
    });
}

#[test]
fn a_deaf_command_is_killed_at_the_third_request() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            let mut child = start(world, &["--rm"], "sleep 60; true");
            for _ in 0..3 {
                signal(&child, Signal::SIGINT);
                std::thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(code(&mut child), Some(137));
        });
    });
}

#[test]
fn what_a_killed_run_leaves_is_collected() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            let mut child = start(
                world,
                &["--rm", "--name", "gone", "-v", "/data"],
                "sleep 60; true",
            );
            let inspected = world.orlop(&["inspect", "gone"]).ok();
            let pid = inspected
                .lines()
                .find_map(|line| line.trim().strip_prefix("\"Pid\": "))
                .unwrap();
            let pid: i32 = pid.trim_end_matches(',').parse().unwrap();
            assert!(alive(pid));
            signal(&child, Signal::SIGKILL);
            child.wait().unwrap();
            assert_eq!(world.orlop(&["ps", "-aq"]).ok(), "");
            let deadline = Instant::now() + Duration::from_secs(10);
            while alive(pid) {
                assert!(Instant::now() < deadline, "process {pid} lives on");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // Without --rm it is remembered.
        let mut child = start(world, &["--name", "kept"], "sleep 60; true");
        signal(&child, Signal::SIGKILL);
        child.wait().unwrap();
        let listed = world.orlop(&["ps", "-a"]).ok();
        assert!(
            listed.contains("Exited (137)") && listed.contains("kept"),
            "{listed}"
        );
        world.orlop(&["rm", "kept"]).ok();
    });
}

/// A zombie that only process 1 has to collect is gone.
fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_running_container_is_removed_by_force_only() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            let mut child = start(world, &["--name", "busy"], "sleep 60; true");
            world.orlop(&["rm", "busy"]).fails(1, "it is running");
            world
                .orlop(&["rmi", "-f", "busybox"])
                .fails(1, "running container");
            world.orlop(&["rm", "-f", "busy"]).ok();
            assert_eq!(code(&mut child), Some(137));
            assert_eq!(world.orlop(&["ps", "-aq"]).ok(), "");
        });
    });
}

#[test]
fn an_interrupted_pull_ends_with_130() {
    both(|world| {
        // It answers nobody.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("127.0.0.1:{}/slow", listener.local_addr().unwrap().port());
        for (arguments, sent, expected) in [
            (vec!["pull", &name], Signal::SIGINT, 130),
            (vec!["run", "--rm", &name], Signal::SIGTERM, 143),
        ] {
            let mut command = world.command(&arguments);
            let mut child = command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let _connection = listener.accept().unwrap();
            signal(&child, sent);
            assert_eq!(code(&mut child), Some(expected));
        }
        assert_eq!(world.orlop(&["images", "-q"]).ok(), "");
    });
}
