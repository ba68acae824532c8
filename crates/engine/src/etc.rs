//! The files of `/etc` that belong to a container and not to its image: hosts, hostname, resolv.conf.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;
use crate::request::Network;

/// What is bound over the image's files: name below `/etc`, and the file on the host.
pub(crate) fn write(
    dir: &Path,
    hostname: &str,
    network: Network,
) -> Result<Vec<(&'static str, PathBuf)>, Error> {
    let (hosts, resolv) = match network {
        Network::None => (hosts(None), String::new()),
        // The container has the host's network, so the host's view of it is right.
        Network::Host => (hosts_of_host(hostname), read("/etc/resolv.conf")),
    };
    let files = [
        ("hosts", hosts),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv),
    ];
    files
        .into_iter()
        .map(|(name, content)| {
            let path = dir.join(name);
            files::replace(&path, content.as_bytes(), 0o644)?;
            // Its mode must not depend on the caller's umask: any user inside may read it.
            rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o644))
                .map_err(Error::errno("changing the mode of", &path))?;
            Ok((name, path))
        })
        .collect()
}

fn hosts(own: Option<&str>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    if let Some(own) = own {
        text.push_str(&format!("127.0.1.1\t{own}\n"));
    }
    text
}

fn hosts_of_host(hostname: &str) -> String {
    let text = read("/etc/hosts");
    if text.trim().is_empty() {
        hosts(Some(hostname))
    } else {
        text
    }
}

/// A host without the file has nothing to tell.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_files_readable_by_all() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for network in [Network::None, Network::Host] {
            let written = write(dir.path(), "box", network).unwrap();
            assert_eq!(
                written.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                ["hosts", "hostname", "resolv.conf"]
            );
            for (_, path) in &written {
                assert_eq!(
                    fs::metadata(path).unwrap().permissions().mode() & 0o777,
                    0o644
                );
            }
        }
        assert_eq!(
            fs::read_to_string(dir.path().join("hostname")).unwrap(),
            "box\n"
        );
        assert!(hosts(None).starts_with("127.0.0.1\tlocalhost\n"));
    }
}
