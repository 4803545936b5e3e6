//! Statistics and schemas for any values: bounds hold, pruning never loses a row, a schema comes back as it was.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, col, lit};
use proptest::prelude::*;
use vitalake_lake::delta::action::{Action, Add, Protocol, format_commit, parse_commit};
use vitalake_lake::delta::schema::{from_schema_string, timestamp_type, to_schema_string};
use vitalake_lake::delta::{DeltaError, DeltaLog, Snapshot, prune};
use vitalake_lake::parquet::{ParquetEncoder, ParquetOptions};

type Row = (Option<String>, Option<i64>, Option<f64>, Option<i64>, Option<bool>);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8View, true),
        Field::new("long", DataType::Int64, true),
        Field::new("double", DataType::Float64, true),
        Field::new("at", timestamp_type(), true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.0.as_deref()))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.3)).with_timezone("UTC")),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.4))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![".{0,50}", "[a-c]{30,36}", "\u{10ffff}{30,36}"];
    let double = prop_oneof![any::<f64>(), -5.0..5.0, Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)];
    let at = prop_oneof![-62_135_596_800_000_000_i64..253_402_300_800_000_000, any::<i64>()];
    (
        proptest::option::of(text),
        proptest::option::of(prop_oneof![any::<i64>(), -9..9_i64]),
        proptest::option::of(double),
        proptest::option::of(at),
        prop_oneof![Just(Some(true)), Just(None), any::<Option<bool>>()],
    )
}

/// A snapshot with one file of these rows, which exists only as its statistics.
fn snapshot(rows: &[Row]) -> Snapshot {
    let options = ParquetOptions { row_group_rows_max: 7, ..ParquetOptions::default() };
    let mut encoder = ParquetEncoder::try_new(&schema(), &options).unwrap();
    encoder.write(&batch(rows)).unwrap();
    let tail = encoder.finish().unwrap();
    assert_eq!(tail.rows, rows.len() as u64);
    let add = Add {
        path: "018f0000-0000-7000-8000-000000000000.zstd.parquet".to_owned(),
        partition_values: Default::default(),
        size: tail.size_bytes as i64,
        modification_time: 0,
        data_change: true,
        stats: Some(tail.stats_json),
        tags: None,
        deletion_vector: None,
    };
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let log = DeltaLog::new(store, "t".into());
    futures::executor::block_on(async {
        let empty = log.create("t", &schema(), Default::default(), 0).await.unwrap();
        empty.apply(empty.version().next(), &[Action::Add(add)]).unwrap()
    })
}

/// `column = value` for every value of the file: none may be pruned.
fn points(batch: &RecordBatch) -> Vec<Arc<dyn PhysicalExpr>> {
    let mut predicates = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        for index in (0..column.len()).filter(|index| column.is_valid(*index)) {
            let value = ScalarValue::try_from_array(column, index).unwrap();
            let left = col(field.name(), &batch.schema()).unwrap();
            predicates.push(Arc::new(BinaryExpr::new(left, Operator::Eq, lit(value))) as Arc<dyn PhysicalExpr>);
        }
    }
    predicates
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bounds_hold_and_pruning_keeps_every_row(rows in proptest::collection::vec(row(), 1..30)) {
        let snapshot = snapshot(&rows);
        let files: Vec<_> = snapshot.files().cloned().collect();
        let stats = files[0].stats().unwrap();
        let written = batch(&rows);
        for (field, column) in schema().fields().iter().zip(written.columns()) {
            prop_assert_eq!(stats.null_count(field.name()), Some(column.null_count() as u64));
            for index in (0..column.len()).filter(|index| column.is_valid(*index)) {
                let value = ScalarValue::try_from_array(column, index).unwrap();
                let (min, max) = (stats.min(field.name(), field.data_type()), stats.max(field.name(), field.data_type()));
                prop_assert!(min.is_none_or(|min| min <= value), "{} {value}", field.name());
                prop_assert!(max.is_none_or(|max| max >= value), "{} {value}", field.name());
            }
        }
        for predicate in points(&written) {
            prop_assert_eq!(prune(&files, &schema(), &predicate).len(), 1, "{}", predicate);
        }
    }

    #[test]
    fn schemas_come_back(fields in proptest::collection::vec((".{1,12}", 0..9_usize, any::<bool>()), 0..12)) {
        let kinds = [
            DataType::Utf8View, DataType::BinaryView, DataType::Int64, DataType::Int32, DataType::Float64,
            DataType::Float32, DataType::Boolean, DataType::Date32, timestamp_type(),
        ];
        let fields: Vec<Field> =
            fields.iter().map(|(name, kind, nullable)| Field::new(name, kinds[*kind].clone(), *nullable)).collect();
        let schema = Schema::new(fields);
        let text = to_schema_string(&schema).unwrap();
        let read = from_schema_string("t", &text).unwrap();
        prop_assert_eq!(read.as_ref(), &schema);
    }

    #[test]
    fn any_bytes_are_actions_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_commit("x.json", &bytes);
    }
}

#[test]
fn a_value_outside_the_bounds_is_pruned() {
    let rows: Vec<Row> = (0..20)
        .map(|n| (Some(format!("name-{n:02}")), Some(n), Some(n as f64), Some(n * 1_000_000), Some(true)))
        .collect();
    let snapshot = snapshot(&rows);
    let files: Vec<_> = snapshot.files().cloned().collect();
    let beyond = batch(&[(Some("name-20".to_owned()), Some(20), Some(19.5), Some(19_001_000), Some(false))]);
    for predicate in points(&beyond) {
        assert!(prune(&files, &schema(), &predicate).is_empty(), "{predicate}");
    }
}

#[test]
fn unsupported_types_are_named() {
    let schema = Schema::new(vec![Field::new("price", DataType::Decimal128(10, 2), true)]);
    let error = to_schema_string(&schema).unwrap_err();
    assert!(matches!(&error, DeltaError::UnsupportedType { column, .. } if column == "price"), "{error}");
    let nested = r#"{"type":"struct","fields":[{"name":"a","type":{"type":"map"},"nullable":true,"metadata":{}}]}"#;
    assert!(from_schema_string("t", nested).unwrap_err().to_string().contains("column a has the type map"));
}

#[test]
fn unknown_actions_and_fields_are_passed_over() {
    let lines = br#"{"cdc":{"path":"x"}}
{"domainMetadata":{"domain":"d","configuration":"","removed":false}}
{"txn":{"appId":"a","version":3,"new":1}}

{"add":{"path":"p","partitionValues":{},"size":1,"modificationTime":2,"dataChange":true,"baseRowId":4}}
"#;
    let actions = parse_commit("x.json", lines).unwrap();
    assert_eq!(actions.len(), 2);
    let again = parse_commit("x.json", &format_commit("x.json", &actions).unwrap()).unwrap();
    assert_eq!(actions, again);
    let protocol = Action::Protocol(Protocol::plain());
    let text = String::from_utf8(format_commit("x", &[protocol]).unwrap()).unwrap();
    assert_eq!(text, "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n");
}
