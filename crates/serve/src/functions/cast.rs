//! Druid's casts: in the session's time zone, with time as milliseconds, and null for what has another form.
//!
//! Functions bring their arguments to their types by the same casts. Invariant: no value of a row makes a cast fail.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast as plain_cast;
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{Datelike, NaiveDate, NaiveTime};
use datafusion::common::Result;

use super::call::Call;
use super::definition::{Argument, Definition, Returns};
use super::iso;
use super::period::{candidates, local};
use super::time::{refuse, time_type};
use super::zone::Zone;
use crate::druid::value::java_double;

/// The casts, under names that no client can write.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("__timestamp", &[Argument::Any], Returns::Time, to_time),
    Definition::new("__date", &[Argument::Any], Returns::Of(|_| Ok(DataType::Date32)), to_date),
    Definition::new("__varchar", &[Argument::Any], Returns::Of(text_type), to_text).grows(),
    Definition::new("__bigint", &[Argument::Any], Returns::Integer, to_integer),
    Definition::new("__integer", &[Argument::Any], Returns::Small, to_small),
    Definition::new("__number", &[Argument::Any], Returns::Of(number_type), to_number),
    Definition::new("__double", &[Argument::Any], Returns::Double, to_double),
    Definition::new("__as_bigint", &[Argument::Any], Returns::Integer, |call| {
        Ok(Arc::new(integers(call.any(0)?, call.zone)?))
    }),
    Definition::new("__as_double", &[Argument::Any], Returns::Double, |call| {
        Ok(Arc::new(doubles(call.any(0)?, call.zone)?))
    }),
    Definition::new("__float", &[Argument::Any], Returns::Of(|_| Ok(DataType::Float32)), to_float),
    Definition::new("__boolean", &[Argument::Any], Returns::Boolean, to_boolean),
];

fn text_type(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(from) if from.is_nested() => {
            Err(refuse("Cast function cannot convert an ARRAY to VARCHAR; use ARRAY_TO_STRING".to_owned()))
        }
        _ => Ok(DataType::Utf8),
    }
}

fn to_time(call: &Call<'_>) -> Result<ArrayRef> {
    let from = call.any(0)?;
    let times = times(from, call.zone)?;
    refuse_constant(call, from, &times, "TIMESTAMP")?;
    Ok(Arc::new(times))
}

fn to_date(call: &Call<'_>) -> Result<ArrayRef> {
    let from = call.any(0)?;
    let days = dates(from, call.zone)?;
    refuse_constant(call, from, &days, "DATE")?;
    Ok(Arc::new(days))
}

/// A constant of another form is a mistake of the query, not of the data.
fn refuse_constant(call: &Call<'_>, from: &ArrayRef, to: &dyn Array, name: &str) -> Result<()> {
    if call.is_constant(0) && from.data_type().is_string() && from.is_valid(0) && to.is_null(0) {
        return Err(refuse(format!(
            "Illegal {name} constant: a text cannot be cast to it; write a time as '2024-03-10 12:00:00' and a number as '1.5'"
        )));
    }
    Ok(())
}

fn to_text(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(Arc::new(texts(call.any(0)?, call.zone)?))
}

fn to_integer(call: &Call<'_>) -> Result<ArrayRef> {
    let whole = integers(call.any(0)?, call.zone)?;
    refuse_constant(call, call.any(0)?, &whole, "BIGINT")?;
    Ok(Arc::new(whole))
}

fn to_small(call: &Call<'_>) -> Result<ArrayRef> {
    let whole = integers(call.any(0)?, call.zone)?;
    refuse_constant(call, call.any(0)?, &whole, "INTEGER")?;
    // What is too large keeps its lowest bits, as in Java.
    let small: Int32Array = whole.iter().map(|value| Some(value? as i32)).collect();
    Ok(Arc::new(small))
}

fn to_double(call: &Call<'_>) -> Result<ArrayRef> {
    let doubles = doubles(call.any(0)?, call.zone)?;
    refuse_constant(call, call.any(0)?, &doubles, "DOUBLE")?;
    Ok(Arc::new(doubles))
}

/// What is summed: numbers as they are, text as the number that it shows.
fn number_type(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(number) if number.is_numeric() => Ok(number.clone()),
        Some(text) if text.is_string() || text.is_null() => Ok(DataType::Float64),
        _ => Err(refuse(
            "Cannot apply an aggregate of numbers to arguments of this type; CAST it AS BIGINT or DOUBLE".to_owned(),
        )),
    }
}

fn to_number(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.any(0)?;
    if array.data_type().is_numeric() { Ok(Arc::clone(array)) } else { to_double(call) }
}

fn to_float(call: &Call<'_>) -> Result<ArrayRef> {
    let from = call.any(0)?;
    if from.data_type() == &DataType::Float32 {
        return Ok(Arc::clone(from));
    }
    let doubles = doubles(from, call.zone)?;
    refuse_constant(call, from, &doubles, "FLOAT")?;
    let floats: Float32Array = doubles.iter().map(|value| Some(value? as f32)).collect();
    Ok(Arc::new(floats))
}

fn to_boolean(call: &Call<'_>) -> Result<ArrayRef> {
    let booleans = booleans(call.any(0)?, call.zone)?;
    refuse_constant(call, call.any(0)?, &booleans, "BOOLEAN")?;
    Ok(Arc::new(booleans))
}

/// TIMESTAMP: text by ISO 8601, numbers as milliseconds, days as their local midnight.
///
/// # Errors
/// When the type has no such cast.
pub fn times(array: &ArrayRef, zone: Zone) -> Result<TimestampMicrosecondArray> {
    let times: TimestampMicrosecondArray = match array.data_type() {
        DataType::Timestamp(unit, _) => instants(array, *unit),
        DataType::Date32 | DataType::Date64 => {
            let days = plain_cast(array, &DataType::Date32)?;
            days.as_primitive::<Date32Type>().iter().map(|day| midnight(day?, zone)).collect()
        }
        from if from.is_string() => {
            let texts = texts(array, zone)?;
            texts.iter().map(|text| iso::parse(text?, zone)).collect()
        }
        from if from.is_numeric() || from.is_null() => {
            integers(array, zone)?.iter().map(|millis| millis?.checked_mul(1000)).collect()
        }
        _ => return Err(cannot("TIMESTAMP")),
    };
    Ok(times.with_timezone("UTC"))
}

/// Times of any unit as microseconds; null where they have none.
fn instants(array: &ArrayRef, unit: TimeUnit) -> TimestampMicrosecondArray {
    use arrow::datatypes::{TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType};
    match unit {
        TimeUnit::Second => {
            array.as_primitive::<TimestampSecondType>().iter().map(|time| time?.checked_mul(1_000_000)).collect()
        }
        TimeUnit::Millisecond => {
            array.as_primitive::<TimestampMillisecondType>().iter().map(|time| time?.checked_mul(1000)).collect()
        }
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().clone(),
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().iter().map(|time| Some(time?.div_euclid(1000))).collect()
        }
    }
}

/// DATE: the local day.
///
/// # Errors
/// When the type has no such cast.
pub fn dates(array: &ArrayRef, zone: Zone) -> Result<Date32Array> {
    if array.data_type() == &DataType::Date32 {
        return Ok(array.as_primitive::<Date32Type>().clone());
    }
    let day = |time: i64| Some(local(time, zone)?.date().num_days_from_ce() - DAYS_TO_1970);
    Ok(times(array, zone)?.iter().map(|time| day(time?)).collect())
}

/// VARCHAR: numbers as Java prints them, times as `2024-03-10 12:00:00`, truths as 1 and 0.
///
/// # Errors
/// When the type has no such cast.
pub fn texts(array: &ArrayRef, zone: Zone) -> Result<StringArray> {
    Ok(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().clone(),
        DataType::Timestamp(..) => {
            let text = |time: i64| Some(local(time, zone)?.format("%Y-%m-%d %H:%M:%S").to_string());
            times(array, zone)?.iter().map(|time| text(time?)).collect()
        }
        DataType::Date32 => {
            let text = |day: i32| Some(date(day)?.format("%Y-%m-%d").to_string());
            array.as_primitive::<Date32Type>().iter().map(|day| text(day?)).collect()
        }
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().iter().map(|value| Some(java_double(value?))).collect()
        }
        // Druid computes with a FLOAT as a DOUBLE, whose digits it shows.
        DataType::Float32 => {
            array.as_primitive::<Float32Type>().iter().map(|value| Some(java_double(f64::from(value?)))).collect()
        }
        DataType::Boolean => array.as_boolean().iter().map(|value| Some(if value? { "1" } else { "0" })).collect(),
        from if from.is_nested() => return Err(cannot("VARCHAR")),
        _ => plain_cast(array, &DataType::Utf8)?.as_string::<i32>().clone(),
    })
}

/// BIGINT: towards zero, times as milliseconds, text that is no number null.
///
/// # Errors
/// When the type has no such cast.
pub fn integers(array: &ArrayRef, zone: Zone) -> Result<Int64Array> {
    Ok(match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().clone(),
        DataType::Timestamp(..) => times(array, zone)?.iter().map(|time| Some(time?.div_euclid(1000))).collect(),
        DataType::Date32 | DataType::Date64 => {
            times(array, zone)?.iter().map(|time| Some(time?.div_euclid(1000))).collect()
        }
        // Java's conversion: towards zero, and the nearest bound for what is too large.
        DataType::Float64 | DataType::Float32 | DataType::Float16 | DataType::Decimal128(..) => {
            doubles(array, zone)?.iter().map(|value| Some(value? as i64)).collect()
        }
        DataType::Boolean => array.as_boolean().iter().map(|value| Some(i64::from(value?))).collect(),
        from if from.is_string() => texts(array, zone)?.iter().map(|text| parse_integer(text?)).collect(),
        from if from.is_nested() => return Err(cannot("BIGINT")),
        _ => plain_cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
    })
}

/// DOUBLE: text that is no number is null.
///
/// # Errors
/// When the type has no such cast.
pub fn doubles(array: &ArrayRef, zone: Zone) -> Result<Float64Array> {
    Ok(match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().clone(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Boolean => {
            integers(array, zone)?.iter().map(|value| Some(value? as f64)).collect()
        }
        from if from.is_string() => texts(array, zone)?.iter().map(|text| parse_double(text?)).collect(),
        from if from.is_nested() => return Err(cannot("DOUBLE")),
        _ => plain_cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone(),
    })
}

/// BOOLEAN: whole numbers that are not zero, other numbers from one on, and the text `true`.
///
/// # Errors
/// When the type has no such cast.
pub fn booleans(array: &ArrayRef, zone: Zone) -> Result<BooleanArray> {
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().clone(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => return Err(cannot("BOOLEAN")),
        from if from.is_nested() => return Err(cannot("BOOLEAN")),
        whole if whole.is_integer() => integers(array, zone)?.iter().map(|value| Some(value? != 0)).collect(),
        // Of doubles and text it is the whole part that must be above zero.
        _ => doubles(array, zone)?.iter().map(|value| Some(value? as i64 > 0)).collect(),
    })
}

/// A whole number as Druid reads it from text.
pub fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = digits.parse::<i64>()
        && !digits.starts_with('+')
    {
        return Some(whole);
    }
    parse_double(text).map(|value| value as i64)
}

/// A double as Druid reads it from text: Java's forms, without spaces; `true` is one.
pub fn parse_double(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("true") {
        return Some(1.0);
    }
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    match body {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(sign * f64::INFINITY),
        _ => {}
    }
    let body = body.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(body);
    let plain = body.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !plain || !body.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    body.parse::<f64>().ok().map(|value| sign * value)
}

const DAYS_TO_1970: i32 = 719_163;

/// The date of a day since 1970.
pub fn date(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(day.checked_add(DAYS_TO_1970)?)
}

/// The day since 1970 of a date.
pub fn day(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - DAYS_TO_1970
}

/// The instant at which a local day begins.
pub fn midnight(day: i32, zone: Zone) -> Option<i64> {
    candidates(date(day)?.and_time(NaiveTime::MIN), zone).first().copied()
}

fn cannot(to: &str) -> datafusion::common::DataFusionError {
    refuse(format!("Cast function cannot convert a value of this type to {to}"))
}

/// The type of time in every answer.
pub fn is_time(data_type: &DataType) -> bool {
    data_type == &time_type() || matches!(data_type, DataType::Timestamp(..))
}
