//! Images that Orlop makes load elsewhere, and the other way round.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::Check;
use super::world::{World, same};
use crate::Failure;
use crate::command::check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a saved image loads in skopeo, layer for layer",
        holds: skopeo_reads,
    },
    Check {
        name: "a saved many-layer image loads in skopeo, layer for layer",
        holds: skopeo_reads_debian,
    },
    Check {
        name: "a saved image loads in podman",
        holds: podman_reads,
    },
    Check {
        name: "the saved hello loads in podman",
        holds: podman_reads_hello,
    },
    Check {
        name: "what skopeo saves loads and runs: docker-archive, oci-archive, oci",
        holds: loads_from_skopeo,
    },
    Check {
        name: "what podman saves loads and runs: docker-archive, oci-archive",
        holds: loads_from_podman,
    },
    Check {
        name: "a root file system's tar imports and runs",
        holds: imports,
    },
];

/// Configuration of an image as skopeo sees it.
fn config(image: &str) -> Result<Value, Failure> {
    let text =
        check(Command::new("skopeo").args(["inspect", "--config", "--tls-verify=false", image]))?;
    Ok(serde_json::from_str(&text)?)
}

fn same_layers(world: &World, image: &str) -> Result<(), Failure> {
    let name = world.name(image);
    let archive = world.path(&format!("{image}.tar"));
    world
        .orlop(&["save", "-o", &archive.display().to_string(), &name])?
        .ok()?;
    let saved = config(&format!("docker-archive:{}", archive.display()))?;
    let original = config(&format!("docker://{name}"))?;
    same(&saved["rootfs"], &original["rootfs"])?;
    same(&saved["config"], &original["config"])?;
    // To read the configuration is not to read the layers.
    let copy = world.path(&format!("{image}-copy"));
    let (from, to) = (
        format!("docker-archive:{}", archive.display()),
        format!("oci:{}:copy", copy.display()),
    );
    check(Command::new("skopeo").args(["copy", "--quiet", &from, &to]))?;
    fs::remove_dir_all(copy)?;
    Ok(())
}

fn skopeo_reads(world: &World) -> Result<(), Failure> {
    same_layers(world, "busybox")
}

fn skopeo_reads_debian(world: &World) -> Result<(), Failure> {
    same_layers(world, "debian")?;
    fs::remove_file(world.path("debian.tar"))?;
    Ok(())
}

/// Saves an image, loads it in podman, and returns what podman then knows of it.
fn into_podman(world: &World, name: &str, file: &str) -> Result<Value, Failure> {
    world
        .orlop(&["save", "-o", &world.text(file), name])?
        .ok()?;
    let said = world.containers_tool("podman", &["load", "--input", &world.text(file)])?;
    let loaded = said
        .lines()
        .find_map(|line| line.strip_prefix("Loaded image: "))
        .ok_or_else(|| format!("podman says {said}"))?;
    let inspected = world.containers_tool("podman", &["image", "inspect", loaded.trim()])?;
    Ok(serde_json::from_str::<Value>(&inspected)?[0].clone())
}

fn podman_reads(world: &World) -> Result<(), Failure> {
    let name = world.name("busybox");
    let loaded = into_podman(world, &name, "for-podman.tar")?;
    let original = config(&format!("docker://{name}"))?;
    same(&loaded["RootFS"]["Layers"], &original["rootfs"]["diff_ids"])?;
    same(&loaded["Config"]["Cmd"], &original["config"]["Cmd"])?;
    same(
        loaded["RepoTags"][0].as_str(),
        Some(format!("{name}:latest").as_str()),
    )
}

fn podman_reads_hello(world: &World) -> Result<(), Failure> {
    let loaded = into_podman(world, "hello", "hello.tar")?;
    same(
        loaded["RootFS"]["Layers"]
            .as_array()
            .is_some_and(|layers| !layers.is_empty()),
        true,
    )?;
    // The real proof: what is in it runs by itself.
    let container = world.containers_tool(
        "podman",
        &[
            "create",
            "--network=none",
            loaded["Id"].as_str().unwrap_or_default(),
        ],
    )?;
    let root = world.containers_tool("podman", &["mount", container.trim()])?;
    let command = [&loaded["Config"]["Entrypoint"], &loaded["Config"]["Cmd"]]
        .into_iter()
        .find_map(|words| words[0].as_str());
    let program = command.ok_or("it has no command")?.trim_start_matches('/');
    let there = std::path::Path::new(root.trim()).join(program).is_file();
    world.containers_tool("podman", &["umount", container.trim()])?;
    world.containers_tool("podman", &["rm", container.trim()])?;
    same(there, true)
}

/// Loads a file or folder and runs the image it holds under this name.
fn load_and_run(world: &World, file: &str, name: &str) -> Result<(), Failure> {
    let said = world
        .orlop(&["load", "-i", &world.text(file)])?
        .ok()
        .map_err(|error| format!("{file}: {error}"))?;
    let loaded = said
        .lines()
        .rev()
        .find_map(|line| line.split_once(": "))
        .map_or(name, |(_, loaded)| loaded.trim());
    if !said.contains(name) {
        return Err(format!("{file} loaded as {said}, not as {name}").into());
    }
    let ran = world
        .orlop(&["run", "--rm", loaded, "sh", "-c", "echo loaded | cat"])?
        .ok();
    same(
        ran.map_err(|error| format!("{file}: {error}"))?.as_str(),
        "loaded\n",
    )?;
    world.orlop(&["rmi", "--force", loaded])?.ok().map(drop)
}

fn loads_from_skopeo(world: &World) -> Result<(), Failure> {
    let source = format!("docker://{}", world.name("busybox"));
    let forms = [
        ("docker-archive", "s.tar"),
        ("oci-archive", "s.oci.tar"),
        ("oci", "s-oci"),
    ];
    for (transport, file) in forms {
        let name = format!("example.com/{transport}:1");
        // In an OCI layout the whole name is an annotation.
        let target = format!("{transport}:{}:{name}", world.text(file));
        check(Command::new("skopeo").args([
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            &source,
            &target,
        ]))?;
        load_and_run(world, file, &name)?;
    }
    Ok(())
}

fn loads_from_podman(world: &World) -> Result<(), Failure> {
    for format in ["docker-archive", "oci-archive"] {
        let name = format!("localhost/from-podman:{format}");
        world.containers_tool("podman", &["tag", &world.name("busybox"), &name])?;
        let file = format!("podman-{format}.tar");
        world.containers_tool(
            "podman",
            &[
                "save",
                "--quiet",
                "--format",
                format,
                "--output",
                &world.text(&file),
                &name,
            ],
        )?;
        load_and_run(world, &file, &name)?;
    }
    Ok(())
}

fn imports(world: &World) -> Result<(), Failure> {
    let archive = world.path("root.tar");
    check(
        Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(world.path("busybox-root"))
            .arg("."),
    )?;
    let change = "CMD [\"/bin/echo\", \"imported\"]";
    world
        .orlop(&[
            "import",
            "-c",
            change,
            &archive.display().to_string(),
            "example.com/imported:1",
        ])?
        .ok()?;
    same(
        world
            .orlop(&["run", "--rm", "example.com/imported:1"])?
            .ok()?
            .as_str(),
        "imported\n",
    )?;
    world
        .orlop(&["rmi", "example.com/imported:1"])?
        .ok()
        .map(drop)
}
