//! Waiting and streaming in a tokio program. Nothing here needs the multi-threaded runtime.

use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::spawn_blocking;

use crate::Error;
use crate::builder::{Builder, SpecBuilder};
use crate::container::Container;
use crate::exit::{Exit, Output};

/// A task that panicked or was cancelled with its runtime.
fn lost(error: tokio::task::JoinError) -> Error {
    Error::io(
        "running a task for",
        "the container",
        std::io::Error::other(error),
    )
}

impl Builder {
    /// [`Builder::start`] without blocking the reactor: a start takes some milliseconds.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start_async(self) -> Result<Container, Error> {
        spawn_blocking(move || self.start()).await.map_err(lost)?
    }

    /// [`Builder::output`] without blocking the reactor. Dropping the future kills the container.
    ///
    /// # Errors
    /// As [`Builder::output`].
    pub async fn output_async(mut self) -> Result<Output, Error> {
        self.pipe_output();
        self.start_async().await?.wait_with_output_async().await
    }
}

impl SpecBuilder {
    /// [`SpecBuilder::start`] without blocking the reactor.
    ///
    /// # Errors
    /// As [`SpecBuilder::start`].
    pub async fn start_async(self) -> Result<Container, Error> {
        spawn_blocking(move || self.start()).await.map_err(lost)?
    }

    /// [`SpecBuilder::output`] without blocking the reactor. Dropping the future kills the container.
    ///
    /// # Errors
    /// As [`SpecBuilder::output`].
    pub async fn output_async(mut self) -> Result<Output, Error> {
        self.pipe_output();
        self.start_async().await?.wait_with_output_async().await
    }
}

impl Container {
    /// [`Container::wait`] as a future, by the reactor's watch on the pidfd. It may be dropped and called again.
    ///
    /// # Errors
    /// As [`Container::wait`]; or the reactor cannot watch the pidfd.
    pub async fn wait_async(&self) -> Result<Exit, Error> {
        let watching =
            |source: std::io::Error| Error::io("watching container", self.id().as_str(), source);
        let pidfd: OwnedFd = std::os::fd::AsFd::as_fd(self)
            .try_clone_to_owned()
            .map_err(watching)?;
        let pidfd = crate::sys::watch(pidfd).map_err(watching)?;
        loop {
            let mut ready = pidfd.readable().await.map_err(watching)?;
            // The process has ended, so this waits for nothing but the removal of its cgroup.
            if let Some(exit) = self.try_wait()? {
                return Ok(exit);
            }
            ready.clear_ready();
        }
    }

    /// [`Container::wait_with_output`] as a future.
    ///
    /// # Errors
    /// As [`Container::wait_with_output`].
    pub async fn wait_with_output_async(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        if self.terminal.is_some() {
            // A terminal cannot be watched as a pipe can.
            return spawn_blocking(move || self.wait_with_output())
                .await
                .map_err(lost)?;
        }
        let reading = |source| Error::io("reading the output of", "the container", source);
        let stdout = self.stdout_async().map_err(reading)?;
        let stderr = self.stderr_async().map_err(reading)?;
        let (stdout, stderr) =
            tokio::try_join!(read_all(stdout), read_all(stderr)).map_err(reading)?;
        Ok(Output {
            exit: self.wait_async().await?,
            stdout,
            stderr,
        })
    }

    /// Take standard input as a stream of tokio's; `None` if it is no pipe or was taken.
    ///
    /// # Errors
    /// The reactor cannot watch it.
    pub fn stdin_async(&mut self) -> std::io::Result<Option<pipe::Sender>> {
        self.stdin
            .take()
            .map(|pipe| pipe::Sender::from_owned_fd(pipe.into()))
            .transpose()
    }

    /// Take standard output as a stream of tokio's; `None` if it is no pipe or was taken.
    ///
    /// # Errors
    /// The reactor cannot watch it.
    pub fn stdout_async(&mut self) -> std::io::Result<Option<pipe::Receiver>> {
        self.stdout
            .take()
            .map(|pipe| pipe::Receiver::from_owned_fd(pipe.into()))
            .transpose()
    }

    /// Take standard error as a stream of tokio's; `None` if it is no pipe or was taken.
    ///
    /// # Errors
    /// The reactor cannot watch it.
    pub fn stderr_async(&mut self) -> std::io::Result<Option<pipe::Receiver>> {
        self.stderr
            .take()
            .map(|pipe| pipe::Receiver::from_owned_fd(pipe.into()))
            .transpose()
    }
}

async fn read_all(pipe: Option<pipe::Receiver>) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut out).await?;
    }
    Ok(out)
}
