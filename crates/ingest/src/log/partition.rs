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
            TicketState::Waiting(receiver) => Pin::new(receiver).poll(context).map(|answer| answer.unwrap_or(Err(LogError::Closed))),
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

    /// Durable batches from the one that holds `from` on: at least one when there is one, then up to `bytes_max`.
    pub(super) fn read(&self, from: i64, bytes_max: usize) -> Result<Vec<StoredBatch>, LogError> {
        let (start, end) = (self.start(), self.end());
        if from < start || from > end {
            return Err(LogError::OffsetOutOfRange { partition: self.id, offset: from, start, end });
        }
        if from == end {
            return self.damage.as_ref().map_or(Ok(Vec::new()), |damage| Err(damage.error()));
        }
        let mut batches = Vec::new();
        let (mut from, mut left) = (from, bytes_max);
        while from < end {
            // After a gap (see `Log::landed`) the next segment begins past the offset.
            let Some(segment) = self.segment_for(from) else { break };
            let mut read = read_segment(&segment, from, left, batches.is_empty())?;
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

    fn segment_for(&self, offset: i64) -> Option<Arc<Segment>> {
        self.segments.read().iter().find(|segment| segment.state.read().next_offset > offset).cloned()
    }

    /// The first record at or after a time: its timestamp and offset.
    pub(super) fn offset_for_time(&self, time_ms: i64) -> Result<Option<(i64, i64)>, LogError> {
        let segments: Vec<_> = self.segments.read().clone();
        for segment in segments {
            let candidates: Vec<_> = segment.state.read().index.iter().filter(|entry| entry.max_timestamp_ms >= time_ms).map(|entry| entry.offset).collect();
            for offset in candidates {
                let mut from = offset.max(self.start());
                // One index entry covers a stretch of batches: read on until the one that made its timestamp.
                for _ in 0..1 << 16 {
                    let Some(stored) = read_segment(&segment, from, 1, true)?.into_iter().next() else { break };
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
    let header = BatchHeader::peek(batch).ok().filter(|header| header.max_timestamp_ms >= time_ms)?;
    match Records::open(batch) {
        Ok(records) => records.iter().flatten().find(|record| record.timestamp_ms >= time_ms).map(|record| (record.timestamp_ms, record.offset)),
        Err(_) => Some((header.max_timestamp_ms, header.base_offset)),
    }
}

/// Reads from one segment. `whole_first` gives the first batch even when it is larger than the limit.
fn read_segment(segment: &Segment, from: i64, bytes_max: usize, whole_first: bool) -> Result<Vec<StoredBatch>, LogError> {
    let (mut position, durable) = {
        let state = segment.state.read();
        (state.position_before(from), state.bytes)
    };
    let mut batches = Vec::new();
    let (mut taken, mut want) = (0usize, bytes_max.clamp(64 << 10, 64 << 20));
    while position < durable {
        let length = usize::try_from(durable - position).unwrap_or(usize::MAX).min(want);
        let mut chunk = vec![0; length];
        segment.file.read_exact_at(&mut chunk, position).map_err(LogError::io("read", &segment.path))?;
        let chunk = Bytes::from(chunk);
        let mut at = 0;
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let damaged = || LogError::Damaged { path: segment.path.clone(), position: position + at as u64, after_offset: from - 1 };
            if rest.len() < ENTRY_PREFIX_BYTES {
                if length < want {
                    return Err(damaged());
                }
                break;
            }
            let entry = decode_prefix(rest).ok_or_else(damaged)?;
            let entry_bytes = ENTRY_HEADER_BYTES + entry.batch_bytes as usize;
            if rest.len() < entry_bytes {
                want = want.max(entry_bytes);
                break;
            }
            let batch = chunk.slice(at + ENTRY_HEADER_BYTES..at + entry_bytes);
            let header = BatchHeader::peek(&batch).map_err(|_| damaged())?;
            at += entry_bytes;
            if header.last_offset() < from {
                continue;
            }
            if taken + batch.len() > bytes_max && !(whole_first && batches.is_empty()) {
                return Ok(batches);
            }
            BatchHeader::parse(&batch).map_err(|_| damaged())?;
            taken += batch.len();
            batches.push(StoredBatch { base_offset: header.base_offset, last_offset: header.last_offset(), append_time_ms: entry.append_time_ms, batch });
            if taken >= bytes_max {
                return Ok(batches);
            }
        }
        position += at as u64;
        if at == 0 && length < want && position + (length as u64) >= durable {
            return Err(LogError::Damaged { path: segment.path.clone(), position, after_offset: from - 1 });
        }
        want = want.max(64 << 10);
        if taken > 0 {
            want = bytes_max.saturating_sub(taken).clamp(64 << 10, 64 << 20);
        }
    }
    Ok(batches)
}
