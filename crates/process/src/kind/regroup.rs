//! A commit that took rows of its input away, in a rollup: the groups that it touches are computed again.
//!
//! What gone rows brought to a group cannot be taken out of every aggregate, so each touched group is made of the input as
//! it is at the version of the commit, that group alone; of the input only files are read that may hold rows of one.
//! Where the groups do not fit into memory, or the rows that went can no longer be read, all groups are made again.
//! Invariant: everything that the input had before that version has been taken in, and nothing of after.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use vitalake_lake::{Correction, DataFile, Increment};

use super::rejects::failed_rows;
use super::rollup::RollupWork;
use crate::engine::{FailedRow, Ran};
use crate::error::{Error, Result};
use crate::increment::{Signed, SignedIncrement, chosen};
use crate::kind::Made;
use crate::kind::append::count;
use crate::lineage::Lineages;
use crate::plan::LINEAGE;
use crate::rollup::Groups;
use crate::run::Job;
use crate::run::progress::Counts;

/// What a change touches.
#[derive(Default)]
struct Touched {
    groups: Groups,
    /// Where the rows came from that are gone, as far as rejects may have been made of them.
    gone: Lineages,
    rejects: Vec<RecordBatch>,
    counts: Counts,
    /// The groups cannot be told apart: all are made again.
    all: bool,
}

impl RollupWork {
    /// Takes in a commit that took rows away. Every epoch before it is to be committed as far as its version is known.
    pub(crate) async fn take_back(&mut self, job: &Job, increment: &Increment, counts: &mut Counts) -> Result<()> {
        let version = increment.version.ok_or_else(|| unknown("the version of a commit that took rows away"))?;
        let mut touched = match self.touched(job, increment).await {
            Err(error) if is_gone(&error) => {
                tracing::warn!(model = %job.model.dataset, version, "rows that are gone from its input can no longer be read: all groups are made again");
                Touched { all: true, ..Touched::default() }
            }
            touched => touched?,
        };
        touched.gone.settle();
        self.forget_rejects(job, &touched).await?;
        if touched.all {
            self.make_all_again(job, version, &mut touched).await?;
        } else if !touched.groups.is_empty() {
            self.make_groups_again(job, version, &touched.groups, None).await?;
        }
        let rejects = std::mem::take(&mut touched.rejects);
        touched.counts.rows_rejected += count(&rejects);
        self.publish(job, Made { rejects, ..Made::default() })?;
        *counts = touched.counts;
        Ok(())
    }

    /// The groups of the rows that went and came.
    async fn touched(&mut self, job: &Job, increment: &Increment) -> Result<Touched> {
        let mut touched = Touched::default();
        let has_rejects = job.output.rejects_head().file_count() > 0;
        let columns = self.columns(job, has_rejects);
        let mut signed = SignedIncrement::of(&job.input, increment, &columns);
        while let Some(Signed { retracted, added }) = signed.next().await? {
            if has_rejects {
                retracted.iter().try_for_each(|batch| touched.gone.add(batch))?;
            }
            let Ran { made, .. } = self.plan.partial_each(&retracted).await?;
            self.leaves.note(&made, &mut touched.groups)?;
            let mut ran = self.plan.partial_each(&added).await?;
            let rejects = failed_rows(job, &mut self.blame, &mut ran).await?;
            touched.rejects.extend(self.not_yet_rejected(rejects, increment.version)?);
            self.leaves.note(&ran.made, &mut touched.groups)?;
            touched.counts.rows_in += count(&added);
            if touched.groups.len() > job.options.leaves.dirty_rows_max {
                return Ok(Touched { all: true, groups: Groups::default(), rejects: Vec::new(), ..touched });
            }
        }
        touched.counts.rows_out += touched.groups.len() as u64;
        Ok(touched)
    }

    /// The columns by which rows of two files are equal: where they come from counts only where that is looked at.
    fn columns(&self, job: &Job, has_rejects: bool) -> Vec<String> {
        let text = job.model.text.to_lowercase();
        let is_read = |name: &String| has_rejects || !LINEAGE.contains(&name.as_str()) || text.contains(name.as_str());
        self.needed().iter().filter(|name| is_read(name)).cloned().collect()
    }

    /// Makes groups again of the input at a version. A row that cannot be run and is not among those of `in_quarantine`, where
    /// that is asked, would go unseen: it is an error, before anything has changed.
    pub(super) async fn make_groups_again(
        &mut self,
        job: &Job,
        version: i64,
        groups: &Groups,
        in_quarantine: Option<&Lineages>,
    ) -> Result<()> {
        let files = files_at(job, version).await?;
        let (all, mut read, mut bytes) = (files.len(), 0_usize, 0);
        let mut beside = self.leaves.beside();
        let columns = self.needed().to_vec();
        for file in &files {
            if self.plan.time_of_input().is_some_and(|time| !time.may_be_in(file, groups)) {
                continue;
            }
            (read, bytes) = (read + 1, bytes + file.size_bytes());
            let mut batches = job.input.stream_columns(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                // Rows that cannot be aggregated are in quarantine already.
                let Ran { made, failed, .. } = self.plan.partial_each(&[batch]).await?;
                if let Some(known) = in_quarantine {
                    refuse_unknown(job, known, &failed)?;
                }
                let of_groups = self.leaves.only(&made, groups)?;
                self.leaves.merge_beside(&mut beside, &of_groups)?;
            }
        }
        for (leaf, paths) in self.leaves.missing(groups.rows())? {
            let held = self.held_rows(job, &job.output.head(), &paths).await?;
            self.leaves.load(leaf, &held)?;
        }
        self.set_merging();
        self.leaves.set(groups, &beside)?;
        let groups = groups.len();
        tracing::info!(model = %job.model.dataset, version, groups, files = read, of = all, bytes, "groups were made again because rows of the input have changed");
        Ok(())
    }

    /// Makes all groups again, in as much memory as an epoch may take.
    async fn make_all_again(&mut self, job: &Job, version: i64, touched: &mut Touched) -> Result<()> {
        let files = files_at(job, version).await?;
        tracing::info!(model = %job.model.dataset, version, files = files.len(), "all groups are made again from the input");
        self.set_merging();
        self.leaves.empty();
        touched.counts = Counts::default();
        let columns = self.needed().to_vec();
        for file in &files {
            let mut batches = job.input.stream_columns(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                touched.counts.rows_in += batch.num_rows() as u64;
                let mut ran = self.plan.partial_each(&[batch]).await?;
                touched.rejects.extend(failed_rows(job, &mut self.blame, &mut ran).await?);
                for (leaf, paths) in self.leaves.missing(&ran.made)? {
                    let held = self.held_rows(job, &job.output.head(), &paths).await?;
                    self.leaves.load(leaf, &held)?;
                }
                self.leaves.apply(&ran.made)?;
                touched.counts.rows_out += count(&ran.made);
                self.set_aside(job).await?;
            }
        }
        Ok(())
    }

    /// Takes out of quarantine what rows that are gone had brought there; all of it where all groups are made again. Nobody
    /// else takes anything out of it meanwhile.
    async fn forget_rejects(&self, job: &Job, touched: &Touched) -> Result<()> {
        let head = job.output.rejects_head();
        let mut correction = Correction::default();
        for file in head.files() {
            if !touched.all && !touched.gone.may_be_in(file) {
                continue;
            }
            let rejects = job.output.read_rejects(file).await?;
            let mut kept = Vec::new();
            for batch in rejects.iter().filter(|_| !touched.all) {
                let stays = arrow::compute::not(&touched.gone.mask(batch)?);
                let stays = stays.map_err(|source| Error::Arrow { attempted: "taking rejects back", source })?;
                kept.push(chosen(batch, &stays)?);
            }
            let went = count(&rejects) - count(&kept);
            if went > 0 {
                correction.retracted += went;
                correction.rejects_removed.push(Arc::clone(file));
                correction.rejects_added.extend(job.output.write_rejects(kept).await?);
            }
        }
        if correction.rejects_removed.is_empty() {
            return Ok(());
        }
        job.output.rest().await?;
        match job.output.correct(&correction).await? {
            Some(_) => Ok(()),
            None => Err(moved(job)),
        }
    }
}

/// Refuses to make groups again by a model that fails on other rows than those that are in quarantine.
fn refuse_unknown(job: &Job, known: &Lineages, failed: &[FailedRow]) -> Result<()> {
    for row in failed {
        if known.mask(&row.row)?.true_count() < row.row.num_rows() {
            let why = "the model as it is now cannot be run on rows that are not in its quarantine: they were discarded, or it could be run on them before. Mend that too; or stop the server, remove the rollup's folder under lake/ and start again to have it made anew, then discard its rejects";
            return Err(Error::NoReplay { dataset: job.model.dataset.clone(), why });
        }
    }
    Ok(())
}

/// The files of the input at a version.
pub(crate) async fn files_at(job: &Job, version: i64) -> Result<Vec<Arc<DataFile>>> {
    match job.input.snapshot_at(version).await? {
        Some(snapshot) => Ok(snapshot.files().cloned().collect()),
        None => Err(unknown("an earlier version of the input, which its log no longer holds")),
    }
}

pub(crate) fn moved(job: &Job) -> Error {
    Error::Moved { dataset: job.model.dataset.clone() }
}

pub(crate) fn unknown(what: &str) -> Error {
    Error::Columns { what: "what derives from a change".to_owned(), detail: format!("{what} is not known") }
}

/// Whether a file of an earlier version has been cleaned up.
pub(crate) fn is_gone(error: &Error) -> bool {
    let Error::Lake(error) = error else { return false };
    error.is_file_gone()
}
