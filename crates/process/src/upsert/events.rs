//! What is new, merged into the events that a range of keys holds.
//!
//! Events are a set: one that comes twice is there once, and one that is taken back is gone, by its key and the place of
//! its record. They are held sorted by key, sequence and place. Invariant: the result depends on the set alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{TimestampMicrosecondType, UInt32Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};
use crate::upsert::shape::UpsertShape;

/// Events that come, or that are taken back.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// They come.
    Add(RecordBatch),
    /// They are taken back, by their keys and the places of their records.
    Retract(RecordBatch),
}

/// When a whole came, and as which version of its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Microseconds since 1970.
    pub(crate) at_us: i64,
    /// The input's version.
    pub(crate) version: i64,
}

/// Merges events of one shape.
pub(crate) struct Merger {
    pub(super) shape: UpsertShape,
    /// All columns: key, sequence, place, then the others.
    order: Vec<usize>,
    /// How many of them are key, sequence and place: of one record there is one event.
    ordered_by: usize,
    in_order: RowConverter,
    in_full: RowConverter,
    by_key: RowConverter,
    by_record: RowConverter,
    by_values: RowConverter,
}

pub(super) fn failed(source: ArrowError) -> Error {
    Error::Arrow { attempted: "merging events", source }
}

/// The rows in order, each of those that are equal once. What is held is sorted already, and a stable sort makes use of
/// that.
fn sorted(rows: &Rows) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX)).collect();
    order.sort_by(|left, right| rows.row(*left as usize).cmp(&rows.row(*right as usize)));
    order.dedup_by(|left, right| rows.row(*left as usize) == rows.row(*right as usize));
    order
}

impl Merger {
    pub(crate) fn new(shape: UpsertShape) -> Result<Self> {
        let mut order: Vec<usize> = Vec::new();
        for column in shape.key.iter().chain(&shape.sequence).copied().chain(shape.place()) {
            if !order.contains(&column) {
                order.push(column);
            }
        }
        let ordered_by = order.len();
        let others = (0..shape.events.fields().len()).filter(|column| !order.contains(column));
        order.extend(others.collect::<Vec<_>>());
        let converter = |columns: &[usize]| {
            let fields = columns.iter().map(|column| SortField::new(shape.events.field(*column).data_type().clone()));
            RowConverter::new(fields.collect()).map_err(failed)
        };
        let record: Vec<usize> = shape.key.iter().copied().chain(shape.place()).collect();
        let values: Vec<usize> = (0..shape.columns).collect();
        let in_order = converter(order.get(..ordered_by).unwrap_or_default())?;
        let (in_full, by_key) = (converter(&order)?, converter(&shape.key)?);
        let (by_record, by_values) = (converter(&record)?, converter(&values)?);
        Ok(Self { shape, order, ordered_by, in_order, in_full, by_key, by_record, by_values })
    }

    pub(crate) fn shape(&self) -> &UpsertShape {
        &self.shape
    }

    /// What a range holds after changes, in their order.
    pub(crate) fn merge(&self, held: &RecordBatch, changes: &[Change]) -> Result<RecordBatch> {
        let mut now = held.clone();
        for change in changes {
            now = match change {
                Change::Add(events) => self.with(&now, events)?,
                Change::Retract(events) => self.without(&now, events)?,
            };
        }
        if self.shape.keeps_newest_alone() { self.newest(&now) } else { Ok(now) }
    }

    fn with(&self, held: &RecordBatch, events: &RecordBatch) -> Result<RecordBatch> {
        let all = concat_batches(&self.shape.events, [held, events]).map_err(failed)?;
        let columns: Vec<ArrayRef> = self.order.iter().map(|column| Arc::clone(all.column(*column))).collect();
        let by = columns.get(..self.ordered_by).unwrap_or_default();
        let order = sorted(&self.in_order.convert_columns(by).map_err(failed)?);
        // Where a record has two events, or one twice, the other columns decide.
        let order = match order.len() == all.num_rows() {
            true => order,
            false => sorted(&self.in_full.convert_columns(&columns).map_err(failed)?),
        };
        take_record_batch(&all, &UInt32Array::from(order)).map_err(failed)
    }

    fn without(&self, held: &RecordBatch, events: &RecordBatch) -> Result<RecordBatch> {
        let (held_rows, gone_rows) = (self.records(held)?, self.records(events)?);
        let gone: HashSet<&[u8]> = (0..events.num_rows()).map(|row| gone_rows.row(row).data()).collect();
        let stays: BooleanArray =
            (0..held.num_rows()).map(|row| Some(!gone.contains(held_rows.row(row).data()))).collect();
        filter_record_batch(held, &stays).map_err(failed)
    }

    fn newest(&self, events: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.keys(events)?;
        let last = |row: &u32| {
            let (row, next) = (*row as usize, *row as usize + 1);
            next == events.num_rows() || keys.row(row) != keys.row(next)
        };
        let rows = 0..u32::try_from(events.num_rows()).unwrap_or(u32::MAX);
        let newest: UInt32Array = rows.filter(last).collect::<Vec<_>>().into();
        if newest.len() == events.num_rows() {
            return Ok(events.clone());
        }
        take_record_batch(events, &newest).map_err(failed)
    }

    fn records(&self, events: &RecordBatch) -> Result<Rows> {
        let columns = self.shape.key.iter().copied().chain(self.shape.place());
        let columns: Vec<ArrayRef> = columns.map(|column| Arc::clone(events.column(column))).collect();
        self.by_record.convert_columns(&columns).map_err(failed)
    }

    pub(super) fn keys(&self, events: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.shape.key.iter().map(|key| Arc::clone(events.column(*key))).collect();
        self.by_key.convert_columns(&columns).map_err(failed)
    }

    pub(super) fn values(&self, events: &RecordBatch) -> Result<Rows> {
        let columns = events.columns().get(..self.shape.columns).unwrap_or_default();
        self.by_values.convert_columns(columns).map_err(failed)
    }

    pub(super) fn is_deleted(&self, events: &RecordBatch) -> Vec<bool> {
        let marks = events.column(self.shape.deleted).as_boolean_opt();
        let marks = marks.map(|marks| marks.iter().map(|mark| mark == Some(true)).collect());
        marks.unwrap_or_else(|| vec![false; events.num_rows()])
    }

    /// The events that a whole brings to a range: rows that differ from the newest that it holds, and deletes of those
    /// that the whole lacks. Of several rows of one key the last in the log counts. `absent_not` are rows that were
    /// rejected: their keys are not absent.
    pub(crate) fn of_whole(
        &self,
        held: &RecordBatch,
        whole: &RecordBatch,
        absent_not: &RecordBatch,
        stamp: Stamp,
    ) -> Result<RecordBatch> {
        let whole = self.newest(&self.with(&RecordBatch::new_empty(Arc::clone(&self.shape.events)), whole)?)?;
        let held = self.newest(held)?;
        let (held_keys, keys, kept) = (self.keys(&held)?, self.keys(&whole)?, self.keys(absent_not)?);
        let (held_values, values) = (self.values(&held)?, self.values(&whole)?);
        let (was_deleted, is_deleted) = (self.is_deleted(&held), self.is_deleted(&whole));
        let there: HashMap<&[u8], usize> = (0..held.num_rows()).map(|row| (held_keys.row(row).data(), row)).collect();
        let mut present: HashSet<&[u8]> = (0..absent_not.num_rows()).map(|row| kept.row(row).data()).collect();
        let deleted = |marks: &[bool], row: usize| marks.get(row).copied().unwrap_or_default();
        let (mut came, mut went) = (Vec::new(), Vec::new());
        let (mut came_after, mut went_after) = (Vec::new(), Vec::new());
        for row in 0..whole.num_rows() {
            let before = there.get(keys.row(row).data()).copied();
            let same = before.is_some_and(|before| {
                let (was, is) = (deleted(&was_deleted, before), deleted(&is_deleted, row));
                was == is && (is || held_values.row(before) == values.row(row))
            });
            present.insert(keys.row(row).data());
            if !same && (before.is_some() || !deleted(&is_deleted, row)) {
                came.push(u32::try_from(row).unwrap_or(u32::MAX));
                came_after.push(before);
            }
        }
        for row in 0..held.num_rows() {
            if !deleted(&was_deleted, row) && !present.contains(held_keys.row(row).data()) {
                went.push(u32::try_from(row).unwrap_or(u32::MAX));
                went_after.push(Some(row));
            }
        }
        let came = take_record_batch(&whole, &UInt32Array::from(came)).map_err(failed)?;
        let came = self.stamped(&came, &held, &came_after, stamp)?;
        let went = self.deletes(&held, went)?;
        let went = self.stamped(&went, &held, &went_after, stamp)?;
        concat_batches(&self.shape.events, [&came, &went]).map_err(failed)
    }

    /// Deletes of some of the events' keys, of which nothing but the key is said.
    fn deletes(&self, held: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
        let rows: arrow::array::PrimitiveArray<UInt32Type> = rows.into();
        let fields = self.shape.events.fields().iter().enumerate();
        let columns = fields.map(|(position, field)| {
            if self.shape.key.contains(&position) {
                return take(held.column(position), &rows, None).map_err(failed);
            }
            if position == self.shape.deleted {
                return Ok(Arc::new(BooleanArray::from(vec![true; rows.len()])) as ArrayRef);
            }
            Ok(new_null_array(field.data_type(), rows.len()))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&self.shape.events), columns).map_err(failed)
    }

    /// Events with the stamp of their whole, which is never before what their key has.
    fn stamped(
        &self,
        events: &RecordBatch,
        held: &RecordBatch,
        before: &[Option<usize>],
        stamp: Stamp,
    ) -> Result<RecordBatch> {
        let [at, version] = self.shape.sequence.as_slice() else { return Ok(events.clone()) };
        let times = held.column(*at).as_primitive_opt::<TimestampMicrosecondType>();
        let time = |row: &Option<usize>| {
            let known = row.zip(times).filter(|(row, times)| times.is_valid(*row)).map(|(row, times)| times.value(row));
            Some(known.map_or(stamp.at_us, |known| known.max(stamp.at_us)))
        };
        let times = before.iter().map(time).collect::<arrow::array::TimestampMicrosecondArray>().with_timezone("UTC");
        let mut columns = events.columns().to_vec();
        let versions: ArrayRef = Arc::new(Int64Array::from(vec![stamp.version; events.num_rows()]));
        for (position, column) in [(*at, Arc::new(times) as ArrayRef), (*version, versions)] {
            if let Some(place) = columns.get_mut(position) {
                *place = column;
            }
        }
        RecordBatch::try_new(Arc::clone(&self.shape.events), columns).map_err(failed)
    }
}
