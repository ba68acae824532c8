//! A request's limits in the runtime's words.

use oci_spec::runtime::PosixRlimitType;
use orlop_runtime::Builder;

use crate::check::ULIMITS;
use crate::error::Error;
use crate::request::Limits;

/// Hands the limits to the builder.
pub(crate) fn apply(mut builder: Builder, limits: &Limits) -> Result<Builder, Error> {
    if let Some(bytes) = limits.memory {
        builder = builder.memory(bytes);
    }
    if let Some(bytes) = limits.memory_swap {
        builder = builder.memory_swap(bytes);
    }
    if let Some(nano) = limits.nano_cpus {
        builder = builder.cpus(nano as f64 / 1e9);
    }
    if let Some(count) = limits.pids {
        builder = builder.pids(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for ulimit in &limits.ulimits {
        let unknown = || Error::invalid("ulimit", &ulimit.name, "there is no such limit");
        let (_, kernel) = ULIMITS
            .iter()
            .find(|(name, _)| *name == ulimit.name)
            .ok_or_else(unknown)?;
        let resource = resource(kernel).ok_or_else(unknown)?;
        builder = builder.rlimit(resource, ulimit.soft, ulimit.hard);
    }
    Ok(builder)
}

/// The specification's type is only made from its name.
fn resource(kernel: &str) -> Option<PosixRlimitType> {
    serde_json::from_value(serde_json::Value::from(kernel)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_resource() {
        for (name, kernel) in ULIMITS {
            assert!(resource(kernel).is_some(), "{name}");
        }
        assert!(resource("RLIMIT_NOPE").is_none());
    }
}
