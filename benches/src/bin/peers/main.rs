//! Orlop side by side with what others use, on the same root and the same image, run in turn.
//!
//! It installs nothing. A peer that is not on this machine is skipped, with a word. Everything happens in mount and network
//! namespaces of its own, and in temporary folders: nothing is left behind.

#![allow(clippy::print_stderr)] // A program.

mod bundle;
mod launch;
mod pull;
mod tools;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use orlop_benches::{Options, Suite};

type Failure = Box<dyn Error>;

#[derive(Parser)]
#[command(about = "Compare Orlop with bwrap, crun, runc, youki, podman, skopeo and umoci")]
struct Arguments {
    /// What to compare
    #[arg(value_enum, default_values_t = [What::Launch, What::Pull])]
    what: Vec<What>,
    #[command(flatten)]
    options: Options,
    /// The command line to compare; the one built beside this program if not given
    #[arg(long, value_name = "FILE")]
    orlop: Option<PathBuf>,
    #[command(flatten)]
    image: pull::ImageShape,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Run /bin/true in a container and wait for it
    Launch,
    /// Pull an image from a registry on loopback, and unpack it
    Pull,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let compared = compare(&arguments);
    compared.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn compare(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if !rustix::process::geteuid().is_root() {
        let mut suite = Suite::new("peers", &arguments.options);
        suite.skip("all", &[], "the comparison mounts and needs root");
        return Ok(suite.finish());
    }
    let orlop = match &arguments.orlop {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("orlop"),
    };
    isolate()?;
    let mut worst = ExitCode::SUCCESS;
    for what in &arguments.what {
        let code = match what {
            What::Launch => launch::compare(&arguments.options, &orlop)?,
            What::Pull => pull::compare(&arguments.options, &orlop, &arguments.image)?,
        };
        if code != ExitCode::SUCCESS {
            worst = code;
        }
    }
    Ok(worst)
}

/// Mount and network namespaces of our own: crun wants one cgroup2 mount at /sys/fs/cgroup, podman a /run of its own, the
/// registry a loopback that is nobody else's.
fn isolate() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some("cgroup2"),
        "/sys/fs/cgroup",
        Some("cgroup2"),
        MsFlags::empty(),
        none,
    )?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
    tools::succeed(std::process::Command::new("ip").args(["link", "set", "lo", "up"]))
}
