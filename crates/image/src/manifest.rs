//! Manifests and indexes, from bytes nobody vouches for.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde_json::Value;

use crate::error::cut;
use crate::media::{self, Kind};
use crate::{Error, digest, json};

/// A manifest or an index, in OCI's form or Docker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image for one platform (or an artifact: see its config's media type).
    Manifest(Box<ImageManifest>),
    /// A list of images for several platforms.
    Index(Box<ImageIndex>),
}

/// Parses a manifest or an index.
///
/// `media_type` is what the descriptor or the registry's `Content-Type` says; the document's own `mediaType`
/// must agree with it, and its shape with both.
///
/// # Errors
///
/// [`Error::Schema1`] for Docker's withdrawn format; [`Error::TooLarge`] above
/// [`MAX_DOCUMENT`](crate::json::MAX_DOCUMENT); [`Error::Invalid`] for a document that has both `layers` and `manifests`
/// (CVE-2021-41190) or contradicts its media type, for negative sizes and for sizes beyond 2^63; [`Error::Json`].
pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Document, Error> {
    let what = "manifest";
    let value = json::parse(bytes, what)?;
    let own = match value.get("mediaType") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(Error::invalid(what, "its mediaType is not a string")),
    };
    // Servers also say "application/json" or add parameters; only types that mean something count.
    let announced = media_type
        .map(|text| text.split(';').next().unwrap_or_default().trim())
        .filter(|text| media::kind(text) != Kind::Other);
    let own_kind = own.map(media::kind);
    if value.get("schemaVersion") == Some(&Value::from(1))
        || own_kind == Some(Kind::Schema1)
        || announced.map(media::kind) == Some(Kind::Schema1)
    {
        return Err(Error::Schema1);
    }
    if let (Some(own), Some(announced)) = (own, announced)
        && own != announced
    {
        return Err(Error::invalid(
            what,
            format!(
                "it was announced as {announced:?} and calls itself {:?}",
                cut(own)
            ),
        ));
    }
    let has = |key: &str| value.get(key).is_some_and(|value| !value.is_null());
    let is_index = has("manifests");
    if is_index && (has("layers") || has("config")) {
        return Err(Error::invalid(
            what,
            "it has both the fields of a manifest and those of an index, and so no single meaning",
        ));
    }
    if has("fsLayers") || has("history") {
        return Err(Error::invalid(what, "it has fields of a schema 1 manifest"));
    }
    let kind = announced
        .map(media::kind)
        .or(own_kind.filter(|kind| *kind != Kind::Other));
    match (kind, is_index) {
        (Some(Kind::Manifest), true) => Err(Error::invalid(
            what,
            "its media type is a manifest's and its content an index",
        )),
        (Some(Kind::Index), false) => Err(Error::invalid(
            what,
            "its media type is an index's but it lists no manifests",
        )),
        (None, _) if own.is_some() => Err(Error::invalid(
            what,
            format!(
                "{:?} is no media type of a manifest",
                cut(own.unwrap_or_default())
            ),
        )),
        (_, true) => index(value),
        (_, false) => manifest(value),
    }
}

fn manifest(value: Value) -> Result<Document, Error> {
    let what = "manifest";
    let value = without_nulls(value);
    if value.get("config").is_none() || value.get("layers").is_none() {
        return Err(Error::invalid(
            what,
            "it has neither config and layers nor manifests",
        ));
    }
    let manifest: ImageManifest = serde_json::from_value(value).map_err(Error::json(what))?;
    check_version(manifest.schema_version(), what)?;
    let total = std::iter::once(manifest.config())
        .chain(manifest.layers())
        .map(check_descriptor);
    sum(total, what)?;
    Ok(Document::Manifest(Box::new(manifest)))
}

fn index(value: Value) -> Result<Document, Error> {
    let what = "image index";
    let index: ImageIndex =
        serde_json::from_value(without_nulls(value)).map_err(Error::json(what))?;
    check_version(index.schema_version(), what)?;
    sum(index.manifests().iter().map(check_descriptor), what)?;
    Ok(Document::Index(Box::new(index)))
}

/// Go writes `null` where it means "nothing"; `oci-spec` wants the key absent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn check_version(version: u32, what: &str) -> Result<(), Error> {
    if version == 2 {
        Ok(())
    } else {
        Err(Error::invalid(
            what,
            format!("schemaVersion is {version}, not 2"),
        ))
    }
}

/// Checks what a descriptor says about itself, and returns its size.
pub(crate) fn check_descriptor(descriptor: &Descriptor) -> Result<u64, Error> {
    digest::check(descriptor.digest())?;
    // Sizes are int64 in the specification, and no file is larger.
    i64::try_from(descriptor.size()).map_err(|_| {
        Error::invalid(
            "descriptor",
            format!("{} bytes is an impossible size", descriptor.size()),
        )
    })?;
    Ok(descriptor.size())
}

fn sum(sizes: impl Iterator<Item = Result<u64, Error>>, what: &str) -> Result<u64, Error> {
    let mut total: u64 = 0;
    for size in sizes {
        total = total
            .checked_add(size?)
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(|| Error::invalid(what, "its sizes add up to an impossible number"))?;
    }
    Ok(total)
}

/// The media type to give a document in a descriptor: its own, or the one its form implies.
pub fn media_type(document: &Document) -> MediaType {
    // OCI documents may leave their media type out, Docker's may not.
    match document {
        Document::Manifest(manifest) => manifest
            .media_type()
            .clone()
            .unwrap_or(MediaType::ImageManifest),
        Document::Index(index) => index.media_type().clone().unwrap_or(MediaType::ImageIndex),
    }
}

/// Everything a document refers to: config, layers, or manifests.
pub fn children(document: &Document) -> Vec<&Descriptor> {
    match document {
        Document::Manifest(manifest) => std::iter::once(manifest.config())
            .chain(manifest.layers())
            .collect(),
        Document::Index(index) => index.manifests().iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn descriptor(media_type: &str, size: i64) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", "a".repeat(64)), "size": size})
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", 2),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 3)],
        })
    }

    fn with(mut value: Value, key: &str, new: Value) -> Value {
        value[key] = new;
        value
    }

    fn check(value: &Value, media_type: Option<&str>) -> Result<Document, Error> {
        parse(&serde_json::to_vec(value).unwrap(), media_type)
    }

    #[test]
    fn accepted() {
        let oci = "application/vnd.oci.image.manifest.v1+json";
        assert!(matches!(
            check(&image(), Some(oci)),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(
            check(&image(), Some("application/json")),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(check(&image(), None), Ok(Document::Manifest(_))));
        assert!(check(&with(image(), "mediaType", Value::Null), Some(oci)).is_ok());
        assert!(check(&with(image(), "annotations", Value::Null), None).is_ok());
        let docker = with(image(), "mediaType", media::DOCKER_MANIFEST.into());
        assert!(
            check(
                &docker,
                Some(&format!("{}; charset=utf-8", media::DOCKER_MANIFEST))
            )
            .is_ok()
        );
        let index = json!({"schemaVersion": 2, "manifests": []});
        assert!(matches!(check(&index, None), Ok(Document::Index(_))));
        let list = with(index, "mediaType", media::DOCKER_MANIFEST_LIST.into());
        assert!(matches!(check(&list, None), Ok(Document::Index(_))));
    }

    #[test]
    fn refused() {
        let oci_index = "application/vnd.oci.image.index.v1+json";
        let reason = |value: Value, media_type: Option<&str>| {
            let error = check(&value, media_type).expect_err(&value.to_string());
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {}", cause.unwrap_or_default())
        };
        for (value, media_type, words) in [
            (
                with(image(), "manifests", json!([])),
                None,
                "no single meaning",
            ),
            (with(image(), "schemaVersion", json!(1)), None, "schema 1"),
            (
                image(),
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                "schema 1",
            ),
            (with(image(), "fsLayers", json!([])), None, "schema 1"),
            (with(image(), "schemaVersion", json!(3)), None, "not 2"),
            (image(), Some(oci_index), "announced as"),
            (
                with(image(), "mediaType", oci_index.into()),
                None,
                "lists no manifests",
            ),
            (
                with(image(), "mediaType", "text/html".into()),
                None,
                "no media type",
            ),
            (with(image(), "mediaType", json!(7)), None, "not a string"),
            (
                with(image(), "layers", json!([descriptor("x", -1)])),
                None,
                "invalid value: integer `-1`",
            ),
            (
                with(image(), "layers", json!([descriptor("x", i64::MAX)])),
                None,
                "impossible number",
            ),
            (with(image(), "layers", Value::Null), None, "neither"),
            (
                with(image(), "config", descriptor("x", 1)["nothing"].clone()),
                None,
                "neither",
            ),
            (json!({"schemaVersion": 2}), None, "neither"),
            (json!([]), None, "not a JSON object"),
        ] {
            let text = reason(value, media_type);
            assert!(text.contains(words), "{text:?} lacks {words:?}");
        }
        let mut huge = image();
        huge["layers"][0]["size"] = json!(u64::MAX);
        assert!(reason(huge, None).contains("impossible size"));
        let mut path = image();
        path["layers"][0]["digest"] = json!("../../etc:passwd");
        assert!(check(&path, None).is_err());
        let mut unknown = image();
        unknown["config"]["digest"] = json!("foo:bar");
        assert!(matches!(
            check(&unknown, None),
            Err(Error::InvalidDigest { .. })
        ));
        let long = vec![b' '; json::MAX_DOCUMENT as usize + 1];
        assert!(matches!(parse(&long, None), Err(Error::TooLarge { .. })));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            "[a-z:/.+0-9]{0,20}".prop_map(Value::from),
            Just(json!("application/vnd.oci.image.manifest.v1+json")),
            Just(json!(format!("sha256:{}", "a".repeat(64)))),
        ];
        let key = prop::sample::select(vec![
            "schemaVersion",
            "mediaType",
            "config",
            "layers",
            "manifests",
            "digest",
            "size",
            "platform",
            "os",
            "architecture",
            "annotations",
            "subject",
            "fsLayers",
        ]);
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..7).prop_map(|map| map
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics_on_json(value in any_json()) {
            let _ = check(&value, None);
            let _ = check(&value, Some("application/vnd.oci.image.index.v1+json"));
        }

        #[test]
        fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, None);
        }
    }
}
