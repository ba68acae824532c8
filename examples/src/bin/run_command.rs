//! Runs a command in a container and captures what it writes, as one does with `std::process::Command`.

#![allow(clippy::print_stdout)] // A program.

use std::error::Error;

use orlop_runtime::{Options, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let root = orlop_examples::busybox_root()?;

    let runtime = Runtime::new(Options::new(state.path()))?;
    let output = runtime
        .container(root.path())
        .command([
            "sh",
            "-c",
            "echo process $$ on $(hostname); echo user $(id -u) >&2; exit 3",
        ])
        .hostname("box")
        .output()?;

    print!("stdout: {}", String::from_utf8_lossy(&output.stdout));
    print!("stderr: {}", String::from_utf8_lossy(&output.stderr));
    println!("{}", output.exit);
    assert_eq!(output.stdout, b"process 1 on box\n");
    assert_eq!(output.stderr, b"user 0\n");
    assert_eq!(output.exit.code(), Some(3));
    Ok(())
}
