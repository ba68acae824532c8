//! Copying between the caller's streams and the container's, a thread each.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};

/// One direction of one stream.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) from: OwnedFd,
    pub(crate) to: OwnedFd,
    /// Ends the copy when its other end is closed.
    pub(crate) stop: Option<PipeReader>,
    /// Reads on when nobody reads what is written: a terminal must not fill up.
    pub(crate) drain: bool,
}

/// Copies until either side ends, then closes both, so that the other side learns of it.
pub(crate) fn copy_in_background(name: &str, copy: Copy) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // A reader that went away ends the copy; the writer then gets EPIPE, as in a pipe without us.
        let _ = copy.run();
    })
}

impl Copy {
    fn run(&self) -> rustix::io::Result<()> {
        let mut buffer = vec![0u8; 64 * 1024];
        let mut wanted = true;
        while self.wait_for_input()? {
            let count = match read(&self.from, &mut buffer) {
                // The end, or the far end of a terminal that was closed.
                Ok(0) | Err(Errno::IO) => return Ok(()),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    wait(&self.from, PollFlags::IN)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !wanted {
                continue;
            }
            match write_all(&self.to, buffer.get(..count).unwrap_or_default()) {
                Err(_) if self.drain => wanted = false,
                other => other?,
            }
        }
        Ok(())
    }

    /// Whether there is something to read; not when it was told to stop.
    fn wait_for_input(&self) -> rustix::io::Result<bool> {
        let Some(stop) = &self.stop else {
            return Ok(true);
        };
        loop {
            let mut fds = [
                PollFd::new(&self.from, PollFlags::IN),
                PollFd::new(stop, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) if !fds[1].revents().is_empty() => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn write_all(to: impl AsFd, mut rest: &[u8]) -> rustix::io::Result<()> {
    while !rest.is_empty() {
        match write(&to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&to, PollFlags::OUT)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The caller's streams may be non-blocking: another program's choice, shared through the open file.
fn wait(fd: impl AsFd, what: PollFlags) -> rustix::io::Result<()> {
    match poll(&mut [PollFd::new(&fd, what)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn copy(
        from: PipeReader,
        to: io::PipeWriter,
        stop: Option<PipeReader>,
        drain: bool,
    ) -> JoinHandle<()> {
        copy_in_background(
            "test",
            Copy {
                from: from.into(),
                to: to.into(),
                stop,
                drain,
            },
        )
        .unwrap()
    }

    #[test]
    fn everything_arrives_and_the_end_is_passed_on() {
        let (from, mut input) = io::pipe().unwrap();
        let (mut output, to) = io::pipe().unwrap();
        let copier = copy(from, to, None, false);
        let feeder = thread::spawn(move || input.write_all(&vec![7u8; 300_000]).unwrap());
        let mut all = Vec::new();
        output.read_to_end(&mut all).unwrap();
        feeder.join().unwrap();
        copier.join().unwrap();
        assert_eq!(all.len(), 300_000);
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_writer_too() {
        let (from, mut input) = io::pipe().unwrap();
        let (output, to) = io::pipe().unwrap();
        drop(output);
        let copier = copy(from, to, None, false);
        input.write_all(b"x").unwrap();
        copier.join().unwrap();
        assert_eq!(
            input.write_all(b"x").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn draining_reads_on_and_stopping_stops() {
        let (from, mut input) = io::pipe().unwrap();
        let (output, to) = io::pipe().unwrap();
        let (stop, stopper) = io::pipe().unwrap();
        drop(output);
        let copier = copy(from, to, Some(stop), true);
        input.write_all(&vec![7u8; 300_000]).unwrap();
        drop(stopper);
        copier.join().unwrap();
        assert_eq!(
            input.write_all(b"x").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
