//! How much disk space everything takes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::engine::Engine;
use crate::error::Error;
use crate::files;
use crate::record::State;

/// Counts and bytes of what an engine stores. Bytes are those of disk blocks, but for images: those of their blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskUsage {
    /// Images, with or without a name.
    pub images: usize,
    /// Images that containers were made from.
    pub images_active: usize,
    /// Bytes of blobs.
    pub image_bytes: u64,
    /// Unpacked layers.
    pub layers: usize,
    /// Bytes of unpacked layers and of what containers wrote.
    pub layer_bytes: u64,
    /// Containers.
    pub containers: usize,
    /// Containers that run.
    pub containers_active: usize,
    /// Bytes of their records.
    pub container_bytes: u64,
    /// Volumes.
    pub volumes: usize,
    /// Volumes that a container has.
    pub volumes_active: usize,
    /// Bytes of volumes.
    pub volume_bytes: u64,
}

impl Engine {
    /// Measures everything, reading every directory.
    ///
    /// # Errors
    /// When records or tags cannot be read. Files that vanish or cannot be read meanwhile are left out.
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        let containers = self.containers()?;
        let (images, _) = self.images()?;
        let made_from: HashSet<&str> = containers.iter().map(|c| c.image_id.as_str()).collect();
        let volumes = files::names(&self.dirs.volumes())?;
        let mounted: HashSet<&str> = containers
            .iter()
            .flat_map(|c| c.mounts.iter().filter_map(|m| m.name.as_deref()))
            .collect();
        let blobs = self
            .store()
            .blobs()
            .map_err(Error::image("listing blobs"))?;
        Ok(DiskUsage {
            images: images.len(),
            images_active: images
                .iter()
                .filter(|i| made_from.contains(i.id.to_string().as_str()))
                .count(),
            image_bytes: blobs.iter().map(|(_, size)| size).sum(),
            layers: self.layer_count()?,
            layer_bytes: tree_bytes(&self.dirs.snapshots()),
            containers: containers.len(),
            containers_active: containers
                .iter()
                .filter(|c| c.state == State::Running)
                .count(),
            container_bytes: tree_bytes(&self.dirs.containers()),
            volumes: volumes.len(),
            volumes_active: volumes
                .iter()
                .filter(|v| mounted.contains(v.as_str()))
                .count(),
            volume_bytes: tree_bytes(&self.dirs.volumes()),
        })
    }

    fn layer_count(&self) -> Result<usize, Error> {
        let mut layers = HashSet::new();
        for tag in self.tags()? {
            if let Ok(image) = crate::images::present_image(self.store(), &tag.descriptor, None) {
                layers.extend(
                    image
                        .chain_ids()
                        .map(ToString::to_string)
                        .filter(|id| self.snapshots().has(id)),
                );
            }
        }
        Ok(layers.len())
    }
}

/// Bytes of the disk blocks below `root`, each file once however many links it has.
fn tree_bytes(root: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut total = 0u64;
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.nlink() > 1
            && !metadata.is_dir()
            && !seen.insert((metadata.dev(), metadata.ino()))
        {
            continue;
        }
        total = total.saturating_add(metadata.blocks().saturating_mul(512));
        if metadata.is_dir()
            && let Ok(entries) = fs::read_dir(&path)
        {
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let empty = tree_bytes(dir.path());
        fs::write(dir.path().join("a"), vec![1; 64 << 10]).unwrap();
        let one = tree_bytes(dir.path());
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert!(one >= empty + (64 << 10));
        assert_eq!(tree_bytes(dir.path()), one);
        assert_eq!(tree_bytes(&dir.path().join("absent")), 0);
    }
}
