//! Rejects of an upsert once more: through the rules, or where the model failed on them through the model, and as events into
//! their ranges.
//!
//! Done between two epochs. The events are committed first; rows and quarantine follow in one correction. Invariant: an event
//! is known by its key and the place of its record, so that a replay which was killed on the way, and is asked for again,
//! changes nothing twice.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Gathered, UpsertWork};
use crate::error::{Error, Result};
use crate::graph::Feeding;
use crate::kind::{MODEL_EXPRESSION_RULE, portion};
use crate::replay::{Came, Request, by_attempts, by_rule, with_attempts, with_columns};
use crate::run::Job;
use crate::run::progress::Counts;
use crate::upsert::{Change, Range};

impl UpsertWork {
    /// Puts a portion of quarantine through, and commits what comes of it.
    pub(crate) async fn replay(&mut self, job: &Job, request: &Request, first_seal: u64) -> Result<Came> {
        if self.shape().feeding == Feeding::Whole {
            let why = "each delivery brings its input as a whole: deliver it again, and the row is judged anew; then discard the rejects";
            return Err(Error::NoReplay { dataset: job.model.dataset.clone(), why });
        }
        let read = portion::read(job, request).await?;
        let (events, stays) = self.once_more(job, &read.meant).await?;
        let tried = portion::tried(request, &read, &stays);
        if request.dry_run {
            return Ok(Some((tried, Vec::new())));
        }
        while let Some(seal) = self.oldest_open().cloned() {
            let version = seal.version().await;
            self.commit(job, version, first_seal).await?;
        }
        let changes = events.into_iter().map(Change::Add).collect();
        let mut prepared = self.prepare(job, &Gathered { changes, ..Gathered::default() }, None).await?;
        let (mut removed, mut added, mut txns) = (Vec::new(), Vec::new(), Vec::new());
        if !prepared.state.ranges.is_empty() {
            // It is whole as it is: who opens the state after a crash brings the rows up to it.
            self.state.commit(&prepared.state).await?;
            let touched: Vec<Range> = prepared.state.ranges.iter().filter_map(|range| Range::parse(range)).collect();
            prepared = self.derived(job, Some(&touched)).await?;
            let head = job.output.head();
            removed = prepared.removes.iter().filter_map(|path| head.file(path).cloned()).collect();
            added = std::mem::take(&mut prepared.adds);
            txns = vec![(self.state.txn(), self.state.version())];
        }
        let mut correction = portion::correction(job, request, (read, stays), (removed, added)).await?;
        correction.txns = txns;
        let kept = correction.rejects_added.iter().map(|file| file.path().clone()).collect();
        if job.output.correct(&correction).await?.is_none() {
            // What is in the state already is found again by whoever brings the table up to it.
            self.catch_up(job).await?;
            return Ok(None);
        }
        Ok(Some((tried, kept)))
    }

    /// The events that rejects give now, and those that stay.
    async fn once_more(&mut self, job: &Job, meant: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let (mut events, mut stays) = (Vec::new(), Vec::new());
        let shape = Arc::clone(&self.merger);
        for batch in meant {
            for (attempts, group) in by_attempts(batch)? {
                let (failed, broke_rules) = by_rule(&group, MODEL_EXPRESSION_RULE)?;
                let mut counts = Counts::default();
                let mut again = Vec::new();
                if broke_rules.num_rows() > 0 {
                    let made = self.rules.judged_again(job, shape.shape(), &broke_rules, &mut counts)?;
                    events.extend(made.events);
                    again.extend(made.rejects);
                }
                if failed.num_rows() > 0 {
                    let fingerprint = &job.output.contract().fingerprint;
                    let columns = self.rules.read_columns();
                    let (whole, lacking) = with_columns(&failed, &columns, fingerprint, MODEL_EXPRESSION_RULE)?;
                    again.push(lacking);
                    if whole.num_rows() > 0 {
                        let made = self.rules.made_again(job, shape.shape(), &whole, &mut counts).await?;
                        events.extend(made.events);
                        again.extend(made.rejects);
                    }
                }
                for rejects in again.iter().filter(|rejects| rejects.num_rows() > 0) {
                    stays.push(with_attempts(rejects, attempts.saturating_add(1))?);
                }
            }
        }
        events.retain(|batch| batch.num_rows() > 0);
        Ok((events, stays))
    }
}
