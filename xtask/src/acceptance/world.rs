//! What the acceptance tests stand in: a registry on loopback, Orlop's state, storage for the peers, all in one temporary folder.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Failure;
use crate::command::check;

pub(super) struct World {
    folder: TempDir,
    orlop: PathBuf,
    registry: Child,
    /// `127.0.0.1:port`.
    pub(super) address: String,
    /// The Debian image's OCI layout.
    pub(super) debian: PathBuf,
}

/// What a run of a program came to.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl World {
    /// Starts the registry. The network namespace is ours: its loopback is up and nothing else is on it.
    pub(super) fn new(orlop: &Path, debian: &Path) -> Result<World, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("orlop-acceptance-")
            .tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let config = folder.path().join("registry.yml");
        let storage = folder.path().join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
                storage.display()
            ),
        )?;
        let log = fs::File::create(folder.path().join("registry.log"))?;
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let registry = command
            .spawn()
            .map_err(|error| format!("starting docker-registry: {error}"))?;
        let world = World {
            folder,
            orlop: orlop.to_owned(),
            registry,
            address,
            debian: debian.to_owned(),
        };
        world.await_registry()?;
        Ok(world)
    }

    fn await_registry(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&self.address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("docker-registry does not listen on {}", self.address).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A program built beside `orlop`.
    pub(super) fn sibling(&self, program: &str) -> PathBuf {
        self.orlop.with_file_name(program)
    }

    /// A path in the temporary folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text: what is below the temporary folder has a plain name.
    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// An image's name in the registry.
    pub(super) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// `orlop --root … arguments`.
    pub(super) fn orlop(&self, arguments: &[&str]) -> Result<Ran, Failure> {
        self.orlop_with("", arguments)
    }

    /// The same with something to read on standard input.
    pub(super) fn orlop_with(&self, input: &str, arguments: &[&str]) -> Result<Ran, Failure> {
        run(self.orlop_command("orlop").args(arguments), input)
    }

    /// `orlop` with its state in this folder of the temporary one.
    pub(super) fn orlop_command(&self, root: &str) -> Command {
        let mut command = Command::new(&self.orlop);
        command
            .env_remove("ORLOP_ROOT")
            .env("HOME", self.folder.path())
            .arg("--root")
            .arg(self.path(root));
        command
    }

    /// `orlop` as an ordinary user with no capability, its state in a folder of that user's.
    pub(super) fn orlop_as_user(&self, arguments: &[&str]) -> Result<Ran, Failure> {
        const USER: &str = "12345";
        let home = self.path("user");
        if !home.exists() {
            fs::create_dir(&home)?;
            check(
                Command::new("chown")
                    .arg(format!("{USER}:{USER}"))
                    .arg(&home),
            )?;
            check(Command::new("chmod").arg("755").arg(self.folder.path()))?;
            // Where the build puts the program, the user may not be able to go.
            fs::copy(&self.orlop, self.path("orlop-program"))?;
        }
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            USER,
            "--regid",
            USER,
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]);
        command
            .arg(self.path("orlop-program"))
            .arg("--root")
            .arg(home.join("state"));
        run(
            command
                .env_remove("ORLOP_ROOT")
                .env("HOME", &home)
                .current_dir("/")
                .args(arguments),
            "",
        )
    }

    /// `podman` or `buildah` with storage of their own that needs no overlay.
    pub(super) fn containers_tool(
        &self,
        program: &str,
        arguments: &[&str],
    ) -> Result<String, Failure> {
        let mut command = Command::new(program);
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.path("storage"));
        command
            .arg("--runroot")
            .arg(self.path("runroot"))
            .args(arguments);
        check(&mut command)
    }

    /// Every file and folder below Orlop's state.
    pub(super) fn state(&self) -> Result<BTreeSet<String>, Failure> {
        tree(&self.path("orlop"))
    }

    /// Ends the registry and removes everything.
    pub(super) fn end(self) -> Result<(), Failure> {
        let World {
            folder,
            mut registry,
            ..
        } = self;
        registry.kill()?;
        registry.wait()?;
        folder
            .close()
            .map_err(|error| format!("removing the temporary folder: {error}").into())
    }
}

/// Names of everything below a folder.
pub(super) fn tree(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let listing = check(
        Command::new("find")
            .arg(folder)
            .args(["-printf", "%y %P\n"]),
    )?;
    Ok(listing.lines().map(str::to_owned).collect())
}

/// Runs a program to its end with `input` on its standard input.
pub(super) fn run(command: &mut Command, input: &str) -> Result<Ran, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("starting {name}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes()); // One that does not read is fine.
    }
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Ran {
    /// Its output, if it ended with this status.
    pub(super) fn ends_with(self, code: i32) -> Result<String, Failure> {
        if self.code == code {
            return Ok(self.stdout);
        }
        Err(format!(
            "ended with {} instead of {code}: {}{}",
            self.code, self.stdout, self.stderr
        )
        .into())
    }

    /// Its output, if all went well.
    pub(super) fn ok(self) -> Result<String, Failure> {
        self.ends_with(0)
    }

    /// It failed with this status and an error that names what it must.
    pub(super) fn fails(self, code: i32, names: &str) -> Result<(), Failure> {
        if self.code == code && self.stderr.contains(names) && !self.stderr.contains("panicked") {
            return Ok(());
        }
        Err(format!(
            "ended with {} and `{}` instead of {code} and `{names}`",
            self.code,
            self.stderr.trim()
        )
        .into())
    }
}

/// An error unless both are the same.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), Failure> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("found {found:?} instead of {wanted:?}").into())
    }
}
