//! One partition: what readers see of it, and the writer's side that only its lane touches.
//!
//! Readers see segments' durable states and nothing else. The writer holds the producers and the next offset; its
//! mutex is held for a whole group, so rolling by retention never falls between a write and its sync.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};
use vitalake_runtime::disk::Disk;

use super::batch::BatchHeader;
use super::entry::{ENTRY_HEADER_BYTES, ENTRY_PREFIX_BYTES, decode_prefix};
use super::producers::Producers;
use super::segment::Segment;
use super::{Damage, LogError, Records, TopicPartition};

/// A batch as the log holds it.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// When the log took it, milliseconds since 1970, UTC.
    pub append_time_ms: i64,
    /// The whole RecordBatch v2, checksums verified, base offset patched.
    pub batch: Bytes,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// When the log took it, milliseconds since 1970, UTC.
    pub append_time_ms: i64,
    /// First offset that the partition holds.
    pub start_offset: i64,
    /// Whether it had been there before, from an earlier try of the same producer.
    pub duplicate: bool,
}

/// The answer to an append: resolves when the batch is durable, or was refused.
#[derive(Debug)]
#[must_use = "an append is known only by its answer"]
pub struct AppendTicket(pub(super) TicketState);

#[derive(Debug)]
pub(super) enum TicketState {
    Waiting(oneshot::Receiver<Result<Appended, LogError>>),
    Refused(Option<LogError>),
}

impl Future for AppendTicket {
    type Output = Result<Appended, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            TicketState::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|answer| answer.unwrap_or(Err(LogError::Closed)))
            }
            TicketState::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(LogError::Closed))),
        }
    }
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Writer {
    pub segment: Arc<Segment>,
    pub producers: Producers,
    /// Whether the file may hold bytes beyond its durable part, which must go before the next write.
    pub broken: bool,
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub id: TopicPartition,
    pub folder: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub segments: RwLock<Vec<Arc<Segment>>>,
    pub durable_end: AtomicI64,
    pub start_offset: AtomicI64,
    pub landed_end: AtomicI64,
    pub unlanded_bytes: Mutex<u64>,
    pub damage: Option<Damage>,
    /// Damage that a read has met since.
    pub damage_met: Mutex<Option<Damage>>,
    pub writer: Mutex<Writer>,
    pub changed: Arc<watch::Sender<u64>>,
}

impl Partition {
    /// The next offset after the last durable one.
    pub(super) fn end(&self) -> i64 {
        self.durable_end.load(Ordering::Acquire)
    }

    /// The first offset held.
    pub(super) fn start(&self) -> i64 {
        self.start_offset.load(Ordering::Acquire)
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.state.read().bytes).sum()
    }

    /// Bytes from the batch that holds an offset to the end, to the index's precision.
    pub(super) fn bytes_from(&self, offset: i64) -> u64 {
        if offset >= self.end() {
            return 0;
        }
        let segments = self.segments.read();
        let bytes = segments.iter().rev().scan(false, |over, segment| {
            if *over {
                return None;
            }
            let state = segment.state.read();
            *over = segment.base_offset <= offset;
            Some(if *over { state.bytes.saturating_sub(state.position_before(offset)) } else { state.bytes })
        });
        bytes.sum()
    }

    /// Durable batches from the one that holds `from` on, up to `bytes_max`; with `whole_first` at least one when there
    /// is one.
    pub(super) fn read(&self, from: i64, bytes_max: usize, whole_first: bool) -> Result<Vec<StoredBatch>, LogError> {
        let (start, end) = (self.start(), self.end());
        if from < start || from > end {
            return Err(LogError::OffsetOutOfRange { partition: self.id, offset: from, start, end });
        }
        if from == end {
            return self.damage.as_ref().map_or(Ok(Vec::new()), |damage| Err(damage.error()));
        }
        let mut batches = Vec::new();
        if !whole_first && bytes_max < ENTRY_PREFIX_BYTES {
            return Ok(batches);
        }
        let (mut from, mut left) = (from, bytes_max);
        while from < end {
            // After a gap (see `Log::landed`) the next segment begins past the offset.
            let Some(segment) = self.segment_for(from) else {
                break;
            };
            let mut read = read_segment(&segment, from, left, whole_first && batches.is_empty())
                .inspect_err(|error| self.meet(error))?;
            let Some(last) = read.last() else { break };
            from = last.last_offset + 1;
            let taken: usize = read.iter().map(|stored| stored.batch.len()).sum();
            left = left.saturating_sub(taken);
            batches.append(&mut read);
            if left < ENTRY_PREFIX_BYTES {
                break;
            }
        }
        Ok(batches)
    }

    /// Damage that was found at start or that a read has met, while the log still holds the place.
    pub(super) fn known_damage(&self) -> Option<Damage> {
        let known = self.damage.clone().or_else(|| self.damage_met.lock().clone());
        known.filter(|damage| damage.after_offset + 1 >= self.start())
    }

    fn meet(&self, error: &LogError) {
        if let LogError::Damaged { path, position, after_offset } = error {
            let (path, position, after_offset) = (path.clone(), *position, *after_offset);
            *self.damage_met.lock() = Some(Damage { partition: self.id, path, position, after_offset });
        }
    }

    fn segment_for(&self, offset: i64) -> Option<Arc<Segment>> {
        self.segments.read().iter().find(|segment| segment.state.read().next_offset > offset).cloned()
    }

    /// The largest timestamp held.
    pub(super) fn max_timestamp_ms(&self) -> Option<i64> {
        let segments = self.segments.read();
        segments
            .iter()
            .map(|segment| segment.state.read())
            .filter(|state| state.bytes > 0)
            .map(|state| state.max_timestamp_ms)
            .max()
    }

    /// The first record at or after a time: its timestamp and offset. The index only says where to look: the records
    /// themselves decide.
    pub(super) fn offset_for_time(&self, time_ms: i64) -> Result<Option<(i64, i64)>, LogError> {
        let segments: Vec<_> = self.segments.read().clone();
        for segment in segments {
            let candidates: Vec<_> = segment
                .state
                .read()
                .index
                .iter()
                .filter(|entry| entry.max_timestamp_ms >= time_ms)
                .map(|entry| entry.offset)
                .collect();
            for offset in candidates {
                let mut from = offset.max(self.start());
                // One index entry covers a stretch of batches: read on until the one that made its timestamp.
                for _ in 0..1 << 16 {
                    let Some(stored) = read_segment(&segment, from, 1, true)?.into_iter().next() else {
                        break;
                    };
                    if let Some(found) = first_at_or_after(&stored.batch, time_ms) {
                        return Ok(Some(found));
                    }
                    from = stored.last_offset + 1;
                }
            }
        }
        Ok(None)
    }
}

fn first_at_or_after(batch: &Bytes, time_ms: i64) -> Option<(i64, i64)> {
    let records = Records::open(batch).ok()?;
    let found = records.iter().flatten().find(|record| record.timestamp_ms >= time_ms)?;
    Some((found.timestamp_ms, found.offset))
}

/// Reads from one segment. `whole_first` gives the first batch even when it is larger than the limit.
fn read_segment(
    segment: &Segment,
    from: i64,
    bytes_max: usize,
    whole_first: bool,
) -> Result<Vec<StoredBatch>, LogError> {
    let (mut position, durable) = {
        let state = segment.state.read();
        (state.position_before(from), state.bytes)
    };
    let mut reading = Reading { from, bytes_left: bytes_max, whole_first, batches: Vec::new() };
    let mut want = bytes_max.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    while position < durable {
        let length = usize::try_from(durable - position).unwrap_or(usize::MAX).min(want);
        let mut chunk = vec![0; length];
        segment.file.read_exact_at(&mut chunk, position).map_err(LogError::io("read", &segment.path))?;
        let (consumed, stop) = reading.take(&Bytes::from(chunk));
        position += consumed as u64;
        want = match stop {
            Stop::Full => break,
            Stop::Damaged => {
                return Err(LogError::Damaged { path: segment.path.clone(), position, after_offset: reading.from - 1 });
            }
            Stop::Needs(bytes) if position + bytes as u64 > durable => {
                return Err(LogError::Damaged { path: segment.path.clone(), position, after_offset: reading.from - 1 });
            }
            Stop::Needs(bytes) => reading.bytes_left.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).max(bytes),
            Stop::Used => reading.bytes_left.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
        };
    }
    Ok(reading.batches)
}

const CHUNK_BYTES_MIN: usize = 64 << 10;
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Why a chunk of a segment was left.
enum Stop {
    /// All of it was used.
    Used,
    /// The next entry needs this many bytes.
    Needs(usize),
    /// The reader has what it asked for.
    Full,
    /// Synced bytes are not what was written.
    Damaged,
}

struct Reading {
    from: i64,
    bytes_left: usize,
    whole_first: bool,
    batches: Vec<StoredBatch>,
}

impl Reading {
    /// Takes the entries of a chunk; says how many bytes were used, and why it stopped there.
    fn take(&mut self, chunk: &Bytes) -> (usize, Stop) {
        let mut at = 0;
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return (at, Stop::Used);
            }
            if rest.len() < ENTRY_PREFIX_BYTES {
                return (at, Stop::Needs(ENTRY_PREFIX_BYTES));
            }
            let Some(entry) = decode_prefix(rest) else {
                return (at, Stop::Damaged);
            };
            let entry_bytes = ENTRY_HEADER_BYTES + entry.batch_bytes as usize;
            if rest.len() < entry_bytes {
                return (at, Stop::Needs(entry_bytes));
            }
            let batch = chunk.slice(at + ENTRY_HEADER_BYTES..at + entry_bytes);
            let Ok(header) = BatchHeader::peek(&batch) else {
                return (at, Stop::Damaged);
            };
            if header.last_offset() >= self.from {
                if batch.len() > self.bytes_left && !(self.whole_first && self.batches.is_empty()) {
                    return (at, Stop::Full);
                }
                if BatchHeader::parse(&batch).is_err() {
                    return (at, Stop::Damaged);
                }
                self.bytes_left = self.bytes_left.saturating_sub(batch.len());
                self.from = header.last_offset() + 1;
                self.batches.push(StoredBatch {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    append_time_ms: entry.append_time_ms,
                    batch,
                });
            }
            at += entry_bytes;
        }
    }
}
