//! A file's statistics in Delta's JSON form, parsed for pruning.
//!
//! Values are bounds and nothing more: text is cut to 32 characters and instants to milliseconds, so a maximum that
//! another writer rounded down is taken as the last microsecond of its millisecond. Invariant: a bound that cannot be
//! understood is no bound, never a wrong one.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate};
use datafusion::common::ScalarValue;
use serde::Deserialize;
use serde_json::Value;

/// Row count, bounds and null counts of one file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStats {
    /// Rows in the file.
    pub num_records: Option<u64>,
    #[serde(default)]
    min_values: HashMap<String, Value>,
    #[serde(default)]
    max_values: HashMap<String, Value>,
    #[serde(default)]
    null_count: HashMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rows {
    num_records: Option<u64>,
}

/// The row count alone, without keeping the rest.
pub(crate) fn rows_of(stats: &str) -> Option<u64> {
    serde_json::from_str::<Rows>(stats).ok().and_then(|rows| rows.num_records)
}

impl FileStats {
    pub(crate) fn parse(stats: &str) -> Option<Self> {
        serde_json::from_str(stats).ok()
    }

    /// Nulls in a column.
    pub fn null_count(&self, column: &str) -> Option<u64> {
        self.null_count.get(column).and_then(Value::as_u64)
    }

    /// A lower bound of a column's values, as a value of the column's type.
    pub fn min(&self, column: &str, kind: &DataType) -> Option<ScalarValue> {
        self.min_values.get(column).and_then(|value| scalar(value, kind, false))
    }

    /// An upper bound of a column's values, as a value of the column's type.
    pub fn max(&self, column: &str, kind: &DataType) -> Option<ScalarValue> {
        self.max_values.get(column).and_then(|value| scalar(value, kind, true))
    }
}

fn scalar(value: &Value, kind: &DataType, is_max: bool) -> Option<ScalarValue> {
    Some(match kind {
        DataType::Utf8View => ScalarValue::Utf8View(Some(value.as_str()?.to_owned())),
        DataType::Utf8 => ScalarValue::Utf8(Some(value.as_str()?.to_owned())),
        DataType::Boolean => ScalarValue::Boolean(Some(value.as_bool()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        DataType::Int32 => ScalarValue::Int32(Some(i32::try_from(value.as_i64()?).ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(value.as_f64()?)),
        DataType::Float32 => ScalarValue::Float32(Some(float(value.as_f64()?, is_max))),
        DataType::Date32 => {
            let date = NaiveDate::parse_from_str(value.as_str()?, "%Y-%m-%d").ok()?;
            let days = date.signed_duration_since(NaiveDate::default()).num_days();
            ScalarValue::Date32(Some(i32::try_from(days).ok()?))
        }
        DataType::Timestamp(_, zone) => {
            let micros = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp_micros();
            let micros = if is_max { micros.checked_add(999)? } else { micros };
            ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())
        }
        _ => return None,
    })
}

/// Narrowing must not move a bound inwards.
fn float(value: f64, is_max: bool) -> f32 {
    let narrow = value as f32;
    match is_max {
        true if f64::from(narrow) < value => narrow.next_up(),
        false if f64::from(narrow) > value => narrow.next_down(),
        _ => narrow,
    }
}
