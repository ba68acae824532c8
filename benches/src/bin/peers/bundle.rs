//! The bundle that every runtime runs: Docker's defaults, as far as the peers agree on them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Failure;

/// Docker's seccomp profile as podman's package ships it, in Docker's format.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// The capabilities Docker leaves.
const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Writes `config.json` beside `rootfs`: what `runc spec` writes, with Docker's capabilities, seccomp profile and `/bin/true`.
/// Returns whether there was a seccomp profile to put in.
pub(crate) fn write(bundle: &Path) -> Result<bool, Failure> {
    crate::tools::succeed(Command::new("runc").arg("spec").arg("--bundle").arg(bundle))?;
    let file = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&file)?)?;
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = json!(["/bin/true"]);
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(CAPABILITIES);
    }
    if let Some(sets) = spec["process"]["capabilities"].as_object_mut() {
        sets.remove("ambient");
        sets.remove("inheritable");
    }
    if let Some(process) = spec["process"].as_object_mut() {
        // Raising a limit is not permitted everywhere, and says nothing about a launch.
        process.remove("rlimits");
    }
    if let Some(linux) = spec["linux"].as_object_mut() {
        // crun 1.8 raises another limit in order to load a device program.
        linux.remove("resources");
    }
    spec["root"]["readonly"] = false.into();
    let profile = fs::read(PROFILE).ok();
    if let Some(profile) = &profile {
        spec["linux"]["seccomp"] = seccomp(&serde_json::from_slice(profile)?);
    }
    fs::write(file, serde_json::to_vec_pretty(&spec)?)?;
    Ok(profile.is_some())
}

/// From Docker's format, whose rules depend on capabilities and architecture, to the one of the OCI.
fn seccomp(profile: &Value) -> Value {
    let empty = Vec::new();
    let holds = |conditions: &Value, any: bool| {
        let names = |key: &str| conditions[key].as_array().unwrap_or(&empty).clone();
        let capabilities = names("caps")
            .iter()
            .any(|name| CAPABILITIES.contains(&name.as_str().unwrap_or_default()));
        let architectures = names("arches")
            .iter()
            .any(|name| name == "amd64" || name == "x86" || name == "x32");
        let unless_named = |key: &str, held: bool| if names(key).is_empty() { !any } else { held };
        let held = [
            unless_named("caps", capabilities),
            unless_named("arches", architectures),
        ];
        if any {
            held.contains(&true)
        } else {
            held == [true, true]
        }
    };
    let rules = profile["syscalls"].as_array().unwrap_or(&empty);
    let rules = rules
        .iter()
        .filter(|rule| holds(&rule["includes"], false) && !holds(&rule["excludes"], true));
    // Where podman's profile gives a call two verdicts, the first is meant.
    let mut decided = HashSet::new();
    let rules: Vec<Value> = rules
        .map(|rule| {
            let unconditional = rule["args"].as_array().is_none_or(Vec::is_empty);
            let names = rule["names"].as_array().unwrap_or(&empty).iter();
            let names: Vec<&Value> = names
                .filter(|name| !unconditional || decided.insert(name.to_string()))
                .collect();
            let mut kept = json!({ "names": names, "action": rule["action"] });
            for key in ["args", "errnoRet"] {
                let said = rule[key].as_array().is_none_or(|list| !list.is_empty())
                    && !rule[key].is_null();
                if said {
                    kept[key] = rule[key].clone();
                }
            }
            kept
        })
        .filter(|rule| {
            rule["names"]
                .as_array()
                .is_some_and(|names| !names.is_empty())
        })
        .collect();
    json!({
        "defaultAction": profile["defaultAction"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}
