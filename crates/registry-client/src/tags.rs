//! Lists: tags and referrers, page by page.

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest, ImageIndex};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::auth::Scopes;
use crate::client::Client;
use crate::endpoint::{Target, check_tag, same_origin};
use crate::error::{Cause, Error, ErrorKind};
use crate::http::Request;
use crate::operation::Operation;

const PAGE: usize = 1000;
const MAX_PAGES: usize = 1000;
const MAX_ENTRIES: usize = 1_000_000;

#[derive(Deserialize)]
struct TagList {
    /// `null` for a repository without tags.
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of the repository of `reference`, in the registry's order. What is no valid tag is left out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such repository, and any error of the connection or login.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let target = Target::new(reference)?;
        let operation = Operation::ListTags;
        let fail = |cause| target.error(cause, &operation);
        let path = format!("v2/{}/tags/list?n={PAGE}", target.repository);
        let mut url = self.url(&target, &operation, &path).await?;
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let request = Request::new(Method::GET, url.clone());
            let answer = self
                .call(
                    &target,
                    &operation,
                    request,
                    Scopes::pull(&target.repository),
                    &[],
                )
                .await?;
            let next = answer.header("link").and_then(|link| next_page(&url, link));
            let body = answer
                .body(
                    self.inner.max_manifest,
                    self.inner.timeouts.response,
                    "the list of tags",
                )
                .await
                .map_err(fail)?;
            let list: TagList = serde_json::from_slice(&body).map_err(|e| {
                fail(Cause::Protocol(format!(
                    "the list of tags cannot be read: {e}"
                )))
            })?;
            tags.extend(
                list.tags
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|tag| check_tag(tag).is_ok()),
            );
            match next {
                None => return Ok(tags),
                Some(_) if tags.len() > MAX_ENTRIES => break,
                Some(next) => url = follow(&url, next).map_err(fail)?,
            }
        }
        Err(fail(Cause::Protocol(
            "the list of tags does not end".into(),
        )))
    }

    /// What refers to the manifest `subject` (signatures, attestations, …), by the referrers API, or by the tag
    /// schema where the registry lacks it.
    ///
    /// # Errors
    /// Any error of the connection or login. Nothing referring to it is not an error.
    pub async fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let target = Target::new(reference)?;
        let operation = Operation::ListReferrers(subject.clone());
        let fail = |cause| target.error(cause, &operation);
        let path = format!("v2/{}/referrers/{subject}", target.repository);
        let mut url = self.url(&target, &operation, &path).await?;
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let request = Request::new(Method::GET, url.clone());
            let also = [StatusCode::NOT_FOUND];
            let answer = self
                .call(
                    &target,
                    &operation,
                    request,
                    Scopes::pull(&target.repository),
                    &also,
                )
                .await?;
            if !answer.status().is_success() {
                return self.referrers_by_tag(reference, subject).await;
            }
            let next = answer.header("link").and_then(|link| next_page(&url, link));
            let body = answer
                .body(
                    self.inner.max_manifest,
                    self.inner.timeouts.response,
                    "the list of referrers",
                )
                .await
                .map_err(fail)?;
            let index: ImageIndex = serde_json::from_slice(&body).map_err(|e| {
                fail(Cause::Protocol(format!(
                    "the list of referrers cannot be read: {e}"
                )))
            })?;
            found.extend(index.manifests().iter().cloned());
            match next {
                None => return Ok(found),
                Some(_) if found.len() > MAX_ENTRIES => break,
                Some(next) => url = follow(&url, next).map_err(fail)?,
            }
        }
        Err(fail(Cause::Protocol(
            "the list of referrers does not end".into(),
        )))
    }

    async fn referrers_by_tag(
        &self,
        reference: &Reference,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let tag: String = format!("{}-{}", subject.algorithm(), subject.digest())
            .chars()
            .take(128)
            .collect();
        let by_tag = Reference::with_tag(
            reference.registry().into(),
            reference.repository().into(),
            tag,
        );
        match self.manifest(&by_tag).await {
            Ok(manifest) => Ok(manifest
                .index()
                .map(|index| index.manifests().clone())
                .unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Pages come from the same registry, so that the login may go along, and not twice.
fn follow(from: &Url, next: Option<Url>) -> Result<Url, Cause> {
    match next {
        Some(next) if same_origin(from, &next) && next != *from => Ok(next),
        _ => Err(Cause::Protocol(
            "the link to the next page leads elsewhere".into(),
        )),
    }
}

/// The `rel="next"` of a `Link` header: `None` if there is none, `Some(None)` if it is no address.
fn next_page(base: &Url, header: &str) -> Option<Option<Url>> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let after = &rest[start + 1..];
        let end = after.find('>')?;
        let (address, parameters) = (&after[..end], &after[end + 1..]);
        let this = parameters
            .find('<')
            .map_or(parameters, |next| &parameters[..next]);
        let is_next = this.split([';', ',']).any(|p| {
            p.trim().split_once('=').is_some_and(|(key, value)| {
                key.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split(' ')
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(base.join(address).ok());
        }
        rest = parameters;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links() {
        let base = Url::parse("https://r.test/v2/a/tags/list?n=2").unwrap();
        let next = |header: &str| next_page(&base, header).flatten().map(String::from);
        assert_eq!(
            next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#).unwrap(),
            "https://r.test/v2/a/tags/list?last=b&n=2"
        );
        assert_eq!(
            next(r#"<?last=b>; rel=next"#).unwrap(),
            "https://r.test/v2/a/tags/list?last=b"
        );
        assert_eq!(
            next(r#"</first>; rel="first", </n>; title="x"; rel="next""#).unwrap(),
            "https://r.test/n"
        );
        assert_eq!(next(r#"</first>; rel="prev""#), None);
        assert_eq!(next(r#"<unterminated; rel="next""#), None);
        let elsewhere =
            next_page(&base, r#"<https://evil.test/v2/a/tags/list>; rel="next""#).unwrap();
        assert!(follow(&base, elsewhere).is_err());
        assert!(follow(&base, Some(base.clone())).is_err());
    }

    proptest! {
        #[test]
        fn any_link_is_survived(header in "[<>;=\", a-z/:ä]{0,80}") {
            let base = Url::parse("https://r.test/").unwrap();
            let _ = next_page(&base, &header);
        }
    }
}
