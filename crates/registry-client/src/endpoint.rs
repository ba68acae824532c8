//! Where a reference leads: host, scheme, URLs; and which hosts must not be led to.

use std::net::{IpAddr, Ipv4Addr};

use oci_spec::distribution::Reference;
use oci_spec::image::Digest;
use url::{Host, Url};

use crate::error::{Cause, Error, Place};
use crate::operation::Operation;

/// Docker Hub's API answers under another name than the one in references.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// Which registries may be spoken to without TLS. HTTPS is always tried first; a certificate that
/// does not verify is an error and never a reason to go on without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PlainHttp {
    /// None.
    Never,
    /// Those on loopback (`localhost`, `127.0.0.0/8`, `::1`), as with Docker.
    #[default]
    Loopback,
    /// Those on loopback and the ones named, each as `host` or `host:port`.
    Hosts(Vec<String>),
}

impl PlainHttp {
    pub(crate) fn allows(&self, host: &str) -> bool {
        let listed = match self {
            Self::Never => return false,
            Self::Loopback => false,
            Self::Hosts(hosts) => {
                let name = split_port(host).0;
                hosts
                    .iter()
                    .any(|h| h.eq_ignore_ascii_case(host) || h.eq_ignore_ascii_case(name))
            }
        };
        listed || base_url("http", host).is_ok_and(|url| is_loopback(&url))
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            (name, Some(port))
        }
        _ => (host, None),
    }
}

/// A registry that has answered.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// `scheme://host:port/`
    pub(crate) base: Url,
}

impl Endpoint {
    pub(crate) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// `path` must be made of checked parts only.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Cause> {
        self.base.join(path).map_err(|e| Cause::InvalidSource {
            what: "building a URL",
            source: e.into(),
        })
    }
}

/// A checked reference: what a request is about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) place: Place,
    /// The host to contact, with its port if one was given.
    pub(crate) host: String,
    pub(crate) repository: String,
}

impl Target {
    pub(crate) fn new(reference: &Reference) -> Result<Self, Error> {
        let repository = reference.repository();
        let target = Self::registry(reference.registry(), Some(repository))?;
        check_repository(repository).map_err(|cause| target.error(cause, &Operation::Prepare))?;
        Ok(target)
    }

    pub(crate) fn registry(registry: &str, repository: Option<&str>) -> Result<Self, Error> {
        let host = if registry == DOCKER_HUB {
            DOCKER_HUB_API
        } else {
            registry
        };
        let target = Self {
            place: Place {
                registry: registry.to_owned(),
                repository: repository.map(Into::into),
            },
            host: host.to_owned(),
            repository: repository.unwrap_or_default().to_owned(),
        };
        base_url("https", host).map_err(|cause| target.error(cause, &Operation::Prepare))?;
        Ok(target)
    }

    pub(crate) fn error(&self, cause: Cause, operation: &Operation) -> Error {
        cause.at(&self.place, operation)
    }
}

pub(crate) fn base_url(scheme: &str, host: &str) -> Result<Url, Cause> {
    let refuse = || Cause::Invalid(format!("{host:?} is not a registry's host name"));
    let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| refuse())?;
    let clean = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.host().is_some()
        && !host.contains(['/', '\\', '@', '?', '#', '%'])
        && !host.contains(char::is_whitespace);
    if clean { Ok(url) } else { Err(refuse()) }
}

/// The repository grammar's essence: it cannot leave its place in a URL's path.
pub(crate) fn check_repository(name: &str) -> Result<(), Cause> {
    let good = !name.is_empty()
        && name.len() <= 255
        && name.split('/').all(|part| {
            part.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
                && part
                    .bytes()
                    .next()
                    .is_some_and(|b| b.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .last()
                    .is_some_and(|b| b.is_ascii_alphanumeric())
        });
    if good {
        Ok(())
    } else {
        Err(Cause::Invalid(format!(
            "{name:?} is not a repository's name"
        )))
    }
}

pub(crate) fn check_tag(tag: &str) -> Result<(), Cause> {
    let good = !tag.is_empty()
        && tag.len() <= 128
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        Ok(())
    } else {
        Err(Cause::Invalid(format!("{tag:?} is not a tag")))
    }
}

/// How a manifest is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    Tag(String),
    Digest(Digest),
}

impl Selector {
    /// The digest wins over the tag.
    pub(crate) fn of(reference: &Reference) -> Result<Self, Cause> {
        if let Some(digest) = reference.digest() {
            let digest = digest.parse::<Digest>().map_err(|e| Cause::InvalidSource {
                what: "reading the reference's digest",
                source: e.into(),
            })?;
            return Ok(Self::Digest(digest));
        }
        let tag = reference.tag().unwrap_or("latest");
        check_tag(tag)?;
        Ok(Self::Tag(tag.to_owned()))
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_ref(),
        }
    }
}

pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost")
                || name.to_ascii_lowercase().ends_with(".localhost")
        }
        None => false,
    }
}

fn is_internal(url: &Url) -> bool {
    let v4 = |ip: Ipv4Addr| ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
    is_loopback(url)
        || match url.host() {
            Some(Host::Ipv4(ip)) => v4(ip),
            Some(Host::Ipv6(ip)) => match IpAddr::V6(ip).to_canonical() {
                IpAddr::V4(ip) => v4(ip),
                IpAddr::V6(ip) => ip.is_unspecified() || ip.is_unicast_link_local(),
            },
            _ => false,
        }
}

/// Whether a registry at `from` may send this client on to `to`: never from HTTPS to HTTP, never to
/// this machine or its link (a metadata service) unless the registry itself is there.
pub(crate) fn check_onward(from: &Url, to: &Url, what: &str) -> Result<(), Cause> {
    let shown = || origin_text(to);
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, "http") => {
            return Err(Cause::Protocol(format!(
                "{what} leads from HTTPS to {}",
                shown()
            )));
        }
        (_, other) => {
            return Err(Cause::Protocol(format!("{what} has the scheme {other}")));
        }
    }
    if to.host().is_none() || !to.username().is_empty() || to.password().is_some() {
        return Err(Cause::Protocol(format!("{what} is not a usable address")));
    }
    if is_internal(to) && from.host() != to.host() && !is_internal(from) {
        return Err(Cause::Protocol(format!(
            "{what} leads to an address of this machine: {}",
            shown()
        )));
    }
    Ok(())
}

/// `scheme://host:port`, without a path that may hold a signature.
pub(crate) fn origin_text(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_loopback_and_the_listed() {
        let listed = PlainHttp::Hosts(vec!["plain.test".into(), "other.test:5000".into()]);
        for (policy, host, expected) in [
            (&PlainHttp::Loopback, "localhost", true),
            (&PlainHttp::Loopback, "localhost:5000", true),
            (&PlainHttp::Loopback, "127.8.9.1:5000", true),
            (&PlainHttp::Loopback, "[::1]:5000", true),
            (&PlainHttp::Loopback, "128.0.0.1:5000", false),
            (&PlainHttp::Loopback, "localhost.evil.test", false),
            (&PlainHttp::Loopback, "plain.test", false),
            (&PlainHttp::Never, "localhost:5000", false),
            (&listed, "plain.test:81", true),
            (&listed, "other.test:5000", true),
            (&listed, "other.test:5001", false),
            (&listed, "127.0.0.1:1", true),
        ] {
            assert_eq!(policy.allows(host), expected, "{policy:?} {host}");
        }
    }

    #[test]
    fn onward() {
        for (from, to, good) in [
            ("https://r.test/", "https://cdn.test/x", true),
            ("https://r.test/", "http://cdn.test/x", false),
            ("http://r.test/", "http://cdn.test/x", true),
            ("https://r.test/", "https://169.254.169.254/latest", false),
            ("https://r.test/", "https://127.0.0.1/", false),
            ("https://r.test/", "https://localhost/", false),
            ("https://r.test/", "https://[::ffff:127.0.0.1]/", false),
            ("https://r.test/", "https://[fe80::1]/", false),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/", true),
            ("https://r.test/", "file:///etc/passwd", false),
            ("https://r.test/", "https://user:pw@cdn.test/", false),
        ] {
            assert_eq!(
                check_onward(&url(from), &url(to), "it").is_ok(),
                good,
                "{from} {to}"
            );
        }
    }

    #[test]
    fn hostile_names() {
        for host in [
            "",
            "a/b",
            "user@host",
            "host?x",
            "host#x",
            "a b",
            "host:port",
            "%2e",
            "a\\b",
            "[::1",
        ] {
            assert!(base_url("https", host).is_err(), "{host}");
        }
        for name in [
            "", "..", "a/../b", "a//b", "/a", "a/", "A", "a b", "a?b", "a%2fb", "-a", "a/.b",
        ] {
            assert!(check_repository(name).is_err(), "{name}");
        }
        for name in ["a", "library/busybox", "a/b__c/d-e.f", "0/1"] {
            assert!(check_repository(name).is_ok(), "{name}");
        }
        for tag in ["", ".a", "-a", "a/b", "a:b", "ä", &"a".repeat(129)] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn a_reference_stays_in_its_path(registry in "\\PC{0,30}", repository in "\\PC{0,30}", tag in "\\PC{0,20}") {
            let reference = Reference::with_tag(registry, repository.clone(), tag);
            if let (Ok(target), Ok(selector)) = (Target::new(&reference), Selector::of(&reference)) {
                let base = base_url("https", &target.host).unwrap();
                let url = Endpoint { base: base.clone() }
                    .url(&format!("v2/{}/manifests/{}", target.repository, selector.text())).unwrap();
                prop_assert!(same_origin(&base, &url));
                prop_assert_eq!(url.path(), format!("/v2/{repository}/manifests/{}", selector.text()));
            }
        }
    }
}
