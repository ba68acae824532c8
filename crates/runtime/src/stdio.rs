//! Where a container's standard streams go.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};

use crate::Error;

/// One standard stream.
#[derive(Debug)]
pub struct Stdio(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Inherit { terminal: bool },
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
    /// The caller's own stream, as with [`std::process::Stdio::inherit`]; refused where that is a terminal, since a container
    /// with the caller's terminal could type into it.
    pub fn inherit() -> Stdio {
        Stdio(Kind::Inherit { terminal: false })
    }

    /// The caller's own stream, even a terminal. For programs the caller trusts.
    pub fn inherit_terminal() -> Stdio {
        Stdio(Kind::Inherit { terminal: true })
    }

    /// `/dev/null`.
    pub fn null() -> Stdio {
        Stdio(Kind::Null)
    }

    /// A pipe to the caller: [`Container::stdin`](crate::Container::stdin) and its siblings have the other end.
    pub fn piped() -> Stdio {
        Stdio(Kind::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Stdio(Kind::Fd(fd))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Stdio(Kind::Fd(file.into()))
    }
}

impl From<PipeReader> for Stdio {
    fn from(pipe: PipeReader) -> Self {
        Stdio(Kind::Fd(pipe.into()))
    }
}

impl From<PipeWriter> for Stdio {
    fn from(pipe: PipeWriter) -> Self {
        Stdio(Kind::Fd(pipe.into()))
    }
}

/// The three streams of a builder.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            stdin: Stdio::null(),
            stdout: Stdio::inherit(),
            stderr: Stdio::inherit(),
        }
    }
}

/// The container's ends, and the caller's ends of pipes.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) inside: Vec<Inside>,
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
    /// The first stream is a terminal of the caller's.
    pub(crate) terminal: bool,
}

/// What the container gets.
#[derive(Debug)]
pub(crate) enum Inside {
    Owned(OwnedFd),
    /// One of the caller's, by number.
    Callers(u8),
}

impl AsFd for Inside {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Inside::Owned(fd) => fd.as_fd(),
            Inside::Callers(number) => callers(*number),
        }
    }
}

fn callers(number: u8) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

/// Open what `streams` asks for. `owner` becomes the owner of pipes, so that a program without privilege may open
/// `/dev/stdout` again.
pub(crate) fn open(streams: &Streams, owner: Option<(u32, u32)>) -> Result<Opened, Error> {
    let mut out = Opened::default();
    let wanted = [
        ("stdin", &streams.stdin),
        ("stdout", &streams.stdout),
        ("stderr", &streams.stderr),
    ];
    for (number, (name, stdio)) in (0u8..).zip(wanted) {
        let inside = match &stdio.0 {
            Kind::Null => Inside::Owned(null()?),
            Kind::Fd(fd) => Inside::Owned(
                fd.try_clone()
                    .map_err(|source| Error::io("duplicating", name, source))?,
            ),
            Kind::Inherit { terminal } => inherit(number, name, *terminal, &mut out)?,
            Kind::Piped => {
                let (reader, writer) =
                    io::pipe().map_err(|source| Error::io("making a pipe for", name, source))?;
                let end: OwnedFd = match number {
                    0 => {
                        out.stdin = Some(writer);
                        reader.into()
                    }
                    1 => {
                        out.stdout = Some(reader);
                        writer.into()
                    }
                    _ => {
                        out.stderr = Some(reader);
                        writer.into()
                    }
                };
                if let Some((uid, gid)) = owner {
                    // Where it is refused, only opening the stream by its name is.
                    let _ = rustix::fs::fchown(
                        &end,
                        Some(rustix::fs::Uid::from_raw(uid)),
                        Some(rustix::fs::Gid::from_raw(gid)),
                    );
                }
                Inside::Owned(end)
            }
        };
        out.inside.push(inside);
    }
    Ok(out)
}

fn inherit(
    number: u8,
    name: &'static str,
    terminal: bool,
    out: &mut Opened,
) -> Result<Inside, Error> {
    let fd = callers(number);
    if rustix::io::fcntl_getfd(fd).is_err() {
        // The caller has closed it.
        return null().map(Inside::Owned);
    }
    if rustix::termios::isatty(fd) {
        if !terminal {
            return Err(Error::CallersTerminal { stream: name });
        }
        out.terminal |= number == 0;
    }
    Ok(Inside::Callers(number))
}

/// The null device, and nothing else under its name.
fn null() -> Result<OwnedFd, Error> {
    let path = "/dev/null";
    let fd = rustix::fs::open(
        path,
        OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
    .map_err(|source| Error::io("opening", path, source))?;
    let stat = rustix::fs::fstat(&fd).map_err(|source| Error::io("examining", path, source))?;
    let device = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != (1, 3) {
        return Err(Error::invalid("/dev/null is not the null device"));
    }
    Ok(fd)
}
