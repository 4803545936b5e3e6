//! Typed values as JSON text: what a row of Parquet or Arrow looks like in quarantine, in `_rescued` and in a JSON column.
//!
//! Numbers and decimals stand with all their digits, instants as RFC 3339, days and times of day in ISO 8601, bytes in
//! base64. Invariant: what is written is one JSON value, whatever the array holds.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};

use crate::headers::{base64_text, quote};

/// How deep values are followed.
const DEPTH_MAX: usize = 32;

/// Appends a row of a batch as one object, its nulls left out.
pub(super) fn row(batch: &RecordBatch, row: usize, into: &mut String) {
    into.push('{');
    let mut first = true;
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !array.is_valid(row) {
            continue;
        }
        if !std::mem::take(&mut first) {
            into.push(',');
        }
        quote(field.name(), into);
        into.push(':');
        value(array, row, into);
    }
    into.push('}');
}

/// Appends a value.
pub(super) fn value(array: &dyn Array, row: usize, into: &mut String) {
    nested(array, row, into, 0);
}

fn nested(array: &dyn Array, row: usize, into: &mut String, depth: usize) {
    if depth > DEPTH_MAX || array.is_null(row) {
        return into.push_str("null");
    }
    match array.data_type() {
        DataType::Null => into.push_str("null"),
        DataType::Boolean => into.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Float16 => number(f64::from(array.as_primitive::<Float16Type>().value(row)), into),
        DataType::Float32 => {
            let single = array.as_primitive::<Float32Type>().value(row);
            // The shortest text that gives this number back as a single.
            let _ = if single.is_finite() { write!(into, "{single:?}") } else { write!(into, "\"{single}\"") };
        }
        DataType::Float64 => number(array.as_primitive::<Float64Type>().value(row), into),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            into.push('{');
            for (at, (field, column)) in fields.iter().zip(columns).enumerate() {
                into.push_str(if at == 0 { "" } else { "," });
                quote(field.name(), into);
                into.push(':');
                nested(column, row, into, depth + 1);
            }
            into.push('}');
        }
        DataType::List(_) => elements(&array.as_list::<i32>().value(row), into, depth),
        DataType::LargeList(_) => elements(&array.as_list::<i64>().value(row), into, depth),
        DataType::FixedSizeList(..) => elements(&array.as_fixed_size_list().value(row), into, depth),
        DataType::Map(..) => entries(&array.as_map().value(row), into, depth),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            match text(dictionary.keys(), row).and_then(|key| key.parse().ok()) {
                Some(key) if key < dictionary.values().len() => nested(dictionary.values(), key, into, depth),
                _ => into.push_str("null"),
            }
        }
        kind => match text(array, row) {
            Some(text) if is_number(kind) => into.push_str(&text),
            Some(text) => quote(&text, into),
            None => match bytes(array, row) {
                Some(bytes) => quote(&base64_text(bytes), into),
                None => quote(&array_value_to_string(array, row).unwrap_or_default(), into),
            },
        },
    }
}

fn elements(values: &dyn Array, into: &mut String, depth: usize) {
    into.push('[');
    for at in 0..values.len() {
        into.push_str(if at == 0 { "" } else { "," });
        nested(values, at, into, depth + 1);
    }
    into.push(']');
}

/// A map as an object where its keys have a text, else as an array of its entries.
fn entries(entries: &arrow::array::StructArray, into: &mut String, depth: usize) {
    let [keys, values] = entries.columns() else { return into.push_str("null") };
    let names: Option<Vec<String>> = (0..keys.len()).map(|at| text(keys, at)).collect();
    let Some(names) = names else { return elements(entries, into, depth) };
    into.push('{');
    for (at, name) in names.iter().enumerate() {
        into.push_str(if at == 0 { "" } else { "," });
        quote(name, into);
        into.push(':');
        nested(values, at, into, depth + 1);
    }
    into.push('}');
}

/// JSON has no word for what is not finite: that stands as text.
fn number(value: f64, into: &mut String) {
    let _ = if value.is_finite() { write!(into, "{value:?}") } else { write!(into, "\"{value}\"") };
}

fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_decimal()
}

/// The bytes of a binary value.
pub(super) fn bytes(array: &dyn Array, row: usize) -> Option<&[u8]> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Some(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => Some(array.as_fixed_size_binary().value(row)),
        _ => None,
    }
}

/// The one text of a value whose type has one: not of floating point, and not of what is nested.
pub(super) fn text(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => of::<Int8Type>(array, row),
        DataType::Int16 => of::<Int16Type>(array, row),
        DataType::Int32 => of::<Int32Type>(array, row),
        DataType::Int64 => of::<Int64Type>(array, row),
        DataType::UInt8 => of::<UInt8Type>(array, row),
        DataType::UInt16 => of::<UInt16Type>(array, row),
        DataType::UInt32 => of::<UInt32Type>(array, row),
        DataType::UInt64 => of::<UInt64Type>(array, row),
        DataType::Decimal32(..) => array.as_primitive::<Decimal32Type>().value_as_string(row),
        DataType::Decimal64(..) => array.as_primitive::<Decimal64Type>().value_as_string(row),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Date32 => day(i64::from(array.as_primitive::<Date32Type>().value(row)))?,
        DataType::Date64 => day(array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000))?,
        DataType::Timestamp(_, zone) => {
            let micros = super::convert::timestamp_micros(array, row)?;
            let at = DateTime::from_timestamp_micros(micros)?;
            if zone.is_some() { at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true) } else { local(at.naive_utc()) }
        }
        DataType::Time32(_) | DataType::Time64(_) => time_of_day(array, row)?,
        DataType::FixedSizeBinary(16) => {
            uuid::Uuid::from_slice(array.as_fixed_size_binary().value(row)).ok()?.hyphenated().to_string()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            std::str::from_utf8(bytes(array, row)?).ok()?.to_owned()
        }
        _ => return None,
    })
}

fn of<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> String
where
    T::Native: std::fmt::Display,
{
    array.as_primitive::<T>().value(row).to_string()
}

fn day(days: i64) -> Option<String> {
    NaiveDate::default().checked_add_signed(TimeDelta::try_days(days)?).map(|day| day.to_string())
}

fn local(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.f").to_string()
}

fn time_of_day(array: &dyn Array, row: usize) -> Option<String> {
    use arrow::datatypes::{Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType};
    let nanos = match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            i64::from(array.as_primitive::<Time32SecondType>().value(row)).checked_mul(1_000_000_000)?
        }
        DataType::Time32(_) => {
            i64::from(array.as_primitive::<Time32MillisecondType>().value(row)).checked_mul(1_000_000)?
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            array.as_primitive::<Time64MicrosecondType>().value(row).checked_mul(1_000)?
        }
        _ => array.as_primitive::<Time64NanosecondType>().value(row),
    };
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let time =
        chrono::NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    time.map(|time| time.format("%H:%M:%S%.f").to_string())
}
