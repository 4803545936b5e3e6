//! Where landing takes its records from: the embedded log, or an external broker.
//!
//! Both give records of a partition in the order of their offsets, from an offset that the table's transactions name;
//! neither remembers what has landed. Invariant: an offset is stepped over only where the source says that its records
//! are gone, and then it is said in the table.

#[cfg(feature = "rdkafka")]
pub mod kafka;

use std::fmt;

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::headers::Header;
use crate::log::{Log, LogError, StoredBatch, TopicId, TopicPartition};

/// Whether this build can read from an external broker.
pub const EXTERNAL_KAFKA: bool = cfg!(feature = "rdkafka");

/// Properties of an external broker's client that the guarantees rest on, in each of their spellings.
const OWN_PROPERTIES: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "group.protocol",
    "enable.auto.commit",
    "auto.commit.enable",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "isolation.level",
    "enable.partition.eof",
    "partition.assignment.strategy",
    "allow.auto.create.topics",
    "statistics.interval.ms",
];

/// Whether nobody else sets this property: librdkafka takes one also after `topic.`.
#[must_use]
pub fn is_own_property(name: &str) -> bool {
    OWN_PROPERTIES.contains(&name.strip_prefix("topic.").unwrap_or(name))
}

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The embedded log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The broker or its client refused.
    #[error("partition {partition} of {topic}: {reason}")]
    Broker {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// What the client says.
        reason: String,
    },
}

#[cfg(feature = "rdkafka")]
impl SourceError {
    pub(crate) fn broker(topic: &str, partition: i32, reason: impl fmt::Display) -> Self {
        Self::Broker { topic: topic.to_owned(), partition, reason: reason.to_string() }
    }
}

/// What a source hands over.
#[derive(Debug)]
pub enum Item<'a> {
    /// A batch of the embedded log; its first records may lie before the offset that was asked for.
    Batch(&'a StoredBatch),
    /// One record.
    Record(FetchedRecord<'a>),
    /// Records that the source no longer has, first and last offset: its retention passed them.
    Gone(i64, i64),
}

/// Whether a topic is still the one of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicCheck {
    /// It is, or cannot be another.
    Same,
    /// There is another of its name.
    Replaced,
    /// Nobody answered, and why.
    Unanswered(String),
}

/// A record of an external broker.
#[derive(Clone, Copy, Debug)]
pub struct FetchedRecord<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its time as the broker keeps it, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in their order.
    pub headers: &'a [Header<'a>],
}

/// A source of records. Calls block; they are made on the CPU runtime.
pub trait RecordSource: fmt::Debug + Send + Sync {
    /// The first offset of a partition that can still be read.
    ///
    /// # Errors
    /// When the partition is not known.
    fn start_offset(&self, id: TopicPartition) -> Result<i64, SourceError>;

    /// One past the newest record that is known to be there to read.
    ///
    /// # Errors
    /// When the partition is not known.
    fn end_offset(&self, id: TopicPartition) -> Result<i64, SourceError>;

    /// Whether nothing is left from this offset on, as far as is known: what lies before the end may not be records.
    fn is_at_end(&self, id: TopicPartition, next_offset: i64) -> bool {
        self.end_offset(id).is_ok_and(|end| end <= next_offset)
    }

    /// A receiver that changes when there may be more to read of a topic.
    fn watch(&self, topic: TopicId) -> Option<watch::Receiver<u64>>;

    /// Hands over records from an offset on, until about so many bytes, and gives the next offset; the same one when
    /// there is nothing.
    ///
    /// # Errors
    /// When the source fails; what was handed over before counts as not read.
    fn read(
        &self,
        id: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<i64, SourceError>;

    /// Whether a topic is still the one of this id, asked when what was read of it is about to be committed. Answers
    /// within a moment.
    fn check_topic(&self, topic: TopicId) -> BoxFuture<'_, TopicCheck> {
        let _ = topic;
        Box::pin(std::future::ready(TopicCheck::Same))
    }

    /// The last offsets of a topic that are in a commit, with their partitions.
    ///
    /// # Errors
    /// When the source cannot take note; landing says it and goes on.
    fn committed(&self, topic: TopicId, last_offsets: &[(i32, i64)]) -> Result<(), SourceError>;
}

impl RecordSource for Log {
    fn start_offset(&self, id: TopicPartition) -> Result<i64, SourceError> {
        Ok(Log::start_offset(self, id)?)
    }

    fn end_offset(&self, id: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.durable_end(id)?)
    }

    fn watch(&self, topic: TopicId) -> Option<watch::Receiver<u64>> {
        Log::watch(self, topic)
    }

    fn read(
        &self,
        id: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<i64, SourceError> {
        let start = Log::start_offset(self, id)?;
        if from_offset < start {
            sink(Item::Gone(from_offset, start - 1));
        }
        let mut next_offset = from_offset.max(start);
        for stored in Log::read(self, id, next_offset, bytes_max)? {
            sink(Item::Batch(&stored));
            next_offset = stored.last_offset + 1;
        }
        Ok(next_offset)
    }

    fn committed(&self, topic: TopicId, last_offsets: &[(i32, i64)]) -> Result<(), SourceError> {
        for (partition, last_offset) in last_offsets {
            self.landed(TopicPartition::new(topic, *partition), *last_offset)?;
        }
        self.trim()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("enable.auto.commit", true)]
    #[case("auto.commit.enable", true)]
    #[case("topic.enable.auto.commit", true)]
    #[case("topic.auto.commit.enable", true)]
    #[case("topic.auto.offset.reset", true)]
    #[case("metadata.broker.list", true)]
    #[case("security.protocol", false)]
    #[case("topic.metadata.refresh.interval.ms", false)]
    fn a_property_is_ours_however_it_is_spelled(#[case] name: &str, #[case] ours: bool) {
        assert_eq!(is_own_property(name), ours);
    }
}
