//! The work of a rollup model: partial groups → leaves → the overlay that readers see, and for an epoch that has ended
//! a commit that rewrites the leaves that changed.
//!
//! One task does both, so that what is shown and what is committed never disagree. Invariant: the overlay and the head
//! are of the same moment of the leaves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use vitalake_contract::Contract;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::delta::action::Txn;
use vitalake_lake::{DataFile, FilePath, Overlay, Seal, TxnId, TxnKind};

use crate::engine::Blame;
use crate::error::{Error, Result};
use crate::graph::Contracts;
use crate::kind::append::count;
use crate::kind::open::known_version;
use crate::kind::rejects::failed_rows;
use crate::kind::seen::Recovered;
use crate::kind::{Made, Process, Rows};
use crate::model::Model;
use crate::plan;
use crate::problem::ModelProblem;
use crate::rollup::{HeadLeaf, Leaves, RollupPlan, RollupShape, Sealed, Shown, TimeRange};
use crate::run::Job;
use crate::run::progress::Counts;

/// Epochs that may wait for their commit before the model waits for them.
const OPEN_EPOCHS_MAX: usize = 32;

/// What the merge cannot do.
pub(crate) fn problems(model: &Model, contract: &Contract, plan: &LogicalPlan) -> Vec<ModelProblem> {
    RollupShape::of(model, contract, plan).err().unwrap_or_default()
}

/// The contract's columns, and what the merge needs beside.
pub(crate) fn stored_schema(
    model: &Model,
    contract: &Contract,
    contracts: &Contracts,
) -> Result<SchemaRef, ModelProblem> {
    let schemas = plan::input_schemas(model, contracts)?;
    let planned = plan::plan(model, model.query.as_ref().clone(), &schemas)?;
    let first = |problems: Vec<ModelProblem>| problems.into_iter().next();
    RollupShape::of(model, contract, &planned.plan).map(|shape| shape.stored_schema()).map_err(|problems| {
        first(problems).unwrap_or_else(|| ModelProblem::at(model.place, "the rollup cannot be planned", "simplify it"))
    })
}

/// An epoch of the input that has ended.
struct OpenEpoch {
    input: Arc<Seal>,
    sealed: Sealed,
    /// The output's own seal, where rows were rejected.
    rejects: Option<Arc<Seal>>,
}

/// A rollup model at work.
pub(crate) struct RollupWork {
    pub(super) plan: RollupPlan,
    pub(super) leaves: Leaves,
    pub(super) blame: Blame,
    process: Process,
    /// Rejects that a crash has left committed without the groups beside them.
    recovered: Option<Recovered>,
    /// Rows were rejected since the last epoch.
    rejected: bool,
    /// Epochs that have ended and are not committed, oldest first.
    open: VecDeque<OpenEpoch>,
    /// Files of leaves that were set aside, until a commit names them or nothing does any longer.
    aside: HashMap<String, Arc<DataFile>>,
    /// Groups are being merged and not shown yet.
    merging: bool,
}

impl RollupWork {
    pub(crate) async fn start(job: &Job, process: Process) -> Result<Self> {
        let plan = RollupPlan::compile_on(&job.on()?, &job.model, &job.contracts).await?;
        of_this_input(job, &job.output.head())?;
        let leaves = Leaves::new(&plan, job.options.leaves, head_leaves(&job.output.head(), &plan))?;
        let recovered = match process {
            Process::Owner { rejects_ahead } => {
                // Those of a task before this one come again with the groups beside them.
                job.output.take_back_rejects().await;
                Recovered::read(job, rejects_ahead).await?
            }
            Process::Replica => None,
        };
        Ok(Self {
            plan,
            leaves,
            blame: Blame::default(),
            process,
            rejected: false,
            recovered,
            open: VecDeque::new(),
            aside: HashMap::new(),
            merging: false,
        })
    }

    pub(crate) fn needed(&self) -> &[String] {
        self.plan.needed()
    }

    pub(crate) fn begin(&mut self, job: &Job, head: &Snapshot) -> Result<()> {
        self.leaves = Leaves::new(&self.plan, job.options.leaves, head_leaves(head, &self.plan))?;
        self.merging = false;
        Ok(())
    }

    pub(crate) async fn take_in(
        &mut self,
        job: &Job,
        head: &Snapshot,
        rows: Rows<'_>,
        counts: &mut Counts,
    ) -> Result<Made> {
        let mut ran = self.plan.partial_each(rows.batches).await?;
        let mut rejects = failed_rows(job, &mut self.blame, &mut ran).await?;
        rejects = self.not_yet_rejected(rejects, rows.version)?;
        let partial = ran.made;
        for (leaf, paths) in self.leaves.missing(&partial)? {
            let held = self.held_rows(job, head, &paths).await?;
            self.leaves.load(leaf, &held)?;
        }
        self.merging = true;
        self.leaves.apply(&partial)?;
        counts.rows_in += count(rows.batches);
        counts.rows_out += count(&partial);
        counts.rows_rejected += count(&rejects);
        if self.process == Process::Replica && self.leaves.is_full() {
            let rows = self.leaves.rows_in_memory() as u64;
            let rows_max = job.options.leaves.dirty_rows_max as u64;
            return Err(Error::FarBehind { dataset: job.model.dataset.clone(), rows, rows_max });
        }
        Ok(Made { rejects, ..Made::default() })
    }

    /// Leaves out of rejects those that a crash has left committed.
    pub(super) fn not_yet_rejected(
        &mut self,
        rejects: Vec<RecordBatch>,
        version: Option<i64>,
    ) -> Result<Vec<RecordBatch>> {
        match &mut self.recovered {
            Some(recovered) => recovered.not_yet_rejected(rejects, version),
            None => Ok(rejects),
        }
    }

    /// What is in the leaves is half of something from here on, until it is published.
    pub(super) fn set_merging(&mut self) {
        self.merging = true;
    }

    /// What is in the leaves is what is shown.
    pub(super) fn merged(&mut self) {
        self.merging = false;
    }

    pub(crate) fn overlay(&mut self) -> Result<Overlay> {
        Ok(overlay(self.leaves.overlay()?, &self.aside))
    }

    pub(crate) fn publish(&mut self, job: &Job, made: Made) -> Result<()> {
        let overlay = self.overlay()?;
        if !made.rejects.is_empty() {
            self.rejected = true;
            job.output.append(Vec::new(), made.rejects, [])?;
        }
        job.output.publish_overlay(overlay);
        self.merging = false;
        Ok(())
    }

    pub(crate) fn must_begin_again(&self) -> bool {
        self.merging
    }

    pub(crate) fn end_epoch(&mut self, job: &Job, input: Arc<Seal>) -> Result<()> {
        let sealed = self.leaves.seal()?;
        let rejects = std::mem::take(&mut self.rejected).then(|| job.output.seal_anyway());
        self.open.push_back(OpenEpoch { input, sealed, rejects });
        Ok(())
    }

    /// Writes leaves to files that no commit names yet: an epoch may change more groups than memory has room for.
    pub(crate) async fn make_room(&mut self, job: &Job) -> Result<()> {
        if self.set_aside(job).await? {
            let shown = self.leaves.overlay()?;
            job.output.publish_overlay(overlay(shown, &self.aside));
        }
        Ok(())
    }

    /// The same without showing it; says whether there was anything to do.
    pub(super) async fn set_aside(&mut self, job: &Job) -> Result<bool> {
        if !self.leaves.is_full() || !self.open.is_empty() {
            return Ok(false);
        }
        for (leaf, rows) in self.leaves.to_set_aside()? {
            let mut attempts = 0;
            let files = loop {
                match job.output.write_rows(rows.clone()).await {
                    Ok(files) => break files,
                    Err(error) => job.try_again(&mut attempts, error.into()).await?,
                }
            };
            // A leaf's rows are one file, and a leaf without rows stays where it is.
            if let [file] = files.as_slice() {
                self.leaves.set_aside(leaf, file.path().to_string());
                self.aside.insert(file.path().to_string(), Arc::clone(file));
            }
        }
        let shown = self.leaves.overlay()?;
        self.aside.retain(|path, _| shown.aside.contains(path));
        Ok(true)
    }

    /// Commits the oldest epochs whose input's version is known; waits for one where too many are open.
    pub(crate) async fn commit_known(&mut self, job: &Job, first_seal: u64) -> Result<()> {
        let full = |work: &Self| work.open.len() >= OPEN_EPOCHS_MAX || work.leaves.is_full();
        while let Some(version) = known_version(self.oldest_open(), full(self)).await {
            self.commit(job, version, first_seal).await?;
        }
        Ok(())
    }

    /// The end of the oldest epoch that waits for its commit.
    pub(crate) fn oldest_open(&self) -> Option<&Arc<Seal>> {
        self.open.front().map(|epoch| &epoch.input)
    }

    /// Commits the oldest epoch that has ended, as that version of the input.
    pub(super) async fn commit(&mut self, job: &Job, version: i64, first_seal: u64) -> Result<()> {
        let Some(OpenEpoch { input, sealed, rejects }) = self.open.pop_front() else { return Ok(()) };
        let removes: Vec<FilePath> = self.leaves.removes(&sealed).iter().map(|path| FilePath::of_store(path)).collect();
        let head = job.output.head();
        if let Some(path) = removes.iter().find(|path| head.file(path).is_none()) {
            // Something else rewrote the table. To go on would count its rows twice.
            job.output.lose_lease();
            return Err(gone(path.as_str()));
        }
        let mut attempts = 0;
        let files = loop {
            match written(job, &sealed).await {
                Ok(files) => break files,
                Err(error) => job.commit_again(&mut attempts, error).await?,
            }
        };
        let path = |file: &Arc<DataFile>| file.path().to_string();
        let paths: Vec<Vec<String>> = files.iter().map(|leaf| leaf.iter().map(path).collect()).collect();
        let aside = sealed.aside().filter_map(|path| self.aside.get(path)).cloned();
        let files: Vec<_> = files.into_iter().flatten().chain(aside).collect();
        loop {
            let (leaves, aside) = (&mut self.leaves, &self.aside);
            let mut shown = Ok(());
            let txns = vec![(job.txn.clone(), version)];
            let committing = job.output.commit_replace(&removes, &files, txns, rejects.as_ref(), || {
                leaves.committed(&sealed, &paths);
                match leaves.overlay() {
                    Ok(now) => overlay(now, aside),
                    Err(error) => {
                        shown = Err(error);
                        Overlay::default()
                    }
                }
            });
            match committing.await {
                Ok(_) => {
                    shown?;
                    break;
                }
                Err(error) => job.commit_again(&mut attempts, error.into()).await?,
            }
        }
        job.progress.ok();
        job.progress.committed(Job::seal_number(first_seal, &input), Some(version));
        Ok(())
    }

    /// The rows of some leaves: of files that were set aside, and of the table's.
    pub(super) async fn held_rows(&self, job: &Job, head: &Snapshot, paths: &[String]) -> Result<Vec<RecordBatch>> {
        let (set_aside, of_head): (Vec<&String>, Vec<&String>) =
            paths.iter().partition(|path| self.aside.contains_key(*path));
        let mut held = Vec::new();
        for file in set_aside.iter().filter_map(|path| self.aside.get(*path)) {
            held.extend(job.output.read_file(file).await?);
        }
        let read = rows_of(job, head, &of_head).await;
        if let Err(Error::Columns { .. }) = &read
            && self.process != Process::Replica
        {
            job.output.lose_lease();
        }
        held.extend(read?);
        Ok(held)
    }
}

/// Refuses a table whose groups were made of another input than the one that is there: what they hold would count twice.
pub(super) fn of_this_input(job: &Job, head: &Snapshot) -> Result<()> {
    if head.file_count() == 0 || head.txn(job.txn.as_str()).is_some() {
        return Ok(());
    }
    let is_of_another = |txn: &Txn| {
        let id = TxnId::parse(&txn.app_id);
        matches!(id.kind(), TxnKind::Model { name, .. } if name == job.model.dataset.as_str())
    };
    if !head.txns().any(is_of_another) {
        return Ok(());
    }
    let (table, input) = (job.output.id().to_string(), job.input.id().to_string());
    Err(Error::InputMadeAnew { table, input })
}

/// The files of each sealed leaf, none where it has no rows; no commit names them yet.
pub(super) async fn written(job: &Job, sealed: &Sealed) -> Result<Vec<Vec<Arc<DataFile>>>> {
    let mut files = Vec::with_capacity(sealed.adds.len());
    for leaf in &sealed.adds {
        files.push(job.output.write_rows(leaf.clone()).await?);
    }
    Ok(files)
}

fn gone(path: &str) -> Error {
    let detail = format!("file {path} is not in its table any longer; only the model itself may rewrite it");
    Error::Columns { what: "a leaf of the rollup".to_owned(), detail }
}

/// The rows of some of a version's files.
async fn rows_of(job: &Job, head: &Snapshot, paths: &[impl AsRef<str>]) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let file = head.file(&FilePath::of_store(path)).ok_or_else(|| gone(path))?;
        rows.extend(job.output.read_file(file).await?);
    }
    Ok(rows)
}

fn overlay(shown: Shown, aside: &HashMap<String, Arc<DataFile>>) -> Overlay {
    let early = shown.aside.iter().filter_map(|path| aside.get(path)).cloned().collect();
    let hidden = shown.hidden.iter().map(|path| FilePath::of_store(path)).collect();
    Overlay { hidden: Arc::new(hidden), early, rows: shown.rows }
}

/// The table's files as leaves, by the statistics of the time column.
fn head_leaves(head: &Snapshot, plan: &RollupPlan) -> Vec<HeadLeaf> {
    let (name, kind) = plan.shape().time_column();
    head.files()
        .map(|file| {
            let rows = file.rows.unwrap_or(0);
            let stats = file.stats();
            let bound = |value: Option<ScalarValue>| value.as_ref().and_then(time_value);
            let nulls = stats.as_ref().and_then(|stats| stats.null_count(name));
            let range: TimeRange = match stats {
                Some(stats) => match (bound(stats.min(name, kind)), bound(stats.max(name, kind))) {
                    (Some(from), Some(to)) => Some((from, to)),
                    _ if nulls.is_some() && nulls == file.rows => None,
                    _ => Some((i64::MIN, i64::MAX)),
                },
                None => Some((i64::MIN, i64::MAX)),
            };
            let (path, rows) = (file.path().to_string(), usize::try_from(rows).unwrap_or(usize::MAX));
            HeadLeaf { path, rows, range, without_time: nulls != Some(0) }
        })
        .collect()
}

fn time_value(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Date32(days) => days.map(i64::from),
        ScalarValue::TimestampMicrosecond(time, _) => time.map(|t| t.div_euclid(1000)),
        _ => None,
    }
}
