//! Models at work: one task each, woken by its input's changes, following its input's epochs.
//!
//! `owner` is the task of a model in the process that commits, `replica` runs the models of one that only follows; what
//! they do is the `kind`'s. `progress` is what the outside sees of a model. Invariant: what a model made of an epoch is
//! committed with the version of its input that holds the epoch, and with the versions of all other tables that it read,
//! so that a restart goes on from exactly there.

mod gather;
mod job;
mod owner;
pub(crate) mod progress;
mod replica;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vitalake_contract::{DatasetName, Layer};
use vitalake_lake::{Lake, LakeError, Space, Table, TableId, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::events::Events;

pub(crate) use job::{Job, Reader};
use progress::Progress;
pub use progress::{ModelState, ModelStatus, RunningStatement};
use replica::Replica;
pub use replica::{FollowInputs, Following};

use crate::engine::Engines;
use crate::error::{Error, Result};
use crate::graph::{Contracts, Graph, feeding};
use crate::kind::{followed_tables, is_grouped, stored_schema};
use crate::model::{Model, TableUse};
use crate::problem::ModelProblem;
use crate::replay::Request;
use crate::rollup::LeavesLimits;

/// Where and within which limits models work.
#[derive(Clone, Debug)]
pub struct ModelsOptions {
    /// The disk for what does not fit into memory.
    pub disk: Arc<dyn Disk>,
    /// The folder for it; its content is removed at start.
    pub folder: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// Keys of one model in memory; more are written to disk.
    pub keys_in_memory_max: usize,
    /// Limits of rollups.
    pub leaves: LeavesLimits,
    /// Bytes of one joined table in memory.
    pub joined_bytes_max: usize,
    /// Committed rows of an input that a model of a process that only follows has still to see; with more it does not
    /// run ahead of the process that commits.
    pub ahead_rows_max: u64,
    /// Where runs and broken rules are told.
    pub events: Events,
    /// What models run on.
    pub engines: Engines,
}

impl ModelsOptions {
    /// The usual limits.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, folder: PathBuf, clock: Clock) -> Self {
        let leaves = LeavesLimits::default();
        let (keys_in_memory_max, joined_bytes_max, ahead_rows_max) = (2_000_000, 256 << 20, 1 << 21);
        Self {
            disk,
            folder,
            clock,
            keys_in_memory_max,
            leaves,
            joined_bytes_max,
            ahead_rows_max,
            events: Events::unread(),
            engines: Engines::default(),
        }
    }
}

/// A model; one of whose tables is not open has failed and does no work.
#[derive(Debug)]
struct Running {
    progress: Arc<Progress>,
    work: Option<AtWork>,
}

/// A model's tables and how it is reached.
#[derive(Debug)]
struct AtWork {
    input: Arc<Table>,
    output: Arc<Table>,
    txn: TxnId,
    /// The tables that it joins, where it follows them.
    joined: Vec<Arc<Table>>,
    replays: mpsc::WeakSender<Request>,
}

impl Running {
    fn last_change(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.input.last_change().0)
    }

    /// Waits until what was made of the ended epochs is committed, with joined tables as they are.
    async fn settled(&self) {
        let Some(work) = &self.work else { return };
        let joined: Vec<_> = work.joined.iter().map(|table| table.head()).collect();
        self.progress.wait_committed(work.input.last_seal()).await;
        for head in joined {
            let version = i64::try_from(head.version().0).unwrap_or(i64::MAX);
            self.progress.wait_joined(&head.metadata().id, version).await;
        }
    }
}

/// All models of a project, at work.
#[derive(Debug)]
pub struct Models {
    running: Vec<Running>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    broken: watch::Sender<bool>,
}

/// The tables of a project with the columns that they store: the contracts', and those that models add.
///
/// # Errors
/// When a model cannot be planned; `validate` says so before.
pub fn table_specs(models: &[Model], contracts: &Contracts) -> Result<Vec<TableSpec>> {
    let mut specs = Vec::with_capacity(contracts.len());
    for contract in contracts.values() {
        let mut spec = TableSpec::of(Arc::clone(contract));
        if let Some(model) = models.iter().find(|model| model.dataset == contract.dataset) {
            spec.schema = stored_schema(model, contracts)?;
            spec.grouped = is_grouped(model.kind);
        }
        let reads =
            |model: &&Model| followed_tables(model).iter().any(|table| table.table == contract.dataset.as_str());
        spec.read_by = models.iter().filter(reads).map(|model| table_id(model.layer, &model.dataset)).collect();
        specs.push(spec);
    }
    Ok(specs)
}

impl Models {
    /// Starts all models, inputs first. Their work runs on the lake's CPU workers. To be called before anything is
    /// appended to the lake.
    ///
    /// # Errors
    /// When the models do not form a graph. A model that cannot be planned or run, or whose tables are not open, is
    /// `failed`, and the others work.
    pub async fn start(
        lake: &Arc<Lake>,
        models: &[Model],
        contracts: &Arc<Contracts>,
        options: &ModelsOptions,
    ) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let broken = watch::channel(false).0;
        let (jobs, running) = jobs(lake, models, contracts, options, (&stopped, &broken))?;
        let mut tasks = Vec::with_capacity(jobs.len());
        let mut ready = Vec::with_capacity(jobs.len());
        for job in jobs {
            // A place that cannot be taken now is taken by the model's own task, while the others work.
            let reader = match job.reader().await {
                Ok(reader) => Some(reader),
                Err(error) => {
                    tracing::warn!(model = %job.model.dataset, error = progress::in_words(&error), "the history of a model's input cannot be read yet");
                    None
                }
            };
            ready.push((job, reader));
        }
        for (job, reader) in ready {
            tasks.push(lake.cpu().spawn_cpu(owner::run(job, reader)));
        }
        Ok(Self { running, tasks, stop, broken })
    }

    /// Starts all models of a process that only follows: what they make is shown and committed by nobody.
    ///
    /// # Errors
    /// When the models do not form a graph.
    pub fn follow(
        lake: &Arc<Lake>,
        models: &[Model],
        contracts: &Arc<Contracts>,
        options: &ModelsOptions,
        following: Following,
    ) -> Result<Self> {
        let (stop, mut stopped) = watch::channel(false);
        let broken = watch::channel(false).0;
        let (jobs, running) = jobs(lake, models, contracts, options, (&stopped, &broken))?;
        let replica = Replica::new(Arc::clone(lake), jobs, following);
        let breaks = broken.clone();
        let task = lake.cpu().spawn_cpu(async move {
            tokio::select! {
                ran = AssertUnwindSafe(replica.run()).catch_unwind() => {
                    breaks.send_replace(ran.is_err());
                }
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        Ok(Self { running, tasks: vec![task], stop, broken })
    }

    /// Waits until a task has panicked where nothing but a new start of everything helps: of lake and models, from the
    /// tables. For ever, as a rule.
    pub async fn must_restart(&self) {
        let mut broken = self.broken.subscribe();
        let _ = broken.wait_for(|broken| *broken).await;
    }

    /// Waits until every model has processed what its input held when this was called, inputs first; for models that
    /// have failed, and those behind them, it does not wait. Ask when landing has taken up what was in the log: readers
    /// then see no fewer rows than before a crash.
    pub async fn caught_up(&self) {
        for model in &self.running {
            model.progress.wait_processed(model.last_change()).await;
        }
    }

    /// Waits until every model has committed what it made of the epochs that have ended in its input, inputs first; for
    /// models that have failed, and those behind them, it does not wait.
    pub async fn settled(&self) {
        for model in &self.running {
            model.settled().await;
        }
    }

    /// What each model is doing, inputs first.
    #[must_use]
    pub fn statuses(&self) -> Vec<ModelStatus> {
        self.running.iter().map(|model| model.progress.status(model.last_change())).collect()
    }

    /// Stops the models and waits for them. What is not committed is made again at the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!("a model's task panicked while it was stopped");
            }
        }
    }
}

/// One model's progress, for who waits for its table alone. A dataset without a model is waited for by nobody.
impl Models {
    /// As [`Models::caught_up`], of one model.
    pub async fn caught_up_of(&self, dataset: &DatasetName) {
        if let Some(model) = self.running.iter().find(|model| model.progress.is_of(dataset)) {
            model.progress.wait_processed(model.last_change()).await;
        }
    }

    /// As [`Models::settled`], of one model and those that it derives from, whose corrections are its to follow.
    pub async fn settled_of(&self, dataset: &DatasetName) {
        let (mut wanted, mut chain) = (vec![dataset.clone()], Vec::new());
        for model in self.running.iter().rev() {
            if wanted.iter().any(|dataset| model.progress.is_of(dataset)) {
                let work = model.work.iter();
                let read = work.flat_map(|work| std::iter::once(&work.input).chain(&work.joined));
                wanted.extend(read.map(|table| table.contract().dataset.clone()));
                chain.push(model);
            }
        }
        for model in chain.into_iter().rev() {
            model.settled().await;
        }
    }
}

impl Models {
    /// The transaction under which a model's table says how far the model has come.
    #[must_use]
    pub fn transaction_of(&self, dataset: &DatasetName) -> Option<TxnId> {
        Some(self.at_work(dataset)?.txn.clone())
    }

    /// A model's table, and where portions of its quarantine are sent.
    pub(crate) fn replays_of(&self, dataset: &DatasetName) -> Option<(Arc<Table>, mpsc::Sender<Request>)> {
        let work = self.at_work(dataset)?;
        Some((Arc::clone(&work.output), work.replays.upgrade()?))
    }

    fn at_work(&self, dataset: &DatasetName) -> Option<&AtWork> {
        self.running.iter().find(|model| model.progress.is_of(dataset))?.work.as_ref()
    }
}

/// How far a model's table has come in its input, by the commits that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The version of the input that the last commit consumed.
    pub consumed: Option<i64>,
    /// The version of the input that is there.
    pub there: i64,
}

/// How far each model has come, inputs first; those whose tables are not open are left out.
///
/// # Errors
/// When the models do not form a graph.
pub fn consumed(lake: &Lake, models: &[Model], contracts: &Contracts) -> Result<Vec<Consumed>> {
    let far = |tables: EdgeTables| {
        let there = i64::try_from(tables.input.head().version().0).unwrap_or(i64::MAX);
        Consumed { consumed: tables.output.committed_txn(&tables.txn), there }
    };
    Ok(edges(lake, models, contracts)?.into_iter().filter_map(|edge| edge.tables.ok()).map(far).collect())
}

/// Whether any input has rows that its model has not consumed.
///
/// # Errors
/// As [`consumed`]; when the history of an input cannot be read.
pub async fn has_rows_to_consume(lake: &Lake, models: &[Model], contracts: &Contracts) -> Result<bool> {
    for edge in edges(lake, models, contracts)? {
        let Ok(EdgeTables { input, output, txn }) = edge.tables else { continue };
        let consumed = output.committed_txn(&txn);
        if input.history(consumed, &input.head()).await?.iter().any(|increment| !increment.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What each model's task is given, and what the outside sees of each model, both inputs first.
fn jobs(
    lake: &Arc<Lake>,
    models: &[Model],
    contracts: &Arc<Contracts>,
    options: &ModelsOptions,
    (stop, broken): (&watch::Receiver<bool>, &watch::Sender<bool>),
) -> Result<(Vec<Job>, Vec<Running>)> {
    let mut jobs: Vec<Job> = Vec::with_capacity(models.len());
    let mut running: Vec<Running> = Vec::with_capacity(models.len());
    for Edge { model, tables } in edges(lake, models, contracts)? {
        let makes = |table: &TableUse| running.iter().find(|made| made.progress.is_named(&table.table));
        let upstream = model.tables.iter().filter_map(makes).map(|made| Arc::clone(&made.progress));
        let progress = Arc::new(Progress::new(model, options.engines.of(model), upstream.collect()));
        let EdgeTables { input, output, txn } = match tables {
            Ok(tables) => tables,
            Err(error) => {
                progress.failed(&error.into());
                running.push(Running { progress, work: None });
                continue;
            }
        };
        let (to_replay, replays) = mpsc::channel(1);
        let job = Job {
            replays: tokio::sync::Mutex::new(replays),
            to_replay,
            lake: Arc::clone(lake),
            model: model.clone(),
            contracts: Arc::clone(contracts),
            txn,
            feeding: feeding(models, contracts, input.contract().dataset.as_str()),
            input,
            output,
            options: options.clone(),
            progress,
            stop: stop.clone(),
            broken: broken.clone(),
        };
        running.push(Running::of(&job));
        jobs.push(job);
    }
    Ok((jobs, running))
}

/// A model with its tables, or why one of them is not open.
struct Edge<'a> {
    model: &'a Model,
    tables: Result<EdgeTables, LakeError>,
}

/// The driving table of a model and its own.
struct EdgeTables {
    input: Arc<Table>,
    output: Arc<Table>,
    /// Names the input's versions in the commits of the output.
    txn: TxnId,
}

/// All models with their tables, inputs first.
fn edges<'a>(lake: &Lake, models: &'a [Model], contracts: &Contracts) -> Result<Vec<Edge<'a>>> {
    let graph = Graph::build(models, contracts).map_err(|problems| first_problem(models, problems))?;
    let mut edges = Vec::with_capacity(models.len());
    for index in graph.order() {
        let Some(model) = models.get(*index) else { continue };
        edges.extend(tables_of(lake, model, graph.inputs(*index)).map(|tables| Edge { model, tables }));
    }
    Ok(edges)
}

/// The tables of a model that reads these; `None` of one that reads none.
fn tables_of(lake: &Lake, model: &Model, inputs: &[DatasetName]) -> Option<Result<EdgeTables, LakeError>> {
    let driving = inputs.first()?;
    let open = || {
        let output = Arc::clone(lake.table(&model.dataset)?);
        inputs.iter().try_for_each(|input| lake.table(input).map(|_| ()))?;
        let input = Arc::clone(lake.table(driving)?);
        let txn = TxnId::model(&model.dataset, &input.head().metadata().id);
        Ok(EdgeTables { input, output, txn })
    };
    Some(open())
}

impl Running {
    fn of(job: &Job) -> Self {
        let work = AtWork {
            input: Arc::clone(&job.input),
            output: Arc::clone(&job.output),
            txn: job.txn.clone(),
            joined: job.joined(),
            replays: job.to_replay.downgrade(),
        };
        Self { progress: Arc::clone(&job.progress), work: Some(work) }
    }
}

fn first_problem(models: &[Model], problems: Vec<crate::graph::GraphProblem>) -> Error {
    let found = problems.into_iter().next().map(|p| (p.model, p.problem));
    let (model, problem) = found.unwrap_or_else(|| {
        let name = models.first().map(|m| m.dataset.clone());
        let problem = ModelProblem {
            line: 1,
            column: 1,
            message: "the models form no graph".to_owned(),
            help: "run validate".to_owned(),
        };
        (name.unwrap_or_else(unnamed), problem)
    });
    Error::Model { model, problem: Box::new(problem) }
}

#[expect(clippy::expect_used, reason = "the literal is a valid name")]
fn unnamed() -> DatasetName {
    DatasetName::new("models").expect("a valid name")
}

/// A dataset's table in the catalogue.
pub(crate) fn table_id(layer: Layer, dataset: &DatasetName) -> TableId {
    TableId::new(Space::from(layer), dataset.clone())
}
