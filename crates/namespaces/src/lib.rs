//! Start processes in new or existing Linux namespaces, safely, from any thread.
//!
//! A [`Launcher`] carries out a [`Plan`](orlop_init::Plan): the caller's thread clones a child that does nothing but execute a tiny
//! static program, and that program does the rest.

#![deny(unsafe_code)]

mod channel;
mod error;
mod exit;
mod idmap;
mod launcher;
mod namespace;
mod process;
mod program;
#[allow(unsafe_code)]
mod sys;

pub use error::SpawnError;
pub use exit::{Exit, ExitStatus, Usage};
pub use idmap::{
    IdMap, IdMapError, IdMapHelper, IdMaps, ParseIdMapError, SubIds, map_root_and, parse_id_maps,
    parse_sub_ids,
};
pub use launcher::{Launcher, Resources, Started};
pub use namespace::{Kind, Namespace, NamespaceError};
pub use process::{Process, WaitError};
