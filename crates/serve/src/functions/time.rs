//! Druid's time functions over `timestamp(µs, UTC)` columns.
//!
//! Periods, units, formats and zones must be constants of the query: they are read once per batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::period::Period;
use super::time_text;
use crate::error::QueryError;

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `TIME_FLOOR(time, period[, origin[, zone]])`
    Floor,
    /// `TIME_CEIL(time, period[, origin[, zone]])`
    Ceil,
    /// `TIME_SHIFT(time, period, count[, zone])`
    Shift,
    /// `TIME_PARSE(text[, pattern[, zone]])`
    Parse,
    /// `TIME_FORMAT(time[, pattern[, zone]])`
    Format,
    /// `TIME_EXTRACT(time, unit[, zone])`
    Extract,
    /// `MILLIS_TO_TIMESTAMP(number)`
    FromMillis,
    /// `TIMESTAMP_TO_MILLIS(time)`
    ToMillis,
    /// What TIMESTAMPDIFF is rewritten to: `(unit, from, to)`
    Difference,
    /// `TIME_IN_INTERVAL(time, 'start/end')`
    InInterval,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Time,
    Text,
    Integer,
}

impl Kind {
    /// Every function.
    pub const ALL: [Self; 10] = [
        Self::Floor,
        Self::Ceil,
        Self::Shift,
        Self::Parse,
        Self::Format,
        Self::Extract,
        Self::FromMillis,
        Self::ToMillis,
        Self::Difference,
        Self::InInterval,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Floor => "time_floor",
            Self::Ceil => "time_ceil",
            Self::Shift => "time_shift",
            Self::Parse => "time_parse",
            Self::Format => "time_format",
            Self::Extract => "time_extract",
            Self::FromMillis => "millis_to_timestamp",
            Self::ToMillis => "timestamp_to_millis",
            Self::Difference => "__timestampdiff",
            Self::InInterval => "time_in_interval",
        }
    }

    /// The arguments, and how many of them must be given.
    fn arguments(self) -> (&'static [Argument], usize) {
        use Argument::{Integer, Text, Time};
        match self {
            Self::Floor | Self::Ceil => (&[Time, Text, Time, Text], 2),
            Self::Shift => (&[Time, Text, Integer, Text], 3),
            Self::Parse => (&[Text, Text, Text], 1),
            Self::Format => (&[Time, Text, Text], 1),
            Self::Extract => (&[Time, Text, Text], 2),
            Self::FromMillis => (&[Integer], 1),
            Self::ToMillis => (&[Time], 1),
            Self::Difference => (&[Text, Time, Time], 3),
            Self::InInterval => (&[Time, Text], 2),
        }
    }
}

/// The type of time in every answer: microseconds in UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// One function in one session's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimeFunction {
    kind: Kind,
    zone: Tz,
    signature: Signature,
}

impl TimeFunction {
    /// The function of that kind; `zone` is used where a call names none.
    pub fn new(kind: Kind, zone: Tz) -> Self {
        Self { kind, zone, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TimeFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Format => DataType::Utf8,
            Kind::Extract | Kind::ToMillis | Kind::Difference => DataType::Int64,
            Kind::InInterval => DataType::Boolean,
            _ => time_type(),
        })
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (arguments, needed) = self.kind.arguments();
        if given.len() < needed || given.len() > arguments.len() {
            return Err(refuse(format!(
                "Invalid number of arguments to function '{}'. Was expecting {needed} arguments",
                self.name().to_ascii_uppercase()
            )));
        }
        arguments.iter().zip(given).map(|(argument, given)| self.coerce(*argument, given)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(floors) = self.even_floors(&args.args) {
            return Ok(ColumnarValue::Array(time_array(floors)));
        }
        let scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let result = self.compute(&arrays)?;
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

/// An error of ours on its way through the engine.
pub fn refuse(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::invalid(message)))
}

impl TimeFunction {
    fn coerce(&self, argument: Argument, given: &DataType) -> Result<DataType> {
        let fits = match argument {
            Argument::Time => given.is_temporal() || given.is_string() || given.is_null(),
            Argument::Text => given.is_string() || given.is_null(),
            Argument::Integer => given.is_numeric() || given.is_null(),
        };
        if !fits {
            return Err(refuse(format!(
                "Cannot apply '{}' to these arguments; wanted {} where another type is",
                self.name().to_ascii_uppercase(),
                match argument {
                    Argument::Time => "a TIMESTAMP",
                    Argument::Text => "a VARCHAR",
                    Argument::Integer => "a BIGINT",
                }
            )));
        }
        Ok(match argument {
            Argument::Time => time_type(),
            Argument::Text => DataType::Utf8,
            Argument::Integer => DataType::Int64,
        })
    }

    /// Floors by a constant period that is a length: what most queries group by, at the speed of a scan.
    fn even_floors(&self, arguments: &[ColumnarValue]) -> Option<TimestampMicrosecondArray> {
        let [ColumnarValue::Array(times), constants @ ..] = arguments else { return None };
        let constant = |index: usize| match constants.get(index) {
            None => Some(None),
            Some(ColumnarValue::Scalar(value)) => Some((!value.is_null()).then_some(value)),
            Some(ColumnarValue::Array(_)) => None,
        };
        let text = |value: &ScalarValue| value.try_as_str().flatten().map(str::to_owned);
        let (period, origin, zone) = (constant(0)?, constant(1)?, constant(2)?);
        if self.kind != Kind::Floor || origin.is_some() {
            return None;
        }
        let zone = zone.and_then(text).map_or(self.zone, |name| name.parse().unwrap_or(Tz::UTC));
        let even = Period::parse(&text(period?)?)?.even(None, zone)?;
        Some(even.floor_all(times.as_primitive_opt::<TimestampMicrosecondType>()?))
    }

    fn compute(&self, arrays: &[ArrayRef]) -> Result<ArrayRef> {
        match self.kind {
            Kind::Floor | Kind::Ceil => {
                let (period, zone) = (self.period(arrays, 1)?, self.zone(arrays, 3));
                let origin = arrays.get(2).and_then(first_time);
                let ceil = self.kind == Kind::Ceil;
                Ok(Self::map_time(times(arrays, 0)?, |time| {
                    if ceil { period.ceil(time, origin, zone) } else { period.floor(time, origin, zone) }
                }))
            }
            Kind::Shift => {
                let (period, zone) = (self.period(arrays, 1)?, self.zone(arrays, 3));
                let counts = integers(arrays, 2)?;
                let shifted =
                    times(arrays, 0)?.iter().zip(counts).map(|(time, count)| period.shift(time?, count?, zone));
                Ok(time_array(shifted.collect()))
            }
            Kind::Parse => {
                let (pattern, zone) = (text(arrays, 1), self.zone(arrays, 2));
                let parsed = strings(arrays, 0)?.iter().map(|value| time_text::parse(value?, pattern.as_deref(), zone));
                Ok(time_array(parsed.collect()))
            }
            Kind::Format => {
                let (pattern, zone) = (text(arrays, 1), self.zone(arrays, 2));
                let formatted: StringArray =
                    times(arrays, 0)?.iter().map(|time| time_text::format(time?, pattern.as_deref(), zone)).collect();
                Ok(Arc::new(formatted))
            }
            Kind::Extract => {
                let (unit, zone) = (text(arrays, 1).unwrap_or_default().to_ascii_uppercase(), self.zone(arrays, 2));
                if time_text::extract(0, &unit, zone).is_none() {
                    return Err(refuse("TIME_EXTRACT does not know this unit; use YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND or EPOCH".to_owned()));
                }
                let extracted: Int64Array =
                    times(arrays, 0)?.iter().map(|time| time_text::extract(time?, &unit, zone)).collect();
                Ok(Arc::new(extracted))
            }
            Kind::FromMillis => {
                let times = integers(arrays, 0)?.iter().map(|millis| millis?.checked_mul(1000));
                Ok(time_array(times.collect()))
            }
            Kind::ToMillis => {
                let millis: Int64Array = times(arrays, 0)?.iter().map(|time| Some(time?.div_euclid(1000))).collect();
                Ok(Arc::new(millis))
            }
            Kind::Difference => self.difference(arrays),
            Kind::InInterval => {
                let interval = text(arrays, 1).and_then(|text| time_text::interval(&text, self.zone));
                let Some((start, end)) = interval else {
                    return Err(refuse("TIME_IN_INTERVAL wants an interval such as '2024-03-10/P1D'".to_owned()));
                };
                let inside: BooleanArray =
                    times(arrays, 0)?.iter().map(|time| Some((start..end).contains(&time?))).collect();
                Ok(Arc::new(inside))
            }
        }
    }

    fn difference(&self, arrays: &[ArrayRef]) -> Result<ArrayRef> {
        let unit = text(arrays, 0).unwrap_or_default();
        if time_text::difference(0, 0, &unit, self.zone).is_none() {
            return Err(refuse("TIMESTAMPDIFF does not know this unit".to_owned()));
        }
        let (from, to) = (times(arrays, 1)?, times(arrays, 2)?);
        let differences: Int64Array =
            from.iter().zip(to).map(|(from, to)| time_text::difference(from?, to?, &unit, self.zone)).collect();
        Ok(Arc::new(differences))
    }

    fn map_time(times: &TimestampMicrosecondArray, change: impl Fn(i64) -> Option<i64>) -> ArrayRef {
        // Neighbouring rows are mostly in the same bucket of a sorted table, but the change is cheap enough in UTC.
        time_array(times.iter().map(|time| change(time?)).collect())
    }

    fn period(&self, arrays: &[ArrayRef], index: usize) -> Result<Period> {
        text(arrays, index).and_then(|text| Period::parse(&text)).ok_or_else(|| {
            refuse(format!(
                "Invalid period specified for {}; use an ISO 8601 period such as 'PT1H' or 'P1D'",
                self.name().to_ascii_uppercase()
            ))
        })
    }

    /// The zone that the call names, or the session's. As in Druid an unknown name is UTC.
    fn zone(&self, arrays: &[ArrayRef], index: usize) -> Tz {
        text(arrays, index).map_or(self.zone, |name| name.parse().unwrap_or(Tz::UTC))
    }
}

/// An array of times.
pub fn time_array(times: TimestampMicrosecondArray) -> ArrayRef {
    Arc::new(times.with_timezone("UTC"))
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("a time function was called with other types than it asked for".to_owned())
}

fn times(arrays: &[ArrayRef], index: usize) -> Result<&TimestampMicrosecondArray> {
    arrays.get(index).and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>()).ok_or_else(missing)
}

fn integers(arrays: &[ArrayRef], index: usize) -> Result<&Int64Array> {
    arrays.get(index).and_then(|array| array.as_primitive_opt::<Int64Type>()).ok_or_else(missing)
}

fn strings(arrays: &[ArrayRef], index: usize) -> Result<&StringArray> {
    arrays.get(index).and_then(|array| array.as_string_opt::<i32>()).ok_or_else(missing)
}

/// The constant text of an argument; `None` when it is left out, NULL, or there are no rows.
fn text(arrays: &[ArrayRef], index: usize) -> Option<String> {
    let array = arrays.get(index)?.as_string_opt::<i32>()?;
    (!array.is_empty() && array.is_valid(0)).then(|| array.value(0).to_owned())
}

fn first_time(array: &ArrayRef) -> Option<i64> {
    let times = array.as_primitive_opt::<TimestampMicrosecondType>()?;
    (!times.is_empty() && times.is_valid(0)).then(|| times.value(0))
}
