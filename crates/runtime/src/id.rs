//! The name of a container.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A container's id: letters, digits, `_`, `.`, `-`, beginning with a letter or digit, at most 128 bytes. It becomes a file name
/// and a cgroup's name, so nothing else is let in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

const LENGTH_LIMIT: usize = 128;

impl ContainerId {
    /// A random id of 64 hexadecimal digits, as Docker's.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn random() -> Result<ContainerId, Error> {
        let mut bytes = [0u8; 32];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        match filled {
            Ok(32) => Ok(ContainerId(
                bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            )),
            Ok(_) => Err(Error::invalid("the kernel gives no random bytes")),
            Err(source) => Err(Error::io(
                "reading random bytes for",
                "a container id",
                source,
            )),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, which Docker shows and uses for the host name.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !text.chars().all(allowed)
            || text.len() > LENGTH_LIMIT
        {
            return Err(Error::invalid(format!(
                "{text:?} is no container id: letters, digits, '_', '.' and '-', beginning with a letter or digit, at most {LENGTH_LIMIT}"
            )));
        }
        Ok(ContainerId(text.to_owned()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "web-1", "0f_.x"] {
            assert_eq!(good.parse::<ContainerId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(129);
        for bad in [
            "", ".", "..", "-a", "_a", "a/b", "../a", "a b", "a\n", "é", "a\0", &long,
        ] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
        let (a, b) = (
            ContainerId::random().unwrap(),
            ContainerId::random().unwrap(),
        );
        assert_ne!(a, b);
        assert_eq!((a.as_str().len(), a.short().len()), (64, 12));
    }
}
