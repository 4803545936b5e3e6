//! A RecordBatch v2 as bytes: its header, and the check that lets one into the log.
//!
//! Every length and count is checked against the bytes that are there before anything is believed, and every record
//! is walked, in a compressed batch too: what is acknowledged can be landed and fetched. What the header claims of its
//! records' times is made true, because look-ups by time go by it.

use std::cell::RefCell;

use bytes::Bytes;

use super::records::{DECOMPRESSED_BYTES_MAX, RecordIter, decompress};

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Where the batch's own checksum lies.
const CHECKSUM_AT: usize = 17;
/// Where the largest timestamp lies.
const MAX_TIMESTAMP_AT: usize = 35;
/// Bytes before the part that the batch's own checksum covers.
const CHECKED_FROM: usize = 21;
/// Bytes that the length field does not count.
const LENGTH_FROM: usize = 12;

/// A compressed batch up to this size is checked where it arrives; a larger one is worth a change of threads.
const QUICK_BYTES_MAX: usize = 16 << 10;
/// What a thread keeps for the next compressed batch.
const SCRATCH_BYTES_MAX: usize = 8 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The least that a record takes: its length, attributes, deltas, key, value and headers, a byte each.
pub(super) const RECORD_BYTES_MIN: usize = 7;

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header or its length needs, or more.
    #[error("the batch claims {claimed} bytes and has {present}")]
    Length {
        /// Bytes that its length field claims.
        claimed: u64,
        /// Bytes that are there.
        present: u64,
    },
    /// A message set of an older format.
    #[error("the batch has message format v{0}, only v2 is taken")]
    Magic(i8),
    /// The checksum does not fit.
    #[error("the batch's checksum does not fit its bytes")]
    Checksum,
    /// Counts that contradict each other or the bytes.
    #[error("the batch claims {0} records, which its bytes or its last offset contradict")]
    Count(i32),
    /// A record whose lengths or deltas make no sense.
    #[error("record {0} of the batch is malformed")]
    Record(u32),
    /// A codec that Kafka does not know.
    #[error("compression codec {0} is not known")]
    Codec(i16),
    /// The compressed bytes do not decompress.
    #[error("the batch's {0} data does not decompress")]
    Compressed(&'static str),
    /// It decompresses to more than the limit.
    #[error("the batch decompresses to more than {0} bytes")]
    TooLarge(usize),
    /// A control batch from a client, or part of a transaction.
    #[error("control and transactional batches are not taken")]
    Transactional,
    /// Producer id, epoch and sequence contradict each other.
    #[error("the batch's producer id, epoch and sequence contradict each other")]
    Producer,
}

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// snappy, raw or in xerial's framing.
    Snappy,
    /// lz4 frames.
    Lz4,
    /// zstd.
    Zstd,
}

/// A batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub batch_bytes: usize,
    /// The partition leader's epoch.
    pub leader_epoch: i32,
    /// CRC32C of what follows it.
    pub checksum: u32,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Its last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// Largest timestamp, milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// The idempotent producer, -1 for none.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence of the first record.
    pub base_sequence: i32,
    /// Number of records.
    pub records: i32,
}

impl BatchHeader {
    /// Reads a header and checks magic and length against the bytes; not the checksum. The batch may be followed by more.
    pub fn peek(bytes: &[u8]) -> Result<Self, BatchError> {
        let present = bytes.len();
        let too_short = BatchError::Length { claimed: HEADER_BYTES as u64, present: present as u64 };
        if let Some(magic) = bytes.get(16).map(|byte| i8::from_be_bytes([*byte])).filter(|magic| *magic != 2) {
            return Err(BatchError::Magic(magic));
        }
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(too_short)?;
        let length = i32::from_be_bytes(field(header, 8));
        let batch_bytes = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(LENGTH_FROM))
            .filter(|total| *total >= HEADER_BYTES);
        let batch_bytes = batch_bytes.filter(|total| *total <= present).ok_or(BatchError::Length {
            claimed: u64::try_from(length).unwrap_or(0) + LENGTH_FROM as u64,
            present: present as u64,
        })?;
        Ok(Self {
            base_offset: i64::from_be_bytes(field(header, 0)),
            batch_bytes,
            leader_epoch: i32::from_be_bytes(field(header, 12)),
            checksum: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp_ms: i64::from_be_bytes(field(header, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            records: i32::from_be_bytes(field(header, 57)),
        })
    }

    /// Reads the header of a batch that is exactly these bytes; checks length, checksum and that the counts agree.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::peek(bytes)?;
        if header.batch_bytes != bytes.len() {
            return Err(BatchError::Length { claimed: header.batch_bytes as u64, present: bytes.len() as u64 });
        }
        if crc32c::crc32c(bytes.get(CHECKED_FROM..).unwrap_or_default()) != header.checksum {
            return Err(BatchError::Checksum);
        }
        if header.records < 1 || header.last_offset_delta != header.records - 1 {
            return Err(BatchError::Count(header.records));
        }
        Ok(header)
    }

    /// The codec named by the attributes.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        match self.attributes & 0b111 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(BatchError::Codec(other)),
        }
    }

    /// Whether the records' timestamps are all `max_timestamp_ms`.
    #[must_use]
    pub fn has_append_time(&self) -> bool {
        self.attributes & 0b1000 != 0
    }

    /// Whether it belongs to a transaction or is a control batch.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0b11_0000 != 0
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }
}

/// A batch from a client that may be appended: whole, summed, and every record walked.
#[derive(Clone, Debug)]
pub struct CheckedBatch {
    bytes: Bytes,
    header: BatchHeader,
}

impl CheckedBatch {
    /// Checks a client's bytes.
    pub fn new(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if header.is_transactional() {
            return Err(BatchError::Transactional);
        }
        let idempotent = header.producer_id >= 0;
        if header.producer_id < -1 || idempotent && (header.producer_epoch < 0 || header.base_sequence < 0) {
            return Err(BatchError::Producer);
        }
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let max_timestamp_ms = match header.compression()? {
            Compression::None => walk(body, &header)?,
            codec => walk_compressed(codec, body, &header)?,
        };
        if max_timestamp_ms == header.max_timestamp_ms {
            return Ok(Self { bytes, header });
        }
        let bytes = with_max_timestamp(&bytes, max_timestamp_ms);
        Ok(Self { header: BatchHeader::parse(&bytes)?, bytes })
    }

    /// Whether the check of a client's bytes takes so little time that it may be done on a thread of the network.
    #[must_use]
    pub fn is_quick(bytes: &[u8]) -> bool {
        let compressed = BatchHeader::peek(bytes).is_ok_and(|header| header.compression() != Ok(Compression::None));
        !compressed || bytes.len() <= QUICK_BYTES_MAX
    }

    /// The bytes as received, but for a largest timestamp that was not one.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header; its base offset is still the client's.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }
}

/// The batch with another largest timestamp, and the checksum that belongs to it, as brokers write it.
fn with_max_timestamp(bytes: &[u8], max_timestamp_ms: i64) -> Bytes {
    let mut out = bytes.to_vec();
    if let Some(place) = out.get_mut(MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8) {
        place.copy_from_slice(&max_timestamp_ms.to_be_bytes());
    }
    let checksum = crc32c::crc32c(out.get(CHECKED_FROM..).unwrap_or_default());
    if let Some(place) = out.get_mut(CHECKSUM_AT..CHECKED_FROM) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    out.into()
}

/// Walks what a batch decompresses to, in memory that the thread keeps for the next one.
fn walk_compressed(codec: Compression, body: &[u8], header: &BatchHeader) -> Result<i64, BatchError> {
    if usize::try_from(header.records).map_or(true, |records| records > DECOMPRESSED_BYTES_MAX / RECORD_BYTES_MIN) {
        return Err(BatchError::Count(header.records));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let walked = decompress(codec, body, DECOMPRESSED_BYTES_MAX, scratch).and_then(|()| walk(scratch, header));
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES_MAX);
        walked
    })
}

/// Walks all records of a payload; gives their largest timestamp.
fn walk(payload: &[u8], header: &BatchHeader) -> Result<i64, BatchError> {
    // More records than the bytes can hold: refused before the walk.
    if usize::try_from(header.records).map_or(true, |records| records > payload.len() / RECORD_BYTES_MIN) {
        return Err(BatchError::Count(header.records));
    }
    let mut max_timestamp_ms = i64::MIN;
    for (expected, record) in (0i64..).zip(RecordIter::new(payload, header)) {
        let record = record?;
        if record.offset != header.base_offset.wrapping_add(expected) {
            return Err(BatchError::Record(u32::try_from(expected).unwrap_or(u32::MAX)));
        }
        max_timestamp_ms = max_timestamp_ms.max(record.timestamp_ms);
    }
    Ok(max_timestamp_ms)
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(header.iter().skip(at)) {
        *to = *from;
    }
    out
}
