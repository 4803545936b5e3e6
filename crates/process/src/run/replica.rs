//! Models on a process that only follows: what they make of rows that their owner has not committed yet is shown after
//! the heads of the tables, and committed by nobody here.
//!
//! Between two commits of the owner the models take in what lands, as they do at home. With every commit they begin
//! again after it: the new heads and what is made anew of the little that follows them become visible together
//! (docs/decisions/0010). Invariant: a table shows its head and what its model makes of everything that the head's
//! transaction has not consumed; or the head alone, when that is too much or cannot be made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use vitalake_contract::DatasetName;
use vitalake_lake::{Ahead, ChangeReader, Increment, Lake, Newer, Table};
use vitalake_runtime::error::{Classified, Retry};
use vitalake_runtime::health::Said;

use crate::error::{Error, Result};
use crate::run::Job;
use crate::run::ahead::Work;
use crate::run::progress::{Counts, in_words};

/// Follows the tables that no model makes; says whether any has a new version.
pub type FollowInputs = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// How a process follows what others commit.
#[derive(Clone)]
pub struct Following {
    /// Follows the tables that no model makes.
    pub inputs: FollowInputs,
    /// How often the owners' logs are looked at.
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
/// How many logs are looked at at once.
const LOOKS_AT_ONCE: usize = 8;

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
    standing: Standing,
    /// The input's change that it had come to when it last began again.
    begun_at: u64,
    /// Whether the log was told that the table may be old; why differs from try to try.
    said: Said<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It takes in what is new.
    Ahead,
    /// Its table is shown as it was committed until it can begin again.
    Waits,
    /// Its table is shown as it was until the newest versions of it and of its input can be read.
    Kept,
    /// It cannot run: its table is shown as it is committed.
    Broken,
}

/// What a model's table shows after a new beginning.
enum Begun {
    /// Head and what was made.
    Ahead(Ahead),
    /// The head alone.
    Committed,
    /// What it showed before: something could not be read, or the input's newest version is still to be found.
    Kept,
}

/// The same, to the models that read the table.
enum Upstream {
    Ahead(Vec<RecordBatch>),
    Committed,
    Kept,
}

/// What a look at the owners' logs found.
struct Looked {
    newer: BTreeMap<DatasetName, Newer>,
    failed: Vec<(DatasetName, Error)>,
    inputs_moved: bool,
}

impl Replica {
    pub(crate) fn new(lake: Arc<Lake>, jobs: Vec<Job>, following: Following) -> Self {
        let model = |job: Job| {
            // Nothing is committed here, so nobody needs to wait for it.
            job.progress.committed(u64::MAX, None);
            let said = Said::new(job.options.clock.clone());
            Model { job, work: None, reader: None, standing: Standing::Waits, begun_at: 0, said }
        };
        Self { lake, models: jobs.into_iter().map(model).collect(), following, stale: true }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(mut self) {
        let outputs: Vec<Arc<Table>> = self.models.iter().map(|model| Arc::clone(&model.job.output)).collect();
        let mut news = self.lake.watch();
        let mut look = Box::pin(look(outputs.clone(), self.following.clone(), Duration::ZERO));
        let mut more = false;
        loop {
            tokio::select! {
                looked = &mut look => {
                    let pause = self.looked(looked).await;
                    look = Box::pin(self::look(outputs.clone(), self.following.clone(), pause));
                    more = true;
                }
                () = async { if !more { let _ = news.changed().await; } } => more = self.step().await,
            }
        }
    }

    /// Begins again where there is something new; gives the pause until the next look.
    async fn looked(&mut self, looked: Looked) -> Duration {
        for (dataset, error) in &looked.failed {
            let failed = self.models.iter_mut().find(|model| model.job.model.dataset == *dataset);
            failed.into_iter().for_each(|model| model.say(error));
        }
        let moved = looked.inputs_moved || !looked.newer.is_empty();
        if !moved && !self.stale {
            return self.following.interval;
        }
        let began = Instant::now();
        let overtaken = self.begin_again(looked.newer).await;
        let pause = if overtaken { OVERTAKEN_PAUSE } else { self.following.interval };
        pause.max(began.elapsed() * PAUSES_PER_REBUILD)
    }

    /// Makes everything again that follows the newest heads, and shows it together with them. Says whether an output was
    /// found whose input was not.
    async fn begin_again(&mut self, mut newer: BTreeMap<DatasetName, Newer>) -> bool {
        let (mut shown, mut overtaken) = (Vec::new(), false);
        let mut made: BTreeMap<DatasetName, Upstream> = BTreeMap::new();
        self.stale = false;
        for model in &mut self.models {
            let dataset = model.job.model.dataset.clone();
            let begun = model.begin_again(&newer, &made).await;
            let begun = begun.unwrap_or_else(|error| {
                if let Error::Overtaken { .. } = error {
                    overtaken = true;
                    return Begun::Kept;
                }
                model.failed(&error);
                match error {
                    // What was shown before is right, if old, until what could not be read can be.
                    Error::FarBehind { .. } | Error::InputWaits { .. } => Begun::Committed,
                    error if error.retry() == Retry::Never => Begun::Committed,
                    _ => Begun::Kept,
                }
            });
            if let Begun::Kept = begun {
                model.standing = Standing::Kept;
                model.reader = None;
            }
            let rows = match &begun {
                Begun::Ahead(ahead) => Upstream::Ahead(ahead.rows.clone()),
                Begun::Committed => Upstream::Committed,
                Begun::Kept => Upstream::Kept,
            };
            self.stale |= !matches!(begun, Begun::Ahead(_)) && model.standing != Standing::Broken;
            made.insert(dataset.clone(), rows);
            shown.push((Arc::clone(&model.job.output), dataset, begun));
        }
        let shown = shown.into_iter().filter_map(|(table, dataset, begun)| match begun {
            Begun::Ahead(ahead) => Some((table, newer.remove(&dataset), ahead)),
            Begun::Committed => Some((table, newer.remove(&dataset), Ahead::default())),
            Begun::Kept => None,
        });
        self.lake.take_over(shown.collect());
        for model in self.models.iter().filter(|model| model.standing != Standing::Kept) {
            model.job.progress.reached(model.begun_at);
            if model.standing == Standing::Ahead {
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
            if model.standing == Standing::Ahead {
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
    async fn begin_again(
        &mut self,
        newer: &BTreeMap<DatasetName, Newer>,
        made: &BTreeMap<DatasetName, Upstream>,
    ) -> Result<Begun> {
        self.reader = None;
        if self.standing == Standing::Broken {
            return Ok(Begun::Committed);
        }
        self.standing = Standing::Waits;
        let (job, own) = (&self.job, newer.get(&self.job.model.dataset));
        let head = own.map_or_else(|| job.output.head(), |newer| Arc::clone(newer.head()));
        let consumed = head.txn(&job.txn);
        let rejected = own.map_or_else(|| job.output.rejects_txn(&job.txn), |newer| newer.rejects().txn(&job.txn));
        // A model that fails here reads the keys of its table anew when it begins next.
        let mut work = match self.work.take() {
            Some(work) => work,
            None => Work::start(job).await?,
        };
        work.begin(job, &head, own).await?;
        let work = self.work.insert(work);
        self.begun_at = job.input.last_change().0;
        let input = &job.input.contract().dataset;
        let increments = match made.get(input) {
            Some(Upstream::Kept) => return Ok(Begun::Kept),
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
            let made = work.take_in(job, &head, increment, &mut Counts::default()).await?;
            ahead.rows.extend(made.rows);
            ahead.rejects.extend(made.rejects.into_iter().filter(|_| !rejects_are_in));
        }
        ahead.overlay = work.overlay()?;
        job.progress.committed(u64::MAX, consumed);
        self.standing = Standing::Ahead;
        Ok(Begun::Ahead(ahead))
    }

    async fn step(&mut self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let Some(work) = self.work.as_mut().filter(|_| rows.iter().any(|batch| batch.num_rows() > 0)) else {
            return Ok(Vec::new());
        };
        let (job, mut counts) = (&self.job, Counts::default());
        let increment = Increment { rows: rows.to_vec(), ..Increment::default() };
        let made = work.take_in(job, &job.output.head(), increment, &mut counts).await?;
        match work.overlay()? {
            Some(overlay) => job.output.publish_overlay(overlay),
            None => drop(job.output.append(made.rows.clone(), made.rejects, [])?),
        }
        job.progress.count(counts);
        Ok(made.rows)
    }

    /// Leaves the table as it is until its model begins again.
    fn failed(&mut self, error: &Error) {
        self.standing = if error.retry() == Retry::Never { Standing::Broken } else { Standing::Waits };
        self.say(error);
    }

    /// Shows in the status why the table is not ahead of its owner, and logs it at most once a minute.
    fn say(&mut self, error: &Error) {
        if self.said.is_news(()) {
            let error = in_words(error);
            tracing::warn!(model = %self.job.model.dataset, error, "what this process shows of its table may be old");
        }
        match self.standing {
            Standing::Broken => self.job.progress.failed(error),
            Standing::Ahead | Standing::Waits | Standing::Kept => self.job.progress.stalled(error),
        }
    }
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

/// Looks at the logs of all outputs, then at those of what they are made of: an output's owner commits after its input's.
async fn look(outputs: Vec<Arc<Table>>, following: Following, pause: Duration) -> Looked {
    tokio::time::sleep(pause).await;
    let looking = outputs.into_iter().map(|table| async move {
        let found = table.newer().await;
        (table.contract().dataset.clone(), found)
    });
    let found: Vec<_> = stream::iter(looking).buffer_unordered(LOOKS_AT_ONCE).collect().await;
    let (mut newer, mut failed) = (BTreeMap::new(), Vec::new());
    for (dataset, outcome) in found {
        match outcome {
            Ok(found) => newer.extend(found.map(|found| (dataset, found))),
            Err(error) => failed.push((dataset, error.into())),
        }
    }
    let inputs_moved = (following.inputs)().await;
    Looked { newer, failed, inputs_moved }
}
