//! A bound on what a packed stream may unpack to.

use std::io::{self, Read};

use crate::Error;

/// A reader that fails once more than its limit was read.
pub(super) struct Limited<R> {
    reader: R,
    what: String,
    limit: Option<u64>,
    count: u64,
}

impl<R> Limited<R> {
    pub(super) fn new(reader: R, what: &str, limit: Option<u64>) -> Self {
        Limited {
            reader,
            what: what.to_owned(),
            limit,
            count: 0,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        self.count = self.count.saturating_add(n as u64);
        match self.limit {
            Some(limit) if self.count > limit => Err(io::Error::other(Error::TooLarge {
                what: self.what.clone(),
                limit,
            })),
            _ => Ok(n),
        }
    }
}
