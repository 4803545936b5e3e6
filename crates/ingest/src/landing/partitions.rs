//! The partitions of a landing: taken from where the table's transactions are, given up to others, and how far each is.
//!
//! Invariant: a partition goes on at the offset after its last commit, and a record of it that quarantine has from before
//! a crash is not landed again.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use vitalake_lake::TxnId;

use super::rejects::KnownRejects;
use super::same_topic::say_not_kept;
use super::step::PartitionState;
use super::transaction::transaction_id;
use super::{Landing, LandingError, TopicLanding};
use crate::log::TopicPartition;

/// How far a partition has come: kept beside its state, which is away while a step is under way.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    next_offset: i64,
    /// The end of what was there to read when the partition was taken.
    target: i64,
    stop: Option<Stop>,
}

/// A record that breaks a rule of severity fatal: its partition stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The rule's name.
    pub rule: String,
}

impl Stop {
    /// What happened, and what to do.
    #[must_use]
    pub fn sentence(&self, topic: &str) -> String {
        let Self { partition, offset, rule } = self;
        format!(
            "partition {partition} of topic {topic} has stopped at offset {offset}: the record there breaks the fatal \
             rule {rule}. It and what follows it stay in the topic and do not land until the rule or its severity is \
             changed in the contract and the server is started again"
        )
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
    /// One past the last record that has landed.
    pub landed_offset: i64,
    /// One past the last offset that is in a commit.
    pub committed_offset: i64,
}

impl TopicLanding {
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
                None => self.first_offset(id)?,
            };
            let target = self.source.end_offset(id).map_err(failed)?;
            self.progress.lock().insert(number, Progress { next_offset, target, stop: None });
            let known = self.known_rejects(number, landed).await?;
            let counted = self.counted(number, landed);
            states.push(PartitionState::new(&self.rules, self.clock.clone(), id, (next_offset, counted), known));
            starts.push((number, next_offset));
        }
        self.partitions.lock().extend(states);
        self.note_caught_up();
        Ok(starts)
    }

    /// How many records of a partition the commits were offered. A table from before they were counted had one for each
    /// offset.
    fn counted(&self, partition: i32, landed: Option<i64>) -> i64 {
        let counted = self.table.committed_txn(&TxnId::landed_count(self.topic_id.0, partition));
        counted.or(landed.map(|last| last + 1)).unwrap_or(0)
    }

    /// Where a partition begins of which no commit holds anything.
    fn first_offset(&self, id: TopicPartition) -> Result<i64, LandingError> {
        let failed = |source| LandingError::Source { topic: self.topic.clone(), source };
        let start = self.source.start_offset(id).map_err(failed)?;
        if start > 0 {
            tracing::info!(
                topic = %self.topic,
                partition = id.partition,
                start,
                "nothing of this partition is in a commit: the dataset begins at the earliest offset that is there"
            );
        }
        Ok(start)
    }

    /// The transactions under which its partitions land.
    #[must_use]
    pub fn transactions(&self) -> Vec<TxnId> {
        self.progress.lock().keys().map(|partition| transaction_id(self.topic_id, *partition)).collect()
    }

    /// The last offsets of partitions that are in a commit.
    pub(super) fn landed(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
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

    /// Gives all partitions up after committing what came of them: another process goes on with them.
    ///
    /// # Errors
    /// When the last commit fails. What it holds must not be committed later: begin anew from the tables.
    pub async fn give_up_partitions(&self) -> Result<(), LandingError> {
        let _between_steps = self.stepping.lock().await;
        let states = std::mem::take(&mut *self.partitions.lock());
        // The flush tells the source of these partitions still.
        let flushed = self.flush().await;
        self.progress.lock().clear();
        self.told.lock().clear();
        flushed?;
        let txns: Vec<TxnId> = states.into_iter().flat_map(|state| [state.txn, state.count_txn]).collect();
        self.table.forget_transactions(&txns);
        Ok(())
    }

    /// Says in the log which offsets are read and not committed, and will not be: the topic was made anew.
    pub fn say_what_is_not_kept(&self) {
        if self.landing == Landing::Follower {
            return;
        }
        for (partition, progress) in &*self.progress.lock() {
            let committed = self.table.committed_txn(&transaction_id(self.topic_id, *partition));
            let first = committed.map_or(0, |last| last + 1);
            if first < progress.next_offset {
                say_not_kept(&self.topic, *partition, first, progress.next_offset - 1);
            }
        }
    }

    /// Partitions with first offset, end, and the next offset to commit.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let progress = self.progress.lock().clone();
        let position = |(partition, progress): (i32, Progress)| {
            let id = TopicPartition::new(self.topic_id, partition);
            let committed = self.table.committed_txn(&transaction_id(self.topic_id, partition));
            Position {
                partition,
                start_offset: self.source.start_offset(id).unwrap_or(0),
                end_offset: self.source.end_offset(id).unwrap_or(progress.next_offset),
                landed_offset: progress.next_offset,
                committed_offset: committed.map_or(0, |last| last + 1),
            }
        };
        progress.into_iter().map(position).collect()
    }

    /// Partitions that stand before a record which breaks a rule of severity fatal.
    #[must_use]
    pub fn stops(&self) -> Vec<Stop> {
        self.progress.lock().values().filter_map(|progress| progress.stop.clone()).collect()
    }

    /// Records that are there to read and not in the tail yet.
    #[must_use]
    pub fn lag_records(&self) -> u64 {
        let progress = self.progress.lock().clone();
        let behind = |(partition, progress): (&i32, &Progress)| {
            let id = TopicPartition::new(self.topic_id, *partition);
            if self.source.is_at_end(id, progress.next_offset) {
                return 0;
            }
            let end = self.source.end_offset(id).unwrap_or(progress.next_offset);
            u64::try_from(end - progress.next_offset).unwrap_or(0)
        };
        progress.iter().map(behind).sum()
    }

    /// Whether all that is there to read has been taken, but for what lies behind a record that stops its partition.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let progress = self.progress.lock().clone();
        let drained = |(partition, progress): (&i32, &Progress)| {
            let id = TopicPartition::new(self.topic_id, *partition);
            progress.stop.is_some()
                || self.source.is_at_end(id, progress.next_offset)
                || self.source.end_offset(id).is_ok_and(|end| end <= progress.next_offset)
        };
        progress.iter().all(drained)
    }

    /// A step has moved a partition, or stopped it.
    pub(super) fn note_progress(&self, state: &PartitionState) {
        let mut progress = self.progress.lock();
        let Some(progress) = progress.get_mut(&state.id.partition) else { return };
        progress.next_offset = state.next_offset;
        if progress.stop.is_none()
            && let Some((offset, rule)) = &state.stopped
        {
            let stop = Stop { partition: state.id.partition, offset: *offset, rule: rule.clone() };
            tracing::error!("{}", stop.sentence(&self.topic));
            progress.stop = Some(stop);
        }
    }

    /// Caught up once every partition has passed what was there when it was taken, and for good. One that has stopped
    /// holds nobody up.
    pub(super) fn note_caught_up(&self) {
        let passed = |(partition, progress): (&i32, &Progress)| {
            let id = TopicPartition::new(self.topic_id, *partition);
            progress.stop.is_some()
                || progress.next_offset >= progress.target
                || self.source.is_at_end(id, progress.next_offset)
        };
        if !self.is_caught_up() && self.progress.lock().iter().all(passed) {
            self.caught_up.store(true, Ordering::Release);
        }
    }
}
