//! Removing images, by Docker's rules, and collecting what nothing refers to.

use std::collections::HashSet;

use orlop_image::{Digest, digest, reference};

use crate::engine::Engine;
use crate::error::Error;
use crate::files::Lock;
use crate::images::{is_unnamed, present_image};
use crate::record::{Container, State};

/// One thing that [`Engine::remove_image`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, as people write it.
    Untagged(String),
    /// An image, by its id.
    Deleted(String),
}

/// What a collection freed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Images without a name, by id.
    pub images: Vec<String>,
    /// Blobs.
    pub blobs: usize,
    /// Bytes of blobs.
    pub blob_bytes: u64,
    /// Layers, by chain id.
    pub layers: Vec<String>,
    /// Half-made layers and snapshots of killed processes.
    pub leftovers: usize,
}

impl Engine {
    /// Removes an image's name, and the image with its last name, as `docker rmi` does.
    ///
    /// By id all names go, which needs `force` when there are several. An image that containers were made from needs
    /// `force`, and then stays for them without a name; one that a running container uses does not go at all.
    ///
    /// # Errors
    /// As [`Engine::find_image`]; [`Error::InUse`].
    pub fn remove_image(&self, text: &str, force: bool) -> Result<Vec<Removed>, Error> {
        let found = self.find_image(text, None)?;
        let id = found.image.id().clone();
        let all: Vec<_> = self
            .tags()?
            .into_iter()
            .filter(|tag| self.leads_to(&tag.descriptor, &id))
            .collect();
        let doomed: Vec<_> = match &found.name {
            Some(name) => {
                let exact: Vec<_> = all
                    .iter()
                    .filter(|tag| tag.name == *name)
                    .cloned()
                    .collect();
                // A name with a digest may stand for the tags of that repository.
                if exact.is_empty() { all.clone() } else { exact }
            }
            None => all.clone(),
        };
        let named = doomed.iter().filter(|tag| !is_unnamed(&tag.name)).count();
        if found.name.is_none() && named > 1 && !force {
            return Err(Error::InUse {
                what: format!("image {text}"),
                reason: "it has several names; remove them one by one, or force it".to_owned(),
            });
        }
        let last = doomed.len() == all.len();
        if last {
            self.refuse_used(text, &id, force)?;
        }
        let mut removed = Vec::new();
        for tag in &doomed {
            self.store().untag(&tag.name).map_err(Error::image(format!(
                "removing the name {}",
                reference::familiar(&tag.name)
            )))?;
            if !is_unnamed(&tag.name) {
                removed.push(Removed::Untagged(reference::familiar(&tag.name)));
            }
        }
        if last {
            self.collect_if_idle()?;
            if !self.store().has(found.image.digest()) {
                removed.push(Removed::Deleted(id.to_string()));
            }
        }
        Ok(removed)
    }

    fn leads_to(&self, target: &orlop_image::Descriptor, id: &Digest) -> bool {
        present_image(self.store(), target, None).is_ok_and(|image| image.id() == id)
    }

    fn refuse_used(&self, text: &str, id: &Digest, force: bool) -> Result<(), Error> {
        for container in self.containers()? {
            if container.image_id != id.to_string() {
                continue;
            }
            let short = container.id.get(..12).unwrap_or(&container.id);
            let reason = match container.state {
                State::Running => format!("running container {short} ({}) uses it", container.name),
                _ if force => continue,
                _ => format!("container {short} ({}) was made from it", container.name),
            };
            return Err(Error::InUse {
                what: format!("image {text}"),
                reason,
            });
        }
        Ok(())
    }

    /// Removes images without a name that no container was made from, layers and blobs nothing refers to, and what
    /// killed processes left. Waits for others that bring images in.
    ///
    /// # Errors
    /// Those of the stores; what was not reached is collected by the next call.
    pub fn collect(&self) -> Result<Collected, Error> {
        self.bury()?;
        let mut collected = Collected::default();
        let used: HashSet<String> = self.containers()?.into_iter().map(|c| c.image_id).collect();
        for tag in self.tags()? {
            if !is_unnamed(&tag.name) {
                continue;
            }
            let id = present_image(self.store(), &tag.descriptor, None)
                .map(|image| image.id().to_string());
            if id.as_ref().is_ok_and(|id| used.contains(id)) {
                continue;
            }
            self.store()
                .untag(&tag.name)
                .map_err(Error::image("removing an image without a name"))?;
            collected
                .images
                .push(id.unwrap_or_else(|_| tag.descriptor.digest().to_string()));
        }
        let lock = Lock::exclusive(&self.dirs.lock())?;
        self.sweep(&lock, &mut collected)?;
        Ok(collected)
    }

    /// Collects blobs and layers now, unless somebody is bringing images in: then a later call does it.
    pub(crate) fn collect_if_idle(&self) -> Result<(), Error> {
        match Lock::try_exclusive(&self.dirs.lock())? {
            Some(lock) => self.sweep(&lock, &mut Collected::default()),
            None => Ok(()),
        }
    }

    fn sweep(&self, _exclusive: &Lock, collected: &mut Collected) -> Result<(), Error> {
        let containers = self.containers()?;
        let roots: HashSet<Digest> = containers
            .iter()
            .filter_map(|c| digest::parse(&c.manifest).ok())
            .collect();
        let blobs = self
            .store()
            .gc_keeping(&roots)
            .map_err(Error::image("collecting blobs"))?;
        collected.blobs = blobs.removed.len();
        collected.blob_bytes = blobs.bytes;
        let keep = self.layers_in_use(&containers)?;
        let report = self
            .snapshots()
            .gc(&keep)
            .map_err(Error::snapshot("collecting layers"))?;
        collected.layers = report.layers;
        collected.leftovers = report.trees + report.unfinished;
        Ok(())
    }

    /// The chain ids of every image that has a name and of every container's. An image that cannot be read keeps
    /// nothing: its layers can be unpacked again.
    fn layers_in_use(&self, containers: &[Container]) -> Result<HashSet<String>, Error> {
        let mut keep: HashSet<String> = containers
            .iter()
            .filter_map(|c| c.chain_id.clone())
            .collect();
        for tag in self.tags()? {
            if let Ok(image) = present_image(self.store(), &tag.descriptor, None) {
                keep.extend(image.chain_ids().map(ToString::to_string));
            }
        }
        Ok(keep)
    }
}
