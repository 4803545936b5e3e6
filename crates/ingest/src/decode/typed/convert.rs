//! A typed array as a column of the contract: what fits is taken exactly, what does not is null and named by its row.
//!
//! The rules are those of JSON: a text is no number and a number no truth. Beyond them a text column takes what has one
//! exact text (whole numbers, decimals, days, instants, times of day, UUIDs), an integer column a whole `5.0`, and a
//! date column a local midnight. Invariant: a column has as many rows as its array, and a wrong row is null in it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringViewBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, nullif};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow::error::ArrowError;
use vitalake_contract::ColumnType;
use vitalake_contract::time_format::{TimeFormat, is_time, parse_iso_date, parse_rfc3339};

use super::json;
use crate::decode::csv::is_json;
use crate::decode::number::{POWERS, whole};

const DAY_MICROS: i64 = 86_400_000_000;

/// A column, and the rows whose value does not fit it, in order.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) array: ArrayRef,
    pub(super) wrong: Vec<usize>,
}

impl Converted {
    fn all(array: ArrayRef) -> Self {
        Self { array, wrong: Vec::new() }
    }

    /// All rows null, and wrong where the source has a value.
    fn none(source: &dyn Array, kind: &ColumnType) -> Self {
        let wrong = (0..source.len()).filter(|row| source.is_valid(*row)).collect();
        Self { array: new_null_array(&kind.arrow(), source.len()), wrong }
    }
}

/// Converts an array to a column's type.
pub(super) fn convert(array: &ArrayRef, kind: &ColumnType) -> Result<Converted, ArrowError> {
    let array = &plain(array)?;
    let source = array.data_type();
    if matches!(source, DataType::Null) {
        return Ok(Converted::all(new_null_array(&kind.arrow(), array.len())));
    }
    match kind {
        ColumnType::String => string(array, kind),
        ColumnType::Long => match source {
            DataType::Int64 => Ok(Converted::all(Arc::clone(array))),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32 => Ok(Converted::all(cast(array, &DataType::Int64)?)),
            _ => Ok(primitive::<Int64Type>(array, |row| integer(array, row))),
        },
        ColumnType::Int => match source {
            DataType::Int32 => Ok(Converted::all(Arc::clone(array))),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => {
                Ok(Converted::all(cast(array, &DataType::Int32)?))
            }
            _ => Ok(primitive::<Int32Type>(array, |row| i32::try_from(integer(array, row)?).ok())),
        },
        ColumnType::Double => match source {
            DataType::Float64 => finite(array),
            kind if kind.is_floating() || kind.is_integer() => finite(&cast(array, &DataType::Float64)?),
            _ => Ok(primitive::<Float64Type>(array, |row| decimal(array, row))),
        },
        ColumnType::Float => Ok(primitive::<Float32Type>(array, |row| single(array, row))),
        ColumnType::Boolean if source == &DataType::Boolean => Ok(Converted::all(Arc::clone(array))),
        ColumnType::Boolean => Ok(Converted::none(array, kind)),
        ColumnType::Date(format) => Ok(date(array, format.as_ref())),
        ColumnType::Timestamp(format) => timestamp(array, format.as_ref()),
        ColumnType::Time(format) => match source {
            DataType::Time32(_) | DataType::Time64(_) => texts(array, |row| json::text(array, row)),
            _ if is_text(source) => {
                texts(array, |row| json::text(array, row).filter(|text| is_time(format.as_ref(), text.as_bytes())))
            }
            _ => Ok(Converted::none(array, kind)),
        },
        ColumnType::Json if source.is_nested() => texts(array, |row| {
            let mut text = String::new();
            json::value(array, row, &mut text);
            Some(text)
        }),
        ColumnType::Json if is_text(source) => texts(array, |row| json::text(array, row).filter(|text| is_json(text))),
        ColumnType::Json => Ok(Converted::none(array, kind)),
    }
}

/// The array without a dictionary or runs around its values.
fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values),
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type()),
        _ => Ok(Arc::clone(array)),
    }
}

pub(super) fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn string(array: &ArrayRef, kind: &ColumnType) -> Result<Converted, ArrowError> {
    match array.data_type() {
        DataType::Utf8View => Ok(Converted::all(Arc::clone(array))),
        DataType::Utf8 => texts_of(array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => texts_of(array.as_string::<i64>().iter()),
        source if source.is_floating() || source.is_nested() => Ok(Converted::none(array, kind)),
        _ => texts(array, |row| json::text(array, row)),
    }
}

/// Copies texts together, so that a column holds its own bytes alone.
fn texts_of<'a>(texts: impl ExactSizeIterator<Item = Option<&'a str>>) -> Result<Converted, ArrowError> {
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        match text {
            Some(text) => builder.try_append_value(text)?,
            None => builder.append_null(),
        }
    }
    Ok(Converted::all(Arc::new(builder.finish())))
}

fn texts(source: &ArrayRef, read: impl Fn(usize) -> Option<String>) -> Result<Converted, ArrowError> {
    let (mut builder, mut wrong) = (StringViewBuilder::with_capacity(source.len()), Vec::new());
    for row in 0..source.len() {
        match source.is_valid(row).then(|| read(row)) {
            Some(Some(text)) => builder.try_append_value(text)?,
            other => {
                wrong.extend(other.map(|_| row));
                builder.append_null();
            }
        }
    }
    Ok(Converted { array: Arc::new(builder.finish()), wrong })
}

fn primitive<T: ArrowPrimitiveType>(source: &ArrayRef, read: impl Fn(usize) -> Option<T::Native>) -> Converted {
    let mut wrong = Vec::new();
    let values = (0..source.len()).map(|row| {
        let read = source.is_valid(row).then(|| read(row));
        wrong.extend(matches!(read, Some(None)).then_some(row));
        read.flatten()
    });
    let array: PrimitiveArray<T> = values.collect();
    Converted { array: Arc::new(array), wrong }
}

/// Doubles; what is not finite is no number of any column.
fn finite(array: &ArrayRef) -> Result<Converted, ArrowError> {
    let values = array.as_primitive::<Float64Type>();
    if values.values().iter().all(|value| value.is_finite()) {
        return Ok(Converted::all(Arc::clone(array)));
    }
    let bad = |row: &usize| values.is_valid(*row) && !values.value(*row).is_finite();
    let wrong: Vec<usize> = (0..values.len()).filter(bad).collect();
    let mask: BooleanArray = (0..values.len()).map(|row| Some(bad(&row))).collect();
    Ok(Converted { array: nullif(array, &mask)?, wrong })
}

/// A whole number of any type that may hold one.
fn integer(array: &ArrayRef, row: usize) -> Option<i64> {
    match array.data_type() {
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => i64::try_from(array.as_primitive::<UInt64Type>().value(row)).ok(),
        kind if kind.is_integer() => json::text(array, row)?.parse().ok(),
        kind if kind.is_decimal() => whole(&json::text(array, row)?),
        kind if kind.is_floating() => {
            let value = real(array, row)?;
            // Every whole double below 2^63 is an i64; 2^63 itself is none.
            #[expect(clippy::cast_possible_truncation, reason = "the value is whole and within the range")]
            (value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0).then_some(value as i64)
        }
        _ => None,
    }
}

fn real(array: &ArrayRef, row: usize) -> Option<f64> {
    match array.data_type() {
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float16 => Some(f64::from(array.as_primitive::<arrow::datatypes::Float16Type>().value(row))),
        _ => None,
    }
}

/// A decimal as the double next to it.
fn decimal(array: &ArrayRef, row: usize) -> Option<f64> {
    if let DataType::Decimal128(_, scale) = array.data_type()
        && let Some(power) = usize::try_from(*scale).ok().and_then(|scale| POWERS.get(scale))
    {
        let value = array.as_primitive::<Decimal128Type>().value(row);
        // Both operands are exact, so the one division rounds as it should.
        if value.unsigned_abs() <= 1 << 53 {
            return Some(value as f64 / power);
        }
    }
    let kind = array.data_type();
    kind.is_decimal().then(|| json::text(array, row))??.parse().ok().filter(|value: &f64| value.is_finite())
}

fn single(array: &ArrayRef, row: usize) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "a double is rounded to the single next to it")]
    let value = match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row),
        kind if kind.is_floating() => real(array, row)? as f32,
        kind if kind.is_integer() || kind.is_decimal() => json::text(array, row)?.parse().ok()?,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn date(array: &ArrayRef, format: Option<&TimeFormat>) -> Converted {
    match array.data_type() {
        DataType::Date32 => Converted::all(Arc::clone(array)),
        DataType::Date64 | DataType::Timestamp(_, None) => primitive::<Date32Type>(array, |row| {
            let micros = timestamp_micros(array, row)?;
            (micros.rem_euclid(DAY_MICROS) == 0).then(|| i32::try_from(micros.div_euclid(DAY_MICROS)).ok())?
        }),
        kind if is_text(kind) => primitive::<Date32Type>(array, |row| {
            let text = json::text(array, row)?;
            match format {
                Some(format) => format.parse_date(text.as_bytes()),
                None => parse_iso_date(text.as_bytes()),
            }
        }),
        _ => Converted::none(array, &ColumnType::Date(None)),
    }
}

fn timestamp(array: &ArrayRef, format: Option<&TimeFormat>) -> Result<Converted, ArrowError> {
    let converted = match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Converted::all(Arc::clone(array)),
        DataType::Timestamp(_, Some(_)) => {
            primitive::<TimestampMicrosecondType>(array, |row| timestamp_micros(array, row))
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            primitive::<TimestampMicrosecondType>(array, |row| format?.instant_of_local(timestamp_micros(array, row)?))
        }
        kind if is_text(kind) => primitive::<TimestampMicrosecondType>(array, |row| {
            let text = json::text(array, row)?;
            match format {
                Some(format) => format.parse_timestamp(text.as_bytes()),
                None => parse_rfc3339(text.as_bytes()),
            }
        }),
        _ => Converted::none(array, &ColumnType::Timestamp(None)),
    };
    let utc: &TimestampMicrosecondArray = converted.array.as_primitive();
    let array = Arc::new(utc.clone().with_timezone("UTC"));
    Ok(Converted { array, wrong: converted.wrong })
}

/// µs since 1970 of a day or an instant, whatever its unit; what is finer is cut off.
pub(super) fn timestamp_micros(array: &dyn Array, row: usize) -> Option<i64> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Some(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000))
        }
        DataType::Date32 => i64::from(array.as_primitive::<Date32Type>().value(row)).checked_mul(DAY_MICROS),
        DataType::Date64 => array.as_primitive::<arrow::datatypes::Date64Type>().value(row).checked_mul(1_000),
        _ => None,
    }
}

/// A field of a structure, null where the structure is.
pub(super) fn field_of(array: &ArrayRef, field: usize) -> Result<Option<ArrayRef>, ArrowError> {
    let Some(structure) = array.as_struct_opt() else { return Ok(None) };
    let Some(column) = structure.columns().get(field) else { return Ok(None) };
    match structure.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(Some(Arc::clone(column))),
        Some(nulls) => Ok(Some(nullif(column, &is_null(nulls))?)),
    }
}

fn is_null(nulls: &NullBuffer) -> BooleanArray {
    BooleanArray::new(!nulls.inner(), None)
}
