//! A portion of quarantine for the kinds whose rows are not added one by one: what of it is meant, and what becomes of its
//! files.
//!
//! Between a replay's request and the correction that carries it out. Invariant: a reject of the portion is meant, or stays as
//! it is; of those that are meant each becomes part of a row, or a reject with one attempt more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::not;
use vitalake_lake::{Account, Correction, DataFile, Tried, signed};

use super::append::count;
use crate::error::{Error, Result};
use crate::increment::chosen;
use crate::replay::Request;
use crate::run::Job;

/// The rejects of a portion's files.
pub(crate) struct Portioned {
    /// Those that are put through.
    pub(crate) meant: Vec<RecordBatch>,
    others: Vec<RecordBatch>,
}

/// Reads a portion.
pub(crate) async fn read(job: &Job, request: &Request) -> Result<Portioned> {
    let mut read = Portioned { meant: Vec::new(), others: Vec::new() };
    for file in request.portion.files() {
        for batch in job.output.read_rejects(file).await? {
            let meant = request.filter.mask(&batch);
            let others = not(&meant).map_err(|source| Error::Arrow { attempted: "dividing rejects", source })?;
            read.meant.push(chosen(&batch, &meant)?);
            read.others.push(chosen(&batch, &others)?);
        }
    }
    read.meant.retain(|batch| batch.num_rows() > 0);
    read.others.retain(|batch| batch.num_rows() > 0);
    Ok(read)
}

/// What came of it, where these stay.
pub(crate) fn tried(request: &Request, read: &Portioned, stays: &[RecordBatch]) -> Tried {
    let taken = count(&read.meant);
    request.progress.done.fetch_add(taken, Ordering::Relaxed);
    let mut tried = Tried { taken, rows: taken.saturating_sub(count(stays)), ..Tried::default() };
    let rules = stays.iter().filter_map(|batch| batch.column_by_name("_rule")?.as_string_view_opt());
    for rule in rules.flatten().flatten() {
        *tried.failed.entry(rule.to_owned()).or_default() += 1;
    }
    tried
}

/// What is committed: rows that take the place of others, and quarantine without what has come through.
pub(crate) async fn correction(
    job: &Job,
    request: &Request,
    (read, stays): (Portioned, Vec<RecordBatch>),
    (removed, added): (Vec<Arc<DataFile>>, Vec<Arc<DataFile>>),
) -> Result<Correction> {
    let kept: Vec<RecordBatch> = read.others.into_iter().chain(stays).collect();
    let rejects_added = if kept.is_empty() { Vec::new() } else { job.output.write_rejects(kept).await? };
    let rejects_removed = request.portion.files().to_vec();
    let held = |files: &[Arc<DataFile>]| files.iter().filter_map(|file| file.rows).sum::<u64>();
    // Rows that follow from others are not counted by what was offered: what is there afterwards is taken as it is.
    let (after, before) = (held(&added) + held(&rejects_added), held(&removed) + held(&rejects_removed));
    let account = Account { offered: signed(after) - signed(before), ..Account::default() };
    Ok(Correction { removed, added, rejects_removed, rejects_added, account, ..Correction::default() })
}
