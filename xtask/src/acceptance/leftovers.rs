//! What a machine has of the things Orlop makes, to be compared before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::command::processes;

/// What the peers keep in those folders, wherever they are told to keep the rest.
const PEERS: &[&str] = &["containers", "libpod", "crun", "runc", "buildah", "lock"];

/// The tests of the crates name their cgroups so; they may be running beside.
const TESTS: &str = "orlop-test-";

/// Mounts of this mount namespace, cgroups of the machine, processes of this pid namespace, files in the shared folders.
pub(super) struct Machine(BTreeSet<String>);

impl Machine {
    pub(super) fn now() -> Machine {
        let mut found = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")
            .unwrap_or_default()
            .lines()
        {
            found.insert(format!(
                "mount {}",
                line.split(' ').nth(4).unwrap_or_default()
            ));
        }
        cgroups(Path::new("/sys/fs/cgroup"), &mut found);
        found.extend(
            processes()
                .into_iter()
                .map(|(pid, _)| format!("process {pid} {}", name(pid))),
        );
        for folder in ["/tmp", "/dev/shm", "/run", "/var/lib"] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let ours = entries
                .map(|entry| entry.path())
                .filter(|path| !PEERS.iter().any(|peer| path.ends_with(peer)));
            found.extend(ours.map(|path| format!("file {}", path.display())));
        }
        Machine(found)
    }

    /// An error that names what is here now and was not then. What is on its way out gets a moment.
    pub(super) fn compare(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left: Vec<String> = Machine::now().0.difference(&self.0).cloned().collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("left behind: {}", left.join(", ")).into());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn cgroups(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_of_a_test = entry.file_name().to_string_lossy().starts_with(TESTS);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_of_a_test {
            found.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), found);
        }
    }
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}
