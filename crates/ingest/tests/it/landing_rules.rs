//! Rules of a raw contract at landing: what each severity does, what is counted, and what a record brings with it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, new_null_array};
use tokio::sync::watch;
use vitalake_contract::Contract;
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_ingest::headers::Header;
use vitalake_ingest::landing::{Landing, LandingSpec, RuleCount, Stop, TopicLanding, transaction_id};
use vitalake_ingest::log::{BatchBuilder, CheckedBatch, TopicId, TopicPartition};
use vitalake_ingest::source::{FetchedRecord, Item, RecordSource, SourceError};
use vitalake_lake::store::DiskStore;
use vitalake_lake::{Lake, LakeOptions, Space, TableId, TableSpec};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{CrashDisk, LocalDisk};
use vitalake_runtime::events::{Event, Events};

use crate::landing::{TOPIC, contract, landing, offsets, open};
use crate::support::{self, options};

/// One record after the other of one partition, one a read, as a broker's client hands them over.
#[derive(Debug)]
struct OneByOne(Vec<&'static str>);

impl RecordSource for OneByOne {
    fn start_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(0)
    }

    fn end_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.0.len() as i64)
    }

    fn watch(&self, _: TopicId) -> Option<watch::Receiver<u64>> {
        None
    }

    fn read(&self, _: TopicPartition, from: i64, _: usize, sink: &mut dyn FnMut(Item<'_>)) -> Result<i64, SourceError> {
        let headers = [Header { key: Some(b"n"), value: Some(b"\xff") }];
        let value = Some(self.0[from as usize].as_bytes());
        sink(Item::Record(FetchedRecord {
            offset: from,
            timestamp_ms: None,
            key: Some(b"k"),
            value,
            headers: &headers,
        }));
        Ok(from + 1)
    }

    fn committed(&self, _: TopicId, _: &[(i32, i64)]) -> Result<(), SourceError> {
        Ok(())
    }
}

/// `who` is required; `n` below 10 is a warning and below 0 as said.
fn ruled(below_zero: Severity) -> Arc<Contract> {
    let mut contract = Contract::clone(&contract(0));
    let minimum = |name: &str, bound, severity| RowRule {
        name: name.to_owned(),
        column: Some(1),
        check: Check::Minimum(Bound::Whole(bound)),
        severity,
    };
    contract.row_rules.push(minimum("n.small", 10, Severity::Warning));
    contract.row_rules.push(minimum("n.negative", 0, below_zero));
    Arc::new(contract)
}

const RECORDS: &[&str] =
    &[r#"{"who":"a","n":1}"#, "broken", r#"{"n":20}"#, r#"{"who":"b","n":-1}"#, r#"{"who":"c","n":30}"#];

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_breaks_a_fatal_rule_stops_its_partition_until_the_contract_is_another() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let stop = Stop { partition: 0, offset: 3, rule: "n.negative".to_owned() };
    // It stays so however often the process begins anew.
    for round in 0..2 {
        let (lake, table) = open(folder.path(), ruled(Severity::Fatal), &cpu).await;
        let landing = landing(Arc::new(OneByOne(RECORDS.to_vec())), &table, &cpu);
        landing.take_partitions([0]).await.unwrap();
        assert!(!landing.is_drained());
        for _ in 0..RECORDS.len() + 1 {
            landing.step().await.unwrap();
        }
        assert_eq!(landing.stops(), std::slice::from_ref(&stop), "round {round}");
        assert!(stop.sentence("readings").contains("offset 3: the record there breaks the fatal rule n.negative"));
        assert_eq!((landing.is_caught_up(), landing.lag_records()), (false, 2), "the loop looks whether it is");
        assert!(landing.is_drained(), "a stop does not wait for what cannot land");
        landing.flush().await.unwrap();
        assert_eq!(table.committed_txn(&transaction_id(TOPIC, 0)), Some(2));
        assert_eq!(offsets(&lake, &table, Space::Raw).await, [0]);
        assert_eq!(offsets(&lake, &table, Space::Quarantine).await, [1, 2], "what came before it has landed");
    }
    let (lake, table) = open(folder.path(), ruled(Severity::Error), &cpu).await;
    let landing = landing(Arc::new(OneByOne(RECORDS.to_vec())), &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    for _ in 0..2 {
        landing.step().await.unwrap();
    }
    assert_eq!(landing.stops(), []);
    assert_eq!(offsets(&lake, &table, Space::Raw).await, [0, 4]);
    assert_eq!(offsets(&lake, &table, Space::Quarantine).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rules_are_counted_by_rule_whatever_their_severity() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (_lake, table) = open(folder.path(), ruled(Severity::Fatal), &cpu).await;
    let landing = landing(Arc::new(OneByOne(RECORDS.to_vec())), &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    for _ in 0..RECORDS.len() {
        landing.step().await.unwrap();
    }
    let count = |rule: &str, severity| RuleCount { rule: rule.to_owned(), severity, records: 1 };
    assert_eq!(
        landing.counters().broken_rules(),
        [
            count("required", Severity::Error),
            count("n.small", Severity::Warning),
            count("n.negative", Severity::Fatal),
            count("json", Severity::Error)
        ]
    );
}

async fn batches(lake: &Lake, table: &vitalake_lake::Table, space: Space) -> Vec<RecordBatch> {
    let view = Arc::clone(lake.pin().table(&TableId::new(space, table.contract().dataset.clone())).unwrap());
    let mut batches = view.tail.rows.clone();
    for file in view.head.files() {
        let read = if space == Space::Raw { table.read_file(file).await } else { table.read_rejects(file).await };
        batches.extend(read.unwrap());
    }
    batches
}

/// Offset, key and headers of what a space holds, by offset.
async fn envelopes(
    lake: &Lake,
    table: &vitalake_lake::Table,
    space: Space,
) -> Vec<(i64, Option<Vec<u8>>, Option<String>)> {
    let mut found = Vec::new();
    for batch in batches(lake, table, space).await {
        let column = |name: &str| Arc::clone(batch.column_by_name(name).unwrap());
        let (offsets, keys, headers) = (column("_offset"), column("_key"), column("_headers"));
        let offsets = offsets.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        let keys = keys.as_binary_view().iter().map(|key| key.map(<[u8]>::to_vec)).collect::<Vec<_>>();
        let headers = headers.as_string_view().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>();
        found.extend(offsets.into_iter().zip(keys).zip(headers).map(|((offset, key), headers)| (offset, key, headers)));
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn key_and_headers_come_through_the_log_the_tail_and_a_commit_as_they_were() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (lake, table) = open(folder.path(), contract(0), &cpu).await;
    let (log, _) = support::open(&CrashDisk::new(3), options());
    let topic = log.ensure_topic("readings", 1).unwrap();
    let mut builder = BatchBuilder::new();
    let good = Some(br#"{"who":"a"}"#.as_slice());
    builder.push_with(5, Some(b"\xff\0key"), good, &[(b"tenant", Some(b"north")), (b"tenant", None)]);
    builder.push_with(6, None, good, &[]);
    builder.push_with(7, Some(b""), Some(b"broken"), &[(b"trace", Some(b"\xff"))]);
    builder.push_with(8, Some(b"gone"), None, &[]);
    log.append(TopicPartition::new(topic, 0), CheckedBatch::new(builder.build(None)).unwrap()).await.unwrap();
    let landing = vitalake_ingest::landing::TopicLanding::new(vitalake_ingest::landing::LandingSpec {
        source: log,
        table: Arc::clone(&table),
        sql: None,
        topic: "readings".to_owned(),
        topic_id: topic,
        landing: vitalake_ingest::landing::Landing::Owner,
        cpu: cpu.clone(),
        clock: vitalake_runtime::clock::Clock::manual(support::NOW_MS),
    });
    landing.take_partitions([0]).await.unwrap();
    assert_eq!(landing.step().await.unwrap(), 4);
    let headers = |text: &str| Some(text.to_owned());
    for _ in 0..2 {
        assert_eq!(
            envelopes(&lake, &table, Space::Raw).await,
            [
                (
                    0,
                    Some(b"\xff\0key".to_vec()),
                    headers(r#"[{"key":"tenant","value":"north"},{"key":"tenant","value":null}]"#)
                ),
                (1, None, None)
            ]
        );
        assert_eq!(
            envelopes(&lake, &table, Space::Quarantine).await,
            [
                (2, Some(vec![]), headers(r#"[{"key":"trace","value_base64":"/w=="}]"#)),
                (3, Some(b"gone".to_vec()), None)
            ]
        );
        landing.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_from_before_there_were_keys_gets_the_columns_and_keeps_its_rows() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let contract = contract(0);
    let now = contract.table_schema();
    let before: Vec<_> =
        now.fields().iter().filter(|field| !["_key", "_headers"].contains(&field.name().as_str())).cloned().collect();
    let before = Arc::new(arrow::datatypes::Schema::new(before));
    {
        let spec = TableSpec { schema: Arc::clone(&before), ..TableSpec::of(Arc::clone(&contract)) };
        let store = Arc::new(DiskStore::new(LocalDisk::shared(), folder.path()));
        let lake = Lake::open(store, vec![spec], LakeOptions::default(), Clock::system(), cpu.clone()).await.unwrap();
        let table = Arc::clone(lake.table(&contract.dataset).unwrap());
        let columns = before.fields().iter().map(|field| match field.name().as_str() {
            "_offset" => Arc::new(Int64Array::from(vec![0])) as ArrayRef,
            "_partition" => Arc::new(Int32Array::from(vec![0])) as ArrayRef,
            _ => new_null_array(field.data_type(), 1),
        });
        let row = RecordBatch::try_new(Arc::clone(&before), columns.collect()).unwrap();
        table.append(vec![row], vec![], [(transaction_id(TOPIC, 0), 0)]).unwrap();
        table.flush().await.unwrap();
    }
    let (lake, table) = open(folder.path(), contract, &cpu).await;
    let landing = landing(Arc::new(OneByOne(vec!["", r#"{"who":"a"}"#])), &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    assert_eq!(landing.step().await.unwrap(), 1);
    landing.flush().await.unwrap();
    let headers = Some(r#"[{"key":"n","value_base64":"/w=="}]"#.to_owned());
    assert_eq!(envelopes(&lake, &table, Space::Raw).await, [(0, None, None), (1, Some(b"k".to_vec()), headers)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_could_not_be_read_are_told_by_column_with_the_commit() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (events, mut told) = Events::channel();
    let store = Arc::new(DiskStore::new(LocalDisk::shared(), folder.path()));
    let lake_options = LakeOptions { events, ..LakeOptions::default() };
    let specs = vec![TableSpec::of(contract(0))];
    let lake = Lake::open(store, specs, lake_options, Clock::manual(support::NOW_MS), cpu.clone()).await.unwrap();
    let table = Arc::clone(lake.tables().next().unwrap());
    let (log, _) = support::open(&CrashDisk::new(3), options());
    let topic = log.ensure_topic("readings", 1).unwrap();
    let source: Arc<dyn RecordSource> = log.clone();
    let landing = TopicLanding::new(LandingSpec {
        source,
        table: Arc::clone(&table),
        sql: None,
        topic: "readings".to_owned(),
        topic_id: topic,
        landing: Landing::Owner,
        cpu: cpu.clone(),
        clock: Clock::manual(support::NOW_MS),
    });
    landing.take_partitions([0]).await.unwrap();
    for (records, unread) in [
        (vec![r#"{"who":"a","n":"x"}"#, r#"{"who":5,"n":"x"}"#, r#"{"who":"a","n":"y"}"#], Some(2.0)),
        (vec![r#"{"who":"b","n":1}"#], None),
    ] {
        let mut builder = BatchBuilder::new();
        for record in records {
            builder.push_with(5, None, Some(record.as_bytes()), &[]);
        }
        log.append(TopicPartition::new(topic, 0), CheckedBatch::new(builder.build(None)).unwrap()).await.unwrap();
        landing.step().await.unwrap();
        let version = landing.flush().await.unwrap().unwrap();
        let mut found = None;
        while let Ok(event) = told.try_recv() {
            if let Event::Measured { rule, scope, got, .. } = event
                && rule.ends_with(".unread")
            {
                assert_eq!((&*rule, &*scope), ("n.unread", format!("commit {version}").as_str()));
                found = got;
            }
        }
        assert_eq!(found, unread);
    }
}
