//! Asking for a container.

mod defaults;
mod devices;
mod limits;
mod settings;
mod spec;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use orlop_cgroups::CgroupPath;
use orlop_init::plan::Plan;
use orlop_namespaces::IdMapHelper;

pub use settings::{Network, Rlimit, Seccomp, UserNamespace};

use crate::compile::{self, SeccompChoice, Warning};
use crate::container::Container;
use crate::exit::Output;
use crate::id::ContainerId;
use crate::launch::{self, Launch, Request};
use crate::root::Root;
use crate::rootfs::users::UserSpec;
use crate::runtime::Runtime;
use crate::stdio::Stdio;
use crate::{Clamp, Error};

/// Asks for a container in Docker's words, with Docker's defaults: fourteen capabilities, the default seccomp profile, masked and
/// read-only paths, no network but loopback. Made by [`Runtime::container`].
///
/// A value that cannot be read is an error of [`Builder::start`], not of the method that took it.
#[derive(Debug)]
#[must_use = "nothing happens until start or output"]
pub struct Builder {
    runtime: Runtime,
    root: Root,
    settings: settings::Container,
    launch: Launch,
    error: Option<Error>,
}

/// Starts the container of an OCI runtime specification. Made by [`Runtime::from_spec`].
///
/// Without further calls it has the caller's standard output and error, unless these are terminals, and an empty input.
#[derive(Debug)]
#[must_use = "nothing happens until start or output"]
pub struct SpecBuilder {
    runtime: Runtime,
    spec: Spec,
    bundle: PathBuf,
    root: Option<Root>,
    launch: Launch,
    error: Option<Error>,
}

/// What both builders offer about the start itself.
macro_rules! launch_methods {
    () => {
        /// The container's id; a random one otherwise.
        pub fn id(mut self, id: &str) -> Self {
            match id.parse() {
                Ok(id) => self.launch.id = Some(id),
                Err(error) => self.fail(error),
            }
            self
        }

        /// Standard input; `/dev/null` otherwise.
        pub fn stdin(mut self, stdio: impl Into<Stdio>) -> Self {
            self.launch.streams.stdin = stdio.into();
            self
        }

        /// Standard output; the caller's otherwise, or a pipe for [`output`](Self::output).
        pub fn stdout(mut self, stdio: impl Into<Stdio>) -> Self {
            self.launch.streams.stdout = stdio.into();
            self
        }

        /// Standard error; as with standard output.
        pub fn stderr(mut self, stdio: impl Into<Stdio>) -> Self {
            self.launch.streams.stderr = stdio.into();
            self
        }

        /// Hand a further file descriptor over; it has `number` in the program. The numbers 0 to 2 are the standard streams'.
        pub fn fd(mut self, number: u32, fd: impl Into<OwnedFd>) -> Self {
            if !(3..1024).contains(&number)
                || self.launch.fds.iter().any(|(taken, _)| *taken == number)
            {
                self.fail(Error::invalid(format!(
                    "file descriptor {number} is below 3, above 1023, or given twice"
                )));
            } else {
                self.launch.fds.push((number, fd.into()));
            }
            self
        }

        /// What to do where more privilege is asked for than the caller has.
        pub fn clamp(mut self, clamp: Clamp) -> Self {
            self.launch.clamp = clamp;
            self
        }

        /// `newuidmap` and `newgidmap`, for maps a caller without privilege may not write itself.
        pub fn id_map_helper(mut self, helper: IdMapHelper) -> Self {
            self.launch.id_map_helper = Some(helper);
            self
        }

        /// The cgroup's path in every hierarchy, instead of the id below the runtime's parent. It must not exist.
        pub fn cgroup(mut self, path: &str) -> Self {
            match CgroupPath::new(path) {
                Ok(path) => self.launch.cgroup = Some(path),
                Err(source) => self.fail(Error::Cgroup {
                    doing: "naming",
                    source,
                }),
            }
            self
        }

        /// Start, collect everything written to standard output and error, and wait for the end.
        ///
        /// # Errors
        /// As [`start`](Self::start) and [`Container::wait_with_output`].
        pub fn output(mut self) -> Result<Output, Error> {
            self.pipe_output();
            self.start()?.wait_with_output()
        }

        /// Pipes for those streams that were left alone.
        pub(crate) fn pipe_output(&mut self) {
            for stream in [
                &mut self.launch.streams.stdout,
                &mut self.launch.streams.stderr,
            ] {
                if matches!(stream.0, crate::stdio::Kind::Inherit { terminal: false }) {
                    *stream = Stdio::piped();
                }
            }
        }

        fn fail(&mut self, error: Error) {
            self.error.get_or_insert(error);
        }
    };
}

impl Builder {
    pub(crate) fn new(runtime: Runtime, root: Root) -> Builder {
        let settings = settings::Container::default();
        Builder {
            runtime,
            root,
            settings,
            launch: Launch::default(),
            error: None,
        }
    }

    launch_methods!();

    /// The program and its arguments. Without a slash the program is looked for in the container's `PATH`.
    pub fn command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.settings.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Set an environment variable. `PATH`, `HOME`, `HOSTNAME` and, with a terminal, `TERM` have Docker's defaults; nothing of
    /// the caller's environment is handed on.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.env.push((name.into(), value.into()));
        self
    }

    /// Set several environment variables.
    pub fn envs<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.settings.env.extend(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        self
    }

    /// The working directory, made if it is missing; `/` otherwise.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.cwd = Some(path.into());
        self
    }

    /// `user`, `user:group`, in names of the root's `/etc/passwd` and `/etc/group` or in numbers; root otherwise.
    pub fn user(mut self, user: &str) -> Self {
        match user.parse::<UserSpec>() {
            Ok(user) => self.settings.user = user,
            Err(error) => self.fail(error.into()),
        }
        self
    }

    /// A further supplementary group, by name or number.
    pub fn group_add(mut self, group: &str) -> Self {
        match format!(":{group}").parse::<UserSpec>() {
            Ok(UserSpec {
                group: Some(group), ..
            }) => self.settings.group_add.push(group),
            Ok(_) => self.fail(Error::invalid("the name of a group is empty")),
            Err(error) => self.fail(error.into()),
        }
        self
    }

    /// The umask; 022 otherwise.
    pub fn umask(mut self, mask: u32) -> Self {
        self.settings.umask = Some(mask);
        self
    }

    /// The host name; the beginning of the id otherwise.
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.settings.hostname = Some(name.into());
        self
    }

    /// The NIS domain name.
    pub fn domainname(mut self, name: impl Into<String>) -> Self {
        self.settings.domainname = Some(name.into());
        self
    }

    /// Mount something. It takes the place of a default mount with the same destination.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.settings.mounts.push(mount);
        self
    }

    /// Bind a file or directory of the caller's, with what is mounted below it.
    pub fn volume(self, source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Self {
        self.bound(
            source.as_ref(),
            destination.as_ref(),
            &["rbind", "rprivate"],
        )
    }

    /// Bind a file or directory of the caller's; neither it nor what is mounted below it can be written.
    pub fn volume_read_only(self, source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Self {
        self.bound(
            source.as_ref(),
            destination.as_ref(),
            &["rbind", "ro", "rro", "rprivate"],
        )
    }

    fn bound(mut self, source: &Path, destination: &Path, options: &[&str]) -> Self {
        match defaults::bind(source, destination, options) {
            Ok(mount) => self.settings.mounts.push(mount),
            Err(error) => self.fail(error),
        }
        self
    }

    /// An empty directory in memory. Docker's options are `nosuid,nodev,noexec`; more are added to them, as `size=64m`.
    pub fn tmpfs(mut self, destination: impl AsRef<Path>, options: &[&str]) -> Self {
        let all: Vec<&str> = ["nosuid", "nodev", "noexec"]
            .into_iter()
            .chain(options.iter().copied())
            .collect();
        match defaults::mount(destination, "tmpfs", "tmpfs", &all) {
            Ok(mount) => self.settings.mounts.push(mount),
            Err(error) => self.fail(error),
        }
        self
    }

    /// The size of `/dev/shm` in bytes; 64 MiB otherwise.
    pub fn shm_size(mut self, bytes: u64) -> Self {
        self.settings.shm_size = Some(bytes);
        self
    }

    /// Let the container read its root but not write it.
    pub fn read_only(mut self, yes: bool) -> Self {
        self.settings.read_only = yes;
        self
    }

    /// Grant a capability by name, or `ALL`.
    pub fn cap_add(mut self, name: impl Into<String>) -> Self {
        self.settings.cap_add.push(name.into());
        self
    }

    /// Take a capability away by name, or `ALL`: then only what is added is left.
    pub fn cap_drop(mut self, name: impl Into<String>) -> Self {
        self.settings.cap_drop.push(name.into());
        self
    }

    /// Nearly no isolation from the host's kernel: every capability the caller has, every device, every system call, nothing hidden.
    /// For programs the caller trusts as itself.
    pub fn privileged(mut self, yes: bool) -> Self {
        self.settings.privileged = yes;
        self
    }

    /// Keep set-user-ID programs from gaining privilege (`PR_SET_NO_NEW_PRIVS`).
    pub fn no_new_privileges(mut self, yes: bool) -> Self {
        self.settings.no_new_privileges = yes;
        self
    }

    /// Which system calls may be made.
    pub fn seccomp(mut self, seccomp: Seccomp) -> Self {
        self.settings.seccomp = seccomp;
        self
    }

    /// Whose network it sees; its own with nothing but loopback otherwise.
    pub fn network(mut self, network: Network) -> Self {
        self.settings.network = network;
        self
    }

    /// Who its users are outside.
    pub fn user_namespace(mut self, namespace: UserNamespace) -> Self {
        self.settings.user_namespace = namespace;
        self
    }

    /// See the caller's processes. What the first process leaves behind is killed through the cgroup at its end.
    pub fn host_pid(mut self, yes: bool) -> Self {
        self.settings.host_pid = yes;
        self
    }

    /// Share the caller's System V and POSIX message queues, semaphores and shared memory.
    pub fn host_ipc(mut self, yes: bool) -> Self {
        self.settings.host_ipc = yes;
        self
    }

    /// Share the caller's host name.
    pub fn host_uts(mut self, yes: bool) -> Self {
        self.settings.host_uts = yes;
        self
    }

    /// Set a kernel parameter that belongs to one of the container's namespaces.
    pub fn sysctl(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.sysctls.push((name.into(), value.into()));
        self
    }

    /// How ready the kernel is to kill it for want of memory: -1000 to 1000.
    pub fn oom_score_adj(mut self, score: i32) -> Self {
        self.settings.oom_score_adj = Some(score);
        self
    }

    /// Hide these paths instead of Docker's list.
    pub fn masked_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.settings.masked_paths = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// Make these paths read-only instead of Docker's list.
    pub fn readonly_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.settings.readonly_paths = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// A terminal for the standard streams, of this many rows and columns; 0 by 0 leaves the size unset.
    pub fn terminal(mut self, rows: u16, columns: u16) -> Self {
        self.settings.terminal = Some((rows, columns));
        self
    }

    /// The specification this amounts to, which is what is compiled and started.
    ///
    /// # Errors
    /// A value that cannot be read; an unknown user; a capability the caller does not have.
    pub fn to_spec(&mut self) -> Result<Spec, Error> {
        let id = self.chosen_id()?;
        self.make_spec(&id, &mut Vec::new())
    }

    /// The plan without what only a start knows: no cgroup.
    ///
    /// # Errors
    /// As [`Builder::to_spec`], and what the specification gets wrong.
    pub fn plan(&mut self) -> Result<Plan, Error> {
        let id = self.chosen_id()?;
        let spec = self.make_spec(&id, &mut Vec::new())?;
        let request = self.request(id, &spec, Vec::new());
        Ok(request
            .compile(&self.runtime.shared, compile::Streams::Handed)?
            .plan(0, false))
    }

    /// Start the container; returns when its program is executing.
    ///
    /// # Errors
    /// Any; nothing is left then. [`Error::kind`] tells a missing program from one that cannot be executed.
    pub fn start(mut self) -> Result<Container, Error> {
        let id = self.chosen_id()?;
        let mut warnings = Vec::new();
        let spec = self.make_spec(&id, &mut warnings)?;
        launch::start(&self.runtime, self.request(id, &spec, warnings))
    }

    fn chosen_id(&mut self) -> Result<ContainerId, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match &self.launch.id {
            Some(id) => Ok(id.clone()),
            None => ContainerId::random(),
        }
    }

    fn make_spec(&self, id: &ContainerId, warnings: &mut Vec<Warning>) -> Result<Spec, Error> {
        let facts = spec::Facts {
            id,
            host: &self.runtime.shared.host,
            clamp: self.launch.clamp,
            cgroups: self.runtime.shared.cgroups.is_some(),
            root: &self.root.view()?,
        };
        let mut settings = self.settings.clone();
        settings.read_only |= self.root.read_only();
        if settings.privileged {
            devices::add_all(&mut settings.devices, facts.host.privileged);
        }
        spec::make(&settings, &facts, warnings)
    }

    fn request<'a>(
        &'a self,
        id: ContainerId,
        spec: &'a Spec,
        warnings: Vec<Warning>,
    ) -> Request<'a> {
        let seccomp = match self.settings.seccomp {
            Seccomp::Default if !self.settings.privileged => SeccompChoice::Docker,
            _ => SeccompChoice::Spec,
        };
        Request {
            id,
            spec,
            root: &self.root,
            bundle: None,
            seccomp,
            launch: &self.launch,
            warnings,
        }
    }
}

impl SpecBuilder {
    pub(crate) fn new(runtime: Runtime, spec: Spec, bundle: PathBuf) -> SpecBuilder {
        SpecBuilder {
            runtime,
            spec,
            bundle,
            root: None,
            launch: Launch::default(),
            error: None,
        }
    }

    launch_methods!();

    /// A root other than the specification's `root.path`.
    pub fn root(mut self, root: impl Into<Root>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// The plan without what only a start knows: no cgroup.
    ///
    /// # Errors
    /// What the specification gets wrong, by its place there.
    pub fn plan(&self) -> Result<Plan, Error> {
        let id = ContainerId::random()?;
        let default;
        let root = match &self.root {
            Some(root) => root,
            None => {
                default = self.spec_root()?;
                &default
            }
        };
        Ok(self
            .request(id, root)
            .compile(&self.runtime.shared, compile::Streams::Handed)?
            .plan(0, false))
    }

    /// Start the container; returns when its program is executing.
    ///
    /// # Errors
    /// Any; nothing is left then.
    pub fn start(mut self) -> Result<Container, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.launch.cgroup.is_none() {
            let path = self
                .spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.cgroups_path().as_ref());
            if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
                let path =
                    CgroupPath::new(path.to_string_lossy()).map_err(|source| Error::Cgroup {
                        doing: "naming",
                        source,
                    })?;
                self.launch.cgroup = Some(path);
            }
        }
        let id = match &self.launch.id {
            Some(id) => id.clone(),
            None => ContainerId::random()?,
        };
        let root = match self.root.take() {
            Some(root) => root,
            None => self.spec_root()?,
        };
        launch::start(&self.runtime, self.request(id, &root))
    }

    /// `root.path`, made absolute without following the bundle's links into somewhere else.
    fn spec_root(&self) -> Result<Root, Error> {
        let missing =
            || compile::CompileError::invalid("root", "is missing, and no other root was given");
        let path = self.spec.root().as_ref().ok_or_else(missing)?.path();
        let bundle = std::path::absolute(&self.bundle)
            .map_err(|source| Error::io("resolving", &self.bundle, source))?;
        Ok(Root::directory(bundle.join(path)))
    }

    fn request<'a>(&'a self, id: ContainerId, root: &'a Root) -> Request<'a> {
        Request {
            id,
            spec: &self.spec,
            root,
            bundle: Some(&self.bundle),
            seccomp: SeccompChoice::Spec,
            launch: &self.launch,
            warnings: Vec::new(),
        }
    }
}
