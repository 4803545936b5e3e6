//! Text in another encoding as UTF-8, before lines are looked for in it.
//!
//! The contract says the encoding, or a byte order mark does. Bytes that mean nothing in it refuse the file with their
//! line: nothing is replaced by a sign that was not there. Invariant: what comes out is UTF-8.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::Spoilt;

const READ_BYTES: usize = 128 * 1024;

/// A file's text in UTF-8.
#[derive(Debug)]
pub(in crate::decode) enum Transcoded<R> {
    /// As it came.
    Same(io::Chain<io::Cursor<Vec<u8>>, R>),
    /// From another encoding.
    From(Box<Transcoder<R>>),
}

impl<R: Read> Read for Transcoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Same(reader) => reader.read(buffer),
            Self::From(transcoder) => transcoder.read(buffer),
        }
    }
}

/// A file's text; its first bytes say where they have a mark of UTF-16, else the contract does.
pub(in crate::decode) fn of_text<R: Read>(mut reader: R, said: Option<&'static Encoding>) -> io::Result<Transcoded<R>> {
    let mut begin = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut begin)?;
    let marked = match begin.as_slice() {
        // UTF-32 begins in the same way.
        [0xff, 0xfe, 0, 0] => None,
        [0xff, 0xfe, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] => Some(UTF_16BE),
        _ => None,
    };
    let is_utf8 = begin.starts_with(b"\xef\xbb\xbf");
    let Some(encoding) = marked.or(said.filter(|_| !is_utf8)) else {
        return Ok(Transcoded::Same(io::Cursor::new(begin).chain(reader)));
    };
    Ok(Transcoded::From(Box::new(Transcoder {
        reader,
        encoding,
        decoder: encoding.new_decoder_with_bom_removal(),
        input: begin,
        at: 0,
        ended: false,
        output: Vec::new(),
        given: 0,
        line: 1,
        byte: 0,
    })))
}

/// Decodes a text as it is read.
pub(in crate::decode) struct Transcoder<R> {
    reader: R,
    encoding: &'static Encoding,
    decoder: Decoder,
    input: Vec<u8>,
    /// So many bytes of the input were decoded.
    at: usize,
    ended: bool,
    output: Vec<u8>,
    /// So many bytes of the output were given.
    given: usize,
    line: u64,
    byte: u64,
}

impl<R> std::fmt::Debug for Transcoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("encoding", &self.encoding.name()).finish_non_exhaustive()
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            if self.ended && self.at == self.input.len() {
                return Ok(0);
            }
            self.decode()?;
        }
        let rest = self.output.get(self.given..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}

impl<R: Read> Transcoder<R> {
    fn decode(&mut self) -> io::Result<()> {
        if self.at == self.input.len() && !self.ended {
            self.input.resize(READ_BYTES, 0);
            let count = self.reader.read(&mut self.input)?;
            self.input.truncate(count);
            self.at = 0;
            self.ended = count == 0;
        }
        self.output.resize(3 * READ_BYTES, 0);
        let input = self.input.get(self.at..).unwrap_or_default();
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(input, &mut self.output, self.ended);
        self.output.truncate(written);
        self.given = 0;
        let unknown = self.encoding == WINDOWS_1252 && self.output.windows(2).any(is_control);
        self.at += read;
        self.byte += read as u64;
        self.line += memchr::memchr_iter(b'\n', &self.output).count() as u64;
        if matches!(result, DecoderResult::Malformed(..)) || unknown {
            let encoding = self.encoding.name();
            return Err(Spoilt::Encoding { encoding, line: self.line, byte: self.byte }.into());
        }
        Ok(())
    }
}

/// Whether two bytes are a control character that Windows-1252 has no sign for: its five unused bytes become these.
fn is_control(bytes: &[u8]) -> bool {
    matches!(bytes, [0xc2, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d])
}
