//! What an upsert's epoch writes: the events of the ranges that it touches, and the rows that follow from them.
//!
//! Between what was gathered and the commits. Invariant: no file is named by a commit before all of an epoch are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use vitalake_lake::{DataFile, FilePath, StateChange};

use super::range::{Instead, OfRange, RangeWork, Rows, all_at_once};
use super::{Gathered, UpsertWork};
use crate::error::{Error, Result};
use crate::plan::INGESTED_AT;
use crate::run::Job;
use crate::upsert::{Change, Layout, Range, Stamp, bits_for};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Files that are written and that no commit names yet.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) state: StateChange,
    pub(super) removes: Vec<FilePath>,
    pub(super) adds: Vec<Arc<DataFile>>,
}

impl UpsertWork {
    pub(super) fn layout(&self) -> Layout<Arc<DataFile>> {
        let range = |file: &Arc<DataFile>| file.range().and_then(Range::parse).unwrap_or(Range::WHOLE);
        self.state.head().files().map(|file| (range(file), Arc::clone(file))).collect()
    }

    fn ranges(&self, job: &Job, stamp: Option<Stamp>, rows: Rows) -> RangeWork {
        RangeWork {
            merger: Arc::clone(&self.merger),
            hasher: self.hasher.clone(),
            keys: self.keys.clone(),
            state: self.state.files(),
            output: Arc::clone(&job.output),
            rows_max: job.options.leaves.leaf_rows_max,
            stamp,
            rows,
        }
    }

    /// Writes the rows that follow from some ranges of the state, or from all.
    pub(super) async fn derived(&self, job: &Job, touched: Option<&[Range]>) -> Result<Prepared> {
        let is_touched = |range: Range| touched.is_none_or(|touched| touched.iter().any(|t| t.overlaps(range)));
        let layout = self.layout();
        let mut prepared = Prepared::default();
        let touched = layout.ranges().filter(|range| is_touched(*range));
        let touched = touched.map(|range| (range, layout.get(range).to_vec(), OfRange::default()));
        for written in all_at_once(self.ranges(job, None, Rows::Alone), touched).await? {
            prepared.adds.extend(written.rows);
        }
        let head = job.output.head();
        let goes = |file: &&Arc<DataFile>| file.range().and_then(Range::parse).is_none_or(is_touched);
        prepared.removes = head.files().filter(goes).map(|file| file.path().clone()).collect();
        Ok(prepared)
    }

    /// Writes the files of what an epoch changes; of a part of one, which has no version, those of the state alone. So
    /// too where parts of the epoch are in the state: the rows are derived when all of it is.
    pub(super) async fn prepare(&self, job: &Job, gathered: &Gathered, version: Option<i64>) -> Result<Prepared> {
        let (layout, bits) = (self.layout(), bits_for(gathered.held(), job.options.leaves.leaf_rows_max));
        let mut ranges: BTreeMap<Range, OfRange> = BTreeMap::new();
        for change in &gathered.changes {
            let (Change::Add(events) | Change::Retract(events)) = change;
            for (range, events) in self.divided(&layout, bits, events)? {
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
                for (range, events) in self.divided(&layout, bits, events)? {
                    ranges.entry(range).or_default().whole.push(events);
                }
            }
            for events in &gathered.rejected {
                for (range, events) in self.divided(&layout, bits, events)? {
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
        let mut prepared = Prepared::default();
        let rows = match version.is_some() && gathered.touched.is_empty() {
            true => Rows::WhereTheyDiffer,
            false => Rows::Later,
        };
        let came = ranges.into_iter().map(|(range, came)| (range, layout.get(range).to_vec(), came));
        for written in all_at_once(self.ranges(job, stamp, rows), came).await? {
            let range = written.range;
            prepared.state.ranges.push(range.to_string());
            prepared.state.adds.extend(written.state);
            prepared.adds.extend(written.rows);
            if written.instead != Instead::Nothing {
                prepared.state.removes.extend(layout.get(range).iter().map(|file| file.path().clone()));
            }
            if written.instead == Instead::EventsAndRows {
                let gone = visible.iter().filter(|(of, _)| of.overlaps(range));
                prepared.removes.extend(gone.map(|(_, path)| path.clone()));
            }
        }
        Ok(prepared)
    }

    /// Events by the ranges that their keys lie in; in a table without ranges, by the first bits of their hashes.
    fn divided(
        &self,
        layout: &Layout<Arc<DataFile>>,
        bits: u8,
        events: &RecordBatch,
    ) -> Result<Vec<(Range, RecordBatch)>> {
        let (hashes, _) = self.hasher.hash(events)?;
        let mut rows: BTreeMap<Range, Vec<u32>> = BTreeMap::new();
        for (row, hash) in (0_u32..).zip(hashes) {
            rows.entry(layout.range_of(hash, bits)).or_default().push(row);
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
