//! What the tests share: archives made by hand, and mounts to look into.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use orlop_unionfs::{Active, ApplyLimits, MountOptions, Options, Rootfs, Snapshots, View};
use rustix::fs::{Mode, OFlags};

/// A store in a temporary directory.
pub(crate) struct Store {
    pub(crate) snapshots: Snapshots,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn store() -> Store {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(&dir.path().join("store"), Options::default()).unwrap();
    Store { snapshots, dir }
}

/// A store in memory, where syncing costs nothing: for tests of many layers.
pub(crate) fn fast_store() -> Store {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let snapshots = Snapshots::open(&dir.path().join("store"), Options::default()).unwrap();
    Store { snapshots, dir }
}

impl Store {
    pub(crate) fn path(&self, rest: &str) -> PathBuf {
        self.dir.path().join("store").join(rest)
    }

    /// How many entries one of the store's directories has.
    pub(crate) fn entries(&self, dir: &str) -> usize {
        std::fs::read_dir(self.path(dir)).unwrap().count()
    }

    pub(crate) fn layer(&self, parent: Option<&str>, id: &str, tar: &Tar) {
        self.snapshots
            .apply(parent, id, &tar.bytes()[..], &ApplyLimits::default())
            .unwrap();
    }
}

pub(crate) fn open_path(path: &std::path::Path) -> OwnedFd {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap()
}

/// Mounts a recipe in a mount namespace of its own, as mount(8) does, and gives what a script inside prints.
pub(crate) fn mount_recipe(
    recipe: &orlop_unionfs::Recipe,
    at: &std::path::Path,
    script: &str,
) -> String {
    mount_recipe_with(&["--mount"], recipe, at, script)
}

pub(crate) fn mount_recipe_with(
    unshare: &[&str],
    recipe: &orlop_unionfs::Recipe,
    at: &std::path::Path,
    script: &str,
) -> String {
    std::fs::create_dir_all(at).unwrap();
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    let mut options: Vec<String> = recipe.options.iter().map(|o| text(o)).collect();
    if recipe.read_only {
        options.push("ro".to_owned());
    }
    let out = std::process::Command::new("unshare")
        .args(unshare)
        .args(["sh", "-euc"])
        .arg(format!(
            "mount -i -t overlay overlay -o \"$1\" \"$2\"; cd \"$2\"; {script}"
        ))
        .args(["sh", &options.join(",")])
        .arg(at)
        .current_dir(recipe.directory.as_ref().unwrap())
        .output()
        .expect("unshare is missing: apt install util-linux");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// A chain id for a small number.
pub(crate) fn id(n: u32) -> String {
    format!("sha256:{n:064x}")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test does nothing, and that it does nothing.
#[macro_export]
macro_rules! need_root {
    ($name:literal) => {
        if !$crate::support::is_root() {
            println!("skipped: {}: needs root", $name);
            return;
        }
    };
}

pub(crate) fn detached(active: &Active) -> OwnedFd {
    match active.mount(&MountOptions::default()).unwrap() {
        Rootfs::Detached(fd) => fd,
        other => panic!("not a detached mount: {other:?}"),
    }
}

pub(crate) fn detached_view(view: &View) -> OwnedFd {
    match view.mount(&MountOptions::default()).unwrap() {
        Rootfs::Detached(fd) => fd,
        other => panic!("not a detached mount: {other:?}"),
    }
}

pub(crate) fn open(root: impl AsFd, path: &str, flags: OFlags) -> rustix::io::Result<File> {
    rustix::fs::openat(
        root,
        path,
        flags | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o644),
    )
    .map(File::from)
}

pub(crate) fn read(root: impl AsFd, path: &str) -> Option<String> {
    let mut text = String::new();
    open(root, path, OFlags::RDONLY)
        .ok()?
        .read_to_string(&mut text)
        .unwrap();
    Some(text)
}

pub(crate) fn write(root: impl AsFd, path: &str, text: &str) {
    use std::io::Write;
    open(root, path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

pub(crate) fn names(root: impl AsFd, path: &str) -> Vec<String> {
    let dir = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    let mut names: Vec<_> = rustix::fs::Dir::read_from(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|n| n != "." && n != "..")
        .collect();
    names.sort();
    names
}

/// A tar archive, entry by entry.
#[derive(Clone, Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
    pax: Vec<u8>,
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// A PAX record for the next entry.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Tar {
        let rest = key.len() + value.len() + 3;
        let digits = if rest + 1 < 10 {
            1
        } else if rest + 2 < 100 {
            2
        } else {
            3
        };
        self.pax
            .extend(format!("{} {key}=", rest + digits).as_bytes());
        self.pax.extend(value);
        self.pax.push(b'\n');
        self
    }

    /// An entry of any type.
    pub(crate) fn entry(
        mut self,
        path: impl AsRef<[u8]>,
        flag: u8,
        change: impl FnOnce(&mut tar::Header),
        body: &[u8],
    ) -> Tar {
        let pax = std::mem::take(&mut self.pax);
        if !pax.is_empty() {
            self.push(b"PaxHeaders", b'x', |_| {}, &pax);
        }
        self.push(path.as_ref(), flag, change, body);
        self
    }

    fn push<F: FnOnce(&mut tar::Header)>(&mut self, path: &[u8], flag: u8, change: F, body: &[u8]) {
        let mut header = tar::Header::new_ustar();
        assert!(path.len() <= 100, "use a PAX path");
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(if flag == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(body.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    pub(crate) fn dir(self, path: &str) -> Tar {
        self.entry(path, b'5', |_| {}, b"")
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Tar {
        self.entry(path, b'0', |_| {}, text.as_bytes())
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Tar {
        self.entry(
            path,
            b'2',
            |h| h.set_link_name_literal(target).unwrap(),
            b"",
        )
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Tar {
        self.entry(
            path,
            b'1',
            |h| h.set_link_name_literal(target).unwrap(),
            b"",
        )
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 1024]].concat()
    }

    /// Without the end mark, to be cut or continued.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// Runs GNU tar, feeding it an archive or taking one from it.
pub(crate) fn gnu_tar(args: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = std::process::Command::new("tar")
        .args(args)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tar is missing: apt install tar");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(
        out.status.success(),
        "tar {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    out.stdout
}
