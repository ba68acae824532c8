//! What a container finds itself in, and what comes back from it.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::world::{as_root, both};

#[test]
fn hello_needs_nothing() {
    both(|world| {
        world.leaves_nothing(|| {
            let said = world.orlop(&["run", "--rm", "hello"]).ok();
            assert!(
                said.contains("started in") && said.contains("pid 1"),
                "{said}"
            );
        });
        let images = world.orlop(&["images", "--format", "json"]).ok();
        assert!(images.contains("\"Repository\":\"hello\""), "{images}");
    });
}

#[test]
fn streams_and_codes_come_back() {
    both(|world| {
        let world = world.with_busybox();
        let ran = world.busybox(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (7, "out\n", "err\n")
        );
        assert_eq!(
            world
                .busybox(
                    &[],
                    &["sh", "-c", "kill -9 $$; sleep 9 & kill -9 $!; wait $!"]
                )
                .code,
            137
        );
        let ran = world.orlop_with(b"one two\n", &["run", "--rm", "-i", "busybox", "cat"]);
        assert_eq!(ran.stdout, "one two\n");
        // Without -i there is nothing to read.
        let ran = world.orlop_with(b"one two\n", &["run", "--rm", "busybox", "cat"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
        let ran = world.busybox(&[], &["sh", "-c", "head -c 3000000 /dev/zero"]);
        assert_eq!(ran.stdout.len(), 3_000_000);
        let much = vec![b'x'; 3_000_000];
        assert_eq!(
            world
                .orlop_with(&much, &["run", "--rm", "-i", "busybox", "wc", "-c"])
                .stdout
                .trim(),
            "3000000"
        );
        // Signals are as a program expects them, whatever ours are.
        let said = world
            .busybox(&[], &["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"])
            .ok();
        assert_eq!(
            said,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
        );
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_container() {
    both(|world| {
        let world = world.with_busybox();
        let mut command = world.command(&["run", "--rm", "busybox", "yes"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut bytes = [0; 4];
        stdout.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"y\ny\n");
        drop(stdout);
        assert!(!child.wait().unwrap().success());
    });
}

#[test]
fn options_of_the_process() {
    both(|world| {
        let world = world.with_busybox();
        let says = |options: &[&str], command: &[&str], wanted: &str| {
            let ran = world.busybox(options, command);
            assert_eq!(
                (ran.code, ran.stdout.trim_end()),
                (0, wanted),
                "{options:?}: {}",
                ran.stderr
            );
        };
        says(
            &["-e", "A=b c", "-e", "KIND"],
            &["sh", "-c", "echo $A ${KIND-gone}"],
            "b c gone",
        );
        says(&[], &["sh", "-c", "echo $KIND $HOME"], "image /root");
        says(&["-w", "/new/dir"], &["pwd"], "/new/dir");
        says(
            &["--hostname", "box"],
            &["sh", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME"],
            "box\nbox\nbox",
        );
        says(&["--entrypoint", "/bin/echo"], &["said"], "said");
        says(
            &["--read-only", "--tmpfs", "/run:size=1m"],
            &[
                "sh",
                "-c",
                "echo x > /x || echo refused; echo y > /run/y && cat /run/y",
            ],
            "refused\ny",
        );
        says(
            &["--cap-drop", "ALL"],
            &["grep", "CapEff", "/proc/self/status"],
            "CapEff:\t0000000000000000",
        );
        says(
            &["--cap-drop", "ALL", "--cap-add", "chown"],
            &["grep", "CapEff", "/proc/self/status"],
            "CapEff:\t0000000000000001",
        );
        says(
            &["--security-opt", "no-new-privileges"],
            &["grep", "NoNewPrivs", "/proc/self/status"],
            "NoNewPrivs:\t1",
        );
        says(
            &["--security-opt", "seccomp=unconfined", "--cap-drop", "ALL"],
            &["grep", "Seccomp:", "/proc/self/status"],
            "Seccomp:\t0",
        );
        says(
            &["--ulimit", "nofile=100:200"],
            &["sh", "-c", "ulimit -n; ulimit -Hn"],
            "100\n200",
        );
        says(&[], &["sh", "-c", "ls /sys/class/net; echo $$"], "lo\n1");
        says(
            &[],
            &["sh", "-c", "head -n 1 /etc/hosts; wc -c < /etc/resolv.conf"],
            "127.0.0.1\tlocalhost\n0",
        );
        let env = world.path("env");
        fs::write(&env, "# comment\nFROM_FILE=yes\n").unwrap();
        says(
            &["--env-file", env.to_str().unwrap()],
            &["sh", "-c", "echo $FROM_FILE"],
            "yes",
        );
    });
}

#[test]
fn the_host_network_is_the_hosts() {
    both(|world| {
        let world = world.with_busybox();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let inside = world
            .busybox(&["--network", "host"], &["readlink", "/proc/self/ns/net"])
            .ok();
        assert_eq!(inside.trim(), own.to_str().unwrap());
    });
}

#[test]
fn users_are_the_images() {
    as_root(|world| {
        let world = world.with_busybox();
        let says = |user: &str, wanted: &str| {
            let said = world
                .busybox(&["-u", user], &["sh", "-c", "echo $(id -u) $(id -g) $HOME"])
                .ok();
            assert_eq!(said.trim_end(), wanted, "{user}");
        };
        says("user", "1000 1000 /tmp");
        says("user:extra", "1000 2000 /tmp");
        says("7:8", "7 8 /");
        let said = world
            .busybox(&["-u", "user", "--group-add", "extra"], &["id", "-G"])
            .ok();
        assert_eq!(said.trim_end(), "1000 2000");
    });
}

#[test]
fn limits_hold_and_an_oom_kill_is_told() {
    as_root(|world| {
        let world = world.with_busybox();
        let hungry = [
            "run",
            "--name",
            "hungry",
            "-m",
            "16m",
            "busybox",
            "sh",
            "-c",
            "exec tail -c 200000000 /dev/zero",
        ];
        assert_eq!(world.orlop(&hungry).code, 137);
        let inspected = world.orlop(&["inspect", "hungry"]).ok();
        assert!(
            inspected.contains("\"OOMKilled\": true") && inspected.contains("\"ExitCode\": 137"),
            "{inspected}"
        );
        let said = world.busybox(
            &["--pids-limit", "5"],
            &[
                "sh",
                "-c",
                "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait",
            ],
        );
        assert!(said.stderr.contains("fork"), "{said:?}");
        world.busybox(&["--cpus", "0.5"], &["true"]).ok();
    });
}

#[test]
fn volumes_and_bind_mounts() {
    both(|world| {
        let world = world.with_busybox();
        let dir = world.path("host");
        fs::create_dir(&dir).unwrap();
        world.give(&dir);
        fs::write(dir.join("in"), "outside\n").unwrap();
        let bind = format!("{}:/mnt", dir.display());
        assert_eq!(
            world
                .busybox(
                    &["-v", &bind],
                    &["sh", "-c", "cat /mnt/in; echo back > /mnt/out"]
                )
                .ok(),
            "outside\n"
        );
        assert_eq!(fs::read_to_string(dir.join("out")).unwrap(), "back\n");
        let refused = world.busybox(
            &["-v", &format!("{bind}:ro")],
            &["sh", "-c", "echo > /mnt/no || echo refused"],
        );
        assert_eq!(refused.ok(), "refused\n");
        assert_eq!(
            world
                .busybox(&["-v", "./host:/mnt"], &["cat", "/mnt/in"])
                .ok(),
            "outside\n"
        );
        let fields = format!("type=bind,source={},target=/mnt,readonly", dir.display());
        assert_eq!(
            world
                .busybox(&["--mount", &fields], &["cat", "/mnt/in"])
                .ok(),
            "outside\n"
        );

        // A named volume begins with what the image has there, and stays.
        let say = "cat /data/deep/file; echo more >> /data/deep/file; ls -l /data/deep/file | cut -c 1-10";
        assert_eq!(
            world.busybox(&["-v", "vol:/data"], &["sh", "-c", say]).ok(),
            "from the image\n-rw-r-----\n"
        );
        assert_eq!(
            world
                .busybox(&["-v", "vol:/x"], &["cat", "/x/deep/file"])
                .ok(),
            "from the image\nmore\n"
        );
        assert_eq!(
            world
                .busybox(&["-v", "empty:/data:nocopy"], &["ls", "/data"])
                .ok(),
            ""
        );
        // An anonymous one goes with its container.
        world.leaves_nothing(|| {
            assert_eq!(
                world
                    .busybox(&["-v", "/data"], &["cat", "/data/deep/file"])
                    .ok(),
                "from the image\n"
            );
        });
    });
}

#[test]
fn stopped_containers_are_remembered_and_removed() {
    both(|world| {
        let world = world.with_busybox();
        world.leaves_nothing(|| {
            assert_eq!(
                world
                    .orlop(&[
                        "run",
                        "--name",
                        "one",
                        "-l",
                        "a=b",
                        "busybox",
                        "sh",
                        "-c",
                        "echo x > /x; exit 3"
                    ])
                    .code,
                3
            );
            assert_eq!(world.orlop(&["ps", "-q"]).ok(), "");
            let listed = world.orlop(&["ps", "-a", "--format", "json"]).ok();
            for words in [
                "\"Names\":\"one\"",
                "\"State\":\"exited\"",
                "Exited (3)",
                "\"Labels\":\"a=b\"",
                "\"Image\":\"busybox\"",
            ] {
                assert!(listed.contains(words), "{words} not in {listed}");
            }
            world
                .orlop(&["run", "--name", "one", "busybox", "true"])
                .fails(125, "already in use");
            world
                .orlop(&["rmi", "busybox"])
                .fails(1, "was made from it");
            let id = world.orlop(&["ps", "-aq"]).ok();
            assert_eq!(id.trim().len(), 12);
            assert_eq!(world.orlop(&["rm", id.trim()]).ok(), id);
            world
                .orlop(&["rm", "one"])
                .fails(1, "no such container: one");
        });
    });
}
