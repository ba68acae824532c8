//! What is wrong is refused with a word that helps, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Check;
use super::running::push_busybox;
use super::world::{World, same, tree};
use crate::Failure;
use crate::command::check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "an image that is nowhere",
        holds: no_such_image,
    },
    Check {
        name: "a registry that lies about a layer",
        holds: lying_registry,
    },
    Check {
        name: "a truncated archive",
        holds: truncated_archive,
    },
    Check {
        name: "Ctrl-C in a pull leaves a clean store",
        holds: cancelled_pull,
    },
    Check {
        name: "kill -9 in a pull, and the next one succeeds",
        holds: killed_pull,
    },
    Check {
        name: "two pulls at once into one store",
        holds: two_pulls,
    },
];

/// Nothing new in the state after a refusal.
fn leaves_nothing(
    world: &World,
    refused: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let before = world.state()?;
    refused()?;
    let left: Vec<_> = world.state()?.difference(&before).cloned().collect();
    same(left, Vec::new())
}

fn no_such_image(world: &World) -> Result<(), Failure> {
    leaves_nothing(world, || {
        let name = world.name("no-such-image");
        world.orlop(&["pull", &name])?.fails(1, "no-such-image")?;
        world
            .orlop(&["run", "--rm", &name, "true"])?
            .fails(125, "no-such-image")?;
        // Port 1 is nobody's.
        world
            .orlop(&["pull", "127.0.0.1:1/image"])?
            .fails(1, "127.0.0.1:1")
    })
}

fn lying_registry(world: &World) -> Result<(), Failure> {
    push_busybox(
        world,
        "lying",
        &[("etc/motd", "another layer than busybox has\n")],
    )?;
    let text = check(
        Command::new("skopeo")
            .args(["inspect", "--tls-verify=false"])
            .arg(format!("docker://{}", world.name("lying"))),
    )?;
    let inspected: Value = serde_json::from_str(&text)?;
    let digest = inspected["Layers"][0]
        .as_str()
        .and_then(|layer| layer.strip_prefix("sha256:"))
        .ok_or("no layer")?;
    let blobs = world.path("registry/docker/registry/v2/blobs/sha256");
    let data = blobs
        .join(digest.get(..2).unwrap_or_default())
        .join(digest)
        .join("data");
    let mut bytes = fs::read(&data)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x55;
    }
    fs::write(&data, bytes)?;
    leaves_nothing(world, || {
        world
            .orlop(&["pull", &world.name("lying")])?
            .fails(1, digest.get(..12).unwrap_or_default())
    })
}

fn truncated_archive(world: &World) -> Result<(), Failure> {
    let whole = world.path("for-truncation.tar");
    let source = format!("docker://{}", world.name("busybox"));
    let target = format!("docker-archive:{}:truncated", whole.display());
    check(Command::new("skopeo").args([
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        &source,
        &target,
    ]))?;
    let size = fs::metadata(&whole)?.len();
    for part in [1, 100, size / 2] {
        fs::OpenOptions::new()
            .write(true)
            .open(&whole)?
            .set_len(part)?;
        leaves_nothing(world, || {
            world
                .orlop(&["load", "-i", &whole.display().to_string()])?
                .fails(1, "")
        })?;
        check(Command::new("rm").arg(&whole))?;
        check(Command::new("skopeo").args([
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            &source,
            &target,
        ]))?;
    }
    Ok(())
}

/// Starts to pull the large image into this state folder and sends a signal after a moment. The exit code, or `None` if the
/// pull was faster.
fn interrupted(
    world: &World,
    root: &str,
    signal: &str,
    moment: Duration,
) -> Result<Option<i32>, Failure> {
    let mut command = world.orlop_command(root);
    command
        .args(["pull", &world.name("debian")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    thread::sleep(moment);
    check(Command::new("kill").args([signal, &child.id().to_string()]))?;
    let status = child.wait()?;
    Ok(if status.success() {
        None
    } else {
        Some(status.code().unwrap_or(-1))
    })
}

/// The same, with less and less patience.
fn surely_interrupted(world: &World, root: &str, signal: &str) -> Result<i32, Failure> {
    for moment in [400, 200, 100, 50] {
        if let Some(code) = interrupted(world, root, signal, Duration::from_millis(moment))? {
            return Ok(code);
        }
        let _ = fs::remove_dir_all(world.path(root));
    }
    Err("a pull takes less than 50 ms".into())
}

fn cancelled_pull(world: &World) -> Result<(), Failure> {
    let code = surely_interrupted(world, "cancelled", "-INT")?;
    same(code, 130)?;
    let left = files(&world.path("cancelled"))?;
    let large: Vec<_> = left.iter().filter(|(_, size)| *size > 64 * 1024).collect();
    same(large, Vec::new())?;
    let images = world
        .orlop_command("cancelled")
        .args(["images", "--quiet"])
        .output()?;
    same((images.status.code(), images.stdout), (Some(0), Vec::new()))
}

/// Files with their sizes.
fn files(folder: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let listing = check(
        Command::new("find")
            .arg(folder)
            .args(["-type", "f", "-printf", "%s %P\\n"]),
    )?;
    let entry = |line: &str| {
        line.split_once(' ')
            .map(|(size, name)| (name.to_owned(), size.parse().unwrap_or(0)))
    };
    Ok(listing.lines().filter_map(entry).collect())
}

fn killed_pull(world: &World) -> Result<(), Failure> {
    same(surely_interrupted(world, "killed", "-KILL")?, -1)?;
    let say = |arguments: &[&str]| {
        super::world::run(world.orlop_command("killed").args(arguments), "")?.ok()
    };
    say(&["pull", &world.name("debian")])?;
    say(&["run", "--rm", &world.name("debian"), "dpkg", "--version"])?;
    say(&["rmi", "--force", &world.name("debian")])?;
    say(&["system", "gc"])?;
    let left = tree(&world.path("killed"))?;
    same(left.len() < 60, true).map_err(|_| format!("left after gc: {left:?}"))?;
    Ok(())
}

fn two_pulls(world: &World) -> Result<(), Failure> {
    let start = || {
        let mut command = world.orlop_command("shared");
        command
            .args(["pull", &world.name("debian")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn()
    };
    let pulls = [start()?, start()?];
    for pull in pulls {
        let output = pull.wait_with_output()?;
        if !output.status.success() {
            return Err(format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
    }
    super::world::run(
        world.orlop_command("shared").args([
            "run",
            "--rm",
            &world.name("debian"),
            "dpkg",
            "--version",
        ]),
        "",
    )?
    .ok()?;
    Ok(())
}
