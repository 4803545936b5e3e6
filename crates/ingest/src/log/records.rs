//! The records of a batch: decompressed under a limit, borrowed where they are not compressed.
//!
//! Hostile bytes give a [`BatchError`], never a panic and never an allocation that the bytes do not back.

use std::io::Read;

use bytes::Bytes;

use super::batch::{BatchError, BatchHeader, Compression, HEADER_BYTES, RECORD_BYTES_MIN};
use crate::headers::Header;

/// Default limit on what one batch may decompress to.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

const XERIAL: &[u8; 8] = b"\x82SNAPPY\0";

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, in their order. Only made of bytes that were walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    encoded: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let key = nullable(&mut self.encoded)?;
        Some(Header { key, value: nullable(&mut self.encoded)? })
    }
}

/// The records of one batch. `iter` walks them; a malformed one ends the walk with an error.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    payload: Bytes,
}

impl Records {
    /// Opens a batch that the log or [`super::CheckedBatch`] has checked, decompressing it to at most 64 MiB.
    pub fn open(batch: &Bytes) -> Result<Self, BatchError> {
        Self::open_within(batch, DECOMPRESSED_BYTES_MAX)
    }

    /// The same with another limit. The checksum is not computed again.
    pub fn open_within(batch: &Bytes, decompressed_bytes_max: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::peek(batch)?;
        let body = batch.slice(HEADER_BYTES..header.batch_bytes);
        let payload = match header.compression()? {
            Compression::None => body,
            codec => {
                let mut out = Vec::new();
                decompress(codec, &body, decompressed_bytes_max, &mut out)?;
                Bytes::from(out)
            }
        };
        if usize::try_from(header.records).map_or(true, |records| records > payload.len() / RECORD_BYTES_MIN) {
            return Err(BatchError::Count(header.records));
        }
        Ok(Self { header, payload })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes that the records are borrowed from; a slice of the batch itself when it is not compressed.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Walks the records in order. Yields exactly `header().records` of them, or an error and then nothing.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(&self.payload, &self.header)
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordRef<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;
    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Walks records in a payload.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: u32,
    index: u32,
    base_offset: i64,
    next_offset_delta: i32,
    last_offset_delta: i32,
    base_timestamp_ms: i64,
    append_time_ms: Option<i64>,
}

impl<'a> RecordIter<'a> {
    pub(super) fn new(payload: &'a [u8], header: &BatchHeader) -> Self {
        Self {
            rest: payload,
            left: u32::try_from(header.records).unwrap_or(0),
            index: 0,
            base_offset: header.base_offset,
            next_offset_delta: 0,
            last_offset_delta: header.last_offset_delta,
            base_timestamp_ms: header.base_timestamp_ms,
            append_time_ms: header.has_append_time().then_some(header.max_timestamp_ms),
        }
    }

    fn record(&mut self) -> Option<RecordRef<'a>> {
        let length = usize::try_from(varlong(&mut self.rest)?).ok()?;
        let (mut record, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        take(&mut record, 1)?;
        let timestamp_delta = varlong(&mut record)?;
        let offset_delta = i32::try_from(varlong(&mut record)?)
            .ok()
            .filter(|delta| (self.next_offset_delta..=self.last_offset_delta).contains(delta))?;
        self.next_offset_delta = offset_delta.saturating_add(1);
        let key = nullable(&mut record)?;
        let value = nullable(&mut record)?;
        let headers = headers(record)?;
        let timestamp_ms =
            self.append_time_ms.unwrap_or_else(|| self.base_timestamp_ms.saturating_add(timestamp_delta));
        Some(RecordRef {
            offset: self.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp_ms,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let index = self.index;
        self.index += 1;
        let record = self.record().filter(|_| self.left > 0 || self.rest.is_empty());
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or(BatchError::Record(index)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}

/// The headers, which are the last of a record: walked, so that they can be read later.
#[inline]
fn headers(mut rest: &[u8]) -> Option<Headers<'_>> {
    let count = usize::try_from(varlong(&mut rest)?).ok()?;
    if count > rest.len() {
        return None;
    }
    let encoded = rest;
    for _ in 0..count {
        nullable(&mut rest)??;
        nullable(&mut rest)?;
    }
    rest.is_empty().then_some(Headers { count, encoded })
}

fn nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varlong(bytes)? {
        -1 => Some(None),
        length => take(bytes, usize::try_from(length).ok()?).map(Some),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varlong(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Decompresses a batch's body into `out`, which is emptied first, to at most so many bytes.
pub(super) fn decompress(codec: Compression, body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    out.clear();
    match codec {
        Compression::None => out.extend_from_slice(body),
        Compression::Gzip => read_limited(flate2::read::MultiGzDecoder::new(body), "gzip", limit, out)?,
        Compression::Snappy => snappy(body, limit, out)?,
        Compression::Lz4 if !super::lz4::is_whole(body) => return Err(BatchError::Compressed("lz4")),
        Compression::Lz4 => read_limited(lz4_flex::frame::FrameDecoder::new(body), "lz4", limit, out)?,
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(body).map_err(|_| BatchError::Compressed("zstd"))?;
            decoder.window_log_max(27).map_err(|_| BatchError::Compressed("zstd"))?;
            read_limited(decoder, "zstd", limit, out)?;
        }
    }
    Ok(())
}

fn read_limited(decoder: impl Read, codec: &'static str, limit: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    decoder.take(limit as u64 + 1).read_to_end(out).map_err(|_| BatchError::Compressed(codec))?;
    if out.len() > limit { Err(BatchError::TooLarge(limit)) } else { Ok(()) }
}

/// Java's clients write blocks in xerial's framing, librdkafka one raw block.
fn snappy(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let Some(framed) = body.strip_prefix(XERIAL) else { return snappy_block(body, out, limit) };
    let mut rest = framed.get(8..).ok_or(BatchError::Compressed("snappy"))?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or(BatchError::Compressed("snappy"))?;
        snappy_block(block, out, limit)?;
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(BatchError::Compressed("snappy")) }
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    let length = snap::raw::decompress_len(block).map_err(|_| BatchError::Compressed("snappy"))?;
    let end = out.len().saturating_add(length);
    if end > limit {
        return Err(BatchError::TooLarge(limit));
    }
    // Snappy turns at most 3 bytes into 64, so a claim beyond that is refused before it is allocated.
    if length / 32 > block.len() {
        return Err(BatchError::Compressed("snappy"));
    }
    let start = out.len();
    out.resize(end, 0);
    let into = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, into).map_err(|_| BatchError::Compressed("snappy"))?;
    if written == length { Ok(()) } else { Err(BatchError::Compressed("snappy")) }
}
