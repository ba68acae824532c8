//! Where the bytes of an upload come from.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// Read and sent at a time.
const PIECE: usize = 256 * 1024;

/// Where an upload's bytes come from. Read at any offset and as often as needed, on blocking threads.
pub trait BlobSource: Send + Sync + 'static {
    /// Reads some bytes at `offset`; 0 only at the end.
    ///
    /// # Errors
    /// As of reading a file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl BlobSource for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl BlobSource for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..))
            .unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// The next piece from `at` on, at most up to `end`.
pub(crate) async fn read(source: Arc<dyn BlobSource>, at: u64, end: u64) -> io::Result<Bytes> {
    let want = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; want];
        loop {
            match source.read_at(&mut buffer, at) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the data ends before its stated size",
                    ));
                }
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Bytes::from(buffer));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    read.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_a_source() {
        let source = Bytes::from_static(b"abcdef");
        let mut buffer = [0; 4];
        assert_eq!(BlobSource::read_at(&source, &mut buffer, 4).unwrap(), 2);
        assert_eq!(&buffer[..2], b"ef");
        assert_eq!(BlobSource::read_at(&source, &mut buffer, 6).unwrap(), 0);
        assert_eq!(
            BlobSource::read_at(&source, &mut buffer, u64::MAX).unwrap(),
            0
        );
    }
}
