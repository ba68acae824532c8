//! How people name images: short names, digests, ids and their beginnings.

use orlop_image::{Digest, Reference, reference};

use crate::error::Error;

/// The shortest beginning of an id that is looked up as one.
const SHORTEST_ID: usize = 2;

/// What the text a user typed may mean, before the store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// Its reading as a name: `busybox` is `docker.io/library/busybox:latest`.
    pub(crate) name: Option<Reference>,
    /// Its reading as an id or the beginning of one: lower-case hexadecimal without `sha256:`.
    pub(crate) id: Option<String>,
}

impl Query {
    /// Reads `text` both ways. What is neither a name nor an id is an error.
    pub(crate) fn parse(text: &str) -> Result<Query, Error> {
        let id = id_prefix(text);
        // `sha256:abc…` would be a name with a tag to the grammar; nobody means that.
        let name = if text.starts_with("sha256:") && id.is_some() {
            Err(Error::invalid(
                "image name",
                text,
                "it is a digest without a repository",
            ))
        } else {
            name(text)
        };
        match (name, &id) {
            (Ok(name), _) => Ok(Query {
                name: Some(name),
                id,
            }),
            (Err(_), Some(_)) => Ok(Query { name: None, id }),
            (Err(error), None) => Err(error),
        }
    }

    /// Whether it may mean `id`.
    pub(crate) fn is_id(&self, id: &Digest) -> bool {
        self.id
            .as_ref()
            .is_some_and(|prefix| id.digest().starts_with(prefix.as_str()))
    }
}

/// Parses a name, `latest` when it has neither tag nor digest.
pub(crate) fn name(text: &str) -> Result<Reference, Error> {
    reference::parse(text).map_err(|source| Error::Name {
        name: text.to_owned(),
        source: Box::new(source),
    })
}

fn id_prefix(text: &str) -> Option<String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    (is_hex(hex) && (SHORTEST_ID..=64).contains(&hex.len())).then(|| hex.to_owned())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_and_names_are_told_apart() {
        let full = "a".repeat(64);
        for text in [full.clone(), format!("sha256:{full}")] {
            let query = Query::parse(&text).unwrap();
            assert_eq!(
                (query.name, query.id.as_deref()),
                (None, Some(full.as_str()))
            );
        }
        let query = Query::parse("sha256:abcd").unwrap();
        assert_eq!((query.name, query.id.as_deref()), (None, Some("abcd")));
        let query = Query::parse("deadbeef").unwrap();
        assert!(query.name.is_some() && query.id.is_some());
        let query = Query::parse("busybox").unwrap();
        assert!(query.name.is_some() && query.id.is_none());
    }

    #[test]
    fn bad_names_are_errors() {
        for text in [
            "",
            "Busybox",
            "foo/Bar:1",
            "a b",
            "../x",
            "x:",
            "x@sha256:12",
        ] {
            assert!(
                matches!(Query::parse(text), Err(Error::Name { .. })),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_query_or_an_error(text in "\\PC{0,80}") {
            if let Ok(query) = Query::parse(&text) {
                prop_assert!(query.name.is_some() || query.id.is_some());
            }
        }
    }
}
