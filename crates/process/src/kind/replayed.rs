//! An append model's rejects through its rules, its keys and, where it failed on them, its SELECT once more.
//!
//! Between a portion of quarantine and the commits that take it back. Invariant: as in a step, every reject becomes rows,
//! one reject, or a duplicate; one of which the SELECT makes nothing is counted.

use arrow::array::RecordBatch;
use vitalake_lake::{Again, PutThrough, Putting};

use super::append::{AppendWork, Keys, count};
use super::derive::judge;
use super::seen::Seen;
use crate::duplicates::KeysBeside;
use crate::error::{Error, Result};
use crate::kind::MODEL_EXPRESSION_RULE;
use crate::replay::{Came, Request, by_attempts, by_rule, terms, with_attempts, with_columns};
use crate::run::Job;
use crate::run::progress::Counts;

impl AppendWork {
    /// Puts a portion of quarantine through, and commits what comes of it.
    pub(crate) async fn replay(&mut self, job: &Job, request: &Request) -> Result<Came> {
        self.read_keys_again(job).await?;
        let putting = Putting { filter: &request.filter, done: &request.progress.done };
        if request.dry_run {
            let beside = KeysBeside::default();
            let mut through = Through { job, work: self, beside: Some(beside) };
            let tried = job.output.try_portion(&request.portion, putting, &mut through).await?;
            return Ok(Some((tried, Vec::new())));
        }
        self.keys_ahead = true;
        let mut through = Through { job, work: self, beside: None };
        let came = job.output.put_portion_through(&request.portion, putting, &mut through, terms()).await?;
        self.keys_ahead = came.is_none();
        Ok(came)
    }
}

/// Rejects on their way through a model.
struct Through<'a> {
    job: &'a Job,
    work: &'a mut AppendWork,
    /// The keys of rows that do not enter the table.
    beside: Option<KeysBeside>,
}

impl PutThrough for Through<'_> {
    type Error = Error;

    async fn put_through(&mut self, rejects: RecordBatch) -> Result<Again> {
        let mut again = Again::default();
        for (attempts, group) in by_attempts(&rejects)? {
            let (failed, broke_rules) = by_rule(&group, MODEL_EXPRESSION_RULE)?;
            let mut counts = Counts::default();
            let mut checked = Vec::new();
            if broke_rules.num_rows() > 0 {
                checked.extend(self.work.derive.check_again(self.job, &broke_rules, &mut counts)?);
            }
            if failed.num_rows() > 0 {
                let fingerprint = &self.job.output.contract().fingerprint;
                let read = self.work.derive.read_columns();
                let (whole, stays) = with_columns(&failed, &read, fingerprint, MODEL_EXPRESSION_RULE)?;
                if whole.num_rows() > 0 {
                    checked.extend(self.work.derive.run_again(self.job, &whole, &mut counts).await?);
                }
                again.rejects.push(with_attempts(&stays, attempts.saturating_add(1))?);
            }
            let made = match (&mut self.work.keys, &mut self.beside) {
                (Keys::Owned(Some(seen)), None) => {
                    judge(self.job, checked, Some(&mut |rows| seen.judge(rows)), &mut counts)?
                }
                (Keys::Owned(Some(seen)) | Keys::Beside(Some(seen), _), Some(beside)) => {
                    let seen: &Seen = seen;
                    judge(self.job, checked, Some(&mut |rows| seen.judge_beside(beside, rows)), &mut counts)?
                }
                _ => judge(self.job, checked, None, &mut counts)?,
            };
            again.duplicates += counts.duplicates;
            again.rows.extend(made.rows);
            for rejects in &made.rejects {
                again.rejects.push(with_attempts(rejects, attempts.saturating_add(1))?);
            }
        }
        again.rejects.retain(|batch| batch.num_rows() > 0);
        again.rows.retain(|batch| batch.num_rows() > 0);
        let came = count(&again.rows) + count(&again.rejects) + again.duplicates;
        tracing::debug!(model = %self.job.model.dataset, taken = rejects.num_rows(), came, "rejects went through again");
        Ok(again)
    }
}
