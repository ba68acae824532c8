//! Virtual machines with pure cgroup v2, for hosts that have another layout.
//!
//! Two kinds, both from Debian packages that are downloaded into the target folder and installed nowhere. Both see the
//! host's root read-only, so that a program just built runs there unchanged:
//!
//! - `uml`, User-Mode Linux: an ordinary process, up in two seconds. Controllers cpu, io, memory and pids.
//! - `tcg`, QEMU without hardware: ten seconds, and what the other lacks: cpuset, pressure, time namespaces.

mod fetch;
mod machine;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::Failure;
use machine::{Kind, Machine};
pub(crate) use test::in_uml;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Download and unpack both machines' kernels into the target folder; the others do it when needed
    Fetch,
    /// Run a command as root in User-Mode Linux; its output and exit status are returned
    Uml(Command),
    /// Run a command as root in QEMU's emulation; its output and exit status are returned
    Tcg(Command),
    /// Run the tests that depend on cgroups in a machine
    Test(test::Options),
}

#[derive(Args)]
struct Command {
    /// Memory, as 512M or 1G
    #[arg(long, default_value = "1G")]
    memory: String,
    /// Further kernel modules to load, separated by commas
    #[arg(long, default_value = "")]
    modules: String,
    /// Seconds after which the machine is switched off; the exit status is then 124
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// A folder of the host's, read-write at /mnt/share; a temporary one if not given
    #[arg(long)]
    share: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Whether the smaller machine can be had, downloading it if need be.
pub(crate) fn available() -> Result<(), Failure> {
    fetch::kernel(Kind::Uml).map(drop)
}

/// Does what the command line asks for.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (kind, command) = match &options.chore {
        Chore::Fetch => {
            for kind in [Kind::Uml, Kind::Tcg] {
                println!("{}", fetch::kernel(kind)?.folder.display());
            }
            return Ok(ExitCode::SUCCESS);
        }
        Chore::Test(options) => return test::run(options),
        Chore::Uml(command) => (Kind::Uml, command),
        Chore::Tcg(command) => (Kind::Tcg, command),
    };
    let machine = Machine {
        kind,
        memory: command.memory.clone(),
        modules: command.modules.clone(),
        limit: Duration::from_secs(command.timeout),
        share: command.share.clone(),
    };
    let script = machine::quote(&command.command);
    let status = machine.run(&script, |bytes| {
        use std::io::Write as _;
        let mut out = std::io::stdout();
        // Nobody may be listening any longer; the command's status still counts.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    })?;
    Ok(ExitCode::from(status))
}
