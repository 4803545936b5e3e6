//! The table `tiny` of the recorded answers: five rows with nulls, bounds and odd text.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use datafusion::catalog::{MemTable, TableProvider};

pub fn tiny() -> Arc<dyn TableProvider> {
    let times = [
        1_710_027_000_000_000_i64,
        1_710_053_999_999_000,
        1_710_054_000_000_000,
        1_710_072_000_000_000,
        1_710_115_200_000_000,
    ];
    let lists =
        vec![Some(vec![Some(1), Some(2), Some(3)]), None, Some(vec![Some(4)]), Some(vec![]), Some(vec![None, Some(7)])];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("b"), Some("ü\"q")])),
        Arc::new(Int64Array::from(vec![Some(1), None, Some(9_007_199_254_740_993), Some(-5), Some(0)])),
        Arc::new(Float64Array::from(vec![Some(1.5), None, Some(1e300), Some(-0.0), Some(100.0)])),
        Arc::new(Float32Array::from(vec![Some(0.1), None, Some(3.4e38), Some(2.5), Some(100.0)])),
        // Multi-value strings and JSON have no counterpart: they are the text that Druid prints.
        Arc::new(StringArray::from(vec![Some("[\"x\",\"y\"]"), Some("x"), None, Some("[null,\"y\"]"), None])),
        Arc::new(StringArray::from(vec![
            Some("{\"k\":1,\"n\":{\"z\":[1,2]}}"),
            None,
            Some("\"str\""),
            Some("{\"k\":\"two\"}"),
            Some("[1]"),
        ])),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
    ];
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let schema = Arc::new(Schema::new(vec![
        Field::new("__time", utc, false),
        Field::new("s", DataType::Utf8, true),
        Field::new("l", DataType::Int64, true),
        Field::new("d", DataType::Float64, true),
        Field::new("f", DataType::Float32, true),
        Field::new("mv", DataType::Utf8, true),
        Field::new("j", DataType::Utf8, true).with_metadata(HashMap::from([("druid".to_owned(), "json".to_owned())])),
        Field::new("arr", list, true),
    ]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
}

/// A table of so many rows `n = 0, 1, …`, in batches of 8192.
pub fn numbers(rows: i64) -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let batches = (0..rows)
        .step_by(8192)
        .map(|start| {
            let array: ArrayRef = Arc::new(Int64Array::from_iter_values(start..(start + 8192).min(rows)));
            RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap()
        })
        .collect();
    Arc::new(MemTable::try_new(schema, vec![batches]).unwrap())
}
