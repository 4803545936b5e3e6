//! A delivered file's bytes in a buffer that holds one record and what was read beyond it.
//!
//! Invariant: the buffer never grows past one record of the largest size and one read.

use std::io::{self, Read};

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

/// A reader with the bytes that were read and not yet consumed.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// How many bytes were consumed.
    pub(super) consumed: u64,
    /// The line, from 1, in which the next byte stands.
    pub(super) line: u64,
}

impl<R: Read> Input<R> {
    /// At the beginning of the reader.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0, end: 0, ended: false, consumed: 0, line: 1 }
    }

    /// The bytes that are there, and whether they are the last ones.
    pub(super) fn bytes(&self) -> (&[u8], bool) {
        (self.buffer.get(self.start..self.end).unwrap_or(&[]), self.ended)
    }

    /// Reads more.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // Twice what is held already, so that a long record is not looked at again for every read.
        let room = READ_BYTES.max(self.end);
        self.buffer.resize(self.end + room, 0);
        let stop = self.end + room;
        while self.end < stop && !self.ended {
            let Some(free) = self.buffer.get_mut(self.end..stop) else { break };
            match self.reader.read(free) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Leaves bytes behind.
    pub(super) fn consume(&mut self, count: usize) {
        self.line = self.line_at(count);
        self.start += count;
        self.consumed += count as u64;
    }

    /// The line of the byte so many bytes further on.
    pub(super) fn line_at(&self, ahead: usize) -> u64 {
        let (bytes, _) = self.bytes();
        let passed = bytes.get(..ahead).unwrap_or(bytes);
        // CR LF is one line end, and CR alone is one too.
        let ends = memchr::memchr2_iter(b'\n', b'\r', passed);
        let ends = ends.filter(|at| passed.get(*at) == Some(&b'\n') || passed.get(at + 1) != Some(&b'\n'));
        self.line + ends.count() as u64
    }

    /// Steps over a byte order mark at the beginning.
    pub(super) fn skip_mark(&mut self) {
        if self.consumed == 0 && self.bytes().0.starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
    }
}
