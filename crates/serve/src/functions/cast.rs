//! Druid's casts to time, date, text and integer: in the session's time zone, with time as milliseconds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{Datelike, NaiveDate, NaiveTime};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::period::{candidates, local};
use super::time::{refuse, time_array, time_type};
use super::time_text;
use crate::druid::value::{java_double, java_float};

/// What is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// TIMESTAMP
    Time,
    /// DATE
    Date,
    /// VARCHAR
    Text,
    /// BIGINT
    Integer,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 4] = [Self::Time, Self::Date, Self::Text, Self::Integer];

    fn data_type(self) -> DataType {
        match self {
            Self::Time => time_type(),
            Self::Date => DataType::Date32,
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
        }
    }
}

/// A cast in one session's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CastFunction {
    to: Target,
    zone: Tz,
    signature: Signature,
}

impl CastFunction {
    /// The cast to that target.
    pub fn new(to: Target, zone: Tz) -> Self {
        Self { to, zone, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        match self.to {
            Target::Time => "__timestamp",
            Target::Date => "__date",
            Target::Text => "__varchar",
            Target::Integer => "__bigint",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else { return Err(refuse("CAST wants one value".to_owned())) };
        let result = self.cast(array)?;
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

impl CastFunction {
    fn cast(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let from = array.data_type();
        if from.is_null() {
            return Ok(arrow::array::new_null_array(&self.to.data_type(), array.len()));
        }
        match self.to {
            Target::Time => self.time(array),
            Target::Date => self.date(array),
            Target::Text => self.text(array),
            Target::Integer => integer(array),
        }
    }

    fn time(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match array.data_type() {
            DataType::Timestamp(..) => plain(array, &time_type()),
            DataType::Date32 | DataType::Date64 => {
                let days = plain(array, &DataType::Date32)?;
                let midnight = |day: i32| candidates(date(day)?.and_time(NaiveTime::MIN), self.zone).first().copied();
                Ok(time_array(days.as_primitive::<Date32Type>().iter().map(|day| midnight(day?)).collect()))
            }
            from if from.is_string() => {
                let texts = plain(array, &DataType::Utf8)?;
                let mut times = Vec::with_capacity(texts.len());
                for text in texts.as_string::<i32>() {
                    let time =
                        text.map(|text| time_text::parse(text, None, self.zone).ok_or_else(|| cannot("TIMESTAMP")));
                    times.push(time.transpose()?);
                }
                Ok(time_array(TimestampMicrosecondArray::from(times)))
            }
            from if from.is_numeric() => {
                let millis = plain(array, &DataType::Int64)?;
                let times = millis.as_primitive::<Int64Type>().iter().map(|millis| millis?.checked_mul(1000));
                Ok(time_array(times.collect()))
            }
            _ => Err(cannot("TIMESTAMP")),
        }
    }

    fn date(&self, array: &ArrayRef) -> Result<ArrayRef> {
        if array.data_type() == &DataType::Date32 {
            return Ok(Arc::clone(array));
        }
        let times = self.time(array)?;
        let day = |time: i64| Some(local(time, self.zone)?.date().num_days_from_ce() - DAYS_TO_1970);
        let days: Date32Array =
            times.as_primitive::<TimestampMicrosecondType>().iter().map(|time| day(time?)).collect();
        Ok(Arc::new(days))
    }

    fn text(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let texts: StringArray = match array.data_type() {
            DataType::Timestamp(..) => {
                let times = plain(array, &time_type())?;
                let text = |time: i64| Some(local(time, self.zone)?.format("%Y-%m-%d %H:%M:%S").to_string());
                times.as_primitive::<TimestampMicrosecondType>().iter().map(|time| text(time?)).collect()
            }
            DataType::Float64 => {
                array.as_primitive::<Float64Type>().iter().map(|value| Some(java_double(value?))).collect()
            }
            DataType::Float32 => array
                .as_primitive::<arrow::datatypes::Float32Type>()
                .iter()
                .map(|value| Some(java_float(value?)))
                .collect(),
            _ => return plain(array, &DataType::Utf8),
        };
        Ok(Arc::new(texts))
    }
}

const DAYS_TO_1970: i32 = 719_163;

fn date(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(day.checked_add(DAYS_TO_1970)?)
}

fn cannot(to: &str) -> datafusion::common::DataFusionError {
    refuse(format!("a value could not be cast to {to}; filter such values out, or use TIME_PARSE or NULLIF"))
}

fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|_| {
        cannot(match to {
            DataType::Utf8 => "VARCHAR",
            DataType::Int64 => "BIGINT",
            DataType::Date32 => "DATE",
            _ => "TIMESTAMP",
        })
    })
}

fn integer(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Timestamp(..) => {
            let times = plain(array, &time_type())?;
            let millis: Int64Array = times
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .map(|time| Some(time?.div_euclid(1000)))
                .collect();
            Ok(Arc::new(millis))
        }
        DataType::Date32 => {
            let millis: Int64Array =
                array.as_primitive::<Date32Type>().iter().map(|day| Some(i64::from(day?) * 86_400_000)).collect();
            Ok(Arc::new(millis))
        }
        // Java's conversion: towards zero, and the nearest bound for what is too large.
        DataType::Float64 | DataType::Float32 | DataType::Float16 => {
            let doubles = plain(array, &DataType::Float64)?;
            let whole: Int64Array =
                doubles.as_primitive::<Float64Type>().iter().map(|value| Some(value? as i64)).collect();
            Ok(Arc::new(whole))
        }
        _ => plain(array, &DataType::Int64),
    }
}
