//! The published ways out, each with a hostile root: what the defence is stands in docs/security.md.

use std::os::unix::fs::symlink;
use std::path::Path;

use orlop_runtime::ErrorKind;

use super::support::*;

/// CVE-2024-21626: a working directory through a descriptor of the runtime's.
#[test]
fn a_working_directory_behind_a_magic_link() {
    let bench = Bench::new();
    for number in 0..24 {
        let started = bench
            .container()
            .command(["pwd"])
            .cwd(format!("/proc/self/fd/{number}"))
            .output();
        assert!(
            started.is_err(),
            "/proc/self/fd/{number} was entered: {started:?}"
        );
    }
    symlink("/proc/self/cwd", bench.rootfs.path.join("here")).unwrap();
    assert!(
        bench
            .container()
            .command(["pwd"])
            .cwd("/here")
            .output()
            .is_err()
    );
}

/// CVE-2019-16884 and its kin: a root whose /proc leads elsewhere.
#[test]
fn proc_that_is_a_link() {
    for target in ["/tmp", "tmp", "/../../../tmp"] {
        let bench = Bench::new();
        std::fs::remove_dir(bench.rootfs.path.join("proc")).unwrap();
        symlink(target, bench.rootfs.path.join("proc")).unwrap();
        let error = bench
            .container()
            .command(["true"])
            .start()
            .expect_err("/proc is a link");
        assert!(
            chain(&error).contains("mounting proc at /proc"),
            "{}",
            chain(&error)
        );
    }
    let bench = Bench::new();
    std::fs::remove_dir(bench.rootfs.path.join("sys")).unwrap();
    symlink("/tmp", bench.rootfs.path.join("sys")).unwrap();
    assert!(bench.container().command(["true"]).start().is_err());
}

/// Targets that are links are resolved inside the root.
#[test]
fn targets_behind_links_stay_inside() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("mark"), "").unwrap();
    symlink(outside.path(), bench.rootfs.path.join("absolute")).unwrap();
    symlink(
        "../../../../../../../tmp",
        bench.rootfs.path.join("upwards"),
    )
    .unwrap();
    let seen = run(bench
        .sh("ls /absolute/a; ls /upwards/b")
        .volume(data.path(), "/absolute/a")
        .volume(data.path(), "/upwards/b"));
    assert_eq!(seen, "mark\nmark\n");
    assert_eq!(
        std::fs::read_dir(outside.path()).unwrap().count(),
        0,
        "something was made outside"
    );
    assert!(!Path::new("/tmp/b").exists());
}

/// CVE-2025-31133: /dev/null in the root replaced, then used to mask.
#[test]
fn a_null_device_that_is_none() {
    let bench = Bench::new();
    let secret = "etc/secret";
    std::fs::write(bench.rootfs.path.join(secret), "secret").unwrap();
    std::fs::write(bench.rootfs.path.join("dev/null"), "bait").unwrap();
    assert_eq!(
        run(bench
            .sh("cat /etc/secret; stat -c %t:%T /dev/null")
            .masked_paths(["/etc/secret"])),
        "1:3\n"
    );
    symlink("/etc/secret", bench.rootfs.path.join("etc/link")).unwrap();
    let seen = run(bench.sh("cat /etc/link").masked_paths(["/etc/link"]));
    assert_eq!(seen, "", "a link to a masked path is masked");
}

/// CVE-2025-52565: a link at /dev/console.
#[test]
fn a_console_that_is_a_link() {
    let bench = Bench::new();
    let victim = bench.rootfs.path.join("etc/victim");
    std::fs::write(&victim, "whole").unwrap();
    // The container's own /dev covers what the image has there; a bound one does not.
    let dev = tempfile::tempdir().unwrap();
    std::fs::create_dir(dev.path().join("pts")).unwrap();
    symlink("/etc/victim", dev.path().join("console")).unwrap();
    let started = bench
        .sh("cat /etc/victim")
        .volume(dev.path(), "/dev")
        .terminal(0, 0)
        .output();
    if let Ok(output) = started {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "whole");
    }
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "whole");
}

/// CVE-2019-5736: /proc/self/exe leads to nothing of the host's that can be written.
#[test]
fn the_launchers_own_image() {
    let bench = Bench::new();
    let error = bench.container().command(["/proc/self/exe"]).start();
    let harmless = match error {
        Err(error) => matches!(
            error.kind(),
            ErrorKind::CommandNotExecutable | ErrorKind::CommandNotFound
        ),
        // Init's own sealed image without a plan: it can only fail.
        Ok(container) => !container.wait().unwrap().success(),
    };
    assert!(harmless);
    std::fs::write(bench.rootfs.path.join("bin/self"), "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(
        bench.rootfs.path.join("bin/self"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    if let Ok(container) = bench.container().command(["self"]).start() {
        assert!(!container.wait().unwrap().success());
    }
    assert_eq!(
        run(bench.container().command(["readlink", "/proc/1/exe"])),
        "/bin/busybox\n"
    );
}

/// Nothing but what was handed over is open in the program.
#[test]
fn no_descriptor_leaks() {
    let bench = Bench::new();
    // A descriptor of the caller's that is inheritable on purpose.
    let leaky = tempfile::tempfile().unwrap();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(
        run(bench.sh("ls /proc/self/fd | tr '\\n' ' '")),
        "0 1 2 3 ",
        "3 is the listing's own"
    );
}

/// CVE-2022-29162: inheritable capabilities stay empty whoever runs.
#[test]
fn no_inheritable_capability() {
    let bench = Bench::new();
    assert_eq!(
        run(bench.sh("grep CapInh /proc/self/status")),
        "CapInh:\t0000000000000000\n"
    );
}

/// CVE-2021-30465 and CVE-2024-45310: a directory on a mount's way is exchanged for a link while it is resolved and made.
#[test]
fn targets_that_are_exchanged_meanwhile() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let (a, b) = (bench.rootfs.path.join("a"), bench.rootfs.path.join("b"));
    std::fs::create_dir(&a).unwrap();
    symlink(outside.path(), &b).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let mut started = 0;
    for round in 0..40 {
        let container = bench
            .container()
            .command(["true"])
            .volume(data.path(), format!("/a/{round}/x"));
        // A start may fail for it, but not reach out.
        started += usize::from(container.output().is_ok());
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(started > 0);
    let reached: Vec<_> = std::fs::read_dir(outside.path())
        .unwrap()
        .flatten()
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
}
