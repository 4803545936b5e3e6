//! One step of one partition: the next records of its source → rows and rejects.
//!
//! Runs on the CPU runtime. Invariant: a step's rows and rejects are of exactly the offsets that its state moves past.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use vitalake_contract::contract::quarantine_schema;
use vitalake_lake::TxnId;

use super::{LandingError, transaction_id};
use crate::decode::{DecodeError, JsonDecoder, RecordMeta, Rules};
use crate::log::{BatchError, Records, StoredBatch, TopicPartition};
use crate::source::{FetchedRecord, Item, Source};

/// Bytes of log that one decoding step of a partition takes: large enough that a step's columns are worth their making,
/// small enough that nothing waits long for its turn.
const STEP_BYTES_MAX: usize = 2 << 20;
/// The end of the year 9999: a record's own time beyond it is none.
const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// Offsets whose records are in quarantine already, from before a crash that came before the commit of their epoch's
/// rows. They stay there, and there alone, whatever the contract says by now.
pub(super) type KnownRejects = Arc<HashSet<i64>>;

/// A partition between its steps.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub(super) id: TopicPartition,
    pub(super) txn: TxnId,
    pub(super) next_offset: i64,
    known: KnownRejects,
    decoder: JsonDecoder,
}

impl PartitionState {
    pub(super) fn new(rules: &Rules, id: TopicPartition, next_offset: i64, known: KnownRejects) -> Self {
        let (txn, decoder) = (transaction_id(id.topic, id.partition), JsonDecoder::new(rules.clone()));
        Self { id, txn, next_offset, known, decoder }
    }

    /// What is in quarantine already, for the state that takes this one's place.
    pub(super) fn known(&self) -> KnownRejects {
        Arc::clone(&self.known)
    }
}

/// What one step of one partition gave.
#[derive(Default)]
pub(super) struct Step {
    pub(super) rows: Vec<RecordBatch>,
    pub(super) rejects: Vec<RecordBatch>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// The state after a step, and what the step gave.
pub(super) type DecodedStep = (PartitionState, Result<Step, LandingError>);

/// Reads and decodes the next records of a partition; its state moves past them, or stays where it was.
pub(super) fn decode_step(source: &dyn Source, topic: &str, rules: Rules, mut state: PartitionState) -> DecodedStep {
    match decode_records(source, topic, &mut state) {
        Ok(step) => (state, Ok(step)),
        Err(error) => {
            state.decoder = JsonDecoder::new(rules);
            (state, Err(error))
        }
    }
}

fn decode_records(source: &dyn Source, topic: &str, state: &mut PartitionState) -> Result<Step, LandingError> {
    let (id, from) = (state.id, state.next_offset);
    let (mut step, mut failure) = (Step::default(), None);
    let next_offset = source
        .read(id, from, STEP_BYTES_MAX, &mut |item| {
            let taken = match item {
                Item::Batch(stored) => take_batch(topic, state, &mut step, stored),
                Item::Record(record) => {
                    take_record(state, &mut step, record);
                    Ok(())
                }
                Item::Gone(first, last) => take_gone(topic, id.partition, &mut step, (first, last)),
            };
            if let Err(error) = taken {
                failure.get_or_insert(error);
            }
        })
        .map_err(|source| LandingError::Source { topic: topic.to_owned(), source })?;
    if let Some(error) = failure {
        return Err(error);
    }
    if state.decoder.records() > 0 {
        let decoded =
            state.decoder.finish().map_err(|source| LandingError::Decode { topic: topic.to_owned(), source })?;
        step.rows.push(decoded.rows);
        step.rejects.push(decoded.rejects);
    }
    for batches in [&mut step.rows, &mut step.rejects] {
        *batches = std::mem::take(batches).into_iter().filter_map(|b| without_known(b, &state.known)).collect();
    }
    step.records = u64::try_from(next_offset - from).unwrap_or(0);
    state.next_offset = next_offset;
    Ok(step)
}

fn take_batch(
    topic: &str,
    state: &mut PartitionState,
    step: &mut Step,
    stored: &StoredBatch,
) -> Result<(), LandingError> {
    step.bytes += stored.batch.len() as u64;
    let Err((offset, error)) = append_batch(state, stored) else { return Ok(()) };
    let partition = state.id.partition;
    let shown: &dyn std::error::Error = &error;
    tracing::error!(
        topic,
        partition,
        offset,
        error = shown,
        "a batch cannot be read: it goes to quarantine from there on"
    );
    let reason = error.to_string();
    let reject = Reject { offset, raw: &stored.batch, rule: "batch", reason, at_ms: stored.append_time_ms };
    step.rejects.push(reject_row(topic, partition, reject)?);
    Ok(())
}

fn take_record(state: &mut PartitionState, step: &mut Step, record: FetchedRecord<'_>) {
    step.bytes += record.value.map_or(0, <[u8]>::len) as u64;
    let timestamp_ms = record.timestamp_ms.filter(|ms| (0..=TIMESTAMP_MS_MAX).contains(ms));
    // The broker keeps one time for a record: taken as the time of intake too, a replay gives the same row.
    let ingested_at_ms = timestamp_ms.unwrap_or_else(now_ms);
    let meta = RecordMeta { partition: state.id.partition, offset: record.offset, timestamp_ms, ingested_at_ms };
    state.decoder.append(record.value, meta);
}

/// Records that were gone before they could be read: loudly, and in the table's own quarantine.
fn take_gone(topic: &str, partition: i32, step: &mut Step, (first, last): (i64, i64)) -> Result<(), LandingError> {
    let count = last - first + 1;
    tracing::error!(
        topic,
        partition,
        first,
        last,
        count,
        "the broker's retention removed records before they were read"
    );
    let reason =
        format!("offsets {first} to {last} ({count}) were removed by the broker's retention before they were read");
    let reject = Reject { offset: last, raw: &[], rule: "retention", reason, at_ms: now_ms() };
    step.rejects.push(reject_row(topic, partition, reject)?);
    Ok(())
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Hands a batch's records to the decoder; an error says from which offset on the batch cannot be read.
fn append_batch(state: &mut PartitionState, stored: &StoredBatch) -> Result<(), (i64, BatchError)> {
    let partition = state.id.partition;
    let mut reached = stored.base_offset;
    let records = Records::open(&stored.batch).map_err(|error| (reached, error))?;
    for record in &records {
        let record = record.map_err(|error| (reached, error))?;
        reached = record.offset + 1;
        if record.offset < state.next_offset {
            continue;
        }
        let timestamp_ms = (0..=TIMESTAMP_MS_MAX).contains(&record.timestamp_ms).then_some(record.timestamp_ms);
        let meta = RecordMeta { partition, offset: record.offset, timestamp_ms, ingested_at_ms: stored.append_time_ms };
        state.decoder.append(record.value, meta);
    }
    Ok(())
}

/// One row of quarantine that is no record of its own.
struct Reject<'a> {
    offset: i64,
    raw: &'a [u8],
    rule: &'static str,
    reason: String,
    at_ms: i64,
}

fn reject_row(topic: &str, partition: i32, reject: Reject<'_>) -> Result<RecordBatch, LandingError> {
    let at = TimestampMicrosecondArray::from(vec![reject.at_ms.saturating_mul(1000)]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryViewArray::from(vec![reject.raw])),
        Arc::new(StringViewArray::from(vec![topic])),
        Arc::new(Int32Array::from(vec![partition])),
        Arc::new(Int64Array::from(vec![reject.offset])),
        Arc::new(StringViewArray::from(vec![reject.rule])),
        Arc::new(StringViewArray::from(vec![reject.reason])),
        Arc::new(at),
    ];
    RecordBatch::try_new(quarantine_schema(), columns).map_err(|source| {
        let source = DecodeError::Build { dataset: topic.to_owned(), source };
        LandingError::Decode { topic: topic.to_owned(), source }
    })
}

/// The rows of a batch whose records are not in quarantine from before a crash.
fn without_known(batch: RecordBatch, known: &HashSet<i64>) -> Option<RecordBatch> {
    if batch.num_rows() == 0 {
        return None;
    }
    let offsets = batch.column_by_name("_offset").and_then(|c| c.as_any().downcast_ref::<Int64Array>());
    if known.is_empty() {
        return Some(batch);
    }
    let Some(offsets) = offsets.filter(|offsets| offsets.iter().flatten().any(|offset| known.contains(&offset))) else {
        return Some(batch);
    };
    let new: BooleanArray = offsets.iter().map(|o| Some(o.is_none_or(|offset| !known.contains(&offset)))).collect();
    filter_record_batch(&batch, &new).ok().filter(|batch| batch.num_rows() > 0)
}
