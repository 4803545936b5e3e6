//! Rows of the ops datasets, cell by cell, and the batches that they become.
//!
//! Invariant: a row whose cells do not fit its table's columns becomes no batch, and is counted as dropped.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, SchemaRef};
use chrono::NaiveDate;

use crate::tables::OpsTable;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(Option<Arc<str>>),
    Long(Option<i64>),
    Double(Option<f64>),
    Boolean(Option<bool>),
    /// Milliseconds since 1970.
    At(i64),
    /// The same, where there may be none.
    MaybeAt(Option<i64>),
    Day(Option<NaiveDate>),
}

impl Cell {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Some(text.into()))
    }

    pub(crate) fn count(count: u64) -> Self {
        Self::Long(Some(i64::try_from(count).unwrap_or(i64::MAX)))
    }

    pub(crate) fn maybe_count(count: Option<u64>) -> Self {
        count.map_or(Self::Long(None), Self::count)
    }
}

/// One row, its cells in the order of the contract's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) table: OpsTable,
    pub(crate) cells: Vec<Cell>,
}

/// Rows of one table as a batch; `None` when a cell is not of its column's type.
pub(crate) fn batch(schema: &SchemaRef, rows: &[Row]) -> Option<RecordBatch> {
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let cells: Option<Vec<&Cell>> = rows.iter().map(|row| row.cells.get(at)).collect();
        column(field.data_type(), &cells?)
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Option<Vec<_>>>()?).ok()
}

fn column(kind: &DataType, cells: &[&Cell]) -> Option<ArrayRef> {
    let cells = cells.iter();
    Some(match kind {
        DataType::Utf8View => {
            let texts = cells.map(|cell| match cell {
                Cell::Text(text) => Some(text.as_deref()),
                _ => None,
            });
            Arc::new(StringViewArray::from_iter(texts.collect::<Option<Vec<_>>>()?))
        }
        DataType::Int64 => {
            let longs = cells.map(|cell| match cell {
                Cell::Long(long) => Some(*long),
                _ => None,
            });
            Arc::new(Int64Array::from(longs.collect::<Option<Vec<_>>>()?))
        }
        DataType::Float64 => {
            let doubles = cells.map(|cell| match cell {
                Cell::Double(double) => Some(*double),
                _ => None,
            });
            Arc::new(Float64Array::from(doubles.collect::<Option<Vec<_>>>()?))
        }
        DataType::Boolean => {
            let truths = cells.map(|cell| match cell {
                Cell::Boolean(truth) => Some(*truth),
                _ => None,
            });
            Arc::new(BooleanArray::from(truths.collect::<Option<Vec<_>>>()?))
        }
        DataType::Timestamp(..) => {
            let times = cells.map(|cell| match cell {
                Cell::At(ms) => Some(Some(ms.saturating_mul(1000))),
                Cell::MaybeAt(ms) => Some(ms.map(|ms| ms.saturating_mul(1000))),
                _ => None,
            });
            Arc::new(TimestampMicrosecondArray::from(times.collect::<Option<Vec<_>>>()?).with_timezone("UTC"))
        }
        DataType::Date32 => {
            let days = cells.map(|cell| match cell {
                Cell::Day(day) => Some(day.map(Date32Type::from_naive_date)),
                _ => None,
            });
            Arc::new(Date32Array::from(days.collect::<Option<Vec<_>>>()?))
        }
        _ => return None,
    })
}
