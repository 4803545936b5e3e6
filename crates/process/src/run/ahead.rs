//! A model's own state on a process that follows: what it has made after a head, to be thrown away at the next.
//!
//! Invariant: it is made of the head given to `begin` and of the rows given since.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{Increment, Newer, Overlay};

use crate::duplicates::KeysBeside;
use crate::error::{Error, Result};
use crate::model::Kind;
use crate::rollup::{Leaves, RollupPlan};
use crate::run::Job;
use crate::run::derive::{Derive, Made, judge};
use crate::run::progress::Counts;
use crate::run::rollup::{head_leaves, overlay, rows_of};
use crate::run::seen::Seen;

/// A model at work after a head.
pub(crate) enum Work {
    /// Its rows are added to the table's.
    Append(Box<AppendAhead>),
    /// Its groups take the place of whole files.
    Rollup(Box<RollupAhead>),
}

pub(crate) struct AppendAhead {
    derive: Derive,
    /// The keys of the head.
    seen: Option<Seen>,
    /// The keys of what was made after it.
    beside: KeysBeside,
}

pub(crate) struct RollupAhead {
    plan: RollupPlan,
    leaves: Leaves,
}

impl Work {
    /// Compiles the model and reads the keys of its table.
    pub(crate) async fn start(job: &Job) -> Result<Self> {
        Ok(match job.model.kind {
            Kind::Append => {
                let (derive, seen) = (Derive::start(job).await?, Seen::read(job).await?);
                Self::Append(Box::new(AppendAhead { derive, seen, beside: KeysBeside::default() }))
            }
            Kind::Rollup => {
                let plan = RollupPlan::compile(&job.model, &job.contracts).await?;
                let leaves = Leaves::new(&plan, job.options.leaves, Vec::new())?;
                Self::Rollup(Box::new(RollupAhead { plan, leaves }))
            }
        })
    }

    /// Forgets what it has made, and goes on after a head with the files that came to it since the last one.
    pub(crate) async fn begin(&mut self, job: &Job, head: &Snapshot, newer: Option<&Newer>) -> Result<()> {
        match self {
            Self::Append(work) => {
                work.beside.clear();
                if let Some(seen) = &mut work.seen {
                    for file in newer.into_iter().flat_map(Newer::added) {
                        seen.add(job, file).await?;
                    }
                }
            }
            Self::Rollup(work) => {
                work.leaves = Leaves::new(&work.plan, job.options.leaves, head_leaves(head, &work.plan))?;
            }
        }
        Ok(())
    }

    /// What comes of more rows of the input; a rollup's is in its overlay.
    pub(crate) async fn take_in(
        &mut self,
        job: &Job,
        head: &Snapshot,
        increment: Increment,
        counts: &mut Counts,
    ) -> Result<Made> {
        let mut rows = increment.rows;
        for file in &increment.files {
            rows.extend(job.input.read_columns(file, self.needed()).await?);
        }
        if rows.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(Made::default());
        }
        match self {
            Self::Append(work) => work.take_in(job, &rows, counts).await,
            Self::Rollup(work) => work.take_in(job, head, &rows, counts).await.map(|()| Made::default()),
        }
    }

    fn needed(&self) -> &[String] {
        match self {
            Self::Append(work) => work.derive.needed(),
            Self::Rollup(work) => work.plan.needed(),
        }
    }

    /// What a rollup shows in the place of files; `None` for other models.
    pub(crate) fn overlay(&mut self) -> Result<Option<Overlay>> {
        match self {
            Self::Append(_) => Ok(None),
            Self::Rollup(work) => Ok(Some(overlay(work.leaves.overlay()?, &HashMap::new()))),
        }
    }
}

impl AppendAhead {
    async fn take_in(&mut self, job: &Job, rows: &[RecordBatch], counts: &mut Counts) -> Result<Made> {
        let checked = self.derive.check(job, rows, counts).await?;
        let beside = &mut self.beside;
        let made = match &self.seen {
            Some(seen) => judge(job, checked, Some(&mut |rows| seen.judge_beside(beside, rows)), counts)?,
            None => judge(job, checked, None, counts)?,
        };
        counts.rows_out += made.rows.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        counts.rows_rejected += made.rejects.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        Ok(made)
    }
}

impl RollupAhead {
    async fn take_in(&mut self, job: &Job, head: &Snapshot, rows: &[RecordBatch], counts: &mut Counts) -> Result<()> {
        let partial = self.plan.partial(rows).await?;
        for (leaf, paths) in self.leaves.missing(&partial)? {
            let held = rows_of(job, head, &paths).await?;
            self.leaves.load(leaf, &held)?;
        }
        self.leaves.apply(&partial)?;
        let count = |batches: &[RecordBatch]| batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        counts.rows_in += count(rows);
        counts.rows_out += count(&partial);
        if self.leaves.is_full() {
            let rows = self.leaves.rows_in_memory() as u64;
            let rows_max = job.options.leaves.dirty_rows_max as u64;
            return Err(Error::FarBehind { dataset: job.model.dataset.clone(), rows, rows_max });
        }
        Ok(())
    }
}
