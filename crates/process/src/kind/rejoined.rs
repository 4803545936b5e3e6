//! Rejects of a roll-up once more: rows of its input that the model could not be run on, and the groups that they belong to.
//!
//! Done between two epochs, when all that has ended is committed. A group is not added to: it is made again of the input as
//! it was consumed, where the row is, by the model as it is now. Invariant: a replay that was killed on the way and is asked
//! for again sets the same groups to the same values.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use vitalake_lake::FilePath;

use super::regroup::moved;
use super::rejects::failed_rows;
use super::rollup::{RollupWork, written};
use crate::error::{Error, Result};
use crate::kind::{MODEL_EXPRESSION_RULE, portion};
use crate::lineage::Lineages;
use crate::plan::{LINEAGE, input_schema};
use crate::replay::{Came, Request, by_attempts, rows_of, with_attempts, with_columns};
use crate::rollup::Groups;
use crate::run::Job;

impl RollupWork {
    /// Puts a portion of quarantine through, and commits what comes of it.
    pub(crate) async fn replay(&mut self, job: &Job, request: &Request, first_seal: u64) -> Result<Came> {
        let read = portion::read(job, request).await?;
        let (groups, stays) = self.once_more(job, &read.meant).await?;
        let tried = portion::tried(request, &read, &stays);
        if groups.len() > job.options.leaves.dirty_rows_max {
            let why =
                "its rejects belong to more groups than fit into memory at once: replay fewer with --since and --until";
            return Err(Error::NoReplay { dataset: job.model.dataset.clone(), why });
        }
        if request.dry_run {
            return Ok(Some((tried, Vec::new())));
        }
        while let Some(seal) = self.oldest_open().cloned() {
            let version = seal.version().await;
            self.commit(job, version, first_seal).await?;
        }
        let version = job.output.committed_txn(&job.txn).ok_or_else(|| moved(job))?;
        if !groups.is_empty() {
            let in_quarantine = in_quarantine(job).await?;
            self.make_groups_again(job, version, &groups, Some(&in_quarantine)).await?;
        }
        let sealed = self.leaves.seal()?;
        let head = job.output.head();
        let removes: Vec<FilePath> = self.leaves.removes(&sealed).iter().map(|path| FilePath::of_store(path)).collect();
        let removed: Vec<_> = removes.iter().filter_map(|path| head.file(path).cloned()).collect();
        if removed.len() < removes.len() {
            job.output.lose_lease();
            return Err(moved(job));
        }
        let files = written(job, &sealed).await?;
        let paths: Vec<Vec<String>> =
            files.iter().map(|leaf| leaf.iter().map(|file| file.path().to_string()).collect()).collect();
        let added = files.into_iter().flatten().collect();
        let correction = portion::correction(job, request, (read, stays), (removed, added)).await?;
        let kept = correction.rejects_added.iter().map(|file| file.path().clone()).collect();
        let mut shown = Ok(());
        let came = job
            .output
            .correct_showing(&correction, || {
                self.leaves.committed(&sealed, &paths);
                self.overlay().unwrap_or_else(|error| {
                    shown = Err(error);
                    vitalake_lake::Overlay::default()
                })
            })
            .await?;
        shown?;
        if came.is_none() {
            // The groups in memory are ahead of the table: they are made anew from it.
            return Err(moved(job));
        }
        self.merged();
        Ok(Some((tried, kept)))
    }

    /// The groups that rejects belong to now, and the rejects that stay.
    async fn once_more(&mut self, job: &Job, meant: &[RecordBatch]) -> Result<(Groups, Vec<RecordBatch>)> {
        let (mut groups, mut stays) = (Groups::default(), Vec::new());
        let needed = self.needed().to_vec();
        let read: Vec<String> = needed.iter().filter(|name| !LINEAGE.contains(&name.as_str())).cloned().collect();
        let all = input_schema(job.input.contract());
        let columns = all.fields().iter().filter(|field| needed.contains(field.name()));
        let schema = Arc::new(Schema::new(columns.cloned().collect::<Vec<_>>()));
        let fingerprint = &job.output.contract().fingerprint;
        for batch in meant {
            for (attempts, group) in by_attempts(batch)? {
                let (whole, lacking) = with_columns(&group, &read, fingerprint, MODEL_EXPRESSION_RULE)?;
                let mut again = vec![lacking];
                if whole.num_rows() > 0 {
                    let mut ran = self.plan.partial_each(&[rows_of(&whole, &schema)?]).await?;
                    again.extend(failed_rows(job, &mut self.blame, &mut ran).await?);
                    self.leaves.note(&ran.made, &mut groups)?;
                }
                for rejects in again.iter().filter(|rejects| rejects.num_rows() > 0) {
                    stays.push(with_attempts(rejects, attempts.saturating_add(1))?);
                }
            }
        }
        Ok((groups, stays))
    }
}

/// Where the rejects come from.
async fn in_quarantine(job: &Job) -> Result<Lineages> {
    let mut known = Lineages::default();
    for file in job.output.rejects_head().files() {
        for batch in job.output.read_rejects(file).await? {
            known.add(&batch)?;
        }
    }
    known.settle();
    Ok(known)
}
