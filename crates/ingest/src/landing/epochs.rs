//! Epochs of a topic's table: rows that do not fit in memory are written early, epochs end by time or size, are
//! committed, and the source is told what may go.
//!
//! Invariant: the source is told of an offset only when a commit holds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vitalake_lake::LakeError;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::Event;

use super::transaction::uncovered;
use super::{Doing, Landing, LandingError, TopicLanding};

/// How long an epoch whose books do not balance is left: only a person mends that.
const UNBALANCED_AGAIN: Duration = Duration::from_secs(60);

/// When epochs end.
#[derive(Clone, Copy, Debug)]
pub struct EpochOptions {
    /// The longest time between two commits of a table that has news.
    pub interval: Duration,
    /// An epoch ends early when its records take so many bytes in the log, so that a restart has little to do again.
    pub log_bytes_max: u64,
}

impl TopicLanding {
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
            if self.unbalanced().is_some() {
                // It was said by the table; trying again changes nothing.
                tokio::time::sleep(UNBALANCED_AGAIN).await;
            } else if let Err(error) = outcome {
                tracing::warn!(topic = %self.topic, error = &error as &dyn std::error::Error, "a commit will be tried again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// Commits what has landed and tells the source what it has not been told. `None` when there was nothing to commit.
    ///
    /// # Errors
    /// When the commit fails: the epoch stays sealed and visible, and the next call goes on with it. When the source
    /// fails: what it is to be told is told with the next call, also when nothing has come since.
    pub async fn flush(&self) -> Result<Option<i64>, LandingError> {
        self.epoch_bytes.store(0, Ordering::Release);
        let flushed = self.table.flush().await;
        let unbalanced = flushed.as_ref().err().filter(|error| matches!(error, LakeError::Unbalanced { .. }));
        *self.unbalanced.lock() = unbalanced.map(|error| in_full(error));
        let version = flushed?;
        if self.landing == Landing::Follower {
            return Ok(version);
        }
        if let Some(version) = version {
            self.tell_unread(version);
        }
        let partitions: Vec<i32> = self.progress.lock().keys().copied().collect();
        let last_offsets = self.landed(&partitions);
        if *self.told.lock() == last_offsets {
            return Ok(version);
        }
        let tells = last_offsets.clone();
        let (source, topic, name) = (Arc::clone(&self.source), self.topic_id, self.topic.clone());
        let told = self.cpu.run(move || source.committed(topic, &tells)).await;
        match told {
            Ok(Ok(())) => {
                *self.told.lock() = last_offsets;
                Ok(version)
            }
            Ok(Err(source)) => Err(LandingError::Source { topic: name, source }),
            Err(_) => Err(LandingError::Stopped(name)),
        }
    }

    /// Tells how many values of each column could not be read, of what a commit holds.
    fn tell_unread(&self, version: i64) {
        let contract = self.table.contract();
        let scope: Arc<str> = format!("commit {version}").into();
        for (column, values) in self.counters.take_unread() {
            let Some(column) = contract.columns.get(column) else { continue };
            let dataset = contract.dataset.as_str().into();
            self.table.events().send(Event::unread(dataset, &column.name, Arc::clone(&scope), values));
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
