//! What an append model makes of a micro-batch: plan → rules → primary key. Nothing here knows of tables or epochs.
//!
//! Invariant: what comes out depends on the rows, the joined tables and the verdicts on keys alone, so that a batch can
//! be made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;

use vitalake_lake::signed;
use vitalake_runtime::events::Event;

use crate::append::AppendPlan;
use crate::check::{PRIMARY_KEY_RULE, Reject, RowChecks, quarantined, without};
use crate::duplicates::Verdict;
use crate::engine::Blame;
use crate::error::{Error, Result};
use crate::kind::Made;
use crate::kind::append::count;
use crate::kind::joined::Joined;
use crate::kind::rejects::failed_rows;
use crate::plan::{LINEAGE, input_schema};
use crate::replay::rows_of;
use crate::run::Job;

use crate::run::progress::Counts;

/// A compiled append model with its rules and the tables that it joins.
pub(crate) struct Derive {
    pub(super) plan: AppendPlan,
    checks: RowChecks,
    pub(super) joined: Joined,
    blame: Blame,
}

/// Rows that keep every rule on single rows, and the rejects of those that do not.
pub(crate) struct Checked {
    pub(super) rows: RecordBatch,
    pub(super) rejects: Vec<RecordBatch>,
}

/// Says of rows by their keys which are new; to be asked once for each row.
pub(crate) type Judge<'a> = &'a mut (dyn FnMut(&RecordBatch) -> Result<Vec<Verdict>> + Send);

impl Derive {
    pub(crate) async fn start(job: &Job) -> Result<Self> {
        let plan = AppendPlan::compile_on(&job.on()?, &job.model, &job.contracts).await?;
        let checks = RowChecks::compile(Arc::clone(job.output.contract()), plan.schema())?;
        Ok(Self { plan, checks, joined: Joined::of(job)?, blame: Blame::default() })
    }

    /// The columns that are read of the input.
    pub(crate) fn needed(&self) -> &[String] {
        self.plan.needed(0)
    }

    /// The committed versions of the joined tables that rows are made with now.
    pub(crate) fn joined_versions(&self) -> Vec<(String, i64)> {
        self.joined.versions()
    }

    /// The columns that the model reads of a row of its input, beside those that say where it comes from.
    pub(crate) fn read_columns(&self) -> Vec<String> {
        self.needed().iter().filter(|name| !LINEAGE.contains(&name.as_str())).cloned().collect()
    }

    /// The contract's rules over rejected rows of the table.
    pub(crate) fn check_again(&self, job: &Job, rejects: &RecordBatch, counts: &mut Counts) -> Result<Vec<Checked>> {
        let rows = rows_of(rejects, self.plan.schema())?;
        Ok(vec![self.keep_rules(job, rows, counts)?])
    }

    /// The plan and the contract's rules over rejected rows of the input.
    pub(crate) async fn run_again(
        &mut self,
        job: &Job,
        rejects: &RecordBatch,
        counts: &mut Counts,
    ) -> Result<Vec<Checked>> {
        let all = input_schema(job.input.contract());
        let read = all.fields().iter().filter(|field| self.needed().contains(field.name()));
        let read = Arc::new(Schema::new(read.cloned().collect::<Vec<_>>()));
        self.check(job, &[rows_of(rejects, &read)?], counts).await
    }

    fn keep_rules(&self, job: &Job, batch: RecordBatch, counts: &mut Counts) -> Result<Checked> {
        let checked = self.checks.check(&batch)?;
        if let Some(rule) = checked.fatal {
            return Err(Error::Fatal { dataset: job.model.dataset.clone(), rule });
        }
        counts.warnings += checked.warnings.values().sum::<u64>();
        tell(job, "warning", &checked.warnings);
        let rejects = reject(job, &batch, &checked.rejects)?;
        Ok(Checked { rows: without(&batch, &checked.rejects)?, rejects })
    }

    /// Runs the plan and the contract's rules. Rows that the plan cannot be run on are rejects.
    pub(crate) async fn check(&mut self, job: &Job, rows: &[RecordBatch], counts: &mut Counts) -> Result<Vec<Checked>> {
        self.joined.refresh(job, &self.plan).await?;
        let taken = rows.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        let mut all = Vec::new();
        let mut ran = self.plan.run_each(rows).await?;
        counts.rows_in += taken;
        counts.filtered += signed(taken) - signed(count(&ran.made) + ran.failed.len() as u64);
        let rejects = failed_rows(job, &mut self.blame, &mut ran).await?;
        if !rejects.is_empty() {
            all.push(Checked { rows: RecordBatch::new_empty(Arc::clone(self.plan.schema())), rejects });
        }
        for batch in ran.made {
            all.push(self.keep_rules(job, batch, counts)?);
        }
        Ok(all)
    }
}

/// The primary key, over rows that keep every other rule; a table without one takes them all.
pub(crate) fn judge(
    job: &Job,
    checked: Vec<Checked>,
    mut judge: Option<Judge<'_>>,
    counts: &mut Counts,
) -> Result<Made> {
    let mut made = Made::default();
    for Checked { mut rows, rejects } in checked {
        made.rejects.extend(rejects);
        if let Some(judge) = &mut judge {
            let verdicts = judge(&rows)?;
            made.rejects.extend(conflicts(job, &rows, &verdicts, counts)?);
            rows = new_rows(rows, &verdicts)?;
        }
        made.rows.push(stored(&rows, job.output.contract().columns.len())?);
    }
    Ok(made)
}

/// Tells how many rows broke each rule.
pub(crate) fn tell(job: &Job, severity: &'static str, rows_by_rule: &BTreeMap<String, u64>) {
    for (rule, rows) in rows_by_rule {
        let dataset = job.model.dataset.as_str().into();
        job.options.events.send(Event::Check { dataset, rule: rule.as_str().into(), severity, rows: *rows });
    }
}

/// Tells how many rows every rule rejected.
pub(crate) fn tell_rejects(job: &Job, rejects: &[Reject]) {
    let mut rows_by_rule: BTreeMap<String, u64> = BTreeMap::new();
    for broken in rejects.iter().flat_map(|reject| &reject.broken) {
        *rows_by_rule.entry(broken.rule.clone()).or_default() += 1;
    }
    tell(job, "error", &rows_by_rule);
}

fn conflicts(job: &Job, rows: &RecordBatch, verdicts: &[Verdict], counts: &mut Counts) -> Result<Vec<RecordBatch>> {
    let reason = "another row with this primary key and other values is there";
    let mut conflicts: Vec<Reject> = Vec::new();
    for (row, verdict) in verdicts.iter().enumerate() {
        match verdict {
            Verdict::New => {}
            Verdict::Duplicate => counts.duplicates += 1,
            Verdict::Conflict => conflicts.push(Reject::new(row, PRIMARY_KEY_RULE, reason.to_owned())),
        }
    }
    counts.conflicts += conflicts.len() as u64;
    reject(job, rows, &conflicts)
}

fn new_rows(rows: RecordBatch, verdicts: &[Verdict]) -> Result<RecordBatch> {
    if verdicts.iter().all(|v| *v == Verdict::New) {
        return Ok(rows);
    }
    let new: BooleanArray = verdicts.iter().map(|v| Some(*v == Verdict::New)).collect();
    filter_record_batch(&rows, &new).map_err(|source| Error::Arrow { attempted: "taking new rows", source })
}

fn reject(job: &Job, batch: &RecordBatch, rejects: &[Reject]) -> Result<Vec<RecordBatch>> {
    if rejects.is_empty() {
        return Ok(Vec::new());
    }
    tell_rejects(job, rejects);
    let now_us = job.options.clock.now_ms().saturating_mul(1000);
    let contract = job.output.contract();
    Ok(vec![quarantined(batch, contract.columns.len(), rejects, &contract.fingerprint, now_us)?])
}

/// The stored columns: the contract's and those that say where the row comes from, which follow them.
pub(super) fn stored(rows: &RecordBatch, columns: usize) -> Result<RecordBatch> {
    let stored: Vec<usize> = (0..columns + LINEAGE.len()).collect();
    rows.project(&stored).map_err(|source| Error::Arrow { attempted: "taking the stored columns", source })
}
