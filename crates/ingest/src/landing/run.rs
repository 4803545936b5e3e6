//! The loop that lands: waits for records, steps over all partitions, appends what each step gave.
//!
//! Invariant: a partition that a step could not land stays where the step began; the others go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::stream::{FuturesUnordered, StreamExt};

use vitalake_runtime::events::Event;
use vitalake_runtime::steps::Step as TracedStep;

use super::step::{PartitionState, Step, decode_step};
use super::transaction::uncovered;
use super::{Doing, Landing, LandingError, TopicLanding};

/// How long records gather before a step, so that small produces do not each become a batch of their own.
const GATHER: Duration = Duration::from_millis(5);

impl TopicLanding {
    /// Lands what comes until the task is dropped. A failure is said and tried again: nothing of the log is skipped.
    pub async fn run(self: Arc<Self>) {
        let Some(mut news) = self.source.watch(self.topic_id) else { return };
        let mut wait = Duration::from_millis(50);
        loop {
            news.borrow_and_update();
            let stepped = self.step().await;
            self.note_caught_up();
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
        if state.stopped.is_some() || self.source.is_at_end(state.id, state.next_offset) {
            return (state, Ok(0));
        }
        let (id, from, known) = (state.id, (state.next_offset, state.counted), state.known());
        let (source, topic, rules) = (Arc::clone(&self.source), self.topic.clone(), self.rules.clone());
        let began = Instant::now();
        let decoding = self.cpu.run(move || decode_step(source.as_ref(), &topic, rules, state));
        let Ok((state, outcome)) = decoding.await else {
            let state = PartitionState::new(&self.rules, self.clock.clone(), id, from, known);
            return (state, Err(LandingError::Stopped(self.topic.clone())));
        };
        match outcome {
            Err(error) => (state, Err(error)),
            Ok(step) => {
                let counts = (count(&step.rows), count(&step.rejects));
                let (state, taken) = self.take_in(state, step, from.0);
                if taken.is_ok() && state.next_offset > from.0 {
                    self.tell_traces(&state, counts, began.elapsed());
                }
                (state, taken)
            }
        }
    }

    /// Tells whoever follows batches that records have become visible.
    fn tell_traces(&self, state: &PartitionState, (rows, rejects): (u64, u64), took: Duration) {
        let events = self.table.events();
        if events.following().is_any() {
            events.send(Event::Step(TracedStep::Landed {
                partition: state.txn.as_str().into(),
                dataset: self.table.contract().dataset.as_str().into(),
                through: state.next_offset - 1,
                rows,
                rejects,
                took,
            }));
        }
    }

    /// Appends what a step gave; on refusal the partition goes back to where the step began.
    fn take_in(&self, mut state: PartitionState, step: Step, from: i64) -> (PartitionState, Result<u64, LandingError>) {
        let (rows, rejects) = (count(&step.rows), count(&step.rejects));
        if state.next_offset > from {
            let counted = state.counted + step.account.offered;
            let txns = [(state.txn.clone(), state.next_offset - 1), (state.count_txn.clone(), counted)];
            let appended = match self.landing {
                Landing::Owner => self.table.append_accounted(step.rows, step.rejects, txns, step.account).map(|_| ()),
                Landing::Follower => {
                    let topic = self.topic_id;
                    self.table.append_uncovered(step.rows, step.rejects, &|head, batch| uncovered(topic, head, batch))
                }
            };
            if let Err(error) = appended {
                state.return_to(from);
                return (state, Err(error.into()));
            }
            state.counted = counted;
        }
        self.note_progress(&state);
        self.counters.rows.fetch_add(rows, Ordering::Relaxed);
        self.counters.rejects.fetch_add(rejects, Ordering::Relaxed);
        self.counters.bytes.fetch_add(step.bytes, Ordering::Relaxed);
        self.counters.count(&step.broken);
        self.epoch_bytes.fetch_add(step.bytes, Ordering::AcqRel);
        (state, Ok(step.records))
    }
}

fn count(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}
