//! Landing: durable log → rows and rejects → the raw table's tail, and epoch by epoch into Delta.
//!
//! One `TopicLanding` per stream reads its partitions from where the table's transactions say, decodes them on the CPU
//! runtime and appends what they hold. A second loop ends the epochs, commits them and tells the log what may be
//! trimmed. Invariant: a record's rows and rejects enter the table together with the transaction that says so; nothing
//! else remembers what has landed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use vitalake_contract::Contract;
use vitalake_contract::contract::quarantine_schema;
use vitalake_lake::{LakeError, Table};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::error::in_full;

use crate::decode::{DecodeError, JsonDecoder, RecordMeta};
use crate::log::{BatchError, Log, LogError, Records, StoredBatch, TopicId, TopicPartition};

/// Bytes of log that one decoding step of a partition takes: large enough that a step's columns are worth their making,
/// small enough that nothing waits long for its turn.
const STEP_BYTES_MAX: usize = 2 << 20;
/// How long records gather before a step, so that small produces do not each become a batch of their own.
const GATHER: Duration = Duration::from_millis(5);

/// The end of the year 9999: a record's own time beyond it is none.
const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// A failure of landing.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// The log could not be read.
    #[error("topic {topic} could not be read from the log")]
    Log {
        /// The topic's name.
        topic: String,
        /// Why.
        #[source]
        source: LogError,
    },
    /// Records could not be made into columns.
    #[error("records of topic {topic} could not be decoded")]
    Decode {
        /// The topic's name.
        topic: String,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The table refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The CPU runtime ended first.
    #[error("landing of topic {0} was stopped")]
    Stopped(String),
}

/// When epochs end.
#[derive(Clone, Copy, Debug)]
pub struct EpochOptions {
    /// The longest time between two commits of a table that has news.
    pub interval: Duration,
    /// An epoch ends early when its records take so many bytes in the log, so that a restart has little to do again.
    pub log_bytes_max: u64,
}

/// What landing has done, for status and metrics.
#[derive(Debug, Default)]
pub struct LandingCounters {
    /// Records that became rows.
    pub rows: AtomicU64,
    /// Records that became rejects.
    pub rejects: AtomicU64,
    /// Bytes of log that were decoded.
    pub bytes: AtomicU64,
}

#[derive(Debug)]
struct PartitionState {
    id: TopicPartition,
    app_id: String,
    next_offset: i64,
    /// Rejects up to here are in quarantine from before the last crash.
    rejected_through: i64,
    decoder: JsonDecoder,
}

impl PartitionState {
    fn new(table: &Table, id: TopicPartition, next_offset: i64) -> Self {
        let app_id = transaction_id(id.topic, id.partition);
        let rejected_through = table.rejects_txn(&app_id).unwrap_or(-1);
        let decoder = JsonDecoder::new(Arc::clone(table.contract()));
        Self { id, app_id, next_offset, rejected_through, decoder }
    }
}

/// Lands one topic in its table.
#[derive(Debug)]
pub struct TopicLanding {
    log: Arc<Log>,
    table: Arc<Table>,
    topic: String,
    topic_id: TopicId,
    partitions: Mutex<Vec<PartitionState>>,
    cpu: Cpu,
    epoch_bytes: AtomicU64,
    caught_up: AtomicBool,
    counters: LandingCounters,
    troubles: Mutex<[Option<String>; 3]>,
}

/// What may be in trouble, each with a place of its own.
#[derive(Clone, Copy)]
enum Doing {
    Landing,
    WritingEarly,
    Committing,
}

/// What one step of one partition gave.
#[derive(Default)]
struct Step {
    rows: Vec<RecordBatch>,
    rejects: Vec<RecordBatch>,
    records: u64,
    bytes: u64,
}

impl TopicLanding {
    /// Landing of a topic from where its table's transactions are. Tells the log what has landed; call before produces
    /// are taken. Blocking.
    ///
    /// # Errors
    /// When the log does not know the topic's partitions.
    pub fn open(
        log: Arc<Log>,
        table: Arc<Table>,
        topic: &str,
        topic_id: TopicId,
        partitions: u32,
        cpu: Cpu,
    ) -> Result<Self, LandingError> {
        let failed = |source| LandingError::Log { topic: topic.to_owned(), source };
        let mut states = Vec::new();
        for number in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            let id = TopicPartition::new(topic_id, number);
            let landed = table.committed_txn(&transaction_id(topic_id, number));
            if let Some(landed) = landed {
                log.landed(id, landed).map_err(failed)?;
            }
            let next_offset = landed.map_or(0, |l| l + 1).max(log.start_offset(id).map_err(failed)?);
            states.push(PartitionState::new(&table, id, next_offset));
        }
        Ok(Self {
            log,
            table,
            topic: topic.to_owned(),
            topic_id,
            partitions: Mutex::new(states),
            cpu,
            epoch_bytes: AtomicU64::new(0),
            caught_up: AtomicBool::new(false),
            counters: LandingCounters::default(),
            troubles: Mutex::default(),
        })
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The table that it lands in.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> &LandingCounters {
        &self.counters
    }

    /// What fails now and is tried again, with its cause; `None` when all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let troubles = self.troubles.lock();
        [Doing::Landing, Doing::Committing, Doing::WritingEarly]
            .iter()
            .find_map(|doing| troubles.get(*doing as usize)?.clone())
    }

    fn note(&self, doing: Doing, error: Option<&(dyn std::error::Error + 'static)>) {
        let said = error.map(in_full);
        if let Some(place) = self.troubles.lock().get_mut(doing as usize) {
            *place = said;
        }
    }

    /// Whether everything that was durable at start has been taken over.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Durable records that are not in the tail yet.
    #[must_use]
    pub fn lag_records(&self) -> u64 {
        let behind =
            |id: TopicPartition, next: i64| u64::try_from(self.log.durable_end(id).unwrap_or(next) - next).unwrap_or(0);
        self.partitions.lock().iter().map(|p| behind(p.id, p.next_offset)).sum()
    }

    /// Lands what comes until the task is dropped. A failure is said and tried again: nothing of the log is skipped.
    pub async fn run(self: Arc<Self>) {
        let Some(mut news) = self.log.watch(self.topic_id) else { return };
        let mut wait = Duration::from_millis(50);
        loop {
            news.borrow_and_update();
            match self.step().await {
                Ok(0) => {
                    self.note(Doing::Landing, None);
                    self.caught_up.store(true, Ordering::Release);
                    if news.changed().await.is_err() {
                        return;
                    }
                    tokio::time::sleep(GATHER).await;
                }
                Ok(_) => {
                    wait = Duration::from_millis(50);
                    self.table.wait_for_room().await;
                }
                Err(error) => {
                    self.note(Doing::Landing, Some(&error));
                    tracing::error!(topic = %self.topic, error = &error as &dyn std::error::Error, "landing stopped and will be tried again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// One step over all partitions that have news; answers how many records it took.
    ///
    /// # Errors
    /// When a partition cannot be read or decoded; what other partitions gave has landed.
    pub async fn step(&self) -> Result<u64, LandingError> {
        let states = std::mem::take(&mut *self.partitions.lock());
        let mut steps: FuturesUnordered<_> = states.into_iter().map(|state| self.step_partition(state)).collect();
        let (mut records, mut failure) = (0, None);
        while let Some((state, outcome)) = steps.next().await {
            match outcome {
                Ok(count) => records += count,
                Err(error) => failure = Some(error),
            }
            self.partitions.lock().push(state);
        }
        failure.map_or(Ok(records), Err)
    }

    async fn step_partition(&self, state: PartitionState) -> (PartitionState, Result<u64, LandingError>) {
        let end = self.log.durable_end(state.id).unwrap_or(state.next_offset);
        if end <= state.next_offset {
            return (state, Ok(0));
        }
        let (id, from) = (state.id, state.next_offset);
        let (log, topic, contract) = (Arc::clone(&self.log), self.topic.clone(), Arc::clone(self.table.contract()));
        let Ok((state, outcome)) = self.cpu.run(move || decode_step(&log, &topic, &contract, state)).await else {
            return (PartitionState::new(&self.table, id, from), Err(LandingError::Stopped(self.topic.clone())));
        };
        match outcome {
            Err(error) => (state, Err(error)),
            Ok(step) => self.take_in(state, step, from),
        }
    }

    /// Appends what a step gave; on refusal the partition goes back to where the step began.
    fn take_in(&self, mut state: PartitionState, step: Step, from: i64) -> (PartitionState, Result<u64, LandingError>) {
        let count = |batches: &[RecordBatch]| batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        let (rows, rejects) = (count(&step.rows), count(&step.rejects));
        let txn = (state.app_id.clone(), state.next_offset - 1);
        if let Err(error) = self.table.append(step.rows, step.rejects, [txn]) {
            state.next_offset = from;
            return (state, Err(error.into()));
        }
        self.counters.rows.fetch_add(rows, Ordering::Relaxed);
        self.counters.rejects.fetch_add(rejects, Ordering::Relaxed);
        self.counters.bytes.fetch_add(step.bytes, Ordering::Relaxed);
        self.epoch_bytes.fetch_add(step.bytes, Ordering::AcqRel);
        (state, Ok(step.records))
    }

    /// Writes early what does not fit in memory, until dropped.
    pub async fn write_early_forever(self: Arc<Self>) {
        let mut moved = self.table.watch();
        loop {
            moved.borrow_and_update();
            match self.table.write_early().await {
                Ok(true) => self.note(Doing::WritingEarly, None),
                Ok(false) => {
                    if moved.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.note(Doing::WritingEarly, Some(&error));
                    tracing::warn!(topic = %self.topic, error = &error as &dyn std::error::Error, "rows stay in memory: they could not be written early");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Ends epochs and commits them, until dropped. While the store is away the tail fills and landing waits.
    pub async fn commit_forever(self: Arc<Self>, options: EpochOptions) {
        let mut last = tokio::time::Instant::now();
        let mut moved = self.table.watch();
        loop {
            let due = last + options.interval;
            while tokio::time::Instant::now() < due && self.epoch_bytes.load(Ordering::Acquire) < options.log_bytes_max
            {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    changed = moved.changed() => if changed.is_err() { return },
                }
            }
            last = tokio::time::Instant::now();
            let outcome = self.flush().await;
            self.note(Doing::Committing, outcome.as_ref().err().map(|error| error as _));
            if let Err(error) = outcome {
                tracing::warn!(topic = %self.topic, error = &error as &dyn std::error::Error, "a commit will be tried again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// Commits what has landed and tells the log. `None` when there was nothing new.
    ///
    /// # Errors
    /// When the commit fails; the epoch stays sealed and visible, and the next call goes on with it.
    pub async fn flush(&self) -> Result<Option<i64>, LandingError> {
        self.epoch_bytes.store(0, Ordering::Release);
        let version = self.table.flush().await?;
        if version.is_none() {
            return Ok(None);
        }
        let (log, table, topic) = (Arc::clone(&self.log), Arc::clone(&self.table), self.topic_id);
        let name = self.topic.clone();
        let told = self.cpu.run(move || tell_log(&log, &table, topic)).await;
        match told {
            Ok(Ok(())) => Ok(version),
            Ok(Err(source)) => Err(LandingError::Log { topic: name, source }),
            Err(_) => Err(LandingError::Stopped(name)),
        }
    }
}

/// The `txn` application id of a partition's landing.
#[must_use]
pub fn transaction_id(topic: TopicId, partition: i32) -> String {
    format!("vitalake/{topic}/{partition}")
}

fn tell_log(log: &Log, table: &Table, topic: TopicId) -> Result<(), LogError> {
    let Some(info) = log.topic_by_id(topic) else { return Ok(()) };
    for number in 0..i32::try_from(info.partitions).unwrap_or(i32::MAX) {
        if let Some(landed) = table.committed_txn(&transaction_id(topic, number)) {
            log.landed(TopicPartition::new(topic, number), landed)?;
        }
    }
    log.trim().map(|_| ())
}

type DecodedStep = (PartitionState, Result<Step, LandingError>);

/// Reads and decodes the next records of a partition; its state moves past them, or stays where it was.
fn decode_step(log: &Log, topic: &str, contract: &Arc<Contract>, mut state: PartitionState) -> DecodedStep {
    match decode_batches(log, topic, &mut state) {
        Ok(step) => (state, Ok(step)),
        Err(error) => {
            state.decoder = JsonDecoder::new(Arc::clone(contract));
            (state, Err(error))
        }
    }
}

fn decode_batches(log: &Log, topic: &str, state: &mut PartitionState) -> Result<Step, LandingError> {
    let failed = |source| LandingError::Log { topic: topic.to_owned(), source };
    let batches = log.read(state.id, state.next_offset, STEP_BYTES_MAX).map_err(failed)?;
    let mut step = Step::default();
    let mut next_offset = state.next_offset;
    for stored in &batches {
        step.bytes += stored.batch.len() as u64;
        if let Err((offset, error)) = append_batch(state, stored) {
            tracing::error!(
                topic,
                partition = state.id.partition,
                offset,
                error = &error as &dyn std::error::Error,
                "a batch cannot be read: it goes to quarantine from there on"
            );
            step.rejects.push(reject_batch(topic, state.id.partition, offset, stored, &error)?);
        }
        next_offset = stored.last_offset + 1;
    }
    if state.decoder.records() > 0 {
        let decoded =
            state.decoder.finish().map_err(|source| LandingError::Decode { topic: topic.to_owned(), source })?;
        step.rows.push(decoded.rows);
        step.rejects.push(decoded.rejects);
    }
    step.rejects = step.rejects.into_iter().filter_map(|r| without_known(r, state.rejected_through)).collect();
    step.records = u64::try_from(next_offset - state.next_offset).unwrap_or(0);
    state.next_offset = next_offset;
    Ok(step)
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

/// A batch that cannot be taken apart, as one reject with the bytes of the whole batch.
fn reject_batch(
    topic: &str,
    partition: i32,
    offset: i64,
    stored: &StoredBatch,
    error: &BatchError,
) -> Result<RecordBatch, LandingError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryViewArray::from(vec![stored.batch.as_ref()])),
        Arc::new(StringViewArray::from(vec![topic])),
        Arc::new(Int32Array::from(vec![partition])),
        Arc::new(Int64Array::from(vec![offset])),
        Arc::new(StringViewArray::from(vec!["batch"])),
        Arc::new(StringViewArray::from(vec![error.to_string()])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![stored.append_time_ms.saturating_mul(1000)]).with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(quarantine_schema(), columns).map_err(|source| {
        let source = DecodeError::Build { dataset: topic.to_owned(), source };
        LandingError::Decode { topic: topic.to_owned(), source }
    })
}

/// Rejects that are not in quarantine from before a crash.
fn without_known(rejects: RecordBatch, rejected_through: i64) -> Option<RecordBatch> {
    if rejects.num_rows() == 0 {
        return None;
    }
    let Some(offsets) = rejects.column_by_name("_offset").and_then(|c| c.as_any().downcast_ref::<Int64Array>()) else {
        return Some(rejects);
    };
    if offsets.iter().flatten().all(|offset| offset > rejected_through) {
        return Some(rejects);
    }
    let new: BooleanArray =
        (0..offsets.len()).map(|i| Some(offsets.is_null(i) || offsets.value(i) > rejected_through)).collect();
    filter_record_batch(&rejects, &new).ok().filter(|batch| batch.num_rows() > 0)
}
