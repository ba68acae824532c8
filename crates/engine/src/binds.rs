//! Mounts in the runtime's words.

use std::path::Path;

use orlop_runtime::Builder;

use crate::error::Error;
use crate::etc;
use crate::record::Container;
use crate::volumes::{How, Ready};

/// Hands what is mounted to the builder: the container's own files of `/etc`, and `mounts`. A mount below another comes
/// after it.
pub(crate) fn apply(
    mut builder: Builder,
    dir: &Path,
    record: &Container,
    mounts: &[Ready],
) -> Result<Builder, Error> {
    let own = |name: &str| {
        mounts
            .iter()
            .any(|m| m.record.target == format!("/etc/{name}"))
    };
    let etc = etc::write(dir, &record.hostname, record.network)?;
    let mut binds: Vec<(usize, Bind)> = Vec::new();
    for (name, path) in etc.into_iter().filter(|(name, _)| !own(name)) {
        let target = format!("/etc/{name}");
        binds.push((
            2,
            Bind::Path {
                source: path.display().to_string(),
                target,
                recursive: false,
                read_only: false,
            },
        ));
    }
    binds.extend(
        mounts
            .iter()
            .map(|mount| (mount.record.target.matches('/').count(), bind(mount))),
    );
    binds.sort_by_key(|(depth, _)| *depth);
    for (_, bind) in binds {
        builder = bind.add(builder)?;
    }
    Ok(builder)
}

enum Bind {
    Path {
        source: String,
        target: String,
        recursive: bool,
        read_only: bool,
    },
    Tmpfs {
        target: String,
        options: Vec<String>,
    },
}

fn bind(mount: &Ready) -> Bind {
    let target = mount.record.target.clone();
    let (source, read_only) = (mount.record.source.clone(), mount.record.read_only);
    match &mount.how {
        How::Bind { recursive } => Bind::Path {
            source,
            target,
            recursive: *recursive,
            read_only,
        },
        How::Volume { .. } => Bind::Path {
            source,
            target,
            recursive: true,
            read_only,
        },
        How::Tmpfs(options) => Bind::Tmpfs {
            target,
            options: options.clone(),
        },
    }
}

impl Bind {
    fn add(self, builder: Builder) -> Result<Builder, Error> {
        let (source, target, options) = match self {
            Bind::Tmpfs { target, options } => {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                return Ok(builder.tmpfs(target, &options));
            }
            Bind::Path {
                source,
                target,
                recursive,
                read_only,
            } => {
                let mut options = vec![if recursive { "rbind" } else { "bind" }, "rprivate"];
                if read_only {
                    options.push("ro");
                    if recursive {
                        options.push("rro");
                    }
                }
                (source, target, options)
            }
        };
        let mount = oci_spec::runtime::MountBuilder::default()
            .destination(&target)
            .typ("bind")
            .source(&source)
            .options(options.into_iter().map(str::to_owned).collect::<Vec<_>>())
            .build()
            .map_err(|error| Error::invalid("mount", &target, error.to_string()))?;
        Ok(builder.mount(mount))
    }
}
