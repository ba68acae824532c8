//! Layers and an overlay, and nothing else: no image, no container. The overlay is mounted nowhere; it is reached through its
//! descriptor and gone with it.
//!
//! ```text
//! sudo cargo run --package orlop-examples --bin overlay_alone
//! ```

#![allow(clippy::print_stdout)] // A program.

use std::error::Error;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use orlop_unionfs::{Active, ApplyLimits, Backend, MountOptions, Options, Rootfs, Snapshots};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = Snapshots::open(&folder.path().join("store"), Options::default())?;

    // A layer: whatever is written to a snapshot of nothing.
    let base = format!("sha256:{:064x}", 1);
    in_snapshot(&store.prepare("base", None)?, |root| {
        fs::create_dir(root.join("etc"))?;
        fs::write(root.join("etc/motd"), "welcome aboard\n")?;
        fs::write(root.join("etc/rations"), "biscuit\n")
    })?;
    store.commit("base", &base)?;

    // Two snapshots of it do not see each other, and the layer stays as it is.
    for (key, rations) in [("mess", "rum\n"), ("cabin", "claret\n")] {
        in_snapshot(&store.prepare(key, Some(&base))?, |root| {
            fs::write(root.join("etc/rations"), rations)?;
            fs::remove_file(root.join("etc/motd"))
        })?;
        let mut layer = Vec::new();
        let written = store.diff(key, &mut layer)?;
        let used = store.usage(key)?;
        println!(
            "{key}: {} entries, {} bytes on disk, diff id {}",
            written.entries, used.bytes, written.diff_id
        );

        // What a diff gives is a layer like any other: with its whiteout, it says what was deleted.
        let above = format!("sha256:{:064x}", if key == "mess" { 2 } else { 3 });
        store.apply(Some(&base), &above, &layer[..], &ApplyLimits::default())?;
        in_snapshot(
            &store.prepare(&format!("{key}-again"), Some(&above))?,
            |root| {
                assert_eq!(fs::read_to_string(root.join("etc/rations"))?, rations);
                assert!(!root.join("etc/motd").exists());
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Mounts a snapshot, nowhere, and works in it.
fn in_snapshot(
    snapshot: &Active,
    work: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    match snapshot.mount(&MountOptions::default())? {
        Rootfs::Detached(mount) => work(&PathBuf::from(format!(
            "/proc/self/fd/{}",
            mount.as_raw_fd()
        )))?,
        Rootfs::Directory(path) => work(&path)?,
        // Without privilege an overlay has to be mounted in a user namespace; here a copy will do.
        _ => match snapshot.mount(&MountOptions::default().backend(Backend::Copy))? {
            Rootfs::Directory(path) => work(&path)?,
            other => return Err(format!("cannot work in {other:?}").into()),
        },
    }
    Ok(())
}
