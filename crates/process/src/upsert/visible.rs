//! The rows that follow from a range's events: the newest of each key, or each version of it with the time it held.
//!
//! Pure. Where all events are kept, equal values one after the other are one row, with the lineage of the first of them:
//! a row that is sent again unchanged stays as it is. Invariant: equal sets of events give equal rows in equal order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::row::Rows;

use crate::error::Result;
use crate::session::instant;
use crate::upsert::events::{Merger, failed};

/// A version of a key's row.
struct Version {
    /// The event with its values and its lineage.
    event: usize,
    from_us: i64,
    to_us: Option<i64>,
}

impl Merger {
    /// The table's rows of a range that holds these events, which are sorted.
    pub(crate) fn visible(&self, events: &RecordBatch) -> Result<RecordBatch> {
        let mut versions = Vec::new();
        if self.shape.keeps_newest_alone() {
            // Each key has one event.
            let deleted = self.is_deleted(events);
            let stays = deleted.iter().enumerate().filter(|(_, deleted)| !**deleted);
            versions.extend(stays.map(|(event, _)| Version { event, from_us: 0, to_us: None }));
            return self.rows(events, &versions);
        }
        let (keys, values) = (self.keys(events)?, self.values(events)?);
        let deleted = self.is_deleted(events);
        let times = self.times(events)?;
        let mut from = 0;
        while from < events.num_rows() {
            let mut to = from + 1;
            while to < events.num_rows() && keys.row(to) == keys.row(from) {
                to += 1;
            }
            let key = OfKey { values: &values, deleted: &deleted, times: times.as_ref() };
            match times {
                Some(_) => key.versions(from, to, &mut versions),
                None => versions.extend(key.newest(from, to)),
            }
            from = to;
        }
        self.rows(events, &versions)
    }

    /// From when each event holds, where that is asked for.
    fn times(&self, events: &RecordBatch) -> Result<Option<Int64Array>> {
        let Some(first) = self.shape.sequence.first().filter(|_| self.shape.history) else { return Ok(None) };
        let time = events.column(*first);
        let micros = match time.data_type() {
            DataType::Date32 => cast(time, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(failed)?,
            _ => cast(time, &instant()).map_err(failed)?,
        };
        let numbers = cast(&micros, &DataType::Int64).map_err(failed)?;
        Ok(numbers.as_any().downcast_ref::<Int64Array>().cloned())
    }

    fn rows(&self, events: &RecordBatch, versions: &[Version]) -> Result<RecordBatch> {
        let chosen = versions.iter().map(|version| u32::try_from(version.event).unwrap_or(u32::MAX));
        let chosen: UInt32Array = chosen.collect::<Vec<_>>().into();
        let columns = (0..self.shape.columns).chain(self.shape.deleted + 1..events.num_columns());
        let columns = columns.map(|column| take(events.column(column), &chosen, None).map_err(failed));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        if self.shape.history {
            let from = TimestampMicrosecondArray::from_iter_values(versions.iter().map(|version| version.from_us));
            let to: TimestampMicrosecondArray = versions.iter().map(|version| version.to_us).collect();
            columns.insert(self.shape.columns, Arc::new(from.with_timezone("UTC")));
            columns.insert(self.shape.columns + 1, Arc::new(to.with_timezone("UTC")));
        }
        RecordBatch::try_new(Arc::clone(&self.shape.stored), columns).map_err(failed)
    }
}

/// The events of one key, in order.
struct OfKey<'a> {
    values: &'a Rows,
    deleted: &'a [bool],
    times: Option<&'a Int64Array>,
}

impl OfKey<'_> {
    fn is_deleted(&self, event: usize) -> bool {
        self.deleted.get(event).copied().unwrap_or_default()
    }

    fn same(&self, left: usize, right: usize) -> bool {
        let gone = (self.is_deleted(left), self.is_deleted(right));
        gone == (true, true) || (gone == (false, false) && self.values.row(left) == self.values.row(right))
    }

    fn newest(&self, from: usize, to: usize) -> Option<Version> {
        let mut event = to.checked_sub(1).filter(|last| !self.is_deleted(*last))?;
        while event > from && self.same(event - 1, event) {
            event -= 1;
        }
        Some(Version { event, from_us: 0, to_us: None })
    }

    /// Each version from its first event to the next that differs. Of events of one time the last counts.
    fn versions(&self, from: usize, to: usize, versions: &mut Vec<Version>) {
        let Some(times) = self.times else { return };
        let mut open: Option<usize> = None;
        for event in from..to {
            let is_last_of_its_time = event + 1 == to || times.value(event) != times.value(event + 1);
            if !is_last_of_its_time || open.is_some_and(|open| self.same(open, event)) {
                continue;
            }
            let time = times.value(event);
            if let Some(before) = open.filter(|open| !self.is_deleted(*open)) {
                versions.push(Version { event: before, from_us: times.value(before), to_us: Some(time) });
            }
            open = Some(event);
        }
        if let Some(event) = open.filter(|open| !self.is_deleted(*open)) {
            versions.push(Version { event, from_us: times.value(event), to_us: None });
        }
    }
}
