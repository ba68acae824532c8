//! Kernels out of the distribution's packages: downloaded, unpacked, not installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Kind;
use crate::Failure;
use crate::command::{check, find, target};

/// A kernel ready to run.
pub(super) struct Kernel {
    /// Everything of it.
    pub(super) folder: PathBuf,
    /// The program (User-Mode Linux) or the image (QEMU).
    pub(super) image: PathBuf,
    /// Where modprobe finds `lib/modules`.
    pub(super) modules: PathBuf,
}

/// The release whose cloud kernel QEMU runs: new enough for everything Orlop can use.
const RELEASE: &str = "trixie";

/// The kernel of a machine, downloaded unless it is there. Complete or absent: a download that breaks off leaves nothing
/// behind that the next one would take for whole.
pub(super) fn kernel(kind: Kind) -> Result<Kernel, Failure> {
    let folder = target().join("vm").join(kind.name());
    if !folder.is_dir() {
        let parent = target().join("vm");
        fs::create_dir_all(&parent)?;
        let new = tempfile::tempdir_in(&parent)?;
        eprintln!("downloading the kernel of the {} machine", kind.name());
        match kind {
            Kind::Uml => download_uml(new.path())?,
            Kind::Tcg => download_cloud(new.path())?,
        }
        match fs::rename(new.path(), &folder) {
            Ok(()) => drop(new.keep()),
            // Somebody else was faster.
            Err(_) if folder.is_dir() => {}
            Err(error) => return Err(format!("renaming to {}: {error}", folder.display()).into()),
        }
    }
    let folder = fs::canonicalize(folder)?;
    let image = match kind {
        Kind::Uml => folder.join("usr/bin/linux.uml"),
        Kind::Tcg => only(&folder.join("boot"), "vmlinuz-")?,
    };
    Ok(Kernel {
        image,
        modules: folder.join("tree"),
        folder,
    })
}

fn download_uml(folder: &Path) -> Result<(), Failure> {
    download(folder, &[], "user-mode-linux")?;
    let modules = only(&folder.join("usr/lib/uml/modules"), "")?;
    index(folder, &modules)
}

fn download_cloud(folder: &Path) -> Result<(), Failure> {
    let apt = other_release(folder)?;
    check(apt_get(folder, &apt).arg("update"))?;
    let mut show = Command::new("apt-cache");
    let depends = check(show.args(&apt).args(["depends", "linux-image-cloud-amd64"]))?;
    // The package without a version depends on the one with.
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .map(|rest| format!("linux-image-{rest}"))
        .ok_or("linux-image-cloud-amd64 depends on no kernel")?;
    download(folder, &apt, &package)?;
    fs::remove_dir_all(folder.join("apt"))?;
    let merged = folder.join("usr/lib/modules");
    let split = folder.join("lib/modules");
    let modules = only(if merged.is_dir() { &merged } else { &split }, "")?;
    index(folder, &modules)
}

/// Options that make apt look at another release, on the mirror this host uses, without touching the host's own lists.
fn other_release(folder: &Path) -> Result<Vec<String>, Failure> {
    let apt = folder.join("apt");
    fs::create_dir_all(apt.join("lists/partial"))?;
    let mirror = mirror()?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let sources = apt.join("sources.list");
    fs::write(
        &sources,
        format!("deb [signed-by={keyring}] {mirror} {RELEASE} main\n"),
    )?;
    Ok([
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", apt.join("lists").display()),
        // What is downloaded here is nobody's package cache.
        format!("Dir::Cache::pkgcache={}", apt.join("pkgcache").display()),
        format!(
            "Dir::Cache::srcpkgcache={}",
            apt.join("srcpkgcache").display()
        ),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect())
}

/// Where this host's apt gets Debian from.
fn mirror() -> Result<String, Failure> {
    let mut targets = Command::new("apt-get");
    let list = check(targets.args([
        "indextargets",
        "--format",
        "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    list.lines()
        .find_map(|line| line.strip_prefix("Debian|Debian|"))
        .map(str::to_owned)
        .ok_or_else(|| "apt knows no mirror of Debian".into())
}

/// Downloads one package and unpacks it into the folder.
fn download(folder: &Path, apt: &[String], package: &str) -> Result<(), Failure> {
    let debs = folder.join("debs");
    fs::create_dir_all(&debs)?;
    check(apt_get(&debs, apt).args(["download", package]))?;
    let deb = only(&debs, package)?;
    check(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(folder))?;
    fs::remove_dir_all(debs)?;
    Ok(())
}

fn apt_get(folder: &Path, options: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(folder).arg("-q").args(options);
    command
}

/// Writes the index modprobe needs, in a tree of its own: `tree/lib/modules/VERSION`.
fn index(folder: &Path, modules: &Path) -> Result<(), Failure> {
    let depmod = find("depmod").ok_or("there is no depmod: install the package kmod")?;
    let version = modules.file_name().ok_or("modules without a version")?;
    let tree = folder.join("tree/lib/modules");
    fs::create_dir_all(&tree)?;
    // Relative, as the whole folder is renamed when it is complete.
    let inner = modules.strip_prefix(folder)?;
    symlink(Path::new("../../..").join(inner), tree.join(version))?;
    check(
        Command::new(depmod)
            .arg("-b")
            .arg(folder.join("tree"))
            .arg(version),
    )?;
    Ok(())
}

/// The one entry of a folder that begins so.
fn only(folder: &Path, beginning: &str) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(format!("{} does not hold one {beginning}*", folder.display()).into()),
    }
}
