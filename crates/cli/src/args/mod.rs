//! The command line's grammar and its help; what the words mean is decided elsewhere.

mod containers;
mod images;
mod run;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use containers::{Ps, Rm};
pub(crate) use images::{Images, Import, Inspect, Load, Pull, Rmi, Save, Tag};
pub(crate) use run::{NetworkMode, PullWhen, Run};

/// Run containers without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "orlop",
    version,
    propagate_version = false,
    max_term_width = 110,
    after_help = "Examples:
  orlop run hello                          the image embedded in this program, no network needed
  orlop run --rm -it busybox sh            a shell in a container, removed when it ends
  orlop run --rm -m 64m --cpus 0.5 busybox sha256sum /bin/busybox
  orlop images --format json               one JSON object a line

All state is below one directory: /var/lib/orlop for root, ~/.local/share/orlop for others, or --root.
Exit codes of `run` are Docker's: 125 Orlop itself failed, 126 the command cannot be executed, 127 there is
no such command, 128+N the command was ended by signal N, else the command's own."
)]
pub(crate) struct Cli {
    /// Keep all state in DIR
    #[arg(
        long,
        value_name = "DIR",
        global = false,
        env = "ORLOP_ROOT",
        hide_env_values = true
    )]
    pub(crate) root: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container
    Run(Box<Run>),
    /// Download an image from a registry
    Pull(Pull),
    /// List images
    Images(Images),
    /// Remove images
    Rmi(Rmi),
    /// Give an image another name
    Tag(Tag),
    /// Show everything known about images and containers, as JSON
    Inspect(Inspect),
    /// Load images from an archive: of docker save, or an OCI layout
    Load(Load),
    /// Save images to an archive that Docker, podman and skopeo load
    Save(Save),
    /// Make an image of a root file system's tar
    Import(Import),
    /// List containers
    Ps(Ps),
    /// Remove containers
    Rm(Rm),
    /// Look after what Orlop stores
    #[command(subcommand)]
    System(System),
    /// Show versions
    Version(Version),
    /// Print a shell's completion script
    Completion(Completion),
}

/// `orlop system …`.
#[derive(Debug, Subcommand)]
pub(crate) enum System {
    /// Remove what nothing refers to: untagged images, unused layers, leftovers of killed commands
    #[command(visible_alias = "prune")]
    Gc(Gc),
    /// Show how much disk space images, containers and volumes take
    Df(Df),
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Df {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop completion bash > /etc/bash_completion.d/orlop
  orlop completion fish > ~/.config/fish/completions/orlop.fish")]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns with a heading
    Table,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    fn run(line: &str) -> Run {
        let words = ["orlop", "run"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_command() {
        let run = run("--rm -it -h box -m 64m busybox ls --rm -l -- x");
        assert!(run.remove && run.interactive && run.tty);
        assert_eq!(run.hostname.as_deref(), Some("box"));
        assert_eq!(
            run.image_and_command,
            ["busybox", "ls", "--rm", "-l", "--", "x"]
        );
    }

    #[test]
    fn repeated_and_attached_values() {
        let run = run("-eA=1 -e B --env=C=3 -v /a:/b:ro -v v:/c --cpus=0.5 --memory-swap -1 x");
        assert_eq!(run.env, ["A=1", "B", "C=3"]);
        assert_eq!(run.volume.len(), 2);
        assert_eq!((run.cpus, run.memory_swap), (Some(500_000_000), Some(-1)));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "--bogus x",
            "-m 64q x",
            "--cpus one x",
            "--pull sometimes x",
            "--network bridge x",
        ] {
            let words = ["orlop", "run"].into_iter().chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
