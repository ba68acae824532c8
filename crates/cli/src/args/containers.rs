//! The commands about containers.

use clap::Args;

use super::Format;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop ps
  orlop ps -a --format json")]
pub(crate) struct Ps {
    /// Those that have ended, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print whole ids and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop rm web
  orlop rm -f $(orlop ps -aq)")]
pub(crate) struct Rm {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// Kill it first when it runs
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove its anonymous volumes, too
    #[arg(short, long)]
    pub(crate) volumes: bool,
}
