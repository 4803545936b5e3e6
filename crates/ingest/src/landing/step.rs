//! One step of one partition: the next records of its source → rows and rejects.
//!
//! Runs on the CPU runtime. Invariant: a step's rows and rejects are of exactly the offsets that its state moves past,
//! and no state moves past a record that breaks a rule of severity fatal.

use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_lake::{Account, TxnId};
use vitalake_runtime::clock::Clock;

use super::counters::Broken;
use super::offered::Offered;
use super::rejects::{KnownRejects, Reject, offset_of, reject_row};
use super::{LandingError, transaction_id};
use crate::decode::{
    Decoded, Envelope, JsonDecoder, RULE_BATCH, RULE_JSON, RULE_RETENTION, RULE_TOMBSTONE, RecordMeta, Rules,
};
use crate::headers::{self, Header};
use crate::log::{BatchError, Records, StoredBatch, TopicPartition, is_erased};
use crate::source::{FetchedRecord, Item, RecordSource};

/// Bytes of log that one decoding step of a partition takes: large enough that a step's columns are worth their making,
/// small enough that nothing waits long for its turn.
const STEP_BYTES_MAX: usize = 2 << 20;
/// The end of the year 9999: a record's own time beyond it is none.
const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// A partition between its steps.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub(super) id: TopicPartition,
    pub(super) txn: TxnId,
    /// The transaction that counts the records that the partition has offered, and how many those are.
    pub(super) count_txn: TxnId,
    pub(super) counted: i64,
    pub(super) next_offset: i64,
    /// The record that breaks a fatal rule, and the rule: nothing more is read.
    pub(super) stopped: Option<(i64, String)>,
    known: KnownRejects,
    /// The contract's.
    fingerprint: Arc<str>,
    decoder: JsonDecoder,
    /// A record's headers as text, kept for the next one.
    headers: String,
    clock: Clock,
}

impl PartitionState {
    pub(super) fn new(
        rules: &Rules,
        clock: Clock,
        id: TopicPartition,
        (next_offset, counted): (i64, i64),
        known: KnownRejects,
    ) -> Self {
        let (txn, decoder) = (transaction_id(id.topic, id.partition), JsonDecoder::new(rules.clone()));
        let count_txn = TxnId::landed_count(id.topic.0, id.partition);
        let fingerprint = Arc::clone(&rules.contract.fingerprint);
        Self {
            id,
            txn,
            count_txn,
            counted,
            next_offset,
            stopped: None,
            known,
            fingerprint,
            decoder,
            headers: String::new(),
            clock,
        }
    }

    /// What is in quarantine already, for the state that takes this one's place.
    pub(super) fn known(&self) -> KnownRejects {
        Arc::clone(&self.known)
    }

    /// What was decoded did not get into the table: it comes again.
    pub(super) fn return_to(&mut self, offset: i64) {
        (self.next_offset, self.stopped) = (offset, None);
    }

    /// Hands a record to the decoder, unless quarantine has it from before a crash.
    fn append<'h>(
        &mut self,
        offered: &mut Offered,
        record: Arrived<'_>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) {
        if self.known.contains(&record.offset) {
            offered.known(record.offset);
            return;
        }
        let timestamp_ms = record.timestamp_ms.filter(|ms| (0..=TIMESTAMP_MS_MAX).contains(ms));
        let meta = RecordMeta {
            partition: self.id.partition,
            offset: record.offset,
            timestamp_ms,
            // A broker keeps one time for a record: taken as the time of intake too, a replay gives the same row.
            ingested_at_ms: record.appended_at_ms.or(timestamp_ms).unwrap_or_else(|| self.clock.now_ms()),
        };
        let envelope = Envelope { key: record.key, headers: headers::as_json(headers, &mut self.headers) };
        self.decoder.append_with(record.value, envelope, meta);
    }
}

/// A record of either source, but for its headers.
struct Arrived<'a> {
    offset: i64,
    timestamp_ms: Option<i64>,
    /// The log's time, where it has one.
    appended_at_ms: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// What one step of one partition gave.
#[derive(Default)]
pub(super) struct Step {
    pub(super) rows: Vec<RecordBatch>,
    pub(super) rejects: Vec<RecordBatch>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) broken: Broken,
    offered: Offered,
    /// What the partition offered in it.
    pub(super) account: Account,
}

impl Step {
    fn reject(
        &mut self,
        topic: &str,
        partition: i32,
        known: &KnownRejects,
        reject: Reject<'_>,
    ) -> Result<(), LandingError> {
        if !known.contains(&reject.offset) {
            self.broken.unreadable.push((reject.rule, 1));
            self.rejects.push(reject_row(topic, partition, reject)?);
        } else {
            self.offered.known(reject.offset);
        }
        Ok(())
    }

    /// Leaves out what stands at an offset or after it, so far rows that are no record of their own.
    fn leave_from(&mut self, offset: i64) {
        self.rejects.retain(|row| offset_of(row).is_none_or(|at| at < offset));
    }

    fn take(&mut self, decoded: Decoded) {
        for rules in [decoded.warnings, decoded.errors, decoded.fatal] {
            self.broken.rules.extend(rules);
        }
        self.broken.unread.extend(decoded.misfits);
        self.broken.unreadable.extend([(RULE_JSON, decoded.not_json), (RULE_TOMBSTONE, decoded.tombstones)]);
        self.broken.unreadable.retain(|(_, records)| *records > 0);
        for (batches, batch) in [(&mut self.rows, decoded.rows), (&mut self.rejects, decoded.rejects)] {
            batches.extend(Some(batch).filter(|batch| batch.num_rows() > 0));
        }
    }
}

/// The state after a step, and what the step gave.
pub(super) type DecodedStep = (PartitionState, Result<Step, LandingError>);

/// Reads and decodes the next records of a partition; its state moves past them, or stays where it was.
pub(super) fn decode_step(
    source: &dyn RecordSource,
    topic: &str,
    rules: Rules,
    mut state: PartitionState,
) -> DecodedStep {
    match decode_records(source, topic, &mut state) {
        Ok(step) => (state, Ok(step)),
        Err(error) => {
            state.decoder = JsonDecoder::new(rules);
            (state, Err(error))
        }
    }
}

fn decode_records(source: &dyn RecordSource, topic: &str, state: &mut PartitionState) -> Result<Step, LandingError> {
    let (id, from) = (state.id, state.next_offset);
    let (mut step, mut failure) = (Step { offered: Offered::from(from), ..Step::default() }, None);
    let mut next_offset = source
        .read(id, from, STEP_BYTES_MAX, &mut |item| {
            let taken = match item {
                Item::Batch(stored) => take_batch(topic, state, &mut step, stored),
                Item::Record(record) => {
                    take_record(state, &mut step, record);
                    Ok(())
                }
                Item::Gone(first, last) => take_gone(topic, state, &mut step, (first, last)),
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
        let decoded = state.decoder.finish_before_fatal();
        let decoded = decoded.map_err(|source| LandingError::Decode { topic: topic.to_owned(), source })?;
        if let Some((offset, rule)) = &decoded.stopped_at {
            next_offset = *offset;
            step.leave_from(*offset);
            state.stopped = Some((*offset, rule.clone()));
        }
        step.take(decoded);
    }
    step.records = u64::try_from(next_offset - from).unwrap_or(0);
    step.account = Account {
        offered: step.offered.count(from, next_offset),
        quarantined_before: step.offered.known_before(next_offset),
        erased: step.offered.erased_before(next_offset),
        ..Account::default()
    };
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
    step.offered.batch(stored.last_offset);
    let Err((offset, error)) = append_batch(state, &mut step.offered, stored) else { return Ok(()) };
    step.offered.unreadable(offset.max(state.next_offset), stored.last_offset);
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
    let (raw, at_ms, contract) = (&stored.batch, stored.append_time_ms, state.fingerprint.as_ref());
    let reject = Reject { offset, raw, rule: RULE_BATCH, reason, at_ms, contract };
    step.reject(topic, partition, &state.known, reject)
}

fn take_record(state: &mut PartitionState, step: &mut Step, record: FetchedRecord<'_>) {
    step.bytes += record.value.map_or(0, <[u8]>::len) as u64;
    let FetchedRecord { offset, timestamp_ms, key, value, headers } = record;
    let arrived = Arrived { offset, timestamp_ms, appended_at_ms: None, key, value };
    step.offered.record(offset);
    state.append(&mut step.offered, arrived, headers.iter().copied());
}

/// Records that were gone before they could be read: loudly, and in the table's own quarantine.
fn take_gone(
    topic: &str,
    state: &PartitionState,
    step: &mut Step,
    (first, last): (i64, i64),
) -> Result<(), LandingError> {
    let (partition, count) = (state.id.partition, last - first + 1);
    step.offered.gone(first, last);
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
    let (at_ms, contract) = (state.clock.now_ms(), state.fingerprint.as_ref());
    let reject = Reject { offset: last, raw: &[], rule: RULE_RETENTION, reason, at_ms, contract };
    step.reject(topic, partition, &state.known, reject)
}

/// Hands a batch's records to the decoder; an error says from which offset on the batch cannot be read.
fn append_batch(
    state: &mut PartitionState,
    offered: &mut Offered,
    stored: &StoredBatch,
) -> Result<(), (i64, BatchError)> {
    let mut reached = stored.base_offset;
    let records = Records::open(&stored.batch).map_err(|error| (reached, error))?;
    for record in &records {
        let record = record.map_err(|error| (reached, error))?;
        reached = record.offset + 1;
        if record.offset < state.next_offset {
            continue;
        }
        if is_erased(record.value, record.headers) {
            offered.erased(record.offset);
            continue;
        }
        let arrived = Arrived {
            offset: record.offset,
            timestamp_ms: Some(record.timestamp_ms),
            appended_at_ms: Some(stored.append_time_ms),
            key: record.key,
            value: record.value,
        };
        state.append(offered, arrived, record.headers);
    }
    Ok(())
}
