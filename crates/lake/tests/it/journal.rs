//! Journals: rows are seen at once and once, several processes add to one, old rows leave by whole files.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::execution::context::SessionContext;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer};
use vitalake_lake::{Journal, Lake, LakeOptions};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn contract() -> Contract {
    let column = |name: &str, kind| Column { required: true, ..Column::new(name, kind) };
    Contract {
        columns: vec![column("at", ColumnType::Timestamp(None)), column("n", ColumnType::Long)],
        time_column: Some(0),
        ..Contract::new(DatasetName::new("runs").unwrap(), Layer::Ops)
    }
}

struct Process {
    lake: Lake,
    journal: Journal,
    clock: Clock,
}

impl Process {
    async fn open(store: &Arc<dyn ObjectStore>, clock: &Clock) -> Self {
        let (cpu, options) = (Cpu::with_workers(1).unwrap(), LakeOptions::default());
        let lake = Lake::open(Arc::clone(store), Vec::new(), options, clock.clone(), cpu).await.unwrap();
        let journal = Journal::open(&lake, &contract()).await.unwrap();
        Self { lake, journal, clock: clock.clone() }
    }

    fn add(&self, n: i64) -> Option<vitalake_lake::journal::Mark> {
        let at = TimestampMicrosecondArray::from(vec![self.clock.now_ms() * 1000]).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![Arc::new(at), Arc::new(Int64Array::from(vec![n]))];
        self.journal.append(RecordBatch::try_new(Arc::clone(self.journal.schema()), columns).unwrap())
    }

    /// Count and sum of what SQL sees.
    async fn seen(&self) -> (i64, i64) {
        let context = SessionContext::new();
        vitalake_lake::provider::register_store(&context.runtime_env(), Arc::clone(self.lake.store()));
        context.register_table("t", self.lake.pin().provider("ops", "runs").unwrap()).unwrap();
        let answer = context.sql("SELECT COUNT(*), COALESCE(SUM(n), 0) FROM t").await.unwrap().collect().await.unwrap();
        let value = |column: usize| answer[0].column(column).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        (value(0), value(1))
    }
}

#[tokio::test]
async fn two_processes_add_to_one_journal_and_each_row_is_seen_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Clock::manual(1_700_000_000_000);
    let (one, other) = (Process::open(&store, &clock).await, Process::open(&store, &clock).await);
    for n in 0..3 {
        one.add(n).unwrap();
        other.add(10 + n).unwrap();
        assert_eq!(one.seen().await.0, 2 * n + 1, "its own at once, the other's once committed and looked for");
        one.journal.commit().await.unwrap();
        other.journal.commit().await.unwrap();
        one.journal.refresh().await.unwrap();
        assert_eq!((one.journal.waiting(), one.seen().await.0), (0, 2 * n + 2));
    }
    assert_eq!(Process::open(&store, &clock).await.seen().await, (6, 36));
}

#[tokio::test]
async fn who_asks_for_a_commit_has_one_and_those_who_ask_together_share_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let process = Process::open(&store, &Clock::manual(1_700_000_000_000)).await;
    let marks: Vec<_> = (0..5).map(|n| process.add(n).unwrap()).collect();
    let waits = marks.into_iter().map(|mark| process.journal.commit_through(mark, Duration::ZERO));
    futures::future::try_join_all(waits).await.unwrap();
    let head = &process.lake.pin().tables().next().unwrap().head.clone();
    assert_eq!((head.version().0, head.rows()), (1, Some(5)));
}

#[tokio::test]
async fn a_commit_that_was_refused_is_made_up_for_with_every_row_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Clock::manual(1_700_000_000_000);
    let process = Process::open(&store, &clock).await;
    process.add(1).unwrap();
    process.lake.close().await;
    assert!(process.journal.commit().await.is_err());
    assert_eq!((process.seen().await, process.journal.waiting()), ((1, 1), 1));
    assert_eq!(Process::open(&store, &clock).await.seen().await, (0, 0));
}

#[tokio::test]
async fn files_are_joined_within_a_day_and_a_day_past_its_retention_leaves() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    // Midnight, UTC.
    let clock = Clock::manual(1_699_920_000_000);
    let process = Process::open(&store, &clock).await;
    for day in 0..3 {
        for _ in 0..20 {
            process.add(day).unwrap();
            process.journal.commit().await.unwrap();
        }
        process.journal.maintain(2 * DAY).await.unwrap();
        clock.advance(DAY);
    }
    let files = |process: &Process| process.lake.pin().tables().map(|view| view.head.file_count()).sum::<usize>();
    assert_eq!((process.seen().await, files(&process)), ((60, 60), 3));
    process.journal.maintain(2 * DAY).await.unwrap();
    assert_eq!((process.seen().await, files(&process)), ((40, 60), 2), "the first day has gone");
    assert_eq!(Process::open(&store, &clock).await.seen().await, (40, 60));
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[tokio::test]
async fn who_sends_a_journal_on_is_given_each_row_once_by_version_also_after_files_were_joined() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Clock::manual(1_700_000_000_000);
    let (one, other) = (Process::open(&store, &clock).await, Process::open(&store, &clock).await);
    for n in 0..20 {
        let process = if n % 2 == 0 { &one } else { &other };
        process.add(n).unwrap();
        process.journal.commit().await.unwrap();
        clock.advance(Duration::from_secs(60));
    }
    one.add(99).unwrap();
    one.journal.refresh().await.unwrap();
    assert!(one.journal.maintain(DAY).await.unwrap().files_compacted > 0);
    let (mut found, mut place, mut looks) = (Vec::new(), 0, 0);
    while place < one.journal.version() {
        let news = one.journal.since(place, 7).await.unwrap();
        assert!(news.forgotten == 0 && news.newest == one.journal.version());
        for version in &news.versions {
            assert!(version.version > place && version.rows == Some(1) && version.committed_ms.is_some());
            found.extend(numbers(&one.journal.rows_of(version).await.unwrap()));
        }
        (place, looks) = (news.through, looks + 1);
    }
    assert_eq!((found, looks), ((0..20).collect(), 3), "what waits is not among it, and joined files bring nothing");
    assert!(one.journal.since(place, 7).await.unwrap().versions.is_empty());
    assert_eq!(one.journal.table_id(), other.journal.table_id());
}

#[tokio::test]
async fn commits_that_have_left_the_log_are_counted_and_passed_over() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Clock::manual(1_700_000_000_000);
    let process = Process::open(&store, &clock).await;
    for n in 0..9 {
        process.add(n).unwrap();
        process.journal.commit().await.unwrap();
    }
    let newest = process.journal.version();
    for gone in 1..=4 {
        let path = object_store::path::Path::from(format!("lake/ops/runs/_delta_log/{gone:020}.json"));
        object_store::ObjectStoreExt::delete(&*store, &path).await.unwrap();
    }
    let news = process.journal.since(0, 100).await.unwrap();
    assert_eq!((news.forgotten, news.through), (4, newest));
    let first = news.versions.first().unwrap();
    assert_eq!((first.version, numbers(&process.journal.rows_of(first).await.unwrap())), (5, vec![4]));
}
