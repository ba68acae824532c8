//! What can be attempted at a registry.

use std::fmt;

use oci_spec::image::Digest;

/// What was being attempted when an error happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Building the client, or checking a reference, before anything was sent.
    Prepare,
    /// Asking whether the host speaks the registry API at all.
    Ping,
    /// Getting a token, for the scopes named.
    Token(String),
    /// Getting a manifest by the tag or digest named.
    GetManifest(String),
    /// Asking for a manifest's descriptor.
    HeadManifest(String),
    /// Uploading a manifest.
    PutManifest(String),
    /// Deleting a manifest or a tag.
    DeleteManifest(String),
    /// Downloading a blob.
    GetBlob(Digest),
    /// Asking whether a blob exists.
    HeadBlob(Digest),
    /// Uploading a blob.
    PutBlob(Digest),
    /// Mounting a blob from another repository.
    MountBlob(Digest, String),
    /// Deleting a blob.
    DeleteBlob(Digest),
    /// Listing tags.
    ListTags,
    /// Listing what refers to a manifest.
    ListReferrers(Digest),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare => f.write_str("preparing a request"),
            Self::Ping => f.write_str("asking for the registry API"),
            Self::Token(scope) if scope.is_empty() => f.write_str("logging in"),
            Self::Token(scope) => write!(f, "getting a token for {scope}"),
            Self::GetManifest(what) => write!(f, "getting manifest {what}"),
            Self::HeadManifest(what) => write!(f, "looking up manifest {what}"),
            Self::PutManifest(what) => write!(f, "uploading manifest {what}"),
            Self::DeleteManifest(what) => write!(f, "deleting manifest {what}"),
            Self::GetBlob(digest) => write!(f, "downloading blob {digest}"),
            Self::HeadBlob(digest) => write!(f, "looking up blob {digest}"),
            Self::PutBlob(digest) => write!(f, "uploading blob {digest}"),
            Self::MountBlob(digest, from) => write!(f, "mounting blob {digest} from {from}"),
            Self::DeleteBlob(digest) => write!(f, "deleting blob {digest}"),
            Self::ListTags => f.write_str("listing tags"),
            Self::ListReferrers(digest) => write!(f, "listing referrers of {digest}"),
        }
    }
}
