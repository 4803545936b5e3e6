//! What an upsert makes of rows of its input: the plan, the contract's rules, and of what is left events.
//!
//! A row that marks a delete is asked for its key and its sequence alone. Invariant: every row that the plan gives is an
//! event or a reject, and what is made of a row depends on nothing but the row.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::Schema;
use vitalake_contract::Contract;
use vitalake_contract::rule::Severity;
use vitalake_lake::signed;

use crate::append::AppendPlan;
use crate::check::{PRIMARY_KEY_RULE, Reject, RowChecks, quarantined, without};
use crate::engine::Blame;
use crate::error::{Error, Result};
use crate::kind::append::count;
use crate::kind::derive::{tell, tell_rejects};
use crate::kind::rejects::failed_rows;
use crate::plan::{LINEAGE, input_schema};
use crate::replay::rows_of;
use crate::run::Job;
use crate::run::progress::Counts;
use crate::upsert::UpsertShape;
use crate::upsert::shape::DELETED;

/// The rule that a row breaks whose place in the order of its key is not known.
pub const SEQUENCE_RULE: &str = "sequence";

/// A compiled upsert model with its contract's rules.
pub(crate) struct Rules {
    plan: AppendPlan,
    checks: RowChecks,
    blame: Blame,
    contract: Arc<Contract>,
}

/// What comes of rows.
#[derive(Default)]
pub(crate) struct MadeEvents {
    pub(crate) events: Vec<RecordBatch>,
    /// Those of the rejects that the plan made a row of, as events.
    pub(crate) rejected: Vec<RecordBatch>,
    /// Rejects, as rows of the quarantine.
    pub(crate) rejects: Vec<RecordBatch>,
}

fn failed(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { attempted: "making events of rows", source }
}

impl Rules {
    pub(crate) fn new(plan: AppendPlan, contract: Arc<Contract>) -> Result<Self> {
        let checks = RowChecks::compile(Arc::clone(&contract), plan.schema())?;
        Ok(Self { plan, checks, blame: Blame::default(), contract })
    }

    /// The columns that are read of the input.
    pub(crate) fn needed(&self) -> &[String] {
        self.plan.needed(0)
    }

    /// What comes of rows.
    pub(crate) async fn events(
        &mut self,
        job: &Job,
        shape: &UpsertShape,
        rows: &[RecordBatch],
        counts: &mut Counts,
    ) -> Result<MadeEvents> {
        let mut ran = self.plan.run_each(rows).await?;
        let taken = count(rows);
        counts.rows_in += taken;
        counts.filtered += signed(taken) - signed(count(&ran.made) + ran.failed.len() as u64);
        let rejects = failed_rows(job, &mut self.blame, &mut ran).await?;
        let mut made = MadeEvents { rejects, ..MadeEvents::default() };
        for batch in ran.made {
            self.judge(job, shape, &batch, (&mut made, counts))?;
        }
        counts.rows_out += count(&made.events);
        counts.rows_rejected += count(&made.rejects);
        Ok(made)
    }

    /// Judges rows that the plan gave.
    fn judge(
        &self,
        job: &Job,
        shape: &UpsertShape,
        batch: &RecordBatch,
        (made, counts): (&mut MadeEvents, &mut Counts),
    ) -> Result<()> {
        let broken = self.broken(job, shape, batch, counts)?;
        if !broken.is_empty() {
            tell_rejects(job, &broken);
            let columns = batch.num_columns() - LINEAGE.len();
            let now_us = job.options.clock.now_ms().saturating_mul(1000);
            made.rejects.push(quarantined(batch, columns, &broken, &self.contract.fingerprint, now_us)?);
            let rows = broken.iter().map(|reject| u32::try_from(reject.row).unwrap_or(u32::MAX));
            let rows: arrow::array::UInt32Array = rows.collect::<Vec<_>>().into();
            made.rejected.push(as_events(shape, &take_record_batch(batch, &rows).map_err(failed)?)?);
        }
        made.events.push(as_events(shape, &without(batch, &broken)?)?);
        Ok(())
    }

    /// What comes of rejects that were rows of the table, by the rules as they are now.
    pub(crate) fn judged_again(
        &self,
        job: &Job,
        shape: &UpsertShape,
        rejects: &RecordBatch,
        counts: &mut Counts,
    ) -> Result<MadeEvents> {
        let mut made = MadeEvents::default();
        self.judge(job, shape, &rows_of(rejects, self.plan.schema())?, (&mut made, counts))?;
        Ok(made)
    }

    /// What comes of rejects that the model could not be run on.
    pub(crate) async fn made_again(
        &mut self,
        job: &Job,
        shape: &UpsertShape,
        rejects: &RecordBatch,
        counts: &mut Counts,
    ) -> Result<MadeEvents> {
        let all = input_schema(job.input.contract());
        let read = all.fields().iter().filter(|field| self.needed().contains(field.name()));
        let read = Arc::new(Schema::new(read.cloned().collect::<Vec<_>>()));
        self.events(job, shape, &[rows_of(rejects, &read)?], counts).await
    }

    /// The columns of the input that are kept with a row that the model cannot be run on.
    pub(crate) fn read_columns(&self) -> Vec<String> {
        self.needed().iter().filter(|name| !LINEAGE.contains(&name.as_str())).cloned().collect()
    }

    /// The events that were made of rows which are gone.
    pub(crate) async fn events_taken_back(
        &mut self,
        shape: &UpsertShape,
        rows: &[RecordBatch],
    ) -> Result<Vec<RecordBatch>> {
        let ran = self.plan.run_each(rows).await?;
        ran.made.iter().map(|batch| as_events(shape, batch)).collect()
    }

    /// The rows of a batch that can be no events.
    fn broken(&self, job: &Job, shape: &UpsertShape, batch: &RecordBatch, counts: &mut Counts) -> Result<Vec<Reject>> {
        let deletes = batch.column_by_name(DELETED).and_then(|marks| marks.as_boolean_opt());
        let is_delete = |row: usize| deletes.is_some_and(|marks| marks.is_valid(row) && marks.value(row));
        let kept: Vec<usize> = (0..batch.num_rows()).filter(|row| !is_delete(*row)).collect();
        let checked = if kept.len() == batch.num_rows() {
            self.checks.check(batch)?
        } else {
            let marks: BooleanArray = (0..batch.num_rows()).map(|row| Some(!is_delete(row))).collect();
            self.checks.check(&filter_record_batch(batch, &marks).map_err(failed)?)?
        };
        if let Some(rule) = checked.fatal {
            return Err(Error::Fatal { dataset: job.model.dataset.clone(), rule });
        }
        counts.warnings += checked.warnings.values().sum::<u64>();
        tell(job, Severity::Warning.as_str(), &checked.warnings);
        let in_batch = |reject: Reject| Reject { row: kept.get(reject.row).copied().unwrap_or(reject.row), ..reject };
        let mut broken: Vec<Reject> = checked.rejects.into_iter().map(in_batch).collect();
        let known: BTreeSet<usize> = broken.iter().map(|reject| reject.row).collect();
        let column = |position: &usize| {
            let name = shape.events.field(*position).name();
            batch.column_by_name(name).map(|column| (name.clone(), column))
        };
        let keys: Vec<_> = shape.key.iter().filter_map(column).collect();
        let sequence: Vec<_> = shape.sequence.iter().filter_map(column).collect();
        for row in (0..batch.num_rows()).filter(|row| !known.contains(row)) {
            if let Some((name, _)) = keys.iter().find(|(_, column)| column.is_null(row)) {
                broken.push(Reject::new(row, PRIMARY_KEY_RULE, format!("{name}, a column of the key, is null")));
            } else if let Some((name, _)) = sequence.iter().find(|(_, column)| column.is_null(row)) {
                let reason = format!("{name} is null, by which the rows of a key are ordered");
                broken.push(Reject::new(row, SEQUENCE_RULE, reason));
            }
        }
        broken.sort_by_key(|reject| reject.row);
        Ok(broken)
    }
}

/// Rows that the plan gives with the columns of events.
fn as_events(shape: &UpsertShape, rows: &RecordBatch) -> Result<RecordBatch> {
    let fields = shape.events.fields().iter();
    let columns = fields.map(|field| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
        _ => new_null_array(field.data_type(), rows.num_rows()),
    });
    RecordBatch::try_new(Arc::clone(&shape.events), columns.collect()).map_err(failed)
}
