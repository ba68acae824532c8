//! The layer's bytes: counted and hashed on their way, in large reads.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::Fault;

/// A tar archive's unit.
pub(crate) const BLOCK: usize = 512;
/// One read; large enough that a read costs nothing beside the bytes, small enough for the second-level cache.
const BUFFER: usize = 128 * 1024;

pub(crate) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    hasher: Sha256,
    total: u64,
    limit: u64,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(reader: R, limit: u64) -> Self {
        Input {
            reader,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            hasher: Sha256::new(),
            total: 0,
            limit,
        }
    }

    /// Reads until `want` bytes are there, or the end.
    fn fill(&mut self, want: usize) -> Result<(), Fault> {
        while self.end - self.start < want {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.reader.read(space) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    let n = n.min(space.len());
                    self.hasher.update(&space[..n]);
                    self.total += n as u64;
                    if self.total > self.limit {
                        return Err(Fault::TooLong(self.limit));
                    }
                    self.end += n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Read(e)),
            }
        }
        Ok(())
    }

    /// The next block, `None` at a clean end.
    pub(crate) fn block(&mut self) -> Result<Option<&[u8; BLOCK]>, Fault> {
        self.fill(BLOCK)?;
        if self.start == self.end {
            return Ok(None);
        }
        let block = self
            .buffer
            .get(self.start..self.end)
            .and_then(|b| b.first_chunk())
            .ok_or(Fault::Truncated)?;
        self.start += BLOCK;
        Ok(Some(block))
    }

    /// The next bytes, at least one and at most `most`; an end is a truncation.
    pub(crate) fn chunk(&mut self, most: u64) -> Result<&[u8], Fault> {
        if self.start == self.end {
            self.fill(1)?;
        }
        let there = self.end - self.start;
        if there == 0 {
            return Err(Fault::Truncated);
        }
        let n = there.min(usize::try_from(most).unwrap_or(usize::MAX));
        let chunk = self
            .buffer
            .get(self.start..self.start + n)
            .unwrap_or_default();
        self.start += n;
        Ok(chunk)
    }

    pub(crate) fn skip(&mut self, mut bytes: u64) -> Result<(), Fault> {
        while bytes > 0 {
            bytes -= self.chunk(bytes)?.len() as u64;
        }
        Ok(())
    }

    /// The body of an extension header as a whole. Its padding has to be zeros: some readers look behind the end.
    pub(crate) fn body(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend_from_slice(self.chunk(size - body.len() as u64)?);
        }
        let mut left = padding(size);
        while left > 0 {
            let chunk = self.chunk(left)?;
            if chunk.iter().any(|b| *b != 0) {
                return Err(Fault::Ambiguous(
                    "something stands behind the end of an extension header",
                ));
            }
            left -= chunk.len() as u64;
        }
        Ok(body)
    }

    /// Reads to the end: nothing but zeros may be left.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        loop {
            self.fill(1)?;
            let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            if rest.iter().any(|b| *b != 0) {
                return Err(Fault::Trailing);
            }
            self.start = self.end;
        }
    }

    /// The digest of everything read.
    pub(crate) fn digest(self) -> String {
        format!("sha256:{}", hex::encode(self.hasher.finalize()))
    }
}

/// Bytes from the end of a body to the next block.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
