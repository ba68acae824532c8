//! Images from files and into files: `docker load`, `docker save` and `docker import`.

use std::io::{Read, Write};
use std::path::Path;

use orlop_image::{Config, Export, LoadOptions, Loaded, Reference, Store, platform, reference};

use crate::changes;
use crate::engine::Engine;
use crate::error::Error;
use crate::images::{is_unnamed, present_image};
use crate::name;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: String,
    /// The names it has from the archive, as people write them.
    pub names: Vec<String>,
}

/// How a root file system becomes an image.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The image's name; without one it is known by its id.
    pub name: Option<String>,
    /// Dockerfile lines that configure it: see [`change`](crate::change).
    pub changes: Vec<String>,
    /// A comment in its history.
    pub comment: Option<String>,
    /// `os/arch[/variant]`; the host's own when absent.
    pub platform: Option<String>,
}

impl Engine {
    /// Loads all images of an archive (`docker save`, OCI, plain or packed), unpacks them and names them as it says.
    ///
    /// # Errors
    /// Those of a truncated or lying archive, and the stores'. An archive that fails leaves nothing.
    pub fn load(&self, archive: impl Read) -> Result<Vec<LoadedImage>, Error> {
        self.load_by("the archive", |store, options| {
            orlop_image::load(archive, store, options)
        })
    }

    /// Loads from a path: an archive, or the directory of an OCI layout.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn load_path(&self, path: &Path) -> Result<Vec<LoadedImage>, Error> {
        let what = path.display().to_string();
        self.load_by(&what, |store, options| {
            orlop_image::load_path(path, store, options)
        })
    }

    fn load_by(
        &self,
        what: &str,
        load: impl FnOnce(&Store, &LoadOptions) -> Result<Vec<Loaded>, orlop_image::Error>,
    ) -> Result<Vec<LoadedImage>, Error> {
        let loaded = self.load_and_unpack(what, load);
        if loaded.is_err() {
            // The load's own error is what matters; what is left is found by the next collection.
            let _ = self.tidy();
        }
        loaded
    }

    fn load_and_unpack(
        &self,
        what: &str,
        load: impl FnOnce(&Store, &LoadOptions) -> Result<Vec<Loaded>, orlop_image::Error>,
    ) -> Result<Vec<LoadedImage>, Error> {
        let using = self.using()?;
        let lease = self
            .store()
            .lease()
            .map_err(Error::image("opening a lease on the image store"))?;
        let mut options = LoadOptions::default();
        options.tag = false;
        // Unpacking compares them.
        options.verify_diff_ids = false;
        let loading = || format!("loading {what}");
        let loaded = load(&lease, &options).map_err(Error::image(loading()))?;
        let mut images = Vec::new();
        for item in &loaded {
            let image =
                present_image(&lease, &item.descriptor, None).map_err(Error::image(loading()))?;
            self.images
                .unpack(&image)
                .map_err(Error::unpack(loading()))?;
            images.push(image.id().to_string());
        }
        drop(using);
        let mut named = Vec::new();
        for (item, id) in loaded.iter().zip(images) {
            // A name of the engine's own would bring the archive's author into the engine's affairs.
            let names: Vec<&Reference> =
                item.names.iter().filter(|name| !is_unnamed(name)).collect();
            for name in &names {
                self.give_name(name, &item.descriptor)?;
            }
            if names.is_empty() {
                self.keep_unnamed(&item.descriptor)?;
            }
            named.push(LoadedImage {
                id,
                names: names.into_iter().map(reference::familiar).collect(),
            });
        }
        Ok(named)
    }

    /// Writes images, by name or id, as one archive that Docker, podman and skopeo load.
    ///
    /// # Errors
    /// As [`Engine::find_image`]; those of the output.
    pub fn save(&self, names: &[String], out: impl Write) -> Result<(), Error> {
        let _using = self.using()?;
        let mut exports = Vec::new();
        for text in names {
            let found = self.find_image(text, None)?;
            // The platform that is here, whichever that is.
            let descriptor = found.image.descriptor().clone();
            let names = found
                .name
                .filter(|name| !is_unnamed(name))
                .into_iter()
                .collect();
            exports.push(Export { descriptor, names });
        }
        orlop_image::save(self.store(), &exports, &platform::host(), out)
            .map_err(Error::image(format!("saving {}", names.join(", "))))
    }

    /// Makes an image of a root file system's tar, plain or packed. Gives its id.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a change that is none, [`Error::Name`], those of the archive and of the stores.
    pub fn import(&self, tar: impl Read, options: &ImportOptions) -> Result<String, Error> {
        let wanted = match &options.platform {
            Some(text) => platform::parse(text)
                .map_err(|e| Error::invalid("platform", text, e.to_string()))?,
            None => platform::host(),
        };
        let name = options.name.as_deref().map(name::name).transpose()?;
        let mut config = Config::default();
        for line in &options.changes {
            changes::change(&mut config, line)?;
        }
        let mut import = orlop_image::ImportOptions::default();
        import.platform = wanted;
        import.config = config;
        import.created = jiff::Timestamp::now().as_second();
        import.comment = options
            .comment
            .clone()
            .unwrap_or_else(|| "Imported from a tar".to_owned());
        let imported = self.import_and_unpack(tar, import);
        if imported.is_err() {
            let _ = self.tidy();
        }
        let (id, target) = imported?;
        match name {
            Some(name) => self.give_name(&name, &target)?,
            None => self.keep_unnamed(&target)?,
        }
        Ok(id)
    }

    fn import_and_unpack(
        &self,
        tar: impl Read,
        options: orlop_image::ImportOptions,
    ) -> Result<(String, orlop_image::Descriptor), Error> {
        let _using = self.using()?;
        let importing = || "importing the root file system";
        let target =
            orlop_image::import(tar, self.store(), options).map_err(Error::image(importing()))?;
        let image =
            present_image(self.store(), &target, None).map_err(Error::image(importing()))?;
        self.images
            .unpack(&image)
            .map_err(Error::unpack(importing()))?;
        Ok((image.id().to_string(), target))
    }
}
