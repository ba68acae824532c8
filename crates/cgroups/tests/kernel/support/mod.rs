//! A cgroup parent of the test process's own, and processes to put below it.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use orlop_cgroups::{Cgroup, CgroupPath, Cgroups, Controller, Limits, Mode};

/// Removes what a test has made, however it ends.
pub(crate) struct Scene {
    pub(crate) cgroups: Cgroups,
    pub(crate) parent: CgroupPath,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Scene {
    /// `None`, with the reason printed, where these tests cannot run.
    pub(crate) fn new(test: &str) -> Option<Scene> {
        let cgroups = match Cgroups::detect() {
            Ok(cgroups) => cgroups,
            Err(error) => return skip(test, &error.to_string()),
        };
        if !rustix::process::geteuid().is_root() {
            return skip(test, "needs root");
        }
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = format!("orlop-test-{}-{serial}", std::process::id());
        Some(Scene {
            cgroups,
            parent: CgroupPath::new(parent).unwrap(),
        })
    }

    /// As [`Scene::new`], if every one of `needed` is available.
    pub(crate) fn with(test: &str, needed: &[Controller]) -> Option<Scene> {
        let scene = Scene::new(test)?;
        let available = scene.cgroups.controllers();
        for controller in needed {
            if !available.contains(*controller) {
                return skip(test, &format!("there is no {controller} controller here"));
            }
        }
        Some(scene)
    }

    /// As [`Scene::with`], where v2 has the controllers.
    pub(crate) fn pure_v2(test: &str, needed: &[Controller]) -> Option<Scene> {
        let scene = Scene::with(test, needed)?;
        match scene.cgroups.mode() {
            Mode::V2 => Some(scene),
            mode => skip(test, &format!("needs pure cgroup v2, this is {mode:?}")),
        }
    }

    pub(crate) fn create(&self, name: &str, limits: &Limits) -> Cgroup {
        let path = self.parent.join(name).unwrap();
        match self.cgroups.create(&path, limits) {
            Ok(cgroup) => cgroup,
            Err(error) => panic!("creating {path}: {}", chain(&error)),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Ok(cgroup) = self.cgroups.open(&self.parent) {
            let gone = cgroup.kill().and_then(|()| cgroup.remove());
            if let Err(error) = gone
                && !std::thread::panicking()
            {
                panic!("leaving {} behind: {}", self.parent, chain(&error));
            }
        }
    }
}

pub(crate) fn skip<T>(test: &str, reason: &str) -> Option<T> {
    println!("skipped: {test}: {reason}");
    None
}

/// An error with its causes, as a program would print it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A shell that does nothing until it is told to go, so that it can be moved first.
pub(crate) struct Waiting(Child);

impl Waiting {
    pub(crate) fn shell(script: &str) -> Waiting {
        let script = format!("read go; {script}");
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Waiting(child)
    }

    pub(crate) fn inside(script: &str, cgroup: &Cgroup) -> Waiting {
        let waiting = Waiting::shell(script);
        cgroup.attach(waiting.pid()).unwrap();
        waiting
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn go(&mut self) {
        let mut stdin = self.0.stdin.take().unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// Standard output and error, and the status.
    pub(crate) fn output(mut self) -> (String, String, ExitStatus) {
        let (mut out, mut err) = (String::new(), String::new());
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        (out, err, self.0.wait().unwrap())
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        drop(self.0.stdin.take());
        self.0.wait().unwrap()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tries until it holds, for up to ten seconds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}
