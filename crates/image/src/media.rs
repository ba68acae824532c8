//! Media types of OCI and of Docker, and what they mean.

use oci_spec::image::MediaType;

use crate::Error;
use crate::compression::Compression;
use crate::error::cut;

/// Docker's manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list, its name for an index.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// What a manifest's media type announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Index,
    Schema1,
    Other,
}

pub(crate) fn kind(media_type: &str) -> Kind {
    match media_type {
        DOCKER_MANIFEST => Kind::Manifest,
        DOCKER_MANIFEST_LIST => Kind::Index,
        other if other.starts_with(SCHEMA1) => Kind::Schema1,
        other => match MediaType::from(other) {
            MediaType::ImageManifest => Kind::Manifest,
            MediaType::ImageIndex => Kind::Index,
            _ => Kind::Other,
        },
    }
}

/// Whether a config of this media type belongs to a container image.
pub(crate) fn is_image_config(media_type: &MediaType) -> bool {
    // Docker 1.10 pushed configs as octet-stream.
    matches!(media_type, MediaType::ImageConfig)
        || matches!(
            media_type.as_ref(),
            DOCKER_CONFIG | "application/octet-stream"
        )
}

/// How a layer of this media type is compressed.
///
/// # Errors
///
/// [`Error::Unsupported`] for anything that is not a plain, gzip or zstd tar.
pub fn layer_compression(media_type: &MediaType) -> Result<Compression, Error> {
    match media_type {
        MediaType::ImageLayer | MediaType::ImageLayerNonDistributable => Ok(Compression::None),
        MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip => {
            Ok(Compression::Gzip)
        }
        MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd => {
            Ok(Compression::Zstd)
        }
        other => {
            let text = other.as_ref();
            let suffix = text
                .strip_prefix(DOCKER_LAYER)
                .or_else(|| text.strip_prefix(DOCKER_FOREIGN));
            match suffix {
                Some("") => Ok(Compression::None),
                Some(".gzip" | "+gzip") => Ok(Compression::Gzip),
                Some(".zstd" | "+zstd") => Ok(Compression::Zstd),
                _ => Err(Error::Unsupported {
                    what: format!("layer of media type {:?}", cut(text)),
                }),
            }
        }
    }
}

/// Whether a layer is one its vendor forbids to push elsewhere ("foreign", "non-distributable").
pub fn is_foreign_layer(media_type: &MediaType) -> bool {
    matches!(
        media_type,
        MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd
    ) || media_type.as_ref().starts_with(DOCKER_FOREIGN)
}

/// The OCI media type of a layer packed this way.
pub fn layer(compression: Compression) -> MediaType {
    match compression {
        Compression::None => MediaType::ImageLayer,
        Compression::Gzip => MediaType::ImageLayerGzip,
        Compression::Zstd => MediaType::ImageLayerZstd,
    }
}
