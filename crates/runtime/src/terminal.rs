//! A container's terminal, from outside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

/// The master of the terminal that a container has for its standard streams. Read what the container shows, write what a person
/// would type.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> Terminal {
        Terminal(master.into())
    }

    /// Set the window's size in characters; the container gets `SIGWINCH`.
    ///
    /// # Errors
    /// The kernel refuses, as it does once nobody has the other end open.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        Ok(tcsetwinsize(
            &self.0,
            Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )?)
    }

    /// The window's size: rows and columns.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = tcgetwinsize(&self.0)?;
        Ok((size.ws_row, size.ws_col))
    }
}

/// The kernel's way to say that nobody has the other end open any more.
pub(crate) fn end_of_file(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(0),
        other => other,
    }
}

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        end_of_file(self.0.read(buffer))
    }
}

impl Read for &Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        end_of_file((&self.0).read(buffer))
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Terminal> for OwnedFd {
    fn from(terminal: Terminal) -> Self {
        terminal.0.into()
    }
}
