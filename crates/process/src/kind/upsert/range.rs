//! One range of an upsert's keys: its events as they are, what comes to them, and the files of what they are then.
//!
//! Ranges know nothing of each other, so that several are read, merged and written at once. Keys that a range does not
//! hold yet are written beside what it holds, in files of their own, until these are many: a first load in many portions
//! then writes each row a few times and not once for every portion. All else reads and writes a range whole. Invariant:
//! all events of a key are in one file of the state, and what is in memory is bounded by the ranges at work.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use tokio::task::JoinSet;
use vitalake_lake::{DataFile, StateFiles, Table};

use crate::duplicates::RowHasher;
use crate::error::{Error, Result};
use crate::upsert::{Change, Merger, Range, Stamp};

/// Files of a range after which they are merged into one.
const FILES_MAX: usize = 8;

/// What an epoch brings to one range.
#[derive(Default)]
pub(super) struct OfRange {
    pub(super) changes: Vec<Change>,
    pub(super) whole: Vec<RecordBatch>,
    pub(super) rejected: Vec<RecordBatch>,
}

/// When the rows that follow from events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// With the events, where these change them.
    WhereTheyDiffer,
    /// When more of an epoch is there.
    Later,
    /// They alone, of events that are there.
    Alone,
}

/// What all ranges of an epoch have in common.
pub(super) struct RangeWork {
    pub(super) merger: Arc<Merger>,
    pub(super) hasher: RowHasher,
    /// The columns of the key alone, and what hashes them.
    pub(super) keys: (SchemaRef, RowHasher),
    pub(super) state: StateFiles,
    pub(super) output: Arc<Table>,
    /// Events after which a range is halved.
    pub(super) rows_max: usize,
    /// Of an input that comes as a whole: when it came.
    pub(super) stamp: Option<Stamp>,
    pub(super) rows: Rows,
}

/// The files of a range, which no commit names yet.
pub(super) struct Written {
    pub(super) range: Range,
    pub(super) state: Vec<Arc<DataFile>>,
    pub(super) rows: Vec<Arc<DataFile>>,
    /// What they take the place of.
    pub(super) instead: Instead,
}

/// What the files of a range take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// They come beside what is there.
    Nothing,
    /// Of the events; the rows are as they were.
    Events,
    /// Of the events and the rows.
    EventsAndRows,
}

/// Writes what becomes of ranges that are held in these files, as many at a time as the machine has cores; those that
/// change, in their order.
pub(super) async fn all_at_once(
    work: RangeWork,
    ranges: impl Iterator<Item = Result<(Range, Vec<Arc<DataFile>>, OfRange)>>,
) -> Result<Vec<Written>> {
    let at_once_max = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (work, mut running, mut written) = (Arc::new(work), JoinSet::new(), Vec::new());
    for each in ranges {
        let (range, files, came) = each?;
        if running.len() >= at_once_max {
            written.extend(next(&mut running).await?);
        }
        let work = Arc::clone(&work);
        running.spawn(async move { work.write(range, &files, came).await });
    }
    while !running.is_empty() {
        written.extend(next(&mut running).await?);
    }
    written.sort_by_key(|written| written.range);
    Ok(written)
}

async fn next(running: &mut JoinSet<Result<Option<Written>>>) -> Result<Option<Written>> {
    match running.join_next().await {
        Some(Ok(written)) => written,
        // A panic there is one here: it ends the life.
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Some(Err(_)) | None => std::future::pending().await,
    }
}

impl RangeWork {
    /// All events of a range, in order.
    async fn held(&self, files: &[Arc<DataFile>]) -> Result<RecordBatch> {
        let mut batches = Vec::with_capacity(files.len());
        for file in files {
            batches.extend(self.state.read(file).await?);
        }
        let held = self.joined(&batches)?;
        // One file is in order already.
        if files.len() > 1 { self.merger.merge(&self.nothing(), &[Change::Add(held)]) } else { Ok(held) }
    }

    fn nothing(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.merger.shape().events))
    }

    fn joined(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        concat_batches(&self.merger.shape().events, batches)
            .map_err(|source| Error::Arrow { attempted: "joining events", source })
    }

    /// Writes what a range is after what came; none where it stays as it was.
    async fn write(&self, range: Range, files: &[Arc<DataFile>], came: OfRange) -> Result<Option<Written>> {
        if self.rows == Rows::Alone {
            let rows = self.merger.visible(&self.held(files).await?)?;
            let rows = self.output.write_range(vec![rows], &range.to_string()).await?;
            return Ok(Some(Written { range, state: Vec::new(), rows, instead: Instead::EventsAndRows }));
        }
        if self.are_new(files, &came).await? {
            return self.write_beside(range, &came.changes).await.map(Some);
        }
        let before = self.held(files).await?;
        let after = self.after(&before, came)?;
        if after == before {
            return Ok(None);
        }
        let parts = self.parts(range, &after)?;
        let shown = match self.rows {
            Rows::Later => None,
            _ => Some(self.shown(&before, &parts)?).filter(|shown| shown.differs),
        };
        drop((before, after));
        let instead = if shown.is_some() { Instead::EventsAndRows } else { Instead::Events };
        let mut written = Written { range, state: Vec::new(), rows: Vec::new(), instead };
        for ((part, _), rows) in parts.iter().zip(shown.into_iter().flat_map(|shown| shown.rows)) {
            written.rows.extend(self.output.write_range(vec![rows], &part.to_string()).await?);
        }
        for (part, events) in parts {
            written.state.extend(self.state.write(&[events], &part.to_string()).await?);
        }
        Ok(Some(written))
    }

    /// Whether what came are events of keys that the range holds none of, and there is room for them beside it.
    async fn are_new(&self, files: &[Arc<DataFile>], came: &OfRange) -> Result<bool> {
        let mut rows = 0;
        let mut hashes = HashSet::new();
        for change in &came.changes {
            let Change::Add(events) = change else { return Ok(false) };
            rows += events.num_rows() as u64;
            hashes.extend(self.hasher.hash(events)?.0);
        }
        for file in files {
            let Some(held) = file.rows else { return Ok(false) };
            rows += held;
        }
        let has_room = (1..FILES_MAX).contains(&files.len()) && rows <= self.rows_max as u64;
        if self.stamp.is_some() || hashes.is_empty() || !has_room {
            return Ok(false);
        }
        let (schema, hasher) = &self.keys;
        for file in files {
            for keys in self.state.read_columns(file, schema).await? {
                // Two keys of one hash are taken for one, which costs a merge.
                if hasher.hash(&keys)?.0.iter().any(|hash| hashes.contains(hash)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Writes events of new keys, and the rows that follow from them, beside what the range holds.
    async fn write_beside(&self, range: Range, changes: &[Change]) -> Result<Written> {
        let events = self.merger.merge(&self.nothing(), changes)?;
        let rows = match self.rows {
            Rows::Later => Vec::new(),
            _ => self.output.write_range(vec![self.merger.visible(&events)?], &range.to_string()).await?,
        };
        let state = self.state.write(&[events], &range.to_string()).await?.into_iter().collect();
        Ok(Written { range, state, rows, instead: Instead::Nothing })
    }

    /// What a range holds after what came.
    fn after(&self, before: &RecordBatch, came: OfRange) -> Result<RecordBatch> {
        let Some(stamp) = self.stamp else { return self.merger.merge(before, &came.changes) };
        let (whole, rejected) = (self.joined(&came.whole)?, self.joined(&came.rejected)?);
        let events = self.merger.of_whole(before, &whole, &rejected, stamp)?;
        self.merger.merge(before, &[Change::Add(events)])
    }

    /// The rows of each part, and whether they are others than those of what was held before.
    fn shown(&self, before: &RecordBatch, parts: &[(Range, RecordBatch)]) -> Result<Shown> {
        let rows = parts.iter().map(|(_, events)| self.merger.visible(events)).collect::<Result<Vec<_>>>()?;
        let differs = match rows.as_slice() {
            [rows] => self.merger.visible(before)? != *rows,
            _ => true,
        };
        Ok(Shown { rows, differs })
    }

    /// The events of a range, halved until no part is too large.
    fn parts(&self, range: Range, events: &RecordBatch) -> Result<Vec<(Range, RecordBatch)>> {
        let (mut parts, mut open) = (Vec::new(), vec![(range, events.clone())]);
        while let Some((range, events)) = open.pop() {
            if events.num_rows() <= self.rows_max {
                parts.push((range, events));
                continue;
            }
            let (hashes, _) = self.hasher.hash(&events)?;
            let one_key = hashes.iter().all(|hash| hashes.first() == Some(hash));
            match range.halves().filter(|_| !one_key) {
                Some((left, right)) => {
                    open.push((right, rows_of(&events, |row| hashes.get(row).is_some_and(|h| right.contains(*h)))?));
                    open.push((left, rows_of(&events, |row| hashes.get(row).is_some_and(|h| left.contains(*h)))?));
                }
                None => parts.push((range, events)),
            }
        }
        Ok(parts)
    }
}

/// The rows that follow from the parts of a range.
struct Shown {
    rows: Vec<RecordBatch>,
    differs: bool,
}

fn rows_of(events: &RecordBatch, chosen: impl Fn(usize) -> bool) -> Result<RecordBatch> {
    let marks: BooleanArray = (0..events.num_rows()).map(|row| Some(chosen(row))).collect();
    filter_record_batch(events, &marks).map_err(|source| Error::Arrow { attempted: "dividing events", source })
}
