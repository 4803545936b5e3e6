//! One partition of a broker as landing reads it.
//!
//! | state | what happens | next state | what follows |
//! |---|---|---|---|
//! | Reading | a record at or past the next offset | Reading | it is handed over |
//! | Reading | a record before it (left of an earlier assignment) | Reading | nothing |
//! | Reading | the broker says that there is nothing beyond | AtEnd | landing waits |
//! | AtEnd | something comes into the queue | Reading | landing is told |
//! | Reading | the offset is gone, the first that is there lies after it | Reading | the source begins anew, and finds the gap |
//! | Reading | the partition ends before the offset, its id is the broker's | Broken | every read says why |
//! | Reading | the partition ends before the offset, its id is made up | Reading | the topic was replaced: the source begins anew |
//! | Reading | another failure | Reading | the read fails, and is tried again |
//! | any | landing asks for another offset | the same | the source begins anew: only the tables know |
//! | Broken | a read | Broken | it fails: a person has to decide |
//!
//! Invariant: offsets are handed over in their order, each once, and what is missing between two is said first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use super::KafkaSource;
use super::context::Context;
use crate::headers::Header;
use crate::log::TopicPartition;
use crate::source::{FetchedRecord, Item, SourceError};

/// What a record takes beside its value, so that a step of empty records ends too.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// Where a partition is; see the table above.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Reading,
    AtEnd,
    Broken(String),
}

pub(super) struct Partition {
    queue: PartitionQueue<Context>,
    state: State,
    /// The offset after the last record that was handed over, or at which reading begins.
    next_offset: i64,
    /// Records that the broker's retention removed before reading began here.
    gone: Option<(i64, i64)>,
    /// Something may have come since the queue was last emptied.
    news: Arc<AtomicBool>,
}

/// What an error of the queue means.
enum Failure {
    /// Everything begins anew.
    Restart,
    /// It cannot be read on.
    Broken(String),
}

impl Partition {
    pub(super) fn new(
        queue: PartitionQueue<Context>,
        next_offset: i64,
        gone: Option<(i64, i64)>,
        news: Arc<AtomicBool>,
    ) -> Self {
        Self { queue, state: State::Reading, next_offset, gone, news }
    }

    pub(super) fn is_at_end(&self, next_offset: i64) -> bool {
        self.state == State::AtEnd && self.next_offset == next_offset && !self.news.load(Ordering::Acquire)
    }

    /// Hands over what is in the queue, from an offset on and until about so many bytes; gives the next offset.
    pub(super) fn read(
        &mut self,
        source: &KafkaSource,
        id: TopicPartition,
        (from_offset, bytes_max): (i64, usize),
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<i64, SourceError> {
        if self.next_offset != from_offset {
            // What was handed over did not land. Only the tables say from where to go on.
            source.shared.restart.send_replace(true);
            return Ok(from_offset);
        }
        if let State::Broken(reason) = &self.state {
            return Err(SourceError::broker(&source.shared.name(id.topic), id.partition, reason));
        }
        self.news.store(false, Ordering::Release);
        let mut bytes = 0;
        if let Some((first, last)) = self.gone.take() {
            sink(Item::Gone(first, last));
            self.next_offset = last + 1;
        }
        while bytes < bytes_max {
            let error = match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    self.state = State::Reading;
                    if message.offset() >= self.next_offset {
                        bytes += hand_over(&message, sink);
                        self.next_offset = message.offset() + 1;
                    }
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.state = State::AtEnd;
                    continue;
                }
                Some(Err(error)) => error,
            };
            match source.failure(id, self.next_offset, &error) {
                Ok(Failure::Restart) => {
                    source.shared.restart.send_replace(true);
                }
                Ok(Failure::Broken(reason)) => {
                    self.state = State::Broken(reason.clone());
                    self.news.store(true, Ordering::Release);
                    if self.next_offset == from_offset {
                        return Err(SourceError::broker(&source.shared.name(id.topic), id.partition, reason));
                    }
                }
                Err(error) if self.next_offset == from_offset => return Err(error),
                // What was read before it lands first; the broker says it again.
                Err(_) => {}
            }
            break;
        }
        Ok(self.next_offset)
    }
}

impl KafkaSource {
    /// An error of a partition's queue: a range that is not there, or a failure that may pass.
    fn failure(&self, id: TopicPartition, next: i64, error: &KafkaError) -> Result<Failure, SourceError> {
        let name = self.shared.name(id.topic);
        let code = error.rdkafka_error_code();
        if !matches!(code, Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)) {
            return Err(SourceError::broker(&name, id.partition, error));
        }
        let (low, high) = self.fetch_watermarks(&name, id.partition)?;
        if low > next {
            return Ok(Failure::Restart);
        }
        if self.shared.id_is_made_up(id.topic) {
            tracing::warn!(
                topic = name,
                partition = id.partition,
                "the topic ends before what was read of it, so it was deleted and made again: it lands from its beginning"
            );
            self.shared.replaced.lock().insert(id.topic);
            return Ok(Failure::Restart);
        }
        Ok(Failure::Broken(format!(
            "it ends at offset {high}, before offset {next} where landing goes on: the broker has lost records, or the \
             topic was made anew under its old id. Nothing is read, because new records would get offsets that the table \
             has; give the contract a new topic, or make this one anew"
        )))
    }
}

/// Gives a record to the sink; answers about how many bytes it took.
fn hand_over(message: &BorrowedMessage<'_>, sink: &mut dyn FnMut(Item<'_>)) -> usize {
    let (key, value) = (message.key(), message.payload());
    let count = message.headers().map_or(0, |headers| headers.count());
    let headers: Vec<Header<'_>> = (0..count).map(|at| header(message, at)).collect();
    let timestamp_ms = message.timestamp().to_millis();
    sink(Item::Record(FetchedRecord { offset: message.offset(), timestamp_ms, key, value, headers: &headers }));
    let beside: usize = headers.iter().map(|header| header.value.map_or(0, <[u8]>::len)).sum();
    value.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len) + beside + RECORD_OVERHEAD_BYTES
}

/// A header of a message. The client panics on a key that is not UTF-8 and gives no other way to it: such a header is
/// kept without key and value, and its record lands.
fn header<'m>(message: &'m BorrowedMessage<'_>, at: usize) -> Header<'m> {
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let header = message.headers()?.try_get(at)?;
        Some(Header { key: Some(header.key.as_bytes()), value: header.value })
    }));
    asked.ok().flatten().unwrap_or(Header { key: None, value: None })
}
