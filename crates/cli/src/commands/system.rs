//! `system gc`, `system df` and `version`.

use orlop_engine::Engine;
use serde::Serialize;
use serde_json::json;

use crate::args::{Df, Format, Gc, Version};
use crate::failure::Failure;
use crate::output::{self, human, table::table};

pub(crate) fn gc(engine: &Engine, args: &Gc) -> Result<(), Failure> {
    let before = engine.disk_usage()?;
    let collected = engine.collect()?;
    let after = engine.disk_usage()?;
    let freed = (before.image_bytes + before.layer_bytes)
        .saturating_sub(after.image_bytes + after.layer_bytes);
    if args.format == Format::Json {
        return output::json_lines(&[json!({
            "ImagesDeleted": collected.images,
            "Blobs": collected.blobs,
            "Layers": collected.layers,
            "Leftovers": collected.leftovers,
            "SpaceReclaimed": freed,
        })]);
    }
    let mut text: String = collected
        .images
        .iter()
        .map(|id| format!("Deleted: {id}\n"))
        .collect();
    text.push_str(&format!(
        "Removed: blobs {}, layers {}, leftovers {}\nTotal reclaimed space: {}\n",
        collected.blobs,
        collected.layers.len(),
        collected.leftovers,
        human::size(freed),
    ));
    output::text(&text)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    r#type: &'static str,
    total_count: usize,
    active: usize,
    size: String,
    size_bytes: u64,
}

pub(crate) fn df(engine: &Engine, args: &Df) -> Result<(), Failure> {
    let usage = engine.disk_usage()?;
    let row = |kind, total_count, active, bytes| Row {
        r#type: kind,
        total_count,
        active,
        size: human::size(bytes),
        size_bytes: bytes,
    };
    let rows = [
        row(
            "Images",
            usage.images,
            usage.images_active,
            usage.image_bytes,
        ),
        row("Layers", usage.layers, usage.layers, usage.layer_bytes),
        row(
            "Containers",
            usage.containers,
            usage.containers_active,
            usage.container_bytes,
        ),
        row(
            "Local Volumes",
            usage.volumes,
            usage.volumes_active,
            usage.volume_bytes,
        ),
    ];
    if args.format == Format::Json {
        return output::json_lines(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            vec![
                r.r#type.to_owned(),
                r.total_count.to_string(),
                r.active.to_string(),
                r.size.clone(),
            ]
        })
        .collect();
    output::text(&table(&["TYPE", "TOTAL", "ACTIVE", "SIZE"], &cells))
}

pub(crate) fn version(args: &Version) -> Result<(), Failure> {
    let kernel = rustix::system::uname();
    let kernel = kernel.release().to_string_lossy();
    let (version, arch) = (env!("CARGO_PKG_VERSION"), docker_arch());
    if args.format == Format::Json {
        return output::json_lines(&[json!({
            "Client": {"Version": version, "Os": "linux", "Arch": arch, "KernelVersion": kernel},
        })]);
    }
    output::text(&format!(
        "orlop {version}\nOS/Arch: linux/{arch}\nKernel:  {kernel}\n"
    ))
}

fn docker_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
