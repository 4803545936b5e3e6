//! One state column of a leaf as a growable vector that can be changed in place.
//!
//! Arrow arrays cannot be; this is the smallest thing that can, between a partial result and the rows that are
//! published. Invariant: `values` and `present` have the same length.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, PrimitiveArray, StringViewArray, StringViewBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;

use crate::rollup::order::one_nan;
use crate::rollup::shape::Merge;

/// A state column.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    kind: DataType,
    merge: Merge,
    present: Vec<bool>,
    values: Numbers,
}

#[derive(Clone, Debug)]
enum Numbers {
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<Box<str>>),
}

/// A state column of arriving groups, in a form that merges.
pub(crate) enum Arriving {
    Whole(Int64Array),
    Real(Float64Array),
    Text(StringViewArray),
}

impl Arriving {
    /// Takes a column of a partial result.
    pub(crate) fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        let unexpected = || ArrowError::CastError("a state column of an unexpected type".to_owned());
        let as_any = |kind: DataType| cast(column, &kind);
        match column.data_type() {
            DataType::Float64 | DataType::Float32 => {
                as_any(DataType::Float64)?.as_any().downcast_ref::<Float64Array>().cloned().map(Self::Real)
            }
            DataType::Utf8View => column.as_any().downcast_ref::<StringViewArray>().cloned().map(Self::Text),
            DataType::Date32 => {
                let days = as_any(DataType::Int32)?;
                cast(&days, &DataType::Int64)?.as_any().downcast_ref::<Int64Array>().cloned().map(Self::Whole)
            }
            _ => as_any(DataType::Int64)?.as_any().downcast_ref::<Int64Array>().cloned().map(Self::Whole),
        }
        .ok_or_else(unexpected)
    }
}

impl Values {
    /// An empty column of this type.
    pub(crate) fn new(kind: &DataType, merge: Merge) -> Self {
        let values = match kind {
            DataType::Float64 | DataType::Float32 => Numbers::Real(Vec::new()),
            DataType::Utf8View => Numbers::Text(Vec::new()),
            _ => Numbers::Whole(Vec::new()),
        };
        Self { kind: kind.clone(), merge, present: Vec::new(), values }
    }

    /// Merges row `i` of what arrives into `rows[i]`; a row past the end is a new one, and new rows come in order.
    pub(crate) fn merge(&mut self, arriving: &Arriving, sources: &[u32], rows: &[u32]) {
        let merge = self.merge;
        match (&mut self.values, arriving) {
            (Numbers::Whole(values), Arriving::Whole(new)) => {
                let combine: fn(i64, i64) -> i64 = match merge {
                    Merge::Add => i64::wrapping_add,
                    Merge::Min => std::cmp::Ord::min,
                    Merge::Max => std::cmp::Ord::max,
                };
                merge_numbers::<Int64Type>(values, &mut self.present, new, sources, rows, combine);
            }
            (Numbers::Real(values), Arriving::Real(new)) => {
                let combine: fn(f64, f64) -> f64 = match merge {
                    Merge::Add => |a, b| a + b,
                    Merge::Min => |a, b| if one_nan(a).total_cmp(&one_nan(b)).is_le() { a } else { b },
                    Merge::Max => |a, b| if one_nan(a).total_cmp(&one_nan(b)).is_ge() { a } else { b },
                };
                merge_numbers::<Float64Type>(values, &mut self.present, new, sources, rows, combine);
            }
            (Numbers::Text(values), Arriving::Text(new)) => {
                merge_text(values, &mut self.present, new, sources, rows, merge);
            }
            _ => {}
        }
    }

    /// Rows from..to as an Arrow column.
    pub(crate) fn array(&self, from: usize, to: usize) -> Result<ArrayRef, ArrowError> {
        let present = self.present.get(from..to).unwrap_or_default();
        let nulls = present.contains(&false).then(|| NullBuffer::new(BooleanBuffer::from(present)));
        match &self.values {
            Numbers::Whole(values) => {
                let values = values.get(from..to).unwrap_or_default().to_vec();
                let numbers: ArrayRef = Arc::new(PrimitiveArray::<Int64Type>::new(ScalarBuffer::from(values), nulls));
                match &self.kind {
                    DataType::Int64 => Ok(numbers),
                    DataType::Date32 => cast(&cast(&numbers, &DataType::Int32)?, &self.kind),
                    DataType::Boolean => boolean(&numbers),
                    kind => cast(&numbers, kind),
                }
            }
            Numbers::Real(values) => {
                let values =
                    values.get(from..to).unwrap_or_default().iter().map(|number| one_nan(*number)).collect::<Vec<_>>();
                let numbers: ArrayRef = Arc::new(PrimitiveArray::<Float64Type>::new(ScalarBuffer::from(values), nulls));
                if self.kind == DataType::Float64 { Ok(numbers) } else { cast(&numbers, &self.kind) }
            }
            Numbers::Text(values) => {
                let mut builder = StringViewBuilder::with_capacity(present.len());
                for (value, present) in values.get(from..to).unwrap_or_default().iter().zip(present) {
                    builder.append_option(present.then_some(value.as_ref()));
                }
                Ok(Arc::new(builder.finish()))
            }
        }
    }
}

fn boolean(numbers: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let whole = numbers.as_any().downcast_ref::<Int64Array>();
    let bits: Option<BooleanArray> = whole.map(|array| array.iter().map(|value| value.map(|v| v != 0)).collect());
    bits.map(|bits| Arc::new(bits) as ArrayRef)
        .ok_or_else(|| ArrowError::CastError("a state column of an unexpected type".to_owned()))
}

fn merge_numbers<T: arrow::datatypes::ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    present: &mut Vec<bool>,
    new: &PrimitiveArray<T>,
    sources: &[u32],
    rows: &[u32],
    combine: fn(T::Native, T::Native) -> T::Native,
) {
    let arrived = new.values();
    for (source, row) in sources.iter().zip(rows) {
        let (source, row) = (*source as usize, *row as usize);
        let valid = new.is_valid(source);
        let value = arrived.get(source).copied().unwrap_or_default();
        match (values.get_mut(row), present.get_mut(row)) {
            (Some(held), Some(is_present)) => match (valid, *is_present) {
                (true, true) => *held = combine(*held, value),
                (true, false) => (*held, *is_present) = (value, true),
                (false, _) => {}
            },
            _ => {
                values.push(value);
                present.push(valid);
            }
        }
    }
}

fn merge_text(
    values: &mut Vec<Box<str>>,
    present: &mut Vec<bool>,
    new: &StringViewArray,
    sources: &[u32],
    rows: &[u32],
    merge: Merge,
) {
    for (source, row) in sources.iter().zip(rows) {
        let (source, row) = (*source as usize, *row as usize);
        let value = new.is_valid(source).then(|| new.value(source));
        match (values.get_mut(row), present.get_mut(row), value) {
            (Some(held), Some(is_present), Some(value)) => {
                let better = if merge == Merge::Min { value < held.as_ref() } else { value > held.as_ref() };
                if better || !*is_present {
                    (*held, *is_present) = (value.into(), true);
                }
            }
            (Some(_), Some(_), None) => {}
            (_, _, value) => {
                values.push(value.unwrap_or_default().into());
                present.push(value.is_some());
            }
        }
    }
}
