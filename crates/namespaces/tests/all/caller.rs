//! What belongs to the calling process, looked at before, during and after.

use std::collections::BTreeMap;
use std::fs;

/// All that a start must leave as it is.
pub(crate) struct Caller {
    facts: BTreeMap<&'static str, String>,
}

impl Caller {
    /// The calling thread's and the process's state; children and open files included.
    pub(crate) fn now() -> Caller {
        let mut caller = Caller::in_between();
        let fds = fs::read_dir("/proc/self/fd").unwrap().count();
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        caller.facts.insert("open files", fds.to_string());
        caller.facts.insert("children", children);
        caller.facts.insert("blocked signals", status("SigBlk"));
        caller
    }

    /// What must hold even while a start is under way, as another thread sees it.
    pub(crate) fn in_between() -> Caller {
        let mut facts = BTreeMap::new();
        let link = |path: &str| fs::read_link(path).unwrap().display().to_string();
        facts.insert("cwd", link("/proc/self/cwd"));
        facts.insert("root", link("/proc/self/root"));
        for (name, file) in [
            ("mnt", "mnt"),
            ("pid", "pid"),
            ("net", "net"),
            ("user", "user"),
            ("uts", "uts"),
            ("ipc", "ipc"),
            ("cgroup", "cgroup"),
            ("pid_for_children", "pid_for_children"),
        ] {
            facts.insert(name, link(&format!("/proc/self/ns/{file}")));
        }
        for (name, file) in [
            ("oom score", "oom_score_adj"),
            ("limits", "limits"),
            ("cgroups", "cgroup"),
            ("mounts", "mountinfo"),
        ] {
            facts.insert(
                name,
                fs::read_to_string(format!("/proc/self/{file}")).unwrap(),
            );
        }
        let environment = fs::read("/proc/self/environ").unwrap();
        facts.insert("environment", format!("{} bytes", environment.len()));
        for name in [
            "Umask",
            "Uid",
            "Gid",
            "Groups",
            "SigIgn",
            "SigCgt",
            "CapEff",
            "CapPrm",
            "CapBnd",
            "NoNewPrivs",
            "Seccomp",
        ] {
            facts.insert(name, status(name));
        }
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        facts.insert("dumpable", format!("{dumpable:?}"));
        Caller { facts }
    }
}

impl Caller {
    /// Fails if anything differs, and says what.
    pub(crate) fn is_still(&self, now: &Caller, when: &str) {
        for (name, before) in &self.facts {
            assert_eq!(now.facts.get(name), Some(before), "{name} changed: {when}");
        }
    }
}

fn status(name: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(name) && line[name.len()..].starts_with(':'));
    line.unwrap().to_owned()
}
