//! Manifests and indexes as values: verified, unambiguous, their bytes kept.

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};
use serde_json::Value;

use crate::digest::Hasher;
use crate::endpoint::Selector;
use crate::error::Cause;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or index as the registry sent it, verified against its digest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its media type, size and digest.
    pub descriptor: Descriptor,
    /// The bytes: digests are over these.
    pub bytes: Bytes,
    content: Content,
}

/// What a [`Manifest`]'s bytes say.
#[derive(Debug, Clone)]
pub enum Content {
    /// One image.
    Image(Box<ImageManifest>),
    /// A list of images, usually one a platform, or of further indexes.
    Index(Box<ImageIndex>),
}

impl Manifest {
    /// Reads `bytes` as a manifest or index. `media_type` is what the transport said, if anything.
    pub(crate) fn parse(
        bytes: Bytes,
        media_type: Option<&str>,
        digest: Digest,
    ) -> Result<Self, Cause> {
        let protocol = |text: String| Cause::Protocol(text);
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|e| protocol(format!("the manifest is not JSON: {e}")))?;
        let stated = value.get("mediaType").and_then(Value::as_str);
        let sent = media_type
            .map(|t| t.split(';').next().unwrap_or_default().trim())
            .filter(|t| [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(t));
        if value.get("schemaVersion").and_then(Value::as_u64) == Some(1)
            || stated.is_some_and(|t| t.contains("distribution.manifest.v1+"))
        {
            return Err(Cause::Unsupported(
                "the image has only a manifest of Docker's schema 1, which is obsolete and not supported; push it again with a current tool".into(),
            ));
        }
        // The same bytes must not mean two things to two readers (CVE-2021-41190).
        let listed = value.get("manifests").is_some();
        if listed && (value.get("layers").is_some() || value.get("config").is_some()) {
            return Err(protocol(
                "the manifest is ambiguous: it is an image and an index at once".into(),
            ));
        }
        if let (Some(stated), Some(sent)) = (stated, sent)
            && stated != sent
        {
            return Err(protocol(format!(
                "the manifest says it is {stated:?}, but was sent as {sent:?}"
            )));
        }
        let fallback = if listed { OCI_INDEX } else { OCI_MANIFEST };
        let media_type = stated.or(sent).unwrap_or(fallback).to_owned();
        let index = media_type == OCI_INDEX || media_type == DOCKER_LIST;
        if !index && media_type != OCI_MANIFEST && media_type != DOCKER_MANIFEST {
            return Err(Cause::Unsupported(format!(
                "manifests of type {media_type:?} are not supported"
            )));
        }
        let content = if index {
            serde_json::from_slice(&bytes).map(|index| Content::Index(Box::new(index)))
        } else {
            serde_json::from_slice(&bytes).map(|image| Content::Image(Box::new(image)))
        };
        let content = content
            .map_err(|e| protocol(format!("the manifest cannot be read as {media_type}: {e}")))?;
        let descriptor = Descriptor::new(
            MediaType::from(media_type.as_str()),
            bytes.len() as u64,
            digest,
        );
        Ok(Self {
            descriptor,
            bytes,
            content,
        })
    }

    /// What the bytes say.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The image, if it is one.
    pub fn image(&self) -> Option<&ImageManifest> {
        match &self.content {
            Content::Image(image) => Some(image),
            Content::Index(_) => None,
        }
    }

    /// The index, if it is one.
    pub fn index(&self) -> Option<&ImageIndex> {
        match &self.content {
            Content::Index(index) => Some(index),
            Content::Image(_) => None,
        }
    }
}

/// The bytes' digest, which has to be the one asked for; by a tag, the one the registry names.
pub(crate) fn verify(
    bytes: &[u8],
    selector: &Selector,
    stated: Option<&str>,
) -> Result<Digest, Cause> {
    let expected = match selector {
        Selector::Digest(digest) => Some(digest.clone()),
        Selector::Tag(_) => stated.and_then(|text| text.parse::<Digest>().ok()),
    };
    let mut hasher = match &expected {
        None => Hasher::sha256(),
        Some(digest) => match (Hasher::for_digest(digest), selector) {
            (Some(hasher), _) => hasher,
            (None, Selector::Tag(_)) => Hasher::sha256(),
            (None, Selector::Digest(_)) => {
                return Err(Cause::Unsupported(format!(
                    "digests of algorithm {} are not supported",
                    digest.algorithm()
                )));
            }
        },
    };
    hasher.update(bytes);
    let actual = hasher.text();
    match expected {
        Some(expected)
            if Hasher::for_digest(&expected).is_some() && expected.as_ref() != actual =>
        {
            Err(Cause::Digest {
                expected: expected.to_string(),
                actual,
            })
        }
        _ => actual
            .parse()
            .map_err(|e: oci_spec::OciSpecError| Cause::InvalidSource {
                what: "writing a digest",
                source: e.into(),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, media_type: Option<&str>) -> Result<Manifest, Cause> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let digest = verify(&bytes, &Selector::Tag("x".into()), None).unwrap();
        Manifest::parse(bytes, media_type, digest)
    }

    const D: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn image() -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{D}","size":3}},"layers":[]}}"#
        )
    }

    #[test]
    fn kinds() {
        assert!(parse(&image(), None).unwrap().image().is_some());
        assert!(
            parse(&image(), Some(DOCKER_MANIFEST))
                .unwrap()
                .image()
                .is_some()
        );
        assert!(
            parse(&image(), Some("text/plain"))
                .unwrap()
                .image()
                .is_some()
        );
        assert!(
            parse(r#"{"schemaVersion":2,"manifests":[]}"#, Some(OCI_INDEX))
                .unwrap()
                .index()
                .is_some()
        );
        assert!(
            parse(r#"{"schemaVersion":2,"manifests":[]}"#, None)
                .unwrap()
                .index()
                .is_some()
        );
        for (text, media_type, kind) in [
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(), None, "Protocol"),
            (image().replace("\"layers\":[]", "\"layers\":[],\"manifests\":[]"), None, "Protocol"),
            (image().replace("{\"schemaVersion\":2", "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\""), Some(OCI_INDEX), "Protocol"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), None, "Unsupported"),
            (image().replace("\"size\":3", "\"size\":-3"), None, "Protocol"),
            (image().replace(D, "sha256:../../x"), None, "Protocol"),
            (image().replace("{\"schemaVersion\":2", "{\"schemaVersion\":2,\"mediaType\":\"application/x\""), None, "Unsupported"),
            ("nonsense".to_owned(), None, "Protocol"),
            (String::new(), None, "Protocol"),
        ] {
            let error = parse(&text, media_type).unwrap_err();
            assert!(format!("{error:?}").starts_with(kind), "{text}: {error:?}");
        }
    }

    #[test]
    fn the_digest_asked_for_wins() {
        let asked = Selector::Digest(D.parse().unwrap());
        assert!(verify(b"abc", &asked, Some("sha256:00")).is_ok());
        assert!(matches!(
            verify(b"abd", &asked, Some(D)),
            Err(Cause::Digest { .. })
        ));
        assert!(matches!(
            verify(b"abd", &Selector::Tag("x".into()), Some(D)),
            Err(Cause::Digest { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_json_is_survived(text in "\\{(\"(schemaVersion|manifests|layers|config|mediaType)\":(2|\\[\\]|\\{\\}|\"x\"),?){0,5}\\}") {
            let _ = parse(&text, None);
        }
    }
}
