//! Roots, plans and runs in few words.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub(crate) use crate::caller::Caller;
use nix::errno::Errno;
use orlop_init::{CBytes, Create, Op, Plan, Slot, Source};
use orlop_namespaces::{ExitStatus, IdMaps, Kind, Launcher, Resources, SpawnError, Started};

pub(crate) static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| Launcher::new().unwrap());

pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const RDONLY: u64 = 1;
pub(crate) const NOSUID: u64 = 2;
pub(crate) const NODEV: u64 = 4;
pub(crate) const NOEXEC: u64 = 8;

/// Whether this may run: as root it must, as somebody else it is skipped, by name.
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {test}: needs root");
    }
    root
}

pub(crate) fn text(text: &str) -> CBytes {
    text.as_bytes().to_vec()
}

pub(crate) fn texts(all: &[&str]) -> Vec<CBytes> {
    all.iter().map(|each| text(each)).collect()
}

pub(crate) fn exec(argv: &[&str]) -> Op {
    Op::Exec {
        candidates: texts(&argv[..1]),
        argv: texts(argv),
        env: texts(&["PATH=/bin"]),
    }
}

pub(crate) fn sh(script: &str) -> Op {
    exec(&["/bin/sh", "-c", script])
}

pub(crate) fn clone(kinds: &[Kind]) -> Op {
    Op::Clone {
        flags: Kind::flags(kinds.iter().copied()),
        cgroup: None,
    }
}

pub(crate) const INSIDE: [Kind; 4] = [Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts];

/// A directory to be a container's root: busybox, and empty directories.
pub(crate) struct Root(tempfile::TempDir);

impl Root {
    pub(crate) fn new() -> Root {
        let directory = tempfile::tempdir().unwrap();
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc", "mnt"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let busybox = fs::copy("/bin/busybox", directory.path().join("bin/busybox"));
        busybox.expect("a static busybox is needed: apt install busybox-static");
        for name in [
            "sh", "cat", "echo", "id", "ls", "stat", "hostname", "readlink", "tty", "grep",
            "mount", "umount", "touch", "mkdir", "true", "ulimit", "pwd", "wc", "find", "sleep",
            "head", "ip", "kill", "date", "rm",
        ] {
            symlink("busybox", directory.path().join("bin").join(name)).unwrap();
        }
        // Others than root must get in.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open).unwrap();
        Root(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Clone, private mounts, this root.
    pub(crate) fn begin(&self, kinds: &[Kind]) -> Vec<Op> {
        vec![
            clone(kinds),
            Op::Propagation { flags: MS_PRIVATE },
            self.op(),
        ]
    }

    pub(crate) fn op(&self) -> Op {
        let path = self.path().to_str().unwrap();
        Op::Root {
            source: host(path),
            attributes: 0,
        }
    }

    /// Runs operations between the root and a shell's script: exit code and output.
    pub(crate) fn run(&self, ops: Vec<Op>, script: &str) -> Result<(i32, String), SpawnError> {
        self.run_with(ops, script, &[])
    }

    pub(crate) fn run_with(
        &self,
        ops: Vec<Op>,
        script: &str,
        slots: &[BorrowedFd<'_>],
    ) -> Result<(i32, String), SpawnError> {
        let mut all = self.begin(&INSIDE);
        all.extend(ops);
        if !all.contains(&Op::Pivot) {
            all.push(Op::Pivot);
        }
        all.push(sh(script));
        output_with(all, slots, None)
    }

    /// What a script says that must succeed.
    pub(crate) fn say(&self, ops: Vec<Op>, script: &str) -> String {
        let (code, said) = self.run(ops, script).unwrap();
        assert_eq!(code, 0, "{said}");
        said
    }

    /// The error number of the operation that fails, which must be the one at `index` after the root.
    pub(crate) fn fails(&self, ops: Vec<Op>, index: usize) -> Errno {
        step(self.run(ops, "exit 0"), index + 3).1
    }
}

/// The text and error number of the failure, which must be at this index.
pub(crate) fn step<T: std::fmt::Debug>(
    result: Result<T, SpawnError>,
    at: usize,
) -> (String, Errno) {
    match result {
        Err(SpawnError::Step { index, op, errno }) => {
            assert_eq!(index, at, "{op}: {errno}");
            (op, errno)
        }
        other => panic!("operation {at} should have failed: {other:?}"),
    }
}

pub(crate) fn host(path: &str) -> Source {
    Source::HostPath {
        path: text(path),
        recursive: false,
    }
}

pub(crate) fn new(fstype: &str, options: &[&str]) -> Source {
    Source::New {
        fstype: text(fstype),
        source: text(fstype),
        options: texts(options),
    }
}

pub(crate) fn mount(source: Source, target: &str) -> Op {
    mount_as(source, target, Create::No, 0)
}

pub(crate) fn mount_as(source: Source, target: &str, create: Create, attributes: u64) -> Op {
    let (clear, recursive, propagation) = (0, (0, 0), 0);
    Op::Mount {
        source,
        target: text(target),
        create,
        attributes,
        clear,
        recursive,
        propagation,
    }
}

pub(crate) fn proc() -> Op {
    mount(new("proc", &[]), "/proc")
}

/// Runs a plan with its output in a pipe: exit code and output. The last operation is the exec.
pub(crate) fn output(ops: Vec<Op>) -> Result<(i32, String), SpawnError> {
    output_with(ops, &[], None)
}

pub(crate) fn output_with(
    mut ops: Vec<Op>,
    slots: &[BorrowedFd<'_>],
    id_maps: Option<IdMaps>,
) -> Result<(i32, String), SpawnError> {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let exec = ops.pop().unwrap();
    let slot = Slot(u16::try_from(slots.len()).unwrap());
    ops.extend([1, 2].map(|fd| Op::Fd { slot, fd }));
    ops.push(exec);
    let slots = [slots, &[writer.as_fd()]].concat();
    let started = LAUNCHER.start(&Plan::new(ops), Resources { slots, id_maps })?;
    drop(writer);
    Ok(finish(&started, reader.into()))
}

pub(crate) fn finish(started: &Started, reader: OwnedFd) -> (i32, String) {
    let mut said = String::new();
    File::from(reader).read_to_string(&mut said).unwrap();
    let code = match started.process.wait().unwrap().status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal { signal, .. } => -signal,
    };
    (code, said)
}

/// Whether this test is to be left to a process of its own, which has run it: for tests about the process as a whole.
pub(crate) fn alone(test: &str) -> bool {
    const ALONE: &str = "ORLOP_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
    print!("{said}");
    true
}
