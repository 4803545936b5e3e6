//! A commit that takes rows away, as rows: those that it retracts, and those that it adds.
//!
//! Between a reader's increment and the kinds of models. A commit that corrects a few rows rewrites whole files, so that
//! most of what went came back unchanged: equal rows of both sides are cancelled, as often as they are on both. Invariant:
//! what is given out of a change is the difference of its two sides as multisets, whatever the pieces, and no piece holds
//! more than its limit of rows.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use vitalake_lake::{DataFile, Increment, Table};

use crate::duplicates::hash_bytes;
use crate::error::{Error, Result};

/// Rows of both sides that are held at once.
const PIECE_ROWS_MAX: u64 = 1 << 20;

/// A piece of a change.
#[derive(Debug, Default)]
pub(crate) struct Signed {
    /// Rows that are gone.
    pub(crate) retracted: Vec<RecordBatch>,
    /// Rows that have come.
    pub(crate) added: Vec<RecordBatch>,
}

/// Some files of a change whose rows are equal to none of its other files'.
#[derive(Debug, Default)]
struct Part {
    removed: Vec<Arc<DataFile>>,
    added: Vec<Arc<DataFile>>,
    /// The part is read so many times, each time a share of its rows.
    passes: u64,
    pass: u64,
}

impl Part {
    /// Goes on behind what has been read; whether nothing is left.
    fn is_done_after_this(&mut self) -> bool {
        if self.removed.is_empty() || self.added.is_empty() {
            if self.removed.pop().is_none() {
                self.added.pop();
            }
            return self.removed.is_empty() && self.added.is_empty();
        }
        self.pass += 1;
        self.pass >= self.passes
    }
}

/// A change on its way to be rows.
pub(crate) struct SignedIncrement<'a> {
    table: &'a Table,
    columns: Vec<String>,
    parts: VecDeque<Part>,
}

impl<'a> SignedIncrement<'a> {
    /// The rows of an increment with these columns; `_partition` and `_offset` among them keep what is held small.
    pub(crate) fn of(table: &'a Table, increment: &Increment, columns: &[String]) -> Self {
        let has = |name: &str| columns.iter().any(|column| column == name);
        let by_place = has("_partition") && has("_offset");
        let parts = parts(increment, by_place).into();
        Self { table, columns: columns.to_vec(), parts }
    }

    /// The next piece. A call that failed may be made again.
    pub(crate) async fn next(&mut self) -> Result<Option<Signed>> {
        loop {
            let Some(part) = self.parts.front() else { return Ok(None) };
            let signed = match (part.removed.last(), part.added.last()) {
                (Some(_), Some(_)) => self.cancelled(part).await?,
                // Where one side has no file there is nothing to cancel.
                (Some(file), None) => Signed { retracted: self.read(file).await?, ..Signed::default() },
                (None, Some(file)) => Signed { added: self.read(file).await?, ..Signed::default() },
                (None, None) => Signed::default(),
            };
            if let Some(part) = self.parts.front_mut()
                && part.is_done_after_this()
            {
                self.parts.pop_front();
            }
            if !signed.retracted.is_empty() || !signed.added.is_empty() {
                return Ok(Some(signed));
            }
        }
    }

    async fn read(&self, file: &DataFile) -> Result<Vec<RecordBatch>> {
        Ok(self.table.read_columns(file, &self.columns).await?)
    }

    /// What is left of a part's share of rows.
    async fn cancelled(&self, part: &Part) -> Result<Signed> {
        let removed = self.share(&part.removed, part).await?;
        let added = self.share(&part.added, part).await?;
        let mut surplus = Surplus::default();
        removed.iter().for_each(|marked| surplus.add(&marked.marks));
        let kept = added.iter().map(|marked| (marked, surplus.take(&marked.marks)));
        let added = kept.map(|(marked, came)| chosen(&marked.rows, &came)).collect::<Result<Vec<_>>>()?;
        let retracted = removed.iter().map(|marked| {
            let went = surplus.take_surplus(&marked.marks);
            chosen(&marked.rows, &went)
        });
        let mut signed = Signed { retracted: retracted.collect::<Result<_>>()?, added };
        signed.retracted.retain(|batch| batch.num_rows() > 0);
        signed.added.retain(|batch| batch.num_rows() > 0);
        Ok(signed)
    }

    async fn share(&self, files: &[Arc<DataFile>], part: &Part) -> Result<Vec<Marked>> {
        let mut share = Vec::new();
        for file in files {
            let mut batches = self.table.stream_columns(file, &self.columns).await?;
            while let Some(batch) = batches.try_next().await? {
                let marks = marks(&batch)?;
                let passes = u128::from(part.passes.max(1));
                let is_now = |mark: &u128| mark % passes == u128::from(part.pass);
                let now: BooleanArray = marks.iter().map(|mark| Some(is_now(mark))).collect();
                let rows = chosen(&batch, &now)?;
                if rows.num_rows() > 0 {
                    share.push(Marked { rows, marks: marks.into_iter().filter(is_now).collect() });
                }
            }
        }
        Ok(share)
    }
}

struct Marked {
    rows: RecordBatch,
    marks: Vec<u128>,
}

/// How often rows are on one side and not yet on the other.
#[derive(Default)]
pub(crate) struct Surplus(HashMap<u128, u64>);

impl Surplus {
    /// Rows of the first side.
    pub(crate) fn add(&mut self, marks: &[u128]) {
        for mark in marks {
            *self.0.entry(*mark).or_default() += 1;
        }
    }

    /// Which rows of the second side are not on the first; those that are, are cancelled.
    pub(crate) fn take(&mut self, marks: &[u128]) -> BooleanArray {
        let mut is_new = |mark: &u128| match self.0.get_mut(mark) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        marks.iter().map(|mark| Some(is_new(mark))).collect()
    }

    /// Which rows of the first side are left, each once.
    pub(crate) fn take_surplus(&mut self, marks: &[u128]) -> BooleanArray {
        let taken = self.take(marks);
        taken.iter().map(|is_new| is_new.map(|is_new| !is_new)).collect()
    }
}

/// A mark of each row by all of its values: rows with one mark are equal, but for one chance in 2^100.
pub(crate) fn marks(rows: &RecordBatch) -> Result<Vec<u128>> {
    let arrow = |source| Error::Arrow { attempted: "comparing rows", source };
    if rows.num_columns() == 0 {
        return Ok(vec![0; rows.num_rows()]);
    }
    let fields = rows.schema_ref().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let encoded = RowConverter::new(fields).and_then(|converter| converter.convert_columns(rows.columns()));
    let mut again = Vec::new();
    let mark = |row: arrow::row::Row<'_>| {
        let bytes: &[u8] = row.as_ref();
        again.clear();
        again.push(1);
        again.extend_from_slice(bytes);
        (u128::from(hash_bytes(bytes)) << 64) | u128::from(hash_bytes(&again))
    };
    Ok(encoded.map_err(arrow)?.iter().map(mark).collect())
}

/// The rows that are meant.
pub(crate) fn chosen(rows: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    if mask.true_count() == rows.num_rows() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, mask).map_err(|source| Error::Arrow { attempted: "taking rows", source })
}

/// Where the rows of a file come from: the first and the last place; `None` where its statistics do not say.
type Places = Option<((i64, i64), (i64, i64))>;

fn places(file: &DataFile) -> Places {
    let stats = file.stats()?;
    let number = |value: Option<ScalarValue>| match value? {
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => value,
        _ => None,
    };
    let bounds = |name: &str, kind: &DataType| {
        let all = stats.null_count(name) == Some(0);
        all.then(|| Some((number(stats.min(name, kind))?, number(stats.max(name, kind))?))).flatten()
    };
    let (first, last) = bounds("_partition", &DataType::Int32)?;
    let (from, to) = bounds("_offset", &DataType::Int64)?;
    // Of several partitions the offsets say nothing.
    Some(if first == last { ((first, from), (last, to)) } else { ((first, i64::MIN), (last, i64::MAX)) })
}

/// The files of a change in parts that have no row in common, as far as places tell.
fn parts(increment: &Increment, by_place: bool) -> Vec<Part> {
    let removed = increment.removed.iter().map(|file| (file, true));
    let all = removed.chain(increment.files.iter().map(|file| (file, false)));
    let mut placed: Vec<(Places, &Arc<DataFile>, bool)> =
        all.map(|(file, removed)| (places(file).filter(|_| by_place), file, removed)).collect();
    if placed.iter().any(|(places, ..)| places.is_none()) {
        placed.iter_mut().for_each(|(places, ..)| *places = None);
    }
    placed.sort_by(|(a, ..), (b, ..)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let mut parts: Vec<Part> = Vec::new();
    let mut reach: Places = None;
    for (places, file, removed) in placed {
        let apart = reach.zip(places).is_some_and(|((_, end), (start, _))| start > end);
        if parts.is_empty() || apart {
            parts.push(Part::default());
        }
        reach = match (reach.filter(|_| !apart), places) {
            (Some((start, end)), Some((_, other))) => Some((start, end.max(other))),
            (_, places) => places,
        };
        if let Some(part) = parts.last_mut() {
            if removed { &mut part.removed } else { &mut part.added }.push(Arc::clone(file));
        }
    }
    for part in &mut parts {
        let rows = part.removed.iter().chain(&part.added).map(|file| file.rows.unwrap_or(file.size_bytes() / 64));
        part.passes = rows.sum::<u64>().div_ceil(PIECE_ROWS_MAX).max(1);
    }
    parts
}

#[cfg(test)]
mod tests;
