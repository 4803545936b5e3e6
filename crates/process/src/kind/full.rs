//! The work of a full model: its SELECT over all rows of all its inputs, as they are committed, and the result in the
//! place of the table's files.
//!
//! It is computed when an input has a new version, and swapped in one commit; where it is what the table holds, the
//! commit only says how far the inputs were read. Invariant: the table is what the SELECT gives over one pinned value.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::FutureExt;
use futures::future::select_all;
use vitalake_contract::{Contract, DatasetName};
use vitalake_lake::{DataFile, FilePath, Overlay, Seal, Table, TxnId};

use crate::append::{cast_to, columns_of};
use crate::check::{RowChecks, quarantined, without};
use crate::engine::spark::statement::Wanted;
use crate::engine::{Blame, Engine, Ran};
use crate::error::{Error, Result};
use crate::groups::as_spark_groups;
use crate::kind::append::count;
use crate::kind::derive::{tell, tell_rejects};
use crate::kind::open::until_known;
use crate::kind::rejects::failed_rows;
use crate::kind::seen::Recovered;
use crate::plan::{Planned, named_schemas, plan};
use crate::problem::ModelProblem;
use crate::run::progress::Counts;
use crate::run::{Job, table_id};

/// A version of each input, with the id of its table.
type Versions = Vec<(String, i64)>;

/// A full model at work.
pub(crate) struct FullWork {
    engine: Engine,
    checks: RowChecks,
    blame: Blame,
    /// Whether a row gives its rows whatever the others are.
    by_row: bool,
    inputs: Vec<Arc<Table>>,
    /// The versions that the table was computed of.
    computed: Versions,
    /// Ends of the driving input's epochs that are not committed here.
    open: VecDeque<Arc<Seal>>,
}

/// What a computation gives.
struct Computed {
    rows: RecordBatch,
    rejects: Vec<RecordBatch>,
    counts: Counts,
}

impl FullWork {
    pub(crate) async fn start(job: &Job) -> Result<Self> {
        let contract = Arc::clone(job.output.contract());
        let problem = |problem| Error::Model { model: job.model.dataset.clone(), problem: Box::new(problem) };
        let schemas = named_schemas(&job.model, &job.contracts).map_err(problem)?;
        let query = job.model.query.as_ref().clone();
        let planned = plan(&job.model, query, &schemas).and_then(|planned| output(job, planned)).map_err(problem)?;
        let by_row = !is_aggregated(&planned.plan);
        let wanted = || Ok(Wanted { columns: columns_of(&contract), is_divisible: false, ..Wanted::default() });
        let on = job.on()?;
        let engine = Engine::compile_on(&on, &job.model, planned, wanted, "computing the table").await?;
        let checks = RowChecks::compile(contract, engine.schema())?;
        let mut inputs = Vec::new();
        for used in &job.model.tables {
            if let Ok(name) = DatasetName::new(&used.table) {
                inputs.push(Arc::clone(job.lake.table(&name)?));
            }
        }
        // Those of a task before this one come again.
        job.output.take_back_rejects().await;
        let head = job.output.head();
        let version = |table: &Arc<Table>| {
            let id = table.head().metadata().id.clone();
            let consumed = head.txn(TxnId::model(&job.model.dataset, &id));
            (id, consumed.unwrap_or(-1))
        };
        let computed = inputs.iter().map(version).collect();
        Ok(Self { engine, checks, blame: Blame::default(), by_row, inputs, computed, open: VecDeque::new() })
    }

    pub(crate) fn end_epoch(&mut self, input: Arc<Seal>) {
        self.open.push_back(input);
    }

    /// Computes the table where an input has a new version.
    pub(crate) async fn commit_known(&mut self, job: &Job, first_seal: u64) -> Result<()> {
        if self.has_moved() {
            let mut attempts = 0;
            while let Err(error) = self.compute_and_commit(job).await {
                job.try_again(&mut attempts, error).await?;
            }
            job.progress.ok();
        }
        let driving = self.computed.first().map_or(-1, |(_, version)| *version);
        if self.open.is_empty() {
            job.progress.committed(first_seal, Some(driving));
        }
        while let Some(version) = self.open.front().and_then(|seal| seal.version_now()).filter(|v| *v <= driving) {
            if let Some(seal) = self.open.pop_front() {
                job.progress.committed(Job::seal_number(first_seal, &seal), Some(version));
            }
        }
        Ok(())
    }

    fn has_moved(&self) -> bool {
        versions(&self.inputs) != self.computed
    }

    /// Waits until an input has a version that the table was not computed of, or an epoch's version is known.
    pub(crate) async fn knows_a_version(&self) {
        let mut watched: Vec<_> = self.inputs.iter().map(|table| table.watch()).collect();
        let moved = async {
            while !self.has_moved() {
                let changes = watched.iter_mut().map(|table| table.changed().boxed());
                let (changed, ..) = select_all(changes).await;
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = until_known(self.open.front()) => {}
            () = moved => {}
        }
    }

    async fn compute_and_commit(&mut self, job: &Job) -> Result<()> {
        let (versions, computed) = self.compute(job).await?;
        job.progress.count(computed.counts);
        let head = job.output.head();
        let held = self.held(job).await?;
        let (mut removes, mut adds): (Vec<FilePath>, Vec<Arc<DataFile>>) = Default::default();
        if held != computed.rows {
            adds = job.output.write_rows(vec![computed.rows]).await?;
            removes = head.files().map(|file| file.path().clone()).collect();
        }
        let rejects = if count(&computed.rejects) > 0 {
            job.output.append(Vec::new(), computed.rejects, [])?;
            Some(job.output.seal_anyway())
        } else {
            None
        };
        let txn = |(id, version): &(String, i64)| (TxnId::model(&job.model.dataset, id), *version);
        let txns: Vec<(TxnId, i64)> = versions.iter().map(txn).collect();
        let mut attempts = 0;
        let shown = Overlay::default;
        while let Err(error) = job.output.commit_replace(&removes, &adds, txns.clone(), rejects.as_ref(), shown).await {
            job.commit_again(&mut attempts, error.into()).await?;
        }
        self.computed = versions;
        Ok(())
    }

    /// What the table holds, in order.
    async fn held(&self, job: &Job) -> Result<RecordBatch> {
        let mut held = Vec::new();
        for file in job.output.head().files() {
            held.extend(job.output.read_file(file).await?);
        }
        self.sorted(job, &held)
    }

    /// Rows with the contract's columns, by key and then by the others.
    fn sorted(&self, job: &Job, rows: &[RecordBatch]) -> Result<RecordBatch> {
        let failed = |source| Error::Arrow { attempted: "sorting a table", source };
        let contract = job.output.contract();
        let schema = contract.schema();
        let rows = rows.iter().map(|batch| crate::slot::conform("a computed table", batch, &schema));
        let rows = concat_batches(&schema, &rows.collect::<Result<Vec<_>>>()?).map_err(failed)?;
        let mut order = contract.primary_key.clone();
        order.extend((0..schema.fields().len()).filter(|column| !contract.primary_key.contains(column)));
        let fields = order.iter().map(|column| SortField::new(schema.field(*column).data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(failed)?;
        let columns: Vec<ArrayRef> = order.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let keys = converter.convert_columns(&columns).map_err(failed)?;
        let mut indices: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX)).collect();
        indices.sort_unstable_by(|left, right| keys.row(*left as usize).cmp(&keys.row(*right as usize)));
        take_record_batch(&rows, &UInt32Array::from(indices)).map_err(failed)
    }

    /// Runs the SELECT over one pinned value of all inputs.
    async fn compute(&mut self, job: &Job) -> Result<(Versions, Computed)> {
        let pinned = job.lake.pin();
        let (mut versions, mut driving, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (position, table) in self.inputs.iter().enumerate() {
            let contract = table.contract();
            let Some(view) = pinned.table(&table_id(contract.layer, &contract.dataset)) else { continue };
            let mut rows = Vec::new();
            for file in view.head.files() {
                for batch in table.read_columns(file, self.engine.needed(position)).await? {
                    bytes += batch.get_array_memory_size();
                    rows.push(batch);
                }
                within(job, bytes)?;
            }
            versions.push(version_of(&view.head));
            if position == 0 {
                driving = rows;
            } else {
                self.engine.set_joined(position, &rows)?;
            }
        }
        let mut counts = Counts { rows_in: count(&driving), ..Counts::default() };
        let mut ran = match self.by_row {
            true => self.engine.run_each(&driving).await?,
            false => Ran { made: self.engine.run(&driving).await?, ..Ran::default() },
        };
        for position in 1..self.inputs.len() {
            self.engine.set_joined(position, &[])?;
        }
        within(job, ran.made.iter().map(RecordBatch::get_array_memory_size).sum())?;
        let mut rejects = failed_rows(job, &mut self.blame, &mut ran).await?;
        let mut rows = Vec::with_capacity(ran.made.len());
        for batch in ran.made {
            rows.push(self.checked(job, &batch, &mut rejects, &mut counts)?);
        }
        if count(&rejects) > 0
            && let Some(mut known) = Recovered::read(job, Some(i64::MAX)).await?
        {
            // Each computation finds the same rejects: those that quarantine has are not put there again.
            rejects = known.not_yet_rejected(rejects, Some(0))?;
        }
        let rows = self.sorted(job, &rows)?;
        counts.rows_out += rows.num_rows() as u64;
        counts.rows_rejected += count(&rejects);
        Ok((versions, Computed { rows, rejects, counts }))
    }

    /// The rows of a batch that keep the contract's rules.
    fn checked(
        &self,
        job: &Job,
        batch: &RecordBatch,
        rejects: &mut Vec<RecordBatch>,
        counts: &mut Counts,
    ) -> Result<RecordBatch> {
        let checked = self.checks.check(batch)?;
        if let Some(rule) = checked.fatal {
            return Err(Error::Fatal { dataset: job.model.dataset.clone(), rule });
        }
        counts.warnings += checked.warnings.values().sum::<u64>();
        tell(job, "warning", &checked.warnings);
        if !checked.rejects.is_empty() {
            tell_rejects(job, &checked.rejects);
            let now_us = job.options.clock.now_ms().saturating_mul(1000);
            let fingerprint = &job.output.contract().fingerprint;
            rejects.push(quarantined(batch, batch.num_columns(), &checked.rejects, fingerprint, now_us)?);
        }
        without(batch, &checked.rejects)
    }
}

fn within(job: &Job, bytes: usize) -> Result<()> {
    let bytes_max = job.options.joined_bytes_max;
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Error::TooLargeAsAWhole { dataset: job.model.dataset.clone(), bytes, bytes_max })
}

fn versions(inputs: &[Arc<Table>]) -> Versions {
    inputs.iter().map(|table| version_of(&table.head())).collect()
}

fn version_of(head: &vitalake_lake::delta::Snapshot) -> (String, i64) {
    (head.metadata().id.clone(), i64::try_from(head.version().0).unwrap_or(i64::MAX))
}

fn is_aggregated(plan: &LogicalPlan) -> bool {
    plan.inputs().iter().any(|input| is_aggregated(input))
        || matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))
}

/// The plan with the contract's columns in order and type.
fn output(job: &Job, planned: Planned) -> Result<Planned, ModelProblem> {
    let contract: &Contract = job.output.contract();
    let Planned { state, plan, slots } = planned;
    let columns: Vec<Expr> = columns_of(contract).iter().map(cast_to).collect();
    let mut builder = LogicalPlanBuilder::from(plan);
    if job.model.select().is_some_and(|select| select.distinct.is_some()) {
        builder = builder.distinct().map_err(|error| crate::plan::engine_problem(&error, job.model.place))?;
    }
    let plan = builder.build().and_then(as_spark_groups);
    let plan = plan.and_then(|plan| LogicalPlanBuilder::from(plan).project(columns)?.build());
    let plan = plan.map_err(|error| crate::plan::engine_problem(&error, job.model.place))?;
    Ok(Planned { state, plan, slots })
}
