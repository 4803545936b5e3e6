//! Rows of an ops dataset as a stream of the workspace takes them: one JSON object each.
//!
//! Invariant: an object holds the columns of its table's schema and no other; what is null is left out.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringViewArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, SecondsFormat};

use super::schema::{LogColumn, LogTable};

/// The most bytes of a text: beyond 64 KB the workspace cuts it, and says so nowhere.
const TEXT_BYTES_MAX: usize = 64_000;

/// Where rows come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) project: &'a str,
    /// The id of the table.
    pub(super) table: &'a str,
    pub(super) version: u64,
}

/// A column's values.
enum Values<'a> {
    Text(&'a StringViewArray),
    Long(&'a PrimitiveArray<Int64Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Boolean(&'a BooleanArray),
    At(&'a PrimitiveArray<TimestampMicrosecondType>),
    Day(&'a PrimitiveArray<Date32Type>),
}

/// The objects of a version's rows, in their order.
pub(super) fn objects(table: &LogTable, batches: &[RecordBatch], origin: Origin<'_>) -> Vec<String> {
    let mut objects = Vec::new();
    for batch in batches {
        let columns: Vec<(&LogColumn, Option<Values<'_>>)> =
            table.columns.iter().map(|column| (column, values(column, batch))).collect();
        for row in 0..batch.num_rows() {
            objects.push(object(&columns, row, (origin, objects.len())));
        }
    }
    objects
}

fn object(columns: &[(&LogColumn, Option<Values<'_>>)], row: usize, (origin, number): (Origin<'_>, usize)) -> String {
    let mut text = String::with_capacity(320);
    text.push('{');
    for (column, values) in columns {
        let before = text.len();
        if before > 1 {
            text.push(',');
        }
        quote(&column.name, &mut text);
        text.push(':');
        let written = match (values, column.name.as_str()) {
            (Some(values), _) => values.write(row, &mut text),
            (None, "RunId") => {
                let _ = write!(text, "\"{}-{}-{number}\"", origin.table, origin.version);
                true
            }
            (None, "Project") => {
                quote(origin.project, &mut text);
                true
            }
            (None, _) => false,
        };
        if !written {
            text.truncate(before);
        }
    }
    text.push('}');
    text
}

fn values<'a>(column: &LogColumn, batch: &'a RecordBatch) -> Option<Values<'a>> {
    let array = batch.column_by_name(column.source.as_deref()?)?;
    let text = array.as_string_view_opt().map(Values::Text);
    let long = || array.as_primitive_opt().map(Values::Long);
    let double = || array.as_primitive_opt().map(Values::Double);
    let boolean = || array.as_boolean_opt().map(Values::Boolean);
    let at = || array.as_primitive_opt().map(Values::At);
    let day = || array.as_primitive_opt().map(Values::Day);
    text.or_else(long).or_else(double).or_else(boolean).or_else(at).or_else(day)
}

impl Values<'_> {
    /// Writes a row's value; false where there is none, or none that JSON has.
    fn write(&self, row: usize, into: &mut String) -> bool {
        match self {
            Self::Text(texts) if texts.is_valid(row) => quote(cut(texts.value(row)), into),
            Self::Long(longs) if longs.is_valid(row) => {
                let _ = write!(into, "{}", longs.value(row));
            }
            Self::Double(doubles) if doubles.is_valid(row) && doubles.value(row).is_finite() => {
                let _ = write!(into, "{}", doubles.value(row));
            }
            Self::Boolean(truths) if truths.is_valid(row) => into.push_str(match truths.value(row) {
                true => "true",
                false => "false",
            }),
            Self::At(times) if times.is_valid(row) => match DateTime::from_timestamp_micros(times.value(row)) {
                Some(at) => quote(&at.to_rfc3339_opts(SecondsFormat::Micros, true), into),
                None => return false,
            },
            Self::Day(days) if days.is_valid(row) => match Date32Type::to_naive_date_opt(days.value(row)) {
                Some(day) => {
                    let _ = write!(into, "\"{day}\"");
                }
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text)
}

fn quote(text: &str, into: &mut String) {
    // A text is always one that JSON can write.
    into.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};
    use serde_json::{Value, json};

    use super::*;
    use crate::monitor::schema::log_table;
    use crate::tables::OpsTable;

    fn of(columns: Vec<(&str, ArrayRef)>) -> Vec<Value> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let origin = Origin { project: "p", table: "T", version: 7 };
        let table = log_table(OpsTable::Deliveries).unwrap();
        let objects = objects(&table, &[batch.clone(), batch], origin);
        objects.iter().map(|object| serde_json::from_str(object).unwrap()).collect()
    }

    #[test]
    fn a_row_is_an_object_with_a_number_of_its_own_and_without_what_is_null_or_stays() {
        let at = TimestampMicrosecondArray::from(vec![Some(1_795_000_000_123_456), None]).with_timezone("UTC");
        let text = |texts: [Option<&str>; 2]| -> ArrayRef { Arc::new(StringViewArray::from_iter(texts)) };
        let rows = of(vec![
            ("at", Arc::new(at)),
            ("dataset", text([Some("raw.\"x\"\n\u{7f}\u{2028}"), None])),
            ("actor", text([Some("ada"), Some("ada")])),
            ("reason", text([Some("because"), None])),
            ("delivery", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("took_ms", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)]))),
            ("business_date", Arc::new(PrimitiveArray::<Date32Type>::from(vec![Some(20_000), None]))),
        ]);
        let wanted = json!({"TimeGenerated": "2026-11-18T11:06:40.123456Z", "RunId": "T-7-0", "Project": "p",
            "Dataset": "raw.\"x\"\n\u{7f}\u{2028}", "Delivery": i64::MIN, "TookMs": 0.1, "BusinessDate": "2024-10-04"});
        assert_eq!(rows[0], wanted);
        assert_eq!(rows[1], json!({"RunId": "T-7-1", "Project": "p"}));
        let ids: Vec<&Value> = rows.iter().map(|row| &row["RunId"]).collect();
        assert_eq!(ids, ["T-7-0", "T-7-1", "T-7-2", "T-7-3"]);
    }

    #[test]
    fn a_text_is_cut_where_the_workspace_would_cut_it_and_never_within_a_letter() {
        let long: ArrayRef = Arc::new(StringViewArray::from_iter([Some("ä".repeat(40_000))]));
        let rows = of(vec![("dataset", long)]);
        let kept = rows[0]["Dataset"].as_str().unwrap();
        assert_eq!((kept.len(), kept.chars().all(|letter| letter == 'ä')), (TEXT_BYTES_MAX, true));
    }
}
