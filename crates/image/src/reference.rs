//! Names of images. The type is [`oci_spec::distribution::Reference`]; this module holds Docker's rules around it.

use oci_spec::distribution::Reference;

use crate::error::cut;
use crate::{Error, digest};

/// Parses a name by Docker's rules: `busybox` means `docker.io/library/busybox:latest`.
///
/// ```
/// let name = orlop_image::reference::parse("busybox")?;
/// assert_eq!(name.to_string(), "docker.io/library/busybox:latest");
/// assert_eq!(orlop_image::reference::familiar(&name), "busybox:latest");
/// # Ok::<(), orlop_image::Error>(())
/// ```
///
/// A name of 64 hexadecimal digits is an image id to Docker and is refused.
///
/// # Errors
///
/// [`Error::InvalidReference`], or [`Error::InvalidDigest`] for the part after `@`.
pub fn parse(text: &str) -> Result<Reference, Error> {
    use oci_spec::distribution::ParseError;
    let invalid = |source| Error::InvalidReference {
        text: cut(text),
        source,
    };
    // The longest legal reference is far shorter; the expression need not see more.
    if text.len() > 1024 {
        return Err(invalid(ParseError::NameTooLong));
    }
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(invalid(ParseError::ReferenceInvalidFormat));
    }
    if let Some(reference) = plain(text) {
        return Ok(reference);
    }
    let reference = Reference::try_from(text).map_err(|error| {
        // The expression refuses capital letters without saying so.
        let name = text.split(['@']).next().unwrap_or(text);
        let repository = match name.rfind(':') {
            Some(colon) if !name[colon..].contains('/') => &name[..colon],
            _ => name,
        };
        match error {
            ParseError::ReferenceInvalidFormat
                if Reference::try_from(repository.to_lowercase().as_str()).is_ok()
                    && repository.chars().any(char::is_uppercase) =>
            {
                invalid(ParseError::NameContainsUppercase)
            }
            error => invalid(error),
        }
    })?;
    if let Some(text) = reference.digest() {
        digest::parse(text)?;
    }
    Ok(reference)
}

/// Names as nearly all are, read by hand: a part of the grammar, to the letter. To make the expression of the whole takes
/// longer than to start a container. What is not surely right is left to it.
fn plain(text: &str) -> Option<Reference> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:")?;
        let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != 64 || !hex.bytes().all(lower) {
            return None;
        }
    }
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if name.len() > 200 || !tag.is_none_or(is_tag) {
        return None;
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (is_domain(first).then_some(first)?, rest)
        }
        _ => ("docker.io", name),
    };
    if !path.split('/').all(is_component) {
        return None;
    }
    let domain = if domain == "index.docker.io" {
        "docker.io"
    } else {
        domain
    };
    let path = match (domain, path.contains('/')) {
        ("docker.io", false) => format!("library/{path}"),
        _ => path.to_owned(),
    };
    let (domain, tag) = (domain.to_owned(), tag.map(str::to_owned));
    Some(match (tag, digest.map(str::to_owned)) {
        (Some(tag), Some(digest)) => Reference::with_tag_and_digest(domain, path, tag, digest),
        (None, Some(digest)) => Reference::with_digest(domain, path, digest),
        (tag, None) => Reference::with_tag(domain, path, tag.unwrap_or_else(|| "latest".into())),
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// A host of dotted labels, and a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits, with single separators between them.
fn is_component(text: &str) -> bool {
    text.split(['.', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// The short form people type and `docker images` prints: without `docker.io/` and `library/`.
///
/// A tag or digest is kept. [`parse`] of the result gives the same reference.
pub fn familiar(name: &Reference) -> String {
    let mut text = familiar_repository(name);
    if let Some(tag) = name.tag() {
        text.push(':');
        text.push_str(tag);
    }
    if let Some(digest) = name.digest() {
        text.push('@');
        text.push_str(digest);
    }
    text
}

/// The repository's short form: `busybox`, `user/tool`, `registry.example/team/tool`.
pub fn familiar_repository(name: &Reference) -> String {
    match (name.registry(), name.repository()) {
        ("docker.io", repository) => match repository.strip_prefix("library/") {
            // `docker.io/library/localhost/x` must not become `localhost/x`, a registry's name.
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => repository.to_owned(),
        },
        (registry, repository) => format!("{registry}/{repository}"),
    }
}

/// The full repository without tag and digest: `docker.io/library/busybox`.
pub fn repository(name: &Reference) -> String {
    format!("{}/{}", name.registry(), name.repository())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn docker_normalisation() {
        let digest = format!("sha256:{}", "f".repeat(64));
        for (text, full, short) in [
            (
                "busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "busybox:1.36",
                "docker.io/library/busybox:1.36",
                "busybox:1.36",
            ),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "index.docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "user/tool",
                "docker.io/user/tool:latest",
                "user/tool:latest",
            ),
            (
                "localhost/hello",
                "localhost/hello:latest",
                "localhost/hello:latest",
            ),
            (
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
            ),
            ("ghcr.io/x/y", "ghcr.io/x/y:latest", "ghcr.io/x/y:latest"),
            (
                "test.com:5000",
                "docker.io/library/test.com:5000",
                "test.com:5000",
            ),
            (
                &format!("busybox@{digest}"),
                &format!("docker.io/library/busybox@{digest}"),
                &format!("busybox@{digest}"),
            ),
            (
                &format!("busybox:1@{digest}"),
                &format!("docker.io/library/busybox:1@{digest}"),
                &format!("busybox:1@{digest}"),
            ),
        ] {
            let name = parse(text).expect(text);
            assert_eq!(name.to_string(), full);
            assert_eq!(familiar(&name), short);
        }
    }

    #[test]
    fn usual_names_need_no_expression() {
        let digest = "0".repeat(64);
        for text in [
            "hello",
            "busybox:1.36",
            "user/tool",
            "localhost:5000/a/b_c:v1-2",
            "ghcr.io/x/y",
            "docker.io/library/debian:bookworm-slim",
            &format!("unnamed.example/image@sha256:{digest}"),
            &format!("busybox:1@sha256:{digest}"),
        ] {
            assert_eq!(plain(text), Reference::try_from(text).ok(), "{text}");
            assert!(plain(text).is_some(), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            ":latest",
            "a/../b",
            "/a",
            "a//b",
            "-a",
            "a:",
            "a b",
            "a:b:c",
            "a@sha256:00",
            &"0".repeat(64),
            &"a".repeat(300),
            &"a/".repeat(3000),
            "a@md5:00000000000000000000000000000000",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
        let error = parse("Busybox").unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("repository name must be lowercase"));
    }

    proptest! {
        #[test]
        fn familiar_is_the_inverse_of_parse(text in "([a-z]{1,5}(\\.[a-z]{1,3})?(:[0-9]{1,4})?/)?([a-z0-9]{1,5}/){0,2}[a-z0-9]{1,8}(:[A-Za-z0-9_.-]{1,8})?") {
            if let Ok(name) = parse(&text) {
                prop_assert_eq!(parse(&familiar(&name)).unwrap().to_string(), name.to_string());
            }
        }

        #[test]
        fn what_is_read_by_hand_is_what_the_grammar_says(text in "([a-zA-Z0-9-]{0,3}[.:]?[a-z0-9-]{0,3}(:[0-9]{0,4})?/)?([a-z0-9A._-]{0,6}/){0,2}[a-z0-9._-]{0,6}(:[A-Za-z0-9_./-]{0,4})?(@sha256:[0-9a-f]{64})?") {
            if let Some(name) = plain(&text) {
                prop_assert_eq!(Ok(name), Reference::try_from(text.as_str()));
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}
