//! A contract out of a Parquet file: its types, and what is never null in it.
//!
//! Invariant: the file is read as a delivery of it would be, under the same checks.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use vitalake_ingest::decode::{TypedField, read_parquet_fields};

use super::page::{Column, Page};
use super::{Files, Sample};
use crate::table::counted;

pub(super) fn draft(sample: &Sample) -> anyhow::Result<Files> {
    let (rows, fields) = read_parquet_fields(&sample.dataset, sample.open()?).map_err(|error| {
        sample.refused(format!("gives no contract: {}", error.to_string().replace("delivery of", "sample for")))
    })?;
    let about = vec![
        format!(
            "Drafted by `vitalake contract import` from {}, {}: names and types as the file has",
            sample.file_name,
            counted(rows, "row", "rows")
        ),
        "them, and `required` for what is never null in it. Look at each line, then take these comments away."
            .to_owned(),
    ];
    let mut page = Page::new(&sample.dataset, about);
    for field in &fields {
        let always = rows > 0 && field.nulls == 0;
        page.add(column(field, always));
    }
    page.custom("source", "feed", "delivered files; without this it is a Kafka topic");
    page.custom("delivery", "append", "or `replace`, when each file is the whole dataset");
    Ok(vec![sample.contract(page.text())])
}

fn column(field: &TypedField, required: bool) -> Column {
    let (logical, remark) = logical(&field.kind);
    let zoneless = matches!(&field.kind, DataType::Timestamp(_, None));
    Column {
        path: field.path.clone(),
        logical,
        format: zoneless.then_some("yyyy-MM-dd'T'HH:mm:ss"),
        zone: zoneless.then_some("Etc/UTC"),
        required,
        remark,
        ..Column::default()
    }
}

fn logical(kind: &DataType) -> (&'static str, &'static str) {
    match kind {
        DataType::Boolean => ("boolean", ""),
        DataType::UInt64 => ("integer", "unsigned in the file: what is larger than i64 does not fit"),
        kind if kind.is_integer() => ("integer", ""),
        kind if kind.is_floating() => ("number", ""),
        kind if kind.is_decimal() => {
            ("number", "a decimal in the file: a double holds 15 digits; `string` keeps them all")
        }
        DataType::Date32 | DataType::Date64 => ("date", ""),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => ("timestamp", "nanoseconds in the file: kept to microseconds"),
        DataType::Timestamp(..) => ("timestamp", ""),
        DataType::Time32(_) | DataType::Time64(_) => ("time", ""),
        DataType::Dictionary(_, values) => logical(values),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => ("array", ""),
        DataType::Struct(_) | DataType::Map(..) => ("object", ""),
        _ => ("string", ""),
    }
}
