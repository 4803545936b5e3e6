//! The bytes of a file as they come, hashed beside their decoding, to an end that somebody says.
//!
//! Whoever sends says the end; a channel that closes without it is a file that was cut off, wherever it stands.
//! Invariant: a reader here never reports the end of a file that was not said.

use std::io::{self, Read};

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vitalake_runtime::hex;

use crate::decode::DeliveryTotals;

/// What comes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Its next bytes.
    Bytes(Bytes),
    /// The end of a file that another follows: all of them are one delivery.
    NextFile,
    /// The end: all of it has been sent.
    End,
}

/// The pieces of a file on their way in; an error is said by whoever sends.
pub type Pieces = mpsc::Receiver<io::Result<Piece>>;

/// Pieces that may wait between who hashes them and who decodes them.
const PIECES_AHEAD_MAX: usize = 16;

/// Pieces on their way past a thread that hashes them: they go on before they are hashed, so that nobody waits for the
/// hash but who asks for it. It is the one of all that came, in hex.
pub(super) fn hashed(mut pieces: Pieces) -> (Pieces, JoinHandle<String>) {
    let (sender, passed) = mpsc::channel(PIECES_AHEAD_MAX);
    let runtime = tokio::runtime::Handle::current();
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hash = Context::new(&SHA256);
        // Who decodes may give a file up that nothing more comes of for a while.
        let next = async |pieces: &mut Pieces| {
            tokio::select! {
                () = sender.closed() => None,
                piece = pieces.recv() => piece,
            }
        };
        while let Some(piece) = runtime.block_on(next(&mut pieces)) {
            let hashed = match &piece {
                Ok(Piece::Bytes(bytes)) => bytes.clone(),
                // Where one file ends is part of what a delivery is.
                Ok(Piece::NextFile) => Bytes::from_static(&[0]),
                Ok(Piece::End) | Err(_) => Bytes::new(),
            };
            if sender.blocking_send(piece).is_err() {
                break;
            }
            hash.update(&hashed);
        }
        hex::encode(hash.finish())
    });
    (passed, hashing)
}

/// A file that was read to its end.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// What it held.
    pub(super) totals: DeliveryTotals,
    /// The hash of all its bytes, in hex.
    pub(super) sha256: String,
    /// How many these are.
    pub(super) bytes: u64,
}

/// What a reader has read to the end.
#[derive(Clone, Debug)]
pub(super) struct WholeFile {
    pub(super) totals: DeliveryTotals,
    pub(super) bytes: u64,
}

/// Reads pieces as one file.
pub(super) struct PieceReader {
    pieces: Pieces,
    current: Bytes,
    bytes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    Between,
    Ended,
    CutShort,
}

impl PieceReader {
    pub(super) fn new(pieces: Pieces) -> Self {
        Self { pieces, current: Bytes::new(), bytes: 0, state: State::Coming }
    }

    /// Begins with the next file, where one follows that has ended.
    pub(super) fn next_file(&mut self) -> bool {
        let follows = self.state == State::Between && self.current.is_empty();
        if follows {
            self.state = State::Coming;
        }
        follows
    }

    /// How many bytes had come when the file was cut off, if it was.
    pub(super) fn cut_short_after(&self) -> Option<u64> {
        (self.state == State::CutShort).then_some(self.bytes)
    }

    /// What was read, when that was all of the file.
    pub(super) fn finish(self, totals: DeliveryTotals) -> Option<WholeFile> {
        let whole = self.state == State::Ended && self.current.is_empty();
        whole.then_some(WholeFile { totals, bytes: self.bytes })
    }

    fn next_piece(&mut self) -> io::Result<()> {
        match self.pieces.blocking_recv() {
            Some(Ok(Piece::Bytes(bytes))) => {
                self.bytes += bytes.len() as u64;
                self.current = bytes;
                Ok(())
            }
            Some(Ok(Piece::NextFile)) => {
                self.state = State::Between;
                Ok(())
            }
            Some(Ok(Piece::End)) => {
                self.state = State::Ended;
                Ok(())
            }
            Some(Err(error)) => {
                self.state = State::CutShort;
                Err(error)
            }
            None => {
                self.state = State::CutShort;
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the sender went away before the end of the file"))
            }
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.state {
                State::Between | State::Ended => return Ok(0),
                State::CutShort => return Err(io::ErrorKind::UnexpectedEof.into()),
                State::Coming => self.next_piece()?,
            }
        }
        let count = self.current.len().min(buffer.len());
        let taken = self.current.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&taken);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sha2::{Digest, Sha256};

    use super::*;

    #[tokio::test]
    async fn all_that_came_is_hashed_and_the_end_of_a_file_counts() {
        let (sender, pieces) = mpsc::channel(4);
        let (mut passed, hashing) = hashed(pieces);
        for piece in [Piece::Bytes("a".into()), Piece::NextFile, Piece::Bytes("b".into()), Piece::End] {
            sender.send(Ok(piece.clone())).await.unwrap();
            assert_eq!(passed.recv().await.unwrap().unwrap(), piece);
        }
        drop(sender);
        let whole = Sha256::digest(b"a\0b").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hashing.await.unwrap(), whole);
    }

    #[tokio::test]
    async fn a_file_that_is_given_up_leaves_nobody_waiting_for_a_sender_that_stands_still() {
        let (_sender, pieces) = mpsc::channel(1);
        let (passed, hashing) = hashed(pieces);
        drop(passed);
        hashing.await.unwrap();
    }
}
