//! Manifests and indexes: asked for by tag or digest, followed down to an image, uploaded, deleted.

use bytes::Bytes;
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, ImageIndex, MediaType};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

use crate::auth::Scopes;
use crate::client::Client;
use crate::endpoint::{Selector, Target};
use crate::error::{Cause, Error};
use crate::http::{Payload, Request};
use crate::manifest::{ACCEPTED, Content, Manifest, verify};
use crate::operation::Operation;

/// Indexes in indexes are followed this deep.
const MAX_NESTING: usize = 4;

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
