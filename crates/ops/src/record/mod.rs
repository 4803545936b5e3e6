//! The recorder: what happens becomes rows of the ops datasets.
//!
//! Events come from their one reader, samples from the platform; both are gathered, shown in SQL within a second and
//! committed every two minutes. What must not be lost goes through [`Recorder::record_durably`]. A recorder outlives the
//! lives of a process: each life attaches its lake. Invariant: nothing waits for it but who records durably; rows for
//! which there is no room or no lake are dropped and counted.

mod audit;
mod cells;
mod discards;
mod known;
mod ledger;
mod rows;
mod share;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use vitalake_lake::{Journal, Lake, LakeError};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::{Class, Classified, Retry, in_full};
use vitalake_runtime::events::Event;

use crate::audit::{Audit, Cursor};
use crate::tables::OpsTable;
use cells::{Row, batch};
use rows::{Gathered, Names, Stamp};
use share::Shares;

pub use known::{Checked, GateDecided, brought};
pub use ledger::Entered;
pub use rows::{EvidenceRow, LagSample, ResourcesSample};
pub use usage::memory_bytes;

/// How often what was gathered is shown.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two commits of a table.
const COMMIT_INTERVAL: Duration = Duration::from_secs(120);
/// Rows of a table that are committed before their time.
const COMMIT_ROWS: usize = 20_000;
/// How long a commit that failed is left.
const AGAIN: Duration = Duration::from_secs(30);
/// The least time between two durable commits of a table.
const DURABLY_APART: Duration = Duration::from_secs(1);
/// How long who records durably waits for the commit.
const DURABLY_MAX: Duration = Duration::from_secs(30);
/// How long who records durably waits for a lake.
const ATTACHED_MAX: Duration = Duration::from_secs(10);
/// How long the last commits of a life may take.
const LAST_COMMITS_MAX: Duration = Duration::from_secs(3);
/// How often other processes' rows are looked for.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// How often old rows are taken away and small files joined.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(600);

/// Why something was not recorded durably.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no lake now.
    #[error("{table} is not open: the platform is starting or stopping; try again")]
    NotOpen {
        /// The table, as SQL names it.
        table: String,
    },
    /// The store has been away for so long that too many rows wait.
    #[error("{table} takes no more rows before those that wait are committed: see to the store, and try again")]
    Full {
        /// The table, as SQL names it.
        table: String,
    },
    /// The store does not answer.
    #[error(
        "a row of {table} waits for its commit: the store does not answer; see to it, and look whether the row is there"
    )]
    Late {
        /// The table, as SQL names it.
        table: String,
    },
    /// The event has no table of its own, or is summed up with others.
    #[error("an event of this kind is not kept by itself")]
    NotKept,
    /// Its rows cannot be read.
    #[error("the rows of {table} could not be read")]
    Read {
        /// The table, as SQL names it.
        table: String,
        /// Why.
        #[source]
        source: LakeError,
    },
    /// The commit failed; it is tried again by itself.
    #[error("a row of {table} could not be committed")]
    Commit {
        /// The table, as SQL names it.
        table: String,
        /// Why.
        #[source]
        source: LakeError,
    },
}

impl Classified for RecordError {
    fn class(&self) -> Class {
        match self {
            Self::NotOpen { .. } | Self::Full { .. } | Self::Late { .. } => Class::External,
            Self::NotKept => Class::Internal,
            Self::Read { source, .. } | Self::Commit { source, .. } => source.class(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NotOpen { .. } | Self::Full { .. } | Self::Late { .. } => Retry::Later,
            Self::NotKept => Retry::Never,
            Self::Read { source, .. } | Self::Commit { source, .. } => source.retry(),
        }
    }
}

/// What a life asks of the recorder.
#[derive(Clone, Copy, Debug)]
pub struct RecordOptions {
    /// How long rows are kept.
    pub retention: Duration,
    /// The same of `ops.audit`.
    pub audit_retention: Duration,
    /// Whether other processes write the same tables.
    pub shared: bool,
    /// Whether this process takes old rows away and joins files.
    pub maintains: bool,
}

impl RecordOptions {
    fn retention_of(&self, table: OpsTable) -> Duration {
        if table == OpsTable::Audit { self.audit_retention } else { self.retention }
    }
}

/// Makes rows of what happens. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    clock: Clock,
    names: Names,
    process: Arc<str>,
    gathered: Mutex<Gathered>,
    attached: watch::Sender<Option<Arc<Journals>>>,
    shares: Shares,
    dropped: AtomicU64,
    audit: OnceLock<Audit>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("process", &self.0.process).finish_non_exhaustive()
    }
}

struct Journals {
    tables: BTreeMap<OpsTable, Arc<Journal>>,
    /// Where the rows of the audit journal are read on, once that is known.
    audited: Mutex<Option<Cursor>>,
    /// When each was last committed, or that was tried.
    tried: Mutex<BTreeMap<OpsTable, Tried>>,
}

#[derive(Clone, Copy)]
struct Tried {
    at: Instant,
    failed: bool,
}

impl Recorder {
    /// A recorder without a lake. `datasets` are the project's, each with its name in SQL, `layer.name`.
    #[must_use]
    pub fn new(clock: Clock, datasets: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(Arc::new(Inner {
            clock,
            names: datasets.into_iter().collect(),
            process: uuid::Uuid::now_v7().simple().to_string().into(),
            gathered: Mutex::default(),
            attached: watch::channel(None).0,
            shares: Shares::default(),
            dropped: AtomicU64::new(0),
            audit: OnceLock::new(),
        }))
    }

    /// Opens the ops datasets of a lake; rows go there from now on. A table that cannot be opened is said, and its rows
    /// are dropped.
    pub async fn attach(&self, lake: &Lake) {
        let opening = OpsTable::ALL.into_iter().filter_map(|table| Some((table, table.contract()?)));
        let opening = opening.map(|(table, contract)| async move { (table, Journal::open(lake, &contract).await) });
        let mut tables = BTreeMap::new();
        for (table, opened) in join_all(opening).await {
            match opened {
                Ok(journal) => {
                    tables.insert(table, Arc::new(journal));
                }
                Err(error) => {
                    tracing::warn!(table = %name(table), error = in_full(&error), "what happens is not kept there");
                }
            }
        }
        let audited = Mutex::new(self.audited_until(&tables).await);
        self.0.attached.send_replace(Some(Arc::new(Journals { tables, audited, tried: Mutex::default() })));
    }

    /// Commits what was gathered, as far as that is quickly done, and lets go of the lake.
    pub async fn detach(&self) {
        self.show();
        let Some(journals) = self.0.attached.send_replace(None) else { return };
        let commits = journals.tables.values().map(|journal| async { journal.commit().await.is_ok() });
        let _ = tokio::time::timeout(LAST_COMMITS_MAX, join_all(commits)).await;
        let left: usize = journals.tables.values().map(|journal| journal.waiting()).sum();
        self.0.dropped.fetch_add(left as u64, Ordering::Relaxed);
        if left > 0 {
            tracing::warn!(rows = left, "rows of the ops datasets are lost: they could not be committed");
        }
    }

    /// Takes an event in, to be shown within a second. Never waits.
    pub fn record(&self, event: &Event) {
        self.0.gathered.lock().take(event, self.stamp());
    }

    /// Takes samples of lag in.
    pub fn lag(&self, samples: &[LagSample]) {
        let mut gathered = self.0.gathered.lock();
        samples.iter().for_each(|sample| gathered.push(self.stamp().lag(sample)));
    }

    /// Takes a sample of resources in, with what the system says of this process.
    pub fn resources(&self, sample: &ResourcesSample) {
        let row = self.stamp().resources(sample, usage::now(), self.dropped());
        self.0.gathered.lock().push(row);
    }

    /// Returns when a commit holds the event: it is not lost, whatever is killed. Do not send it to `Events` beside.
    /// Calls of the same second share a commit. Where much happens in an hour that nobody decides (alerts, deliveries),
    /// it returns once the row is shown, and the commit comes within minutes.
    ///
    /// # Errors
    /// When there is no lake, no room, or the commit fails; the row may be committed later all the same.
    pub async fn record_durably(&self, event: &Event) -> Result<(), RecordError> {
        let row = self.stamp().single(event).ok_or(RecordError::NotKept)?;
        self.durably(row.table, &[row]).await
    }

    /// Returns when a commit holds what a runbook's queries found when an alert fired.
    ///
    /// # Errors
    /// As those of [`Recorder::record_durably`].
    pub async fn record_evidence(&self, evidence: &[EvidenceRow]) -> Result<(), RecordError> {
        let rows: Vec<Row> = evidence.iter().map(|evidence| self.stamp().evidence(evidence)).collect();
        if rows.is_empty() { Ok(()) } else { self.durably(OpsTable::Evidence, &rows).await }
    }

    /// A table's journal, where there is a lake now.
    pub(crate) fn journal_now(&self, table: OpsTable) -> Option<Arc<Journal>> {
        self.journals()?.tables.get(&table).cloned()
    }

    /// A table's journal, as soon as there is a lake.
    async fn journal(&self, table: OpsTable) -> Result<Arc<Journal>, RecordError> {
        let mut attached = self.0.attached.subscribe();
        let journals = tokio::time::timeout(ATTACHED_MAX, attached.wait_for(Option::is_some)).await;
        let journal = journals.ok().and_then(Result::ok).and_then(|open| open.as_ref()?.tables.get(&table).cloned());
        journal.ok_or_else(|| RecordError::NotOpen { table: name(table) })
    }

    async fn durably(&self, table: OpsTable, rows: &[Row]) -> Result<(), RecordError> {
        let journal = self.journal(table).await?;
        let rows = batch(journal.schema(), rows).ok_or(RecordError::NotKept)?;
        let mark = journal.append(rows).ok_or_else(|| RecordError::Full { table: name(table) })?;
        if !self.0.shares.take(table) {
            return Ok(());
        }
        let failed = |source| RecordError::Commit { table: name(table), source };
        let committing = tokio::time::timeout(DURABLY_MAX, journal.commit_through(mark, DURABLY_APART));
        committing.await.map_err(|_| RecordError::Late { table: name(table) })?.map_err(failed)
    }

    /// Rows that could not be kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed) + self.0.gathered.lock().dropped
    }

    /// Shows and commits until dropped; for a life, after [`Recorder::attach`].
    pub async fn run(self, options: RecordOptions) {
        tokio::join!(self.show_forever(), self.commit_forever(), self.look_after(options));
    }

    fn stamp(&self) -> Stamp<'_> {
        Stamp { names: &self.0.names, process: &self.0.process, at_ms: self.0.clock.now_ms() }
    }

    fn journals(&self) -> Option<Arc<Journals>> {
        self.0.attached.borrow().clone()
    }

    /// Moves what was gathered into the tables' tails. Without a lake it stays where it is.
    pub fn show(&self) {
        let Some(journals) = self.journals() else { return };
        self.show_audit(&journals);
        let rows = self.0.gathered.lock().drain(self.stamp());
        let mut by_table: BTreeMap<OpsTable, Vec<Row>> = BTreeMap::new();
        rows.into_iter().for_each(|row| by_table.entry(row.table).or_default().push(row));
        for (table, rows) in by_table {
            let shown = journals.tables.get(&table).and_then(|journal| journal.append(batch(journal.schema(), &rows)?));
            if shown.is_none() {
                self.0.dropped.fetch_add(rows.len() as u64, Ordering::Relaxed);
            }
        }
    }

    async fn show_forever(&self) {
        let mut due = every(SHOW_INTERVAL);
        loop {
            due.tick().await;
            self.show();
        }
    }

    async fn commit_forever(&self) {
        let mut due = every(SHOW_INTERVAL);
        loop {
            due.tick().await;
            let Some(journals) = self.journals() else { continue };
            for (table, journal) in &journals.tables {
                if journals.is_due(*table, journal.waiting()) && self.0.shares.take(*table) {
                    let outcome = journal.commit().await;
                    journals.note(*table, outcome.as_ref().err());
                }
            }
        }
    }

    async fn look_after(&self, options: RecordOptions) {
        let (mut refresh, mut maintain) = (every(REFRESH_INTERVAL), every(MAINTENANCE_INTERVAL));
        loop {
            let maintains = tokio::select! {
                _ = maintain.tick() => options.maintains,
                _ = refresh.tick() => false,
            };
            let Some(journals) = self.journals() else { continue };
            for (table, journal) in &journals.tables {
                let outcome = match maintains {
                    true => journal.maintain(options.retention_of(*table)).await.map(|_| ()),
                    false if options.shared => journal.refresh().await,
                    false => Ok(()),
                };
                if let Err(error) = outcome {
                    tracing::debug!(table = %name(*table), error = in_full(&error), "looked after again later");
                }
            }
        }
    }
}

impl Journals {
    fn is_due(&self, table: OpsTable, waiting: usize) -> bool {
        match self.tried.lock().get(&table) {
            _ if waiting == 0 => false,
            None => true,
            Some(Tried { at, failed: true }) => at.elapsed() >= AGAIN,
            Some(Tried { at, failed: false }) => at.elapsed() >= COMMIT_INTERVAL || waiting >= COMMIT_ROWS,
        }
    }

    fn note(&self, table: OpsTable, error: Option<&LakeError>) {
        let tried = Tried { at: Instant::now(), failed: error.is_some() };
        let before = self.tried.lock().insert(table, tried);
        if let Some(error) = error
            && !before.is_some_and(|before| before.failed)
        {
            tracing::warn!(table = %name(table), error = in_full(error), "rows wait for their commit, which is tried again");
        }
    }
}

fn name(table: OpsTable) -> String {
    format!("ops.{}", table.as_str())
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut due = tokio::time::interval_at(Instant::now() + interval, interval);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    due
}
