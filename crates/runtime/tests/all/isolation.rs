//! What a default container sees: namespaces, mounts, devices, hidden paths.

use std::collections::HashMap;

use orlop_runtime::{Network, UserNamespace};

use super::support::*;

const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

fn namespaces(builder: orlop_runtime::Builder) -> HashMap<String, String> {
    let script = "for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink /proc/self/ns/$n); done";
    run(builder.command(["sh", "-c", script]))
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(kind, id)| (kind.to_owned(), id.to_owned()))
        .collect()
}

fn own(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}"))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn every_namespace_is_new_or_the_callers_as_asked() {
    let bench = Bench::new();
    let user_is_new = !rustix::process::geteuid().is_root();
    let seen = namespaces(bench.container());
    // A kernel may have no time namespaces.
    let had = |kind: &&str| std::fs::exists(format!("/proc/self/ns/{kind}")).unwrap();
    for kind in KINDS.into_iter().filter(had) {
        let new = match kind {
            "time" => false,
            "user" => user_is_new,
            _ => true,
        };
        assert_eq!(seen[kind] != own(kind), new, "{kind}: {}", seen[kind]);
    }
    let shared = namespaces(
        bench
            .container()
            .network(Network::Host)
            .host_pid(true)
            .host_ipc(true)
            .host_uts(true),
    );
    for kind in ["ipc", "net", "pid", "uts"] {
        assert_eq!(shared[kind], own(kind), "{kind}");
    }
    let mapped = namespaces(bench.container().user_namespace(UserNamespace::Own));
    assert_ne!(mapped["user"], own("user"));
}

#[test]
fn an_existing_network_namespace_is_joined() {
    if !root("an_existing_network_namespace_is_joined") {
        return;
    }
    let bench = Bench::new();
    let holder = bench
        .container()
        .command(["sleep", "1000"])
        .start()
        .unwrap();
    let path = format!("/proc/{}/ns/net", holder.pid());
    let theirs = std::fs::read_link(&path)
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let seen = namespaces(bench.container().network(Network::Namespace(path.into())));
    assert_eq!(seen["net"], theirs);
    holder.kill(9).unwrap();
    holder.wait().unwrap();
}

#[test]
fn loopback_is_up_and_alone() {
    let bench = Bench::new();
    assert_eq!(
        run(bench.sh("ls /sys/class/net; ip -o link | grep -c 'lo:.*UP'")),
        "lo\n1\n"
    );
    assert_eq!(
        run(bench
            .sh("ping -c 1 -W 5 127.0.0.1 >/dev/null && echo reached")
            .cap_add("NET_RAW")),
        "reached\n"
    );
}

#[test]
fn first_process_sees_only_its_own() {
    let bench = Bench::new();
    assert_eq!(
        run(bench.sh("echo $$; ls /proc | grep -c '^[0-9]*$'"))
            .lines()
            .next(),
        Some("1")
    );
    assert_eq!(
        run(bench
            .container()
            .command(["sh", "-c", "ps -o pid,comm | tail -n +2 | head -1"]))
        .trim(),
        "1 sh"
    );
}

/// Mount point, type, options of the mount, options of the file system.
fn mounts(text: &str) -> HashMap<String, (String, String, String)> {
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let before: Vec<&str> = before.split(' ').collect();
            let after: Vec<&str> = after.split(' ').collect();
            Some((
                before[4].to_owned(),
                (
                    after[0].to_owned(),
                    before[5].to_owned(),
                    after[2].to_owned(),
                ),
            ))
        })
        .collect()
}

#[test]
fn default_mounts_with_their_flags() {
    let bench = Bench::new();
    let seen = mounts(&run(bench
        .container()
        .command(["cat", "/proc/self/mountinfo"])));
    for (point, kind, flags) in [
        ("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"][..]),
        ("/dev", "tmpfs", &["rw", "nosuid"]),
        ("/dev/pts", "devpts", &["rw", "nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec"]),
        (
            "/dev/mqueue",
            "mqueue",
            &["rw", "nosuid", "nodev", "noexec"],
        ),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        ("/sys/fs/cgroup", "", &["ro", "nosuid", "nodev", "noexec"]),
        ("/proc/sys", "proc", &["ro"]),
        ("/proc/bus", "proc", &["ro"]),
    ] {
        let (fstype, options, _) = seen
            .get(point)
            .unwrap_or_else(|| panic!("{point} is not mounted: {seen:?}"));
        assert!(kind.is_empty() || fstype == kind, "{point}: {fstype}");
        let options: Vec<&str> = options.split(',').collect();
        for flag in flags {
            assert!(
                options.contains(flag),
                "{point}: {flag} is not in {options:?}"
            );
        }
    }
    assert!(seen["/dev/shm"].2.contains("size=65536k"));
    // Nothing of the host's own tree is left.
    assert!(
        !seen
            .keys()
            .any(|point| point.starts_with("/work") || point.starts_with("/home")),
        "{seen:?}"
    );
    // But for the host's null device, which hides files, and for nodes that a user may not make.
    for (point, (fstype, ..)) in &seen {
        assert!(
            fstype != "devtmpfs"
                || ["/proc/", "/sys/", "/dev/"]
                    .iter()
                    .any(|below| point.starts_with(below)),
            "{point}"
        );
    }
}

#[test]
fn control_groups_are_read_only_and_begin_at_the_container() {
    if !root("control_groups_are_read_only_and_begin_at_the_container") {
        return;
    }
    let bench = Bench::new();
    let seen = run(bench.sh("cat /proc/self/cgroup; mkdir /sys/fs/cgroup/*/mine 2>/dev/null; mkdir /sys/fs/cgroup/mine 2>/dev/null; ls -d /sys/fs/cgroup/mine /sys/fs/cgroup/*/mine 2>/dev/null; true"));
    for line in seen.lines() {
        assert!(
            line.ends_with(":/"),
            "{line}: leads out of the container, or was made"
        );
    }
}

#[test]
fn devices_and_links() {
    let bench = Bench::new();
    let script = "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %F %t:%T' $n; done; \
                  for l in fd stdin stdout stderr core ptmx; do echo $l $(readlink $l); done; \
                  echo x > null; head -c 3 zero | tr '\\0' z; echo; ls /dev";
    let seen = run(bench.sh(script));
    let expected = "null character special file 1:3\nzero character special file 1:5\nfull character special file 1:7\n\
        random character special file 1:8\nurandom character special file 1:9\ntty character special file 5:0\n\
        fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\ncore /proc/kcore\nptmx pts/ptmx\nzzz\n\
        core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(seen, expected);
}

#[test]
fn a_device_can_be_added_and_others_cannot_be_opened() {
    if !root("a_device_can_be_added_and_others_cannot_be_opened") {
        return;
    }
    let bench = Bench::new();
    // The node may be made (Docker grants mknod) but not opened.
    let script = "mknod /kmsg c 1 11 && (cat /kmsg >/dev/null 2>&1 && echo opened || echo refused)";
    assert_eq!(run(bench.sh(script)), "refused\n");
    assert_eq!(
        run(bench.sh("stat -c '%t:%T' /dev/kmsg").device("/dev/kmsg")),
        "1:b\n"
    );
}

#[test]
fn masked_and_read_only_paths() {
    let bench = Bench::new();
    let script = "for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do test -e $p && wc -c < $p; done | sort -u; \
                  ls -A /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v ':$' | grep -c .; \
                  echo 1 > /proc/sys/kernel/hostname 2>/dev/null && echo written; \
                  echo h > /proc/sysrq-trigger 2>/dev/null && echo triggered; \
                  mkdir /sys/firmware/x 2>/dev/null && echo made; true";
    assert_eq!(run(bench.sh(script)), "0\n0\n");
    let shown = run(bench
        .sh("wc -c < /proc/interrupts")
        .masked_paths(["/proc/kcore"]));
    assert_ne!(shown, "0\n", "the test would not notice an absent mask");
    let listed = run(bench
        .sh("ls -A /tmp; cat /etc/passwd | wc -c")
        .masked_paths(["/tmp", "/etc/passwd", "/not/there"]));
    assert_eq!(listed, "0\n");
}

#[test]
fn volumes_tmpfs_and_a_read_only_root() {
    let bench = Bench::new();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("file"), "inside").unwrap();
    let writable = bench
        .sh("cat /data/file; echo more > /data/new; cat /single; touch /run/x && stat -f -c %T /run; df -k /run | tail -1 | awk '{print $2}'")
        .volume(data.path(), "/data")
        .volume(data.path().join("file"), "/single")
        .tmpfs("/run", &["size=1m", "mode=755"]);
    assert_eq!(run(writable), "insideinsidetmpfs\n1024\n");
    assert_eq!(
        std::fs::read_to_string(data.path().join("new")).unwrap(),
        "more\n"
    );

    let locked = bench
        .sh("touch /x 2>&1; touch /data/x 2>&1; touch /tmp/x && echo tmp; touch /dev/shm/x && echo shm; pwd")
        .volume_read_only(data.path(), "/data")
        .tmpfs("/tmp", &[])
        .read_only(true)
        .cwd("/etc");
    let seen = run(locked);
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(seen.ends_with("tmp\nshm\n/etc\n"), "{seen}");
}

#[test]
fn privileged_is_wide_open() {
    if !root("privileged_is_wide_open") {
        return;
    }
    let bench = Bench::new();
    let container = bench
        .sh("grep -E 'CapEff|Seccomp:' /proc/self/status; mkdir /tmp/m && mount -t tmpfs x /tmp/m && echo mounted; wc -c < /proc/interrupts; test -c /dev/kmsg && echo kmsg")
        .privileged(true);
    let seen = run(container);
    let bounding = bench.runtime.host().bounding;
    assert!(
        seen.contains(&format!("CapEff:\t{bounding:016x}")),
        "{seen}"
    );
    assert!(
        seen.contains("Seccomp:\t0") && seen.contains("mounted") && seen.contains("kmsg"),
        "{seen}"
    );
}
