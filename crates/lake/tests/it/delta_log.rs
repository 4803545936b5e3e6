//! Commits, races, checkpoints and history of Delta tables on a store in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::compute::concat_batches;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use uuid::Uuid;
use vitalake_lake::delta::action::{Action, Add};
use vitalake_lake::delta::{
    Change, CheckpointOptions, CleanOptions, CommitError, DeltaError, DeltaLog, FilePath, TableVersion, VacuumOptions,
};
use vitalake_lake::parquet::read_file;
use vitalake_runtime::error::{Classified, Retry};

use crate::delta_fixture::{NOW_MS, Table, facts, rows, schema};
use crate::unruly::{Fate, Unruly};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

#[tokio::test]
async fn a_folder_without_a_log_is_no_table() {
    let opened = DeltaLog::open(Arc::new(InMemory::new()), Path::from("nothing")).await.unwrap();
    assert!(opened.is_none());
}

#[tokio::test]
async fn creating_twice_gives_the_first_table() {
    let (table, first) = Table::create().await;
    let second = table.log.create("other", &schema(), Default::default(), NOW_MS + 1).await.unwrap();
    assert_eq!(first.metadata().id, second.metadata().id);
    assert_eq!(second.schema(), &schema());
}

#[tokio::test]
async fn what_was_committed_is_what_is_loaded() {
    let (table, mut snapshot) = Table::create().await;
    for n in 0..5 {
        let change = table.change(n * 10, n * 10 + 10).await.with_txn("vitalake/topic/0", n);
        snapshot = table.log.append(&snapshot, change).await.unwrap();
    }
    assert_eq!(
        (snapshot.version(), snapshot.rows(), snapshot.txn("vitalake/topic/0")),
        (TableVersion(5), Some(50), Some(4))
    );
    assert_eq!(facts(&snapshot), facts(&table.open().await));
}

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    let (table, snapshot) = Table::create().await;
    let snapshot = table.append(&snapshot, 0, 3000).await;
    let file = snapshot.files().next().unwrap();
    let batches =
        read_file(&table.store, &file.location(table.log.root()), file.size_bytes(), &schema(), 1000).await.unwrap();
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    assert!(batches.len() >= 3);
    assert_eq!(concat_batches(&schema(), &batches).unwrap(), rows(0, 3000));
}

#[tokio::test]
async fn a_transaction_that_is_already_there_is_refused() {
    let (table, empty) = Table::create().await;
    let change = Change::new("WRITE", NOW_MS).with_txn("a", 7);
    let snapshot = table.log.append(&empty, change.clone()).await.unwrap();
    for stale in [&snapshot, &empty] {
        let theirs = change.clone().by(Uuid::from_u128(1));
        let error = table.log.append(stale, theirs).await.unwrap_err();
        assert!(matches!(error, DeltaError::TxnSuperseded { committed: 7, .. }), "{error}");
    }
    // Whose answer was lost comes again with the same.
    assert_eq!(table.log.append(&empty, change).await.unwrap().version(), TableVersion(1));
    assert_eq!(table.open().await.version(), TableVersion(1));
}

#[tokio::test]
async fn two_writers_land_every_commit_once() {
    let (table, snapshot) = Table::create().await;
    let table = Arc::new(table);
    let writers = (0..2).map(|writer: i64| {
        let (table, mut snapshot) = (table.clone(), snapshot.clone());
        tokio::spawn(async move {
            for n in 0..20 {
                let from = (writer * 20 + n) * 10;
                let change = table.change(from, from + 10).await.with_txn(format!("writer/{writer}"), n);
                snapshot = table.log.append(&snapshot, change).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    let newest = table.log.reload(&snapshot).await.unwrap();
    assert_eq!((newest.version(), newest.rows(), newest.file_count()), (TableVersion(40), Some(400), 40));
    assert_eq!((newest.txn("writer/0"), newest.txn("writer/1")), (Some(19), Some(19)));
    assert_eq!(facts(&newest), facts(&table.open().await));
}

#[tokio::test]
async fn removing_a_file_that_another_removed_is_refused() {
    let (table, empty) = Table::create().await;
    let snapshot = table.append(&empty, 0, 10).await;
    let remove = snapshot.files().next().unwrap().to_remove(NOW_MS, true);
    let change = Change { removes: vec![remove], ..Change::new("DELETE", NOW_MS) };
    table.log.append(&snapshot, change.clone()).await.unwrap();
    let error = table.log.append(&snapshot, change.by(Uuid::from_u128(1))).await.unwrap_err();
    assert!(matches!(error, DeltaError::FileNotLive { .. }), "{error}");
    assert_eq!(table.open().await.rows(), Some(0));
}

#[tokio::test]
async fn a_change_of_schema_by_another_is_a_conflict_and_a_plain_append_is_not() {
    let (table, empty) = Table::create().await;
    let evolve = Change { metadata: Some(empty.evolved(&schema()).unwrap()), ..Change::new("ALTER", NOW_MS) };
    table.log.append(&empty, evolve).await.unwrap();
    let error = table.log.append(&empty, table.change(0, 1).await).await.unwrap_err();
    assert!(matches!(error, DeltaError::ConcurrentChange { what: "metadata", .. }), "{error}");
}

#[tokio::test]
async fn a_version_is_put_only_if_absent() {
    let (table, _) = Table::create().await;
    assert!(matches!(table.log.commit(TableVersion(0), &[]).await, Err(CommitError::Conflict)));
}

#[tokio::test]
async fn a_checkpoint_gives_the_same_snapshot() {
    let (table, mut snapshot) = Table::create().await;
    for n in 0..12 {
        let change = table.change(n * 10, n * 10 + 10).await.with_txn(format!("t/{}", n % 3), n);
        snapshot = table.log.append(&snapshot, change).await.unwrap();
    }
    let remove = snapshot.files().nth(3).unwrap().to_remove(NOW_MS, true);
    let change = Change { removes: vec![remove], ..Change::new("DELETE", NOW_MS) };
    snapshot = table.log.append(&snapshot, change).await.unwrap();
    table.log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS)).await.unwrap();
    for version in 0..13 {
        table.store.delete(&Path::from(format!("lake/raw/readings/_delta_log/{version:020}.json"))).await.unwrap();
    }
    let loaded = table.open().await;
    assert_eq!(facts(&loaded), facts(&snapshot));
    let order = |s: &vitalake_lake::delta::Snapshot| s.files().map(|f| f.add.path.clone()).collect::<Vec<_>>();
    assert_eq!(order(&loaded), order(&snapshot));
    let next = table.append(&loaded, 500, 510).await;
    table.store.delete(&Path::from("lake/raw/readings/_delta_log/_last_checkpoint")).await.unwrap();
    assert_eq!(facts(&table.open().await), facts(&next));
}

#[tokio::test]
async fn a_gap_and_a_broken_commit_are_named() {
    let (table, snapshot) = Table::create().await;
    let snapshot = table.append(&snapshot, 0, 1).await;
    table.append(&snapshot, 1, 2).await;
    let second = Path::from("lake/raw/readings/_delta_log/00000000000000000001.json");
    table.store.put(&second, PutPayload::from_static(b"{\"add\": {\"path\": \"a secret\"")).await.unwrap();
    let error = table.log.load().await.unwrap_err().to_string();
    assert!(error.contains("00000000000000000001.json line 1") && !error.contains("secret"), "{error}");
    table.store.delete(&second).await.unwrap();
    let error = table.log.load().await.unwrap_err();
    assert!(matches!(error, DeltaError::MissingVersion { missing: TableVersion(1), .. }), "{error}");
}

#[tokio::test]
async fn history_gives_what_brought_rows_and_fails_where_it_was_cleaned() {
    let (table, mut snapshot) = Table::create().await;
    for n in 0..6 {
        snapshot = table.append(&snapshot, n, n + 1).await;
    }
    let moved: Vec<Add> = snapshot.files().take(1).map(|file| Add { data_change: false, ..file.add.clone() }).collect();
    snapshot = table.log.append(&snapshot, Change { adds: moved, ..Change::new("OPTIMIZE", NOW_MS) }).await.unwrap();
    let changes = table.log.changes(TableVersion(4), TableVersion(7)).await.unwrap();
    assert_eq!(changes.iter().map(|c| (c.version.0, c.added.len())).collect::<Vec<_>>(), [(5, 1), (6, 1), (7, 0)]);

    table.log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS)).await.unwrap();
    let later_ms = chrono::Utc::now().timestamp_millis() + WEEK_MS;
    let clean = |keep_from| CleanOptions { now_ms: later_ms, retention_ms: 1000, keep_from };
    assert_eq!(table.log.clean_log(clean(TableVersion(6))).await.unwrap().files, 0);
    assert_eq!(table.log.clean_log(clean(TableVersion(7))).await.unwrap().files, 7);
    assert_eq!(facts(&table.open().await), facts(&snapshot));
    let error = table.log.changes(TableVersion(4), TableVersion(7)).await.unwrap_err();
    assert!(matches!(error, DeltaError::HistoryCleaned { .. }), "{error}");
    // Whoever has slept past the clean-up finds the newest version by the checkpoint.
    let sleeper = table.log.reload(&Table::create().await.1).await.unwrap();
    assert_eq!(sleeper.version(), snapshot.version());
}

#[tokio::test]
async fn vacuum_takes_only_what_nothing_needs() {
    let (table, snapshot) = Table::create().await;
    let snapshot = table.append(&snapshot, 0, 10).await;
    let snapshot = table.append(&snapshot, 10, 20).await;
    let live = snapshot.files().nth(1).unwrap().path().to_string();
    let early = table.change(20, 30).await.adds[0].path.clone();
    let _orphan = table.change(30, 40).await;
    let real_now_ms = chrono::Utc::now().timestamp_millis();
    let remove = snapshot.files().next().unwrap().to_remove(real_now_ms, true);
    let removed = remove.path.clone();
    let snapshot =
        table.log.append(&snapshot, Change { removes: vec![remove], ..Change::new("DELETE", NOW_MS) }).await.unwrap();
    let options =
        |now_ms| VacuumOptions { now_ms, retention_ms: 0, protected: [FilePath::of_log(&early)].into_iter().collect() };
    assert_eq!(table.log.vacuum(&snapshot, &options(real_now_ms)).await.unwrap().files, 0);
    assert_eq!(table.log.vacuum(&snapshot, &options(real_now_ms + WEEK_MS)).await.unwrap().files, 2);
    let names = table.names().await.join(" ");
    assert!(names.contains(&live) && names.contains(&early) && !names.contains(&removed), "{names}");
}

#[rstest::rstest]
#[case::took_place(&[Fate::Unanswered])]
#[case::did_not_take_place(&[Fate::Refused])]
#[case::did_not_and_then_did(&[Fate::Refused, Fate::Unanswered])]
#[tokio::test]
async fn a_commit_of_unknown_outcome_lands_once(#[case] fates: &[Fate]) {
    let store = Unruly::new();
    let log = DeltaLog::new(store.clone(), Path::from("t"));
    let snapshot = log.create("t", &schema(), Default::default(), NOW_MS).await.unwrap();
    store.fates.lock().extend(fates);
    let snapshot = log.append(&snapshot, Change::new("WRITE", NOW_MS).with_txn("a", 1)).await.unwrap();
    assert_eq!((snapshot.version(), snapshot.txn("a")), (TableVersion(1), Some(1)));
    assert_eq!(log.load().await.unwrap().unwrap().version(), TableVersion(1));
    let actions = log.read_commit(TableVersion(1)).await.unwrap().unwrap();
    assert!(matches!(actions.first(), Some(Action::CommitInfo(_))));
    store.is_away.store(true, Ordering::SeqCst);
    let error = log.append(&snapshot, Change::new("WRITE", NOW_MS)).await.unwrap_err();
    assert!(matches!(error, DeltaError::CommitUnknown { .. }) && error.retry() == Retry::Later, "{error}");
}

#[tokio::test]
async fn a_checkpoint_that_is_there_stays_as_it_is_for_who_has_listed_it() {
    let (table, snapshot) = Table::create().await;
    let snapshot = table.append(&snapshot, 0, 10).await;
    let remove = snapshot.files().next().unwrap().to_remove(NOW_MS, true);
    let change = Change { removes: vec![remove], ..Change::new("DELETE", NOW_MS) };
    let snapshot = table.log.append(&snapshot, change).await.unwrap();
    table.log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS)).await.unwrap();
    let path = Path::from("lake/raw/readings/_delta_log/00000000000000000002.checkpoint.parquet");
    let bytes = || async { table.store.get(&path).await.unwrap().bytes().await.unwrap() };
    let first = bytes().await;
    table.store.delete(&Path::from("lake/raw/readings/_delta_log/_last_checkpoint")).await.unwrap();
    // Another process, or the same after a start, makes one without the tombstone.
    table.log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS + 2 * WEEK_MS)).await.unwrap();
    assert_eq!(bytes().await, first);
    let pointer = Path::from("lake/raw/readings/_delta_log/_last_checkpoint");
    let pointer = table.store.get(&pointer).await.unwrap().bytes().await.unwrap();
    let pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
    assert_eq!((&pointer["version"], &pointer["sizeInBytes"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(facts(&table.open().await), facts(&snapshot));
}

#[tokio::test]
async fn a_checkpoint_is_called_broken_by_its_bytes_and_not_by_a_store_that_is_away() {
    let store = Unruly::new();
    let log = DeltaLog::new(store.clone(), Path::from("t"));
    let snapshot = log.create("t", &schema(), Default::default(), NOW_MS).await.unwrap();
    log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS)).await.unwrap();
    let path = Path::from("t/_delta_log/00000000000000000000.checkpoint.parquet");
    let whole = store.inner.get(&path).await.unwrap().bytes().await.unwrap();

    store.inner.put(&path, PutPayload::from(whole.slice(..whole.len() / 2))).await.unwrap();
    let error = log.load().await.unwrap_err();
    assert!(matches!(error, DeltaError::InvalidCheckpoint { .. }) && error.retry() == Retry::Never, "{error}");

    store.inner.put(&path, PutPayload::from(whole)).await.unwrap();
    store.unreadable.lock().replace(path);
    let error = log.load().await.unwrap_err();
    assert!(matches!(error, DeltaError::Parquet { .. }) && error.retry() == Retry::Later, "{error}");
    store.unreadable.lock().take();
    assert_eq!(facts(&log.load().await.unwrap().unwrap()), facts(&snapshot));
}
