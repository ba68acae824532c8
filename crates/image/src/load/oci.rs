//! The content of an OCI layout: from `index.json` down.

use std::collections::HashSet;

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, ImageIndex};

use super::{Found, Job, LoadOptions, Source};
use crate::manifest::{self, Document};
use crate::store::{CONTAINERD_NAME, INDEX, REF_NAME, check_layout_version};
use crate::{Error, media, reference};

impl Job {
    pub(super) fn load_oci(
        &mut self,
        source: &Source,
        options: &LoadOptions,
    ) -> Result<Vec<Found>, Error> {
        let version = source
            .document("oci-layout")?
            .ok_or_else(|| Error::archive("it has index.json but no oci-layout file"))?;
        check_layout_version(&String::from_utf8_lossy(&version))?;
        let bytes = source.document(INDEX)?.unwrap_or_default();
        let index = match manifest::parse(&bytes, None).map_err(Error::in_entry(INDEX))? {
            Document::Index(index) => *index,
            Document::Manifest(_) => return Err(Error::archive("its index.json is no index")),
        };
        let mut found: Vec<Found> = Vec::new();
        for (digest, names, descriptor) in entries(&index) {
            if options
                .only
                .as_ref()
                .is_some_and(|only| !names.contains(only))
            {
                continue;
            }
            // Attestations and signatures lie beside images in an index; they are no images to load.
            if !self.fetch_tree(source, &descriptor, options, 0)? {
                continue;
            }
            match found
                .iter_mut()
                .find(|image| *image.descriptor.digest() == digest)
            {
                Some(image) => image.add_names(names),
                None => found.push(Found { names, descriptor }),
            }
        }
        Ok(found)
    }

    /// Brings a manifest or index and all it refers to into the store. `false` for what is no image.
    fn fetch_tree(
        &mut self,
        source: &Source,
        descriptor: &Descriptor,
        options: &LoadOptions,
        depth: usize,
    ) -> Result<bool, Error> {
        let digest = descriptor.digest();
        let wrap = |error| Error::in_entry(digest.as_ref())(error);
        if depth > 4 {
            return Err(Error::archive("its indexes are nested too deep"));
        }
        crate::json::check_size(descriptor.size(), "manifest").map_err(wrap)?;
        if !self.fetch(source, descriptor)? {
            return Err(Error::archive(format!("it lacks manifest {digest}")));
        }
        let bytes = self.lease.read(digest)?;
        let document =
            manifest::parse(&bytes, Some(descriptor.media_type().as_ref())).map_err(wrap)?;
        match document {
            Document::Index(index) => {
                let mut images = 0;
                let mut seen: HashSet<&Digest> = HashSet::new();
                for child in index.manifests() {
                    if !seen.insert(child.digest()) {
                        continue;
                    }
                    // Archives of one platform keep the whole index and leave the others' blobs out.
                    if !self.fetch(source, child)? {
                        continue;
                    }
                    if self.fetch_tree(source, child, options, depth + 1)? {
                        images += 1;
                    }
                }
                if images == 0 {
                    return Err(Error::archive(format!(
                        "index {digest} has no image in the archive"
                    )));
                }
                Ok(true)
            }
            Document::Manifest(manifest) => {
                let is_image = media::is_image_config(manifest.config().media_type());
                for child in std::iter::once(manifest.config()).chain(manifest.layers()) {
                    let there = self.fetch(source, child)?;
                    if !there && !media::is_foreign_layer(child.media_type()) {
                        return Err(Error::archive(format!(
                            "it lacks blob {} of manifest {digest}",
                            child.digest()
                        )));
                    }
                }
                let attestation = descriptor
                    .annotations()
                    .as_ref()
                    .is_some_and(|all| all.contains_key("vnd.docker.reference.type"));
                if !is_image || attestation {
                    return Ok(false);
                }
                let image = self.image(digest)?;
                if options.verify_diff_ids {
                    self.verify_layers(&image)?;
                }
                Ok(true)
            }
        }
    }
}

/// The entries of an `index.json` with the names their annotations give, one a digest and name.
fn entries(index: &ImageIndex) -> Vec<(Digest, Vec<Reference>, Descriptor)> {
    index
        .manifests()
        .iter()
        .map(|entry| {
            let annotations = entry.annotations().clone().unwrap_or_default();
            let names = name(
                annotations.get(CONTAINERD_NAME).map(String::as_str),
                annotations.get(REF_NAME).map(String::as_str),
            );
            let mut descriptor = entry.clone();
            let others = annotations
                .into_iter()
                .filter(|(key, _)| key != CONTAINERD_NAME && key != REF_NAME)
                .collect::<std::collections::HashMap<_, _>>();
            descriptor.set_annotations((!others.is_empty()).then_some(others));
            (
                entry.digest().clone(),
                names.into_iter().collect(),
                descriptor,
            )
        })
        .collect()
}

/// The name of an entry. containerd's annotation is a full one. The specification's may be a full name, a repository,
/// or merely a tag; only `latest` is certainly a tag, and a tag alone names nothing.
fn name(containerd: Option<&str>, ref_name: Option<&str>) -> Option<Reference> {
    containerd
        .and_then(|text| reference::parse(text).ok())
        .or_else(|| {
            ref_name
                .filter(|text| *text != "latest")
                .and_then(|text| reference::parse(text).ok())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (containerd, ref_name, want) in [
            (
                Some("docker.io/library/a:1"),
                Some("1"),
                Some("docker.io/library/a:1"),
            ),
            (None, Some("ghcr.io/x/y:2"), Some("ghcr.io/x/y:2")),
            (
                None,
                Some("busybox"),
                Some("docker.io/library/busybox:latest"),
            ),
            (None, Some("latest"), None),
            (None, Some("../../etc"), None),
            (Some("../x"), Some("b:1"), Some("docker.io/library/b:1")),
            (None, None, None),
        ] {
            assert_eq!(
                name(containerd, ref_name)
                    .map(|name| name.to_string())
                    .as_deref(),
                want
            );
        }
    }
}
