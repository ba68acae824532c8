//! `--mount type=bind,source=…,target=…`: Docker's comma-separated form.

use std::path::Path;

use orlop_engine::{Mount, MountSource};

use super::size::size;
use super::tmpfs::octal;

/// Parses a `--mount` argument; a relative bind source is taken from `cwd`.
pub(crate) fn mount(text: &str, cwd: &Path) -> Result<Mount, String> {
    let bad = |reason: &str| {
        format!(
            "invalid mount {text:?}: {reason}; write type=bind,source=/host,target=/inside[,readonly]"
        )
    };
    let mut kind = "volume".to_owned();
    let (mut source, mut target) = (None, None);
    let (mut read_only, mut copy, mut recursive) = (false, true, true);
    let (mut bytes, mut mode) = (None, None);
    for field in fields(text).ok_or_else(|| bad("a quote is not closed"))? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let wanted = || value.ok_or_else(|| bad(&format!("{key} needs a value")));
        match key.as_str() {
            "type" => kind = wanted()?.to_ascii_lowercase(),
            "source" | "src" => source = Some(wanted()?.to_owned()),
            "target" | "dst" | "destination" => target = Some(wanted()?.to_owned()),
            "readonly" | "ro" => {
                read_only = flag(value).ok_or_else(|| bad("readonly is true or false"))?
            }
            "volume-nocopy" => {
                copy = !flag(value).ok_or_else(|| bad("volume-nocopy is true or false"))?
            }
            "bind-nonrecursive" => {
                recursive = !flag(value).ok_or_else(|| bad("bind-nonrecursive is true or false"))?
            }
            "bind-recursive" => match wanted()? {
                "enabled" | "writable" => recursive = true,
                "disabled" => recursive = false,
                _ => return Err(bad("bind-recursive is enabled, disabled or writable")),
            },
            "bind-propagation" if matches!(value, Some("private" | "rprivate")) => {}
            "bind-propagation" => {
                return Err(bad("mount propagation other than private is not supported"));
            }
            "consistency" => {}
            "tmpfs-size" => bytes = Some(size(wanted()?).map_err(|e| bad(&e))?),
            "tmpfs-mode" => {
                mode = Some(octal(wanted()?).ok_or_else(|| bad("the mode is not octal"))?)
            }
            _ => return Err(bad(&format!("unknown field {key:?}"))),
        }
    }
    let target = target
        .filter(|t| !t.is_empty())
        .ok_or_else(|| bad("target is missing"))?;
    if !target.starts_with('/') {
        return Err(bad("target must be an absolute path"));
    }
    if kind != "tmpfs" && (bytes.is_some() || mode.is_some()) {
        return Err(bad("tmpfs-size and tmpfs-mode belong to type=tmpfs"));
    }
    let source = match (kind.as_str(), source) {
        ("bind", Some(path)) if !path.is_empty() => MountSource::Bind {
            path: cwd.join(path),
            create: false,
            recursive,
        },
        ("bind", _) => return Err(bad("source is missing")),
        ("volume", Some(name)) if name.contains('/') => {
            return Err(bad("a volume's name holds no '/': did you mean type=bind?"));
        }
        ("volume", name) => MountSource::Volume {
            name: name.filter(|n| !n.is_empty()),
            copy,
        },
        ("tmpfs", None) => MountSource::Tmpfs {
            size: bytes,
            mode,
            options: Vec::new(),
        },
        ("tmpfs", Some(_)) => return Err(bad("a tmpfs has no source")),
        (kind, _) => {
            return Err(bad(&format!(
                "unknown type {kind:?}: it is bind, volume or tmpfs"
            )));
        }
    };
    Ok(Mount {
        source,
        target,
        read_only,
    })
}

fn flag(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        Some(_) => None,
    }
}

/// Splits at commas; a field in double quotes may hold commas, and `""` in it is a quote (RFC 4180).
fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_types() {
        let cwd = Path::new("/cwd");
        let bind = mount("type=bind,source=/a,target=/b,readonly", cwd).unwrap();
        assert_eq!(
            bind.source,
            MountSource::Bind {
                path: "/a".into(),
                create: false,
                recursive: true
            }
        );
        assert!(bind.read_only);
        let bind = mount(
            "type=bind,src=a,dst=/b,ro=false,bind-recursive=disabled",
            cwd,
        )
        .unwrap();
        assert_eq!(
            bind.source,
            MountSource::Bind {
                path: "/cwd/a".into(),
                create: false,
                recursive: false
            }
        );
        assert!(!bind.read_only);
        let volume = mount("src=v,target=/b,volume-nocopy", cwd).unwrap();
        assert_eq!(
            volume.source,
            MountSource::Volume {
                name: Some("v".into()),
                copy: false
            }
        );
        let tmpfs = mount(
            "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=700",
            cwd,
        )
        .unwrap();
        assert_eq!(
            tmpfs.source,
            MountSource::Tmpfs {
                size: Some(1 << 20),
                mode: Some(0o700),
                options: vec![]
            }
        );
        let quoted = mount("type=bind,\"source=/a,b\",target=/b", cwd).unwrap();
        assert_eq!(
            quoted.source,
            MountSource::Bind {
                path: "/a,b".into(),
                create: false,
                recursive: true
            }
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let cases = [
            ("type=bind,target=/b", "source is missing"),
            ("type=bind,source=/a", "target is missing"),
            ("type=bind,source=/a,target=b", "absolute"),
            ("type=npipe,source=/a,target=/b", "unknown type"),
            ("type=tmpfs,source=/a,target=/b", "no source"),
            ("type=volume,source=/a,target=/b", "type=bind"),
            ("type=bind,source=/a,target=/b,tmpfs-size=1", "type=tmpfs"),
            (
                "type=bind,source=/a,target=/b,readonly=maybe",
                "true or false",
            ),
            ("type=bind,source=/a,target=/b,colour=red", "unknown field"),
            ("type,target=/b", "needs a value"),
            ("\"type=bind", "quote"),
            ("", "unknown field"),
        ];
        for (text, reason) in cases {
            let error = mount(text, Path::new("/")).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z=,\"/ \\PC]{0,60}") {
            let _ = mount(&text, Path::new("/"));
        }
    }
}
