//! What the outside sees of a model's task: how far it is, what it counted, why it waits.
//!
//! Written by the task, read by status pages and by who waits for readiness. Invariant: an error here holds no value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use parking_lot::Mutex;
use tokio::sync::watch;
use vitalake_contract::{DatasetName, Layer};
use vitalake_runtime::error::in_full;

use crate::engine::spark::{RunProgress, Runs};
use crate::error::Error;
use crate::model::{EngineName, Kind, Model};

/// How long a statement has run before it is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);

/// What a model is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It reads what was there when it started.
    CatchingUp,
    /// It follows its input.
    Running,
    /// Something failed and is tried again: it comes back by itself.
    Stalled,
    /// It cannot go on until a person has changed something. Nobody waits for it.
    Failed,
    /// A model that it derives from has failed: it has made everything that there is, and more does not come. Nobody
    /// waits for it either.
    BehindFailed,
}

impl ModelState {
    /// Its name in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatchingUp => "catching up",
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Failed => "failed",
            Self::BehindFailed => "behind a failed model",
        }
    }

    /// Whether it stays so until a person has changed something, here or in a model that it derives from.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::Failed | Self::BehindFailed)
    }
}

/// A model at one moment. Counts are since the start of the process.
#[derive(Clone, Debug)]
pub struct ModelStatus {
    /// Its dataset.
    pub dataset: DatasetName,
    /// The dataset's layer.
    pub layer: Layer,
    /// Its kind.
    pub kind: Kind,
    /// What runs it.
    pub engine: EngineName,
    /// What runs of it on Spark now, once that takes longer.
    pub running: Option<RunningStatement>,
    /// What it is doing.
    pub state: ModelState,
    /// Why it is stalled or has failed, with what to do.
    pub error: Option<String>,
    /// The failed model that it derives from.
    pub behind: Option<DatasetName>,
    /// Rows of the input that were processed.
    pub rows_in: u64,
    /// Rows that were added, or groups that were merged.
    pub rows_out: u64,
    /// Rows that went to quarantine, conflicts among them.
    pub rows_rejected: u64,
    /// Rows dropped because they were there.
    pub duplicates: u64,
    /// Rows in quarantine because their key was there with other values.
    pub conflicts: u64,
    /// Broken rules of severity `warning`.
    pub warnings: u64,
    /// The version of the input that the last commit consumed.
    pub input_version: Option<i64>,
    /// Changes of the input that are still to be processed.
    pub changes_behind: u64,
}

/// A statement that has run for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningStatement {
    /// For how long.
    pub took: Duration,
    /// How far it is, as Spark reports it.
    pub progress: RunProgress,
}

/// What a step counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    pub(crate) rows_rejected: u64,
    pub(crate) duplicates: u64,
    pub(crate) conflicts: u64,
    pub(crate) warnings: u64,
    /// Rows that the plan left out; below nought where its joins made several of one.
    pub(crate) filtered: i64,
}

impl Counts {
    /// Adds another step's.
    pub(crate) fn add(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.rows_rejected += other.rows_rejected;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.warnings += other.warnings;
        self.filtered += other.filtered;
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    /// The input's change up to which everything was processed; `None` while the backlog is read.
    processed: Option<u64>,
    /// The input's seal up to which everything was committed; `None` while the backlog is not.
    committed: Option<u64>,
    /// A model that has failed is waited for by nobody.
    failed: bool,
}

/// The state, the counts and the marks are locked one at a time, never one inside the other.
#[derive(Debug)]
pub(crate) struct Progress {
    dataset: DatasetName,
    layer: Layer,
    kind: Kind,
    engine: EngineName,
    /// What of it runs on Spark now.
    runs: Arc<Runs>,
    /// The models that make what it reads.
    upstream: Vec<Arc<Progress>>,
    counts: Mutex<(Counts, ModelState, Option<String>, Option<i64>)>,
    /// Why an epoch that has ended cannot be committed: the steps beside it do not clear that, a commit does.
    uncommitted: Mutex<Option<String>>,
    /// The version of each joined table, by its id, that all rows are made with.
    joined: Mutex<BTreeMap<String, i64>>,
    marks: watch::Sender<Marks>,
}

impl Progress {
    pub(crate) fn new(model: &Model, engine: EngineName, upstream: Vec<Arc<Self>>) -> Self {
        Self {
            dataset: model.dataset.clone(),
            layer: model.layer,
            kind: model.kind,
            engine,
            runs: Arc::default(),
            upstream,
            counts: Mutex::new((Counts::default(), ModelState::CatchingUp, None, None)),
            uncommitted: Mutex::new(None),
            joined: Mutex::new(BTreeMap::new()),
            marks: watch::channel(Marks::default()).0,
        }
    }

    /// Where it is noted what runs on Spark.
    pub(crate) fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }

    pub(crate) fn count(&self, step: Counts) {
        let (counts, ..) = &mut *self.counts.lock();
        counts.add(step);
    }

    /// Everything up to a change of the input is processed.
    pub(crate) fn processed(&self, change: u64) {
        self.ok();
        self.reached(change);
    }

    /// Everything up to a change of the input has been taken in, by a model that may be waiting.
    pub(crate) fn reached(&self, change: u64) {
        self.marks.send_modify(|marks| marks.processed = Some(change));
    }

    /// Whether it is that dataset's.
    pub(crate) fn is_of(&self, dataset: &DatasetName) -> bool {
        self.dataset == *dataset
    }

    /// The same by a name in SQL.
    pub(crate) fn is_named(&self, dataset: &str) -> bool {
        self.dataset.as_str() == dataset
    }

    /// Whether anything has been processed yet.
    pub(crate) fn has_begun(&self) -> bool {
        self.marks.borrow().processed.is_some()
    }

    /// A step succeeded.
    pub(crate) fn ok(&self) {
        let (_, state, error, _) = &mut *self.counts.lock();
        if *state != ModelState::Failed {
            (*state, *error) = (ModelState::Running, None);
        }
    }

    /// What was made of the input's epochs up to a seal is committed, with this version of the input.
    pub(crate) fn committed(&self, seal: u64, version: Option<i64>) {
        {
            let mut counts = self.counts.lock();
            counts.3 = version.or(counts.3);
        }
        *self.uncommitted.lock() = None;
        self.marks.send_modify(|marks| marks.committed = Some(seal.max(marks.committed.unwrap_or(0))));
    }

    /// All rows are made with this version of a joined table, or a later one.
    pub(crate) fn joined(&self, table_id: &str, version: i64) {
        self.joined.lock().insert(table_id.to_owned(), version);
        self.marks.send_modify(|_| {});
    }

    pub(crate) async fn wait_joined(&self, table_id: &str, version: i64) {
        self.wait(|_| self.joined.lock().get(table_id).is_some_and(|made_with| *made_with >= version)).await;
    }

    /// Something failed that is tried again.
    pub(crate) fn stalled(&self, error: &Error) {
        self.set(ModelState::Stalled, error);
    }

    /// An epoch that has ended cannot be committed now, and is tried again.
    pub(crate) fn not_committed(&self, error: &Error) {
        *self.uncommitted.lock() = Some(in_words(error));
    }

    /// It cannot go on until a person has changed something.
    pub(crate) fn failed(&self, error: &Error) {
        self.set(ModelState::Failed, error);
        self.marks.send_modify(|marks| marks.failed = true);
    }

    fn set(&self, new: ModelState, error: &Error) {
        let (_, state, shown, _) = &mut *self.counts.lock();
        (*state, *shown) = (new, Some(in_words(error)));
    }

    /// The failed model, this one or one that it derives from, for which nobody waits.
    fn held_up_by(&self) -> Option<&Self> {
        if self.marks.borrow().failed {
            return Some(self);
        }
        self.upstream.iter().find_map(|model| model.held_up_by())
    }

    pub(crate) async fn wait_processed(&self, change: u64) {
        self.wait(|marks| marks.processed.is_some_and(|p| p >= change)).await;
    }

    pub(crate) async fn wait_committed(&self, seal: u64) {
        self.wait(|marks| marks.committed.is_some_and(|c| c >= seal)).await;
    }

    /// Waits until it is there, or a failed model is in its way.
    async fn wait(&self, is_there: impl Fn(&Marks) -> bool + Send + Sync) {
        let mut marks = self.marks.subscribe();
        tokio::select! {
            _ = marks.wait_for(|marks| marks.failed || is_there(marks)) => {}
            () = self.upstream_failed() => {}
        }
    }

    fn upstream_failed(&self) -> BoxFuture<'_, ()> {
        let each = self.upstream.iter().map(|model| {
            let mut marks = model.marks.subscribe();
            async move {
                tokio::select! {
                    _ = marks.wait_for(|marks| marks.failed) => {}
                    () = model.upstream_failed() => {}
                }
            }
            .boxed()
        });
        let each: Vec<_> = each.collect();
        if each.is_empty() { std::future::pending().boxed() } else { select_all(each).map(|_| ()).boxed() }
    }

    fn running(&self) -> Option<RunningStatement> {
        let running = self.runs.now().map(|(took, progress)| RunningStatement { took, progress });
        running.filter(|running| running.took >= SHOWN_AFTER)
    }

    pub(crate) fn status(&self, last_change: u64) -> ModelStatus {
        let (counts, state, error, input_version) = self.counts.lock().clone();
        let uncommitted = self.uncommitted.lock().clone();
        let trouble = self.runs.trouble();
        let marks = *self.marks.borrow();
        let behind = self.held_up_by().filter(|model| !std::ptr::eq(*model, self)).map(|model| model.dataset.clone());
        let state = match state {
            ModelState::Running | ModelState::CatchingUp if uncommitted.is_some() || trouble.is_some() => {
                ModelState::Stalled
            }
            ModelState::Running if behind.is_some() => ModelState::BehindFailed,
            ModelState::Running if marks.processed.is_none() => ModelState::CatchingUp,
            ModelState::CatchingUp if behind.is_some() => ModelState::BehindFailed,
            state => state,
        };
        let error = error
            .or(uncommitted)
            .or(trouble)
            .or_else(|| behind.as_ref().map(|model| format!("it derives from {model}, which has failed")));
        ModelStatus {
            dataset: self.dataset.clone(),
            layer: self.layer,
            kind: self.kind,
            engine: self.engine,
            running: self.running(),
            state,
            error,
            behind,
            rows_in: counts.rows_in,
            rows_out: counts.rows_out,
            rows_rejected: counts.rows_rejected,
            duplicates: counts.duplicates,
            conflicts: counts.conflicts,
            warnings: counts.warnings,
            input_version,
            changes_behind: last_change.saturating_sub(marks.processed.unwrap_or(0)),
        }
    }
}

/// The error, and where the lake refused, why: its causes name files and never quote a value.
pub(crate) fn in_words(error: &Error) -> String {
    let Error::Lake(refusal) = error else { return error.to_string() };
    in_full(refusal)
}
