//! The many-layer Debian image: made once, from the machine's own package sources, and kept in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::command::{check, target};

/// How many layers the root is cut into, before those that change and remove files.
const SLICES: usize = 20;

/// The folder of an OCI layout with one image tagged `latest`; made if it is not there yet. Needs a network then.
pub(crate) fn debian() -> Result<PathBuf, Failure> {
    let folder = target().join("fixtures");
    let layout = folder.join("debian");
    if layout.join("index.json").exists() {
        return Ok(layout);
    }
    println!("   making a Debian image of many layers, once");
    fs::create_dir_all(&folder)?;
    let work = tempfile::Builder::new()
        .prefix("debian-")
        .tempdir_in(&folder)?;
    let root = make_root(work.path())?;
    let made = work.path().join("layout");
    make_layout(work.path(), &root, &made)?;
    fs::rename(&made, &layout)?;
    Ok(layout)
}

fn make_root(work: &Path) -> Result<PathBuf, Failure> {
    let codename = fs::read_to_string("/etc/os-release")?
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME=").map(str::to_owned))
        .ok_or("/etc/os-release names no VERSION_CODENAME")?;
    let sources = work.join("sources.list");
    fs::write(&sources, source_line(&codename)?)?;
    let root = work.join("root");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase"]);
    // Reached the way the machine's own apt reaches it.
    let proxies = check(Command::new("apt-config").args([
        "dump",
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
    ]))?;
    for line in proxies
        .lines()
        .filter(|line| line.contains("::Proxy \"") && !line.ends_with("\"\";"))
    {
        command.arg(format!("--aptopt={line}"));
    }
    check(command.arg(&codename).arg(&root).arg(&sources))?;
    Ok(root)
}

/// The source the machine itself is installed from.
fn source_line(codename: &str) -> Result<String, Failure> {
    let format = "$(REPO_URI) $(CODENAME) $(COMPONENT)";
    let targets = check(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
        "Created-By: Packages",
    ]))?;
    let wanted = format!(" {codename} main");
    let source = targets.lines().find_map(|line| line.strip_suffix(&wanted));
    let source =
        source.ok_or_else(|| format!("no package source has component main of {codename}"))?;
    Ok(format!("deb {source} {codename} main\n"))
}

fn make_layout(work: &Path, root: &Path, layout: &Path) -> Result<(), Failure> {
    let image = format!("{}:latest", layout.display());
    check(
        Command::new("umoci")
            .arg("init")
            .arg("--layout")
            .arg(layout),
    )?;
    check(Command::new("umoci").args(["new", "--image", &image]))?;
    let layer = work.join("layer.tar");
    let list = work.join("list");
    let names =
        check(
            Command::new("find")
                .current_dir(root)
                .args([".", "-mindepth", "1", "-print"]),
        )?;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    for slice in names.chunks(names.len().div_ceil(SLICES).max(1)) {
        fs::write(&list, slice.join("\n"))?;
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .arg("--file")
            .arg(&layer)
            .arg("--directory")
            .arg(root)
            .args(["--no-recursion", "--numeric-owner"]);
        check(
            tar.args(["--xattrs", "--xattrs-include=*", "--files-from"])
                .arg(&list),
        )?;
        add_layer(&image, &layer)?;
    }
    for (number, entries) in changes().into_iter().enumerate() {
        let tree = work.join(format!("change-{number}"));
        for (path, content) in entries {
            let file = tree.join(path);
            fs::create_dir_all(file.parent().unwrap_or(&tree))?;
            fs::write(file, content)?;
        }
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .arg("--file")
            .arg(&layer)
            .arg("--directory")
            .arg(&tree)
            .args(["--owner=0", "--group=0", "."]);
        check(&mut tar)?;
        add_layer(&image, &layer)?;
    }
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    check(Command::new("umoci").args([
        "config",
        "--image",
        &image,
        "--config.cmd",
        "/bin/bash",
        "--config.env",
        path,
    ]))?;
    check(Command::new("umoci").arg("gc").arg("--layout").arg(layout))?;
    Ok(())
}

/// Layers that remove and replace: a whiteout, an opaque directory, a file over a file, a file where a directory was.
fn changes() -> [Vec<(&'static str, &'static str)>; 3] {
    [
        vec![("usr/share/.wh.doc", ""), ("etc/motd", "first\n")],
        vec![
            ("etc/cron.d/.wh..wh..opq", ""),
            ("etc/cron.d/only", "one\n"),
            ("etc/motd", "second\n"),
        ],
        vec![("etc/skel", "a file now\n")],
    ]
}

fn add_layer(image: &str, layer: &Path) -> Result<(), Failure> {
    check(
        Command::new("umoci")
            .args(["raw", "add-layer", "--image", image])
            .arg(layer),
    )
    .map(drop)
}
