//! `-v [NAME|HOST-PATH:]CONTAINER-PATH[:OPTIONS]`.

use std::path::Path;

use orlop_engine::{Mount, MountSource};

/// Parses a `-v` argument; a relative host path (`./x`, `../x`, `.`) is taken from `cwd`.
pub(crate) fn volume(text: &str, cwd: &Path) -> Result<Mount, String> {
    let bad = |reason: &str| {
        format!("invalid volume {text:?}: {reason}; write [NAME|HOST-PATH:]CONTAINER-PATH[:ro]")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        // `-v /data:ro` means a volume at `ro` to nobody: Docker, too, refuses a relative target.
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(bad("too many colons")),
    };
    if !target.starts_with('/') {
        return Err(bad("the container path must be absolute"));
    }
    let mut read_only = false;
    let mut copy = true;
    let mut recursive = true;
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" | "readonly" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => copy = false,
            // SELinux labels and macOS hints: nothing to do on this host, as with Docker.
            "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "bind" => recursive = false,
            "rbind" | "rprivate" => {}
            "private" => recursive = false,
            "shared" | "rshared" | "slave" | "rslave" => {
                return Err(bad("mount propagation other than private is not supported"));
            }
            _ => return Err(bad(&format!("unknown option {option:?}"))),
        }
    }
    let source = match source {
        None => MountSource::Volume { name: None, copy },
        Some("") => return Err(bad("the source is empty")),
        Some(path) if path.starts_with('/') => MountSource::Bind {
            path: path.into(),
            create: true,
            recursive,
        },
        Some(path)
            if path == "." || path == ".." || path.starts_with("./") || path.starts_with("../") =>
        {
            MountSource::Bind {
                path: cwd.join(path),
                create: true,
                recursive,
            }
        }
        Some(path) if path.contains('/') => {
            return Err(bad(
                "a host path begins with '/' or './', and a volume name holds no '/'",
            ));
        }
        Some(name) => MountSource::Volume {
            name: Some(name.to_owned()),
            copy,
        },
    };
    Ok(Mount {
        source,
        target: target.to_owned(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bind(path: &str) -> MountSource {
        MountSource::Bind {
            path: path.into(),
            create: true,
            recursive: true,
        }
    }

    fn named(name: Option<&str>, copy: bool) -> MountSource {
        MountSource::Volume {
            name: name.map(str::to_owned),
            copy,
        }
    }

    #[test]
    fn all_forms() {
        let cases = [
            ("/data", Some((named(None, true), "/data", false))),
            ("/a:/b", Some((bind("/a"), "/b", false))),
            ("/a:/b:ro", Some((bind("/a"), "/b", true))),
            ("/a:/b:ro,z", Some((bind("/a"), "/b", true))),
            ("/a:/b:", Some((bind("/a"), "/b", false))),
            ("./a:/b", Some((bind("/cwd/./a"), "/b", false))),
            (".:/b", Some((bind("/cwd/."), "/b", false))),
            ("vol:/b", Some((named(Some("vol"), true), "/b", false))),
            (
                "vol:/b:nocopy,ro",
                Some((named(Some("vol"), false), "/b", true)),
            ),
            ("", None),
            ("data", None),
            ("/a:b", None),
            ("/data:ro", None),
            (":/b", None),
            ("a/b:/b", None),
            ("/a:/b:rx", None),
            ("/a:/b:ro:z", None),
            ("/a:/b:rshared", None),
        ];
        for (text, expected) in cases {
            let got = volume(text, Path::new("/cwd")).ok();
            let expected = expected.map(|(source, target, read_only)| Mount {
                source,
                target: target.to_owned(),
                read_only,
            });
            assert_eq!(got, expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            if let Ok(mount) = volume(&text, Path::new("/cwd")) {
                prop_assert!(mount.target.starts_with('/'));
            }
        }
    }
}
