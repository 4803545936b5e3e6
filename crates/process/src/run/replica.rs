//! Models on a process that only follows: what they make of rows that their owner has not committed yet is shown after
//! the heads of the tables, and committed by nobody here.
//!
//! Between two commits of the owner the models take in what lands, as they do at home. With every commit they are rebuilt
//! after it: the new heads and what is made anew of the little that follows them become visible together
//! (docs/decisions/0010). What a model here is doing, and what changes it:
//!
//! | state | shows | a poll found a new version, or something is stale | rows landed |
//! |---|---|---|---|
//! | `Ahead` | head and what it made | rebuild | takes them in; an error → `Rebuilding`, stale |
//! | `Rebuilding` | the head alone | rebuild | waits |
//! | `Unchanged` | what it showed before | rebuild | waits |
//! | `Failed` | the head alone, each new one | stays | waits |
//!
//! A rebuild ends as `Ahead`; as `Rebuilding` when the owner is far behind or an input shows its head alone; as
//! `Unchanged` when something could not be read, the input's newest version is still to be found, or its input is
//! unchanged; as `Failed` when trying again cannot help. Only `Failed` is not stale. Invariant: a table shows its head and what its model makes of everything that the head's
//! transaction has not consumed; or the head alone, when that is too much or cannot be made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use vitalake_contract::DatasetName;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{Ahead, ChangeReader, Increment, Lake, Newer, Table};
use vitalake_runtime::error::{Classified, Retry};
use vitalake_runtime::health::LogThrottle;

use crate::error::{Error, Result};
use crate::kind::{Made, Process, Rows, Work, shows_commits_alone};
use crate::run::Job;
use crate::run::progress::{Counts, in_words};

/// Follows the tables that no model makes; says whether any has a new version.
pub type FollowInputs = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// How a process follows what others commit.
#[derive(Clone)]
pub struct Following {
    /// Follows the tables that no model makes.
    pub inputs: FollowInputs,
    /// How often the owners' logs are polled.
    pub interval: Duration,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// Beginning again may take one part in so many of the time.
const PAUSES_PER_REBUILD: u32 = 4;
/// How long an input's newest version is waited for when its output's is here already.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(100);
/// How many logs are polled at once.
const POLLS_AT_ONCE: usize = 8;

/// All models of a process that follows.
pub(crate) struct Replica {
    lake: Arc<Lake>,
    models: Vec<Model>,
    following: Following,
    /// Whether something must be made again although no owner has committed.
    stale: bool,
}

/// One model here.
struct Model {
    job: Job,
    /// `None` until it could be started.
    work: Option<Work>,
    /// The place in an input that no model makes.
    reader: Option<ChangeReader>,
    state: State,
    /// The input's change that it had come to when it last began again.
    rebuilt_at: u64,
    /// Whether the log was told that the table may be old; why differs from try to try.
    warned: LogThrottle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It takes in what is new.
    Ahead,
    /// Its table is shown as it was committed until it can be rebuilt.
    Rebuilding,
    /// Its table is shown as it was until the newest versions of it and of its input can be read.
    Unchanged,
    /// It cannot run: its table is shown as it is committed.
    Failed,
}

/// What a model's table shows after a new beginning.
enum Rebuilt {
    /// Head and what was made.
    Ahead(Ahead),
    /// The head alone.
    Committed,
    /// What it showed before: something could not be read, or the input's newest version is still to be found.
    Unchanged,
}

/// The same, to the models that read the table.
enum Upstream {
    Ahead(Vec<RecordBatch>),
    Committed,
    Unchanged,
}

/// What a poll of the owners' logs found.
struct Polled {
    newer: BTreeMap<DatasetName, Newer>,
    failed: Vec<(DatasetName, Error)>,
    inputs_moved: bool,
}

impl Replica {
    pub(crate) fn new(lake: Arc<Lake>, jobs: Vec<Job>, following: Following) -> Self {
        let model = |job: Job| {
            // Nothing is committed here, so nobody needs to wait for it.
            job.progress.committed(u64::MAX, None);
            let warned = LogThrottle::new(job.options.clock.clone());
            Model { job, work: None, reader: None, state: State::Rebuilding, rebuilt_at: 0, warned }
        };
        Self { lake, models: jobs.into_iter().map(model).collect(), following, stale: true }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(mut self) {
        let outputs: Vec<Arc<Table>> = self.models.iter().map(|model| Arc::clone(&model.job.output)).collect();
        let mut news = self.lake.watch();
        let mut polling = Box::pin(poll(outputs.clone(), self.following.clone(), Duration::ZERO));
        let mut more = false;
        loop {
            tokio::select! {
                polled = &mut polling => {
                    let pause = self.polled(polled).await;
                    polling = Box::pin(poll(outputs.clone(), self.following.clone(), pause));
                    more = true;
                }
                () = async { if !more { let _ = news.changed().await; } } => more = self.step().await,
            }
        }
    }

    /// Rebuilds where there is something new; gives the pause until the next poll.
    async fn polled(&mut self, polled: Polled) -> Duration {
        for (dataset, error) in &polled.failed {
            let failed = self.models.iter_mut().find(|model| model.job.model.dataset == *dataset);
            failed.into_iter().for_each(|model| model.warn(error));
        }
        let moved = polled.inputs_moved || !polled.newer.is_empty();
        if !moved && !self.stale {
            return self.following.interval;
        }
        let began = Instant::now();
        let overtaken = self.rebuild(polled.newer).await;
        let pause = if overtaken { OVERTAKEN_PAUSE } else { self.following.interval };
        pause.max(began.elapsed() * PAUSES_PER_REBUILD)
    }

    /// Makes everything again that follows the newest heads, and shows it together with them. Says whether an output was
    /// found whose input was not.
    async fn rebuild(&mut self, mut newer: BTreeMap<DatasetName, Newer>) -> bool {
        let (mut shown, mut overtaken) = (Vec::new(), false);
        let mut made: BTreeMap<DatasetName, Upstream> = BTreeMap::new();
        self.stale = false;
        for model in &mut self.models {
            let dataset = model.job.model.dataset.clone();
            let rebuilt = model.rebuild(&newer, &made).await;
            let rebuilt = rebuilt.unwrap_or_else(|error| {
                if let Error::Overtaken { .. } = error {
                    overtaken = true;
                    return Rebuilt::Unchanged;
                }
                model.failed(&error);
                match error {
                    // What was shown before is right, if old, until what could not be read can be.
                    Error::FarBehind { .. } | Error::InputWaits { .. } => Rebuilt::Committed,
                    error if error.retry() == Retry::Never => Rebuilt::Committed,
                    _ => Rebuilt::Unchanged,
                }
            });
            if let Rebuilt::Unchanged = rebuilt {
                model.state = State::Unchanged;
                model.reader = None;
            }
            let rows = match &rebuilt {
                Rebuilt::Ahead(ahead) => Upstream::Ahead(ahead.rows.clone()),
                Rebuilt::Committed => Upstream::Committed,
                Rebuilt::Unchanged => Upstream::Unchanged,
            };
            self.stale |= !matches!(rebuilt, Rebuilt::Ahead(_)) && model.state != State::Failed;
            made.insert(dataset.clone(), rows);
            shown.push((Arc::clone(&model.job.output), dataset, rebuilt));
        }
        let shown = shown.into_iter().filter_map(|(table, dataset, rebuilt)| match rebuilt {
            Rebuilt::Ahead(ahead) => Some((table, newer.remove(&dataset), ahead)),
            Rebuilt::Committed => Some((table, newer.remove(&dataset), Ahead::default())),
            Rebuilt::Unchanged => None,
        });
        self.lake.take_over(shown.collect());
        for model in self.models.iter().filter(|model| model.state != State::Unchanged) {
            model.job.progress.reached(model.rebuilt_at);
            if model.state == State::Ahead {
                model.job.progress.ok();
            }
        }
        overtaken
    }

    /// Takes in some of what has landed; says whether there may be more.
    async fn step(&mut self) -> bool {
        let mut more = false;
        let mut fresh: BTreeMap<DatasetName, Vec<RecordBatch>> = BTreeMap::new();
        for model in &mut self.models {
            let last = model.job.input.last_change();
            let rows = match &mut model.reader {
                Some(reader) => reader.try_next().map(|increment| increment.rows),
                None => fresh.get(&model.job.input.contract().dataset).cloned(),
            };
            more |= model.reader.is_some() && rows.is_some();
            if model.state == State::Ahead {
                match model.step(&rows.unwrap_or_default()).await {
                    Ok(made) => drop(fresh.insert(model.job.model.dataset.clone(), made)),
                    Err(error) => {
                        model.failed(&error);
                        self.stale = true;
                    }
                }
            }
            if !more && model.job.progress.has_begun() {
                model.job.progress.reached(last.0);
            }
        }
        more
    }
}

impl Model {
    /// What follows the newest head of its table, made anew.
    async fn rebuild(
        &mut self,
        newer: &BTreeMap<DatasetName, Newer>,
        made: &BTreeMap<DatasetName, Upstream>,
    ) -> Result<Rebuilt> {
        self.reader = None;
        if self.state == State::Failed {
            return Ok(Rebuilt::Committed);
        }
        // One Spark run for each process that follows would be many for the same rows.
        if shows_commits_alone(self.job.model.kind) || self.job.gathers() {
            (self.state, self.rebuilt_at) = (State::Ahead, self.job.input.last_change().0);
            return Ok(Rebuilt::Ahead(Ahead::default()));
        }
        self.state = State::Rebuilding;
        let (job, own) = (&self.job, newer.get(&self.job.model.dataset));
        let head = own.map_or_else(|| job.output.head(), |newer| Arc::clone(newer.head()));
        let consumed = head.txn(&job.txn);
        let rejected = own.map_or_else(|| job.output.rejects_txn(&job.txn), |newer| newer.rejects().txn(&job.txn));
        // Rows that its owner has taken back leave keys behind that nobody here knows.
        if own.is_some_and(|newer| newer.removed().next().is_some()) {
            self.work = None;
        }
        // A model that fails here reads the keys of its table anew when it begins next.
        let mut work = match self.work.take() {
            Some(work) => work,
            None => Work::start(job, Process::Replica).await?,
        };
        work.begin(job, &head, own).await?;
        let work = self.work.insert(work);
        self.rebuilt_at = job.input.last_change().0;
        let input = &job.input.contract().dataset;
        let increments = match made.get(input) {
            Some(Upstream::Unchanged) => return Ok(Rebuilt::Unchanged),
            Some(Upstream::Committed) => {
                let (dataset, input) = (job.model.dataset.clone(), input.clone());
                return Err(Error::InputWaits { dataset, input });
            }
            Some(Upstream::Ahead(rows)) => {
                let rows = rows.clone();
                let head = newer.get(input).map_or_else(|| job.input.head(), |newer| Arc::clone(newer.head()));
                not_overtaken(job, consumed, head.version().0)?;
                let mut increments = Vec::from(job.input.history(consumed, &head).await?);
                increments.push(Increment { rows, ..Increment::default() });
                increments
            }
            None => {
                not_overtaken(job, consumed, job.input.head().version().0)?;
                let mut reader = job.input.reader(consumed).await?;
                let increments = reader.take_backlog();
                self.reader = Some(reader);
                increments
            }
        };
        is_little(job, &increments)?;
        let mut ahead = Ahead::default();
        for increment in increments {
            // A version whose rejects are committed already and whose rows are not yet.
            let rejects_are_in = increment.version.is_some_and(|v| rejected.is_some_and(|r| v <= r));
            let made = take_in(job, work, &head, increment, &mut Counts::default()).await?;
            ahead.rows.extend(made.rows);
            ahead.rejects.extend(made.rejects.into_iter().filter(|_| !rejects_are_in));
        }
        ahead.overlay = work.overlay()?;
        job.progress.committed(u64::MAX, consumed);
        self.state = State::Ahead;
        Ok(Rebuilt::Ahead(ahead))
    }

    async fn step(&mut self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let Some(work) = self.work.as_mut().filter(|_| rows.iter().any(|batch| batch.num_rows() > 0)) else {
            return Ok(Vec::new());
        };
        let (job, mut counts) = (&self.job, Counts::default());
        let increment = Increment { rows: rows.to_vec(), ..Increment::default() };
        let made = take_in(job, work, &job.output.head(), increment, &mut counts).await?;
        let rows = made.rows.clone();
        work.publish(job, made)?;
        job.progress.count(counts);
        Ok(rows)
    }

    /// Leaves the table as it is until its model begins again.
    fn failed(&mut self, error: &Error) {
        self.state = if error.retry() == Retry::Never { State::Failed } else { State::Rebuilding };
        self.warn(error);
    }

    /// Shows in the status why the table is not ahead of its owner, and logs it at most once a minute.
    fn warn(&mut self, error: &Error) {
        if self.warned.is_news(()) {
            let error = in_words(error);
            tracing::warn!(model = %self.job.model.dataset, error, "what this process shows of its table may be old");
        }
        match self.state {
            State::Failed => self.job.progress.failed(error),
            State::Ahead | State::Rebuilding | State::Unchanged => self.job.progress.stalled(error),
        }
    }
}

/// What comes of an increment.
async fn take_in(
    job: &Job,
    work: &mut Work,
    head: &Snapshot,
    increment: Increment,
    counts: &mut Counts,
) -> Result<Made> {
    if !increment.removed.is_empty() {
        // What its owner makes of that is shown when it is committed.
        let (dataset, input) = (job.model.dataset.clone(), job.input.contract().dataset.clone());
        return Err(Error::InputWaits { dataset, input });
    }
    let mut batches = increment.rows;
    for file in &increment.files {
        batches.extend(job.input.read_columns(file, work.needed()).await?);
    }
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(Made::default());
    }
    // Which rejects are committed already, the caller knows.
    work.take_in(job, head, Rows { batches: &batches, version: None }, counts).await
}

fn not_overtaken(job: &Job, consumed: Option<i64>, version: u64) -> Result<()> {
    match consumed.and_then(|v| u64::try_from(v).ok()) {
        Some(consumed) if consumed > version => Err(Error::Overtaken { dataset: job.model.dataset.clone() }),
        _ => Ok(()),
    }
}

/// Refuses to run ahead of an owner that is far behind: the rows would not fit into memory.
fn is_little(job: &Job, increments: &[Increment]) -> Result<()> {
    let rows_max = job.options.ahead_rows_max;
    let rows = increments.iter().flat_map(|i| &i.files).map(|file| file.rows.unwrap_or(rows_max)).sum();
    if rows <= rows_max {
        return Ok(());
    }
    Err(Error::FarBehind { dataset: job.model.dataset.clone(), rows, rows_max })
}

/// Polls the logs of all outputs, then at those of what they are made of: an output's owner commits after its input's.
async fn poll(outputs: Vec<Arc<Table>>, following: Following, pause: Duration) -> Polled {
    tokio::time::sleep(pause).await;
    let looking = outputs.into_iter().map(|table| async move {
        let found = table.newer().await;
        (table.contract().dataset.clone(), found)
    });
    let found: Vec<_> = stream::iter(looking).buffer_unordered(POLLS_AT_ONCE).collect().await;
    let (mut newer, mut failed) = (BTreeMap::new(), Vec::new());
    for (dataset, outcome) in found {
        match outcome {
            Ok(found) => newer.extend(found.map(|found| (dataset, found))),
            Err(error) => failed.push((dataset, error.into())),
        }
    }
    let inputs_moved = (following.inputs)().await;
    Polled { newer, failed, inputs_moved }
}
