//! The commands about images.

use std::path::PathBuf;

use clap::Args;

use super::Format;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop pull busybox
  orlop pull --platform linux/arm64 debian:bookworm-slim
  orlop pull localhost:5000/team/tool:1.2

Credentials are those of `docker login`: ~/.docker/config.json and the credential helpers it names.
Registries on this host's loopback may speak plain HTTP.")]
pub(crate) struct Pull {
    /// The image's name
    pub(crate) name: String,
    /// Choose from a multi-platform image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Print the name only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop images
  orlop images --no-trunc --digests busybox
  orlop images --format json | jq -r .ID")]
pub(crate) struct Images {
    /// Only this repository, or this repository and tag
    pub(crate) name: Option<String>,
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print digests, too
    #[arg(long)]
    pub(crate) digests: bool,
    /// Taken for Docker's sake: all images are always listed
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A name is only untagged while the image has others; its content goes with the last name.

Examples:
  orlop rmi busybox
  orlop rmi 3f57d9401f8d"
)]
pub(crate) struct Rmi {
    /// Names, digests, ids or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Remove all of an image's names, even when stopped containers were made from it
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image: a name, digest or id
    #[arg(value_name = "IMAGE")]
    pub(crate) source: String,
    /// The further name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) target: String,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Names or ids of images or containers
    #[arg(required = true, value_name = "NAME|ID")]
    pub(crate) names: Vec<String>,
    /// Only look for this kind
    #[arg(long = "type", value_parser = ["image", "container"], value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// json: one document on one line
    #[arg(long, value_parser = ["json"], value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop load -i image.tar.gz
  docker save busybox | orlop load")]
pub(crate) struct Load {
    /// The archive, or the directory of an OCI layout; standard input when absent
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orlop save -o image.tar busybox
  orlop save hello | podman load")]
pub(crate) struct Save {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// The archive; standard output when absent
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Changes are Dockerfile lines: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR.

Examples:
  mmdebstrap --variant=minbase bookworm - | orlop import - debian:local
  orlop import -c 'CMD [\"sh\"]' -c 'ENV LANG=C.UTF-8' rootfs.tar.gz my/root:1"
)]
pub(crate) struct Import {
    /// The tar, plain or compressed; - for standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// A name for the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
    /// Configure the image
    #[arg(short, long, value_name = "LINE")]
    pub(crate) change: Vec<String>,
    /// A comment in the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// The platform the file system is for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
}
