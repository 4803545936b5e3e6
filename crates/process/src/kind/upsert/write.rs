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
        let touched = touched.map(|range| Ok((range, layout.get(range).to_vec(), OfRange::default())));
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
        let mut ranges: BTreeMap<Range, Places> = BTreeMap::new();
        if gathered.whole.is_some() {
            // Every key that is held may be absent.
            ranges.extend(layout.ranges().map(|range| (range, Places::default())));
        }
        for (at, change) in gathered.changes.iter().enumerate() {
            let (Change::Add(events) | Change::Retract(events)) = change;
            for (range, rows) in self.divided(&layout, bits, events)? {
                ranges.entry(range).or_default().changes.push((at, rows));
            }
        }
        for (at, events) in gathered.whole.iter().flatten().enumerate() {
            for (range, rows) in self.divided(&layout, bits, events)? {
                ranges.entry(range).or_default().whole.push((at, rows));
            }
        }
        for (at, events) in gathered.rejected.iter().enumerate() {
            for (range, rows) in self.divided(&layout, bits, events)? {
                ranges.entry(range).or_default().rejected.push((at, rows));
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
        // The events of a range are taken out when its turn has come.
        let came =
            ranges.into_iter().map(|(range, places)| Ok((range, layout.get(range).to_vec(), places.of(gathered)?)));
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

    /// Which events' keys lie in which range; in a table without ranges, by the first bits of their hashes.
    fn divided(
        &self,
        layout: &Layout<Arc<DataFile>>,
        bits: u8,
        events: &RecordBatch,
    ) -> Result<BTreeMap<Range, UInt32Array>> {
        let (hashes, _) = self.hasher.hash(events)?;
        let mut rows: BTreeMap<Range, Vec<u32>> = BTreeMap::new();
        for (row, hash) in (0_u32..).zip(hashes) {
            rows.entry(layout.range_of(hash, bits)).or_default().push(row);
        }
        Ok(rows.into_iter().map(|(range, rows)| (range, UInt32Array::from(rows))).collect())
    }
}

/// Where the events of one range are among those that were gathered: batches, and the rows of each.
#[derive(Default)]
struct Places {
    changes: Vec<(usize, UInt32Array)>,
    whole: Vec<(usize, UInt32Array)>,
    rejected: Vec<(usize, UInt32Array)>,
}

impl Places {
    /// The events themselves.
    fn of(self, gathered: &Gathered) -> Result<OfRange> {
        let mut came = OfRange::default();
        for (at, rows) in &self.changes {
            came.changes.extend(match gathered.changes.get(*at) {
                Some(Change::Add(events)) => Some(Change::Add(taken(events, rows)?)),
                Some(Change::Retract(events)) => Some(Change::Retract(taken(events, rows)?)),
                None => None,
            });
        }
        let all = |batches: &[RecordBatch], places: &[(usize, UInt32Array)]| -> Result<Vec<RecordBatch>> {
            let of = |(at, rows): &(usize, UInt32Array)| batches.get(*at).map(|events| taken(events, rows));
            places.iter().filter_map(of).collect()
        };
        came.whole = all(gathered.whole.as_deref().unwrap_or_default(), &self.whole)?;
        came.rejected = all(&gathered.rejected, &self.rejected)?;
        Ok(came)
    }
}

fn taken(events: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch> {
    take_record_batch(events, rows).map_err(|source| Error::Arrow { attempted: "dividing events", source })
}

/// When a whole came: the time at which its newest record did, or now where it has none.
fn came_at_us(job: &Job, whole: &[RecordBatch]) -> i64 {
    let times = whole.iter().filter_map(|events| {
        let column = events.column_by_name(INGESTED_AT)?;
        arrow::compute::max(column.as_primitive_opt::<TimestampMicrosecondType>()?)
    });
    times.max().unwrap_or_else(|| job.options.clock.now_ms().saturating_mul(1000))
}
