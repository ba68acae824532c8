//! What the tests need from the distribution: `packages.txt` says what and why.

use std::process::Command;

use crate::Failure;
use crate::command::{find, in_ci, is_root};

/// A line of `packages.txt`.
struct Package {
    name: &'static str,
    reason: &'static str,
}

fn wanted() -> impl Iterator<Item = Package> {
    include_str!("../packages.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, reason) = line.split_once(char::is_whitespace)?;
            Some(Package {
                name,
                reason: reason.trim(),
            })
        })
}

/// Installs what is missing; where it may not, says what that is. In continuous integration a missing package is an error.
pub(crate) fn ensure() -> Result<(), Failure> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    if is_root() && find("apt-get").is_some() {
        println!("installing {}", names(&missing));
        return install(&missing);
    }
    println!("these packages are missing, and the tests that need them will fail or be skipped:");
    for package in &missing {
        println!("    {:<18} {}", package.name, package.reason);
    }
    println!(
        "as root: apt-get install --no-install-recommends {}",
        names(&missing)
    );
    if in_ci() {
        Err("in continuous integration every package must be there".into())
    } else {
        Ok(())
    }
}

fn missing() -> Result<Vec<Package>, Failure> {
    if find("dpkg-query").is_none() {
        println!(
            "this is not Debian: the tests need the equivalents of {}",
            names(&wanted().collect::<Vec<_>>())
        );
        return Ok(Vec::new());
    }
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\\n"])
        .output()?;
    let installed = String::from_utf8_lossy(&query.stdout).into_owned();
    let is_installed = |name: &str| {
        installed.lines().any(|line| {
            line.split_once(' ')
                .is_some_and(|(found, status)| found == name && status == "installed")
        })
    };
    Ok(wanted()
        .filter(|package| !is_installed(package.name))
        .collect())
}

fn install(packages: &[Package]) -> Result<(), Failure> {
    let apt = |arguments: &[&str]| -> Result<(), Failure> {
        let mut command = Command::new("apt-get");
        // RUNLEVEL=1 keeps a freshly installed daemon from being started.
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .args(["-q", "-y"])
            .args(arguments);
        let status = command.status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("apt-get {}: {status}", arguments.join(" ")).into())
        }
    };
    // The package lists may be old, but a source that fails to refresh need not be the one that is needed.
    if let Err(error) = apt(&["update"]) {
        eprintln!("{error}; going on with the package lists there are");
    }
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(packages.iter().map(|package| package.name));
    apt(&arguments)
}

fn names(packages: &[Package]) -> String {
    packages
        .iter()
        .map(|package| package.name)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_reason() {
        let all: Vec<_> = wanted().collect();
        assert!(all.len() > 10);
        for package in all {
            assert!(package.reason.len() > 5, "{} has no reason", package.name);
            assert!(
                package
                    .name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-+.".contains(c)),
                "{}",
                package.name
            );
        }
    }
}
