//! Mount options: words into attributes, propagation, and what is left for the file system itself.

use orlop_init::plan::CBytes;

use super::{CompileError, text};

pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;
/// The field that holds one of relatime (0), noatime and strictatime.
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

const MS_REC: u64 = 0x4000;
pub(crate) const MS_UNBINDABLE: u64 = 1 << 17;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const MS_SLAVE: u64 = 1 << 19;
pub(crate) const MS_SHARED: u64 = 1 << 20;

/// Parsed options of one mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) recursive_set: u64,
    pub(crate) recursive_clear: u64,
    pub(crate) propagation: u64,
    pub(crate) bind: bool,
    pub(crate) recursive_bind: bool,
    /// For the superblock.
    pub(crate) data: Vec<CBytes>,
}

/// `MS_*` with `MS_REC` for a propagation's name.
pub(crate) fn propagation(name: &str) -> Option<u64> {
    let (name, recursive) = match name.strip_prefix('r') {
        Some(rest) => (rest, MS_REC),
        None => (name, 0),
    };
    let kind = match name {
        "private" => MS_PRIVATE,
        "shared" => MS_SHARED,
        "slave" => MS_SLAVE,
        "unbindable" => MS_UNBINDABLE,
        _ => return None,
    };
    Some(kind | recursive)
}

/// What an attribute's name sets and clears.
fn attribute(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "nosuid" => (NOSUID, 0),
        "suid" => (0, NOSUID),
        "nodev" => (NODEV, 0),
        "dev" => (0, NODEV),
        "noexec" => (NOEXEC, 0),
        "exec" => (0, NOEXEC),
        "nodiratime" => (NODIRATIME, 0),
        "diratime" => (0, NODIRATIME),
        "nosymfollow" => (NOSYMFOLLOW, 0),
        "symfollow" => (0, NOSYMFOLLOW),
        // The kernel wants the whole field cleared when one of its values is set.
        "noatime" => (NOATIME, ATIME),
        "strictatime" => (STRICTATIME, ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, ATIME),
        _ => return None,
    })
}

/// Parse the options of the mount at `at`. `bind` tells that the type already says so.
pub(crate) fn parse(options: &[String], bind: bool, at: &str) -> Result<Options, CompileError> {
    let mut out = Options {
        bind,
        ..Options::default()
    };
    let mut data: Vec<(usize, &str)> = Vec::new();
    for (place, option) in options.iter().enumerate() {
        let place_of = || format!("{at}.options[{place}]");
        if let Some((set, clear)) = attribute(option) {
            // The last word counts.
            out.set = out.set & !clear & !set | set;
            out.clear = out.clear & !set | clear;
            continue;
        }
        if let Some(flags) = propagation(option) {
            out.propagation = flags;
            continue;
        }
        if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
            out.recursive_set = out.recursive_set & !clear & !set | set;
            out.recursive_clear = out.recursive_clear & !set | clear;
            continue;
        }
        match option.as_str() {
            "" | "defaults" => {}
            "bind" => out.bind = true,
            "rbind" => {
                out.bind = true;
                out.recursive_bind = true;
            }
            "remount" | "idmap" | "ridmap" | "tmpcopyup" | "copy-symlink" | "src-nofollow"
            | "dest-nofollow" => {
                return Err(CompileError::unsupported(
                    place_of(),
                    format!("the mount option {option}"),
                ));
            }
            _ => data.push((place, option)),
        }
    }
    if out.bind
        && let Some((place, option)) = data.first()
    {
        return Err(CompileError::invalid(
            format!("{at}.options[{place}]"),
            format!("a bind mount has no option {option}"),
        ));
    }
    for (place, option) in data {
        out.data
            .push(text::string(option, &format!("{at}.options[{place}]"))?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(words: &[&str]) -> Result<Options, CompileError> {
        parse(
            &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(),
            false,
            "mounts[0]",
        )
    }

    #[test]
    fn words() {
        let o = options(&["nosuid", "noexec", "nodev", "ro", "mode=755", "size=65536k"]).unwrap();
        assert_eq!(o.set, 0xf);
        assert_eq!(o.data, [b"mode=755".to_vec(), b"size=65536k".to_vec()]);
        let o = options(&["rbind", "rro", "rnosuid", "rslave"]).unwrap();
        assert!(o.bind && o.recursive_bind);
        assert_eq!(
            (o.recursive_set, o.propagation),
            (RDONLY | NOSUID, MS_SLAVE | MS_REC)
        );
        let o = options(&["ro", "rw", "strictatime", "noatime"]).unwrap();
        assert_eq!((o.set, o.clear), (NOATIME, RDONLY | ATIME));
        let o = options(&["relatime", "defaults", ""]).unwrap();
        assert_eq!((o.set, o.clear, o.data.len()), (0, ATIME, 0));
        assert_eq!(options(&["shared"]).unwrap().propagation, MS_SHARED);
    }

    #[test]
    fn refused() {
        for (words, place) in [
            (&["bind", "mode=755"][..], "mounts[0].options[1]"),
            (&["idmap"], "mounts[0].options[0]"),
            (&["ro", "remount"], "mounts[0].options[1]"),
            (&["a\0b"], "mounts[0].options[0]"),
        ] {
            match options(words) {
                Err(CompileError::Invalid { at, .. } | CompileError::Unsupported { at, .. }) => {
                    assert_eq!(at, place)
                }
                other => panic!("{words:?}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn set_and_clear_never_meet(words in proptest::collection::vec(
            proptest::sample::select(&["ro", "rw", "nosuid", "suid", "noatime", "relatime", "rro", "rrw", "rnoatime", "strictatime"][..]), 0..8))
        {
            let o = options(&words).unwrap();
            prop_assert_eq!(o.set & o.clear & !ATIME, 0);
            prop_assert_eq!(o.recursive_set & o.recursive_clear & !ATIME, 0);
        }

        #[test]
        fn any_text_is_an_answer(words in proptest::collection::vec(".{0,12}", 0..6)) {
            let _ = parse(&words, false, "mounts[0]");
        }
    }
}
