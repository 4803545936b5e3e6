//! What an upsert's epoch writes: the events of the ranges that it touches, and the rows that follow from them.
//!
//! Between what was gathered and the commits. Invariant: a range is read and written whole, and no file is named by a
//! commit before all of an epoch are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use vitalake_lake::{DataFile, FilePath, StateChange};

use super::{Gathered, UpsertWork};
use crate::error::{Error, Result};
use crate::plan::INGESTED_AT;
use crate::run::Job;
use crate::upsert::{Change, Layout, Range, Stamp};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Files that are written and that no commit names yet.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) state: StateChange,
    pub(super) removes: Vec<FilePath>,
    pub(super) adds: Vec<Arc<DataFile>>,
}

/// What an epoch brings to one range.
#[derive(Default)]
struct OfRange {
    changes: Vec<Change>,
    whole: Vec<RecordBatch>,
    rejected: Vec<RecordBatch>,
}

impl UpsertWork {
    pub(super) fn layout(&self) -> Layout<Arc<DataFile>> {
        let range = |file: &Arc<DataFile>| file.range().and_then(Range::parse).unwrap_or(Range::WHOLE);
        self.state.head().files().map(|file| (range(file), Arc::clone(file))).collect()
    }

    async fn held(&self, layout: &Layout<Arc<DataFile>>, range: Range) -> Result<RecordBatch> {
        let Some(file) = layout.get(range) else { return Ok(self.empty()) };
        self.joined(&self.state.read(file).await?)
    }

    fn joined(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        concat_batches(&self.shape().events, batches)
            .map_err(|source| Error::Arrow { attempted: "joining events", source })
    }

    /// Writes the rows that follow from some ranges of the state, or from all.
    pub(super) async fn derived(&self, job: &Job, touched: Option<&[Range]>) -> Result<Prepared> {
        let is_touched = |range: Range| touched.is_none_or(|touched| touched.iter().any(|t| t.overlaps(range)));
        let layout = self.layout();
        let mut prepared = Prepared::default();
        for range in layout.ranges().filter(|range| is_touched(*range)) {
            let visible = self.merger.visible(&self.held(&layout, range).await?)?;
            prepared.adds.extend(job.output.write_range(vec![visible], &range.to_string()).await?);
            tokio::task::yield_now().await;
        }
        let head = job.output.head();
        let goes = |file: &&Arc<DataFile>| file.range().and_then(Range::parse).is_none_or(is_touched);
        prepared.removes = head.files().filter(goes).map(|file| file.path().clone()).collect();
        Ok(prepared)
    }

    /// Writes the files of what an epoch changes; of a part of one, which has no version, those of the state alone. So
    /// too where parts of the epoch are in the state: the rows are derived when all of it is.
    pub(super) async fn prepare(&self, job: &Job, gathered: &Gathered, version: Option<i64>) -> Result<Prepared> {
        let layout = self.layout();
        let mut ranges: BTreeMap<Range, OfRange> = BTreeMap::new();
        for change in &gathered.changes {
            let (Change::Add(events) | Change::Retract(events)) = change;
            for (range, events) in self.divided(&layout, events)? {
                let change = match change {
                    Change::Add(_) => Change::Add(events),
                    Change::Retract(_) => Change::Retract(events),
                };
                ranges.entry(range).or_default().changes.push(change);
            }
        }
        if let Some(whole) = &gathered.whole {
            // Every key that is held may be absent.
            ranges.extend(layout.ranges().map(|range| (range, OfRange::default())));
            for events in whole {
                for (range, events) in self.divided(&layout, events)? {
                    ranges.entry(range).or_default().whole.push(events);
                }
            }
            for events in &gathered.rejected {
                for (range, events) in self.divided(&layout, events)? {
                    ranges.entry(range).or_default().rejected.push(events);
                }
            }
        }
        let stamp = gathered.whole.as_ref().map(|whole| {
            let day = gathered.business_date.map(|day| i64::from(day) * MICROSECONDS_PER_DAY);
            let version = version.unwrap_or_default();
            Stamp { at_us: day.unwrap_or_else(|| came_at_us(job, whole)), version }
        });
        let head = job.output.head();
        let of_file = |file: &Arc<DataFile>| file.range().and_then(Range::parse).unwrap_or(Range::WHOLE);
        let visible: Vec<(Range, FilePath)> = head.files().map(|file| (of_file(file), file.path().clone())).collect();
        let (mut prepared, with_rows) = (Prepared::default(), version.is_some() && gathered.touched.is_empty());
        for (range, came) in ranges {
            let before = self.held(&layout, range).await?;
            let after = self.after(&before, came, stamp)?;
            if after == before {
                continue;
            }
            prepared.state.removes.extend(layout.get(range).map(|file| file.path().clone()));
            if self.write(job, range, (with_rows.then_some(&before), &after), &mut prepared).await? {
                let gone = visible.iter().filter(|(of, _)| of.overlaps(range));
                prepared.removes.extend(gone.map(|(_, path)| path.clone()));
            }
            tokio::task::yield_now().await;
        }
        Ok(prepared)
    }

    /// What a range holds after what came.
    fn after(&self, before: &RecordBatch, came: OfRange, stamp: Option<Stamp>) -> Result<RecordBatch> {
        let Some(stamp) = stamp else { return self.merger.merge(before, &came.changes) };
        let (whole, rejected) = (self.joined(&came.whole)?, self.joined(&came.rejected)?);
        let events = self.merger.of_whole(before, &whole, &rejected, stamp)?;
        self.merger.merge(before, &[Change::Add(events)])
    }

    /// Writes what a range holds now, and where it is said what it held before, the rows that follow from it where these
    /// differ; says whether they do.
    async fn write(
        &self,
        job: &Job,
        range: Range,
        (before, after): (Option<&RecordBatch>, &RecordBatch),
        prepared: &mut Prepared,
    ) -> Result<bool> {
        prepared.state.ranges.push(range.to_string());
        let parts = self.parts(range, after, job.options.leaves.leaf_rows_max)?;
        let differs = match before {
            Some(before) => parts.len() > 1 || self.merger.visible(before)? != self.merger.visible(after)?,
            None => false,
        };
        for (range, events) in parts {
            let name = range.to_string();
            if differs {
                let rows = self.merger.visible(&events)?;
                prepared.adds.extend(job.output.write_range(vec![rows], &name).await?);
            }
            prepared.state.adds.extend(self.state.write(&[events], &name).await?);
        }
        Ok(differs)
    }

    /// The events of a range, halved until no part is too large.
    fn parts(&self, range: Range, events: &RecordBatch, rows_max: usize) -> Result<Vec<(Range, RecordBatch)>> {
        let (mut parts, mut open) = (Vec::new(), vec![(range, events.clone())]);
        while let Some((range, events)) = open.pop() {
            let (hashes, _) = self.hasher.hash(&events)?;
            let one_key = hashes.iter().all(|hash| hashes.first() == Some(hash));
            match range.halves().filter(|_| events.num_rows() > rows_max && !one_key) {
                Some((left, right)) => {
                    open.push((right, rows_of(&events, |row| hashes.get(row).is_some_and(|h| right.contains(*h)))?));
                    open.push((left, rows_of(&events, |row| hashes.get(row).is_some_and(|h| left.contains(*h)))?));
                }
                None => parts.push((range, events)),
            }
        }
        Ok(parts)
    }

    /// Events by the ranges that their keys lie in.
    fn divided(&self, layout: &Layout<Arc<DataFile>>, events: &RecordBatch) -> Result<Vec<(Range, RecordBatch)>> {
        let (hashes, _) = self.hasher.hash(events)?;
        let mut rows: BTreeMap<Range, Vec<u32>> = BTreeMap::new();
        for (row, hash) in (0_u32..).zip(hashes) {
            rows.entry(layout.range_of(hash)).or_default().push(row);
        }
        let taken = rows.into_iter().map(|(range, rows)| {
            let events = take_record_batch(events, &UInt32Array::from(rows));
            Ok((range, events.map_err(|source| Error::Arrow { attempted: "dividing events", source })?))
        });
        taken.collect()
    }
}

/// When a whole came: the time at which its newest record did, or now where it has none.
fn came_at_us(job: &Job, whole: &[RecordBatch]) -> i64 {
    let times = whole.iter().filter_map(|events| {
        let column = events.column_by_name(INGESTED_AT)?;
        arrow::compute::max(column.as_primitive_opt::<TimestampMicrosecondType>()?)
    });
    times.max().unwrap_or_else(|| job.options.clock.now_ms().saturating_mul(1000))
}

fn rows_of(events: &RecordBatch, chosen: impl Fn(usize) -> bool) -> Result<RecordBatch> {
    let marks: BooleanArray = (0..events.num_rows()).map(|row| Some(chosen(row))).collect();
    filter_record_batch(events, &marks).map_err(|source| Error::Arrow { attempted: "dividing events", source })
}
