//! Rows that the engine could not run, as rows of the quarantine.
//!
//! Invariant: the reason says which expression and what kind of failure, the columns say which record; the row's values
//! are in `_raw` alone.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use vitalake_contract::quarantine::BrokenRule;

use crate::check::{Reject, quarantined};
use crate::engine::{Blame, Ran};
use crate::error::{Error, Result};
use crate::kind::derive::tell_rejects;
use crate::plan::LINEAGE;
use crate::run::Job;

/// The rule that a row breaks for which an expression of the model cannot be computed.
pub const MODEL_EXPRESSION_RULE: &str = "model_expression";

/// Rejects of the rows that failed, with the columns that the model reads as their `_raw`.
///
/// # Errors
/// `Unrunnable` when the engine fails whatever the rows are.
pub(crate) async fn failed_rows(job: &Job, blame: &mut Blame, ran: &mut Ran) -> Result<Vec<RecordBatch>> {
    if let Some((none, failure)) = ran.unrunnable.take() {
        // A Spark says itself where.
        if let Error::Spark { model, layer, place, failure } = failure {
            return Err(Error::RefusedBySpark { model, layer, place, failure });
        }
        let place = blame.place(&job.model, &job.contracts, &none).await;
        let (model, layer) = (job.model.dataset.clone(), job.model.layer);
        return Err(Error::Unrunnable { model, layer, place, source: Box::new(failure) });
    }
    let failed = std::mem::take(&mut ran.failed);
    let Some(first) = failed.first() else { return Ok(Vec::new()) };
    let mut rejects: Vec<Reject> = Vec::with_capacity(failed.len());
    for (index, row) in failed.iter().enumerate() {
        let reason = blame.reason(&job.model, &job.contracts, row).await;
        rejects.push(Reject::new(index, MODEL_EXPRESSION_RULE, reason));
    }
    if let Some(BrokenRule { reason, .. }) = rejects.first().and_then(|reject| reject.broken.first()) {
        tracing::warn!(model = %job.model.dataset, rows = failed.len(), reason, "rows that a model cannot be run on went to quarantine");
    }
    tell_rejects(job, &rejects);
    let arrow = |source| Error::Arrow { attempted: "putting rows into quarantine", source };
    let rows = concat_batches(first.row.schema_ref(), failed.iter().map(|row| &row.row)).map_err(arrow)?;
    let is_lineage = |index: &usize| LINEAGE.contains(&rows.schema_ref().field(*index).name().as_str());
    let (lineage, values): (Vec<usize>, Vec<usize>) = (0..rows.num_columns()).partition(is_lineage);
    let columns = values.len();
    let rows = rows.project(&values.into_iter().chain(lineage).collect::<Vec<_>>()).map_err(arrow)?;
    let now_us = job.options.clock.now_ms().saturating_mul(1000);
    let fingerprint = &job.output.contract().fingerprint;
    Ok(vec![quarantined(&rows, columns, &rejects, fingerprint, now_us)?])
}
