//! Starting a container: from a request to a process.
//!
//! The order is that of idea 4 of the design: the lock that says "somebody looks after this" and the record precede
//! every side effect, so that whoever comes after a `kill -9` finds out what there is to remove.

use orlop_runtime::{Builder, Seccomp as RuntimeSeccomp, Stdio};
use orlop_unionfs::{MountOptions, Rootfs};

use crate::check;
use crate::containers::birth_of;
use crate::engine::Engine;
use crate::error::Error;
use crate::files::{self, Alive};
use crate::hello;
use crate::id;
use crate::images::Found;
use crate::merge::{Settings, merge};
use crate::record::{Container, State, now};
use crate::request::{Network, RunRequest, Seccomp};
use crate::run::Running;
use crate::volumes::Ready;
use crate::{binds, fill, limits, signal};

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
        let mut making = Making {
            engine: self,
            record,
            alive: Some(alive),
        };
        let container = making.start(request, &found, &settings, &mounts)?;
        making.finish(container, stop_signal)
    }
}

/// A container that does not run yet. Dropping it removes what was made of it.
struct Making<'e> {
    engine: &'e Engine,
    record: Container,
    alive: Option<Alive>,
}

impl<'e> Making<'e> {
    fn start(
        &mut self,
        request: &RunRequest,
        found: &Found,
        settings: &Settings,
        mounts: &[Ready],
    ) -> Result<orlop_runtime::Container, Error> {
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
        builder
            .start()
            .map_err(|source| Error::start(&settings.argv(), source))
    }

    /// Writes down that it runs. An error here kills it.
    fn finish(
        mut self,
        container: orlop_runtime::Container,
        stop_signal: i32,
    ) -> Result<Running<'e>, Error> {
        let pid = i32::try_from(container.pid()).ok();
        self.record.state = State::Running;
        self.record.pid = pid;
        self.record.pid_birth = pid.and_then(birth_of);
        self.record.started = Some(now());
        self.record
            .write(&self.engine.dirs.container(&self.record.id))?;
        Ok(Running::new(
            self.engine,
            self.record.clone(),
            container,
            self.alive.take(),
            stop_signal,
        ))
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
        builder = binds::apply(builder, &dir, &self.record, mounts)?;
        limits::apply(builder, &request.limits)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(alive) = self.alive.take() {
            self.engine.abandon(&self.record, alive);
        }
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

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
