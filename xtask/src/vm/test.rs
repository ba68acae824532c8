//! The tests that depend on the layout of cgroups, in a machine with pure v2.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Args;

use super::machine::{Kind, Machine, quote};
use crate::Failure;
use crate::command::cargo;
use crate::tally::Tally;

#[derive(Args)]
pub(crate) struct Options {
    /// In QEMU's emulation instead of User-Mode Linux: slower, with cpuset and pressure
    #[arg(long)]
    tcg: bool,
    /// Seconds for all of it
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Show every line
    #[arg(long, short)]
    verbose: bool,
    /// Instead of the usual selection: every test whose name contains one of these
    filter: Vec<String>,
}

/// What runs there by itself: a crate, the test program (any, if empty), and words the tests' names must contain one of (any
/// name, if there is none). Of `runtime` it is what a container's cgroup decides: its end, its limits, what is left of it.
const SELECTION: [(&str, &str, &[&str]); 2] = [
    ("orlop-cgroups", "", &[]),
    ("orlop-runtime", "all", &["end::", "collect::"]),
];

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let tally = tally(options)?;
    for skipped in &tally.skipped {
        println!("skipped: {skipped}");
    }
    println!("{tally}");
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// As the suite of all tests runs it: in User-Mode Linux.
pub(crate) fn in_uml(verbose: bool) -> Result<Tally, Failure> {
    tally(&Options {
        tcg: false,
        timeout: 600,
        verbose,
        filter: Vec::new(),
    })
}

fn tally(options: &Options) -> Result<Tally, Failure> {
    let mut script = String::from("failed=0\n");
    let mut programs = 0;
    for (package, only, words) in SELECTION {
        let filter: Vec<&str> = match options.filter.is_empty() {
            true => words.to_vec(),
            false => options.filter.iter().map(String::as_str).collect(),
        };
        for program in programs_of(package, only)? {
            programs += 1;
            let folder = quote(&[program.folder.display().to_string()]);
            let mut command = vec![
                program.file.display().to_string(),
                "--show-output".to_owned(),
            ];
            command.extend(filter.iter().map(ToString::to_string));
            // One after the other, each as cargo would start it.
            script += &format!("echo {}\n", quote(&[format!("Running {}", program.name)]));
            script += &format!("(cd {folder} && exec {}) || failed=1\n", quote(&command));
        }
    }
    script += "exit $failed\n";

    let machine = Machine {
        kind: if options.tcg { Kind::Tcg } else { Kind::Uml },
        memory: "2G".to_owned(),
        modules: String::new(),
        limit: Duration::from_secs(options.timeout),
        share: None,
    };
    let mut tally = Tally::default();
    let mut results = 0;
    let mut unfinished = Vec::new();
    let mut all = String::new();
    let status = machine.run(&script, |bytes| {
        unfinished.extend_from_slice(bytes);
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unfinished.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if options.verbose {
                println!("{line}");
            }
            results += usize::from(line.starts_with("test result: "));
            tally.read_line(line);
            all.push_str(line);
            all.push('\n');
        }
    })?;
    if (status != 0 && tally.failed == 0) || results != programs {
        // A program that crashed, or a machine switched off, prints no result.
        tally.failed += 1;
    }
    if tally.failed > 0 && !options.verbose {
        print!("{all}");
    }
    Ok(tally)
}

/// A built test program.
struct Program {
    name: String,
    file: PathBuf,
    folder: PathBuf,
}

/// Builds a crate's tests and asks cargo where they are.
fn programs_of(package: &str, only: &str) -> Result<Vec<Program>, Failure> {
    // What the compiler has to say goes to the terminal, where programs are to standard output.
    let built = cargo()
        .args(["test", "--quiet", "--locked", "--no-run"])
        .args([
            "--message-format=json-render-diagnostics",
            "--package",
            package,
        ])
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err(format!("the tests of {package} do not build").into());
    }
    let text = String::from_utf8_lossy(&built.stdout);
    let mut programs = Vec::new();
    for line in text.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let (Some(file), Some(manifest)) = (
            message["executable"].as_str(),
            message["manifest_path"].as_str(),
        ) else {
            continue;
        };
        let target = message["target"]["name"].as_str().unwrap_or("");
        if message["profile"]["test"] != true || !(only.is_empty() || only == target) {
            continue;
        }
        let manifest = PathBuf::from(manifest);
        programs.push(Program {
            name: format!("{package} ({target})"),
            file: PathBuf::from(file),
            folder: manifest.parent().unwrap_or(&manifest).to_owned(),
        });
    }
    if programs.is_empty() {
        return Err(format!("{package} has no test programs").into());
    }
    Ok(programs)
}
