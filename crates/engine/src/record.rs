//! What is remembered of a container: one small file, replaced whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;
use crate::request::Network;

/// A container as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its unique name.
    pub name: String,
    /// When it was made, in RFC 3339.
    pub created: String,
    /// The image as the caller named it.
    pub image: String,
    /// The image's id: the digest of its config.
    pub image_id: String,
    /// The digest of the image's manifest.
    pub manifest: String,
    /// The chain id of its topmost layer; none for an image without layers.
    pub chain_id: Option<String>,
    /// The arguments it was started with.
    pub argv: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Its working directory.
    pub working_dir: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Its host name.
    pub hostname: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network.
    pub network: Network,
    /// What is mounted into it.
    pub mounts: Vec<MountRecord>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it is removed when it ends.
    pub remove: bool,
    /// Where it is in its life.
    pub state: State,
    /// The process, while it runs.
    pub pid: Option<i32>,
    /// When the process began, in clock ticks since boot: tells it from a later one with the same number.
    pub pid_birth: Option<u64>,
    /// When it began to run, in RFC 3339.
    pub started: Option<String>,
    /// When it ended, in RFC 3339.
    pub finished: Option<String>,
    /// Its exit code, as a shell would have it: 128 and the signal for a signal.
    pub exit_code: Option<i32>,
    /// Whether the kernel killed it, or a part of it, for want of memory.
    pub oom_killed: bool,
    /// Why it did not start, or did not end by itself.
    pub error: Option<String>,
}

/// A mount as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// The volume's name.
    pub name: Option<String>,
    /// The path on the host; empty for tmpfs.
    pub source: String,
    /// The path inside.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// A volume made for this container alone, which goes with it.
    pub anonymous: bool,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, never run.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
}

impl State {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Exited => "exited",
        }
    }
}

/// The present time, in RFC 3339.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

const FILE: &str = "container.json";

impl Container {
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE);
        let bytes = serde_json::to_vec(self).map_err(|source| Error::Record {
            path: path.clone(),
            source,
        })?;
        files::replace(&path, &bytes, 0o600)
    }

    /// Reads the record in `dir`; none if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Container>, Error> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Error::io("reading", &path)(error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| Error::Record { path, source })
    }
}
