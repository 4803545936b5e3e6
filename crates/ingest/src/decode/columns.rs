//! The columns of a batch while it is filled: typed values, the rows that are null, and text by its place.
//!
//! A record's values are pushed as its fields are met; a record that fails is cut off again. Invariant: between
//! records every column has one value per row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::error::ArrowError;
use vitalake_contract::ColumnType;

/// Where a text stands: in the records as they came, or beside them where escapes were undone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// The first byte.
    pub(super) start: usize,
    /// How many bytes.
    pub(super) length: u32,
    /// Whether it stands beside the records.
    pub(super) beside: bool,
}

/// A column's values in memory.
#[derive(Debug)]
pub(super) enum Values {
    /// Integers of 64 bits and timestamps.
    Long(Vec<i64>),
    /// Integers of 32 bits and dates.
    Int(Vec<i32>),
    /// Doubles.
    Double(Vec<f64>),
    /// Single-precision numbers.
    Float(Vec<f32>),
    /// Truth.
    Boolean(Vec<bool>),
    /// Text.
    Text(Vec<Span>),
}

/// One column.
#[derive(Debug)]
pub(super) struct ColumnBuffer {
    /// One value per row, a default where the row is null.
    pub(super) values: Values,
    nulls: Vec<usize>,
}

macro_rules! each {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            Values::Long($vector) => $body,
            Values::Int($vector) => $body,
            Values::Double($vector) => $body,
            Values::Float($vector) => $body,
            Values::Boolean($vector) => $body,
            Values::Text($vector) => $body,
        }
    };
}

impl ColumnBuffer {
    /// An empty column of the type.
    pub(super) fn new(kind: &ColumnType) -> Self {
        let values = match kind {
            ColumnType::Long | ColumnType::Timestamp(_) => Values::Long(Vec::new()),
            ColumnType::Int | ColumnType::Date(_) => Values::Int(Vec::new()),
            ColumnType::Double => Values::Double(Vec::new()),
            ColumnType::Float => Values::Float(Vec::new()),
            ColumnType::Boolean => Values::Boolean(Vec::new()),
            ColumnType::String | ColumnType::Time(_) | ColumnType::Json => Values::Text(Vec::new()),
        };
        Self { values, nulls: Vec::new() }
    }

    /// How many rows it has.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        each!(&self.values, values => values.len())
    }

    /// Adds a null.
    #[inline]
    pub(super) fn push_null(&mut self) {
        self.nulls.push(self.len());
        each!(&mut self.values, values => values.push(Default::default()));
    }

    /// Cuts rows off.
    pub(super) fn truncate(&mut self, rows: usize) {
        each!(&mut self.values, values => values.truncate(rows));
        while self.nulls.last().is_some_and(|&row| row >= rows) {
            self.nulls.pop();
        }
    }

    /// Gives the column as Arrow has it, and begins anew with as much room.
    pub(super) fn finish(&mut self, kind: &ColumnType, texts: &Texts<'_>) -> Result<ArrayRef, ArrowError> {
        let nulls = null_buffer(self.len(), &self.nulls);
        self.nulls.clear();
        Ok(match (&mut self.values, kind) {
            (Values::Long(values), ColumnType::Timestamp(_)) => {
                Arc::new(TimestampMicrosecondArray::try_new(renewed(values), nulls)?.with_timezone("UTC"))
            }
            (Values::Long(values), _) => Arc::new(Int64Array::try_new(renewed(values), nulls)?),
            (Values::Int(values), ColumnType::Date(_)) => Arc::new(Date32Array::try_new(renewed(values), nulls)?),
            (Values::Int(values), _) => Arc::new(Int32Array::try_new(renewed(values), nulls)?),
            (Values::Double(values), _) => Arc::new(Float64Array::try_new(renewed(values), nulls)?),
            (Values::Float(values), _) => Arc::new(Float32Array::try_new(renewed(values), nulls)?),
            (Values::Boolean(values), _) => {
                let array = BooleanArray::new(BooleanBuffer::from(values.as_slice()), nulls);
                values.clear();
                Arc::new(array)
            }
            (Values::Text(values), _) => {
                let array = texts.views(values, nulls)?;
                values.clear();
                array
            }
        })
    }
}

/// The texts that spans point into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    /// The records, one after the other.
    pub(super) records: &'a str,
    /// Texts whose escapes were undone.
    pub(super) beside: &'a str,
}

impl Texts<'_> {
    /// Copies the texts together, so that a column holds its own bytes and not the records around them.
    fn views(&self, spans: &[Span], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let mut builder = StringViewBuilder::with_capacity(spans.len());
        for (row, span) in spans.iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                builder.append_null();
                continue;
            }
            let source = if span.beside { self.beside } else { self.records };
            builder.try_append_value(source.get(span.start..span.start + span.length as usize).unwrap_or(""))?;
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// Hands the values over and leaves an empty vector of the same capacity.
fn renewed<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let next = Vec::with_capacity(values.len());
    ScalarBuffer::from(std::mem::replace(values, next))
}

/// A mask with the given rows null; none when no row is.
pub(super) fn null_buffer(rows: usize, nulls: &[usize]) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut bits = arrow::array::BooleanBufferBuilder::new(rows);
    bits.append_n(rows, true);
    nulls.iter().filter(|&&row| row < rows).for_each(|&row| bits.set_bit(row, false));
    Some(NullBuffer::new(bits.finish()))
}
