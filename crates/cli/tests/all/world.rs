//! A root directory of its own, a user who owns it, and a busybox image in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// An ordinary user: nobody's number, without a single capability.
const USER: u32 = 54321;

pub(crate) struct World {
    dir: TempDir,
    user: bool,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Ended so, with these words on standard error in one line of its own and nothing of Rust in it.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let line = self.stderr.lines().find(|line| line.starts_with("orlop: "));
        assert!(
            line.is_some_and(|line| line.contains(words)),
            "{words:?} not in {self:?}"
        );
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// Runs `test` in a world of root's and in one of an ordinary user's.
pub(crate) fn both(test: impl Fn(&World)) {
    if nix::unistd::geteuid().is_root() {
        test(&World::new(false));
    } else {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        println!("skipped: {name} as root: the tests run as an ordinary user");
    }
    test(&World::new(true));
}

/// Runs `test` in a world of root's, if there is root.
pub(crate) fn as_root(test: impl Fn(&World)) {
    if nix::unistd::geteuid().is_root() {
        test(&World::new(false));
    } else {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        println!("skipped: {name}: it needs root");
    }
}

impl World {
    fn new(user: bool) -> World {
        let dir = tempfile::Builder::new()
            .prefix("orlop-cli")
            .tempdir()
            .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = World { dir, user };
        if world.switches() {
            chown(world.dir.path(), Some(USER), Some(USER)).unwrap();
        }
        world
    }

    pub(crate) fn is_user(&self) -> bool {
        self.user
    }

    /// Whether the program runs as somebody else than this test.
    fn switches(&self) -> bool {
        self.user && nix::unistd::geteuid().is_root()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("state")
    }

    /// Gives a file made by the test to the world's user.
    pub(crate) fn give(&self, path: &Path) {
        if self.switches() {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
    }

    /// The program in this world, with nothing of the test's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_orlop");
        let mut command = if self.switches() {
            let mut command = Command::new("setpriv");
            let user = USER.to_string();
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
            command.args(["--inh-caps=-all", "--bounding-set=-all", program]);
            command
        } else {
            Command::new(program)
        };
        command.arg("--root").arg(self.root()).args(arguments);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path());
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn orlop(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    pub(crate) fn orlop_with(&self, input: &[u8], arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || {
            // One that fails early does not read.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        ran(output)
    }

    /// With the busybox image in its store.
    pub(crate) fn with_busybox(&self) -> &World {
        let tar = self.path("busybox.tar");
        fs::write(&tar, busybox_tar()).unwrap();
        self.give(&tar);
        let file = tar.to_str().unwrap();
        self.orlop(&[
            "import",
            "-c",
            "CMD [\"sh\"]",
            "-c",
            "ENV PATH=/bin KIND=image",
            file,
            "busybox",
        ])
        .ok();
        self
    }

    /// `orlop run --rm OPTIONS busybox COMMAND`.
    pub(crate) fn busybox(&self, options: &[&str], command: &[&str]) -> Ran {
        self.orlop(&[&["run", "--rm"], options, &["busybox"], command].concat())
    }

    /// Every trace that containers could leave: in the state, as cgroups, as mounts.
    pub(crate) fn traces(&self) -> BTreeSet<String> {
        let mut traces = BTreeSet::new();
        for dir in [
            "containers",
            "names",
            "running",
            "volumes",
            "snapshots/active",
            "runtime/owners",
        ] {
            list(&self.root().join(dir), &mut traces);
        }
        let hierarchies = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        for hierarchy in hierarchies
            .map(|entry| entry.path())
            .chain([PathBuf::from("/sys/fs/cgroup")])
        {
            list(&hierarchy.join("orlop"), &mut traces);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = self.dir.path().to_str().unwrap();
        traces.extend(
            mounts
                .lines()
                .filter(|line| line.contains(own))
                .map(str::to_owned),
        );
        traces
    }

    /// Does something and sees that it leaves no trace. Other tests' cgroups come and go meanwhile.
    #[track_caller]
    pub(crate) fn leaves_nothing(&self, work: impl FnOnce()) {
        let before = self.traces();
        work();
        let mut left: BTreeSet<String> = self.traces().difference(&before).cloned().collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.traces();
            left.retain(|trace| now.contains(trace));
        }
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// The directory's entries; a cgroup's own files are none.
fn list(dir: &Path, traces: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let cgroup = dir.starts_with("/sys/fs/cgroup");
        if !cgroup || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            traces.insert(entry.path().display().to_string());
        }
    }
}

fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran {
        // A program ended by a signal has a code below zero here.
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A root file system of busybox, with a few things to stumble over.
pub(crate) fn busybox_tar() -> &'static [u8] {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let program = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let program = program.expect("busybox is missing: apt-get install busybox-static");
        let applets = Command::new(program).arg("--list").output().unwrap();
        let applets = String::from_utf8(applets.stdout).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind, mode, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_mtime(1_700_000_000);
            tar.append_data(&mut header, path, content).unwrap();
        };
        for dir in ["bin", "etc", "tmp", "root", "data", "data/deep"] {
            add(
                &format!("{dir}/"),
                tar::EntryType::Directory,
                if dir == "tmp" { 0o1777 } else { 0o755 },
                &[],
            );
        }
        add(
            "bin/busybox",
            tar::EntryType::Regular,
            0o755,
            &fs::read(program).unwrap(),
        );
        add(
            "etc/passwd",
            tar::EntryType::Regular,
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
        );
        add(
            "etc/group",
            tar::EntryType::Regular,
            0o644,
            b"root:x:0:\nuser:x:1000:\nextra:x:2000:\n",
        );
        add(
            "data/deep/file",
            tar::EntryType::Regular,
            0o640,
            b"from the image\n",
        );
        add("not-executable", tar::EntryType::Regular, 0o644, b"text\n");
        add(
            "not-a-program",
            tar::EntryType::Regular,
            0o755,
            b"\x01\x02\x03",
        );
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
                .unwrap();
        }
        tar.into_inner().unwrap()
    })
}
