//! Running the peers.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Failure;

/// The program of this name in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(extra)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Runs a command to its end; what it complained about is the error. Output costs a file, not a pipe that must be read.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Failure> {
    let mut complaints = tempfile::tempfile()?;
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints.try_clone()?);
    let status = command
        .status()
        .map_err(|error| format!("starting {name}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    std::io::Seek::rewind(&mut complaints)?;
    std::io::Read::read_to_string(&mut complaints, &mut text)?;
    Err(format!("{name}: {status}: {}", text.trim()).into())
}
