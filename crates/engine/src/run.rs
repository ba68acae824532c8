//! A container in the foreground: from a request to a process, and from its end to what is remembered.
//!
//! The order is that of idea 4 of the design: the record and the lock that says "somebody looks after this" precede
//! every side effect, so that whoever comes after a `kill -9` finds out what there is to remove.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orlop_runtime::{Builder, Seccomp as RuntimeSeccomp, Stdio};
use orlop_unionfs::{MountOptions, Rootfs};

use crate::check;
use crate::containers::birth_of;
use crate::engine::Engine;
use crate::error::Error;
use crate::etc;
use crate::files::{self, Alive};
use crate::hello;
use crate::id;
use crate::images::Found;
use crate::merge::{Settings, merge};
use crate::record::{Container, State};
use crate::request::{Network, RunRequest, Seccomp};
use crate::volumes::{How, Ready};
use crate::{fill, signal};

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Its exit code as a shell has it: 128 and the signal for a signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel killed it, or a part of it, for want of memory.
    pub oom_killed: bool,
}

/// A container that runs, with its streams. Dropping it kills and buries the container.
#[must_use = "dropping it kills the container"]
pub struct Running<'e> {
    engine: &'e Engine,
    record: Container,
    container: Option<orlop_runtime::Container>,
    alive: Option<Alive>,
    stop_signal: i32,
}

impl std::fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("id", &self.record.id)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts a container from an image that is in the store. The caller copies its streams and waits.
    ///
    /// Everything asked for is checked before anything is made, and a container that does not start leaves nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if it has to be pulled first; [`ErrorKind::CommandNotFound`](crate::ErrorKind) and
    /// [`ErrorKind::CommandNotExecutable`](crate::ErrorKind) for the command; any other.
    pub fn start(&self, request: &RunRequest) -> Result<Running<'_>, Error> {
        check::request(request, cpus())?;
        self.bury()?;
        let found = self.find_image(&request.image, request.platform.as_deref())?;
        let id = id::random()?;
        let hostname = match (&request.hostname, request.network) {
            (Some(own), _) => own.clone(),
            (None, Network::Host) => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            (None, Network::None) => id.get(..12).unwrap_or(&id).to_owned(),
        };
        let settings = merge(found.image.config().config().as_ref(), request, &hostname)?;
        let stop_signal = signal::parse(&settings.stop_signal).ok_or_else(|| {
            Error::invalid(
                "stop signal",
                &settings.stop_signal,
                "there is no such signal",
            )
        })?;
        let mounts = self.plan_mounts(request, &settings.volumes)?;
        let alive = Alive::announce(self.dirs.running().join(&id))?;
        let record = record(request, &found, &settings, &mounts, id, hostname);
        let mut running = Running {
            engine: self,
            record,
            container: None,
            alive: Some(alive),
            stop_signal,
        };
        // From here on, dropping `running` removes what was made.
        running.start(request, &found, &settings, &mounts)?;
        Ok(running)
    }
}

impl Running<'_> {
    fn start(
        &mut self,
        request: &RunRequest,
        found: &Found,
        settings: &Settings,
        mounts: &[Ready],
    ) -> Result<(), Error> {
        let engine = self.engine;
        let using = engine.using()?;
        self.record.name = engine.take_name(request.name.as_deref(), &self.record.id)?;
        let dir = engine.dirs.container(&self.record.id);
        files::make_dir(&dir)?;
        self.record.write(&dir)?;
        engine
            .images
            .unpack(&found.image)
            .map_err(Error::unpack(format!("unpacking image {}", request.image)))?;
        let began = is_hello(found).then(monotonic);
        let how = MountOptions::default().volatile(request.remove);
        let (_, rootfs) = engine
            .images
            .rootfs(&found.image, &self.record.id, &how)
            .map_err(Error::unpack(format!(
                "making the file system of {}",
                request.image
            )))?;
        drop(using);
        for mount in mounts {
            if mount.make()? {
                fill::volume(&rootfs, &mount.record)?;
            }
        }
        let mut builder = self.builder(request, settings, mounts, rootfs)?;
        if let Some(began) = began {
            builder = builder.env(hello::STARTED_AT, began.to_string());
        }
        let container = builder
            .start()
            .map_err(|source| Error::start(&settings.argv(), source))?;
        let pid = i32::try_from(container.pid()).ok();
        self.record.state = State::Running;
        self.record.pid = pid;
        self.record.pid_birth = pid.and_then(birth_of);
        self.record.started = Some(now());
        self.container = Some(container);
        self.record.write(&dir)
    }

    fn builder(
        &self,
        request: &RunRequest,
        settings: &Settings,
        mounts: &[Ready],
        rootfs: Rootfs,
    ) -> Result<Builder, Error> {
        let dir = self.engine.dirs.container(&self.record.id);
        let mut builder = self
            .engine
            .runtime()?
            .container(rootfs)
            .id(&self.record.id)
            .command(settings.argv())
            .cwd(&settings.working_dir)
            .hostname(&self.record.hostname)
            .read_only(request.read_only)
            .no_new_privileges(request.no_new_privileges)
            .stdin(if request.interactive {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (key, value) in settings
            .env
            .iter()
            .filter_map(|entry| entry.split_once('='))
        {
            builder = builder.env(key, value);
        }
        if !settings.user.is_empty() {
            builder = builder.user(&settings.user);
        }
        for group in &request.groups {
            builder = builder.group_add(group);
        }
        for name in &request.cap_add {
            builder = builder.cap_add(name);
        }
        for name in &request.cap_drop {
            builder = builder.cap_drop(name);
        }
        if request.seccomp == Seccomp::Unconfined {
            builder = builder.seccomp(RuntimeSeccomp::Unconfined);
        }
        if request.network == Network::Host {
            builder = builder.network(orlop_runtime::Network::Host);
        }
        if request.terminal {
            let (columns, rows) = request.terminal_size.unwrap_or((0, 0));
            builder = builder.terminal(rows, columns);
        }
        let own = |name: &str| {
            mounts
                .iter()
                .any(|m| m.record.target == format!("/etc/{name}"))
        };
        let etc = etc::write(&dir, &self.record.hostname, request.network)?;
        let mut binds: Vec<(usize, Bind)> = Vec::new();
        for (name, path) in etc.into_iter().filter(|(name, _)| !own(name)) {
            let target = format!("/etc/{name}");
            binds.push((
                2,
                Bind::Path {
                    source: path.display().to_string(),
                    target,
                    recursive: false,
                    read_only: false,
                },
            ));
        }
        binds.extend(
            mounts
                .iter()
                .map(|mount| (mount.record.target.matches('/').count(), bind(mount))),
        );
        // A mount below another comes after it.
        binds.sort_by_key(|(depth, _)| *depth);
        for (_, bind) in binds {
            builder = bind.add(builder)?;
        }
        crate::limits::apply(builder, &request.limits)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What was granted less fully than asked for. That there is no control group is none: nothing that needs one was
    /// asked for.
    pub fn warnings(&self) -> Vec<String> {
        let all = self.container.iter().flat_map(|c| c.warnings());
        all.filter(|warning| !matches!(warning, orlop_runtime::Warning::NoCgroup { .. }))
            .map(ToString::to_string)
            .collect()
    }

    /// The signal that asks it to stop.
    pub fn stop_signal(&self) -> i32 {
        self.stop_signal
    }

    /// The end of a pipe to its standard input, once; dropping it ends the input.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.container.as_mut()?.stdin.take().map(OwnedFd::from)
    }

    /// The end of a pipe from its standard output, once.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.container.as_mut()?.stdout.take().map(OwnedFd::from)
    }

    /// The end of a pipe from its standard error, once.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.container.as_mut()?.stderr.take().map(OwnedFd::from)
    }

    /// The master of its terminal, once. When all copies are closed the terminal hangs up.
    pub fn take_terminal(&mut self) -> Option<orlop_runtime::Terminal> {
        self.container.as_mut()?.terminal.take()
    }

    /// Sends a signal to its first process; none when that has ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        match &self.container {
            Some(container) => container
                .kill(signal)
                .map_err(Error::runtime("signalling the container")),
            None => Ok(()),
        }
    }

    /// Waits for its end and remembers it, or removes everything if that was asked for.
    ///
    /// # Errors
    /// When the end cannot be learnt, or something cannot be removed: the next call tries again.
    pub fn wait(mut self) -> Result<Ended, Error> {
        let Some(container) = self.container.take() else {
            return Err(Error::NoSuchContainer {
                container: self.record.id.clone(),
            });
        };
        let exit = container
            .wait()
            .map_err(Error::runtime("waiting for the container"))?;
        drop(container);
        let ended = Ended {
            code: exit.shell_code(),
            signal: exit.signal(),
            oom_killed: exit.oom_killed,
        };
        let engine = self.engine;
        self.record.state = State::Exited;
        self.record.pid = None;
        self.record.pid_birth = None;
        self.record.finished = Some(now());
        self.record.exit_code = Some(ended.code);
        self.record.oom_killed = ended.oom_killed;
        if self.record.remove {
            engine.forget(&self.record, true)?;
        } else {
            self.record.write(&engine.dirs.container(&self.record.id))?;
        }
        self.alive.take().map_or(Ok(()), Alive::finish)?;
        Ok(ended)
    }
}

impl AsFd for Running<'_> {
    /// The process's pidfd: readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.container {
            Some(container) => container.as_fd(),
            // Only within `start` and after `wait`, where nobody outside has it.
            None => rustix::stdio::stderr(),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Killed by its own drop.
        drop(self.container.take());
        if let Some(alive) = self.alive.take() {
            // What cannot be removed now is found by the next call through the lock that is free then.
            if self.engine.forget(&self.record, true).is_ok() {
                let _ = alive.finish();
            }
        }
    }
}

enum Bind {
    Path {
        source: String,
        target: String,
        recursive: bool,
        read_only: bool,
    },
    Tmpfs {
        target: String,
        options: Vec<String>,
    },
}

fn bind(mount: &Ready) -> Bind {
    let target = mount.record.target.clone();
    let (source, read_only) = (mount.record.source.clone(), mount.record.read_only);
    match &mount.how {
        How::Bind { recursive } => Bind::Path {
            source,
            target,
            recursive: *recursive,
            read_only,
        },
        How::Volume { .. } => Bind::Path {
            source,
            target,
            recursive: true,
            read_only,
        },
        How::Tmpfs(options) => Bind::Tmpfs {
            target,
            options: options.clone(),
        },
    }
}

impl Bind {
    fn add(self, builder: Builder) -> Result<Builder, Error> {
        let (source, target, options) = match self {
            Bind::Tmpfs { target, options } => {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                return Ok(builder.tmpfs(target, &options));
            }
            Bind::Path {
                source,
                target,
                recursive,
                read_only,
            } => {
                let mut options = vec![if recursive { "rbind" } else { "bind" }, "rprivate"];
                if read_only {
                    options.push("ro");
                    if recursive {
                        options.push("rro");
                    }
                }
                (source, target, options)
            }
        };
        let mount = oci_spec::runtime::MountBuilder::default()
            .destination(&target)
            .typ("bind")
            .source(&source)
            .options(options.into_iter().map(str::to_owned).collect::<Vec<_>>())
            .build()
            .map_err(|error| Error::invalid("mount", &target, error.to_string()))?;
        Ok(builder.mount(mount))
    }
}

fn record(
    request: &RunRequest,
    found: &Found,
    settings: &Settings,
    mounts: &[Ready],
    id: String,
    hostname: String,
) -> Container {
    Container {
        id,
        name: String::new(),
        created: now(),
        image: request.image.clone(),
        image_id: found.image.id().to_string(),
        manifest: found.image.digest().to_string(),
        chain_id: found.image.top().map(ToString::to_string),
        argv: settings.argv(),
        env: settings.env.clone(),
        working_dir: settings.working_dir.clone(),
        user: settings.user.clone(),
        hostname,
        labels: settings.labels.clone(),
        network: request.network,
        mounts: mounts.iter().map(|mount| mount.record.clone()).collect(),
        terminal: request.terminal,
        remove: request.remove,
        state: State::Created,
        pid: None,
        pid_birth: None,
        started: None,
        finished: None,
        exit_code: None,
        oom_killed: false,
        error: None,
    }
}

/// Whether this is the embedded image, which says how long its start took.
fn is_hello(found: &Found) -> bool {
    found.image.layers().len() == 1 && hello::is(&found.image)
}

/// Nanoseconds of the clock that a process inside reads, too.
fn monotonic() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
