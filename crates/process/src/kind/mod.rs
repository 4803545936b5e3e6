//! The kinds of models: for each, what its SELECT may be, what its table stores, and the work itself.
//!
//! The process that commits (`run::owner`) and one that only follows (`run::replica`) drive the same [`Work`]: rows are
//! taken in, what they make is published, and with the one that commits an epoch ends. Invariant: which kind a model
//! is, is asked here and where its text is read, and nowhere else.

mod append;
mod derive;
mod events;
mod explained;
mod full;
mod joined;
mod open;
mod portion;
mod regroup;
mod rejects;
mod rejoined;
mod remade;
mod replayed;
mod rollup;
mod seen;
mod upsert;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use vitalake_contract::Contract;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{Account, Increment, Newer, Overlay, Seal, Table, TxnId};

use crate::error::{Error, Result};
use crate::graph::Contracts;
use crate::model::{Kind, Model, TableUse};
use crate::problem::ModelProblem;
use crate::replay::{Came, Request};
use crate::run::Job;
use crate::run::progress::Counts;

pub(crate) use append::count;

use append::AppendWork;
use full::FullWork;
use rollup::RollupWork;
use upsert::UpsertWork;

pub use events::SEQUENCE_RULE;
pub use rejects::MODEL_EXPRESSION_RULE;

/// What comes of rows: for a rollup its rows are in its overlay.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) rejects: Vec<RecordBatch>,
    /// What it was made of, and what of that is neither.
    pub(crate) account: Account,
}

/// Rows of an input, with the committed version that they came with where they were read from its history.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) batches: &'a [RecordBatch],
    pub(crate) version: Option<i64>,
}

/// An epoch of an input that ended, to be committed beside the work: the input's seal, the output's own, and the
/// versions of the other tables that were read.
pub(crate) struct EndedEpoch {
    pub(crate) input: Arc<Seal>,
    pub(crate) own: Arc<Seal>,
    pub(crate) joined: Vec<(String, i64)>,
}

/// Which process a work is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// The one that commits. `rejects_ahead` is the version of the input whose rejects are committed already, when its
    /// rows are not.
    Owner { rejects_ahead: Option<i64> },
    /// One that follows what another commits.
    Replica,
}

/// A model at work.
pub(crate) enum Work {
    /// Its rows are added to the table's.
    Append(Box<AppendWork>),
    /// Its groups take the place of whole files.
    Rollup(Box<RollupWork>),
    /// Its rows follow from events by key.
    Upsert(Box<UpsertWork>),
    /// Its table is computed as a whole.
    Full(Box<FullWork>),
}

/// What a kind does not allow in a plan that can be made.
pub(crate) fn problems(model: &Model, contract: &Contract, plan: &LogicalPlan) -> Vec<ModelProblem> {
    let mut problems = match model.kind {
        Kind::Append | Kind::Full => Vec::new(),
        Kind::Rollup => rollup::problems(model, contract, plan),
        Kind::Upsert => crate::upsert::shape::problems(model, contract, plan),
    };
    if contract.history && model.kind != Kind::Upsert {
        let message =
            format!("the contract asks for history, and a model of kind {:?} keeps none", model.kind.as_str());
        problems.push(ModelProblem::at(model.place, message, "make it `-- kind: upsert`, or remove `history`"));
    }
    problems
}

/// The columns of a model's table as it is stored: the contract's, then the hidden ones, which begin with `_`. For an
/// append model those say where a row comes from; for a rollup they are what the merge of its aggregates needs.
///
/// # Errors
/// When the model cannot be planned.
pub fn stored_schema(model: &Model, contracts: &Contracts) -> Result<SchemaRef> {
    let problem = |problem: ModelProblem| Error::Model { model: model.dataset.clone(), problem: Box::new(problem) };
    let contract = contracts.get(&model.dataset).ok_or_else(|| {
        problem(ModelProblem::at(model.place, "the model's dataset has no contract", "add its contract"))
    })?;
    match model.kind {
        Kind::Append => Ok(crate::append::stored_schema(contract)),
        Kind::Rollup => rollup::stored_schema(model, contract, contracts).map_err(problem),
        Kind::Upsert => Ok(crate::upsert::stored_schema(contract)),
        Kind::Full => Ok(contract.schema()),
    }
}

/// Whether the files of a model's table are kept in shape by the model itself.
pub(crate) fn is_grouped(kind: Kind) -> bool {
    match kind {
        Kind::Append => false,
        Kind::Rollup | Kind::Upsert | Kind::Full => true,
    }
}

/// Whether a model shows nothing before its commit, so that a process that only follows has nothing to show ahead.
pub(crate) fn shows_commits_alone(kind: Kind) -> bool {
    match kind {
        Kind::Append | Kind::Rollup => false,
        Kind::Upsert | Kind::Full => true,
    }
}

/// How far a model's events have come in its input, where it keeps any: its table may be behind them after a crash.
pub(crate) async fn consumed_by_state(kind: Kind, output: &Table, txn: &TxnId) -> Result<Option<i64>> {
    match kind {
        Kind::Append | Kind::Rollup | Kind::Full => Ok(None),
        Kind::Upsert => Ok(output.state_txn(txn).await?),
    }
}

/// The tables of a model's FROM whose changes it follows row by row.
pub(crate) fn followed_tables(model: &Model) -> &[TableUse] {
    match model.kind {
        Kind::Append => model.tables.as_slice(),
        Kind::Rollup | Kind::Upsert => model.tables.get(..1).unwrap_or_default(),
        // It reads its inputs as they are.
        Kind::Full => &[],
    }
}

/// Writes what a kind of model writes beside its steps, for ever.
pub(crate) async fn write_beside(job: &Job) {
    match job.model.kind {
        Kind::Append => append::write_early_forever(job).await,
        Kind::Rollup | Kind::Upsert | Kind::Full => std::future::pending().await,
    }
}

impl Work {
    /// Compiles the model and reads what it has to know of its table.
    pub(crate) async fn start(job: &Job, process: Process) -> Result<Self> {
        Ok(match job.model.kind {
            Kind::Append => Self::Append(Box::new(AppendWork::start(job, process).await?)),
            Kind::Rollup => Self::Rollup(Box::new(RollupWork::start(job, process).await?)),
            Kind::Upsert => {
                let rejects_ahead = match process {
                    Process::Owner { rejects_ahead } => rejects_ahead,
                    Process::Replica => None,
                };
                Self::Upsert(Box::new(UpsertWork::start(job, rejects_ahead).await?))
            }
            Kind::Full => Self::Full(Box::new(FullWork::start(job).await?)),
        })
    }

    /// The columns that are read of the input.
    pub(crate) fn needed(&self) -> &[String] {
        match self {
            Self::Append(work) => work.needed(),
            Self::Rollup(work) => work.needed(),
            Self::Upsert(_) | Self::Full(_) => &[],
        }
    }

    /// Forgets what it has made, and goes on after a head with the files that came to it since the last one.
    pub(crate) async fn begin(&mut self, job: &Job, head: &Snapshot, newer: Option<&Newer>) -> Result<()> {
        match self {
            Self::Append(work) => work.begin(job, newer).await,
            Self::Rollup(work) => work.begin(job, head),
            Self::Upsert(_) | Self::Full(_) => Ok(()),
        }
    }

    /// Takes in an increment where the work reads its files itself; `None` where they come by steps.
    pub(crate) async fn take_increment(&mut self, job: &Job, increment: &Increment) -> Option<Result<Counts>> {
        match self {
            Self::Append(_) | Self::Rollup(_) => None,
            Self::Upsert(work) => Some(work.take_increment(job, increment).await),
            // It reads its inputs when their commits are known.
            Self::Full(_) => Some(Ok(Counts::default())),
        }
    }

    /// Whether what it has made must be committed before it takes in a commit that took rows away.
    pub(crate) fn corrects_between_epochs(&self) -> bool {
        match self {
            Self::Append(_) => true,
            Self::Rollup(_) | Self::Upsert(_) | Self::Full(_) => false,
        }
    }

    /// Takes in a commit that took rows of the input away, at a moment when nothing else is under way, and nobody takes
    /// rejects out of quarantine.
    pub(crate) async fn take_back(&mut self, job: &Job, increment: &Increment, counts: &mut Counts) -> Result<()> {
        match self {
            Self::Append(work) => work.take_back(job, increment, counts).await,
            Self::Rollup(work) => work.take_back(job, increment, counts).await,
            Self::Upsert(_) | Self::Full(_) => Ok(()),
        }
    }

    /// Whether a joined table has another version than the one that all rows are made with.
    pub(crate) fn joined_has_moved(&self) -> bool {
        match self {
            Self::Append(work) => work.joined_has_moved(),
            Self::Rollup(_) | Self::Upsert(_) | Self::Full(_) => false,
        }
    }

    /// Waits until one has; for ever where none is followed.
    pub(crate) async fn joined_moves(&self) {
        match self {
            Self::Append(work) => work.joined_moves().await,
            Self::Rollup(_) | Self::Upsert(_) | Self::Full(_) => std::future::pending().await,
        }
    }

    /// Makes again what changed rows of joined tables explain, at such a moment.
    pub(crate) async fn follow_joined(&mut self, job: &Job, counts: &mut Counts) -> Result<()> {
        match self {
            Self::Append(work) => work.follow_joined(job, counts).await,
            Self::Rollup(_) | Self::Upsert(_) | Self::Full(_) => Ok(()),
        }
    }

    /// What comes of more rows of the input. A call that failed may be made again with the same rows, unless
    /// [`Work::must_begin_again`] says otherwise.
    pub(crate) async fn take_in(
        &mut self,
        job: &Job,
        head: &Snapshot,
        rows: Rows<'_>,
        counts: &mut Counts,
    ) -> Result<Made> {
        match self {
            Self::Append(work) => work.take_in(job, rows, counts).await,
            Self::Rollup(work) => work.take_in(job, head, rows, counts).await,
            Self::Upsert(_) | Self::Full(_) => Ok(Made::default()),
        }
    }

    /// What a rollup shows in the place of files; `None` for other models.
    pub(crate) fn overlay(&mut self) -> Result<Option<Overlay>> {
        match self {
            Self::Append(_) | Self::Upsert(_) | Self::Full(_) => Ok(None),
            Self::Rollup(work) => work.overlay().map(Some),
        }
    }

    /// Shows readers what [`Work::take_in`] gave. It has not entered the table when this fails.
    pub(crate) fn publish(&mut self, job: &Job, made: Made) -> Result<()> {
        match self {
            Self::Append(work) => work.publish(job, made),
            Self::Rollup(work) => work.publish(job, made),
            Self::Upsert(_) | Self::Full(_) => Ok(()),
        }
    }

    /// Whether a step that failed has left it half done, so that it must be made anew from the table.
    pub(crate) fn must_begin_again(&self) -> bool {
        match self {
            Self::Append(_) | Self::Upsert(_) | Self::Full(_) => false,
            Self::Rollup(work) => work.must_begin_again(),
        }
    }

    /// Whether what is not committed can be forgotten and made again from the table while the process goes on.
    pub(crate) fn begins_again_from_its_table(&self) -> bool {
        match self {
            Self::Append(_) => false,
            Self::Rollup(_) | Self::Upsert(_) | Self::Full(_) => true,
        }
    }

    /// Makes room in memory after a step, or waits for it.
    pub(crate) async fn make_room(&mut self, job: &Job) -> Result<()> {
        match self {
            Self::Append(_) => {
                job.output.wait_for_room().await;
                Ok(())
            }
            Self::Rollup(work) => work.make_room(job).await,
            Self::Upsert(_) | Self::Full(_) => Ok(()),
        }
    }

    /// An epoch of the input ends here; gives what is to be committed beside the work, where that can be done.
    pub(crate) fn end_epoch(&mut self, job: &Job, seal: Arc<Seal>) -> Result<Option<EndedEpoch>> {
        match self {
            Self::Append(work) => Ok(Some(work.end_epoch(job, seal))),
            Self::Rollup(work) => work.end_epoch(job, seal).map(|()| None),
            Self::Upsert(work) => {
                work.end_epoch(job, seal);
                Ok(None)
            }
            Self::Full(work) => {
                work.end_epoch(seal);
                Ok(None)
            }
        }
    }

    /// Commits the ended epochs whose input's version is known, where the work itself has to do it. Where later
    /// epochs have ended too, a work whose commit costs less for several at once may take these in first.
    pub(crate) async fn commit_known(&mut self, job: &Job, first_seal: u64, is_behind: bool) -> Result<()> {
        match self {
            Self::Append(_) => Ok(()),
            Self::Rollup(work) => work.commit_known(job, first_seal).await,
            Self::Upsert(work) => work.commit_known(job, first_seal, is_behind).await,
            Self::Full(work) => work.commit_known(job, first_seal).await,
        }
    }

    /// Whether rejects can be put through at any moment, or else between two epochs alone.
    pub(crate) fn replays_at_any_time(&self) -> bool {
        match self {
            Self::Append(_) | Self::Full(_) => true,
            Self::Rollup(_) | Self::Upsert(_) => false,
        }
    }

    /// Puts rejects of the table through again. The work's own increments wait meanwhile.
    pub(crate) async fn replay(&mut self, job: &Job, request: &Request, first_seal: u64) -> Result<Came> {
        match self {
            Self::Append(work) => work.replay(job, request).await,
            Self::Rollup(work) => work.replay(job, request, first_seal).await,
            Self::Upsert(work) => work.replay(job, request, first_seal).await,
            Self::Full(_) => {
                let why = "its table is computed anew as a whole whenever an input changes, and its rejects with it: mend the model or the contract, start the server again, and let an input change";
                Err(Error::NoReplay { dataset: job.model.dataset.clone(), why })
            }
        }
    }

    /// Waits until [`Work::commit_known`] has something to do; for ever where it never has.
    pub(crate) async fn knows_a_version(&self) {
        match self {
            Self::Append(_) => std::future::pending().await,
            Self::Rollup(work) => open::until_known(work.oldest_open()).await,
            Self::Upsert(work) => open::until_known(work.oldest_open()).await,
            Self::Full(work) => work.knows_a_version().await,
        }
    }
}
