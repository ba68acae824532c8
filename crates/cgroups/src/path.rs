//! The name of a cgroup, checked once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A cgroup's place below the root of every hierarchy: `orlop/6f2a`, never empty, never upwards.
///
/// A leading `/` is accepted and dropped, since the OCI specification writes `cgroupsPath` either
/// way; there is no relative meaning.
///
/// ```
/// use orlop_cgroups::CgroupPath;
/// let path = CgroupPath::new("/orlop/6f2a")?;
/// assert_eq!(path.as_str(), "orlop/6f2a");
/// assert_eq!(path.parent().unwrap().as_str(), "orlop");
/// assert!(CgroupPath::new("orlop/../../init").is_err());
/// # Ok::<(), orlop_cgroups::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CgroupPath(String);

/// Longest name of one directory.
const NAME_MAX: usize = 255;
/// The kernel copies a cgroup's path into a buffer of PATH_MAX; the mount point needs room too.
const PATH_LIMIT: usize = 3072;

impl CgroupPath {
    /// Checks `text` and makes it a path.
    ///
    /// # Errors
    ///
    /// [`Error::BadPath`] for text that is empty, has an empty, `.` or `..` component, a component over
    /// 255 bytes, a control character (a newline would make `/proc/PID/cgroup` ambiguous), or one that
    /// is the name of a file the kernel puts into every cgroup (`tasks`, `cgroup.procs`, ...).
    pub fn new(text: impl AsRef<str>) -> Result<CgroupPath, Error> {
        let given = text.as_ref();
        let text = given.strip_prefix('/').unwrap_or(given);
        let bad = |reason| {
            Err(Error::BadPath {
                path: given.to_owned(),
                reason,
            })
        };
        if text.is_empty() {
            return bad("it is empty");
        }
        if text.len() > PATH_LIMIT {
            return bad("it is too long");
        }
        for name in text.split('/') {
            if let Some(reason) = wrong_name(name) {
                return bad(reason);
            }
        }
        Ok(CgroupPath(text.to_owned()))
    }

    /// The path as text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last component; `None` directly below the root.
    pub fn parent(&self) -> Option<CgroupPath> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| CgroupPath(parent.to_owned()))
    }

    /// This path and then `more`, which may itself have several components.
    ///
    /// # Errors
    ///
    /// As [`CgroupPath::new`].
    pub fn join(&self, more: impl AsRef<str>) -> Result<CgroupPath, Error> {
        CgroupPath::new(format!("{}/{}", self.0, more.as_ref()))
    }

    /// Every proper ancestor, the topmost first.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

fn wrong_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a component . or .."),
        "tasks" | "notify_on_release" | "release_agent" => {
            Some("a component is the name of a file of the kernel's")
        }
        _ if name.starts_with("cgroup.") => {
            Some("a component is the name of a file of the kernel's")
        }
        _ if name.len() > NAME_MAX => Some("a component is longer than 255 bytes"),
        _ if name.chars().any(|c| c.is_ascii_control()) => Some("it has a control character"),
        _ => None,
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for CgroupPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for CgroupPath {
    type Err = Error;
    fn from_str(text: &str) -> Result<CgroupPath, Error> {
        CgroupPath::new(text)
    }
}

impl TryFrom<&str> for CgroupPath {
    type Error = Error;
    fn try_from(text: &str) -> Result<CgroupPath, Error> {
        CgroupPath::new(text)
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = Error;
    fn try_from(text: String) -> Result<CgroupPath, Error> {
        CgroupPath::new(text)
    }
}

impl TryFrom<&std::path::Path> for CgroupPath {
    type Error = Error;
    fn try_from(path: &std::path::Path) -> Result<CgroupPath, Error> {
        match path.to_str() {
            Some(text) => CgroupPath::new(text),
            None => Err(Error::BadPath {
                path: path.display().to_string(),
                reason: "it is not UTF-8",
            }),
        }
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> String {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for text in [
            "",
            "/",
            "//",
            "a//b",
            "a/",
            "..",
            "../a",
            "a/..",
            "a/../b",
            "./a",
            "a/.",
            "//a",
            "a\0b",
            "a\nb",
            "a/\u{7f}",
            "cgroup.procs",
            "a/cgroup.kill/b",
            "a/tasks",
            &"x".repeat(256),
            &"x/".repeat(2000),
        ] {
            assert!(CgroupPath::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ordinary_names_are_taken() {
        for text in [
            "a",
            "/a",
            "orlop/6f2a",
            "system.slice/docker-1.scope",
            "a..b",
            "memory.test",
            "…",
        ] {
            assert!(CgroupPath::new(text).is_ok(), "{text:?}");
        }
        let path = CgroupPath::new("/a/b/c").unwrap();
        assert_eq!(path.name(), "c");
        assert_eq!(path.parent().unwrap().as_str(), "a/b");
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(CgroupPath::new("a").unwrap().parent(), None);
        assert!(path.join("..").is_err());
        assert_eq!(path.join("d/e").unwrap().as_str(), "a/b/c/d/e");
    }

    #[test]
    fn json_is_checked_too() {
        assert!(serde_json::from_str::<CgroupPath>("\"a/../b\"").is_err());
        let path: CgroupPath = serde_json::from_str("\"/a/b\"").unwrap();
        assert_eq!(serde_json::to_string(&path).unwrap(), "\"a/b\"");
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_below_its_root(text in "\\PC{0,40}|[./a\\n\\x00]{0,12}") {
            if let Ok(path) = CgroupPath::new(&text) {
                let full = std::path::Path::new(path.as_str());
                prop_assert!(full.is_relative());
                prop_assert!(full.components().count() > 0);
                for part in full.components() {
                    prop_assert!(matches!(part, std::path::Component::Normal(_)));
                }
                prop_assert!(!path.as_str().contains(['\0', '\n']));
                prop_assert_eq!(CgroupPath::new(path.as_str()).unwrap(), path);
            }
        }
    }
}
