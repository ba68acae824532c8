//! `run`: from the command line to a request, an image that is here, and a session with the container.

use std::io::{self, IsTerminal};

use orlop_engine::{Engine, Error, Mount, Network, RunRequest, Running, Seccomp};

use super::pull::download;
use crate::args::{NetworkMode, PullWhen, Run};
use crate::failure::{Failure, ORLOP_FAILED};
use crate::parse::security::SecurityOption;
use crate::parse::{env, mount, volume};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::{self, Raw};

pub(crate) fn run(
    open: impl FnOnce() -> Result<Engine, Failure>,
    args: &Run,
) -> Result<(), Failure> {
    // Whatever goes wrong before the command runs is Orlop's own failure.
    let code = start(open, args).map_err(|failure| failure.or_code(ORLOP_FAILED))?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::silent(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}

fn start(open: impl FnOnce() -> Result<Engine, Failure>, args: &Run) -> Result<i32, Failure> {
    let request = request(args)?;
    let engine = open()?;
    if args.pull == PullWhen::Always {
        download(
            &engine,
            &request.image,
            args.platform.as_deref(),
            args.quiet,
        )?;
    }
    // Held from before the start: a signal that comes while the container is being made reaches it, or ends it.
    match begin(&engine, &request) {
        Err(Error::NoSuchImage { image }) if args.pull == PullWhen::Missing => {
            if !args.quiet {
                crate::progress::say(&format!("Unable to find image '{image}' locally"));
            }
            download(&engine, &image, args.platform.as_deref(), args.quiet)?;
            session(begin(&engine, &request)?, args)
        }
        Err(error @ Error::NoSuchImage { .. }) => {
            Err(Failure::from(error).hint("--pull missing asks the registry for it"))
        }
        begun => session(begun?, args),
    }
}

/// Starts the container. Signals are held back from here on: they belong to the container.
fn begin<'e>(engine: &'e Engine, request: &RunRequest) -> Result<(Running<'e>, Signals), Error> {
    let signals = Signals::hold().map_err(|source| Error::Io {
        operation: "reading signals from",
        path: "signalfd".into(),
        source,
    })?;
    Ok((engine.start(request)?, signals))
}

fn session((running, signals): (Running<'_>, Signals), args: &Run) -> Result<i32, Failure> {
    for warning in running.warnings() {
        if !args.quiet {
            crate::progress::say(&format!("orlop: warning: {warning}"));
        }
    }
    let raw = match args.tty && args.interactive {
        true => Some(Raw::enter(io::stdin())?),
        false => None,
    };
    Session::new(running, signals, raw, args.tty).run()
}

fn request(args: &Run) -> Result<RunRequest, Failure> {
    if args.detach {
        return Err(
            Failure::new("running in the background (-d) is not supported yet").hint(
                "run it in the foreground, in a terminal or under a service manager of its own",
            ),
        );
    }
    if args.tty && args.interactive && !io::stdin().is_terminal() {
        return Err(
            Failure::new("-t with -i needs a terminal, and standard input is none")
                .hint("leave out -t"),
        );
    }
    let mut words = args.image_and_command.iter().cloned();
    let mut request = RunRequest::new(words.next().unwrap_or_default());
    request.command = words.collect();
    request.platform = args.platform.clone();
    request.name = args.name.clone();
    request.entrypoint = args.entrypoint.clone().map(|program| vec![program]);
    request.env = environment(args)?;
    request.working_dir = args.workdir.clone();
    request.user = args.user.clone();
    request.groups = args.group_add.clone();
    request.hostname = args.hostname.clone();
    for label in &args.label {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        request.labels.insert(key.to_owned(), value.to_owned());
    }
    request.mounts = mounts(args)?;
    request.network = match args.network {
        NetworkMode::None => Network::None,
        NetworkMode::Host => Network::Host,
    };
    request.limits.memory = args.memory.filter(|bytes| *bytes > 0);
    request.limits.memory_swap = args.memory_swap.filter(|bytes| *bytes != 0);
    request.limits.nano_cpus = args.cpus.filter(|nano| *nano > 0);
    request.limits.pids = args
        .pids_limit
        .and_then(|count| u64::try_from(count).ok())
        .filter(|count| *count > 0);
    request.limits.ulimits = args.ulimit.clone();
    request.read_only = args.read_only;
    request.cap_add = args.cap_add.clone();
    request.cap_drop = args.cap_drop.clone();
    for option in &args.security_opt {
        match option {
            SecurityOption::SeccompUnconfined(true) => request.seccomp = Seccomp::Unconfined,
            SecurityOption::SeccompUnconfined(false) => request.seccomp = Seccomp::Default,
            SecurityOption::NoNewPrivileges(yes) => request.no_new_privileges = *yes,
        }
    }
    request.terminal = args.tty;
    request.terminal_size = terminal::size(io::stdin()).or_else(|| terminal::size(io::stdout()));
    request.interactive = args.interactive;
    request.remove = args.remove;
    request.stop_signal = args.stop_signal.clone();
    Ok(request)
}

fn environment(args: &Run) -> Result<Vec<String>, Failure> {
    let lookup = |name: &str| std::env::var(name).ok();
    let mut variables = Vec::new();
    for path in &args.env_file {
        let content = std::fs::read(path)
            .map_err(|error| Failure::from(error).context(format!("reading {}", path.display())))?;
        let parsed = env::file(&content, lookup);
        variables.extend(
            parsed.map_err(|message| Failure::new(format!("{}: {message}", path.display())))?,
        );
    }
    for text in &args.env {
        variables.push(env::variable(text, lookup).map_err(Failure::new)?);
    }
    Ok(variables)
}

fn mounts(args: &Run) -> Result<Vec<Mount>, Failure> {
    let mut mounts = args.tmpfs.clone();
    if args.volume.is_empty() && args.mount.is_empty() {
        return Ok(mounts);
    }
    let cwd = std::env::current_dir()?;
    for text in &args.volume {
        mounts.push(volume::volume(text, &cwd).map_err(Failure::new)?);
    }
    for text in &args.mount {
        mounts.push(mount::mount(text, &cwd).map_err(Failure::new)?);
    }
    Ok(mounts)
}
