//! Sessions over a real lake: the newest row, its commit, and one value for all queries of a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use object_store::memory::InMemory;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};
use vitalake_lake::{Lake, LakeOptions, TableSpec};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::Events;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::error::QueryError;
use vitalake_serve::identity::Identity;
use vitalake_serve::pinned::{Pinned, PinnedLake};
use vitalake_serve::platform::Datasets;
use vitalake_serve::session::{QueryOptions, Session, Sessions};

fn contract() -> Arc<Contract> {
    Arc::new(Contract {
        columns: vec![Column::new("n", ColumnType::Long)],
        source: Some(Source::Stream { topic: "readings".to_owned(), partitions: 1 }),
        ..Contract::new(DatasetName::new("readings").unwrap(), Layer::Raw)
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
        Arc::new(BinaryViewArray::new_null(numbers.len())),
        Arc::new(StringViewArray::new_null(numbers.len())),
        time(),
        Arc::new(StringViewArray::from(vec![None::<&str>; numbers.len()])),
    ];
    RecordBatch::try_new(contract().table_schema(), columns).unwrap()
}

struct Live {
    lake: Lake,
    recovering: BTreeMap<String, String>,
}

impl Datasets for Live {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        Ok(Arc::new(PinnedLake::of(&self.lake, Arc::new(self.recovering.clone()))))
    }
}

fn sessions(lake: Lake, recovering: BTreeMap<String, String>, cpu: &Cpu) -> (Arc<Live>, Sessions) {
    let engine = Arc::new(QueryEngine::new(QueryLimits::default(), cpu.handle().clone()).unwrap());
    let live = Arc::new(Live { lake, recovering });
    let sessions = Sessions::new(engine, Arc::clone(&live) as _, Arc::new(DruidSql), Events::unread());
    (live, sessions)
}

async fn open(cpu: &Cpu) -> Lake {
    let (store, specs) = (Arc::new(InMemory::new()), vec![TableSpec::of(contract())]);
    Lake::open(store, specs, LakeOptions::default(), Clock::system(), cpu.clone()).await.unwrap()
}

async fn count(session: &Session) -> (i64, i64) {
    let sql = "SELECT COUNT(*), SUM(n) FROM raw.readings WHERE _topic = 'readings'".to_owned();
    let mut answer = session.query(sql, vec![], QueryOptions::default()).await.unwrap();
    let batch = answer.next().await.unwrap().unwrap();
    let value = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
    (value(0), value(1))
}

#[tokio::test]
async fn every_table_has_a_time_that_is_stored_nowhere() {
    let cpu = Cpu::with_workers(2).unwrap();
    let lake = Lake::open(
        Arc::new(InMemory::new()),
        vec![TableSpec::of(contract())],
        LakeOptions::default(),
        Clock::system(),
        cpu.clone(),
    )
    .await
    .unwrap();
    let pinned = PinnedLake::of(&lake, Arc::default());
    let shown = vitalake_serve::druid::time_column::table(&pinned, "raw", "readings").unwrap().unwrap();
    assert_eq!(shown.schema().field(0).name(), "__time");
    assert_eq!(shown.schema().fields().len(), contract().table_schema().fields().len() + 1);
}

#[tokio::test]
async fn the_time_of_rows_without_a_required_timestamp_is_never_null() {
    let cpu = Cpu::with_workers(2).unwrap();
    let delivered = Contract { source: Some(Source::Feed), ..(*contract()).clone() };
    for (contract, schema, named) in [
        (contract(), "raw", "_timestamp"),
        (Arc::new(delivered), "raw", "_ingested_at"),
        (contract(), "quarantine", "_quarantined_at"),
    ] {
        let specs = vec![TableSpec::of(contract)];
        let lake = Lake::open(Arc::new(InMemory::new()), specs, LakeOptions::default(), Clock::system(), cpu.clone());
        let pinned = PinnedLake::of(&lake.await.unwrap(), Arc::default());
        let shown = vitalake_serve::druid::time_column::table(&pinned, schema, "readings").unwrap().unwrap();
        let plan = shown.get_logical_plan().unwrap().display_indent().to_string();
        assert!(plan.contains(&format!(".{named} AS __time")), "{named}: {plan}");
    }
}

#[tokio::test]
async fn a_session_sees_the_newest_row_and_stays_with_the_value_it_pinned() {
    let cpu = Cpu::with_workers(2).unwrap();
    let (live, sessions) = sessions(open(&cpu).await, BTreeMap::new(), &cpu);
    let session = || sessions.open(Identity::local()).unwrap();
    let table = Arc::clone(live.lake.table(&DatasetName::new("readings").unwrap()).unwrap());

    table.append(vec![rows(0, 100)], vec![], [(vitalake_lake::TxnId::parse("app"), 99)]).unwrap();
    let first = session();
    assert_eq!(count(&first).await, (100, 4950));
    table.flush().await.unwrap();
    table.append(vec![rows(100, 1)], vec![], [(vitalake_lake::TxnId::parse("app"), 100)]).unwrap();
    assert_eq!(count(&first).await, (100, 4950));
    assert_eq!(count(&session()).await, (101, 5050));
}

#[tokio::test]
async fn a_table_that_is_still_recovered_is_refused_and_the_others_are_answered() {
    let cpu = Cpu::with_workers(2).unwrap();
    let waits = BTreeMap::from([("readings".to_owned(), "readings: 5 records to take up".to_owned())]);
    let (_, sessions) = sessions(open(&cpu).await, waits, &cpu);
    let session = sessions.open(Identity::local()).unwrap();
    for sql in ["SELECT * FROM raw.readings", "SELECT COUNT(*) FROM quarantine.readings", "SELECT 1 FROM raw.readings"]
    {
        let refused = session.query(sql.to_owned(), vec![], QueryOptions::default()).await.err();
        assert_eq!(refused, Some(QueryError::NotReady(vec!["readings: 5 records to take up".to_owned()])), "{sql}");
    }
    for sql in ["SELECT 1", "SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES"] {
        let mut answer = session.query(sql.to_owned(), vec![], QueryOptions::default()).await.unwrap();
        assert!(answer.next().await.unwrap().is_some(), "{sql}");
    }
}
