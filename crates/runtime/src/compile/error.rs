//! What a specification can get wrong.

use crate::seccomp;

/// Why a specification does not become a plan. Every variant names the place in the specification as a JSON path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A value that is wrong, unknown or contradicts another.
    #[error("{at}: {why}")]
    Invalid {
        /// The place, as `mounts[3].options[1]`.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value that is right but asks for something this library cannot do yet.
    #[error("{at}: {what} is not supported")]
    Unsupported {
        /// The place.
        at: String,
        /// What was asked for.
        what: String,
    },
    /// More privilege than the caller has; [`Clamp::All`](crate::Clamp::All) makes a warning of it.
    #[error("{at}: {what} is more than the caller may grant")]
    Privilege {
        /// The place.
        at: String,
        /// What was asked for.
        what: String,
    },
    /// The seccomp profile.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
}

impl CompileError {
    pub(crate) fn invalid(at: impl Into<String>, why: impl Into<String>) -> Self {
        CompileError::Invalid {
            at: at.into(),
            why: why.into(),
        }
    }

    pub(crate) fn unsupported(at: impl Into<String>, what: impl Into<String>) -> Self {
        CompileError::Unsupported {
            at: at.into(),
            what: what.into(),
        }
    }
}

/// Something that was granted less fully than asked for: told as data, never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A capability the caller does not have itself, and therefore cannot grant.
    CapabilityDropped {
        /// Its name, as `CAP_SYS_RESOURCE`.
        capability: String,
    },
    /// A resource limit above the caller's own hard limit.
    RlimitClamped {
        /// Its name, as `RLIMIT_NOFILE`.
        resource: String,
        /// What was asked for.
        asked: u64,
        /// What is granted.
        granted: u64,
    },
    /// Supplementary groups, where `setgroups` is denied: rootless without id-map helpers.
    GroupsDropped {
        /// The groups.
        groups: Vec<u32>,
    },
    /// Limits, where the caller may not make cgroups.
    NoCgroup {
        /// Why not.
        reason: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::CapabilityDropped { capability } => write!(
                f,
                "{capability} is not in the caller's bounding set and is dropped"
            ),
            Warning::RlimitClamped {
                resource,
                asked,
                granted,
            } => {
                write!(
                    f,
                    "{resource} {asked} is above the caller's hard limit, {granted} is granted"
                )
            }
            Warning::GroupsDropped { groups } => write!(
                f,
                "supplementary groups {groups:?} need id-map helpers and are dropped"
            ),
            Warning::NoCgroup { reason } => write!(f, "the container has no cgroup: {reason}"),
        }
    }
}
