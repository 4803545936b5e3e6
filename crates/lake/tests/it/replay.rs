//! Rejects on their way out of quarantine: once each, whatever is killed, whoever lands or reads meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use vitalake_contract::contract::quarantine_schema;
use vitalake_lake::delta::{DeltaLog, Snapshot};
use vitalake_lake::parquet::read_file;
use vitalake_lake::store::DiskStore;
use vitalake_lake::{
    Again, GiveUp, Lake, LakeError, LakeOptions, PutThrough, Putting, RejectFilter, Space, Table, TableId, TableSpec,
    Terms, Tried, TxnId, Walk,
};
use vitalake_runtime::disk::CrashDisk;

use crate::table::{contract, counted, drain, open, open_specs, reject, rows, table, txn_id};

const REJECTS: i64 = 12;

/// Makes rows of rejects with an even offset; the others fail again.
struct Evens;

impl PutThrough for Evens {
    type Error = LakeError;

    async fn put_through(&mut self, rejects: RecordBatch) -> Result<Again, LakeError> {
        let offsets = offsets(&rejects);
        let mut again = Again::default();
        for (at, offset) in offsets.into_iter().enumerate() {
            if offset % 2 == 0 {
                again.rows.push(rows(offset, 1));
            } else {
                again.rejects.push(attempted(&rejects.slice(at, 1)));
            }
        }
        Ok(again)
    }
}

fn offsets(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn attempts(batch: &RecordBatch) -> Vec<i32> {
    batch.column_by_name("_attempts").unwrap().as_primitive::<Int32Type>().values().to_vec()
}

fn attempted(reject: &RecordBatch) -> RecordBatch {
    let at = reject.schema().index_of("_attempts").unwrap();
    let mut columns: Vec<ArrayRef> = reject.columns().to_vec();
    columns[at] = Arc::new(Int32Array::from_iter_values(attempts(reject).into_iter().map(|n| n + 1)));
    RecordBatch::try_new(reject.schema(), columns).unwrap()
}

async fn walk_with<P: PutThrough<Error = LakeError>>(
    table: &Table,
    filter: RejectFilter,
    through: &mut P,
    given_up: Option<&'static str>,
) -> Result<Tried, LakeError> {
    let _one_at_a_time = table.turn_to_take_back().await;
    let mut walk = Walk::begin(table, filter).await?;
    let done = AtomicU64::new(0);
    while let Some(portion) = walk.next_portion() {
        let filter = walk.filter().clone();
        let putting = Putting { filter: &filter, done: &done };
        let terms = Terms { given_up, ..Terms::default() };
        let came = table.put_portion_through(&portion, putting, through, terms).await?;
        walk.came(table, came).await?;
    }
    Ok(walk.tried().clone())
}

async fn replay(table: &Table) -> Result<Tried, LakeError> {
    walk_with(table, RejectFilter::default(), &mut Evens, None).await
}

fn store_on(disk: &CrashDisk) -> Arc<dyn ObjectStore> {
    Arc::new(DiskStore::new(Arc::new(disk.clone()), "/data"))
}

async fn with_rejects(store: &Arc<dyn ObjectStore>) -> Lake {
    let lake = open(store, LakeOptions::default()).await;
    for offset in 0..REJECTS {
        table(&lake).append(vec![rows(100 + offset, 1)], vec![reject(offset)], [(txn_id("app"), offset)]).unwrap();
        if offset % 5 == 4 {
            table(&lake).flush().await.unwrap();
        }
    }
    table(&lake).flush().await.unwrap();
    lake
}

/// What a foreign reader finds in a table: offsets, each as often as it stands there.
async fn found(store: &Arc<dyn ObjectStore>, space: &str) -> BTreeMap<i64, u64> {
    let log = DeltaLog::new(Arc::clone(store), Path::from(format!("lake/{space}/readings")));
    let head = log.load().await.unwrap().unwrap();
    let mut found = BTreeMap::new();
    for batch in all_rows(store, &log, &head).await {
        offsets(&batch).into_iter().for_each(|offset| *found.entry(offset).or_default() += 1);
    }
    found
}

async fn all_rows(store: &Arc<dyn ObjectStore>, log: &DeltaLog, head: &Snapshot) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for file in head.files() {
        let location = file.location(log.root());
        let rows = read_file(store, &location, file.size_bytes(), head.schema(), 1024).await.unwrap();
        batches.extend(rows.try_collect::<Vec<_>>().await.unwrap());
    }
    batches
}

fn came_back(found: &BTreeMap<i64, u64>) -> BTreeSet<i64> {
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    found.keys().copied().filter(|offset| *offset < REJECTS).collect()
}

/// Rows of both tables in the value that queries pin.
fn pinned_rows(lake: &Lake) -> u64 {
    lake.pin().tables().map(|view| view.head.rows().unwrap() + view.tail.row_count()).sum()
}

#[tokio::test]
async fn what_passes_comes_back_and_what_does_not_stays_once_and_is_counted() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    for tries in 1..=2 {
        let tried = replay(&table(&lake)).await.unwrap();
        let back = if tries == 1 { 6 } else { 0 };
        assert_eq!((tried.taken, tried.rows, tried.failed_rows()), (6 + back, back, 6));
        assert_eq!(tried.failed, BTreeMap::from([("json".to_owned(), 6)]));
        let quarantine = DeltaLog::new(Arc::clone(&store), Path::from("lake/quarantine/readings"));
        let head = quarantine.load().await.unwrap().unwrap();
        let left = concat_batches(&quarantine_schema(), &all_rows(&store, &quarantine, &head).await).unwrap();
        assert_eq!(attempts(&left), vec![tries; 6]);
        assert_eq!((counted(&lake, "raw").await.0, counted(&lake, "quarantine").await.0), (18, 6));
    }
    let (raw, quarantine) = (found(&store, "raw").await, found(&store, "quarantine").await);
    assert_eq!((came_back(&raw).len(), came_back(&quarantine).len()), (6, 6));
}

#[tokio::test]
async fn a_filter_takes_what_it_means_and_leaves_the_rest_as_it_was() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let none = RejectFilter { rule: Some("steps.minimum".to_owned()), ..RejectFilter::default() };
    assert_eq!(walk_with(&table(&lake), none, &mut Evens, None).await.unwrap(), Tried::default());
    let delivery = RejectFilter { delivery: Some(0), ..RejectFilter::default() };
    assert_eq!(walk_with(&table(&lake), delivery, &mut Evens, None).await.unwrap().taken, 0);
    let head = table(&lake).head().version();
    let all =
        RejectFilter { rule: Some("json".to_owned()), since_us: Some(3), until_us: Some(4), ..RejectFilter::default() };
    assert_eq!(walk_with(&table(&lake), all, &mut Evens, None).await.unwrap().taken, 12);
    assert_eq!(table(&lake).head().version(), head.next());
}

#[tokio::test]
async fn a_trial_changes_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let (before, table) = (lake.pin().generation(), table(&lake));
    let done = AtomicU64::new(0);
    let mut all = Tried::default();
    for portion in table.portions(&RejectFilter::default(), &HashSet::new()).await.unwrap() {
        let putting = Putting { filter: &RejectFilter::default(), done: &done };
        all.add(&table.try_portion(&portion, putting, &mut Evens).await.unwrap());
    }
    assert_eq!((all.taken, all.rows, all.failed_rows()), (12, 6, 6));
    assert_eq!((lake.pin().generation(), found(&store, "quarantine").await.len()), (before, 12));
}

/// One replay, killed after so many operations of the disk. Whether it came to its end.
async fn killed_after(disk: &CrashDisk, lake: &Arc<Lake>, operations: u64) -> bool {
    disk.kill_after(operations);
    let replaying = {
        let table = table(lake);
        tokio::spawn(async move { replay(&table).await })
    };
    while !replaying.is_finished() {
        if disk.is_dead() {
            lake.close().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let outcome = replaying.await.unwrap();
    outcome.is_ok() && !disk.is_dead()
}

#[tokio::test]
async fn killed_at_every_step_each_reject_is_somewhere_and_in_the_end_in_one_place() {
    let mut half_done = 0;
    for operations in 0.. {
        let disk = CrashDisk::new(operations);
        let lake = Arc::new(with_rejects(&store_on(&disk)).await);
        let all = pinned_rows(&lake);
        let ended = killed_after(&disk, &lake, operations).await;
        assert_eq!(pinned_rows(&lake), all, "killed after {operations}: queries see each row in one place");
        lake.close().await;
        drop(lake);
        disk.crash();
        let store = store_on(&disk);
        // Before the platform is back, whoever opens the tables finds every row at least once.
        let (raw, quarantine) = (came_back(&found(&store, "raw").await), came_back(&found(&store, "quarantine").await));
        let either: BTreeSet<i64> = raw.union(&quarantine).copied().collect();
        assert_eq!(either.len(), 12, "killed after {operations}: nothing is lost");
        half_done += u32::from(raw.intersection(&quarantine).count() > 0);
        // Readers who follow see both sides as they will be, and change nothing.
        let follower = TableSpec { followed: true, ..TableSpec::of(contract()) };
        let following = open_specs(&store, vec![follower], LakeOptions::default()).await;
        assert_eq!(pinned_rows(&following), all, "killed after {operations}: followers see each row in one place");
        let lake = open(&store, LakeOptions::default()).await;
        let (raw, quarantine) = (came_back(&found(&store, "raw").await), came_back(&found(&store, "quarantine").await));
        assert!(raw.is_disjoint(&quarantine) && raw.len() + quarantine.len() == 12, "killed after {operations}");
        replay(&table(&lake)).await.unwrap();
        let (raw, quarantine) = (came_back(&found(&store, "raw").await), came_back(&found(&store, "quarantine").await));
        assert_eq!((raw.len(), quarantine.len()), (6, 6), "killed after {operations}");
        if ended {
            break;
        }
    }
    assert!(half_done > 0, "no kill came between the two commits");
}

#[tokio::test]
async fn models_are_given_what_came_back_once_also_after_a_restart() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let mut reader = table(&lake).reader(None).await.unwrap();
    let (read, versions) = drain(&mut reader).await;
    assert_eq!(read, 12);
    let consumed = *versions.last().unwrap();
    // In the middle of an epoch: the rows before it are not committed.
    table(&lake).append(vec![rows(200, 3)], Vec::new(), [(txn_id("app"), 203)]).unwrap();
    replay(&table(&lake)).await.unwrap();
    table(&lake).append(vec![rows(300, 2)], Vec::new(), [(txn_id("app"), 302)]).unwrap();
    assert_eq!(drain(&mut reader).await, (3 + 6 + 2, Vec::new()));
    let version = table(&lake).flush().await.unwrap().unwrap();
    assert_eq!(drain(&mut reader).await, (0, vec![version]));
    // A model that has committed nothing since takes all of it from the history.
    let again = open(&store, LakeOptions::default()).await;
    let mut behind = table(&again).reader(Some(consumed)).await.unwrap();
    assert_eq!(drain(&mut behind).await, (11, vec![version]));
    assert_eq!(counted(&again, "raw").await.0, 12 + 11);
}

#[tokio::test]
async fn landing_and_compaction_go_on_beside_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = Arc::new(with_rejects(&store).await);
    let landing = {
        let table = table(&lake);
        tokio::spawn(async move {
            for step in 0..30 {
                let at = 1000 + 10 * step;
                table.append(vec![rows(at, 3)], vec![reject(at + 5)], [(txn_id("app"), at)]).unwrap();
                table.flush().await.unwrap();
                table.maintain().await.unwrap();
            }
        })
    };
    while !landing.is_finished() {
        replay(&table(&lake)).await.unwrap();
        tokio::task::yield_now().await;
    }
    landing.await.unwrap();
    replay(&table(&lake)).await.unwrap();
    let (raw, quarantine) = (found(&store, "raw").await, found(&store, "quarantine").await);
    assert!(raw.values().chain(quarantine.values()).all(|count| *count == 1), "{raw:?} {quarantine:?}");
    assert_eq!((raw.len(), quarantine.len()), (12 + 6 + 90, 6 + 30));
    assert_eq!((counted(&lake, "raw").await.0, counted(&lake, "quarantine").await.0), (108, 36));
}

#[tokio::test]
async fn what_is_given_up_leaves_quarantine_and_the_commit_says_so() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let head = table(&lake).head().version();
    let tried =
        walk_with(&table(&lake), RejectFilter::default(), &mut GiveUp, Some("vitalakeDiscarded")).await.unwrap();
    assert_eq!((tried.taken, tried.rows), (12, 0));
    assert_eq!(table(&lake).head().version(), head, "the dataset itself has no commit of it");
    assert!(found(&store, "quarantine").await.is_empty());
    let quarantine =
        DeltaLog::new(Arc::clone(&store), TableId::new(Space::Quarantine, contract().dataset.clone()).root());
    let last = quarantine.load().await.unwrap().unwrap().version();
    let said = format!("{:?}", quarantine.read_commit(last).await.unwrap().unwrap());
    assert!(said.contains(r#""vitalakeDiscarded": String("12")"#), "{said}");
}

#[tokio::test]
async fn what_a_crash_left_ahead_is_not_taken_before_its_rows_are_there() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let of = [TxnId::landing(uuid::Uuid::from_u128(7), 0)];
    assert!(!table(&lake).rejects_are_ahead(&of));
    let log = DeltaLog::new(Arc::clone(&store), Path::from("lake/quarantine/readings"));
    let head = log.load().await.unwrap().unwrap();
    let [landing] = of.clone();
    let change = vitalake_lake::delta::Change::new("WRITE", 1).with_txn(landing.as_str(), 3);
    log.append(&head, change).await.unwrap();
    let lake = open(&store, LakeOptions::default()).await;
    assert!(table(&lake).rejects_are_ahead(&of));
    table(&lake).append(vec![rows(500, 1)], Vec::new(), [(landing, 3)]).unwrap();
    table(&lake).flush().await.unwrap();
    assert!(!table(&lake).rejects_are_ahead(&of));
}

#[tokio::test]
async fn a_follower_hears_of_rejects_that_leave_without_a_row() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let follower = TableSpec { followed: true, ..TableSpec::of(contract()) };
    let following = open_specs(&store, vec![follower], LakeOptions::default()).await;
    walk_with(&table(&lake), RejectFilter::default(), &mut GiveUp, Some("vitalakeDiscarded")).await.unwrap();
    let mut looks = 0;
    while !table(&following).follow(&|_, batch| Some(batch.clone())).await.unwrap() {
        looks += 1;
        assert!(looks < 10, "it never looks at the rejects");
    }
    assert_eq!((counted(&following, "quarantine").await.0, counted(&following, "raw").await.0), (0, 12));
}

#[tokio::test]
async fn who_follows_is_given_what_came_back_once_and_shows_it_in_one_place() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = with_rejects(&store).await;
    let follower = TableSpec { followed: true, ..TableSpec::of(contract()) };
    let following = open_specs(&store, vec![follower], LakeOptions::default()).await;
    let mut reader = table(&following).reader(None).await.unwrap();
    assert_eq!(drain(&mut reader).await.0, 12);
    replay(&table(&lake)).await.unwrap();
    assert!(table(&following).follow(&|_, batch| Some(batch.clone())).await.unwrap());
    assert_eq!(drain(&mut reader).await.0, 6);
    assert_eq!((counted(&following, "raw").await.0, counted(&following, "quarantine").await.0), (18, 6));
}
