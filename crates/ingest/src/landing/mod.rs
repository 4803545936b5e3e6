//! Landing: a source of records (the durable log or a broker) → rows and rejects → the raw table's tail, and epoch by
//! epoch into Delta.
//!
//! One `TopicLanding` per stream reads its partitions from where the table's transactions say, decodes them on the CPU
//! runtime and appends what they hold. A second loop ends the epochs, commits them and tells the log what may be
//! trimmed. Invariant: a record's rows and rejects enter the table together with the transaction that says so; nothing
//! else remembers what has landed. `step` is what happens to the records themselves.

mod same_topic;
mod step;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use vitalake_contract::check::SqlRules;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{LakeError, Table, TxnId};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::error::in_full;

use crate::decode::{DecodeError, Rules};
use crate::log::{TopicId, TopicPartition};
use crate::source::{Source, SourceError};

use same_topic::{SameTopic, say_not_kept};
use step::{KnownRejects, PartitionState, Step, decode_step};

/// How long records gather before a step, so that small produces do not each become a batch of their own.
const GATHER: Duration = Duration::from_millis(5);

/// A failure of landing.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// Records could not be read.
    #[error("topic {topic} could not be read")]
    Source {
        /// The topic's name.
        topic: String,
        /// Why.
        #[source]
        source: SourceError,
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

/// How far a partition has come: kept beside its state, which is away while a step is under way.
#[derive(Clone, Copy, Debug)]
struct Reached {
    next_offset: i64,
    /// The end of what was there to read when the partition was taken.
    target: i64,
}

/// Whether this process commits what it lands, or another does and this one only shows it sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Rows and rejects are committed here.
    Owner,
    /// Rows are shown until their owner has committed them.
    Follower,
}

/// Lands one topic in its table.
#[derive(Debug)]
pub struct TopicLanding {
    source: Arc<dyn Source>,
    table: Arc<Table>,
    topic: String,
    topic_id: TopicId,
    landing: Landing,
    rules: Rules,
    partitions: Mutex<Vec<PartitionState>>,
    reached: Mutex<BTreeMap<i32, Reached>>,
    /// Held for the length of a step, so that partitions come and go between steps.
    stepping: tokio::sync::Mutex<()>,
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

impl TopicLanding {
    /// Landing of a topic, without partitions yet.
    #[must_use]
    pub fn new(
        source: Arc<dyn Source>,
        table: Arc<Table>,
        sql: Option<Arc<dyn SqlRules>>,
        topic: &str,
        topic_id: TopicId,
        landing: Landing,
        cpu: Cpu,
    ) -> Self {
        let rules = Rules::new(Arc::clone(table.contract()), sql);
        Self {
            source,
            table,
            topic: topic.to_owned(),
            topic_id,
            landing,
            rules,
            partitions: Mutex::default(),
            reached: Mutex::default(),
            stepping: tokio::sync::Mutex::new(()),
            cpu,
            epoch_bytes: AtomicU64::new(0),
            caught_up: AtomicBool::new(false),
            counters: LandingCounters::default(),
            troubles: Mutex::default(),
        }
    }

    /// Takes partitions from where the table's transactions are, and gives the offsets at which they go on. Tells the
    /// source what has landed; where that is the embedded log, call before produces are taken. Blocks on the source.
    ///
    /// # Errors
    /// When the source does not know a partition, or quarantine cannot be read.
    pub async fn take_partitions(
        &self,
        numbers: impl IntoIterator<Item = i32>,
    ) -> Result<Vec<(i32, i64)>, LandingError> {
        let failed = |source| LandingError::Source { topic: self.topic.clone(), source };
        let numbers: Vec<i32> = numbers.into_iter().collect();
        if self.landing == Landing::Owner {
            self.source.committed(self.topic_id, &self.landed(&numbers)).map_err(failed)?;
        }
        let (mut states, mut starts) = (Vec::new(), Vec::new());
        for number in numbers {
            let id = TopicPartition::new(self.topic_id, number);
            let landed = self.table.committed_txn(&transaction_id(self.topic_id, number));
            // What a broker's retention has passed is found, and said, when it is read.
            let next_offset = match landed {
                Some(landed) => landed + 1,
                None => {
                    let start = self.source.start_offset(id).map_err(failed)?;
                    if start > 0 {
                        tracing::info!(
                            topic = %self.topic,
                            partition = number,
                            start,
                            "nothing of this partition is in a commit: the dataset begins at the earliest offset that is there"
                        );
                    }
                    start
                }
            };
            let target = self.source.end_offset(id).map_err(failed)?;
            self.reached.lock().insert(number, Reached { next_offset, target });
            let known = self.known_rejects(number, landed).await?;
            states.push(PartitionState::new(&self.rules, id, next_offset, known));
            starts.push((number, next_offset));
        }
        self.partitions.lock().extend(states);
        self.look_whether_caught_up();
        Ok(starts)
    }

    /// The last offsets of partitions that are in a commit.
    fn landed(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let last = |p: &i32| Some((*p, self.table.committed_txn(&transaction_id(self.topic_id, *p))?));
        partitions.iter().filter_map(last).collect()
    }

    /// Rejects of a range whose rows are not committed: a crash came between the two commits.
    async fn known_rejects(&self, partition: i32, landed: Option<i64>) -> Result<KnownRejects, LandingError> {
        let txn = transaction_id(self.topic_id, partition);
        let ahead = self.table.rejects_txn(&txn).is_some_and(|rejected| landed.is_none_or(|l| l < rejected));
        if !ahead || self.landing == Landing::Follower {
            return Ok(KnownRejects::default());
        }
        let mut known = HashSet::new();
        for batch in self.table.rejects_since(&txn).await? {
            let partitions = batch.column_by_name("_partition").and_then(|c| c.as_primitive_opt::<Int32Type>());
            let offsets = batch.column_by_name("_offset").and_then(|c| c.as_primitive_opt::<Int64Type>());
            let topics = batch.column_by_name("_topic").and_then(|c| c.as_string_view_opt());
            let (Some(partitions), Some(offsets), Some(topics)) = (partitions, offsets, topics) else { continue };
            let places = partitions.iter().zip(topics.iter()).zip(offsets);
            let ours = places.filter(|(place, _)| *place == (Some(partition), Some(self.topic.as_str())));
            known.extend(ours.filter_map(|(_, offset)| offset).filter(|o| landed.is_none_or(|l| *o > l)));
        }
        Ok(KnownRejects::new(known))
    }

    /// Has each commit wait for the source to say that the topic is still the one of this id.
    pub fn ask_before_commits(&self) {
        let same_topic = SameTopic::new(Arc::clone(&self.source), self.topic.clone(), self.topic_id);
        self.table.check_source(Arc::new(same_topic));
    }

    /// Says in the log which offsets are read and not committed, and will not be: the topic was made anew.
    pub fn say_what_is_not_kept(&self) {
        if self.landing == Landing::Follower {
            return;
        }
        for (partition, reached) in &*self.reached.lock() {
            let committed = self.table.committed_txn(&transaction_id(self.topic_id, *partition));
            let first = committed.map_or(0, |last| last + 1);
            if first < reached.next_offset {
                say_not_kept(&self.topic, *partition, first, reached.next_offset - 1);
            }
        }
    }

    /// Gives all partitions up after committing what came of them: another process goes on with them.
    ///
    /// # Errors
    /// When the last commit fails. What it holds must not be committed later: begin anew from the tables.
    pub async fn give_up_partitions(&self) -> Result<(), LandingError> {
        let _between_steps = self.stepping.lock().await;
        let states = std::mem::take(&mut *self.partitions.lock());
        self.reached.lock().clear();
        self.flush().await?;
        let txns: Vec<TxnId> = states.into_iter().map(|state| state.txn).collect();
        self.table.forget_transactions(&txns);
        Ok(())
    }

    /// Partitions with first offset, end, and the next offset to commit.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let reached = self.reached.lock().clone();
        let position = |(partition, reached): (i32, Reached)| {
            let id = TopicPartition::new(self.topic_id, partition);
            let committed = self.table.committed_txn(&transaction_id(self.topic_id, partition));
            Position {
                partition,
                start_offset: self.source.start_offset(id).unwrap_or(0),
                end_offset: self.source.end_offset(id).unwrap_or(reached.next_offset),
                committed_offset: committed.map_or(0, |last| last + 1),
            }
        };
        reached.into_iter().map(position).collect()
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
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

    /// Records that are there to read and not in the tail yet.
    #[must_use]
    pub fn lag_records(&self) -> u64 {
        let reached = self.reached.lock().clone();
        let behind = |(partition, reached): (&i32, &Reached)| {
            let id = TopicPartition::new(self.topic_id, *partition);
            if self.source.is_at_end(id, reached.next_offset) {
                return 0;
            }
            let end = self.source.end_offset(id).unwrap_or(reached.next_offset);
            u64::try_from(end - reached.next_offset).unwrap_or(0)
        };
        reached.iter().map(behind).sum()
    }

    /// Caught up once every partition has passed what was there when it was taken, and for good.
    fn look_whether_caught_up(&self) {
        let passed = |(partition, reached): (&i32, &Reached)| {
            let id = TopicPartition::new(self.topic_id, *partition);
            reached.next_offset >= reached.target || self.source.is_at_end(id, reached.next_offset)
        };
        if !self.is_caught_up() && self.reached.lock().iter().all(passed) {
            self.caught_up.store(true, Ordering::Release);
        }
    }

    /// Lands what comes until the task is dropped. A failure is said and tried again: nothing of the log is skipped.
    pub async fn run(self: Arc<Self>) {
        let Some(mut news) = self.source.watch(self.topic_id) else { return };
        let mut wait = Duration::from_millis(50);
        loop {
            news.borrow_and_update();
            let stepped = self.step().await;
            self.look_whether_caught_up();
            match stepped {
                Ok(0) => {
                    self.note(Doing::Landing, None);
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
        let _between_steps = self.stepping.lock().await;
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
        if self.source.is_at_end(state.id, state.next_offset) {
            return (state, Ok(0));
        }
        let (id, from, known) = (state.id, state.next_offset, state.known());
        let (source, topic, rules) = (Arc::clone(&self.source), self.topic.clone(), self.rules.clone());
        let decoding = self.cpu.run(move || decode_step(source.as_ref(), &topic, rules, state));
        let Ok((state, outcome)) = decoding.await else {
            let state = PartitionState::new(&self.rules, id, from, known);
            return (state, Err(LandingError::Stopped(self.topic.clone())));
        };
        match outcome {
            Err(error) => (state, Err(error)),
            Ok(step) => self.take_in(state, step, from),
        }
    }

    /// Appends what a step gave; on refusal the partition goes back to where the step began.
    fn take_in(&self, mut state: PartitionState, step: Step, from: i64) -> (PartitionState, Result<u64, LandingError>) {
        if state.next_offset == from {
            return (state, Ok(0));
        }
        let count = |batches: &[RecordBatch]| batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        let (rows, rejects) = (count(&step.rows), count(&step.rejects));
        let txn = (state.txn.clone(), state.next_offset - 1);
        let appended = match self.landing {
            Landing::Owner => self.table.append(step.rows, step.rejects, [txn]).map(|_| ()),
            Landing::Follower => {
                let topic = self.topic_id;
                self.table.append_uncovered(step.rows, step.rejects, &|head, batch| uncovered(topic, head, batch))
            }
        };
        if let Err(error) = appended {
            state.next_offset = from;
            return (state, Err(error.into()));
        }
        if let Some(reached) = self.reached.lock().get_mut(&state.id.partition) {
            reached.next_offset = state.next_offset;
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
        let partitions: Vec<i32> = self.reached.lock().keys().copied().collect();
        let last_offsets = self.landed(&partitions);
        let (source, topic, name) = (Arc::clone(&self.source), self.topic_id, self.topic.clone());
        let told = self.cpu.run(move || source.committed(topic, &last_offsets)).await;
        match told {
            Ok(Ok(())) => Ok(version),
            Ok(Err(source)) => Err(LandingError::Source { topic: name, source }),
            Err(_) => Err(LandingError::Stopped(name)),
        }
    }

    /// Takes over what the table's owner has committed; says whether there was anything. A failure is noted and will be
    /// tried again with the next call.
    pub async fn follow(&self) -> bool {
        let topic = self.topic_id;
        let followed = self.table.follow(&|head, batch| uncovered(topic, head, batch)).await;
        self.note(Doing::Committing, followed.as_ref().err().map(|error| error as _));
        followed.unwrap_or(false)
    }
}

/// One partition's offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition's number.
    pub partition: i32,
    /// The first offset that can still be read.
    pub start_offset: i64,
    /// One past the last record.
    pub end_offset: i64,
    /// One past the last offset that is in a commit.
    pub committed_offset: i64,
}

/// The transaction of a partition's landing.
#[must_use]
pub fn transaction_id(topic: TopicId, partition: i32) -> TxnId {
    TxnId::landing(topic.0, partition)
}

/// The rows of a batch that a version of the table does not hold: beyond its transaction of their partition.
fn uncovered(topic: TopicId, head: &Snapshot, batch: &RecordBatch) -> Option<RecordBatch> {
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
