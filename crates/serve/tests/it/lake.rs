//! Sessions over a real lake: the newest row, its commit, and one value for all queries of a session.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use object_store::memory::InMemory;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Delivery, Layer, Sla, Source};
use vitalake_lake::{Lake, LakeOptions, TableSpec};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_serve::engine::{Engine, Limits};
use vitalake_serve::session::{Identity, Policy, QueryOptions, Session};

fn contract() -> Arc<Contract> {
    Arc::new(Contract {
        dataset: DatasetName::new("readings").unwrap(),
        layer: Layer::Raw,
        id: "1".to_owned(),
        version: "1.0.0".to_owned(),
        columns: vec![Column {
            name: "n".into(),
            kind: ColumnType::Long,
            required: false,
            path: vec!["n".to_owned()],
            classification: None,
            description: None,
        }],
        primary_key: vec![],
        row_rules: vec![],
        set_rules: vec![],
        sla: Sla::default(),
        source: Some(Source::Stream { topic: "readings".to_owned(), partitions: 1 }),
        delivery: Delivery::Append,
        dedup_horizon: Duration::from_secs(86_400),
        gate_window: None,
    })
}

fn rows(from: i64, count: i64) -> RecordBatch {
    let numbers: Vec<i64> = (from..from + count).collect();
    let time = || Arc::new(TimestampMicrosecondArray::from(vec![1; numbers.len()]).with_timezone("UTC")) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers.clone())),
        Arc::new(StringViewArray::from(vec!["readings"; numbers.len()])),
        Arc::new(Int32Array::from(vec![0; numbers.len()])),
        Arc::new(Int64Array::from(numbers.clone())),
        time(),
        time(),
        Arc::new(StringViewArray::from(vec![None::<&str>; numbers.len()])),
    ];
    RecordBatch::try_new(contract().table_schema(), columns).unwrap()
}

async fn count(session: &Session) -> (i64, i64) {
    let sql = "SELECT COUNT(*), SUM(n) FROM raw.readings WHERE _topic = 'readings'".to_owned();
    let mut answer = session.query(sql, vec![], QueryOptions::default()).await.unwrap();
    let batch = answer.next().await.unwrap().unwrap();
    let value = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
    (value(0), value(1))
}

#[tokio::test]
async fn a_session_sees_the_newest_row_and_stays_with_the_value_it_pinned() {
    let cpu = Cpu::with_workers(2).unwrap();
    let specs = vec![TableSpec::of(contract())];
    let lake = Lake::open(Arc::new(InMemory::new()), specs, LakeOptions::default(), Clock::system(), cpu.clone())
        .await
        .unwrap();
    let engine = Arc::new(Engine::over(&lake, Limits::default(), cpu.handle().clone()).unwrap());
    let session = || Session::new(Arc::clone(&engine), Identity::local(), Policy::allow_all(), lake.pin());
    let table = Arc::clone(lake.table(&DatasetName::new("readings").unwrap()).unwrap());

    table.append(vec![rows(0, 100)], vec![], [("app".to_owned(), 99)]).unwrap();
    let first = session();
    assert_eq!(count(&first).await, (100, 4950));
    table.flush().await.unwrap();
    table.append(vec![rows(100, 1)], vec![], [("app".to_owned(), 100)]).unwrap();
    assert_eq!(count(&first).await, (100, 4950));
    assert_eq!(count(&session()).await, (101, 5050));
}
