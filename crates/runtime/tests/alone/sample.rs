//! What a process is, as others and itself can see it.

use std::collections::BTreeMap;
use std::path::Path;

/// Everything a library call must leave as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    cwd: String,
    root: String,
    status: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    dumpable: bool,
    oom_score_adj: String,
    limits: String,
    mounts: String,
    namespaces: BTreeMap<String, String>,
    cgroups: String,
    pub(crate) fds: BTreeMap<u32, String>,
    pub(crate) children: Vec<String>,
    threads: usize,
}

fn link(path: &str) -> String {
    std::fs::read_link(path)
        .map(|target| target.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Lines of `/proc/…/status` that say how the process is set up. Blocked signals are the thread's own.
const LINES: [&str; 15] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "TracerPid",
];

/// This process, as the calling thread sees it.
pub(crate) fn process() -> Process {
    let status = read("/proc/thread-self/status");
    let status = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| LINES.contains(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let namespaces = std::fs::read_dir("/proc/thread-self/ns")
        .unwrap()
        .flatten()
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                link(&entry.path().to_string_lossy()),
            )
        })
        .collect();
    Process {
        cwd: link("/proc/self/cwd"),
        root: link("/proc/self/root"),
        status,
        environment: std::env::vars().collect(),
        dumpable: rustix::process::dumpable_behavior().unwrap()
            == rustix::process::DumpableBehavior::Dumpable,
        oom_score_adj: read("/proc/self/oom_score_adj"),
        limits: read("/proc/self/limits"),
        mounts: read("/proc/self/mountinfo"),
        namespaces,
        cgroups: read("/proc/self/cgroup"),
        fds: fds(),
        children: children(),
        threads: std::fs::read_dir("/proc/self/task").unwrap().count(),
    }
}

/// Open descriptors; not the one that reads the list.
pub(crate) fn fds() -> BTreeMap<u32, String> {
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let target = link(&entry.path().to_string_lossy());
        if let Ok(number) = entry.file_name().to_string_lossy().parse()
            && !target.is_empty()
            && !target.ends_with("/fd")
        {
            out.insert(number, target);
        }
    }
    out
}

/// Children of every thread, ended or not.
pub(crate) fn children() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .flat_map(|task| {
            read(&task.path().join("children").to_string_lossy())
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

impl Process {
    /// What may differ while a start is under way: its own descriptors and children come and
    /// go, and the test's threads end one after the other.
    pub(crate) fn without_traffic(mut self) -> Process {
        self.fds.clear();
        self.children.clear();
        self.threads = 0;
        self
    }

    /// Ends the test unless `self` is as `before`, naming what is not.
    pub(crate) fn expect_as(&self, before: &Process, when: &str) {
        let lines = |process: &Process| {
            format!("{process:#?}")
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (before, now) = (lines(before), lines(self));
        let differing: Vec<_> = now
            .iter()
            .filter(|line| !before.contains(line))
            .chain(before.iter().filter(|line| !now.contains(line)))
            .collect();
        assert!(before == now, "changed {when}: {differing:#?}");
    }
}

/// Cgroups left below the parent of this process's containers.
pub(crate) fn cgroups_left(parent: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut roots = vec![Path::new("/sys/fs/cgroup").to_owned()];
    roots.extend(
        std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    for directory in roots.iter().map(|root| root.join(parent)) {
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.path().is_dir() {
                out.push(entry.path().to_string_lossy().into_owned());
            }
        }
    }
    out
}
