//! `-t`: a real terminal on both sides.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::world::{World, both};

/// A person at a terminal who started `orlop run -it`.
struct Person {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

fn window(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Person {
    fn start(world: &World, command: &[&str]) -> Person {
        let pty = openpty(&window(33, 101), None).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let arguments = [&["run", "--rm", "-it", "busybox"], command].concat();
        let mut orlop = world.command(&arguments);
        let child = orlop
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        drop(orlop);
        let keyboard = File::from(pty.master);
        let mut master = keyboard.try_clone().unwrap();
        let (show, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = master.read(&mut buffer) {
                if count == 0 || show.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Person {
            child,
            keyboard,
            terminal: pty.slave,
            screen,
            seen: String::new(),
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows this, and forgets everything up to it.
    #[track_caller]
    fn sees(&mut self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.seen.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{words:?} does not appear after {:?}", self.seen),
            }
        }
        let end = self.seen.find(words).unwrap() + words.len();
        self.seen.drain(..end);
    }

    fn is_raw(&self) -> bool {
        let flags = tcgetattr(&self.terminal).unwrap().local_flags;
        !flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "it does not end: {:?}",
                self.seen
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_in_a_terminal() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            let mut person = Person::start(world, &["sh"]);
            person.sees("# ");
            assert!(person.is_raw());
            person.types("tty; stty size; echo TERM=$TERM\n");
            person.sees("/dev/pts/0\r\n");
            person.sees("33 101\r\n");
            person.sees("TERM=xterm\r\n");
            person.sees("# ");
            // The window changes: the container learns of it.
            rustix::termios::tcsetwinsize(
                &person.terminal,
                rustix::termios::Winsize {
                    ws_row: 44,
                    ws_col: 122,
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                },
            )
            .unwrap();
            person.signal(Signal::SIGWINCH);
            std::thread::sleep(Duration::from_millis(200));
            person.types("stty size\n");
            person.sees("44 122\r\n");
            // Ctrl-C is a key: it ends what runs inside, not the shell and not orlop.
            person.types("sleep 60; echo after $?\n");
            person.sees("echo after $?\r\n");
            std::thread::sleep(Duration::from_millis(300));
            person.types("\x03");
            person.sees("# ");
            person.types("echo still; exit 3\n");
            person.sees("still\r\n");
            assert_eq!(person.ends(), Some(3));
            assert!(!person.is_raw());
        });
    });
}

#[test]
fn all_output_comes_before_the_end() {
    both(|world| {
        let world = world.with_busybox();
        let mut person = Person::start(world, &["sh", "-c", "seq 1 20000; echo the end"]);
        person.sees("19999\r\n20000\r\nthe end\r\n");
        assert_eq!(person.ends(), Some(0));
        assert!(!person.is_raw());
    });
}

#[test]
fn the_terminal_is_restored_whatever_ends_it() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            // One that ends by the signal, and one that is deaf and loses its terminal.
            for (signal, script, expected) in [
                (
                    Signal::SIGTERM,
                    "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done",
                    Some(5),
                ),
                (
                    Signal::SIGHUP,
                    "trap 'exit 6' HUP; echo ready; while :; do sleep 0.1; done",
                    Some(6),
                ),
                (
                    Signal::SIGINT,
                    "trap 'exit 7' INT; echo ready; while :; do sleep 0.1; done",
                    Some(7),
                ),
                (Signal::SIGTERM, "echo ready; read line; exit 8", Some(8)),
            ] {
                let mut person = Person::start(world, &["sh", "-c", script]);
                person.sees("ready\r\n");
                assert!(person.is_raw());
                person.signal(signal);
                assert_eq!(person.ends(), expected, "{script}");
                assert!(!person.is_raw(), "{script}");
            }
            // A second request is not to be waited for.
            let mut person = Person::start(
                world,
                &[
                    "sh",
                    "-c",
                    "trap '' TERM HUP; echo ready; while :; do sleep 0.1; done",
                ],
            );
            person.sees("ready\r\n");
            for _ in 0..3 {
                person.signal(Signal::SIGTERM);
                std::thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(person.ends(), Some(137));
            assert!(!person.is_raw());
        });
    });
}

#[test]
fn a_failed_start_leaves_the_terminal_alone() {
    both(|world| {
        let world = world.with_busybox();
        let mut person = Person::start(world, &["no-such-command"]);
        person.sees("cannot run \"no-such-command\"");
        assert_eq!(person.ends(), Some(127));
        assert!(!person.is_raw());
    });
}
