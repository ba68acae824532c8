//! Images by name: finding, listing and naming them.

use std::collections::{BTreeMap, HashSet};

use orlop_image::{Descriptor, Digest, Image, Platform, Reference, Store, platform, reference};

use crate::engine::Engine;
use crate::error::Error;
use crate::hello;
use crate::name::{self, Query};

/// The repository of images that have no name: a name of the store's own that no registry can have.
const UNNAMED: &str = "unnamed.orlop.invalid";

/// An image that was asked for.
#[derive(Debug, Clone)]
pub struct Found {
    /// The image itself.
    pub image: Image,
    /// What its name leads to: its manifest, or the index it was chosen from.
    pub target: Descriptor,
    /// The name it was asked for by; none when that was an id.
    pub name: Option<Reference>,
}

/// One image, with all its names.
#[derive(Debug, Clone)]
pub struct ImageSummary {
    /// Its id: the digest of its config.
    pub id: Digest,
    /// The digest its names lead to: of its manifest, or of the index it was chosen from.
    pub digest: Digest,
    /// Its names, as people write them; empty for an image without one.
    pub names: Vec<String>,
    /// When it was made, in RFC 3339, if it says so.
    pub created: Option<String>,
    /// Bytes of its content in the store: layers as they came, config and manifest.
    pub size: u64,
    /// The platform it is for, as `os/arch[/variant]`.
    pub platform: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Finds an image by name, digest, id or the beginning of an id. `platform` chooses from a multi-platform image.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Ambiguous`], [`Error::Name`], or the store's.
    pub fn find_image(&self, text: &str, platform: Option<&str>) -> Result<Found, Error> {
        let wanted = platform
            .map(|text| {
                platform::parse(text).map_err(|e| Error::invalid("platform", text, e.to_string()))
            })
            .transpose()?;
        if let Some(found) = self.find_stored(text, wanted.as_ref())? {
            return Ok(found);
        }
        if self.bring_hello(text)?
            && let Some(found) = self.find_stored(text, wanted.as_ref())?
        {
            return Ok(found);
        }
        Err(Error::NoSuchImage {
            image: text.to_owned(),
        })
    }

    fn find_stored(&self, text: &str, wanted: Option<&Platform>) -> Result<Option<Found>, Error> {
        let query = Query::parse(text)?;
        if let Some(found) = query
            .name
            .as_ref()
            .and_then(|name| self.find_named(name, wanted).transpose())
        {
            return found.map(Some);
        }
        if query.id.is_none() {
            return Ok(None);
        }
        let mut found: Option<Found> = None;
        let mut ids = HashSet::new();
        for tag in self.tags()? {
            // A damaged image has no id to be found by.
            let Ok(image) = present_image(self.store(), &tag.descriptor, wanted) else {
                continue;
            };
            if (query.is_id(image.id())
                || query.is_id(tag.descriptor.digest())
                || query.is_id(image.digest()))
                && ids.insert(image.id().clone())
            {
                found = Some(Found {
                    image,
                    target: tag.descriptor,
                    name: None,
                });
            }
        }
        match ids.len() {
            0 | 1 => Ok(found),
            count => Err(Error::Ambiguous {
                prefix: text.to_owned(),
                count,
            }),
        }
    }

    /// Puts the embedded image into the store if `text` is its name. Whether it did.
    fn bring_hello(&self, text: &str) -> Result<bool, Error> {
        let bringing = || "bringing the embedded image into the store";
        if name::name(text).ok() != Some(hello::name().map_err(Error::image(bringing()))?) {
            return Ok(false);
        }
        let _using = self.using()?;
        hello::load(self.store()).map_err(Error::image(bringing()))?;
        Ok(true)
    }

    fn find_named(
        &self,
        name: &Reference,
        wanted: Option<&Platform>,
    ) -> Result<Option<Found>, Error> {
        let familiar = reference::familiar(name);
        let resolved = self
            .store()
            .resolve(name)
            .map_err(Error::image(format!("looking up image {familiar}")))?;
        let Some(target) = resolved else {
            return Ok(None);
        };
        let image = present_image(self.store(), &target, wanted)
            .map_err(Error::image(format!("reading image {familiar}")))?;
        Ok(Some(Found {
            image,
            target,
            name: Some(name.clone()),
        }))
    }

    /// All images, newest first, each once with all its names.
    ///
    /// An image that cannot be read is left out and named in the second list with what is wrong with it.
    ///
    /// # Errors
    /// Those of reading the tags.
    pub fn images(&self) -> Result<(Vec<ImageSummary>, Vec<Error>), Error> {
        let mut images: Vec<ImageSummary> = Vec::new();
        let mut damaged = Vec::new();
        for tag in self.tags()? {
            let name = shown_name(&tag.name);
            let image = match present_image(self.store(), &tag.descriptor, None) {
                Ok(image) => image,
                Err(error) => {
                    damaged.push(Error::image(format!(
                        "reading image {}",
                        reference::familiar(&tag.name)
                    ))(error));
                    continue;
                }
            };
            let same = |known: &&mut ImageSummary| {
                known.id == *image.id() && known.digest == *tag.descriptor.digest()
            };
            match images.iter_mut().find(same) {
                Some(known) => known.names.extend(name),
                None => images.push(summary(&image, tag.descriptor.digest(), name)),
            }
        }
        images.sort_by(|a, b| {
            b.created
                .cmp(&a.created)
                .then_with(|| a.names.cmp(&b.names))
        });
        Ok((images, damaged))
    }

    /// Gives the image `source` the further name `target`, taking that from the image that had it.
    ///
    /// # Errors
    /// As [`Engine::find_image`]; a name with a digest cannot be given.
    pub fn tag(&self, source: &str, target: &str) -> Result<Reference, Error> {
        let name = name::name(target)?;
        if name.digest().is_some() {
            return Err(Error::invalid(
                "image name",
                target,
                "a digest cannot be given, only a tag",
            ));
        }
        let found = self.find_image(source, None)?;
        self.give_name(&name, &found.target)?;
        Ok(name)
    }

    /// Names `target`; who loses the name and has no other stays as an image without one.
    pub(crate) fn give_name(&self, name: &Reference, target: &Descriptor) -> Result<(), Error> {
        let naming = || format!("naming image {}", reference::familiar(name));
        let _using = self.using()?;
        if let Some(before) = self.store().resolve(name).map_err(Error::image(naming()))?
            && before.digest() != target.digest()
        {
            let others = self.tags()?;
            if !others
                .iter()
                .any(|tag| tag.name != *name && tag.descriptor.digest() == before.digest())
            {
                self.store()
                    .tag(&unnamed(before.digest()), &before)
                    .map_err(Error::image(naming()))?;
            }
        }
        self.store()
            .tag(name, target)
            .map_err(Error::image(naming()))?;
        self.store()
            .untag(&unnamed(target.digest()))
            .map_err(Error::image(naming()))?;
        Ok(())
    }

    /// Keeps an image that has no name.
    pub(crate) fn keep_unnamed(&self, target: &Descriptor) -> Result<(), Error> {
        if self
            .tags()?
            .iter()
            .any(|tag| tag.descriptor.digest() == target.digest())
        {
            return Ok(());
        }
        self.store()
            .tag(&unnamed(target.digest()), target)
            .map_err(Error::image("keeping an image without a name"))
    }

    pub(crate) fn tags(&self) -> Result<Vec<orlop_image::Tag>, Error> {
        self.store().tags().map_err(Error::image("listing images"))
    }
}

/// The image of `target` for the platform wanted, or the host's, or, when that was never fetched, the one that is here.
pub(crate) fn present_image(
    store: &Store,
    target: &Descriptor,
    wanted: Option<&Platform>,
) -> Result<Image, orlop_image::Error> {
    let chosen = store.image(target.digest(), wanted.unwrap_or(&platform::host()));
    let error = match (chosen, wanted) {
        (Ok(image), Some(wanted)) if !image.matches(wanted) => {
            return Err(orlop_image::Error::NoMatchingPlatform {
                wanted: platform::format(wanted),
                available: vec![platform::format(&image.platform())],
            });
        }
        (Ok(image), _) => return Ok(image),
        (Err(error), Some(_)) => return Err(error),
        (Err(error), None) => error,
    };
    let Ok((_, orlop_image::manifest::Document::Index(index))) = store.document(target.digest())
    else {
        return Err(error);
    };
    let here = index
        .manifests()
        .iter()
        .filter(|manifest| store.has(manifest.digest()));
    here.filter_map(|manifest| store.image(manifest.digest(), &platform::host()).ok())
        .next()
        .ok_or(error)
}

/// The name under which an image without one is kept.
pub(crate) fn unnamed(digest: &Digest) -> Reference {
    Reference::with_digest(UNNAMED.to_owned(), "image".to_owned(), digest.to_string())
}

/// Whether `name` is one the engine made up for an image without one.
pub(crate) fn is_unnamed(name: &Reference) -> bool {
    name.registry() == UNNAMED
}

fn shown_name(name: &Reference) -> Option<String> {
    (!is_unnamed(name)).then(|| reference::familiar(name))
}

fn summary(image: &Image, digest: &Digest, name: Option<String>) -> ImageSummary {
    ImageSummary {
        id: image.id().clone(),
        digest: digest.clone(),
        names: name.into_iter().collect(),
        created: image.config().created().clone(),
        size: image.size(),
        platform: platform::format(&image.platform()),
        labels: image
            .config()
            .labels_of_config()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
    }
}
