//! Druid's time functions over `timestamp(µs, UTC)` columns.
//!
//! Periods, units, patterns and zones may differ from row to row; what was read of the last one is kept. A constant that
//! is none of them is refused, a column's value that is none gives null.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, TimeUnit};
use datafusion::common::{DataFusionError, Result};

use super::call::{Call, Memo};
use super::cast;
use super::definition::{Argument, Definition, Returns};
use super::iso;
use super::joda::{Pattern, extract, iso_text};
use super::period::{Period, add_months, candidates, months_between, shift_date};
use super::zone::Zone;
use crate::error::QueryError;

use Argument::{Any, Integer, StrictInteger, StrictText, StrictTime, Text, Time};

/// The functions of time.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("time_floor", &[StrictTime, StrictText, Time, Text], Returns::Time, |call| bucket(call, false))
        .needs(2),
    Definition::new("time_ceil", &[StrictTime, StrictText, Time, Text], Returns::Time, |call| bucket(call, true))
        .needs(2),
    Definition::new("__floor_to", &[Time, Text], Returns::Time, |call| bucket(call, false)),
    Definition::new("__ceil_to", &[Time, Text], Returns::Time, |call| bucket(call, true)),
    Definition::new("time_shift", &[StrictTime, StrictText, StrictInteger, Text], Returns::Time, shift).needs(3),
    Definition::new("time_parse", &[StrictText, Text, Text], Returns::Time, parse).needs(1),
    Definition::new("time_format", &[StrictTime, Text, Text], Returns::Text, format).needs(1).grows(),
    Definition::new("time_extract", &[StrictTime, Text, Text], Returns::Integer, part).needs(2),
    Definition::new("__extract", &[Time, Text], Returns::Integer, part),
    Definition::new("millis_to_timestamp", &[Integer], Returns::Time, from_millis),
    Definition::new("timestamp_to_millis", &[StrictTime], Returns::Integer, to_millis),
    Definition::new("time_in_interval", &[StrictTime, Text], Returns::Boolean, in_interval),
    Definition::new("__timestampdiff", &[Text, Time, Time], Returns::Integer, difference),
    Definition::new("__add", &[Any, StrictInteger, StrictInteger], Returns::Of(moved_type), add),
    Definition::new("__timestamp_literal", &[Text], Returns::Time, literal),
];

/// The type of time in every answer: microseconds in UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The refusal of a query.
pub fn refuse(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::invalid(message)))
}

/// What a text argument stands for, read by `read`: refused where a constant stands for nothing, null where a column's value does.
///
/// # Errors
/// What `read` says of a constant.
pub fn known<'m, T>(
    call: &Call<'_>,
    index: usize,
    row: usize,
    memo: &'m mut Memo<Option<T>>,
    read: impl FnOnce(&str) -> Result<T>,
) -> Result<Option<&'m T>> {
    let Some(text) = call.text_at(index, row) else { return Ok(None) };
    let constant = call.is_constant(index);
    let value = memo.get(text, |text| match read(text) {
        Ok(value) => Ok(Some(value)),
        Err(error) if constant => Err(error),
        Err(_) => Ok(None),
    })?;
    Ok(value.as_ref())
}

fn read_period(text: &str) -> Result<Period> {
    Period::parse(text)
        .ok_or_else(|| refuse("Invalid period specified; use an ISO 8601 period such as 'PT1H' or 'P1D'".to_owned()))
}

/// A period by which time can be cut.
fn read_bucket(text: &str) -> Result<Period> {
    let period = read_period(text)?;
    if period.has_months_and_more() { Err(mixed()) } else { Ok(period) }
}

fn mixed() -> DataFusionError {
    refuse("a period of several units cannot cut time by a calendar; use one unit, such as 'P1M' or 'PT36H'".to_owned())
}

/// The zone that the call names, or the session's. As in Druid an unknown name is UTC.
fn zone_at(call: &Call<'_>, index: usize, row: usize, zones: &mut Memo<Zone>) -> Result<Zone> {
    match call.text_at(index, row) {
        None => Ok(call.zone),
        Some(name) => zones.get(name, |name| Ok(Zone::of(name).unwrap_or(Zone::UTC))).copied(),
    }
}

/// Floors by a constant period that is a length: what most queries group by, at the speed of a scan.
fn even_floors(call: &Call<'_>) -> Option<ArrayRef> {
    let constants = call.is_constant(1) && call.is_constant(2) && call.is_constant(3);
    if !constants || call.is_constant(0) || call.rows == 0 || call.time_at(2, 0).is_some() {
        return None;
    }
    let zone = match call.text_at(3, 0) {
        None => call.zone,
        Some(name) => Zone::of(name)?,
    };
    let even = Period::parse(call.text_at(1, 0)?)?.even(None, zone)?;
    Some(std::sync::Arc::new(even.floor_all(call.time(0).ok()?).with_timezone("UTC")))
}

fn bucket(call: &Call<'_>, ceil: bool) -> Result<ArrayRef> {
    if !ceil && let Some(floors) = even_floors(call) {
        return Ok(floors);
    }
    let (mut periods, mut zones) = (Memo::default(), Memo::default());
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let zone = zone_at(call, 3, row, &mut zones)?;
        let period = known(call, 1, row, &mut periods, read_bucket)?.copied();
        if period.is_some_and(|period| period.is_mixed() && zone != Zone::UTC) && call.is_constant(1) {
            return Err(mixed());
        }
        let period = period.filter(|period| !period.is_mixed() || zone == Zone::UTC);
        let missing = call.is_constant(1) && call.text_at(1, row).is_none();
        if missing {
            return Err(refuse("Invalid period specified: it is NULL; use one such as 'PT1H' or 'P1D'".to_owned()));
        }
        let origin = call.time_at(2, row);
        out.push(call.time_at(0, row).zip(period).and_then(|(time, period)| {
            if ceil { period.ceil(time, origin, zone) } else { period.floor(time, origin, zone) }
        }));
    }
    call.times(|row| out.get(row).copied().flatten())
}

/// TIME_SHIFT: no count moves nothing.
fn shift(call: &Call<'_>) -> Result<ArrayRef> {
    let (mut periods, mut zones) = (Memo::default(), Memo::default());
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let zone = zone_at(call, 3, row, &mut zones)?;
        let period = known(call, 1, row, &mut periods, read_period)?.copied();
        let count = call.integer_at(2, row).unwrap_or(0);
        out.push(call.time_at(0, row).zip(period).and_then(|(time, period)| period.shift(time, count, zone)));
    }
    call.times(|row| out.get(row).copied().flatten())
}

fn parse(call: &Call<'_>) -> Result<ArrayRef> {
    let (mut patterns, mut zones) = (Memo::default(), Memo::default());
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let zone = zone_at(call, 2, row, &mut zones)?;
        let pattern = known(call, 1, row, &mut patterns, |text| Pattern::parse(text)?.for_parse())?;
        let plain = call.text_at(1, row).is_none();
        out.push(call.text_at(0, row).and_then(|text| match pattern {
            Some(pattern) => pattern.read(text, zone),
            None if plain => iso::parse(text, zone),
            None => None,
        }));
    }
    call.times(|row| out.get(row).copied().flatten())
}

fn format(call: &Call<'_>) -> Result<ArrayRef> {
    let (mut patterns, mut zones) = (Memo::default(), Memo::<Option<Zone>>::default());
    call.try_texts(|row| {
        let zone = match call.text_at(2, row) {
            None => Some(call.zone),
            Some(_) => known(call, 2, row, &mut zones, |name| {
                Zone::of(name)
                    .ok_or_else(|| refuse("The datetime zone id is not recognised; use an IANA name".to_owned()))
            })?
            .copied(),
        };
        let pattern = known(call, 1, row, &mut patterns, |text| Pattern::parse(text)?.for_format())?;
        let (Some(time), Some(zone)) = (call.time_at(0, row), zone) else { return Ok(None) };
        Ok(match pattern {
            Some(pattern) => pattern.format(time, zone),
            None if call.text_at(1, row).is_none() => iso_text(time, zone),
            None => None,
        })
    })
}

fn part(call: &Call<'_>) -> Result<ArrayRef> {
    let (mut units, mut zones) = (Memo::default(), Memo::default());
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let zone = zone_at(call, 2, row, &mut zones)?;
        let unit = known(call, 1, row, &mut units, |unit| {
            let unit = unit.to_ascii_uppercase();
            match extract(0, &unit, Zone::UTC) {
                Some(_) => Ok(unit),
                None => Err(refuse("this is not a unit of time; use YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND or EPOCH".to_owned())),
            }
        })?;
        out.push(call.time_at(0, row).zip(unit).and_then(|(time, unit)| extract(time, unit, zone)));
    }
    call.integers(|row| out.get(row).copied().flatten())
}

fn from_millis(call: &Call<'_>) -> Result<ArrayRef> {
    call.times(|row| call.integer_at(0, row)?.checked_mul(1000))
}

fn to_millis(call: &Call<'_>) -> Result<ArrayRef> {
    call.integers(|row| Some(call.time_at(0, row)?.div_euclid(1000)))
}

fn in_interval(call: &Call<'_>) -> Result<ArrayRef> {
    let mut intervals = Memo::default();
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let interval = known(call, 1, row, &mut intervals, |text| {
            iso::interval(text, call.zone).ok_or_else(|| {
                refuse(
                    "Function 'TIME_IN_INTERVAL' second argument is not an interval such as '2024-03-10/P1D'"
                        .to_owned(),
                )
            })
        })?
        .copied();
        out.push(call.time_at(0, row).zip(interval).map(|(time, (start, end))| (start..end).contains(&time)));
    }
    call.booleans(|row| out.get(row).copied().flatten())
}

fn difference(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = call.text_at(0, 0).unwrap_or_default();
    let second = 1_000_000;
    let (months, length) = match unit {
        "MICROSECOND" => (0, 1),
        "MILLISECOND" => (0, 1000),
        "SECOND" => (0, second),
        "MINUTE" => (0, 60 * second),
        "HOUR" => (0, 3600 * second),
        "DAY" => (0, 86_400 * second),
        "WEEK" => (0, 7 * 86_400 * second),
        "MONTH" => (1, 1),
        "QUARTER" => (3, 1),
        "YEAR" => (12, 1),
        _ => return Err(refuse(
            "this is not a unit of time of TIMESTAMPDIFF; use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR"
                .to_owned(),
        )),
    };
    call.integers(|row| {
        let (from, to) = (call.time_at(1, row)?, call.time_at(2, row)?);
        if months > 0 {
            return months_between(from, to, call.zone).map(|between| between / months);
        }
        Some(to.checked_sub(from)? / length)
    })
}

fn moved_type(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(DataType::Date32) => Ok(DataType::Date32),
        Some(DataType::Timestamp(..) | DataType::Null) => Ok(time_type()),
        _ => Err(refuse("Cannot apply an INTERVAL or TIMESTAMPADD to what is no TIMESTAMP; CAST it".to_owned())),
    }
}

/// A time and an interval: months by the local calendar, and an exact length in milliseconds.
fn add(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.any(0)?;
    if array.data_type() == &DataType::Date32 {
        let days = array.as_primitive::<Date32Type>();
        return call.days(|row| {
            let day = days.is_valid(row).then(|| days.value(row))?;
            let moved = shift_date(cast::date(day)?, call.integer_at(1, row)?)?;
            let more = call.integer_at(2, row)?.div_euclid(86_400_000);
            cast::day(moved).checked_add(i32::try_from(more).ok()?)
        });
    }
    let times = cast::times(array, call.zone)?;
    call.times(|row| {
        let time = times.is_valid(row).then(|| times.value(row))?;
        let months = call.integer_at(1, row)?;
        let moved = if months == 0 { time } else { add_months(time, months, call.zone)? };
        moved.checked_add(call.integer_at(2, row)?.checked_mul(1000)?)
    })
}

/// `TIMESTAMP '…'`: local time; one that the clock leaves out is the moment at which it jumps.
fn literal(call: &Call<'_>) -> Result<ArrayRef> {
    let time = |text: &str| {
        let (local, offset) = iso::read(text)?;
        match offset {
            Some(seconds) => local.and_utc().timestamp_micros().checked_sub(seconds.checked_mul(1_000_000)?),
            None => candidates(local, call.zone).first().copied(),
        }
    };
    let times = (0..call.rows).map(|row| {
        let Some(text) = call.text_at(0, row) else { return Ok(None) };
        time(text)
            .map(Some)
            .ok_or_else(|| refuse("Illegal TIMESTAMP literal: not in format 'yyyy-MM-dd HH:mm:ss'".to_owned()))
    });
    let times = times.collect::<Result<Vec<_>>>()?;
    call.times(|row| times.get(row).copied().flatten())
}
