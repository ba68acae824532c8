//! What is wrong is refused with a word that helps, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::{World, as_root, both};

#[test]
fn commands_that_cannot_run() {
    both(|world| {
        let world = world.with_busybox();
        let cases: &[(&[&str], i32, &str)] = &[
            (
                &["busybox", "no-such-command"],
                127,
                "cannot run \"no-such-command\"",
            ),
            (
                &["busybox", "/no/such/command"],
                127,
                "No such file or directory",
            ),
            (&["busybox", "/not-executable"], 126, "Permission denied"),
            (&["busybox", "/etc"], 126, "Permission denied"),
            (&["busybox", "/not-a-program"], 126, "Exec format error"),
            (&["--entrypoint", "", "busybox"], 125, "no command"),
            (
                &["-u", "nobody-here", "busybox", "true"],
                125,
                "nobody-here",
            ),
            (&["-w", "relative", "busybox", "true"], 125, "absolute path"),
            (
                &["-w", "/etc/passwd", "busybox", "true"],
                125,
                "/etc/passwd",
            ),
            (&["-m", "1m", "busybox", "true"], 125, "the least is 6 MiB"),
            (
                &["-m", "64m", "--memory-swap", "32m", "busybox", "true"],
                125,
                "below the memory limit",
            ),
            (
                &["--cpus", "10000", "busybox", "true"],
                125,
                "number of CPUs",
            ),
            (
                &["--ulimit", "nope=1", "busybox", "true"],
                125,
                "there is no such limit",
            ),
            (&["--cap-add", "nope", "busybox", "true"], 125, "nope"),
            (&["--name", "a/b", "busybox", "true"], 125, "container name"),
            (&["--hostname", "a/b", "busybox", "true"], 125, "host name"),
            (
                &["--stop-signal", "SIGNOPE", "busybox", "true"],
                125,
                "no such signal",
            ),
            (
                &[
                    "--mount",
                    "type=bind,source=/no/such,target=/x",
                    "busybox",
                    "true",
                ],
                125,
                "does not exist on the host",
            ),
            (
                &["-v", "/a:relative", "busybox", "true"],
                125,
                "must be absolute",
            ),
            (&["-d", "busybox", "true"], 125, "not supported yet"),
            (&["-it", "busybox", "true"], 125, "needs a terminal"),
            (
                &["--pull", "never", "no-such-image", "true"],
                125,
                "no such image: no-such-image",
            ),
            (&["Capital", "true"], 125, "lowercase"),
            (
                &["--platform", "linux/s390x", "busybox", "true"],
                125,
                "linux/s390x",
            ),
            (&["127.0.0.1:1/image", "true"], 125, "127.0.0.1:1"),
        ];
        world.leaves_nothing(|| {
            for (arguments, code, words) in cases {
                world
                    .orlop(&[&["run", "--rm"], *arguments].concat())
                    .fails(*code, words);
                // Without --rm a container that never ran leaves nothing either.
                world
                    .orlop(&[&["run"], *arguments].concat())
                    .fails(*code, words);
            }
        });
    });
}

#[test]
fn a_line_that_makes_no_sense() {
    both(|world| {
        let cases: &[&[&str]] = &[
            &["run"],
            &["run", "--no-such-option", "busybox"],
            &["run", "-m", "lots", "busybox"],
            &["run", "--tmpfs", "x", "busybox"],
            &["no-such-command"],
            &["images", "--format", "xml"],
            &[],
        ];
        for arguments in cases {
            let ran = world.orlop(arguments);
            assert!(
                ran.code == 125 && !ran.stderr.is_empty() && ran.stdout.is_empty(),
                "{arguments:?}: {ran:?}"
            );
        }
        assert!(!world.root().exists());
    });
}

#[test]
fn limits_need_a_cgroup_only_when_asked_for() {
    both(|world| {
        if !world.is_user() {
            return;
        }
        let world = world.with_busybox();
        let ran = world.busybox(&[], &["true"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        world.leaves_nothing(|| {
            for option in [["-m", "64m"], ["--pids-limit", "10"], ["--cpus", "0.5"]] {
                let ran = world.busybox(&option, &["true"]);
                assert!(ran.stderr.contains("\nhint: limits need root"), "{ran:?}");
                ran.fails(125, "not delegated to this user");
            }
        });
    });
}

#[test]
fn archives_that_are_cut_or_lie() {
    both(|world| {
        let world = world.with_busybox();
        let archive = world.path("whole.tar");
        world
            .orlop(&["save", "-o", archive.to_str().unwrap(), "busybox"])
            .ok();
        world.orlop(&["rmi", "busybox"]).ok();
        world.orlop(&["system", "gc"]).ok();
        let whole = fs::read(&archive).unwrap();
        let before = blobs(world);
        assert_eq!(before, 0);
        let mut lying = whole.clone();
        // Inside the layer's packed bytes.
        let middle = lying.len() / 2;
        lying[middle] ^= 0x55;
        let cases: [(&str, &[u8]); 6] = [
            ("empty", b""),
            ("text", b"this is no archive\n"),
            ("one byte", &whole[..1]),
            ("half", &whole[..whole.len() / 2]),
            ("most", &whole[..whole.len() * 9 / 10]),
            ("lying", &lying),
        ];
        for (name, bytes) in cases {
            let file = world.path("broken.tar");
            fs::write(&file, bytes).unwrap();
            world.give(&file);
            world.leaves_nothing(|| {
                world
                    .orlop(&["load", "-i", file.to_str().unwrap()])
                    .fails(1, "loading ");
                world
                    .orlop_with(bytes, &["load"])
                    .fails(1, "loading the archive");
            });
            assert_eq!(blobs(world), 0, "{name}");
            assert_eq!(world.orlop(&["images", "-q"]).ok(), "", "{name}");
        }
        world
            .orlop(&["load", "-i", "/no/such/file"])
            .fails(1, "/no/such/file");
        world
            .orlop(&["import", "/no/such/file"])
            .fails(1, "/no/such/file");
        world
            .orlop(&["import", "-c", "RUN x", archive.to_str().unwrap()])
            .fails(1, "only CMD");
        world
            .orlop(&["save", "-o", "/no/such/dir/x", "hello"])
            .fails(1, "/no/such/dir/x");
        world
            .orlop(&["save", "-o", world.path("x").to_str().unwrap(), "nope"])
            .fails(1, "no such image: nope");
        assert!(!world.path("x").exists());
    });
}

fn blobs(world: &World) -> usize {
    fs::read_dir(world.root().join("images/blobs/sha256"))
        .unwrap()
        .count()
}

#[test]
fn a_state_that_is_somebody_elses() {
    as_root(|world| {
        let root = world.root();
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = std::process::Command::new("setpriv");
        command.args([
            "--reuid",
            "54321",
            "--regid",
            "54321",
            "--clear-groups",
            env!("CARGO_BIN_EXE_orlop"),
        ]);
        let output = command
            .arg("--root")
            .arg(&root)
            .args(["run", "hello"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(
            said.contains("Permission denied")
                && said.contains("hint: the state belongs to another user"),
            "{said}"
        );
    });
}

#[test]
fn a_disk_that_is_full() {
    as_root(|world| {
        // A mount namespace of its own, with a state directory of two megabytes.
        let script = format!(
            "mount -t tmpfs -o size=2m tmpfs {0} && {1} --root {0}/state import {2} full",
            world.path("").display(),
            env!("CARGO_BIN_EXE_orlop"),
            "/dev/stdin",
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]);
        let input = tempfile::NamedTempFile::new().unwrap();
        let noise: Vec<u8> = (0u32..1_500_000)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let mut tar = tar::Builder::new(input.reopen().unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(noise.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "noise", &noise[..]).unwrap();
        tar.finish().unwrap();
        let output = command
            .stdin(fs::File::open(input.path()).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("No space left on device") && said.contains("hint: `orlop system gc`"),
            "{said}"
        );
    });
}
