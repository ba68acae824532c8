//! Checking a store: every blob hashed again, every reference followed.

use std::collections::HashSet;

use oci_spec::image::Digest;

use super::Store;
use crate::digest::Hasher;
use crate::{Error, manifest};

/// What [`Store::fsck`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckReport {
    /// Blobs hashed.
    pub blobs: usize,
    /// Bytes hashed.
    pub bytes: u64,
    /// What is wrong. Empty for a sound store.
    pub damage: Vec<Damage>,
}

/// One fault in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The bytes of a blob are not those it is named after.
    #[error("blob {digest} has the digest {actual}")]
    Corrupt {
        /// Its name.
        digest: Digest,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// A tag leads to a manifest, or a manifest to a config or layer, that is absent.
    #[error("{name} lacks blob {digest}")]
    Missing {
        /// The tag.
        name: String,
        /// The absent blob.
        digest: Digest,
    },
}

impl Store {
    /// Hashes every blob and follows every tag.
    ///
    /// Images of an index for platforms that were not fetched are not missing. With `repair`, corrupt blobs are
    /// removed, so that the next pull or load brings them again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Json`] for a damaged tag record.
    pub fn fsck(&self, repair: bool) -> Result<FsckReport, Error> {
        let mut report = FsckReport::default();
        for (digest, _) in self.blobs()? {
            let file = match self.blob(&digest) {
                Ok(file) => file,
                // gc took it meanwhile.
                Err(Error::BlobMissing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let mut hasher = Hasher::for_digest(&digest)?;
            report.bytes += hasher.update_from(file, &format!("blob {digest}"))?;
            report.blobs += 1;
            let actual = hasher.finish();
            if actual != digest {
                if repair {
                    let path = self.blob_path(&digest)?;
                    let guard = self.lock_shared()?;
                    std::fs::remove_file(&path).map_err(Error::io("removing", path))?;
                    drop(guard);
                }
                report.damage.push(Damage::Corrupt { digest, actual });
            }
        }
        for tag in self.tags()? {
            let name = tag.name.to_string();
            let mut waiting = vec![(tag.descriptor.digest().clone(), true)];
            let mut seen = HashSet::new();
            while let Some((digest, needed)) = waiting.pop() {
                if !seen.insert(digest.clone()) {
                    continue;
                }
                if !self.has(&digest) {
                    if needed {
                        report.damage.push(Damage::Missing {
                            name: name.clone(),
                            digest,
                        });
                    }
                    continue;
                }
                match self.manifest_at(&digest) {
                    Ok(Some(document)) => {
                        let needed = matches!(document, manifest::Document::Manifest(_));
                        waiting.extend(
                            manifest::children(&document)
                                .iter()
                                .map(|child| (child.digest().clone(), needed)),
                        );
                    }
                    // Corrupt ones are reported already.
                    Ok(None) | Err(Error::DigestMismatch { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(report)
    }
}
