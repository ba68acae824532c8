//! How overlayfs's own marks are written: with privilege, or as an ordinary user.

use serde::{Deserialize, Serialize};

/// The namespace of overlayfs's extended attributes, one for a whole store.
///
/// `Documentation/filesystems/overlayfs.rst`, "Unprivileged mounts": `trusted.*` needs `CAP_SYS_ADMIN` in the initial user
/// namespace, and with the mount option `userxattr` (Linux 5.11) `user.*` takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// `trusted.overlay.*`: the store belongs to root.
    Trusted,
    /// `user.overlay.*`: the store belongs to an ordinary user, and so does every file in it.
    User,
}

impl Encoding {
    /// The attribute that makes a directory opaque, when its value is `y`.
    pub(crate) fn opaque(self) -> &'static [u8] {
        match self {
            Encoding::Trusted => b"trusted.overlay.opaque",
            Encoding::User => b"user.overlay.opaque",
        }
    }
}

/// Whether an extended attribute is overlayfs's own, in either namespace.
pub(crate) fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
