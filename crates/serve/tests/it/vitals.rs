//! The table `vitals` of the answers in `tests/data/druid-answers.ndjson`: readings with NaN, infinities, nulls, both
//! noughts, odd texts, arrays and JSON.
//!
//! Its rows lie in several partitions and batches, so that no aggregate sees them at once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Float64Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::{MemTable, TableProvider};

type Row = (
    i64,
    Option<&'static str>,
    Option<&'static str>,
    Option<i64>,
    Option<f64>,
    Option<f32>,
    Option<&'static [Option<&'static str>]>,
    Option<&'static [Option<f64>]>,
    Option<&'static str>,
);

/// Time in milliseconds, device, note, n, x, f, tags, nums, JSON.
#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        (-500, Some("c3"), Some("2024-05-06"), Some(100), Some(f64::NAN), Some(3.5), Some(&[Some("y")]), Some(&[Some(4.0)]), Some(r#"{"hr":60}"#)),
        (1_686_816_000_000, Some("c3"), Some("true"), Some(10), Some(10.0), Some(10.0), Some(&[Some("x")]), Some(&[Some(5.0)]), Some(r#"{"hr":99,"dev":{"id":"z","v":1}}"#)),
        (1_706_745_599_999, Some("a1"), Some("Grüße, Welt"), Some(5), Some(1.5), Some(0.25), Some(&[Some("x"), Some("y")]), Some(&[Some(1.5), Some(2.5)]), Some(r#"{"hr":61,"ok":true,"at":"2024-01-01T00:00:00Z","l":[1,"b",null]}"#)),
        (1_709_210_096_789, Some("a1"), Some("  padded  "), Some(-7), Some(f64::NAN), Some(f32::NAN), Some(&[Some("x")]), Some(&[Some(0.1)]), Some(r#"{"hr":72.5,"dev":{"id":"q","v":null}}"#)),
        (1_710_053_999_000, Some("a1"), Some(""), None, Some(2.5), Some(2.5), Some(&[]), Some(&[]), Some(r#"{"hr":"88"}"#)),
        (1_710_054_000_000, Some("b2"), None, Some(0), Some(-2.75), Some(-2.75), None, None, None),
        (1_710_072_000_000, Some("b2"), Some("a_b%c"), Some(9_007_199_254_740_993), Some(f64::INFINITY), Some(16_777_216.0), Some(&[Some("y"), None]), Some(&[None, Some(3.0)]), Some(r#"{"hr":0}"#)),
        (1_711_848_600_000, Some("b2"), Some("x;y;z"), Some(42), Some(f64::NEG_INFINITY), Some(-0.0), Some(&[Some("z"), Some("x"), Some("y")]), Some(&[Some(-1.0), Some(1e300)]), Some(r#""plain""#)),
        (1_729_989_000_000, Some(""), Some("日本語😀"), Some(1), Some(0.0), Some(1e10), Some(&[Some("日本")]), Some(&[Some(7.0)]), Some(r#"[1,{"a":"b"}]"#)),
        (1_729_992_600_000, Some(""), Some("O'Brien \"q\""), Some(2), Some(-0.0), Some(100.0), Some(&[Some("x"), Some("x")]), Some(&[Some(1.0), Some(1.0)]), Some(r#"{"hr":61}"#)),
        (1_730_611_800_000, None, Some("123abc"), Some(3), None, None, Some(&[Some("q")]), Some(&[Some(2.0)]), Some(r#"{"a b":1,"hr":1000.0}"#)),
        (1_735_687_800_000, None, Some("12.75"), Some(i64::MIN), Some(1e-7), Some(1e-7), Some(&[Some("x"), Some("z")]), Some(&[Some(0.0)]), Some(r#"{"hr":-5}"#)),
    ]
}

pub fn vitals() -> Arc<dyn TableProvider> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = |kind: DataType| DataType::List(Arc::new(Field::new("item", kind, true)));
    let json = HashMap::from([("druid".to_owned(), "json".to_owned())]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("__time", utc, false),
        Field::new("dev", DataType::Utf8, true),
        Field::new("note", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("f", DataType::Float32, true),
        Field::new("tags", list(DataType::Utf8), true),
        Field::new("nums", list(DataType::Float64), true),
        Field::new("js", DataType::Utf8, true).with_metadata(json),
    ]));
    let batches: Vec<RecordBatch> =
        rows().chunks(2).map(|rows| RecordBatch::try_new(Arc::clone(&schema), columns(rows)).unwrap()).collect();
    let partitions = batches.chunks(2).map(<[RecordBatch]>::to_vec).collect();
    Arc::new(MemTable::try_new(schema, partitions).unwrap())
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let times: Vec<i64> = rows.iter().map(|row| row.0 * 1000).collect();
    let mut tags = ListBuilder::new(StringBuilder::new());
    let mut nums = ListBuilder::new(Float64Builder::new());
    for row in rows {
        tags.append_option(row.6.map(|items| items.iter().copied()));
        nums.append_option(row.7.map(|items| items.iter().copied()));
    }
    vec![
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.4).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.5).collect::<Float32Array>()),
        Arc::new(tags.finish()),
        Arc::new(nums.finish()),
        Arc::new(rows.iter().map(|row| row.8).collect::<StringArray>()),
    ]
}
