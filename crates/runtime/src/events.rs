//! What happened, as typed events: commits, runs of models, checks, deliveries, queries.
//!
//! Whoever does something sends it and goes on; one reader makes metrics of the events, and rows where they are kept.
//! Invariant: sending never waits. An event that finds the channel full is dropped, and the drop is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::steps::{Following, Step};

/// How many events may wait for their reader.
const WAITING_MAX: usize = 4096;

/// What was decided about a delivered file, with counts and words of ours alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryTold {
    /// The dataset.
    pub dataset: Arc<str>,
    /// Where it stands now: `loaded`, `known`, `held`, `released`, `rejected`, `superseded` or `refused`.
    pub state: &'static str,
    /// What it is or was held as.
    pub held: Option<Arc<str>>,
    /// The feed that brought it.
    pub feed: Option<Arc<str>>,
    /// The day that it stands for, as `yyyy-mm-dd`.
    pub business_date: Option<Arc<str>>,
    /// Its number, where it has one.
    pub delivery: Option<u64>,
    /// The delivery that it took the place of.
    pub corrects: Option<u64>,
    /// The content's SHA-256, in hex.
    pub sha256: Option<Arc<str>>,
    /// Records in it; none where it was not read to its end.
    pub offered: Option<u64>,
    /// Rows that entered the dataset.
    pub accepted: u64,
    /// Rows that went to quarantine.
    pub quarantined: u64,
    /// Records that were there already.
    pub duplicate: u64,
    /// When it began to come, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// Who has decided, where a person has.
    pub actor: Option<Arc<str>>,
    /// From the first byte, or from the decision, to the answer.
    pub took: Duration,
    /// Whether the ledger has it already: then it only counts.
    pub kept: bool,
}

impl DeliveryTold {
    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.state == "refused" { Outcome::Failed } else { Outcome::Done }
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As it was meant to.
    Done,
    /// It failed and is tried again by itself.
    Retried,
    /// It was refused or failed for good.
    Failed,
}

impl Outcome {
    /// Its name as a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Failed => "failed",
        }
    }
}

/// One thing that happened. Names and counts alone, never a record's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A table's commit.
    Commit {
        /// The table, as `layer.dataset`.
        table: Arc<str>,
        /// How it ended.
        outcome: Outcome,
        /// The version that it made.
        version: Option<u64>,
        /// Rows of the files that it added.
        rows: u64,
        /// Why it did not take place: `user`, `external` or `internal`, as errors are classed.
        error: Option<&'static str>,
        /// How long it took.
        took: Duration,
    },
    /// A model processed what was new in its input.
    Run {
        /// The model's dataset.
        dataset: Arc<str>,
        /// How it ended.
        outcome: Outcome,
        /// Rows of its input.
        rows_in: u64,
        /// Rows added, or groups merged.
        rows_out: u64,
        /// Why it did not come to its end: `user`, `external` or `internal`, as errors are classed.
        error: Option<&'static str>,
        /// How long it took.
        took: Duration,
    },
    /// Rows broke a rule.
    Check {
        /// The dataset whose contract has the rule.
        dataset: Arc<str>,
        /// The rule's name.
        rule: Arc<str>,
        /// What breaking it means.
        severity: &'static str,
        /// How many rows.
        rows: u64,
    },
    /// It was decided about a delivered file.
    Delivery(Arc<DeliveryTold>),
    /// A rule about a set of rows, a balance of counts, or a count of unread values was looked at.
    Measured {
        /// The dataset.
        dataset: Arc<str>,
        /// The rule's name.
        rule: Arc<str>,
        /// What breaking it means.
        severity: &'static str,
        /// What was looked at: `table`, `delivery 7`, `window 2026-11-28`, `commit 12`.
        scope: Arc<str>,
        /// What was found; none where it could not be computed.
        got: Option<f64>,
        /// What the rule wants, in words.
        want: Arc<str>,
        /// Whether it holds; none where it could not be computed.
        passed: Option<bool>,
    },
    /// A gate decided, or somebody decided for it.
    Gate {
        /// The serving dataset.
        dataset: Arc<str>,
        /// What was decided: `passed`, `held`, `stale` by the gate, `hold`, `release` by a person.
        decision: &'static str,
        /// The version of the dataset that was published.
        version: Option<u64>,
        /// The rules that did not pass, as JSON: `[{rule, got, want}]`.
        reasons: Arc<str>,
        /// Who decided: `gate`, or a person's name as they gave it.
        actor: Arc<str>,
        /// Why, in that person's words.
        comment: Option<Arc<str>>,
    },
    /// An alert changed its state.
    Alert {
        /// Tells this alert from others, the same over restarts.
        fingerprint: Arc<str>,
        /// The alert's name.
        alert: Arc<str>,
        /// The dataset that it is about.
        dataset: Option<Arc<str>>,
        /// The state that it is in now.
        state: &'static str,
        /// Its severity.
        severity: Arc<str>,
        /// The team that it goes to.
        owner: Arc<str>,
        /// What was found, in words and counts.
        summary: Arc<str>,
    },
    /// Rejected rows were given up by a person.
    Discard {
        /// The dataset whose rejects they were.
        dataset: Arc<str>,
        /// The number of the last commit of quarantine that they left with.
        number: i64,
        /// How many.
        rows: u64,
        /// Why.
        reason: Arc<str>,
        /// Who.
        actor: Arc<str>,
    },
    /// A batch of records that is traced has come further.
    Step(Step),
    /// A client's query ended.
    Query {
        /// The surface it came by.
        surface: &'static str,
        /// How it ended, in the words of the query's errors.
        outcome: &'static str,
        /// From the request to its last row.
        took: Duration,
    },
}

impl Event {
    /// Values of a column that could not be read: they became null.
    #[must_use]
    pub fn unread(dataset: Arc<str>, column: &str, scope: Arc<str>, values: u64) -> Self {
        let (rule, want) = (format!("{column}.unread").into(), "0".into());
        let got = Some(values as f64);
        Self::Measured { dataset, rule, severity: "warning", scope, got, want, passed: Some(values == 0) }
    }
}

/// Where events are sent. Clones send to the same reader.
#[derive(Clone, Debug, Default)]
pub struct Events {
    following: Following,
    sender: Option<mpsc::Sender<Event>>,
    dropped: Arc<AtomicU64>,
}

/// Who reads them.
pub type EventReader = mpsc::Receiver<Event>;

impl Events {
    /// A channel with the usual bound.
    #[must_use]
    pub fn channel() -> (Self, EventReader) {
        Self::bounded(WAITING_MAX)
    }

    /// A channel in which this many events may wait, at least one.
    #[must_use]
    pub fn bounded(waiting_max: usize) -> (Self, EventReader) {
        let (sender, reader) = mpsc::channel(waiting_max.max(1));
        (Self { sender: Some(sender), ..Self::default() }, reader)
    }

    /// Events that nobody reads.
    #[must_use]
    pub fn unread() -> Self {
        Self::default()
    }

    /// Which batches of records are traced.
    #[must_use]
    pub fn following(&self) -> &Following {
        &self.following
    }

    /// Sends an event without waiting; one that does not fit is dropped and counted.
    pub fn send(&self, event: Event) {
        let Some(sender) = &self.sender else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(event) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the reader has taken what was sent before, or this long.
    pub async fn settle(&self, longest: Duration) {
        let Some(sender) = &self.sender else { return };
        let all = u32::try_from(sender.max_capacity()).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(longest, sender.reserve_many(all as usize)).await;
    }

    /// How many events did not fit.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Event {
        Event::Query { surface: "druid", outcome: "ok", took: Duration::ZERO }
    }

    #[test]
    fn sending_never_waits_and_what_does_not_fit_is_counted() {
        let (events, mut reader) = Events::bounded(2);
        let clone = events.clone();
        (0..5).for_each(|_| clone.send(query()));
        assert_eq!(events.dropped(), 3);
        assert_eq!(
            (reader.try_recv().ok(), reader.try_recv().ok(), reader.try_recv().ok()),
            (Some(query()), Some(query()), None)
        );
    }

    #[test]
    fn events_that_nobody_reads_are_not_drops() {
        let (events, reader) = Events::bounded(1);
        drop(reader);
        events.send(query());
        Events::unread().send(query());
        assert_eq!(events.dropped(), 0);
    }
}
