//! A bounded pipe of buffers between two threads: what is inflated on one is untarred on the other.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// The bytes of one buffer.
const BUFFER: usize = 128 * 1024;
/// Full buffers that may wait.
const WAITING: usize = 8;

struct Piece {
    buffer: Vec<u8>,
    length: usize,
}

/// Takes what is to be read at the other end.
pub(super) struct Writer {
    full: SyncSender<Piece>,
    empty: Receiver<Vec<u8>>,
}

/// Gives it. Without the writer's [`end`](Writer::end) its own end is an error, not the end of the data.
pub(super) struct Reader {
    full: Receiver<Piece>,
    empty: Sender<Vec<u8>>,
    current: Option<Piece>,
    at: usize,
    ended: bool,
}

/// Buffers go round, so that none is allocated or cleared twice.
pub(super) fn pipe() -> (Writer, Reader) {
    let (full, to_read) = sync_channel(WAITING);
    let (emptied, empty) = channel();
    let reader = Reader {
        full: to_read,
        empty: emptied,
        current: None,
        at: 0,
        ended: false,
    };
    (Writer { full, empty }, reader)
}

/// What became of [`Writer::fill`].
pub(super) enum Filled {
    /// The reader was told the end.
    Ended,
    /// The other thread reads no more.
    Closed,
}

impl Writer {
    /// Passes on all a reader gives, showing each buffer to `see`.
    pub(super) fn fill(
        self,
        from: &mut impl Read,
        mut see: impl FnMut(&[u8]),
    ) -> io::Result<Filled> {
        loop {
            let mut buffer = self.empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER]);
            let mut length = 0;
            while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
                match from.read(room) {
                    Ok(0) => break,
                    Ok(more) => length += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            see(buffer.get(..length).unwrap_or_default());
            let end = length == 0;
            if self.full.send(Piece { buffer, length }).is_err() {
                return Ok(Filled::Closed);
            }
            if end {
                return Ok(Filled::Ended);
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.ended || to.is_empty() {
                return Ok(0);
            }
            if let Some(piece) = &self.current {
                let rest = piece.buffer.get(self.at..piece.length).unwrap_or_default();
                if !rest.is_empty() {
                    let count = rest.len().min(to.len());
                    if let (Some(to), Some(from)) = (to.get_mut(..count), rest.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    self.at += count;
                    return Ok(count);
                }
            }
            if let Some(piece) = self.current.take() {
                let _ = self.empty.send(piece.buffer);
            }
            let piece = self.full.recv().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the layer's bytes ended early",
                )
            })?;
            self.ended = piece.length == 0;
            self.at = 0;
            self.current = Some(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_in_order_and_buffers_go_round() {
        let data: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        let (writer, mut reader) = pipe();
        let copy = data.clone();
        let mut seen = 0;
        let thread = std::thread::spawn(move || {
            let filled = writer
                .fill(&mut copy.as_slice(), |bytes| seen += bytes.len())
                .unwrap();
            assert!(matches!(filled, Filled::Ended));
            seen
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert!(got == data);
        assert_eq!(thread.join().unwrap(), data.len());
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn an_end_that_was_not_told_is_an_error() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("broken"));
                }
                to[0] = 1;
                Ok(1)
            }
        }
        let (writer, mut reader) = pipe();
        assert!(writer.fill(&mut Broken(false), |_| ()).is_err());
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_reader_that_is_gone_stops_the_writer() {
        let (writer, reader) = pipe();
        drop(reader);
        assert!(matches!(
            writer.fill(&mut io::repeat(7), |_| ()).unwrap(),
            Filled::Closed
        ));
    }
}
