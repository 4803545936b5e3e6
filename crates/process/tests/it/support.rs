//! Contracts and rows in few words.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};
use vitalake_process::{Contracts, Model};

pub fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

pub fn column_type(text: &str) -> ColumnType {
    match text {
        "string" => ColumnType::String,
        "long" => ColumnType::Long,
        "int" => ColumnType::Int,
        "double" => ColumnType::Double,
        "float" => ColumnType::Float,
        "boolean" => ColumnType::Boolean,
        "date" => ColumnType::Date(None),
        "timestamp" => ColumnType::Timestamp(None),
        other => panic!("{other} is no type of these tests"),
    }
}

/// `columns` is `name type, name type`, a `*` before a name makes it part of the key.
pub fn contract(layer: Layer, dataset: &str, columns: &str, feed: bool) -> Contract {
    let mut key = Vec::new();
    let columns: Vec<Column> = columns
        .split(", ")
        .enumerate()
        .map(|(index, column)| {
            let (column, kind) = column.split_once(' ').unwrap();
            if column.starts_with('*') {
                key.push(index);
            }
            let column = column.trim_start_matches('*');
            Column::new(column, column_type(kind))
        })
        .collect();
    let source = (layer == Layer::Raw)
        .then(|| if feed { Source::Feed } else { Source::Stream { topic: dataset.to_owned(), partitions: 1 } });
    Contract {
        id: dataset.to_owned(),
        version: "1.0.0".to_owned(),
        columns,
        primary_key: key,
        source,
        ..Contract::new(name(dataset), layer)
    }
}

pub fn contracts(all: Vec<Contract>) -> Contracts {
    all.into_iter().map(|contract| (contract.dataset.clone(), Arc::new(contract))).collect()
}

/// The contracts that most tests use.
pub fn steps() -> Contracts {
    contracts(vec![
        contract(Layer::Raw, "hourly_steps", "subject_id string, hour timestamp, steps long", false),
        contract(Layer::Raw, "patients", "patient_id string, country string", true),
        contract(Layer::Curated, "steps", "*subject_id string, *hour timestamp, steps long", false),
        contract(Layer::Serving, "steps_daily", "*subject_id string, *day date, hours long, steps long", false),
    ])
}

pub const STEPS: &str = "-- kind: append\nSELECT subject_id, hour, steps\nFROM raw.hourly_steps\n";

pub const STEPS_DAILY: &str = "-- kind: rollup\n-- time: day\nSELECT subject_id, CAST(hour AS DATE) AS day, COUNT(*) AS hours, SUM(steps) AS steps\nFROM curated.steps\nGROUP BY subject_id, CAST(hour AS DATE)\n";

pub fn model(layer: Layer, dataset: &str, text: &str) -> Model {
    Model::parse(name(dataset), layer, text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

pub fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringViewArray>())
}

pub fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Int64Array>())
}

/// Seconds since 1970.
pub fn times(values: &[Option<i64>]) -> ArrayRef {
    let micros = values.iter().map(|v| v.map(|v| v * 1_000_000)).collect::<TimestampMicrosecondArray>();
    Arc::new(micros.with_timezone("UTC"))
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

/// Rows as text, sorted.
pub fn printed(batches: &[RecordBatch]) -> Vec<String> {
    if batches.is_empty() {
        return Vec::new();
    }
    let text = arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect();
    lines.sort();
    lines
}
