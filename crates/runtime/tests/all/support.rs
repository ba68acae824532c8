//! A busybox root in a temporary directory, and a runtime with a state directory of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use orlop_runtime::{Builder, Options, Output, Runtime};

/// A root file system with busybox and a few users.
pub(crate) struct Rootfs {
    _dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:app\napp:x:1001:\n";

fn busybox() -> &'static Path {
    let path = Path::new("/bin/busybox");
    assert!(
        path.exists(),
        "/bin/busybox is missing: install the package busybox-static"
    );
    path
}

/// Names busybox answers to.
fn applets() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let output = std::process::Command::new(busybox())
            .arg("--list")
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    })
}

impl Rootfs {
    pub(crate) fn new() -> Rootfs {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        for below in [
            "bin", "etc", "tmp", "root", "home/app", "proc", "sys", "dev",
        ] {
            std::fs::create_dir_all(path.join(below)).unwrap();
        }
        // A rootless container's user has to come through.
        for open in [dir.path(), &path] {
            std::fs::set_permissions(open, PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(path.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        std::fs::copy(busybox(), path.join("bin/busybox")).unwrap();
        for name in applets().iter().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", path.join("bin").join(name)).unwrap();
        }
        std::fs::write(path.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(path.join("etc/group"), GROUP).unwrap();
        Rootfs { _dir: dir, path }
    }
}

/// A runtime, its state directory and a root.
pub(crate) struct Bench {
    pub(crate) rootfs: Rootfs,
    pub(crate) state: tempfile::TempDir,
    pub(crate) runtime: Runtime,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let state = tempfile::tempdir().unwrap();
        let mut options = Options::new(state.path());
        options.cgroup_parent = Some(parent());
        Bench {
            rootfs: Rootfs::new(),
            runtime: Runtime::new(options).unwrap(),
            state,
        }
    }

    pub(crate) fn container(&self) -> Builder {
        self.runtime.container(self.rootfs.path.as_path())
    }

    /// A shell script in a default container.
    pub(crate) fn sh(&self, script: &str) -> Builder {
        self.container().command(["sh", "-c", script])
    }
}

impl Drop for Bench {
    /// The parent of the cgroups goes with the last that uses it; the kernel keeps it while there are others.
    fn drop(&mut self) {
        let mounts = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        for mount in mounts
            .map(|entry| entry.path())
            .chain(["/sys/fs/cgroup".into()])
        {
            let _ = std::fs::remove_dir(mount.join(parent()));
        }
    }
}

/// Parent of the cgroups of this test process.
pub(crate) fn parent() -> String {
    format!("orlop-test-{}", std::process::id())
}

pub(crate) fn text(output: &Output) -> String {
    assert!(
        output.exit.success(),
        "{}: {}{}",
        output.exit,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn run(builder: Builder) -> String {
    text(
        &builder
            .output()
            .unwrap_or_else(|error| panic!("{}", chain(&error))),
    )
}

/// An error with its causes, as a program would show it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        out += &format!(": {cause}");
        next = cause.source();
    }
    out
}

#[allow(clippy::print_stdout, reason = "the test runner lists what is skipped")]
/// Whether this test runs as root; prints why it is skipped otherwise.
pub(crate) fn root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {name}: needs root");
    }
    root
}
