//! Mounts, masks, devices and links, inside a root of their own.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use nix::errno::Errno;
use orlop_init::{Create, Op, Slot, Source};

use crate::support::*;

macro_rules! root {
    ($test:literal) => {
        if is_root($test) { Root::new() } else { return }
    };
}

#[test]
fn new_file_systems() {
    let root = root!("new_file_systems");
    let ops = vec![
        proc(),
        mount_as(
            new("sysfs", &[]),
            "/sys",
            Create::No,
            RDONLY | NOSUID | NODEV | NOEXEC,
        ),
        mount(new("tmpfs", &["mode=0755", "size=65536k"]), "/dev"),
        mount_as(
            new(
                "devpts",
                &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            "/dev/pts",
            Create::Dir,
            NOSUID,
        ),
        mount_as(new("mqueue", &[]), "/dev/mqueue", Create::Dir, 0),
        mount_as(
            new("tmpfs", &["mode=1777", "size=64k"]),
            "/dev/shm",
            Create::Dir,
            0,
        ),
    ];
    let said = root.say(ops, "cat /proc/mounts");
    for part in [
        "proc /proc proc rw,relatime 0 0",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime 0 0",
        "tmpfs /dev tmpfs rw,relatime,size=65536k,mode=755",
        "devpts /dev/pts devpts rw,nosuid,relatime,gid=5,mode=620,ptmxmode=666",
        "mqueue /dev/mqueue mqueue rw",
        "tmpfs /dev/shm tmpfs rw,relatime,size=64k",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert_eq!(
        said.lines()
            .filter(|line| !line.starts_with("rootfs"))
            .count(),
        7,
        "{said}"
    );
}

#[test]
fn overlay_by_both_ways() {
    let root = root!("overlay_by_both_ways");
    let layers = tempfile::tempdir().unwrap();
    for name in ["upper", "work", "a", "b"] {
        fs::create_dir(layers.path().join(name)).unwrap();
    }
    fs::write(layers.path().join("a/file"), "upper one").unwrap();
    fs::write(layers.path().join("b/file"), "lower one").unwrap();
    fs::write(layers.path().join("b/other"), "from b").unwrap();
    for directory in ["bin", "proc"] {
        fs::create_dir(layers.path().join("a").join(directory)).unwrap();
    }
    for name in ["busybox", "sh", "cat"] {
        fs::copy(
            root.join("bin/busybox"),
            layers.path().join("a/bin").join(name),
        )
        .unwrap();
    }
    let directory = text(layers.path().to_str().unwrap());
    // More than `fsconfig` takes in one string, all of it relative.
    let long = format!("lowerdir=a:{}b", "./".repeat(150));
    for options in [
        vec!["lowerdir=a:b", "upperdir=upper", "workdir=work"],
        vec![
            "lowerdir+=a",
            "lowerdir+=b",
            "upperdir=upper",
            "workdir=work",
            "userxattr",
        ],
        vec![&long, "upperdir=upper", "workdir=work"],
    ] {
        let source = Source::NewIn {
            directory: directory.clone(),
            fstype: text("overlay"),
            source: text("overlay"),
            options: texts(&options),
        };
        let ops = vec![
            clone(&INSIDE),
            Op::Propagation { flags: MS_PRIVATE },
            Op::Root {
                source,
                attributes: NODEV,
            },
            proc(),
            Op::Pivot,
            sh("cat /file /other; echo; echo new >/made; cat /proc/mounts"),
        ];
        let (code, said) = output(ops).unwrap();
        assert_eq!(code, 0, "{said}");
        assert!(
            said.starts_with("upper onefrom b\noverlay / overlay rw,nodev"),
            "{options:?}: {said}"
        );
        assert_eq!(
            fs::read_to_string(layers.path().join("upper/made")).unwrap(),
            "new\n"
        );
        fs::remove_file(layers.path().join("upper/made")).unwrap();
    }
}

#[test]
fn bind_mounts() {
    let root = root!("bind_mounts");
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("file"), "content").unwrap();
    let path = data.path().to_str().unwrap();
    let ops = vec![
        proc(),
        mount_as(host(path), "/new/dir", Create::LikeSource, RDONLY),
        mount_as(
            host(&format!("{path}/file")),
            "/new/file",
            Create::LikeSource,
            0,
        ),
        mount_as(
            Source::Fd {
                slot: Slot(0),
                recursive: true,
            },
            "/mnt",
            Create::No,
            NOEXEC,
        ),
    ];
    let file = File::open(data.path()).unwrap();
    let script = "cat /new/dir/file /new/file /mnt/file; echo x >/new/dir/y; echo more >>/new/file; grep -c noexec /proc/mounts";
    let (_, said) = root.run_with(ops, script, &[file.as_fd()]).unwrap();
    assert!(said.starts_with("contentcontentcontent"), "{said}");
    assert!(
        said.contains("Read-only file system") && said.ends_with("1\n"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(data.path().join("file")).unwrap(),
        "contentmore\n"
    );
}

#[test]
fn a_detached_mount_as_root_and_target() {
    let root = root!("a_detached_mount_as_root_and_target");
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, root.path(), flags).unwrap();
    let other = open_tree(rustix::fs::CWD, "/etc", flags).unwrap();
    let ops = vec![
        clone(&INSIDE),
        Op::Propagation { flags: MS_PRIVATE },
        Op::Root {
            source: Source::Detached(Slot(0)),
            attributes: 0,
        },
        mount(Source::Detached(Slot(1)), "/etc"),
        Op::RootReadOnly,
        Op::Pivot,
        sh("head -c 4 /etc/passwd; echo x >/y"),
    ];
    let (_, said) = output_with(ops, &[tree.as_fd(), other.as_fd()], None).unwrap();
    assert!(
        said.starts_with("root") && said.contains("Read-only file system"),
        "{said}"
    );
}

#[test]
fn recursive_attributes_and_propagation() {
    let root = root!("recursive_attributes_and_propagation");
    let bind = Op::Mount {
        source: Source::HostPath {
            path: text("/sys"),
            recursive: true,
        },
        target: text("/sys"),
        create: Create::No,
        attributes: 0,
        clear: 0,
        recursive: (RDONLY, 0),
        propagation: 1 << 20 | 1 << 14,
    };
    let said = root.say(vec![proc(), bind], "cat /proc/self/mountinfo");
    let below: Vec<_> = said.lines().filter(|line| line.contains(" /sys")).collect();
    assert!(!below.is_empty());
    assert!(
        below
            .iter()
            .all(|line| line.contains(" ro,") && line.contains("shared:")),
        "{said}"
    );
}

#[test]
fn links_in_the_root_stay_in_the_root() {
    let root = root!("links_in_the_root_stay_in_the_root");
    symlink("/etc", root.join("out")).unwrap();
    symlink("../../../../tmp", root.join("up")).unwrap();
    symlink("/run/made/later", root.join("dangling")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let tmpfs = |target| mount_as(new("tmpfs", &[]), target, Create::Dir, 0);
    let ops = vec![
        proc(),
        tmpfs("/out"),
        tmpfs("/up/../up/deep/er"),
        tmpfs("/dangling/x"),
        Op::Mkdir {
            target: text("dangling/y"),
            mode: 0o700,
        },
    ];
    let said = root.say(ops, "grep tmpfs /proc/mounts; stat -c %a /run/made/later/y");
    for target in [" /etc ", " /tmp/deep/er ", " /run/made/later/x "] {
        assert!(said.contains(target), "{said}");
    }
    assert!(said.ends_with("700\n"));
    assert_eq!(root.fails(vec![tmpfs("/loop/x")], 0), Errno::ELOOP);
    assert_eq!(root.fails(vec![tmpfs("/bin/busybox/x")], 0), Errno::ENOTDIR);
    assert!(!std::path::Path::new("/run/made/later").exists());
}

#[test]
fn proc_is_no_link_and_no_mount() {
    let root = root!("proc_is_no_link_and_no_mount");
    let fake = mount(new("tmpfs", &[]), "/proc");
    assert_eq!(root.fails(vec![fake, proc()], 1), Errno::EXDEV);
    fs::remove_dir(root.join("proc")).unwrap();
    symlink("tmp", root.join("proc")).unwrap();
    assert_eq!(root.fails(vec![proc()], 0), Errno::ELOOP);
    fs::remove_dir(root.join("sys")).unwrap();
    symlink("/tmp", root.join("sys")).unwrap();
    assert_eq!(
        root.fails(vec![mount(new("sysfs", &[]), "/sys")], 0),
        Errno::ELOOP
    );
}

#[test]
fn masks_and_read_only_paths() {
    let root = root!("masks_and_read_only_paths");
    let paths = |paths: &[&str]| -> Vec<Op> {
        paths
            .iter()
            .map(|path| Op::Mask { target: text(path) })
            .collect()
    };
    fs::write(root.join("etc/secret"), "secret").unwrap();
    for pivot_first in [true, false] {
        let mut ops = vec![proc()];
        if pivot_first {
            ops.push(Op::Pivot);
        }
        ops.extend(paths(&[
            "/proc/keys",
            "/proc/timer_list",
            "/proc/scsi",
            "/proc/acpi",
            "/etc",
            "/no/such",
            "/bin/sh/x",
        ]));
        ops.extend(
            ["/proc/sys", "/proc/bus", "/nowhere"].map(|path| Op::ReadOnly { target: text(path) }),
        );
        let script = "cat /proc/keys /proc/timer_list; ls /etc | wc -l; stat -c '%t:%T' /proc/keys; touch /etc/x; echo x >/proc/sys/kernel/hostname; grep -c ' /proc/' /proc/mounts";
        let (_, said) = root.run(ops, script).unwrap();
        let masked = [
            "/proc/keys",
            "/proc/timer_list",
            "/proc/scsi",
            "/proc/acpi",
            "/proc/sys",
            "/proc/bus",
        ];
        let present = masked
            .iter()
            .filter(|path| std::path::Path::new(path).exists())
            .count();
        assert!(said.starts_with("0\n1:3\n"), "{said}");
        assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
        assert!(said.ends_with(&format!("{present}\n")), "{said}");
    }
}

#[test]
fn devices_and_links() {
    let root = root!("devices_and_links");
    let device = |name: &str, minor| Op::Device {
        target: text(&format!("/dev/{name}")),
        mode: 0o020666,
        major: 1,
        minor,
        uid: 0,
        gid: 0,
    };
    let link = |target: &str, link: &str| Op::Symlink {
        target: text(target),
        link: text(link),
    };
    let ops = vec![
        mount(new("tmpfs", &[]), "/dev"),
        device("null", 3),
        device("sub/zero", 5),
        device("null", 3),
        Op::Device {
            target: text("/dev/owned"),
            mode: 0o020640,
            major: 1,
            minor: 9,
            uid: 5,
            gid: 6,
        },
        Op::Device {
            target: text("/dev/wide"),
            mode: 0o060600,
            major: 259,
            minor: 70000,
            uid: 0,
            gid: 0,
        },
        link("/dev/fd", "/proc/self/fd"),
        link("/dev/fd", "/proc/self/fd"),
        Op::Umask { mask: 0o077 },
    ];
    let script = "stat -c '%a %t:%T %u:%g' /dev/null /dev/sub/zero /dev/owned /dev/wide; readlink /dev/fd; head -c 3 /dev/sub/zero | wc -c";
    assert_eq!(
        root.say(ops.clone(), script),
        "666 1:3 0:0\n666 1:5 0:0\n640 1:9 5:6\n600 103:11170 0:0\n/proc/self/fd\n3\n"
    );
    assert_eq!(
        root.fails([ops.clone(), vec![device("null", 5)]].concat(), 9),
        Errno::EEXIST
    );
    assert_eq!(
        root.fails([ops, vec![link("/dev/fd", "elsewhere")]].concat(), 9),
        Errno::EEXIST
    );
    assert_eq!(root.fails(vec![link("/", "x")], 0), Errno::EINVAL);
}

#[test]
fn working_directories() {
    let root = root!("working_directories");
    symlink("/tmp", root.join("link")).unwrap();
    let at = |path: &str, create| Op::WorkingDirectory {
        path: text(path),
        create,
    };
    assert_eq!(
        root.say(vec![Op::Pivot, at("/link", false)], "pwd"),
        "/tmp\n"
    );
    assert_eq!(
        root.say(vec![Op::Pivot, at("/made/for/me", true)], "pwd"),
        "/made/for/me\n"
    );
    assert_eq!(
        root.fails(vec![Op::Pivot, at("/missing", false)], 1),
        Errno::ENOENT
    );
    assert_eq!(
        root.fails(vec![Op::Pivot, at("/bin/busybox", false)], 1),
        Errno::ENOTDIR
    );
    for number in 0..30 {
        let path = format!("/proc/self/fd/{number}");
        let errno = root.fails(vec![proc(), Op::Pivot, at(&path, false)], 2);
        assert!(
            matches!(errno, Errno::ELOOP | Errno::ENOENT),
            "{path}: {errno}"
        );
    }
    let no_directory = root.say(vec![Op::Pivot], "pwd");
    assert_eq!(no_directory, "/\n");
}

#[test]
fn nothing_reaches_the_host() {
    let root = root!("nothing_reaches_the_host");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    root.say(
        vec![proc(), mount(new("tmpfs", &[]), "/tmp")],
        "mount -t tmpfs x /mnt; true",
    );
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}
