//! Platforms: parsing, normalising, and choosing an image from an index the way containerd does.

use oci_spec::image::{Arch, Descriptor, ImageIndex, Os, Platform};

use crate::Error;
use crate::error::cut;

/// A platform from its parts, normalised.
pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
    let (arch, variant) = normalise(architecture, variant.unwrap_or_default());
    let os = match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    };
    let mut platform = Platform::default();
    platform.set_os(Os::from(os.as_str()));
    platform.set_architecture(Arch::from(arch.as_str()));
    platform.set_variant((!variant.is_empty()).then_some(variant));
    platform
}

/// The platform this program was compiled for.
pub fn host() -> Platform {
    let variant = if cfg!(target_arch = "arm") {
        Some("v7")
    } else {
        None
    };
    new("linux", std::env::consts::ARCH, variant)
}

/// Parses `linux/arm64`, `linux/arm/v7`, `amd64` or `linux`; what is missing is the host's.
///
/// # Errors
///
/// [`Error::InvalidPlatform`].
pub fn parse(text: &str) -> Result<Platform, Error> {
    let invalid = |reason| Error::InvalidPlatform {
        text: cut(text),
        reason,
    };
    let legal = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let parts: Vec<&str> = text.split('/').collect();
    if !parts.iter().all(|part| legal(part)) {
        return Err(invalid(
            "expected OS/ARCHITECTURE[/VARIANT], as in linux/arm64",
        ));
    }
    match parts.as_slice() {
        [one] => {
            let os = one.to_ascii_lowercase();
            if matches!(Os::from(os.as_str()), Os::Other(_)) && os != "macos" {
                let platform = new("linux", one, None);
                if matches!(platform.architecture(), Arch::Other(_)) {
                    return Err(invalid(
                        "neither a known operating system nor a known architecture",
                    ));
                }
                Ok(platform)
            } else {
                Ok(new(&os, std::env::consts::ARCH, None))
            }
        }
        [os, arch] => Ok(new(os, arch, None)),
        [os, arch, variant] => Ok(new(os, arch, Some(variant))),
        _ => Err(invalid("it has more than three parts")),
    }
}

/// `linux/amd64`, `linux/arm/v7`.
pub fn format(platform: &Platform) -> String {
    match platform.variant().as_deref() {
        Some(variant) if !variant.is_empty() => {
            format!("{}/{}/{variant}", platform.os(), platform.architecture())
        }
        _ => format!("{}/{}", platform.os(), platform.architecture()),
    }
}

/// Other names of the same thing, as containerd's `platforms` package has them.
fn normalise(architecture: &str, variant: &str) -> (String, String) {
    let arch = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (arch, variant) = match (arch.as_str(), variant.as_str()) {
        ("i386" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("loongarch64", variant) => ("loong64", variant),
        ("powerpc64", _) if cfg!(target_endian = "little") => ("ppc64le", ""),
        (arch, variant) => (arch, variant),
    };
    (arch.to_owned(), variant.to_owned())
}

/// How well `candidate` serves somebody who wants `wanted`: 0 is a perfect match, `None` none at all.
///
/// An arm64 machine also takes 32-bit arm, amd64 takes 386, and a later variant takes an earlier one, as in containerd.
pub fn rank(wanted: &Platform, candidate: &Platform) -> Option<u32> {
    let wanted = renormalise(wanted);
    let candidate = renormalise(candidate);
    if wanted.os() != candidate.os() {
        return None;
    }
    let variant = |platform: &Platform| platform.variant().clone().unwrap_or_default();
    let (want, have) = (variant(&wanted), variant(&candidate));
    let same = wanted.architecture() == candidate.architecture();
    match (wanted.architecture(), candidate.architecture()) {
        (Arch::Amd64, _) if same => older_or_same(level(&want, 1)?, level(&have, 1)?),
        (Arch::Amd64, Arch::i386) => Some(100),
        (Arch::ARM, _) if same => older_or_same(level(&want, 7)?, level(&have, 7)?),
        // arm64 variants are v8, v8.1 … v9: the plain one serves all.
        (Arch::ARM64, _) if same && want == have => Some(0),
        (Arch::ARM64, _) if same && have.is_empty() => Some(1),
        (Arch::ARM64, Arch::ARM) => older_or_same(8, level(&have, 7)?).map(|rank| rank + 100),
        _ if same && want == have => Some(0),
        _ if same && (want.is_empty() || have.is_empty()) => Some(1),
        _ => None,
    }
}

fn renormalise(platform: &Platform) -> Platform {
    new(
        &platform.os().to_string(),
        &platform.architecture().to_string(),
        platform.variant().as_deref(),
    )
}

fn level(variant: &str, default: u32) -> Option<u32> {
    match variant {
        "" => Some(default),
        other => other.strip_prefix('v')?.parse().ok(),
    }
}

fn older_or_same(wanted: u32, candidate: u32) -> Option<u32> {
    wanted.checked_sub(candidate)
}

/// Chooses the entry of an index for a platform: the best match, the first among equals.
///
/// Entries that say no platform are taken when nothing else matches; entries of unknown platform (as build tools use
/// for attestations) never are.
///
/// # Errors
///
/// [`Error::NoMatchingPlatform`] listing the platforms there are.
pub fn select<'a>(index: &'a ImageIndex, wanted: &Platform) -> Result<&'a Descriptor, Error> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for descriptor in index.manifests() {
        let rank = match descriptor.platform() {
            Some(platform) => rank(wanted, platform),
            None => Some(u32::MAX),
        };
        if let Some(rank) = rank
            && best.is_none_or(|(other, _)| rank < other)
        {
            best = Some((rank, descriptor));
        }
    }
    best.map(|(_, descriptor)| descriptor).ok_or_else(|| {
        let mut available: Vec<String> = index
            .manifests()
            .iter()
            .filter_map(|descriptor| descriptor.platform().as_ref())
            .map(|platform| cut(&format(platform)))
            .filter(|text| text != "unknown/unknown")
            .take(50)
            .collect();
        available.dedup();
        Error::NoMatchingPlatform {
            wanted: format(wanted),
            available,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parse_table() {
        let host = std::env::consts::ARCH;
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("Linux/AArch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("riscv64", "linux/riscv64"),
            ("macos/arm64", "darwin/arm64"),
            ("linux", format(&new("linux", host, None)).as_str()),
        ] {
            assert_eq!(format(&parse(text).expect(text)), want, "{text}");
        }
        for text in [
            "",
            "/",
            "linux/",
            "a/b/c/d",
            "li nux/amd64",
            "frobnicate",
            "linux/../x",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    fn index(platforms: &[&str]) -> ImageIndex {
        let manifests: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(i, platform)| {
                let mut parts = platform.splitn(3, '/');
                let mut entry = serde_json::json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": format!("sha256:{i:064}"),
                    "size": 10,
                });
                if *platform != "-" {
                    entry["platform"] = serde_json::json!({
                        "os": parts.next(), "architecture": parts.next().unwrap_or_default()
                    });
                    if let Some(variant) = parts.next() {
                        entry["platform"]["variant"] = variant.into();
                    }
                }
                entry
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": manifests}))
            .unwrap()
    }

    #[test]
    fn select_table() {
        for (have, want, chosen) in [
            (&["linux/amd64", "linux/arm64"][..], "linux/arm64", Some(1)),
            (&["unknown/unknown", "linux/amd64"], "linux/amd64", Some(1)),
            (
                &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"],
                "linux/arm/v7",
                Some(1),
            ),
            (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", Some(1)),
            (&["linux/arm/v7"], "linux/arm/v6", None),
            (&["linux/arm/v7", "linux/arm64/v8"], "linux/arm64", Some(1)),
            (&["linux/arm/v6", "linux/arm/v7"], "linux/arm64", Some(1)),
            (
                &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"],
                "linux/amd64",
                Some(2),
            ),
            (
                &["linux/amd64/v2", "linux/amd64"],
                "linux/amd64/v3",
                Some(0),
            ),
            (&["linux/386", "linux/amd64"], "linux/amd64", Some(1)),
            (&["linux/386"], "linux/amd64", Some(0)),
            (&["linux/amd64"], "linux/386", None),
            (&["windows/amd64"], "linux/amd64", None),
            (&["-"], "linux/amd64", Some(0)),
            (&["-", "linux/amd64"], "linux/amd64", Some(1)),
            (&["linux/s390x", "linux/riscv64"], "linux/riscv64", Some(1)),
            (&["unknown/unknown"], "linux/amd64", None),
            (&[], "linux/amd64", None),
        ] {
            let index = index(have);
            let found = select(&index, &parse(want).unwrap())
                .ok()
                .and_then(|d| index.manifests().iter().position(|m| m == d));
            assert_eq!(found, chosen, "{want} from {have:?}");
        }
        let two = index(&["linux/s390x", "windows/amd64"]);
        let error = select(&two, &parse("linux/amd64").unwrap());
        assert_eq!(
            error.unwrap_err().to_string(),
            "no image for platform linux/amd64; available: linux/s390x, windows/amd64"
        );
    }

    proptest! {
        #[test]
        fn parse_is_stable(text in "[a-z0-9_/.]{0,30}") {
            if let Ok(platform) = parse(&text) {
                let printed = format(&platform);
                prop_assert_eq!(format(&parse(&printed).unwrap()), printed);
            }
        }
    }
}
