//! A layer's blob as it arrives: each byte is in the store's ingest before it is read on.

use std::io::{self, Read};

use bytes::Bytes;
use orlop_image::{Error, Ingest};
use tokio::sync::mpsc::Receiver;

/// Sent from the download to the thread that keeps the blob.
pub(super) enum Piece {
    Data(Bytes),
    /// All of it was sent.
    End,
    /// What was sent so far is worth nothing.
    Discard,
}

/// Reads pieces, writing them to the ingest on the way.
pub(super) struct Arriving {
    pieces: Receiver<Piece>,
    ingest: Ingest,
    current: Bytes,
    state: State,
}

enum State {
    Open,
    Ended,
    Broken {
        discard: bool,
    },
    /// The store's own error is kept aside: it would lose its kind on the way through `io::Error`.
    Failed(Option<Error>),
}

/// How an arrival ended, when all was taken in.
pub(super) enum Arrived {
    Whole(Box<Ingest>),
    /// Broken off; the ingest was left for a later attempt, or thrown away.
    Broken,
    Failed(Error),
}

impl Arriving {
    pub(super) fn new(pieces: Receiver<Piece>, ingest: Ingest) -> Self {
        Self {
            pieces,
            ingest,
            current: Bytes::new(),
            state: State::Open,
        }
    }

    /// Takes in what is still to come, without reading it.
    pub(super) fn finish(mut self) -> Arrived {
        while matches!(self.state, State::Open) {
            self.next_piece();
        }
        match self.state {
            State::Broken { discard: false } => {
                self.ingest.suspend();
                Arrived::Broken
            }
            State::Failed(Some(error)) => Arrived::Failed(error),
            State::Ended => Arrived::Whole(Box::new(self.ingest)),
            State::Open | State::Broken { .. } | State::Failed(None) => Arrived::Broken,
        }
    }

    fn next_piece(&mut self) {
        match self.pieces.blocking_recv() {
            Some(Piece::Data(bytes)) => match self.ingest.append(&bytes) {
                Ok(()) => self.current = bytes,
                Err(error) => self.state = State::Failed(Some(error)),
            },
            Some(Piece::End) => self.state = State::Ended,
            Some(Piece::Discard) => self.state = State::Broken { discard: true },
            // The pull was dropped, or its connection broke for good.
            None => self.state = State::Broken { discard: false },
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.state {
                State::Open => self.next_piece(),
                State::Ended => return Ok(0),
                State::Broken { .. } | State::Failed(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the download was broken off",
                    ));
                }
            }
        }
        let count = self.current.len().min(to.len());
        let now = self.current.split_to(count);
        if let Some(to) = to.get_mut(..count) {
            to.copy_from_slice(&now);
        }
        Ok(count)
    }
}
