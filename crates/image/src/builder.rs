//! Making images: a config and layer tars in, an image in the store out, the same bytes for the same input.

use std::io::{self, BufWriter, Read, Write};

use oci_spec::distribution::Reference;
use oci_spec::image::{
    Config, Descriptor, Digest, History, HistoryBuilder, ImageConfiguration, ImageManifestBuilder,
    MediaType, Platform, RootFs,
};

use crate::compression::Compressor;
use crate::config::{self, DockerConfig};
use crate::digest::Hasher;
use crate::{Compression, Error, Image, Ingest, Store, compress, decompress, json, media};

/// Builds one image.
///
/// Nothing depends on the clock, the host or the order of a hash map: [`created`](ImageBuilder::created) is the Unix
/// epoch unless set.
///
/// ```
/// use orlop_image::{Store, builder::ImageBuilder, platform, reference};
///
/// # let dir = tempfile::tempdir()?;
/// # let store = Store::open(&dir.path().join("images"))?;
/// let layer = tar::Builder::new(Vec::new()).into_inner()?;
/// ImageBuilder::new(platform::host())
///     .layer("an empty layer", &layer[..])
///     .entrypoint(["/hello"])
///     .env(["PATH=/"])
///     .commit(&store, Some(&reference::parse("localhost/hello")?))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an image builder does nothing until commit"]
pub struct ImageBuilder<'a> {
    platform: Platform,
    created: i64,
    author: Option<String>,
    config: Config,
    docker: DockerConfig,
    compression: Compression,
    layers: Vec<Source<'a>>,
    history: Vec<History>,
}

enum Source<'a> {
    Present(Box<Descriptor>, Digest),
    Tar(Box<dyn Read + 'a>),
}

impl std::fmt::Debug for ImageBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageBuilder")
            .field("config", &self.config)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl<'a> ImageBuilder<'a> {
    /// An image without layers and settings.
    pub fn new(platform: Platform) -> ImageBuilder<'a> {
        ImageBuilder {
            platform,
            created: 0,
            author: None,
            config: Config::default(),
            docker: DockerConfig::default(),
            compression: Compression::default(),
            layers: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Starts from another image of the same store: its layers, config and history.
    pub fn from_image(image: &Image) -> ImageBuilder<'a> {
        ImageBuilder {
            author: image.config().author().clone(),
            config: image.config().config().clone().unwrap_or_default(),
            docker: image.docker().clone(),
            layers: image
                .layers()
                .iter()
                .map(|layer| {
                    Source::Present(Box::new(layer.descriptor.clone()), layer.diff_id.clone())
                })
                .collect(),
            history: image.config().history().clone().unwrap_or_default(),
            ..ImageBuilder::new(image.platform())
        }
    }

    /// The time of creation, in seconds since the Unix epoch.
    pub fn created(mut self, seconds: i64) -> Self {
        self.created = seconds;
        self
    }

    /// Who made it.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// How further layers are packed.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The whole run configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The settings only Docker knows.
    pub fn docker(mut self, docker: DockerConfig) -> Self {
        self.docker = docker;
        self
    }

    /// The program and its first arguments.
    pub fn entrypoint<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.config
            .set_entrypoint(Some(arguments.into_iter().map(Into::into).collect()));
        self
    }

    /// The default arguments, or the program where there is no entry point.
    pub fn command<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.config
            .set_cmd(Some(arguments.into_iter().map(Into::into).collect()));
        self
    }

    /// The environment, as `NAME=value`.
    pub fn env<S: Into<String>>(mut self, variables: impl IntoIterator<Item = S>) -> Self {
        self.config
            .set_env(Some(variables.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a layer: a tar, plain or packed (then it is unpacked first), read by [`commit`](ImageBuilder::commit).
    pub fn layer(mut self, created_by: &str, tar: impl Read + 'a) -> Self {
        self.layers.push(Source::Tar(Box::new(tar)));
        self.push_history(created_by, false)
    }

    /// Adds a layer that is in the store, as [`LayerWriter::finish`] gave it.
    pub fn stored_layer(mut self, created_by: &str, blob: Descriptor, diff_id: Digest) -> Self {
        self.layers.push(Source::Present(Box::new(blob), diff_id));
        self.push_history(created_by, false)
    }

    /// Notes a step that made no layer.
    pub fn note(self, created_by: &str) -> Self {
        self.push_history(created_by, true)
    }

    fn push_history(mut self, created_by: &str, empty: bool) -> Self {
        let mut history = HistoryBuilder::default()
            .created_by(created_by)
            .created(rfc3339(self.created));
        if empty {
            history = history.empty_layer(true);
        }
        // All fields of the builder are optional.
        self.history.extend(history.build().ok());
        self
    }

    /// Writes layers, config and manifest to the store, and tags the image.
    ///
    /// # Errors
    ///
    /// Those of reading the layers and of writing to the store.
    pub fn commit(self, store: &Store, name: Option<&Reference>) -> Result<Descriptor, Error> {
        let mut blobs = Vec::with_capacity(self.layers.len());
        let mut diff_ids = Vec::with_capacity(self.layers.len());
        for source in self.layers {
            let (blob, diff_id) = match source {
                Source::Present(blob, diff_id) => {
                    if !store.keep(blob.digest())? {
                        return Err(Error::BlobMissing {
                            digest: blob.digest().clone(),
                        });
                    }
                    (*blob, diff_id)
                }
                Source::Tar(reader) => {
                    let mut writer = LayerWriter::new(store, self.compression)?;
                    copy(&mut decompress(reader)?, &mut writer, "a layer")?;
                    writer.finish()?
                }
            };
            blobs.push(blob);
            diff_ids.push(diff_id.to_string());
        }
        let mut config = ImageConfiguration::default();
        config.set_created(Some(rfc3339(self.created)));
        config.set_author(self.author);
        config.set_os(self.platform.os().clone());
        config.set_architecture(self.platform.architecture().clone());
        config.set_variant(self.platform.variant().clone());
        config.set_config(Some(self.config));
        let mut rootfs = RootFs::default();
        rootfs.set_typ("layers".to_owned());
        rootfs.set_diff_ids(diff_ids);
        config.set_rootfs(rootfs);
        config.set_history(Some(self.history));
        let config = config::to_bytes(&config, &self.docker)?;
        let config = store.put(MediaType::ImageConfig, &config)?;
        let descriptor = store.put(MediaType::ImageManifest, &manifest_bytes(config, blobs)?)?;
        if let Some(name) = name {
            store.tag(name, &descriptor)?;
        }
        Ok(descriptor)
    }
}

/// The OCI manifest that joins a config with layers.
pub(crate) fn manifest_bytes(
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Vec<u8>, Error> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .build()
        .map_err(|error| Error::invalid("manifest", error.to_string()))?;
    json::canonical(&manifest, "manifest")
}

/// Takes a plain layer tar and stores it packed, with both its digests computed on the way.
#[must_use = "a layer that is not finished leaves nothing"]
#[derive(Debug)]
pub struct LayerWriter {
    packed: Compressor<BufWriter<Ingest>>,
    diff_id: Hasher,
    compression: Compression,
}

impl LayerWriter {
    /// Begins a layer.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn new(store: &Store, compression: Compression) -> Result<LayerWriter, Error> {
        let blob = BufWriter::with_capacity(64 << 10, store.ingest(None)?);
        Ok(LayerWriter {
            packed: compress(blob, compression)?,
            diff_id: Hasher::default(),
            compression,
        })
    }

    /// Ends the layer. Gives its blob, and the digest of the plain tar.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn finish(self) -> Result<(Descriptor, Digest), Error> {
        let ingest = self
            .packed
            .finish()?
            .into_inner()
            .map_err(|error| Error::write("a layer")(error.into_error()))?;
        let (digest, size) = ingest.commit()?;
        Ok((
            Descriptor::new(media::layer(self.compression), size, digest),
            self.diff_id.finish(),
        ))
    }
}

impl Write for LayerWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.packed.write(buf)?;
        self.diff_id.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.packed.flush()
    }
}

/// Copies, telling errors of the reader from those of the writer.
pub(crate) fn copy(
    reader: &mut impl Read,
    writer: &mut impl Write,
    what: &str,
) -> Result<u64, Error> {
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                writer.write_all(&buffer[..n]).map_err(Error::write(what))?;
                total += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::read(what)(error)),
        }
    }
}

/// Seconds since the Unix epoch as RFC 3339 in UTC, with the year kept within its four digits.
pub(crate) fn rfc3339(seconds: i64) -> String {
    // 0000-01-01 and 9999-12-31T23:59:59.
    let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years that begin in March, eras of 400.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let digests: Vec<Digest> = (0..2)
            .map(|_| {
                let dir = tempfile::tempdir().unwrap();
                let store = Store::open(&dir.path().join("s")).unwrap();
                let mut config = Config::default();
                config.set_labels(Some(
                    (0..30).map(|i| (format!("k{i}"), i.to_string())).collect(),
                ));
                let descriptor = ImageBuilder::new(crate::platform::new("linux", "amd64", None))
                    .config(config)
                    .created(1_700_000_000)
                    .layer("one", &[0_u8; 1024][..])
                    .note("two")
                    .commit(&store, None)
                    .unwrap();
                descriptor.digest().clone()
            })
            .collect();
        assert_eq!(digests[0], digests[1]);
    }
}
