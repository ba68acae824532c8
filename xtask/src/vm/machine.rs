//! Starting a machine, passing a command in and its output and status out.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::fetch::{self, Kernel};
use crate::Failure;
use crate::command::{find, workspace};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Uml,
    Tcg,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Uml => "uml",
            Kind::Tcg => "tcg",
        }
    }
}

/// A machine to be.
pub(super) struct Machine {
    pub(super) kind: Kind,
    pub(super) memory: String,
    pub(super) modules: String,
    pub(super) limit: Duration,
    pub(super) share: Option<PathBuf>,
}

/// The exit status that timeout(1) has for what took too long.
const TOO_LONG: u8 = 124;
/// How long a machine whose command has ended gets to switch itself off.
const GRACE: Duration = Duration::from_secs(3);

impl Machine {
    /// Runs a shell script in the machine, in the caller's working folder, which is read-only there. `output` is called
    /// with what it prints, as it prints it; the result is its exit status.
    pub(super) fn run(&self, script: &str, mut output: impl FnMut(&[u8])) -> Result<u8, Failure> {
        let kernel = fetch::kernel(self.kind)?;
        let work = tempfile::tempdir()?;
        let share = match &self.share {
            Some(share) => {
                fs::canonicalize(share).map_err(|error| format!("{}: {error}", share.display()))?
            }
            None => {
                let share = work.path().join("share");
                fs::create_dir(&share)?;
                share
            }
        };
        for old in ["status", "output"] {
            let _ = fs::remove_file(share.join(old));
        }
        let folder = quote(&[std::env::current_dir()?.display().to_string()]);
        fs::write(share.join("command"), format!("cd {folder}\n{script}\n"))?;
        fs::write(share.join("output"), "")?;

        // An empty disk: without one nothing of block I/O can be tried. Neither sparse nor still to be written, as
        // User-Mode Linux counts the blocks it has.
        let disk = work.path().join("disk");
        fs::write(&disk, vec![0; 8 << 20])?;
        File::open(&disk)?.sync_all()?;

        let started = Instant::now();
        let mut group = match self.kind {
            Kind::Uml => self.start_uml(&kernel, work.path(), &share)?,
            Kind::Tcg => self.start_tcg(&kernel, work.path(), &share)?,
        };
        let mut printed = File::open(share.join("output"))?;
        let mut at = 0;
        let mut follow = || -> Result<(), Failure> {
            let mut bytes = Vec::new();
            printed.seek(std::io::SeekFrom::Start(at))?;
            at += printed.read_to_end(&mut bytes)? as u64;
            if !bytes.is_empty() {
                output(&bytes);
            }
            Ok(())
        };
        let status = share.join("status");
        let mut ended: Option<Instant> = None;
        loop {
            let gone = group.machine()?.try_wait()?.is_some();
            follow()?;
            if gone || ended.is_some_and(|ended| ended.elapsed() > GRACE) {
                break;
            }
            if ended.is_none() && status.exists() {
                ended = Some(Instant::now());
            }
            if ended.is_none() && started.elapsed() > self.limit {
                eprintln!(
                    "the machine was switched off after {} s",
                    self.limit.as_secs()
                );
                return Ok(TOO_LONG);
            }
            sleep(Duration::from_millis(20));
        }
        drop(group);
        follow()?;
        fs::read_to_string(&status)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| {
                let said: String = ["console", "qemu.log", "root.log", "share.log"]
                    .iter()
                    .filter_map(|name| fs::read(work.path().join(name)).ok())
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    .collect();
                format!("the machine stopped before its command had ended, and said:\n{said}")
                    .into()
            })
    }

    fn start_uml(&self, kernel: &Kernel, work: &Path, share: &Path) -> Result<Group, Failure> {
        let console = File::create(work.join("console"))?;
        let mut uml = Command::new(&kernel.image);
        uml.args([
            "root=/dev/root",
            "rootfstype=hostfs",
            "hostfs=/",
            "ro",
            "quiet",
        ])
        .args(["con=null", "con0=null,fd:2", "panic=-1"])
        .arg(format!("mem={}", self.memory))
        .arg(format!("uml_dir={}/", work.display()))
        .arg(format!("ubd0={}", work.join("disk").display()))
        .args(self.parameters(kernel, share))
        // Its memory is a file; in a tmpfs it is never written to a disk.
        .env(
            "TMPDIR",
            if Path::new("/dev/shm").is_dir() {
                Path::new("/dev/shm")
            } else {
                work
            },
        )
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console);
        Ok(Group(vec![spawn(uml)?]))
    }

    fn start_tcg(&self, kernel: &Kernel, work: &Path, share: &Path) -> Result<Group, Failure> {
        let qemu = find("qemu-system-x86_64").ok_or("there is no QEMU: install qemu-system-x86")?;
        let virtiofsd = [
            Path::new("/usr/libexec/virtiofsd"),
            Path::new("/usr/lib/qemu/virtiofsd"),
        ]
        .into_iter()
        .find(|path| path.exists())
        .ok_or(
            "there is no virtiofsd: install qemu-system-common, or virtiofsd on newer releases",
        )?;
        // Helpers first, the machine last.
        let mut group = Group(Vec::new());
        for (name, source) in [("root", Path::new("/")), ("share", share)] {
            let log = File::create(work.join(format!("{name}.log")))?;
            let socket = work.join(format!("{name}.sock"));
            let mut helper = Command::new(virtiofsd);
            helper
                .arg(format!("--socket-path={}", socket.display()))
                .arg("-o")
                .arg(format!("source={},sandbox=chroot,xattr", source.display()))
                .args([
                    "-o",
                    if name == "root" {
                        "cache=always"
                    } else {
                        "cache=none"
                    },
                ])
                .arg("--rlimit-nofile=0")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            group.0.push(spawn(helper)?);
            wait_for(&socket)?;
        }
        let memory = &self.memory;
        let console = format!("file:{}", work.join("console").display());
        let append = format!(
            "console=ttyS0 quiet panic=-1 root=root rootfstype=virtiofs ro mitigations=off no_timer_check tsc=reliable {}",
            self.parameters(kernel, share).join(" ")
        );
        let mut command = Command::new(qemu);
        command
            .args([
                "-M",
                "pc",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                memory,
            ])
            .arg("-object")
            .arg(format!(
                "memory-backend-memfd,id=memory,size={memory},share=on"
            ))
            .args([
                "-numa",
                "node,memdev=memory",
                "-nodefaults",
                "-no-user-config",
            ])
            .args(["-display", "none", "-no-reboot", "-serial", &console])
            .arg("-drive")
            .arg(format!(
                "file={},format=raw,if=virtio",
                work.join("disk").display()
            ))
            .arg("-kernel")
            .arg(&kernel.image);
        for name in ["root", "share"] {
            let socket = work.join(format!("{name}.sock"));
            command
                .arg("-chardev")
                .arg(format!("socket,id={name},path={}", socket.display()))
                .arg("-device")
                .arg(format!("vhost-user-fs-pci,chardev={name},tag={name}"));
        }
        command.arg("-append").arg(append);
        let log = File::create(work.join("qemu.log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        group.0.push(spawn(command)?);
        Ok(group)
    }

    /// What the machine's init reads from the kernel's command line.
    fn parameters(&self, kernel: &Kernel, share: &Path) -> Vec<String> {
        let (kind, always) = match self.kind {
            Kind::Uml => ("uml", "overlay"),
            Kind::Tcg => ("qemu", "overlay,virtio_blk"),
        };
        vec![
            format!("init={}", workspace().join("xtask/vm/init").display()),
            format!("orlop.kind={kind}"),
            format!("orlop.share={}", share.display()),
            format!("orlop.modules={always},{}", self.modules),
            format!("orlop.moddir={}", kernel.modules.display()),
        ]
    }
}

/// A machine and its helpers; dropping it ends them all.
struct Group(Vec<Child>);

impl Group {
    fn machine(&mut self) -> Result<&mut Child, Failure> {
        self.0
            .last_mut()
            .ok_or_else(|| "nothing was started".into())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for mut child in self.0.drain(..).rev() {
            // Each leads a process group: User-Mode Linux has a process on the host for each of its own.
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = child.wait();
        }
    }
}

fn spawn(mut command: Command) -> Result<Child, Failure> {
    let name = command.get_program().display().to_string();
    command
        .process_group(0)
        .spawn()
        .map_err(|error| format!("starting {name}: {error}").into())
}

fn wait_for(socket: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        if Instant::now() > deadline {
            let log = fs::read_to_string(socket.with_extension("log")).unwrap_or_default();
            return Err(format!("virtiofsd does not start: {log}").into());
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A command as a line of shell that means just these words.
pub(super) fn quote(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.as_ref().replace('\'', "'\\''")))
        .collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_stay_words() {
        let words = ["a b", "it's", "$HOME", "", "a\nb"];
        let script = format!(
            "for word in {}; do printf '%s|' \"$word\"; done",
            quote(&words)
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("sh runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "a b|it's|$HOME||a\nb|"
        );
    }
}
