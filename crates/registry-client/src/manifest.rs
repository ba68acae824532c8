//! Manifests and indexes: got by tag or digest, verified, their bytes kept.

use bytes::Bytes;
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use crate::auth::Scopes;
use crate::client::Client;
use crate::digest::Hasher;
use crate::endpoint::{Selector, Target};
use crate::error::{Cause, Error, Operation};
use crate::http::{Payload, Request};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Indexes in indexes are followed this deep.
const MAX_NESTING: usize = 4;

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
    fn parse(bytes: Bytes, media_type: Option<&str>, digest: Digest) -> Result<Self, Cause> {
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

/// A reference followed down to one image.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The indexes passed through, from the one the reference names. Empty if it names an image.
    pub indexes: Vec<Manifest>,
    /// The image's manifest.
    pub image: Manifest,
}

impl Resolved {
    /// What the reference itself names.
    pub fn top(&self) -> &Manifest {
        self.indexes.first().unwrap_or(&self.image)
    }
}

impl Client {
    /// Gets the manifest or index a reference names; its digest wins over its tag.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Digest`](crate::ErrorKind::Digest) if the
    /// bytes are not those asked for, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for schema 1, and any
    /// error of the connection or login.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        let (target, selector, operation) = prepare(reference, Operation::GetManifest)?;
        let fail = |cause| target.error(cause, &operation);
        let request = self
            .manifest_request(&target, &operation, Method::GET, &selector)
            .await?;
        let answer = self
            .call(
                &target,
                &operation,
                request,
                Scopes::pull(&target.repository),
                &[],
            )
            .await?;
        let media_type = answer.header("content-type").map(str::to_owned);
        let stated = answer.header("docker-content-digest").map(str::to_owned);
        let bytes = answer
            .body(
                self.inner.max_manifest,
                self.inner.timeouts.response,
                "the manifest",
            )
            .await
            .map_err(fail)?;
        let digest = verify(&bytes, &selector, stated.as_deref()).map_err(fail)?;
        Manifest::parse(bytes, media_type.as_deref(), digest).map_err(fail)
    }

    /// Gets the manifest of a [`Descriptor`] found in an index, from the repository of `reference`.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest), and [`ErrorKind::Size`](crate::ErrorKind::Size).
    pub async fn manifest_of(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Manifest, Error> {
        let by_digest = reference.clone_with_digest(descriptor.digest().to_string());
        let manifest = self.manifest(&by_digest).await?;
        if manifest.descriptor.size() != descriptor.size() {
            let target = Target::new(reference)?;
            let cause = Cause::Size {
                expected: descriptor.size(),
                got: format!("{} came", manifest.bytes.len()),
            };
            return Err(target.error(
                cause,
                &Operation::GetManifest(descriptor.digest().to_string()),
            ));
        }
        Ok(manifest)
    }

    /// Follows a reference through indexes, nested ones too, down to one image. `choose` picks from each
    /// index: which platform is wanted is the caller's to say.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) is not used for a
    /// platform the image lacks: that is [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub async fn resolve<F>(&self, reference: &Reference, choose: F) -> Result<Resolved, Error>
    where
        F: Fn(&ImageIndex) -> Option<Descriptor> + Send,
    {
        let mut manifest = self.manifest(reference).await?;
        let mut indexes = Vec::new();
        loop {
            let next = match manifest.content() {
                Content::Image(_) => {
                    return Ok(Resolved {
                        indexes,
                        image: manifest,
                    });
                }
                Content::Index(index) => choose(index),
            };
            let fail = |cause| -> Result<Resolved, Error> {
                let (target, _, operation) = prepare(reference, Operation::GetManifest)?;
                Err(target.error(cause, &operation))
            };
            let Some(next) = next else {
                return fail(Cause::Unsupported(
                    "no image in the index is for the platform wanted".into(),
                ));
            };
            indexes.push(manifest);
            if indexes.len() > MAX_NESTING {
                return fail(Cause::Protocol(format!(
                    "indexes are nested deeper than {MAX_NESTING}"
                )));
            }
            manifest = self.manifest_of(reference, &next).await?;
        }
    }

    /// Asks for a manifest's descriptor without getting it; `None` if there is none. Unlike the result of
    /// [`manifest`](Self::manifest) this is the registry's word only.
    ///
    /// # Errors
    /// Any error of the connection or login, and an answer without the headers the specification asks for.
    pub async fn manifest_descriptor(
        &self,
        reference: &Reference,
    ) -> Result<Option<Descriptor>, Error> {
        let (target, selector, operation) = prepare(reference, Operation::HeadManifest)?;
        let request = self
            .manifest_request(&target, &operation, Method::HEAD, &selector)
            .await?;
        let not_found = [reqwest::StatusCode::NOT_FOUND];
        let answer = self
            .call(
                &target,
                &operation,
                request,
                Scopes::pull(&target.repository),
                &not_found,
            )
            .await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let digest = answer
            .header("docker-content-digest")
            .and_then(|text| text.parse::<Digest>().ok())
            .or_else(|| match &selector {
                Selector::Digest(digest) => Some(digest.clone()),
                Selector::Tag(_) => None,
            });
        // reqwest's content_length() is that of the body, which a HEAD has none of.
        let size = answer
            .header("content-length")
            .and_then(|text| text.parse::<u64>().ok());
        let media_type = answer.header("content-type").map(MediaType::from);
        match (digest, size, media_type) {
            (Some(digest), Some(size), Some(media_type)) => {
                Ok(Some(Descriptor::new(media_type, size, digest)))
            }
            _ => Err(target.error(
                Cause::Protocol("the answer lacks the manifest's digest, size or type".into()),
                &operation,
            )),
        }
    }

    /// Uploads a manifest or index under the reference's tag, or under its digest if it has no tag. What it
    /// names must be there already.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) if the registry finds fault with it, and any error of the
    /// connection or login.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: Bytes,
    ) -> Result<Descriptor, Error> {
        let (target, by_digest, _) = prepare(reference, Operation::PutManifest)?;
        let selector = match reference.tag() {
            Some(tag) => {
                crate::endpoint::check_tag(tag)
                    .map_err(|c| target.error(c, &Operation::Prepare))?;
                Selector::Tag(tag.to_owned())
            }
            None => by_digest,
        };
        let operation = Operation::PutManifest(selector.text().to_owned());
        let fail = |cause| target.error(cause, &operation);
        let digest = verify(&bytes, &Selector::of(reference).map_err(fail)?, None).map_err(fail)?;
        let media = HeaderValue::from_str(media_type.as_ref())
            .map_err(|_| fail(Cause::Invalid("the media type cannot be sent".into())))?;
        let url = self.manifest_url(&target, &operation, &selector).await?;
        let size = bytes.len() as u64;
        let request = Request::new(Method::PUT, url)
            .header(CONTENT_TYPE, media)
            .payload(Payload::Bytes(bytes));
        let answer = self
            .call(
                &target,
                &operation,
                request,
                Scopes::push(&target.repository),
                &[],
            )
            .await?;
        if let Some(stored) = answer.header("docker-content-digest")
            && stored != digest.as_ref()
            && stored.starts_with("sha256:")
        {
            let actual = stored.chars().take(200).collect();
            return Err(fail(Cause::Digest {
                expected: digest.to_string(),
                actual,
            }));
        }
        Ok(Descriptor::new(media_type.clone(), size, digest))
    }

    /// Deletes what the reference names: a manifest by its digest, or only the tag if it has no digest.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the registry does not allow deletion.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), Error> {
        let (target, selector, operation) = prepare(reference, Operation::DeleteManifest)?;
        let url = self.manifest_url(&target, &operation, &selector).await?;
        let request = Request::new(Method::DELETE, url);
        self.call(
            &target,
            &operation,
            request,
            Scopes::delete(&target.repository),
            &[],
        )
        .await?;
        Ok(())
    }

    async fn manifest_url(
        &self,
        target: &Target,
        operation: &Operation,
        what: &Selector,
    ) -> Result<url::Url, Error> {
        self.url(
            target,
            operation,
            &format!("v2/{}/manifests/{}", target.repository, what.text()),
        )
        .await
    }

    async fn manifest_request(
        &self,
        target: &Target,
        operation: &Operation,
        method: Method,
        selector: &Selector,
    ) -> Result<Request, Error> {
        let url = self.manifest_url(target, operation, selector).await?;
        Ok(Request::new(method, url).header(ACCEPT, HeaderValue::from_static(ACCEPTED)))
    }
}

fn prepare(
    reference: &Reference,
    operation: impl Fn(String) -> Operation,
) -> Result<(Target, Selector, Operation), Error> {
    let target = Target::new(reference)?;
    let selector =
        Selector::of(reference).map_err(|cause| target.error(cause, &Operation::Prepare))?;
    let operation = operation(selector.text().to_owned());
    Ok((target, selector, operation))
}

/// The bytes' digest, which has to be the one asked for; by a tag, the one the registry names.
fn verify(bytes: &[u8], selector: &Selector, stated: Option<&str>) -> Result<Digest, Cause> {
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
