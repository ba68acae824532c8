//! Pulls an image with progress, makes a root file system of it, and says what it got.
//!
//! ```text
//! cargo run --package orlop-examples --bin pull -- IMAGE [DIRECTORY]
//! ```
//!
//! Registries on loopback may speak plain HTTP. Without a directory everything goes to a temporary one.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Mutex;

use orlop_image::{Store, platform, reference};
use orlop_registry_client::Client;
use orlop_runtime::images::{Images, PullEvent};
use orlop_unionfs::{MountOptions, Snapshots};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = reference::parse(&arguments.next().ok_or("usage: pull IMAGE [DIRECTORY]")?)?;
    let temporary = tempfile::tempdir()?;
    let dir = arguments
        .next()
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);

    let store = Store::open(&dir.join("images"))?;
    let snapshots = Snapshots::open(&dir.join("snapshots"), Default::default())?;
    let images = Images::new(store, snapshots);
    let client = Client::builder().build()?;

    // Ctrl-C drops the pull, which is all it takes to cancel it.
    let platform = platform::host();
    let pulled = tokio::select! {
        pulled = images.pull(&client, &name, &platform, progress()) => pulled?,
        _ = tokio::signal::ctrl_c() => return Err("cancelled".into()),
    };
    println!(
        "{name} is {}, {} bytes",
        pulled.image.id(),
        pulled.image.size()
    );

    // What a container would start in; mounted nowhere, and gone with the value. This one blocks.
    let (snapshot, root) = tokio::task::spawn_blocking(move || {
        let made = images.rootfs(&pulled.image, "example", &MountOptions::default());
        let _ = images.snapshots().remove("example");
        made
    })
    .await??;
    println!("{}: {root:?}", snapshot.key());
    Ok(())
}

/// A callback that prints each layer at every quarter.
fn progress() -> impl Fn(PullEvent) + Send + Sync + 'static {
    let quarters = Mutex::new(HashMap::new());
    move |event| match event {
        PullEvent::Resolved { layers, .. } => println!("{} layers", layers.len()),
        PullEvent::Downloading {
            digest,
            bytes,
            total,
        } => {
            let quarter = 4 * bytes / total.max(1);
            let mut quarters = quarters.lock().unwrap_or_else(|broken| broken.into_inner());
            if quarters.insert(digest.to_string(), quarter) != Some(quarter) {
                println!("{:.19} {:3} %", digest.to_string(), 25 * quarter);
            }
        }
        PullEvent::Present { digest } => println!("{:.19} is here already", digest.to_string()),
        PullEvent::Unpacked {
            digest, entries, ..
        } => {
            println!("{:.19} unpacked, {entries} entries", digest.to_string());
        }
        PullEvent::Retrying { reason, .. } => println!("once more: {reason}"),
        _ => {}
    }
}
