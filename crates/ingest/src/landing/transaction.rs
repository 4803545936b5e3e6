//! Landing's transactions in the Delta log: `vitalake/{topic_id}/{partition}`, the version its last offset included.
//!
//! Invariant: a row whose partition's transaction is at or past its offset is in a commit.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use vitalake_lake::TxnId;
use vitalake_lake::delta::Snapshot;

use crate::log::TopicId;

/// The transaction of a partition's landing.
#[must_use]
pub fn transaction_id(topic: TopicId, partition: i32) -> TxnId {
    TxnId::landing(topic.0, partition)
}

/// The rows of a batch that a version of the table does not hold: beyond its transaction of their partition.
pub(super) fn uncovered(topic: TopicId, head: &Snapshot, batch: &RecordBatch) -> Option<RecordBatch> {
    let partitions = batch.column_by_name("_partition")?.as_any().downcast_ref::<Int32Array>()?;
    let offsets = batch.column_by_name("_offset")?.as_any().downcast_ref::<Int64Array>()?;
    let mut known: BTreeMap<i32, i64> = BTreeMap::new();
    let keep: BooleanArray = partitions
        .values()
        .iter()
        .zip(offsets.values())
        .map(|(partition, offset)| {
            let last =
                *known.entry(*partition).or_insert_with(|| head.txn(transaction_id(topic, *partition)).unwrap_or(-1));
            Some(*offset > last)
        })
        .collect();
    if keep.true_count() == batch.num_rows() {
        return Some(batch.clone());
    }
    filter_record_batch(batch, &keep).ok().filter(|batch| batch.num_rows() > 0)
}
