//! Capability sets as the kernel's 64-bit masks.

use std::collections::HashSet;
use std::str::FromStr;

use oci_spec::runtime::{Capability, LinuxCapabilities};
use orlop_init::plan::Op;

use super::{Clamp, CompileError, Warning};

/// Docker's default capabilities: `00000000a80425fb`.
pub const DEFAULT: u64 = 0xa804_25fb;

/// The five sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sets {
    pub(super) bounding: u64,
    pub(super) effective: u64,
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
    pub(super) ambient: u64,
}

/// The bit of a capability's name, with or without `CAP_`, in either case; `None` for an unknown one.
pub fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let full = if name.starts_with("CAP_") {
        name
    } else {
        format!("CAP_{name}")
    };
    caps::Capability::from_str(&full)
        .ok()
        .map(|capability| 1 << capability.index())
}

/// The names of a mask's bits, lowest first.
pub fn names(mask: u64) -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.into_iter()
        .filter(|c| mask & (1 << c.index()) != 0)
        .map(|c| c.to_string())
        .collect()
}

/// A mask as the specification's set.
pub(crate) fn to_spec(mask: u64) -> HashSet<Capability> {
    names(mask)
        .iter()
        .filter_map(|name| Capability::from_str(name.trim_start_matches("CAP_")).ok())
        .collect()
}

fn from_spec(set: Option<&HashSet<Capability>>) -> u64 {
    set.into_iter()
        .flatten()
        .filter_map(|capability| bit(&capability.to_string()))
        .fold(0, |all, bit| all | bit)
}

/// The sets a process asks for, limited to what the caller can grant.
pub(super) fn sets(
    wanted: Option<&LinuxCapabilities>,
    grantable: u64,
    clamp: Clamp,
    warnings: &mut Vec<Warning>,
) -> Result<Sets, CompileError> {
    let Some(wanted) = wanted else {
        return Ok(Sets::default());
    };
    let mut missing = 0;
    let mut limit = |set: Option<&HashSet<Capability>>, name: &str| {
        let mask = from_spec(set);
        let beyond = mask & !grantable;
        if beyond != 0 && clamp == Clamp::No {
            return Err(CompileError::Privilege {
                at: format!("process.capabilities.{name}"),
                what: names(beyond).join(", "),
            });
        }
        missing |= beyond;
        Ok(mask & grantable)
    };
    let mut sets = Sets {
        bounding: limit(wanted.bounding().as_ref(), "bounding")?,
        effective: limit(wanted.effective().as_ref(), "effective")?,
        permitted: limit(wanted.permitted().as_ref(), "permitted")?,
        inheritable: limit(wanted.inheritable().as_ref(), "inheritable")?,
        ambient: limit(wanted.ambient().as_ref(), "ambient")?,
    };
    if sets.effective & !sets.permitted != 0 {
        return Err(CompileError::invalid(
            "process.capabilities.effective",
            format!(
                "{} must also be permitted",
                names(sets.effective & !sets.permitted).join(", ")
            ),
        ));
    }
    // The kernel would refuse an ambient capability that is not both; runc leaves it out.
    sets.ambient &= sets.permitted & sets.inheritable;
    warnings.extend(
        names(missing)
            .into_iter()
            .map(|capability| Warning::CapabilityDropped { capability }),
    );
    Ok(sets)
}

impl Sets {
    pub(super) fn op(self) -> Op {
        Op::Capabilities {
            effective: self.effective,
            permitted: self.permitted,
            inheritable: self.inheritable,
            ambient: self.ambient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits() {
        assert_eq!(bit("CAP_CHOWN"), Some(1));
        assert_eq!(bit("sys_admin"), Some(1 << 21));
        assert_eq!(bit("Cap_Checkpoint_Restore"), Some(1 << 40));
        assert_eq!(bit("CAP_"), None);
        assert_eq!(bit("ALL"), None);
        assert_eq!(names(DEFAULT).len(), 14);
        // Every capability survives the way into a specification and back.
        let all = (1u64 << 41) - 1;
        assert_eq!(from_spec(Some(&to_spec(all))), all);
        assert_eq!(from_spec(Some(&to_spec(DEFAULT))), DEFAULT);
    }
}
