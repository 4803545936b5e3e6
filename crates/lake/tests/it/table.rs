//! Tables over the durable store: what is appended is seen, what is committed is found again, models see it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::context::SessionContext;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};
use vitalake_lake::delta::DeltaLog;
use vitalake_lake::{ChangeReader, DeliveredFiles, Increment, Lake, LakeOptions, Table, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;

pub fn contract() -> Arc<Contract> {
    let column = Column::new;
    Arc::new(Contract {
        columns: vec![column("who", ColumnType::String), column("n", ColumnType::Long)],
        source: Some(Source::Stream { topic: "readings".to_owned(), partitions: 1 }),
        ..Contract::new(DatasetName::new("readings").unwrap(), Layer::Raw)
    })
}

pub fn txn_id(text: &str) -> TxnId {
    TxnId::parse(text)
}

pub async fn open(store: &Arc<dyn ObjectStore>, options: LakeOptions) -> Lake {
    open_specs(store, vec![TableSpec::of(contract())], options).await
}

pub async fn open_specs(store: &Arc<dyn ObjectStore>, specs: Vec<TableSpec>, options: LakeOptions) -> Lake {
    Lake::open(Arc::clone(store), specs, options, Clock::system(), Cpu::with_workers(2).unwrap()).await.unwrap()
}

pub fn rows(from: i64, count: i64) -> RecordBatch {
    let n: Vec<i64> = (from..from + count).collect();
    let who: Vec<String> = n.iter().map(|i| format!("wearer number {i} of many")).collect();
    let same = |value: i64| vec![value; n.len()];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(&who)),
        Arc::new(Int64Array::from(n.clone())),
        Arc::new(StringViewArray::from(vec!["readings"; n.len()])),
        Arc::new(Int32Array::from(vec![0; n.len()])),
        Arc::new(Int64Array::from(n.clone())),
        Arc::new(TimestampMicrosecondArray::from(same(1)).with_timezone("UTC")),
        Arc::new(BinaryViewArray::new_null(n.len())),
        Arc::new(StringViewArray::new_null(n.len())),
        Arc::new(TimestampMicrosecondArray::from(same(2)).with_timezone("UTC")),
        Arc::new(StringViewArray::from(vec![None::<&str>; n.len()])),
    ];
    RecordBatch::try_new(contract().table_schema(), columns).unwrap()
}

pub fn reject(offset: i64) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryViewArray::from(vec![b"{".as_slice()])),
        Arc::new(StringViewArray::from(vec!["readings"])),
        Arc::new(Int32Array::from(vec![0])),
        Arc::new(Int64Array::from(vec![offset])),
        Arc::new(TimestampMicrosecondArray::new_null(1).with_timezone("UTC")),
        Arc::new(BinaryViewArray::new_null(1)),
        Arc::new(StringViewArray::new_null(1)),
        Arc::new(StringViewArray::from(vec!["json"])),
        Arc::new(StringViewArray::from(vec!["not JSON"])),
        Arc::new(TimestampMicrosecondArray::from(vec![3]).with_timezone("UTC")),
        Arc::new(StringViewArray::from(vec!["[]"])),
        Arc::new(Int32Array::from(vec![0])),
    ];
    RecordBatch::try_new(quarantine_schema(), columns).unwrap()
}

pub fn table(lake: &Lake) -> Arc<Table> {
    Arc::clone(lake.table(&DatasetName::new("readings").unwrap()).unwrap())
}

/// Count and sum by SQL over the value that is pinned now.
pub async fn counted(lake: &Lake, schema: &str) -> (i64, i64) {
    let context = SessionContext::new();
    vitalake_lake::provider::register_store(&context.runtime_env(), Arc::clone(lake.store()));
    context.register_table("t", lake.pin().provider(schema, "readings").unwrap()).unwrap();
    let sum = if schema == "raw" { "COALESCE(SUM(n), 0)" } else { "0" };
    let answer = context.sql(&format!("SELECT COUNT(*), {sum} FROM t")).await.unwrap().collect().await.unwrap();
    let value = |column: usize| answer[0].column(column).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
    (value(0), value(1))
}

async fn read_increment(table: &Table, increment: &Increment) -> i64 {
    let memory: usize = increment.rows.iter().map(RecordBatch::num_rows).sum();
    let mut count = i64::try_from(memory).unwrap();
    for file in &increment.files {
        count += table.read_file(file).await.unwrap().iter().map(|b| i64::try_from(b.num_rows()).unwrap()).sum::<i64>();
    }
    count
}

pub async fn drain(reader: &mut ChangeReader) -> (i64, Vec<i64>) {
    let (mut rows, mut versions) = (0, Vec::new());
    while let Some(increment) = reader.try_next() {
        rows += read_increment(&Arc::clone(reader.table()), &increment).await;
        if let Some(seal) = increment.seal {
            versions.extend(seal.version_now());
        }
    }
    (rows, versions)
}

#[tokio::test]
async fn what_is_appended_is_seen_at_once_and_found_again_after_a_commit() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = open(&store, LakeOptions::default()).await;
    table(&lake).append(vec![rows(0, 100)], vec![reject(100)], [(txn_id("app"), 100)]).unwrap();
    assert_eq!((counted(&lake, "raw").await, counted(&lake, "quarantine").await.0), ((100, 4950), 1));
    assert_eq!(
        open(&store, LakeOptions::default()).await.pin().tables().map(|t| t.head.rows().unwrap()).sum::<u64>(),
        0
    );
    assert!(table(&lake).flush().await.unwrap().is_some());
    assert_eq!((counted(&lake, "raw").await, counted(&lake, "quarantine").await.0), ((100, 4950), 1));
    let again = open(&store, LakeOptions::default()).await;
    assert_eq!((counted(&again, "raw").await, counted(&again, "quarantine").await.0), ((100, 4950), 1));
    assert_eq!(
        (table(&again).committed_txn(&txn_id("app")), table(&again).rejects_txn(&txn_id("app"))),
        (Some(100), Some(100))
    );
    assert_eq!(table(&again).flush().await.unwrap(), None);
}

#[tokio::test]
async fn a_quarantine_of_before_gains_the_columns_that_are_new() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let new: SchemaRef = quarantine_schema();
    let old = Arc::new(Schema::new(new.fields().iter().take(10).cloned().collect::<Vec<_>>()));
    let log = DeltaLog::new(Arc::clone(&store), Path::from("lake/quarantine/readings"));
    log.create("readings", &old, BTreeMap::new(), 1).await.unwrap();
    let lake = open(&store, LakeOptions::default()).await;
    table(&lake).append(vec![rows(0, 1)], vec![reject(1)], [(txn_id("app"), 1)]).unwrap();
    table(&lake).flush().await.unwrap();
    let head = log.load().await.unwrap().unwrap();
    let names: Vec<String> = head.schema().fields().iter().skip(10).map(|f| f.name().clone()).collect();
    assert_eq!((names.join(" "), counted(&lake, "quarantine").await.0), ("_rules _attempts".to_owned(), 1));
}

#[tokio::test]
async fn a_reader_sees_every_row_once_through_early_files_commits_and_a_restart() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = LakeOptions { tail_bytes_max: 40_000, file_bytes_in_memory: 10_000, ..LakeOptions::default() };
    let lake = open(&store, options.clone()).await;
    let table = table(&lake);
    let mut early = table.reader(None).await.unwrap();
    assert_eq!(drain(&mut early).await, (0, vec![0]));
    let mut late = table.reader(Some(0)).await.unwrap();
    let mut seen = 0;
    for n in 0..50_i64 {
        table.append(vec![rows(n * 20, 20)], Vec::new(), [(txn_id("app"), n * 20 + 19)]).unwrap();
        if n % 3 == 0 {
            seen += drain(&mut early).await.0;
        }
        if n % 7 == 0 {
            table.write_early().await.unwrap();
        }
        if n % 11 == 0 {
            table.flush().await.unwrap();
        }
        assert_eq!(counted(&lake, "raw").await.0, (n + 1) * 20);
    }
    table.flush().await.unwrap();
    seen += drain(&mut early).await.0;
    assert_eq!((seen, drain(&mut late).await.0), (1000, 1000));
    let again = open(&store, options).await;
    assert_eq!(counted(&again, "raw").await, (1000, 499_500));
    let mut restarted = self::table(&again).reader(Some(2)).await.unwrap();
    let before: u64 = 12 * 20; // Versions 1 and 2 held the appends 0 and 1 to 11.
    assert_eq!(drain(&mut restarted).await.0, 1000 - i64::try_from(before).unwrap());
}

#[tokio::test]
async fn a_delivery_is_visible_whole_with_its_commit_and_models_meet_it_in_order() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = open(&store, LakeOptions::default()).await;
    let table = table(&lake);
    let mut reader = table.reader(Some(0)).await.unwrap();
    table.append(vec![rows(0, 10)], Vec::new(), [(txn_id("app"), 9)]).unwrap();
    let delivered = table.write_rows(vec![rows(10, 5)]).await.unwrap();
    assert_eq!(counted(&lake, "raw").await.0, 10);
    table
        .deliver(DeliveredFiles { rows: delivered, txns: vec![(txn_id("feed"), 1)], ..DeliveredFiles::default() })
        .await
        .unwrap();
    table.append(vec![rows(15, 1)], Vec::new(), [(txn_id("app"), 15)]).unwrap();
    assert_eq!(counted(&lake, "raw").await, (16, 120));
    let (count, versions) = drain(&mut reader).await;
    assert_eq!((count, versions), (16, vec![1]));
    assert_eq!((table.committed_txn(&txn_id("feed")), table.committed_txn(&txn_id("app"))), (Some(1), Some(9)));
}

#[tokio::test]
async fn a_partition_that_stands_still_does_not_hold_up_the_others_commits() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = open(&store, LakeOptions::default()).await;
    let table = table(&lake);
    let versions = |a: i64, b: i64| [(txn_id("a"), a), (txn_id("b"), b)];
    table.append(vec![rows(0, 1)], vec![reject(1)], versions(1, 1)).unwrap();
    table.flush().await.unwrap();
    table.append(vec![rows(1, 1)], vec![reject(2)], versions(1, 2)).unwrap();
    table.flush().await.unwrap();
    table.append(vec![rows(2, 1)], Vec::new(), versions(1, 3)).unwrap();
    table.flush().await.unwrap();
    assert_eq!((table.committed_txn(&txn_id("a")), table.committed_txn(&txn_id("b"))), (Some(1), Some(3)));
    assert_eq!((counted(&lake, "raw").await.0, counted(&lake, "quarantine").await.0), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_partition_another_has_brought_forward_gives_way() {
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let (one, other) = (open(&store, LakeOptions::default()).await, open(&store, LakeOptions::default()).await);
    let txn = |partition: &str, version| [(txn_id(partition), version)];
    table(&one).append(vec![rows(0, 10)], vec![], txn("t/0", 9)).unwrap();
    table(&one).append(vec![rows(0, 10)], vec![], txn("t/1", 9)).unwrap();
    table(&one).flush().await.unwrap();
    table(&other).refresh().await.unwrap();
    table(&other).append(vec![rows(10, 10)], vec![], txn("t/1", 19)).unwrap();
    table(&other).flush().await.unwrap();
    // Its own partition alone: the commit is right, and shows that the other partition is no longer its own.
    table(&one).append(vec![rows(10, 10)], vec![], txn("t/0", 19)).unwrap();
    table(&one).flush().await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(5), one.lease_lost()).await.unwrap();
    table(&one).append(vec![rows(10, 20)], vec![], txn("t/1", 29)).unwrap();
    assert!(table(&one).flush().await.is_err());
    let fresh = open(&store, LakeOptions::default()).await;
    assert_eq!(counted(&fresh, "raw").await.0, 40);
}
