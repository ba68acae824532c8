//! `--tmpfs PATH[:OPTIONS]`.

use orlop_engine::{Mount, MountSource};

use super::size::size;

/// Parses a `--tmpfs` argument, as in `/run:size=64m,mode=1777`.
pub(crate) fn tmpfs(text: &str) -> Result<Mount, String> {
    let bad =
        |reason: &str| format!("invalid tmpfs {text:?}: {reason}; write PATH[:size=64m,mode=1777]");
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(bad("the path must be absolute"));
    }
    let mut read_only = false;
    let (mut bytes, mut mode, mut flags) = (None, None, Vec::new());
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => bytes = Some(size(value).map_err(|e| bad(&e))?),
            Some(("mode", value)) => {
                mode = Some(octal(value).ok_or_else(|| bad("the mode is not octal"))?)
            }
            None if option == "ro" => read_only = true,
            None if option == "rw" => read_only = false,
            None if FLAGS.contains(&option) => flags.push(option.to_owned()),
            _ => return Err(bad(&format!("unknown option {option:?}"))),
        }
    }
    let source = MountSource::Tmpfs {
        size: bytes,
        mode,
        options: flags,
    };
    Ok(Mount {
        source,
        target: target.to_owned(),
        read_only,
    })
}

const FLAGS: &[&str] = &["exec", "noexec", "suid", "nosuid", "dev", "nodev"];

/// A file mode, up to `7777`.
pub(crate) fn octal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_forms() {
        let mount = tmpfs("/run:size=64m,mode=1777,exec,ro").unwrap();
        assert!(mount.read_only);
        assert_eq!(
            mount.source,
            MountSource::Tmpfs {
                size: Some(64 << 20),
                mode: Some(0o1777),
                options: vec!["exec".into()]
            }
        );
        assert!(tmpfs("/run").is_ok());
        for text in [
            "run",
            "",
            "/run:size=x",
            "/run:mode=8",
            "/run:mode=+7",
            "/run:mode=17777",
            "/run:huge=always",
            "/run:foo",
        ] {
            assert!(tmpfs(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = tmpfs(&text);
        }
    }
}
