//! What is mounted into a container: bind mounts, volumes kept under the root, memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::check::clean;
use crate::engine::Engine;
use crate::error::Error;
use crate::files;
use crate::id;
use crate::record::MountRecord;
use crate::request::{Mount, MountSource, RunRequest};

/// A mount that is ready to be made.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) record: MountRecord,
    pub(crate) how: How,
}

/// How it is made.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// A bind mount of the record's source.
    Bind { recursive: bool },
    /// The same, filled from the image first if it is empty.
    Volume { path: PathBuf, fill: bool },
    /// A tmpfs with these options.
    Tmpfs(Vec<String>),
}

impl Engine {
    /// Decides what is mounted where: the request's mounts, then the image's volumes that none of these covers.
    /// Nothing is made yet.
    pub(crate) fn plan_mounts(
        &self,
        request: &RunRequest,
        image_volumes: &[String],
    ) -> Result<Vec<Ready>, Error> {
        let mut ready = Vec::new();
        for mount in &request.mounts {
            ready.push(self.plan_mount(mount)?);
        }
        for target in image_volumes {
            let target = clean(target);
            // `/` would hide the whole image: no runtime does that.
            if target == "/" || ready.iter().any(|r| r.record.target == target) {
                continue;
            }
            let source = MountSource::Volume {
                name: None,
                copy: true,
            };
            ready.push(self.plan_mount(&Mount {
                source,
                target,
                read_only: false,
            })?);
        }
        // A mount below another comes after it.
        ready.sort_by_key(|r| r.record.target.matches('/').count());
        Ok(ready)
    }

    fn plan_mount(&self, mount: &Mount) -> Result<Ready, Error> {
        let mut record = MountRecord {
            kind: String::new(),
            name: None,
            source: String::new(),
            target: clean(&mount.target),
            read_only: mount.read_only,
            anonymous: false,
        };
        let how = match &mount.source {
            MountSource::Bind {
                path,
                create,
                recursive,
            } => {
                record.kind = "bind".to_owned();
                record.source = bind_source(path, *create)?;
                How::Bind {
                    recursive: *recursive,
                }
            }
            MountSource::Volume { name, copy } => {
                record.kind = "volume".to_owned();
                record.anonymous = name.is_none();
                let name = name.clone().map_or_else(id::random, Ok)?;
                let path = self.dirs.volumes().join(&name).join("_data");
                record.source = path.display().to_string();
                record.name = Some(name);
                How::Volume { path, fill: *copy }
            }
            MountSource::Tmpfs {
                size,
                mode,
                options,
            } => {
                record.kind = "tmpfs".to_owned();
                let mut all = options.clone();
                all.extend(size.map(|size| format!("size={size}")));
                all.extend(mode.map(|mode| format!("mode={mode:o}")));
                if mount.read_only {
                    all.push("ro".to_owned());
                }
                How::Tmpfs(all)
            }
        };
        Ok(Ready { record, how })
    }
}

impl Ready {
    /// Makes the directory of a volume. Whether it is empty and to be filled from the image.
    pub(crate) fn make(&self) -> Result<bool, Error> {
        let How::Volume { path, fill } = &self.how else {
            return Ok(false);
        };
        if !path.is_dir() {
            files::make_dir(path)?;
            // A program inside that is not root must get in.
            rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o755))
                .map_err(Error::errno("changing the mode of", path))?;
        }
        Ok(*fill && is_empty(path)?)
    }
}

fn is_empty(dir: &Path) -> Result<bool, Error> {
    let mut entries = fs::read_dir(dir).map_err(Error::io("reading", dir))?;
    Ok(entries.next().is_none())
}

fn bind_source(path: &Path, create: bool) -> Result<String, Error> {
    let shown = path.display().to_string();
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            fs::create_dir_all(path).map_err(Error::io("making the mount source", path))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::invalid(
                "mount source",
                shown,
                "it does not exist on the host",
            ));
        }
        Err(error) => return Err(Error::io("opening the mount source", path)(error)),
    }
    match path.to_str() {
        Some(_) => Ok(shown),
        None => Err(Error::invalid(
            "mount source",
            shown,
            "its name is not UTF-8",
        )),
    }
}
