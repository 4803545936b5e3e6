//! The durable log: what the endpoint accepts, kept as received until landing has committed it.
//!
//! Flow: [`CheckedBatch`] (validated bytes) → [`Log::append`] → a lane's group commit (one write and one fdatasync per
//! partition and group) → durable end moves → [`Log::read`] by fetch and landing → [`Log::landed`] → [`Log::trim`].
//! Invariant: nothing is answered, read or counted before it was synced.

mod batch;
mod builder;
mod commit;
mod entry;
mod error;
mod lz4;
mod metrics;
mod options;
mod partition;
mod producers;
mod queue;
mod records;
mod recovery;
mod registry;
mod retention;
mod rewrite;
mod segment;
mod staged;
mod store;
mod topics;

pub use batch::{BatchError, BatchHeader, CheckedBatch, Compression, HEADER_BYTES as BATCH_HEADER_BYTES};
pub use builder::{BatchBuilder, ProducerSequence};
pub use error::LogError;
pub use metrics::LogMetrics;
pub use options::LogOptions;
pub use partition::{AppendTicket, Appended, StoredBatch};
pub use producers::ONE_BATCH_EPOCH;
pub use records::{DECOMPRESSED_BYTES_MAX, Headers, RecordIter, RecordRef, Records};
pub use recovery::{Damage, PartitionRecovery, RecoveryReport};
pub use registry::{TopicId, TopicInfo, TopicPartition};
pub use retention::Trimmed;
pub use rewrite::{ERASED_HEADER, Instead, Judge, Looked, Rewritten, is_erased, rewrite_log};
pub use store::Log;
