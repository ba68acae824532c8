//! The maps of a new user namespace.

use oci_spec::runtime::{Linux, LinuxIdMapping};
use orlop_namespaces::{IdMap, IdMapHelper, IdMaps};

use super::namespaces::{NEWUSER, Namespaces};
use super::{CompileError, Settings};

pub(super) fn compile(
    linux: &Linux,
    settings: &Settings<'_>,
    namespaces: &Namespaces,
) -> Result<Option<IdMaps>, CompileError> {
    let uid = maps(linux.uid_mappings().as_deref(), "linux.uidMappings")?;
    let gid = maps(linux.gid_mappings().as_deref(), "linux.gidMappings")?;
    if namespaces.new & NEWUSER == 0 {
        if uid.is_empty() && gid.is_empty() || namespaces.joined & NEWUSER != 0 {
            return Ok(None);
        }
        return Err(CompileError::invalid(
            "linux.uidMappings",
            "mappings need a user namespace",
        ));
    }
    for (maps, at) in [(&uid, "linux.uidMappings"), (&gid, "linux.gidMappings")] {
        if maps.is_empty() {
            return Err(CompileError::invalid(
                at,
                "a new user namespace needs mappings",
            ));
        }
    }
    // What a caller without privilege may write itself: its own id, once. Anything else is for the set-user-ID helpers.
    let simple =
        |maps: &[IdMap], own: u32| matches!(maps, [one] if one.length == 1 && one.outside == own);
    let host = settings.host;
    let helper: Option<IdMapHelper> = if host.privileged
        || simple(&uid, host.uid) && simple(&gid, host.gid)
    {
        None
    } else {
        match settings.id_map_helper {
            Some(helper) => Some(helper.clone()),
            None => {
                return Err(CompileError::Privilege {
                    at: "linux.uidMappings".into(),
                    what: "mapping more than the caller's own ids without newuidmap and newgidmap"
                        .into(),
                });
            }
        }
    };
    Ok(Some(IdMaps {
        setgroups: host.privileged || helper.is_some(),
        uid,
        gid,
        helper,
    }))
}

fn maps(mappings: Option<&[LinuxIdMapping]>, at: &str) -> Result<Vec<IdMap>, CompileError> {
    let mut out: Vec<IdMap> = Vec::new();
    for (place, mapping) in mappings.unwrap_or_default().iter().enumerate() {
        let (inside, outside, length) = (mapping.container_id(), mapping.host_id(), mapping.size());
        if length == 0
            || inside.checked_add(length).is_none()
            || outside.checked_add(length).is_none()
        {
            return Err(CompileError::invalid(
                format!("{at}[{place}].size"),
                format!("{length} ids from {inside} and {outside} are no range"),
            ));
        }
        let meets = |a: u32, b: u32, length_b: u32| a < b + length_b && b < a + length;
        if out.iter().any(|other| {
            meets(inside, other.inside, other.length) || meets(outside, other.outside, other.length)
        }) {
            return Err(CompileError::invalid(
                format!("{at}[{place}]"),
                "overlaps an earlier mapping",
            ));
        }
        out.push(IdMap {
            inside,
            outside,
            length,
        });
    }
    Ok(out)
}

/// Whether `id` exists in the namespace.
pub(super) fn holds(maps: &[IdMap], id: u32) -> bool {
    maps.iter()
        .any(|map| id >= map.inside && id - map.inside < map.length)
}

/// The id to be while the container is set up: root where there is one.
pub(super) fn first(maps: &[IdMap]) -> u32 {
    if holds(maps, 0) {
        0
    } else {
        maps.first().map_or(0, |map| map.inside)
    }
}
