//! One call of a function over a batch: its arguments row by row, and the results that are made of them.
//!
//! Invariant: what a call makes of a batch is bounded.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result};

use super::definition::list_of;
use super::zone::Zone;

/// One call over a batch.
pub struct Call<'a> {
    pub(super) arrays: &'a [ArrayRef],
    pub(super) constants: &'a [bool],
    pub(super) json: Vec<bool>,
    /// Rows of the result.
    pub rows: usize,
    /// The session's time zone.
    pub zone: Zone,
    /// The type of the result.
    pub returns: &'a DataType,
}

impl<'a> Call<'a> {
    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.arrays.len()
    }

    /// Whether an argument is a constant of the query.
    pub fn is_constant(&self, index: usize) -> bool {
        self.constants.get(index).copied().unwrap_or(true)
    }

    /// Whether an argument is JSON.
    pub fn is_json(&self, index: usize) -> bool {
        self.json.get(index).copied().unwrap_or(false)
    }

    /// An argument as it came.
    pub fn any(&self, index: usize) -> Result<&'a ArrayRef> {
        self.arrays.get(index).ok_or_else(wrong)
    }

    /// All arguments as they came.
    pub fn all(&self) -> &'a [ArrayRef] {
        self.arrays
    }

    /// An argument that is text.
    pub fn text(&self, index: usize) -> Result<&'a StringArray> {
        self.any(index)?.as_string_opt::<i32>().ok_or_else(wrong)
    }

    /// An argument that is a whole number.
    pub fn integer(&self, index: usize) -> Result<&'a Int64Array> {
        self.any(index)?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)
    }

    /// An argument that is a double.
    pub fn double(&self, index: usize) -> Result<&'a Float64Array> {
        self.any(index)?.as_primitive_opt::<Float64Type>().ok_or_else(wrong)
    }

    /// An argument that is a time.
    pub fn time(&self, index: usize) -> Result<&'a TimestampMicrosecondArray> {
        self.any(index)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)
    }

    /// The value of an optional text in a row.
    pub fn text_at(&self, index: usize, row: usize) -> Option<&'a str> {
        let array = self.arrays.get(index)?.as_string_opt::<i32>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// The value of an optional whole number in a row.
    pub fn integer_at(&self, index: usize, row: usize) -> Option<i64> {
        let array = self.arrays.get(index)?.as_primitive_opt::<Int64Type>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// The value of an optional time in a row.
    pub fn time_at(&self, index: usize, row: usize) -> Option<i64> {
        let array = self.arrays.get(index)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// The value of an optional double in a row.
    pub fn double_at(&self, index: usize, row: usize) -> Option<f64> {
        let array = self.arrays.get(index)?.as_primitive_opt::<Float64Type>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// A whole number for each row.
    pub fn integers(&self, value: impl FnMut(usize) -> Option<i64>) -> Result<ArrayRef> {
        let values: Int64Array = (0..self.rows).map(value).collect();
        Ok(Arc::new(values))
    }

    /// A double for each row.
    pub fn doubles(&self, value: impl FnMut(usize) -> Option<f64>) -> Result<ArrayRef> {
        let values: Float64Array = (0..self.rows).map(value).collect();
        Ok(Arc::new(values))
    }

    /// A truth for each row.
    pub fn booleans(&self, value: impl FnMut(usize) -> Option<bool>) -> Result<ArrayRef> {
        let values: BooleanArray = (0..self.rows).map(value).collect();
        Ok(Arc::new(values))
    }

    /// A time for each row.
    pub fn times(&self, value: impl FnMut(usize) -> Option<i64>) -> Result<ArrayRef> {
        let values: TimestampMicrosecondArray = (0..self.rows).map(value).collect();
        Ok(Arc::new(values.with_timezone("UTC")))
    }

    /// A day for each row.
    pub fn days(&self, value: impl FnMut(usize) -> Option<i32>) -> Result<ArrayRef> {
        let values: Date32Array = (0..self.rows).map(value).collect::<arrow::array::PrimitiveArray<Date32Type>>();
        Ok(Arc::new(values))
    }

    /// A text for each row, within the size that a batch may have.
    ///
    /// # Errors
    /// When the texts together are too large.
    pub fn texts<T: AsRef<str>>(&self, mut value: impl FnMut(usize) -> Option<T>) -> Result<ArrayRef> {
        let mut out = Texts::new(self.rows);
        for row in 0..self.rows {
            out.push(value(row))?;
        }
        Ok(out.finish())
    }

    /// A text for each row from a computation that a constant or a size can make fail.
    ///
    /// # Errors
    /// What the computation says, and when the texts together are too large.
    pub fn try_texts<T: AsRef<str>>(&self, mut value: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
        let mut out = Texts::new(self.rows);
        for row in 0..self.rows {
            out.push(value(row)?)?;
        }
        Ok(out.finish())
    }
}

/// Bytes of the texts that one call makes of a batch.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Texts that are being made.
struct Texts {
    builder: arrow::array::StringBuilder,
    bytes: usize,
}

impl Texts {
    fn new(rows: usize) -> Self {
        Self { builder: arrow::array::StringBuilder::with_capacity(rows, rows * 8), bytes: 0 }
    }

    fn push<T: AsRef<str>>(&mut self, value: Option<T>) -> Result<()> {
        match value {
            Some(value) => {
                self.bytes = self.bytes.saturating_add(value.as_ref().len());
                if self.bytes > BATCH_BYTES_MAX {
                    return Err(too_large());
                }
                self.builder.append_value(value);
            }
            None => self.builder.append_null(),
        }
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// The refusal of a result that is too large.
pub fn too_large() -> DataFusionError {
    DataFusionError::External(Box::new(crate::error::QueryError::ResourceLimit(
        "a function makes more memory of a few rows than a query may use; make its result shorter".to_owned(),
    )))
}

/// Keeps what was computed of the last text: a constant is computed once, and a column whenever it changes.
#[derive(Debug)]
pub struct Memo<T>(Option<(String, T)>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Memo<T> {
    /// What `compute` makes of a text.
    ///
    /// # Errors
    /// What `compute` says.
    pub fn get<E>(&mut self, text: &str, compute: impl FnOnce(&str) -> Result<T, E>) -> Result<&T, E> {
        let pair = match self.0.take() {
            Some(pair) if pair.0 == text => pair,
            _ => (text.to_owned(), compute(text)?),
        };
        Ok(&self.0.insert(pair).1)
    }
}

fn wrong() -> DataFusionError {
    DataFusionError::Internal("a function was called with other types than it asked for".to_owned())
}

/// A list argument, whatever kind of list it came as.
///
/// # Errors
/// When it is not a list.
pub fn list(array: &ArrayRef) -> Result<ListArray> {
    match array.data_type() {
        DataType::List(_) => Ok(array.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let plain = list_of(item.data_type().clone());
            Ok(arrow::compute::cast(array, &plain)?.as_list::<i32>().clone())
        }
        _ => Err(wrong()),
    }
}
