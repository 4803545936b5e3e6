//! Values of any type as the text that Spark's cast to STRING gives.
//!
//! For arrays, maps and structs, whose elements may be anything. Invariant: pure.

use arrow::array::Array;
use datafusion::common::ScalarValue;

use crate::functions::text_number::{decimal_text, double_text, float_text};
use crate::functions::text_time::{day_text, instant_text};

/// A value as text; null is `null`, as it is inside of an array.
pub(crate) fn text(value: &ScalarValue) -> String {
    if value.is_null() {
        return "null".to_owned();
    }
    match value {
        ScalarValue::Utf8View(Some(v)) | ScalarValue::Utf8(Some(v)) => v.clone(),
        ScalarValue::Float64(Some(v)) => double_text(*v),
        ScalarValue::Float32(Some(v)) => float_text(*v),
        ScalarValue::Decimal128(Some(v), _, scale) => decimal_text(*v, i32::from(*scale)),
        ScalarValue::Date32(Some(v)) => day_text(i64::from(*v)),
        ScalarValue::TimestampMicrosecond(Some(v), _) => instant_text(*v),
        ScalarValue::BinaryView(Some(v)) | ScalarValue::Binary(Some(v)) => String::from_utf8_lossy(v).into_owned(),
        ScalarValue::List(list) => format!("[{}]", elements(&list.value(0)).join(", ")),
        ScalarValue::Struct(row) => {
            let fields: Vec<String> = row.columns().iter().flat_map(|c| elements(c)).collect();
            format!("{{{}}}", fields.join(", "))
        }
        ScalarValue::Map(map) => {
            let entries = map.value(0);
            let (keys, values) = (elements(entries.column(0)), elements(entries.column(1)));
            let pairs: Vec<String> = keys.iter().zip(values).map(|(k, v)| format!("{k} -> {v}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn elements(array: &dyn Array) -> Vec<String> {
    (0..array.len())
        .map(|row| ScalarValue::try_from_array(array, row).map_or_else(|_| "null".to_owned(), |v| text(&v)))
        .collect()
}
