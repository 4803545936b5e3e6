//! Landing over a source and a lake in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::contract::{Column, ColumnType};
use vitalake_contract::rule::{Check, RowRule, Severity};
use vitalake_contract::{Contract, DatasetName, Layer, Source as Origin};
use vitalake_ingest::landing::{Landing, LandingSpec, TopicLanding, transaction_id};
use vitalake_ingest::log::{TopicId, TopicPartition};
use vitalake_ingest::source::{FetchedRecord, Item, RecordSource, SourceError, TopicCheck};
use vitalake_lake::delta::{Change, DeltaLog};
use vitalake_lake::store::DiskStore;
use vitalake_lake::{Lake, LakeOptions, Space, Table, TableId, TableSpec};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::LocalDisk;

pub const TOPIC: TopicId = TopicId(uuid::Uuid::from_u128(7));

/// Records of one partition, all there from the beginning.
#[derive(Debug)]
struct Fixed(Vec<&'static str>, watch::Sender<u64>);

impl RecordSource for Fixed {
    fn start_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(0)
    }

    fn end_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.0.len() as i64)
    }

    fn watch(&self, _: TopicId) -> Option<watch::Receiver<u64>> {
        Some(self.1.subscribe())
    }

    fn read(&self, _: TopicPartition, from: i64, _: usize, sink: &mut dyn FnMut(Item<'_>)) -> Result<i64, SourceError> {
        for (offset, value) in self.0.iter().enumerate().skip(from as usize) {
            let value = Some(value.as_bytes());
            sink(Item::Record(FetchedRecord {
                offset: offset as i64,
                timestamp_ms: Some(1),
                key: None,
                value,
                headers: &[],
            }));
        }
        Ok(self.0.len() as i64)
    }

    fn committed(&self, _: TopicId, _: &[(i32, i64)]) -> Result<(), SourceError> {
        Ok(())
    }
}

/// `who` and `n`, of which one is required.
pub fn contract(required: usize) -> Arc<Contract> {
    let column = |at: usize, name: &str, kind| Column { required: at == required, ..Column::new(name, kind) };
    let rule = RowRule {
        name: "required".to_owned(),
        column: Some(required),
        check: Check::Required,
        severity: Severity::Error,
    };
    Arc::new(Contract {
        columns: vec![column(0, "who", ColumnType::String), column(1, "n", ColumnType::Long)],
        row_rules: vec![rule],
        source: Some(Origin::Stream { topic: "readings".to_owned(), partitions: 1 }),
        ..Contract::new(DatasetName::new("readings").unwrap(), Layer::Raw)
    })
}

pub async fn open(folder: &std::path::Path, contract: Arc<Contract>, cpu: &Cpu) -> (Lake, Arc<Table>) {
    let store = Arc::new(DiskStore::new(LocalDisk::shared(), folder));
    let lake =
        Lake::open(store, vec![TableSpec::of(contract)], LakeOptions::default(), Clock::system(), cpu.clone()).await;
    let lake = lake.unwrap();
    let table = Arc::clone(lake.table(&DatasetName::new("readings").unwrap()).unwrap());
    (lake, table)
}

pub fn landing(source: Arc<dyn RecordSource>, table: &Arc<Table>, cpu: &Cpu) -> TopicLanding {
    TopicLanding::new(LandingSpec {
        source,
        table: Arc::clone(table),
        sql: None,
        topic: "readings".to_owned(),
        topic_id: TOPIC,
        landing: Landing::Owner,
        cpu: cpu.clone(),
        clock: Clock::manual(1_760_000_000_000),
    })
}

fn reject(offset: i64) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryViewArray::from(vec![b"{}".as_slice()])),
        Arc::new(StringViewArray::from(vec!["readings"])),
        Arc::new(Int32Array::from(vec![0])),
        Arc::new(Int64Array::from(vec![offset])),
        Arc::new(TimestampMicrosecondArray::new_null(1).with_timezone("UTC")),
        Arc::new(BinaryViewArray::new_null(1)),
        Arc::new(StringViewArray::new_null(1)),
        Arc::new(StringViewArray::from(vec!["required"])),
        Arc::new(StringViewArray::from(vec!["n is required"])),
        Arc::new(TimestampMicrosecondArray::from(vec![3]).with_timezone("UTC")),
        Arc::new(StringViewArray::from(vec!["[]"])),
        Arc::new(Int32Array::from(vec![0])),
    ];
    RecordBatch::try_new(quarantine_schema(), columns).unwrap()
}

/// Offsets in a space of the lake, head files and tail.
pub async fn offsets(lake: &Lake, table: &Table, space: Space) -> Vec<i64> {
    let view = Arc::clone(lake.pin().table(&TableId::new(space, DatasetName::new("readings").unwrap())).unwrap());
    let mut batches = view.tail.rows.clone();
    for file in view.head.files() {
        let read = if space == Space::Raw { table.read_file(file).await } else { table.read_rejects(file).await };
        batches.extend(read.unwrap());
    }
    let of =
        |batch: &RecordBatch| batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values().to_vec();
    let mut offsets: Vec<i64> = batches.iter().flat_map(of).collect();
    offsets.sort_unstable();
    offsets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_changed_after_a_crash_between_the_two_commits_loses_and_doubles_nothing() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    // Under the old contract `n` was required. Its reject, offset 1, was committed to quarantine; then came the crash.
    let (_lake, table) = open(folder.path(), contract(1), &cpu).await;
    let files = table.write_rejects(vec![reject(1)]).await.unwrap();
    let id = TableId::new(Space::Quarantine, DatasetName::new("readings").unwrap());
    let store = Arc::new(DiskStore::new(LocalDisk::shared(), folder.path()));
    let log = DeltaLog::new(store, id.root());
    let head = log.load().await.unwrap().unwrap();
    let mut change = Change::new("WRITE", 1).with_txn(transaction_id(TOPIC, 0), 2);
    change.adds = files.iter().map(|file| file.add.clone()).collect();
    log.append(&head, change).await.unwrap();
    // Under the new one `who` is: offset 1 would pass, and offset 2, which had passed, breaks the rule.
    let (lake, table) = open(folder.path(), contract(0), &cpu).await;
    let records = vec![r#"{"who":"a","n":1}"#, r#"{"who":"b"}"#, r#"{"n":3}"#, r#"{"who":"d","n":4}"#];
    let source: Arc<dyn RecordSource> = Arc::new(Fixed(records, watch::channel(0).0));
    let landing = landing(source, &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    assert_eq!(landing.step().await.unwrap(), 4);
    assert_eq!(offsets(&lake, &table, Space::Raw).await, [0, 3]);
    assert_eq!(offsets(&lake, &table, Space::Quarantine).await, [1, 2]);
    landing.flush().await.unwrap();
    assert_eq!(offsets(&lake, &table, Space::Raw).await, [0, 3]);
    assert_eq!(offsets(&lake, &table, Space::Quarantine).await, [1, 2]);
}

/// A topic that grows, and is another when it is told to be.
#[derive(Debug, Default)]
struct Growing {
    first: i64,
    records: AtomicUsize,
    is_another: AtomicBool,
    asked: Notify,
    answer: Notify,
    /// Refuses to be told of offsets.
    is_away: AtomicBool,
    told: Mutex<Vec<(i32, i64)>>,
}

impl RecordSource for Growing {
    fn start_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.first)
    }

    fn end_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.records.load(Ordering::Acquire) as i64)
    }

    fn watch(&self, _: TopicId) -> Option<watch::Receiver<u64>> {
        None
    }

    fn read(&self, _: TopicPartition, from: i64, _: usize, sink: &mut dyn FnMut(Item<'_>)) -> Result<i64, SourceError> {
        let end = self.records.load(Ordering::Acquire) as i64;
        for offset in from..end {
            let value = Some(br#"{"who":"a","n":1}"#.as_slice());
            sink(Item::Record(FetchedRecord { offset, timestamp_ms: Some(1), key: None, value, headers: &[] }));
        }
        Ok(end)
    }

    fn check_topic(&self, _: TopicId) -> BoxFuture<'_, TopicCheck> {
        Box::pin(async {
            self.asked.notify_one();
            self.answer.notified().await;
            if self.is_another.load(Ordering::Acquire) { TopicCheck::Replaced } else { TopicCheck::Same }
        })
    }

    fn committed(&self, _: TopicId, last_offsets: &[(i32, i64)]) -> Result<(), SourceError> {
        if self.is_away.load(Ordering::Acquire) {
            return Err(SourceError::Broker { topic: "readings".to_owned(), partition: 0, reason: "away".to_owned() });
        }
        self.told.lock().extend(last_offsets);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_that_was_read_after_the_topic_was_last_seen_under_its_id() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (lake, table) = open(folder.path(), contract(0), &cpu).await;
    let topic = Arc::new(Growing::default());
    let source = Arc::clone(&topic) as Arc<dyn RecordSource>;
    let landing = landing(source, &table, &cpu);
    landing.ask_before_commits();
    landing.take_partitions([0]).await.unwrap();
    let committed = || table.committed_txn(&transaction_id(TOPIC, 0));
    topic.records.store(2, Ordering::Release);
    landing.step().await.unwrap();
    // While the broker is asked a record comes: the answer does not hold for it.
    let meanwhile = async {
        topic.asked.notified().await;
        topic.records.store(3, Ordering::Release);
        landing.step().await.unwrap();
        topic.answer.notify_one();
    };
    let (flushed, ()) = tokio::join!(landing.flush(), meanwhile);
    flushed.unwrap();
    assert_eq!(committed(), Some(1));
    assert_eq!(offsets(&lake, &table, Space::Raw).await, [0, 1, 2]);
    topic.is_another.store(true, Ordering::Release);
    topic.answer.notify_one();
    landing.flush().await.unwrap_err();
    assert_eq!(committed(), Some(1));
    // Nor later: what was read may be the other topic's.
    topic.is_another.store(false, Ordering::Release);
    landing.flush().await.unwrap_err();
    assert_eq!(committed(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_commit_begins_at_the_earliest_offset_and_nothing_of_it_is_missed() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (lake, table) = open(folder.path(), contract(0), &cpu).await;
    let source = Arc::new(Growing { first: 5, records: AtomicUsize::new(8), ..Growing::default() });
    let landing = landing(source, &table, &cpu);
    assert_eq!(landing.take_partitions([0]).await.unwrap(), [(0, 5)]);
    landing.step().await.unwrap();
    landing.flush().await.unwrap();
    assert_eq!(offsets(&lake, &table, Space::Raw).await, [5, 6, 7]);
    assert_eq!(offsets(&lake, &table, Space::Quarantine).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_could_not_be_told_is_told_with_the_next_flush_and_of_what_is_given_up() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (_lake, table) = open(folder.path(), contract(0), &cpu).await;
    let topic = Arc::new(Growing { records: AtomicUsize::new(2), ..Growing::default() });
    let landing = landing(Arc::clone(&topic) as Arc<dyn RecordSource>, &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    topic.is_away.store(true, Ordering::Release);
    landing.step().await.unwrap();
    landing.flush().await.unwrap_err();
    assert_eq!(table.committed_txn(&transaction_id(TOPIC, 0)), Some(1));
    landing.flush().await.unwrap_err();
    topic.is_away.store(false, Ordering::Release);
    // Nothing has come since; what is known is not said again.
    for _ in 0..2 {
        assert_eq!(landing.flush().await.unwrap(), None);
        assert_eq!(*topic.told.lock(), [(0, 1)]);
    }
    topic.records.store(3, Ordering::Release);
    landing.step().await.unwrap();
    landing.give_up_partitions().await.unwrap();
    assert_eq!(*topic.told.lock(), [(0, 1), (0, 2)]);
}
