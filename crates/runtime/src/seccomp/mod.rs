//! System-call filters: Docker's default profile, the OCI form, and the compiler that makes classic BPF of either.
//!
//! The kernel walks a filter once for every call number when it is loaded, so its shape is what a start pays for: a binary search
//! over ranges of numbers is loaded some six times as fast as the linear list libseccomp emits.

mod always;
mod arch;
mod bpf;
mod docker;
#[cfg(test)]
mod interpret;
mod profile;
mod program;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use arch::Arch;
pub use docker::{Facts, docker_default};
pub use profile::{Action, Call, Compare, Condition, Evaluator, Profile, Rule};
pub use spec::from_spec;

/// `SECCOMP_FILTER_FLAG_LOG`.
const FLAG_LOG: u64 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
const FLAG_SPEC_ALLOW: u64 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
const FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Why a profile does not become a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification asks for something that cannot be.
    #[error("{at}: {why}")]
    Invalid {
        /// The place in the specification, as a JSON path.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// No filter can be made for this machine's architecture.
    #[error("no seccomp filter can be made for this architecture")]
    NoArchitecture,
    /// The kernel takes 4096 instructions at most.
    #[error("the seccomp filter has {length} instructions, the kernel takes 4096")]
    TooLong {
        /// Instructions it would have.
        length: usize,
    },
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Classic BPF, `struct sock_filter` after `struct sock_filter`, in the byte order of the machine.
    pub program: Arc<[u8]>,
    /// `SECCOMP_FILTER_FLAG_*` to load it with.
    pub flags: u64,
    /// Whether some verdict is `NOTIFY`, so that the filter needs a listener.
    pub listener: bool,
}

impl Profile {
    /// Compile to classic BPF.
    ///
    /// # Errors
    /// [`Error::NoArchitecture`], or [`Error::TooLong`] for a profile with thousands of conditions.
    pub fn compile(&self) -> Result<Filter, Error> {
        let program = program::compile(self)?;
        let mut bytes = Vec::with_capacity(program.len() * 8);
        for instruction in &program {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        Ok(Filter {
            program: bytes.into(),
            flags: self.flags(),
            listener: self.notifies(),
        })
    }
}

/// How many compiled filters are kept: a host uses few profiles, and a stream of different ones must not grow without end.
const KEPT: usize = 64;

/// Compiled filters by profile, for callers that start many containers.
#[derive(Debug, Default)]
pub struct Cache {
    docker: Mutex<HashMap<Facts, Filter>>,
    profiles: Mutex<HashMap<Profile, Filter>>,
}

impl Cache {
    /// The filter of Docker's default profile.
    ///
    /// # Errors
    /// See [`Profile::compile`].
    pub fn docker_default(&self, facts: &Facts) -> Result<Filter, Error> {
        cached(&self.docker, facts, || docker_default(facts).compile())
    }

    /// The filter of a profile.
    ///
    /// # Errors
    /// See [`Profile::compile`].
    pub fn profile(&self, profile: &Profile) -> Result<Filter, Error> {
        cached(&self.profiles, profile, || profile.compile())
    }
}

fn cached<K: Clone + Eq + std::hash::Hash>(
    map: &Mutex<HashMap<K, Filter>>,
    key: &K,
    make: impl FnOnce() -> Result<Filter, Error>,
) -> Result<Filter, Error> {
    if let Some(filter) = map.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
        return Ok(filter.clone());
    }
    let filter = make()?;
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= KEPT {
        map.clear();
    }
    map.insert(key.clone(), filter.clone());
    Ok(filter)
}
