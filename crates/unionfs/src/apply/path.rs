//! Paths of archive entries, taken apart once.

use crate::archive::Fault;

/// The kernel's `PATH_MAX` without the NUL: what is longer cannot be opened by its path.
const LONGEST: usize = 4095;

/// The components of an entry's path: without `.`, empty ones and a leading `/`; none for the root itself.
///
/// `..` is refused: no layer needs it, and readers disagree about what it means after a link.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    if path.is_empty() {
        return Err(Fault::Path("it is empty"));
    }
    if path.len() > LONGEST {
        return Err(Fault::Path("it is longer than 4095 bytes"));
    }
    if path.contains(&0) {
        return Err(Fault::Path("it has a NUL in it"));
    }
    let components: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .filter(|c| !matches!(*c, b"" | b"."))
        .collect();
    if components.contains(&b"..".as_slice()) {
        return Err(Fault::Path("it leads upwards"));
    }
    Ok(components)
}

/// What the last component means (image-spec, layer.md, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// An ordinary name.
    Plain(&'a [u8]),
    /// This name in the same directory is deleted from the layers below.
    Whiteout(&'a [u8]),
    /// Everything in this directory is deleted from the layers below.
    Opaque,
    /// Left over from AUFS, of no meaning.
    Ignored,
}

/// Classifies an entry by its components; whiteouts cannot stand in the middle of a path.
pub(super) fn classify<'a>(parents: &[&[u8]], name: &'a [u8]) -> Result<Name<'a>, Fault> {
    if parents.iter().any(|c| c.starts_with(b".wh..wh.")) {
        return Ok(Name::Ignored);
    }
    if parents.iter().any(|c| c.starts_with(b".wh.")) {
        return Err(Fault::Whiteout("it stands in the middle of a path"));
    }
    match name.strip_prefix(b".wh.") {
        None => Ok(Name::Plain(name)),
        Some(b"") => Err(Fault::Whiteout("it names nothing")),
        Some(b"." | b"..") => Err(Fault::Whiteout("it names its own or the parent directory")),
        Some(b".wh..opq") => Ok(Name::Opaque),
        Some(rest) if rest.starts_with(b".wh.") => Ok(Name::Ignored),
        Some(rest) => Ok(Name::Whiteout(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(components(b"./a//b/./c/").unwrap(), [b"a", b"b", b"c"]);
        assert_eq!(components(b"/a").unwrap(), [b"a"]);
        assert!(components(b"./").unwrap().is_empty());
        assert!(components(b"/").unwrap().is_empty());
        for bad in [
            &b""[..],
            b"..",
            b"a/..",
            b"a/../b",
            b"/../a",
            b"a\0b",
            &[b'a'; 5000],
        ] {
            assert!(components(bad).is_err(), "{bad:?}");
        }
        assert!(components(b"...").is_ok());
    }

    #[test]
    fn whiteouts() {
        let c = |path: &'static [u8]| {
            let all = components(path).unwrap();
            let (name, parents) = all.split_last().unwrap();
            classify(parents, name).map_err(|e| e.to_string())
        };
        assert_eq!(c(b"a/b"), Ok(Name::Plain(b"b")));
        assert_eq!(c(b"a/.wh.b"), Ok(Name::Whiteout(b"b")));
        assert_eq!(c(b"a/.wh..b"), Ok(Name::Whiteout(b".b")));
        assert_eq!(c(b"a/.wh..wh..opq"), Ok(Name::Opaque));
        assert_eq!(c(b".wh..wh.plnk/1.2"), Ok(Name::Ignored));
        assert_eq!(c(b".wh..wh.aufs"), Ok(Name::Ignored));
        for bad in [&b"a/.wh."[..], b".wh..", b".wh...", b".wh.a/b"] {
            assert!(c(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_leads_out(path: Vec<u8>) {
            if let Ok(parts) = components(&path) {
                for part in &parts {
                    proptest::prop_assert!(!part.contains(&b'/') && !part.is_empty());
                    proptest::prop_assert!(*part != b"." && *part != b"..");
                }
                if let Some((name, parents)) = parts.split_last() {
                    let _ = classify(parents, name);
                }
            }
        }
    }
}
