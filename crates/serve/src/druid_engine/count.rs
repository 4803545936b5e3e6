//! Our own counts of what is published: rows and sums by segment, to hold Druid's against.
//!
//! Invariant: every row that is counted is either inside one of the intervals or outside of all.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMillisecondType};
use arrow::error::ArrowError;

use super::interval::{Granularity, Interval};
use super::spec::DruidType;
use super::spec::PublishedColumn;

/// The sum of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sum {
    /// Of whole numbers.
    Long(i128),
    /// Of numbers, with the sum of their sizes: what is exact enough follows from that.
    Double(f64, f64),
}

/// The rows of one segment's time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// How many.
    pub rows: u64,
    /// The sum of each number, in the order of the columns.
    pub sums: Vec<Sum>,
}

/// Counts rows as they are read.
#[derive(Debug)]
pub struct Counter<'a> {
    time: Option<&'a str>,
    numbers: Vec<&'a PublishedColumn>,
    granularity: Granularity,
    intervals: &'a [Interval],
    /// By the first moment of the segment's time, milliseconds since 1970.
    pub segments: BTreeMap<i64, Counted>,
    /// Rows of the same files that lie outside of the intervals.
    pub outside: u64,
    /// Rows without a time, which Druid cannot hold.
    pub timeless: u64,
}

impl<'a> Counter<'a> {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(
        columns: &'a [PublishedColumn],
        time: Option<&'a str>,
        granularity: Granularity,
        intervals: &'a [Interval],
    ) -> Self {
        let numbers = columns.iter().filter(|column| column.kind.is_number()).collect();
        Self { time, numbers, granularity, intervals, segments: BTreeMap::new(), outside: 0, timeless: 0 }
    }

    /// The columns that it reads.
    #[must_use]
    pub fn reads(&self) -> Vec<String> {
        self.time.into_iter().map(str::to_owned).chain(self.numbers.iter().map(|column| column.name.clone())).collect()
    }

    /// Rows inside of the intervals.
    #[must_use]
    pub fn inside(&self) -> u64 {
        self.segments.values().map(|counted| counted.rows).sum()
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// When a column is not of the type that its contract says, which would be a mistake of ours.
    pub fn take(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let times = self.time.and_then(|time| rows.column_by_name(time)).map(milliseconds).transpose()?;
        let mut numbers: Vec<Numbers> = Vec::with_capacity(self.numbers.len());
        for column in &self.numbers {
            numbers.push(Numbers::of(rows.column_by_name(&column.name), column.kind)?);
        }
        let nothing: Vec<Sum> = numbers.iter().map(Numbers::nothing).collect();
        for row in 0..rows.num_rows() {
            let at_ms = match &times {
                None if self.time.is_some() => None,
                None => Some(0),
                Some(times) => {
                    let times = times.as_primitive::<TimestampMillisecondType>();
                    times.is_valid(row).then(|| times.value(row))
                }
            };
            let Some(at_ms) = at_ms else {
                self.timeless += 1;
                continue;
            };
            if !self.intervals.iter().any(|interval| interval.holds(at_ms)) {
                self.outside += 1;
                continue;
            }
            let segment = self.segments.entry(self.granularity.floor(at_ms));
            let counted = segment.or_insert_with(|| Counted { rows: 0, sums: nothing.clone() });
            counted.rows += 1;
            counted.sums.iter_mut().zip(&numbers).for_each(|(sum, numbers)| numbers.add(row, sum));
        }
        Ok(())
    }
}

/// Moments as milliseconds, rounded down.
fn milliseconds(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let utc = || Some("UTC".into());
    let kind = DataType::Timestamp(TimeUnit::Millisecond, utc());
    let whole = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            let floored = micros.unary::<_, TimestampMillisecondType>(|at| at.div_euclid(1_000));
            return Ok(std::sync::Arc::new(floored));
        }
        DataType::Date32 => cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?,
        _ => cast(column, &kind)?,
    };
    Ok(whole)
}

/// A column of numbers; none where the file is older than the column.
enum Numbers {
    Long(Option<ArrayRef>),
    Double(Option<ArrayRef>),
}

impl Numbers {
    fn of(column: Option<&ArrayRef>, kind: DruidType) -> Result<Self, ArrowError> {
        let as_kind = |kind: DataType| column.map(|column| cast(column, &kind)).transpose();
        Ok(match kind {
            DruidType::Double => Self::Double(as_kind(DataType::Float64)?),
            _ => Self::Long(as_kind(DataType::Int64)?),
        })
    }

    fn nothing(&self) -> Sum {
        match self {
            Self::Long(_) => Sum::Long(0),
            Self::Double(_) => Sum::Double(0.0, 0.0),
        }
    }

    fn add(&self, row: usize, sum: &mut Sum) {
        match (self, sum) {
            (Self::Long(Some(column)), Sum::Long(sum)) if column.is_valid(row) => {
                *sum += i128::from(column.as_primitive::<Int64Type>().value(row));
            }
            (Self::Double(Some(column)), Sum::Double(sum, size)) if column.is_valid(row) => {
                let value = column.as_primitive::<Float64Type>().value(row);
                *sum += value;
                *size += value.abs();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, Float64Array, TimestampMicrosecondArray};

    use super::*;

    fn column(name: &str, kind: DruidType) -> PublishedColumn {
        PublishedColumn { name: name.to_owned(), kind }
    }

    #[test]
    fn rows_and_sums_are_counted_by_segment_and_apart_where_no_interval_holds_them() {
        let day_us = 86_400_000_000;
        let times = TimestampMicrosecondArray::from(vec![Some(0), Some(day_us - 1), Some(day_us), Some(-1), None]);
        let batch = RecordBatch::try_from_iter([
            ("at", Arc::new(times.with_timezone("UTC")) as ArrayRef),
            ("worn", Arc::new(BooleanArray::from(vec![Some(true), None, Some(true), Some(true), Some(true)]))),
            ("bpm", Arc::new(Float64Array::from(vec![Some(1.5), Some(-2.0), None, Some(9.0), Some(9.0)]))),
        ])
        .unwrap();
        let columns =
            [column("at", DruidType::Moment), column("worn", DruidType::Long), column("bpm", DruidType::Double)];
        let intervals = [Interval { start_ms: 0, end_ms: 2 * 86_400_000 }];
        let mut counter = Counter::new(&columns, Some("at"), Granularity::Day, &intervals);
        counter.take(&batch).unwrap();
        assert_eq!((counter.inside(), counter.outside, counter.timeless), (3, 1, 1));
        let first = Counted { rows: 2, sums: vec![Sum::Long(1), Sum::Double(-0.5, 3.5)] };
        assert_eq!(counter.segments.get(&0), Some(&first));
    }

    #[test]
    fn days_and_no_time_at_all_have_their_place() {
        let days = RecordBatch::try_from_iter([("day", Arc::new(Date32Array::from(vec![0, 31])) as ArrayRef)]).unwrap();
        let columns = [column("day", DruidType::Day)];
        let intervals = [Interval { start_ms: 0, end_ms: i64::MAX }];
        let mut counter = Counter::new(&columns, Some("day"), Granularity::Month, &intervals);
        counter.take(&days).unwrap();
        assert_eq!(counter.segments.keys().copied().collect::<Vec<_>>(), [0, 31 * 86_400_000]);
        let mut timeless = Counter::new(&columns, None, Granularity::Year, &intervals);
        timeless.take(&days).unwrap();
        assert_eq!((timeless.inside(), timeless.segments.len()), (2, 1));
    }
}
