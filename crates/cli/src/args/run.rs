//! `orlop run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::parse::{cpus, security, size, tmpfs, ulimit};

#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "orlop run [OPTIONS] IMAGE [COMMAND] [ARG]...",
    after_help = "Examples:
  orlop run --rm busybox echo hello
  orlop run --rm -it debian bash
  orlop run --rm -v \"$PWD\":/src:ro -w /src busybox ls
  echo hello | orlop run --rm -i busybox cat
  orlop run --rm -m 256m --pids-limit 100 --read-only --tmpfs /tmp busybox df /tmp"
)]
pub(crate) struct Run {
    /// The image, then the command that replaces the image's own
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG]")]
    pub(crate) image_and_command: Vec<String>,

    /// Remove the container when it ends
    #[arg(long = "rm")]
    pub(crate) remove: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Run in the background (not supported yet)
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Name the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set a variable; a bare KEY is taken from your environment
    #[arg(short, long, value_name = "KEY[=VAL]")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User, by name or number, looked up in the image
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Further groups of the user
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Replace the image's entry point; "" means none
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Label the container
    #[arg(short, long, value_name = "KEY[=VAL]")]
    pub(crate) label: Vec<String>,
    /// Signal that asks the command to stop
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    pub(crate) help: Option<bool>,

    /// When to ask the registry
    #[arg(long, value_enum, default_value_t = PullWhen::Missing, value_name = "WHEN", help_heading = "Image")]
    pub(crate) pull: PullWhen,
    /// Choose from a multi-platform image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    pub(crate) platform: Option<String>,
    /// Show no progress of a download
    #[arg(short, long, help_heading = "Image")]
    pub(crate) quiet: bool,

    /// Mount a host path or a volume
    #[arg(short, long, value_name = "[SRC:]DST[:ro]", help_heading = "Files")]
    pub(crate) volume: Vec<String>,
    /// The same in words: type=bind,source=…,target=…[,readonly]
    #[arg(long, value_name = "FIELDS", help_heading = "Files")]
    pub(crate) mount: Vec<String>,
    /// Mount memory
    #[arg(long, value_name = "DST[:OPTIONS]", value_parser = tmpfs::tmpfs, help_heading = "Files")]
    pub(crate) tmpfs: Vec<orlop_engine::Mount>,
    /// Mount the image read-only
    #[arg(long, help_heading = "Files")]
    pub(crate) read_only: bool,

    /// Memory limit
    #[arg(short, long, value_name = "SIZE", value_parser = size::size, help_heading = "Limits")]
    pub(crate) memory: Option<u64>,
    /// Memory and swap limit; -1 for unlimited swap
    #[arg(long, value_name = "SIZE", value_parser = size::memory_swap, allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) memory_swap: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "NUMBER", value_parser = cpus::cpus, help_heading = "Limits")]
    pub(crate) cpus: Option<u64>,
    /// Number of processes; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..), help_heading = "Limits")]
    pub(crate) pids_limit: Option<i64>,
    /// Limits of the process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit::ulimit, help_heading = "Limits")]
    pub(crate) ulimit: Vec<orlop_engine::Ulimit>,

    /// Add a capability; ALL for all
    #[arg(long, value_name = "CAP", help_heading = "Security")]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability; ALL for all
    #[arg(long, value_name = "CAP", help_heading = "Security")]
    pub(crate) cap_drop: Vec<String>,
    /// seccomp=unconfined or no-new-privileges
    #[arg(long, value_name = "OPTION", value_parser = security::option, help_heading = "Security")]
    pub(crate) security_opt: Vec<security::SecurityOption>,

    /// none: loopback only; host: the host's own network
    #[arg(long, visible_alias = "net", value_enum, default_value_t = NetworkMode::None, value_name = "NETWORK", help_heading = "Network")]
    pub(crate) network: NetworkMode,
    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME", help_heading = "Network")]
    pub(crate) hostname: Option<String>,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullWhen {
    /// When the image is not here
    Missing,
    /// Every time
    Always,
    /// Not at all
    Never,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkMode {
    /// Loopback only
    None,
    /// The host's own
    Host,
}
