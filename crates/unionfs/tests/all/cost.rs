//! Work grows with the entries, and no faster; counted in system calls, as time would say more about the machine.

use std::io::Write;
use std::process::Stdio;

use crate::need_root;
use crate::support::*;

/// System calls of a process that applies this archive.
fn calls(archive: &[u8]) -> u64 {
    let s = fast_store();
    let log = s.dir.path().join("strace");
    let part = crate::processes::part("apply-from-stdin", s.snapshots.path());
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-c", "-o"])
        .arg(&log)
        .arg(std::fs::read_link("/proc/self/exe").unwrap());
    command.args(part.get_args());
    for (name, value) in part.get_envs() {
        command.env(name, value.unwrap());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is missing: apt install strace");
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        text.contains("applied: true"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let log = std::fs::read_to_string(log).unwrap();
    let total = log.lines().find(|l| l.ends_with("total")).unwrap();
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn linear_in_entries() {
    need_root!("linear_in_entries");
    // One of them a file or directory is the standard library checking a descriptor in debug builds.
    type Entry = fn(Tar, u32) -> Tar;
    let table: [(&str, u64, Entry); 7] = [
        ("files of one directory", 5, |t, n| {
            t.file(&format!("d/f{n}"), "x")
        }),
        ("directories", 8, |t, n| t.dir(&format!("d{n}/"))),
        ("files each in its own directory", 17, |t, n| {
            t.file(&format!("d{n}/f"), "x")
        }),
        ("whiteouts", 1, |t, n| t.file(&format!("d/.wh.f{n}"), "")),
        ("opaque marks", 13, |t, n| {
            t.file(&format!("d{n}/.wh..wh..opq"), "")
        }),
        ("duplicates", 11, |t, _| t.file("d/f", "x")),
        ("hard links", 2, |t, n| {
            if n == 0 {
                t.file("d/f", "x")
            } else {
                t.link(&format!("d/l{n}"), "d/f")
            }
        }),
    ];
    let nothing = calls(&Tar::new().bytes());
    for (what, each, entry) in table {
        let count = |n: u32| calls(&(0..n).fold(Tar::new(), entry).bytes()).saturating_sub(nothing);
        let (once, twice) = (count(300), count(600));
        println!("{what}: {once} calls for 300 entries, {twice} for 600");
        assert!(
            twice - once <= 300 * each + 40,
            "{what}: {} a further entry",
            (twice - once) as f64 / 300.0
        );
        assert!(twice <= once * 2 + 40, "{what}: {once}, then {twice}");
    }
}
