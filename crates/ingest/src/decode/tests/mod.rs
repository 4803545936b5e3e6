//! Decoders against tables of good and bad input, arbitrary input, and the real files where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod again;
mod blocks;
mod delivery;
mod files;
mod json;
mod typed;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::util::display::array_value_to_string;
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_contract::time_format::TimeFormat;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};

use super::*;

fn contract(columns: &[(&str, ColumnType, &str)], rules: &[(usize, Check, Severity)]) -> Arc<Contract> {
    let columns: Vec<Column> = columns
        .iter()
        .map(|(name, kind, path)| Column {
            path: path.split('.').map(str::to_owned).collect(),
            ..Column::new(name, kind.clone())
        })
        .collect();
    let mut contract = Contract {
        fingerprint: "ab12".into(),
        row_rules: rules
            .iter()
            .map(|(column, check, severity)| RowRule {
                name: format!("{}.{}", columns[*column].name, check_name(check)),
                column: Some(*column),
                check: check.clone(),
                severity: *severity,
            })
            .collect(),
        columns,
        source: Some(Source::Stream { topic: "readings".to_owned(), partitions: 1 }),
        ..Contract::new(DatasetName::new("readings").unwrap(), Layer::Raw)
    };
    for (column, check, _) in rules {
        contract.columns[*column].required |= matches!(check, Check::Required);
    }
    Arc::new(contract)
}

fn check_name(check: &Check) -> &'static str {
    match check {
        Check::Required => "required",
        Check::Minimum(_) => "minimum",
        _ => "check",
    }
}

/// One column of each type, nested ones among them; the id is required and steps are not negative.
fn wide() -> Arc<Contract> {
    let when = TimeFormat::compile("M/d/yyyy h:mm:ss a", Some(chrono_tz::Tz::UTC)).unwrap();
    contract(
        &[
            ("id", ColumnType::String, "id"),
            ("steps", ColumnType::Long, "steps"),
            ("small", ColumnType::Int, "small"),
            ("hr", ColumnType::Double, "vitals.hr"),
            ("spo2", ColumnType::Float, "vitals.spo2"),
            ("worn", ColumnType::Boolean, "worn"),
            ("day", ColumnType::Date(None), "day"),
            ("at", ColumnType::Timestamp(None), "at"),
            ("seen", ColumnType::Timestamp(Some(when)), "seen"),
            ("clock", ColumnType::Time(None), "clock"),
            ("tags", ColumnType::Json, "tags"),
        ],
        &[
            (0, Check::Required, Severity::Error),
            (1, Check::Minimum(Bound::Whole(0)), Severity::Error),
            (2, Check::Minimum(Bound::Whole(10)), Severity::Warning),
        ],
    )
}

fn meta(offset: i64) -> RecordMeta {
    RecordMeta { partition: 3, offset, timestamp_ms: None, ingested_at_ms: 1_000 }
}

fn decode(contract: &Arc<Contract>, records: &[&[u8]]) -> Decoded {
    let mut decoder = JsonDecoder::new(Arc::clone(contract));
    for (offset, record) in records.iter().enumerate() {
        decoder.append(Some(record), meta(offset as i64));
    }
    decoder.finish().unwrap()
}

fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    let array: &ArrayRef = batch.column_by_name(name).unwrap();
    let show = |row| if array.is_null(row) { "null".to_owned() } else { array_value_to_string(array, row).unwrap() };
    (0..array.len()).map(show).collect()
}

fn raws(batch: &RecordBatch) -> Vec<Option<Vec<u8>>> {
    batch.column(0).as_binary_view().iter().map(|raw| raw.map(<[u8]>::to_vec)).collect()
}
