//! Standard streams and terminals.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use orlop_runtime::{ErrorKind, Stdio};

use super::support::*;

#[test]
fn piped() {
    let bench = Bench::new();
    let mut container = bench
        .sh("cat; echo done >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .start()
        .unwrap();
    let mut stdin = container.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&vec![b'x'; 300_000]).unwrap());
    let output = container.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(
        (output.stdout.len(), output.stderr.as_slice()),
        (300_000, &b"done\n"[..])
    );
}

#[test]
fn null_files_and_further_descriptors() {
    let bench = Bench::new();
    let mut file = tempfile::tempfile().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"seven\n").unwrap();
    drop(writer);
    let container = bench
        .sh("cat; echo to the file; cat <&7; ls -l /proc/self/fd | wc -l; echo nowhere >&2")
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(Stdio::null())
        .fd(7, reader)
        .start()
        .unwrap();
    assert!(container.wait().unwrap().success());
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut text).unwrap();
    // 0, 1, 2, 7, the directory itself, and the line with the total.
    assert_eq!(text, "to the file\nseven\n6\n");
    let error = bench
        .container()
        .command(["true"])
        .fd(2, tempfile::tempfile().unwrap())
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn many_descriptors_whatever_their_numbers() {
    let bench = Bench::new();
    let mut builder = bench.sh("for n in $(seq 3 60); do eval \"read word <&$n\"; echo $n $word; done | awk '$1 != $2' ; ls /proc/self/fd | wc -l");
    for number in 3..=60 {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writeln!(writer, "{number}").unwrap();
        builder = builder.fd(number, reader);
    }
    // 58, the three streams, and the listing's own.
    assert_eq!(run(builder), "62\n");
}

#[test]
fn a_terminal() {
    let bench = Bench::new();
    let mut container = bench
        .sh("tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; test -c /dev/console && echo console; read line; echo got $line; stty size; read end")
        .terminal(24, 80)
        .start()
        .unwrap();
    let mut terminal = container.terminal.take().unwrap();
    assert_eq!(terminal.size().unwrap(), (24, 80));
    let mut seen = String::new();
    let mut until = |terminal: &mut orlop_runtime::Terminal, wanted: &str| {
        let mut buffer = [0u8; 1024];
        while !seen.contains(wanted) {
            let length = terminal.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "ended before {wanted:?}: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        seen.clone()
    };
    let first = until(&mut terminal, "console\r\n");
    assert!(
        first.starts_with("/dev/pts/0\r\n24 80\r\nall\r\n")
            || first.starts_with("/dev/console\r\n24 80\r\nall\r\n"),
        "{first:?}"
    );
    terminal.resize(40, 100).unwrap();
    terminal.write_all(b"hello\n").unwrap();
    until(&mut terminal, "got hello\r\n40 100\r\n");
    // What is typed reaches the program's group: it is the controlling terminal.
    terminal.write_all(&[3]).unwrap();
    let exit = container.wait().unwrap();
    assert!(
        exit.signal() == Some(2) || exit.code() == Some(130) || exit.code() == Some(1),
        "{exit}"
    );
    let mut rest = Vec::new();
    terminal.read_to_end(&mut rest).unwrap();
}

#[test]
fn output_of_a_terminal() {
    let bench = Bench::new();
    let output = bench
        .sh("echo $TERM; seq 3")
        .terminal(0, 0)
        .output()
        .unwrap();
    assert_eq!(text(&output), "xterm\r\n1\r\n2\r\n3\r\n");
}

#[test]
fn a_terminal_belongs_to_its_user() {
    if !root("a_terminal_belongs_to_its_user") {
        return;
    }
    let bench = Bench::new();
    let output = bench
        .sh("stat -c '%u %a' $(tty); echo again > $(tty); echo tty > /dev/tty")
        .user("app")
        .terminal(0, 0)
        .output()
        .unwrap();
    assert_eq!(text(&output), "1000 620\r\nagain\r\ntty\r\n");
}

#[test]
fn the_pidfd_is_readable_at_the_end() {
    let bench = Bench::new();
    let container = bench.container().command(["true"]).start().unwrap();
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        container.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap(), 1);
    assert!(container.try_wait().unwrap().unwrap().success());
}
