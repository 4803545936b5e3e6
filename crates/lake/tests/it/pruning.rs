//! Filters over tables of many files: files that cannot match are not opened, and no row that matches is missed.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::Int64Type;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use object_store::ObjectStore;
use object_store::path::Path;
use proptest::prelude::*;
use vitalake_contract::{Column, ColumnType, Contract};
use vitalake_lake::delta::{Change, DeltaLog};
use vitalake_lake::{Lake, LakeOptions, TableSpec};

use crate::table::{contract, open, open_specs, rows, table, txn_id};
use crate::unruly::Unruly;

async fn context(lake: &Lake) -> SessionContext {
    let context = SessionContext::new();
    vitalake_lake::provider::register_store(&context.runtime_env(), Arc::clone(lake.store()));
    context.register_table("t", lake.pin().provider("raw", "readings").unwrap()).unwrap();
    context
}

async fn answer(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

async fn count(context: &SessionContext, table: &str, condition: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
    answer(context, &sql).await[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn large_files_are_sorted_by_the_columns_that_the_contract_says() {
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let sorted = Arc::new(Contract { sort_by: vec![1], ..(*contract()).clone() });
    let lake = open_specs(&store, vec![TableSpec::of(sorted)], LakeOptions::default()).await;
    for n in (0..9).rev() {
        table(&lake).append(vec![rows(n * 100, 100)], Vec::new(), [(txn_id("app"), 9 - n)]).unwrap();
        table(&lake).flush().await.unwrap();
    }
    assert!(table(&lake).maintain().await.unwrap().files_compacted >= 8);
    let batches = answer(&context(&lake).await, "SELECT n FROM t").await;
    let found: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(found.len(), 900);
    assert!(found.is_sorted());
}

#[tokio::test]
async fn a_file_that_cannot_match_is_not_opened_and_explain_says_how_many() {
    let store = Unruly::new();
    let lake = open(&(Arc::clone(&store) as Arc<dyn ObjectStore>), LakeOptions::default()).await;
    for n in 0..5 {
        table(&lake).append(vec![rows(n * 100, 100)], Vec::new(), [(txn_id("app"), n)]).unwrap();
        table(&lake).flush().await.unwrap();
    }
    let context = context(&lake).await;
    for (condition, matches, opened) in
        [("n >= 450", 50, 1), ("n = 1000", 0, 0), ("n < 250", 250, 3), ("n IS NULL", 0, 0), ("n IS NOT NULL", 500, 5)]
    {
        store.reads.lock().clear();
        assert_eq!(count(&context, "t", condition).await, matches, "{condition}");
        let mut read: Vec<Path> = store.reads.lock().clone();
        read.sort();
        read.dedup();
        assert_eq!(read.len(), opened, "{condition}: {read:?}");
    }
    let explained = answer(&context, "EXPLAIN ANALYZE SELECT COUNT(*) FROM t WHERE n >= 450").await;
    let text = arrow::util::pretty::pretty_format_batches(&explained).unwrap().to_string();
    assert!(text.contains("files_pruned_by_log=4"), "{text}");
}

type Row = (Option<String>, Option<i64>, Option<f64>, Option<bool>, Option<i64>);

fn wide_contract() -> Arc<Contract> {
    let column = Column::new;
    let columns = vec![
        column("who", ColumnType::String),
        column("n", ColumnType::Long),
        column("d", ColumnType::Double),
        column("flag", ColumnType::Boolean),
        column("at", ColumnType::Timestamp(None)),
    ];
    Arc::new(Contract { columns, ..Contract::clone(&contract()) })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let schema = wide_contract().table_schema();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "who" => Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.0.as_deref()))) as ArrayRef,
        "n" => Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1))),
        "d" => Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))),
        "flag" => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.3))),
        "at" => Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.4)).with_timezone("UTC")),
        "_topic" => Arc::new(StringViewArray::from(vec!["t"; rows.len()])),
        "_partition" => Arc::new(arrow::array::Int32Array::from(vec![0; rows.len()])),
        "_offset" => Arc::new(Int64Array::from(vec![0; rows.len()])),
        "_ingested_at" => Arc::new(TimestampMicrosecondArray::from(vec![0; rows.len()]).with_timezone("UTC")),
        _ => new_null_array(field.data_type(), rows.len()),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    let who = prop_oneof!["[ab]{1,2}", "[ab]{31,35}", "\u{10ffff}{31,34}"];
    let double = prop_oneof![-3.0..3.0_f64, Just(f64::NAN), Just(-f64::NAN), Just(f64::INFINITY), Just(-0.0)];
    (
        proptest::option::of(who),
        proptest::option::of(-3..3_i64),
        proptest::option::of(double),
        any::<Option<bool>>(),
        proptest::option::of(-3_000..3_000_i64),
    )
}

const CONDITIONS: &[&str] = &[
    "n = 1",
    "n <> 1",
    "n IS NULL",
    "n IS NOT NULL",
    "n > 1 OR who IS NULL",
    "n IN (1, 2)",
    "n NOT IN (1, 2)",
    "n IS DISTINCT FROM 1",
    "n + 1 = 2",
    "COALESCE(n, 0) = 0",
    "CASE WHEN n IS NULL THEN true ELSE n > 1 END",
    "NOT (n <= 1)",
    "n BETWEEN 0 AND 1 AND d > 0",
    "flag",
    "NOT flag",
    "flag = false",
    "flag IS NOT TRUE",
    "flag IS UNKNOWN",
    "d > 2.5",
    "d >= 'NaN'::double",
    "NOT (d <= 1.0)",
    "d = 0.0",
    "d < -2.5",
    "who = 'aa'",
    "who LIKE 'ab%'",
    "who NOT LIKE 'a%'",
    "who > repeat('b', 32)",
    "who >= repeat('a', 33)",
    "who < 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
    "at > TIMESTAMP '1970-01-01T00:00:00.000999'",
    "at <= TIMESTAMP '1970-01-01T00:00:00.001001'",
    "at = TIMESTAMP '1970-01-01T00:00:00.000123' OR at < TIMESTAMP '1969-12-31T23:59:59.998001'",
    "at IS NULL AND flag",
    "_rescued IS NULL",
    "_rescued IS NOT NULL",
];

/// As another writer has them: its own names, and NaN left out of the bounds.
async fn make_foreign(store: &Arc<dyn ObjectStore>, lake: &Lake) {
    let table = table(lake);
    let log = DeltaLog::new(Arc::clone(store), table.id().root());
    let head = log.load().await.unwrap().unwrap();
    let mut change = Change::new("OPTIMIZE", 1);
    for (number, file) in head.files().enumerate() {
        let (from, to) = (file.location(log.root()), format!("part-{number:05}.snappy.parquet"));
        store.copy_opts(&from, &log.root().clone().join(to.as_str()), Default::default()).await.unwrap();
        let mut add = file.add.clone();
        let mut stats: serde_json::Value = serde_json::from_str(add.stats.as_deref().unwrap()).unwrap();
        for bounds in ["minValues", "maxValues"] {
            stats[bounds].as_object_mut().unwrap().entry("d").or_insert(serde_json::json!(0.0));
        }
        (add.path, add.stats, add.data_change) = (to, Some(stats.to_string()), false);
        change.adds.push(add);
        change.removes.push(file.to_remove(1, false));
    }
    log.append(&head, change).await.unwrap();
    table.refresh().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn no_row_that_matches_is_missed(files in proptest::collection::vec(proptest::collection::vec(row(), 1..4), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
            let lake = open_specs(&store, vec![TableSpec::of(wide_contract())], LakeOptions::default()).await;
            let batches: Vec<RecordBatch> = files.iter().map(|rows| batch(rows)).collect();
            for (n, batch) in batches.iter().enumerate() {
                table(&lake).append(vec![batch.clone()], Vec::new(), [(txn_id("app"), n as i64)]).unwrap();
                table(&lake).flush().await.unwrap();
            }
            for foreign in [false, true] {
                if foreign {
                    make_foreign(&store, &lake).await;
                }
                let context = context(&lake).await;
                let all = MemTable::try_new(wide_contract().table_schema(), vec![batches.clone()]).unwrap();
                context.register_table("all_rows", Arc::new(all)).unwrap();
                for condition in CONDITIONS {
                    let (found, there) = (count(&context, "t", condition).await, count(&context, "all_rows", condition).await);
                    assert_eq!(found, there, "{condition} {foreign}");
                }
            }
        });
    }
}
