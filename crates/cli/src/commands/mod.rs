//! One file a command, or a few that belong together.

mod containers;
mod images;
mod inspect;
mod pull;
mod run;
mod system;
mod transfer;

use std::path::PathBuf;

use clap::CommandFactory;
use orlop_engine::{Engine, Options};

use crate::args::{Cli, Command, System};
use crate::failure::Failure;

/// Carries out what was asked for.
pub(crate) fn execute(cli: Cli) -> Result<(), Failure> {
    let root = cli.root;
    let engine = || open(root);
    match cli.command {
        Command::Run(args) => run::run(engine, &args),
        Command::Pull(args) => pull::pull(&engine()?, &args),
        Command::Images(args) => images::list(&engine()?, &args),
        Command::Rmi(args) => images::remove(&engine()?, &args),
        Command::Tag(args) => images::tag(&engine()?, &args),
        Command::Inspect(args) => inspect::inspect(&engine()?, &args),
        Command::Load(args) => transfer::load(&engine()?, &args),
        Command::Save(args) => transfer::save(&engine()?, &args),
        Command::Import(args) => transfer::import(&engine()?, &args),
        Command::Ps(args) => containers::list(&engine()?, &args),
        Command::Rm(args) => containers::remove(&engine()?, &args),
        Command::System(System::Gc(args)) => system::gc(&engine()?, &args),
        Command::System(System::Df(args)) => system::df(&engine()?, &args),
        Command::Version(args) => system::version(&args),
        Command::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "orlop", &mut script);
            crate::output::text(&String::from_utf8_lossy(&script))
        }
    }
}

fn open(root: Option<PathBuf>) -> Result<Engine, Failure> {
    let root = match root {
        Some(root) => root,
        None => default_root()?,
    };
    Ok(Engine::open(Options::new(root))?)
}

/// Where state is kept unless `--root` says otherwise.
fn default_root() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/orlop"));
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let var = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = var("XDG_DATA_HOME").or_else(|| var("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("orlop")).ok_or_else(|| {
        Failure::new("there is no place for state: neither XDG_DATA_HOME nor HOME is set")
            .hint("give one with --root DIR")
    })
}

/// Does `work` for each of `names`; one that fails does not keep the others from being tried.
fn for_each(
    names: &[String],
    mut work: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failed = None;
    for name in names {
        if let Err(failure) = work(name) {
            let failure: Failure = failure;
            if failure.is_silent() {
                return Err(failure);
            }
            failure.report();
            failed = Some(Failure::silent(1));
        }
    }
    failed.map_or(Ok(()), Err)
}
