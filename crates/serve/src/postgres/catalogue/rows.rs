//! Rows of the catalogue, given by the names of their columns, as a batch in the table's own types.
//!
//! A column that nobody gives is what PostgreSQL has most often: false, zero, or NULL where that may be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;

use super::columns::SystemTable;
use crate::postgres::types::{CHAR, NAME, TEXT, TYPE_KEY, VARCHAR};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// True or false.
    Truth(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Truth(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Number(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Number(i64::from(value))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// What is known of a row.
pub type Row = BTreeMap<&'static str, Cell>;

/// A table's rows in its own types.
///
/// # Errors
/// When the batch cannot be made, which would be a mistake of ours.
pub fn batch(table: &SystemTable, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let columns = table.columns.iter().map(|(name, kind)| {
        let (data_type, type_id) = types_of(kind);
        let cells: Vec<Option<&Cell>> = rows.iter().map(|row| row.get(name)).collect();
        let metadata = type_id.map(|number| (TYPE_KEY.to_owned(), number.to_string()));
        let field = Field::new(*name, data_type.clone(), true).with_metadata(HashMap::from_iter(metadata));
        (field, array(&data_type, &cells))
    });
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

/// The type in memory, and the number of the type that clients are told where the first does not say it.
fn types_of(kind: &str) -> (DataType, Option<u32>) {
    let list = || DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    match kind {
        "bool" => (DataType::Boolean, None),
        "int2" => (DataType::Int16, None),
        "int4" | "cardinal_number" => (DataType::Int32, None),
        "int8" => (DataType::Int64, None),
        "float4" => (DataType::Float32, None),
        "float8" | "numeric" => (DataType::Float64, None),
        "oid" | "xid" | "regproc" | "regtype" => (DataType::UInt32, None),
        "timestamptz" | "time_stamp" => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), None),
        "name" | "sql_identifier" => (DataType::Utf8, Some(NAME)),
        "char" => (DataType::Utf8, Some(CHAR)),
        "character_data" | "yes_or_no" => (DataType::Utf8, Some(VARCHAR)),
        "_text" | "_name" | "_char" | "_oid" | "_int2" | "_aclitem" | "_regtype" => (list(), None),
        _ => (DataType::Utf8, Some(TEXT)),
    }
}

fn array(kind: &DataType, cells: &[Option<&Cell>]) -> ArrayRef {
    let numbers = || {
        cells.iter().map(|cell| match cell {
            Some(Cell::Number(number)) => *number,
            _ => 0,
        })
    };
    match kind {
        DataType::Boolean => {
            let truths = cells.iter().map(|cell| Some(matches!(cell, Some(Cell::Truth(true)))));
            Arc::new(truths.collect::<BooleanArray>())
        }
        DataType::Int16 => Arc::new(Int16Array::from_iter_values(numbers().map(|n| i16::try_from(n).unwrap_or(0)))),
        // Sizes and places that a column has not are NULL, not zero.
        DataType::Int32 => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Some(Cell::Number(number)) => i32::try_from(*number).ok(),
                    _ => None,
                })
                .collect::<Int32Array>(),
        ),
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(numbers())),
        DataType::UInt32 => Arc::new(UInt32Array::from_iter_values(numbers().map(|n| u32::try_from(n).unwrap_or(0)))),
        DataType::Float32 => Arc::new(Float32Array::from_iter_values(numbers().map(|n| n as f32))),
        DataType::Float64 => Arc::new(Float64Array::from_iter_values(numbers().map(|n| n as f64))),
        DataType::Utf8 => {
            let texts = cells.iter().map(|cell| match cell {
                Some(Cell::Text(text)) => Some(text.as_str()),
                _ => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::new_null(cells.len()).with_timezone("UTC")),
        // Lists are of rights and options, which nothing has here.
        other => new_null_array(other, cells.len()),
    }
}
