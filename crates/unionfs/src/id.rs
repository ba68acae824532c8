//! Names that become path components, checked once.

use crate::Error;

/// A validated chain id: `sha256:` and 64 lower-case hexadecimal digits
/// (image-spec, config.md, "Layer ChainID").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChainId(String);

impl ChainId {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(ChainId(text.to_owned()))
        } else {
            Err(Error::InvalidChainId {
                chain_id: text.to_owned(),
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The file name of the layer's record.
    pub(crate) fn hex(&self) -> &str {
        self.0.get("sha256:".len()..).unwrap_or_default()
    }
}

/// A validated snapshot key: one path component that needs no quoting in mount options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

/// Longest snapshot key, in bytes: with a suffix it stays below `NAME_MAX`, and a container id of 64 digits fits well.
pub const MAX_KEY: usize = 128;

impl Key {
    pub(crate) fn parse(key: &str) -> Result<Self, Error> {
        let refuse = |reason| {
            Err(Error::InvalidKey {
                key: key.to_owned(),
                reason,
            })
        };
        let Some(first) = key.bytes().next() else {
            return refuse("it is empty");
        };
        if key.len() > MAX_KEY {
            return refuse("it is longer than 128 bytes");
        }
        if !first.is_ascii_alphanumeric() {
            return refuse("it must begin with an ASCII letter or digit");
        }
        if !key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        {
            return refuse("only ASCII letters, digits and _ . - may stand in it");
        }
        Ok(Key(key.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for good in ["a", "0", "web-1", "a.b_c-d", &"x".repeat(128)] {
            assert!(Key::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "-a",
            "_a",
            "a b",
            "a:b",
            "a,b",
            "a\\b",
            "a\0",
            "ü",
            &"x".repeat(129),
        ] {
            assert!(Key::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn chain_ids() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(ChainId::parse(&format!("sha256:{hex}")).unwrap().hex(), hex);
        for bad in [
            hex.clone(),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:../../{}", &hex[6..]),
            format!("sha512:{hex}{hex}"),
            format!("sha256:{hex}/"),
            String::new(),
        ] {
            assert!(ChainId::parse(&bad).is_err(), "{bad}");
        }
    }
}
