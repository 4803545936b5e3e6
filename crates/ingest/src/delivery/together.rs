//! Batches of many small files put together, so that what follows costs by rows and not by files.
//!
//! Between the decoder and the files that are written. Invariant: rows and rejects keep their order, and counts add up.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::decode::{DecodeError, Decoded};

/// So many records are passed on as they are.
const RECORDS_ENOUGH: usize = 8_192;

/// Batches that wait for more.
#[derive(Debug, Default)]
pub(super) struct Together {
    waiting: Vec<Decoded>,
    records: usize,
}

impl Together {
    /// Takes a batch in; gives one where there are enough records.
    pub(super) fn take(&mut self, dataset: &str, decoded: Decoded) -> Result<Option<Decoded>, DecodeError> {
        self.records += decoded.rows.num_rows() + decoded.rejects.num_rows();
        self.waiting.push(decoded);
        if self.records >= RECORDS_ENOUGH { self.rest(dataset) } else { Ok(None) }
    }

    /// What is left.
    pub(super) fn rest(&mut self, dataset: &str) -> Result<Option<Decoded>, DecodeError> {
        self.records = 0;
        let mut batches = std::mem::take(&mut self.waiting).into_iter();
        let Some(mut first) = batches.next() else { return Ok(None) };
        let (mut rows, mut rejects) = (vec![first.rows.clone()], vec![first.rejects.clone()]);
        for batch in batches {
            add(&mut first.warnings, batch.warnings);
            add(&mut first.errors, batch.errors);
            add(&mut first.fatal, batch.fatal);
            add(&mut first.misfits, batch.misfits);
            first.not_json += batch.not_json;
            first.tombstones += batch.tombstones;
            first.stopped_at = first.stopped_at.or(batch.stopped_at);
            rows.push(batch.rows);
            rejects.push(batch.rejects);
        }
        if let [_] = rows.as_slice() {
            return Ok(Some(first));
        }
        let joined = |batches: &[RecordBatch], of: &RecordBatch| {
            let build = |source| DecodeError::Build { dataset: dataset.to_owned(), source };
            concat_batches(of.schema_ref(), batches).map_err(build)
        };
        let (rows, rejects) = (joined(&rows, &first.rows)?, joined(&rejects, &first.rejects)?);
        Ok(Some(Decoded { rows, rejects, ..first }))
    }
}

fn add(to: &mut Vec<(usize, u64)>, more: Vec<(usize, u64)>) {
    for (of, count) in more {
        match to.iter_mut().find(|(known, _)| *known == of) {
            Some((_, counted)) => *counted += count,
            None => to.push((of, count)),
        }
    }
    to.sort_unstable();
}
