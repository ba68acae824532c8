//! From the registry to a running container.

use std::fs;
use std::process::Command;

use super::Check;
use super::world::{World, run, same};
use crate::Failure;
use crate::command::{check, find};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "fill the registry with a busybox image by buildah",
        holds: fill_busybox,
    },
    Check {
        name: "fill the registry with a many-layer Debian image by skopeo",
        holds: fill_debian,
    },
    Check {
        name: "run hello, with no registry",
        holds: hello,
    },
    Check {
        name: "pull busybox",
        holds: pull_busybox,
    },
    Check {
        name: "busybox: output, standard input, a shell pipeline",
        holds: streams,
    },
    Check {
        name: "busybox: Docker's exit codes",
        holds: exit_codes,
    },
    Check {
        name: "busybox: the options of run",
        holds: run_options,
    },
    Check {
        name: "busybox: the memory limit kills, and says so",
        holds: memory_limit,
    },
    Check {
        name: "Debian: run pulls it; apt-get, dpkg, a shell pipeline",
        holds: debian_commands,
    },
    Check {
        name: "Debian: whiteouts, opaque directories and replaced files",
        holds: debian_layers,
    },
    Check {
        name: "Debian: every file is as umoci unpacks it",
        holds: debian_files,
    },
    Check {
        name: "the example that pulls with progress",
        holds: pull_example,
    },
    Check {
        name: "runs leave the state as it was",
        holds: runs_leave_nothing,
    },
];

/// After all others: they take the images away.
pub(super) const LAST: &[Check] = &[Check {
    name: "removing every image leaves an empty store",
    holds: remove_images,
}];

fn fill_busybox(world: &World) -> Result<(), Failure> {
    push_busybox(world, "busybox", &[])
}

/// Builds a busybox image with some files more and pushes it.
pub(super) fn push_busybox(
    world: &World,
    name: &str,
    files: &[(&str, &str)],
) -> Result<(), Failure> {
    let busybox = find("busybox").ok_or("busybox-static is not installed")?;
    let root = world.path(&format!("{name}-root"));
    for folder in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for applet in check(Command::new(&busybox).arg("--list"))?
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n")?;
    for (path, content) in files {
        fs::write(root.join(path), content)?;
    }
    let container = world.containers_tool("buildah", &["from", "scratch"])?;
    let container = container.trim();
    world.containers_tool(
        "buildah",
        &[
            "copy",
            "--quiet",
            container,
            &world.text(&format!("{name}-root")),
            "/",
        ],
    )?;
    world.containers_tool(
        "buildah",
        &[
            "config",
            "--cmd",
            "[\"sh\"]",
            "--env",
            "PATH=/bin",
            container,
        ],
    )?;
    world.containers_tool("buildah", &["commit", "--quiet", "--rm", container, name])?;
    let target = format!("docker://{}", world.name(name));
    world.containers_tool(
        "buildah",
        &["push", "--quiet", "--tls-verify=false", name, &target],
    )?;
    Ok(())
}

fn fill_debian(world: &World) -> Result<(), Failure> {
    let source = format!("oci:{}:latest", world.debian.display());
    let target = format!("docker://{}", world.name("debian"));
    check(Command::new("skopeo").args([
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        &source,
        &target,
    ]))
    .map(drop)
}

fn hello(world: &World) -> Result<(), Failure> {
    let said = world.orlop(&["run", "--rm", "hello"])?.ok()?;
    if said.contains("started in") {
        Ok(())
    } else {
        Err(format!("it said: {said}").into())
    }
}

fn pull_busybox(world: &World) -> Result<(), Failure> {
    world.orlop(&["pull", &world.name("busybox")])?.ok()?;
    let images = world.orlop(&["images", "--format", "json"])?.ok()?;
    let listed = images
        .lines()
        .any(|line| line.starts_with('{') && line.contains(&world.name("busybox")));
    if listed {
        Ok(())
    } else {
        Err(format!("not listed: {images}").into())
    }
}

/// What a command in the busybox image prints.
fn busybox(world: &World, options: &[&str], command: &[&str]) -> Result<String, Failure> {
    let name = world.name("busybox");
    world
        .orlop(&[&["run", "--rm"], options, &[&name], command].concat())?
        .ok()
}

fn streams(world: &World) -> Result<(), Failure> {
    same(
        busybox(world, &[], &["echo", "hello"])?,
        "hello\n".to_owned(),
    )?;
    let pipeline = "printf 'b\\na\\nc\\n' | sort | tail -n 2 | tr a-z A-Z";
    same(
        busybox(world, &[], &["sh", "-c", pipeline])?,
        "B\nC\n".to_owned(),
    )?;
    let name = world.name("busybox");
    let said = world
        .orlop_with("one two\n", &["run", "--rm", "-i", &name, "wc", "-w"])?
        .ok()?;
    same(said.trim(), "2")?;
    let ran = world.orlop(&["run", "--rm", &name, "sh", "-c", "echo out; echo err >&2"])?;
    same(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "out\n", "err\n"),
    )
}

fn exit_codes(world: &World) -> Result<(), Failure> {
    let name = world.name("busybox");
    let code = |command: &[&str]| {
        world
            .orlop(&[&["run", "--rm", &name], command].concat())
            .map(|ran| ran.code)
    };
    same(code(&["sh", "-c", "exit 7"])?, 7)?;
    same(code(&["no-such-command"])?, 127)?;
    same(code(&["/etc/passwd"])?, 126)?;
    same(
        world
            .orlop(&["run", "--rm", "--no-such-option", &name])?
            .code,
        125,
    )?;
    // A shell is process 1 and deaf to signals without a handler; its child is not.
    same(code(&["sh", "-c", "sleep 9 & kill -9 $!; wait $!"])?, 137)
}

fn run_options(world: &World) -> Result<(), Failure> {
    let says = |options: &[&str], command: &[&str], wanted: &str| -> Result<(), Failure> {
        let said =
            busybox(world, options, command).map_err(|error| format!("{options:?}: {error}"))?;
        same(said.trim_end(), wanted).map_err(|error| format!("{options:?}: {error}").into())
    };
    says(&["-e", "A=b c"], &["sh", "-c", "echo $A"], "b c")?;
    says(&["-w", "/tmp"], &["pwd"], "/tmp")?;
    says(&["-u", "user"], &["sh", "-c", "id -u; id -g"], "1000\n1000")?;
    says(&["--hostname", "box"], &["hostname"], "box")?;
    says(
        &["--read-only"],
        &["sh", "-c", "echo x > /x || echo refused"],
        "refused",
    )?;
    says(&["--entrypoint", "/bin/echo"], &["said"], "said")?;
    says(&[], &["sh", "-c", "echo $$"], "1")?;
    says(
        &["--cap-drop", "ALL"],
        &["grep", "CapEff", "/proc/self/status"],
        "CapEff:\t0000000000000000",
    )?;
    let folder = world.path("volume");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("in"), "from outside")?;
    let volume = format!("{}:/mnt", folder.display());
    says(
        &["-v", &volume],
        &["sh", "-c", "cat /mnt/in; echo back > /mnt/out"],
        "from outside",
    )?;
    same(fs::read_to_string(folder.join("out"))?, "back\n".to_owned())?;
    says(
        &["-v", &format!("{volume}:ro")],
        &["sh", "-c", "echo > /mnt/no || echo refused"],
        "refused",
    )?;
    says(
        &["--pids-limit", "20", "--cpus", "0.5", "-m", "64m"],
        &["echo", "limited"],
        "limited",
    )
}

fn memory_limit(world: &World) -> Result<(), Failure> {
    let name = world.name("busybox");
    let hungry = [
        "run",
        "--rm",
        "-m",
        "16m",
        &name,
        "sh",
        "-c",
        "exec tail -c 200000000 /dev/zero",
    ];
    same(world.orlop(&hungry)?.code, 137)
}

fn debian_commands(world: &World) -> Result<(), Failure> {
    let name = world.name("debian");
    let say = |command: &[&str]| {
        world
            .orlop(&[&["run", "--rm", &name], command].concat())?
            .ok()
    };
    let version = say(&["apt-get", "--version"])?;
    if !version.starts_with("apt ") {
        return Err(format!("apt-get says {version}").into());
    }
    let packages = say(&["dpkg", "-l"])?;
    let installed = packages
        .lines()
        .filter(|line| line.starts_with("ii "))
        .count();
    if installed < 50 {
        return Err(format!("dpkg lists {installed} packages: {packages}").into());
    }
    let counted = say(&["bash", "-c", "set -o pipefail; dpkg -l | grep -c '^ii '"])?;
    same(counted.trim(), installed.to_string().as_str())
}

fn debian_layers(world: &World) -> Result<(), Failure> {
    let script =
        "cat /etc/motd; ls /etc/cron.d; cat /etc/skel; test -e /usr/share/doc || echo gone";
    let said = world
        .orlop(&["run", "--rm", &world.name("debian"), "sh", "-c", script])?
        .ok()?;
    same(said.as_str(), "second\nonly\na file now\ngone\n")
}

fn debian_files(world: &World) -> Result<(), Failure> {
    // /etc has files that a start puts there; a directory's size and time depend on the file system.
    const LIST: &str = "{ find usr var opt home -type d -printf 'd %m %U %G %p\\n'; \
        find usr var opt home ! -type d -printf '%y %m %U %G %s %T@ %n %p -> %l\\n'; } | LC_ALL=C sort";
    let unpacked = world.path("unpacked");
    let image = format!("{}:latest", world.debian.display());
    check(
        Command::new("umoci")
            .args(["raw", "unpack", "--image", &image])
            .arg(&unpacked),
    )?;
    let wanted = run(
        Command::new("sh").args(["-c", LIST]).current_dir(&unpacked),
        "",
    )?
    .ok()?;
    fs::remove_dir_all(&unpacked)?;
    let found = world
        .orlop(&[
            "run",
            "--rm",
            "-w",
            "/",
            &world.name("debian"),
            "sh",
            "-c",
            LIST,
        ])?
        .ok()?;
    let missing: Vec<_> = wanted
        .lines()
        .filter(|line| !found.contains(line))
        .take(5)
        .collect();
    let extra: Vec<_> = found
        .lines()
        .filter(|line| !wanted.contains(line))
        .take(5)
        .collect();
    same(
        (missing, extra, found.lines().count() > 1000),
        (Vec::new(), Vec::new(), true),
    )
}

fn pull_example(world: &World) -> Result<(), Failure> {
    let said = check(Command::new(world.sibling("pull")).arg(world.name("busybox")))?;
    if said.contains("bytes") {
        Ok(())
    } else {
        Err(format!("it said: {said}").into())
    }
}

fn runs_leave_nothing(world: &World) -> Result<(), Failure> {
    let name = world.name("busybox");
    let before = world.state()?;
    world
        .orlop(&["run", "--rm", &name, "sh", "-c", "echo > /file"])?
        .ok()?;
    world
        .orlop(&["run", "--rm", &name, "no-such-command"])?
        .ends_with(127)?;
    world
        .orlop(&["run", "--rm", "-u", "nobody-of-that-name", &name, "true"])?
        .ends_with(125)?;
    let left: Vec<_> = world.state()?.difference(&before).cloned().collect();
    same(left, Vec::new())
}

fn remove_images(world: &World) -> Result<(), Failure> {
    let ids = world.orlop(&["images", "--quiet", "--no-trunc"])?.ok()?;
    for id in ids.lines() {
        // Two names of one image are two lines.
        let ran = world.orlop(&["rmi", "--force", id])?;
        if ran.code != 0
            && !ran.stderr.contains("no such image")
            && !ran.stderr.contains("No such image")
        {
            return ran.ok().map(drop);
        }
    }
    world.orlop(&["system", "gc"])?.ok()?;
    same(world.orlop(&["images", "--quiet"])?.ok()?, String::new())?;
    let used = check(
        Command::new("du")
            .args(["--summarize", "--block-size=1K"])
            .arg(world.path("orlop")),
    )?;
    let kib: u64 = used
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse().ok())
        .ok_or("du printed no number")?;
    if kib < 2048 {
        Ok(())
    } else {
        Err(format!("{kib} KiB are still in use: {:?}", world.state()?).into())
    }
}
