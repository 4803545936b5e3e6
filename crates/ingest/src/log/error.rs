//! What can go wrong in the log. Each variant says to whom it matters: a client that may retry, or the operator.

use std::io;
use std::path::PathBuf;

use super::TopicPartition;

/// A failure of the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No such topic or partition is registered.
    #[error("partition {0} is not in the log's registry")]
    UnknownPartition(TopicPartition),
    /// A name that Kafka does not allow for a topic.
    #[error("`{0}` is not a topic name: use 1 to 249 letters, digits, '.', '_' or '-'")]
    TopicName(String),
    /// A topic cannot lose partitions.
    #[error(
        "topic `{name}` has {have} partitions and the contract asks for {want}: partitions can be added, not taken away"
    )]
    FewerPartitions {
        /// The topic.
        name: String,
        /// Partitions in the registry.
        have: u32,
        /// Partitions asked for.
        want: u32,
    },
    /// An offset outside what the log holds.
    #[error("offset {offset} of {partition} is outside the log, which holds {start}..{end}")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: i64,
        /// First offset held.
        start: i64,
        /// Next offset after the last durable one.
        end: i64,
    },
    /// A producer's batch came with a gap or behind what was written.
    #[error("a batch for {partition} begins at sequence {got} where {want} is next")]
    OutOfOrderSequence {
        /// The partition.
        partition: TopicPartition,
        /// Sequence received.
        got: i32,
        /// Sequence expected.
        want: i32,
    },
    /// A producer that this partition has no memory of does not begin at sequence 0.
    #[error("a batch for {0} goes on a producer's sequence that the log does not know")]
    UnknownProducer(TopicPartition),
    /// A newer instance of the same producer has written.
    #[error("a batch for {0} comes from a producer epoch that was replaced")]
    ProducerFenced(TopicPartition),
    /// Too little room on the disk. Goes away by itself when there is room.
    #[error(
        "the disk of the log has {free_bytes} bytes free, below storage.reserve_bytes {reserve_bytes}: free some space; produces are refused until then"
    )]
    DiskFull {
        /// Free now.
        free_bytes: u64,
        /// The reserve.
        reserve_bytes: u64,
    },
    /// A write or a sync failed; nothing of that group was acknowledged.
    #[error("writing {partition} failed, nothing of that group was acknowledged: {reason}")]
    WriteFailed {
        /// The partition.
        partition: TopicPartition,
        /// What the file system said.
        reason: String,
    },
    /// Bytes that had been synced are not what was written.
    #[error(
        "{path}: damaged at byte {position}, after offset {after_offset}: acknowledged records are unreadable; stop vitalake, restore the file, or move the partition's folder away to go on without them, and start it again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
        /// The last offset that reads well before it.
        after_offset: i64,
    },
    /// The registry of topics cannot be read.
    #[error(
        "{path}: the registry of topics is unreadable ({reason}): restore it, or move the log folder away to start anew"
    )]
    Registry {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file system refused.
    #[error("{doing} {path}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The log is closing.
    #[error("the log is closing")]
    Closed,
}

impl LogError {
    /// Whether the same request may succeed later without anyone changing it.
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::WriteFailed { .. } | Self::Closed | Self::Io { .. })
    }

    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}
