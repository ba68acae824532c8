//! The engine: one root directory, and what stands in it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use orlop_image::Store;
use orlop_runtime::Runtime;
use orlop_runtime::images::Images;
use orlop_unionfs::Snapshots;

use crate::error::Error;
use crate::files::{self, Lock};

/// Where an engine keeps its state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The directory of everything: images, layers, containers and volumes. Made when missing, for its owner alone.
    pub root: PathBuf,
}

impl Options {
    /// All state in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Options {
        Options { root: root.into() }
    }
}

/// Images, containers and volumes below one directory, which any number of engines and processes may share.
pub struct Engine {
    pub(crate) dirs: Dirs,
    pub(crate) images: Images,
    runtime: OnceLock<Runtime>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("root", &self.dirs.root)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the engine's root, making it when it is missing.
    ///
    /// # Errors
    /// When a directory cannot be made or read, or holds something else than an engine's state.
    pub fn open(options: Options) -> Result<Engine, Error> {
        let root =
            std::path::absolute(&options.root).map_err(Error::io("resolving", &options.root))?;
        let dirs = Dirs { root };
        if !dirs.names().is_dir() {
            for dir in [
                dirs.root.clone(),
                dirs.containers(),
                dirs.running(),
                dirs.volumes(),
                dirs.names(),
            ] {
                files::make_dir(&dir)?;
            }
        }
        let store = Store::open(&dirs.images()).map_err(Error::image("opening the image store"))?;
        let snapshots = Snapshots::open(&dirs.snapshots(), orlop_unionfs::Options::default())
            .map_err(Error::snapshot("opening the snapshots"))?;
        Ok(Engine {
            dirs,
            images: Images::new(store, snapshots),
            runtime: OnceLock::new(),
        })
    }

    /// The directory of everything.
    pub fn root(&self) -> &Path {
        &self.dirs.root
    }

    pub(crate) fn store(&self) -> &Store {
        self.images.store()
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        self.images.snapshots()
    }

    /// The runtime, made when first needed: listing images needs no control groups.
    pub(crate) fn runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = Runtime::new(orlop_runtime::Options::new(self.dirs.runtime()))
            .map_err(Error::runtime("preparing to run containers"))?;
        Ok(self.runtime.get_or_init(|| made))
    }

    /// Removes what runtimes of killed processes left: processes and control groups.
    pub(crate) fn collect_runtime(&self) -> Result<(), Error> {
        self.runtime()?
            .gc()
            .map(drop)
            .map_err(Error::runtime("collecting what killed processes left"))
    }

    /// Keeps garbage collection away while layers are made that nothing refers to yet.
    pub(crate) fn using(&self) -> Result<Lock, Error> {
        Lock::shared(&self.dirs.lock())
    }
}

/// The directories below the root.
#[derive(Debug, Clone)]
pub(crate) struct Dirs {
    pub(crate) root: PathBuf,
}

impl Dirs {
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// One directory a container, named by its id.
    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// One link a name, to the id that has it.
    pub(crate) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// One locked file a container that somebody looks after.
    pub(crate) fn running(&self) -> PathBuf {
        self.root.join("running")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.root.join("runtime")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}
