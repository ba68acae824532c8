//! Snapshots for user namespaces: layers with their owners mapped, and an upper directory that holds the mapped owners.
//!
//! The layers stay as they are for everybody else. What the container writes belongs, on disk, to its ids outside; the maps
//! are noted beside it, so that a diff or a commit turns them back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Gid, Uid};
use serde::{Deserialize, Serialize};

use super::{MountOptions, Rootfs, own_directory, try_detached, volatile};
use crate::diff::{IdRange, map_back};
use crate::error::At;
use crate::store::active::{Handle, UPPER};
use crate::store::record::ActiveKind;
use crate::store::{ACTIVE, record};
use crate::{Error, fsutil};

/// The maps a snapshot was mounted with, in its directory.
const NOTE: &str = "ids";

/// A user namespace and its maps, which must be written already.
#[derive(Debug, Clone, Copy)]
pub struct IdMaps<'a> {
    /// The namespace: `/proc/<pid>/ns/user`, opened.
    pub user_namespace: BorrowedFd<'a>,
    /// Its map of users: inside the namespace, outside in the initial one.
    pub uids: &'a [IdRange],
    /// Its map of groups.
    pub gids: &'a [IdRange],
}

/// The note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) uids: Vec<IdRange>,
    pub(crate) gids: Vec<IdRange>,
}

/// The maps a snapshot was mounted with, if it was. `dir` is the snapshot's directory.
pub(crate) fn noted(snapshot: &Handle, dir: &OwnedFd) -> Result<Option<Noted>, Error> {
    let shown = snapshot.inner.path.join(ACTIVE).join(snapshot.key.as_str());
    record::read(dir, NOTE, &shown)
}

pub(crate) fn mount(
    snapshot: &Handle,
    how: &MountOptions,
    maps: &IdMaps<'_>,
) -> Result<Rootfs, Error> {
    if snapshot.record.kind == ActiveKind::Writable {
        let dir = own_directory(snapshot)?;
        let wanted = Noted {
            uids: maps.uids.to_vec(),
            gids: maps.gids.to_vec(),
        };
        match noted(snapshot, &dir)? {
            Some(before) if before != wanted => {
                return Err(Error::Mapped {
                    key: snapshot.key.as_str().to_owned(),
                });
            }
            Some(_) => {}
            None => {
                hand_over(snapshot, &dir, &wanted)?;
                let shown = snapshot.inner.path.join(ACTIVE).join(snapshot.key.as_str());
                record::write(&dir, NOTE, &wanted, &shown)?;
            }
        }
        volatile::prepare(snapshot, &dir, how)?;
    }
    Ok(try_detached(snapshot, how, Some(maps.user_namespace))?)
}

/// Gives the root of the upper directory to the owner it has inside. One that is outside the maps was given away already,
/// by a process that died then.
fn hand_over(snapshot: &Handle, dir: &OwnedFd, maps: &Noted) -> Result<(), Error> {
    let shown = snapshot
        .inner
        .path
        .join(ACTIVE)
        .join(snapshot.key.as_str())
        .join(UPPER);
    let upper = fsutil::open_dir(dir, UPPER.as_bytes()).at("opening", &shown)?;
    let stat = fs::fstat(&upper).at("examining", &shown)?;
    let turned = |ranges: &[IdRange]| -> Vec<IdRange> {
        ranges
            .iter()
            .map(|r| IdRange {
                inside: r.outside,
                outside: r.inside,
                length: r.length,
            })
            .collect()
    };
    let uid = map_back(&turned(&maps.uids), stat.st_uid);
    let gid = map_back(&turned(&maps.gids), stat.st_gid);
    fs::fchown(
        upper.as_fd(),
        uid.map(Uid::from_raw),
        gid.map(Gid::from_raw),
    )
    .at("setting owner of", &shown)?;
    fs::futimens(&upper, &crate::copy::times(&stat)).at("setting times of", &shown)
}
