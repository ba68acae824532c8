//! Images by name and id: listed, named, inspected, saved, loaded, removed.

use std::process::Stdio;

use crate::world::both;

#[test]
fn names_ids_and_removal() {
    both(|world| {
        let world = world.with_busybox();
        world.orlop(&["tag", "busybox", "team/tool:1"]).ok();
        let listed = world.orlop(&["images", "--no-trunc"]).ok();
        let id = listed
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .nth(2)
            .unwrap()
            .to_owned();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{listed}");
        let short = &id[7..19];
        assert!(world.orlop(&["images"]).ok().contains(short));
        assert_eq!(
            world.orlop(&["images", "-q", "team/tool"]).ok(),
            format!("{short}\n")
        );
        for name in [
            "busybox",
            "docker.io/library/busybox:latest",
            &id,
            short,
            &id[7..12],
        ] {
            let said = world.orlop(&["run", "--rm", name, "echo", "ran"]);
            assert_eq!(said.ok(), "ran\n", "{name}");
        }
        let inspected = world.orlop(&["inspect", "--format", "json", short]).ok();
        for words in [
            &format!("\"Id\":\"{id}\""),
            "\"busybox:latest\"",
            "\"team/tool:1\"",
            "\"Cmd\":[\"sh\"]",
            "\"Layers\":[\"sha256:",
        ] {
            assert!(inspected.contains(words), "{words} not in {inspected}");
        }
        world.orlop(&["rmi", short]).fails(1, "several names");
        assert_eq!(
            world.orlop(&["rmi", "busybox"]).ok(),
            "Untagged: busybox:latest\n"
        );
        assert_eq!(
            world.orlop(&["rmi", "team/tool:1"]).ok(),
            format!("Untagged: team/tool:1\nDeleted: {id}\n")
        );
        world
            .orlop(&["rmi", "busybox"])
            .fails(1, "no such image: busybox");
        world
            .orlop(&["inspect", "busybox"])
            .fails(1, "no such image or container: busybox");
        assert_eq!(
            std::fs::read_dir(world.root().join("images/blobs/sha256"))
                .unwrap()
                .count(),
            0
        );
    });
}

#[test]
fn a_name_taken_over_leaves_an_image_without_one() {
    both(|world| {
        let world = world.with_busybox();
        world.orlop(&["tag", "hello", "busybox"]).ok();
        let listed = world.orlop(&["images"]).ok();
        assert!(listed.contains("<none>"), "{listed}");
        world.orlop(&["system", "gc"]).ok();
        let listed = world.orlop(&["images"]).ok();
        assert!(
            !listed.contains("<none>") && listed.lines().count() == 3,
            "{listed}"
        );
        assert!(
            world
                .orlop(&["run", "--rm", "busybox"])
                .ok()
                .contains("Hello")
        );
    });
}

#[test]
fn saved_images_load_again() {
    both(|world| {
        let world = world.with_busybox();
        world.orlop(&["tag", "busybox", "second:name"]).ok();
        let archive = world.path("two.tar");
        world
            .orlop(&["save", "-o", archive.to_str().unwrap(), "busybox", "hello"])
            .ok();
        let ids = world.orlop(&["images", "--no-trunc", "-q", "busybox"]).ok();
        world.orlop(&["rmi", "-f", ids.trim()]).ok();
        world.orlop(&["rmi", "hello"]).ok();
        let said = world.orlop(&["load", "-i", archive.to_str().unwrap()]).ok();
        assert!(
            said.contains("Loaded image: busybox:latest\n")
                && said.contains("Loaded image: hello:latest\n"),
            "{said}"
        );
        assert_eq!(
            world.orlop(&["images", "--no-trunc", "-q", "busybox"]).ok(),
            ids
        );
        assert_eq!(world.busybox(&[], &["echo", "again"]).ok(), "again\n");
        // Through pipes, too; the bytes are the same every time.
        let mut command = world.command(&["save", "busybox", "hello"]);
        let output = command.output().unwrap();
        assert_eq!(output.stdout, std::fs::read(&archive).unwrap());
        assert!(
            world
                .orlop_with(&output.stdout, &["load", "-q"])
                .ok()
                .is_empty()
        );
    });
}

#[test]
fn readers_that_go_away_are_no_trouble() {
    both(|world| {
        let world = world.with_busybox();
        for arguments in [
            &["images"][..],
            &["inspect", "busybox"],
            &["save", "busybox"],
            &["--help"],
            &["completion", "bash"],
        ] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let output = world
                .command(arguments)
                .stdout(Stdio::from(writer))
                .output()
                .unwrap();
            assert_eq!(
                String::from_utf8(output.stderr).unwrap(),
                "",
                "{arguments:?}"
            );
            assert!(
                matches!(output.status.code(), Some(0 | 141)),
                "{arguments:?}: {:?}",
                output.status
            );
        }
    });
}

#[test]
fn help_versions_and_completions() {
    both(|world| {
        for arguments in [
            &["--help"][..],
            &["run", "--help"],
            &["pull", "--help"],
            &["help", "rmi"],
        ] {
            assert!(
                world.orlop(arguments).ok().contains("Examples:"),
                "{arguments:?}"
            );
        }
        assert!(world.orlop(&["version"]).ok().starts_with("orlop 0."));
        assert!(
            world
                .orlop(&["version", "--format", "json"])
                .ok()
                .contains("\"Version\":\"0.")
        );
        assert!(world.orlop(&["--version"]).ok().starts_with("orlop 0."));
        for shell in ["bash", "zsh", "fish"] {
            assert!(
                world
                    .orlop(&["completion", shell])
                    .ok()
                    .contains("pids-limit")
            );
        }
        assert!(!world.root().exists(), "none of these needs state");
    });
}

#[test]
fn disk_space_is_counted() {
    both(|world| {
        let world = world.with_busybox();
        world.busybox(&["-v", "vol:/data"], &["true"]).ok();
        let said = world.orlop(&["system", "df", "--format", "json"]).ok();
        let row = |kind: &str| {
            said.lines()
                .find(|line| line.contains(kind))
                .unwrap()
                .to_owned()
        };
        assert!(row("Images").contains("\"TotalCount\":1"), "{said}");
        assert!(row("Local Volumes").contains("\"TotalCount\":1"), "{said}");
        assert!(!row("Layers").contains("\"SizeBytes\":0"), "{said}");
    });
}
