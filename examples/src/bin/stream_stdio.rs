//! Talks to a program in a container while it runs: lines go in, lines come out.

#![allow(clippy::print_stdout)] // A program.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::thread;

use orlop_runtime::{Options, Runtime, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let root = orlop_examples::busybox_root()?;
    let runtime = Runtime::new(Options::new(state.path()))?;

    let mut container = runtime
        .container(root.path())
        .command([
            "sh",
            "-c",
            "while read line; do echo \"heard $line\"; done; echo that was all",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .start()?;

    // One thread writes while this one reads: neither side's pipe can fill up and stop both.
    let mut stdin = container.stdin.take().ok_or("standard input was piped")?;
    let writer = thread::spawn(move || -> std::io::Result<()> {
        for word in ["one", "two", "three"] {
            writeln!(stdin, "{word}")?;
        }
        Ok(()) // Dropping the pipe is the end of file.
    });
    let stdout = container.stdout.take().ok_or("standard output was piped")?;
    let mut heard = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        heard.push(line);
    }
    writer.join().map_err(|_| "the writer panicked")??;

    println!("{}", container.wait()?);
    assert_eq!(
        heard,
        ["heard one", "heard two", "heard three", "that was all"]
    );
    Ok(())
}
