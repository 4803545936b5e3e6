//! A delivered file's bytes in a buffer that holds one record and what was read beyond it.
//!
//! Invariant: the buffer never grows past one record of the largest size and one read.

use std::io::{self, Read};

/// How much is read at once, and at first: a delivery may be ten thousand files of a few lines.
const READ_BYTES: usize = 256 * 1024;
const READ_BYTES_FIRST: usize = 16 * 1024;

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
        let room = if self.buffer.is_empty() { READ_BYTES_FIRST } else { READ_BYTES.max(self.end) };
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

    /// Leaves about so many bytes behind, up to the end of a line, or all that are left; none after the last. Where no line
    /// ends within `most`, they are more than that.
    pub(super) fn block(&mut self, about: usize, most: usize, mut into: Vec<u8>) -> io::Result<Vec<u8>> {
        loop {
            let (bytes, last) = self.bytes();
            if last || bytes.len() >= about {
                let end = if last { Some(bytes.len()) } else { last_line_end(bytes) };
                if let Some(end) = end.or((bytes.len() > most).then_some(bytes.len())) {
                    into.clear();
                    into.extend_from_slice(bytes.get(..end).unwrap_or(bytes));
                    self.start += end;
                    self.consumed += end as u64;
                    return Ok(into);
                }
            }
            self.fill()?;
        }
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
        self.line + line_ends(bytes.get(..ahead).unwrap_or(bytes))
    }

    /// Steps over a byte order mark at the beginning.
    pub(super) fn skip_mark(&mut self) {
        if self.consumed == 0 && self.bytes().0.starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
    }
}

/// How many lines end in the bytes: CR LF is one end, and CR alone is one too.
pub(super) fn line_ends(bytes: &[u8]) -> u64 {
    if memchr::memchr(b'\r', bytes).is_none() {
        return memchr::memchr_iter(b'\n', bytes).count() as u64;
    }
    let ends = memchr::memchr2_iter(b'\n', b'\r', bytes);
    ends.filter(|at| bytes.get(*at) == Some(&b'\n') || bytes.get(at + 1) != Some(&b'\n')).count() as u64
}

/// Where the last line ends that is known to: a CR at the very end may be half of an end.
fn last_line_end(bytes: &[u8]) -> Option<usize> {
    let before_last = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or(&[]);
    memchr::memrchr(b'\n', bytes).or_else(|| memchr::memrchr(b'\r', before_last)).map(|at| at + 1)
}
