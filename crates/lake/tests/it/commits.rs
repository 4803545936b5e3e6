//! Commits of tables: ended by a close, made beside other writers, with what they take away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use vitalake_lake::delta::{Change, DeltaError, DeltaLog, Snapshot};
use vitalake_lake::{
    ChangeReader, DeliveredFiles, FilePath, Increment, Lake, LakeError, LakeOptions, Overlay, Table, TxnId,
};
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::table::{counted, drain, open, reject, rows, table, txn_id};
use crate::unruly::{Fate, Unruly};

const SOON: Duration = Duration::from_secs(20);

async fn opened() -> (Arc<dyn ObjectStore>, Lake) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = open(&store, LakeOptions::default()).await;
    (store, lake)
}

/// The log of the rows, as another writer opens it.
async fn foreign(store: &Arc<dyn ObjectStore>, table: &Table) -> (DeltaLog, Snapshot) {
    let log = DeltaLog::new(Arc::clone(store), table.id().root());
    let head = log.load().await.unwrap().unwrap();
    (log, head)
}

/// Another writer sets a property of the table.
async fn set_property(store: &Arc<dyn ObjectStore>, table: &Table, key: &str, value: &str) {
    let (log, head) = foreign(store, table).await;
    let mut metadata = head.metadata().clone();
    metadata.configuration.insert(key.to_owned(), value.to_owned());
    let change = Change { metadata: Some(metadata), ..Change::new("SET TBLPROPERTIES", 1) };
    log.append(&head, change).await.unwrap();
}

async fn delivery(table: &Table, from: i64, count: i64, number: i64, replace: bool) -> DeliveredFiles {
    let rows = table.write_rows(vec![rows(from, count)]).await.unwrap();
    DeliveredFiles { rows, replace, txns: vec![(TxnId::delivery("readings"), number)], ..DeliveredFiles::default() }
}

#[tokio::test]
async fn after_a_close_every_commit_answers_that_it_was_stopped() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    let mut reader = table.reader(None).await.unwrap();
    drain(&mut reader).await;
    table.append(vec![rows(0, 10)], vec![reject(10)], [(txn_id("app"), 9)]).unwrap();
    let seal = table.seal().unwrap();
    let delivered = delivery(&table, 10, 5, 1, false).await;
    lake.close().await;
    let stopped = |outcome: Result<i64, LakeError>| matches!(outcome, Err(LakeError::Stopped { .. }));
    assert!(stopped(table.commit(&seal, Vec::new()).await));
    assert!(stopped(table.flush().await.map(|version| version.unwrap_or(-1))));
    assert!(stopped(table.deliver(delivered).await));
    assert!(stopped(table.commit_replace(&[], &[], Vec::new(), None, Overlay::default).await));
    drain(&mut reader).await;
    assert!(matches!(reader.next().await, Err(LakeError::Stopped { .. })));
    // What is pinned can be read, and the next lake finds the tables as they were.
    assert_eq!(counted(&lake, "raw").await.0, 10);
    assert_eq!(foreign(&store, &table).await.1.version().0, 0);
}

#[tokio::test]
async fn a_close_waits_for_the_commit_that_is_on_its_way() {
    let store = Unruly::new();
    let lake = Arc::new(open(&(Arc::clone(&store) as Arc<dyn ObjectStore>), LakeOptions::default()).await);
    let table = table(&lake);
    table.append(vec![rows(0, 10)], Vec::new(), [(txn_id("app"), 9)]).unwrap();
    store.stop_commits();
    let flushing = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.flush().await }
    });
    store.arrived.notified().await;
    store.arrived.notified().await;
    let closing = tokio::spawn({
        let lake = Arc::clone(&lake);
        async move { lake.close().await }
    });
    while !lake.is_closed() {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished());
    store.permits.add_permits(1);
    assert_eq!(tokio::time::timeout(SOON, flushing).await.unwrap().unwrap().unwrap(), Some(1));
    tokio::time::timeout(SOON, closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_close_ends_a_delivery_that_waits_for_its_store() {
    let store = Unruly::new();
    let lake = Arc::new(open(&(Arc::clone(&store) as Arc<dyn ObjectStore>), LakeOptions::default()).await);
    let table = table(&lake);
    let delivered = delivery(&table, 0, 5, 1, false).await;
    store.is_away.store(true, Ordering::SeqCst);
    let delivering = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.deliver(delivered).await }
    });
    store.arrived.notified().await;
    store.arrived.notified().await;
    tokio::time::timeout(SOON, lake.close()).await.unwrap();
    assert!(matches!(delivering.await.unwrap(), Err(LakeError::Stopped { .. })));
}

#[tokio::test]
async fn a_commit_records_every_table_that_it_read_also_those_that_stood_still() {
    let (_, lake) = opened().await;
    let table = table(&lake);
    let (driving, joined) = (TxnId::model("m", "readings"), TxnId::model("m", "patients"));
    for version in [4, 5, 6] {
        table.append(vec![rows(version, 1)], Vec::new(), []).unwrap();
        let seal = table.seal().unwrap();
        table.commit(&seal, vec![(driving.clone(), version), (joined.clone(), 2)]).await.unwrap();
        assert_eq!((table.committed_txn(&driving), table.committed_txn(&joined)), (Some(version), Some(2)));
    }
    table
        .commit_replace(&[], &[], vec![(driving.clone(), 7), (joined.clone(), 2)], None, Overlay::default)
        .await
        .unwrap();
    assert_eq!((table.committed_txn(&driving), lake.has_lost_lease()), (Some(7), false));
}

#[tokio::test]
async fn a_replacement_of_a_file_that_is_not_there_is_refused_and_adds_nothing() {
    let (_, lake) = opened().await;
    let table = table(&lake);
    table.append(vec![rows(0, 10)], Vec::new(), [(txn_id("app"), 9)]).unwrap();
    table.flush().await.unwrap();
    let files = table.write_rows(vec![rows(10, 1)]).await.unwrap();
    let gone = FilePath::of_store("part-gone.parquet");
    let replaced =
        table.commit_replace(std::slice::from_ref(&gone), &files, vec![(txn_id("m"), 1)], None, Overlay::default).await;
    let error = replaced.unwrap_err();
    assert!(matches!(&error, LakeError::FileNotInHead { path, .. } if *path == gone), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!((table.head().version().0, table.head().rows()), (1, Some(10)));
}

/// Rows that came and rows that went, by increments.
async fn came_and_went(reader: &mut ChangeReader) -> (i64, i64) {
    let (mut came, mut went) = (0, 0);
    while let Some(Increment { rows, files, removed, .. }) = reader.try_next() {
        let table = Arc::clone(reader.table());
        came += rows.iter().map(|batch| batch.num_rows() as i64).sum::<i64>();
        for (files, count) in [(&files, &mut came), (&removed, &mut went)] {
            for file in files.iter() {
                *count += table.read_file(file).await.unwrap().iter().map(|b| b.num_rows() as i64).sum::<i64>();
            }
        }
    }
    (came, went)
}

#[tokio::test]
async fn readers_are_given_what_was_removed_in_memory_from_history_and_while_they_follow() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    let mut here = table.reader(None).await.unwrap();
    assert_eq!(came_and_went(&mut here).await, (0, 0));
    let mut specs = vec![vitalake_lake::TableSpec::of(crate::table::contract())];
    specs[0].followed = true;
    let follower = crate::table::open_specs(&store, specs, LakeOptions::default()).await;
    let followed = crate::table::table(&follower);
    let mut there = followed.reader(None).await.unwrap();
    assert_eq!(came_and_went(&mut there).await, (0, 0));
    table.deliver(delivery(&table, 0, 10, 1, true).await).await.unwrap();
    assert_eq!(came_and_went(&mut here).await, (10, 0));
    table.deliver(delivery(&table, 0, 7, 2, true).await).await.unwrap();
    assert_eq!(came_and_went(&mut here).await, (7, 10));
    let removed = table.head().files().map(|file| file.path().clone()).collect::<Vec<_>>();
    let files = table.write_rows(vec![rows(0, 3)]).await.unwrap();
    table.commit_replace(&removed, &files, vec![(txn_id("m"), 1)], None, Overlay::default).await.unwrap();
    assert_eq!(came_and_went(&mut here).await, (3, 7));
    assert!(followed.follow(&|_, batch| Some(batch.clone())).await.unwrap());
    assert_eq!(came_and_went(&mut there).await, (20, 17));
    let again = open(&store, LakeOptions::default()).await;
    let mut since = crate::table::table(&again).reader(Some(1)).await.unwrap();
    assert_eq!(came_and_went(&mut since).await, (3, 10));
}

#[tokio::test]
async fn what_somebody_put_back_was_never_gone_for_who_reads_the_history() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    table.deliver(delivery(&table, 0, 10, 1, true).await).await.unwrap();
    let whole = i64::try_from(table.head().version().0).unwrap();
    let files: Vec<_> = table.head().files().cloned().collect();
    let paths: Vec<_> = files.iter().map(|file| file.path().clone()).collect();
    table.commit_replace(&paths, &[], vec![(txn_id("m"), 1)], None, Overlay::default).await.unwrap();
    table.commit_replace(&[], &files, vec![(txn_id("m"), 2)], None, Overlay::default).await.unwrap();
    let again = open(&store, LakeOptions::default()).await;
    let again = crate::table::table(&again);
    for (consumed, expected) in [(whole - 1, (10, 0)), (whole, (0, 0)), (whole + 1, (10, 0))] {
        let mut reader = again.reader(Some(consumed)).await.unwrap();
        assert_eq!(came_and_went(&mut reader).await, expected, "since version {consumed}");
    }
}

#[tokio::test]
async fn a_property_that_somebody_sets_is_passed_over_and_nobodys_work_is_lost() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    for (number, replace) in [(1, false), (2, true)] {
        set_property(&store, &table, "delta.logRetentionDuration", &format!("interval {number} days")).await;
        let delivered = delivery(&table, 0, 10 * number, number, replace).await;
        table.deliver(delivered).await.unwrap();
        assert_eq!((counted(&lake, "raw").await.0, lake.has_lost_lease()), (10 * number, false));
    }
}

#[tokio::test]
async fn a_delivery_that_replaces_leaves_nothing_that_others_put_there_meanwhile() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    table.deliver(delivery(&table, 0, 10, 1, true).await).await.unwrap();
    let (log, head) = foreign(&store, &table).await;
    let adds = table.write_rows(vec![rows(100, 3)]).await.unwrap().iter().map(|file| file.add.clone()).collect();
    log.append(&head, Change { adds, ..Change::new("WRITE", 1) }).await.unwrap();
    table.deliver(delivery(&table, 0, 4, 2, true).await).await.unwrap();
    assert_eq!((counted(&lake, "raw").await.0, lake.has_lost_lease()), (4, false));
    assert_eq!(foreign(&store, &table).await.1.rows(), Some(4));
    // And nothing of what somebody has compacted: the same rows under another name.
    table.deliver(delivery(&table, 0, 6, 3, true).await).await.unwrap();
    let (log, head) = foreign(&store, &table).await;
    let removes = head.files().map(|file| file.to_remove(1, false)).collect();
    let mut adds: Vec<_> =
        table.write_rows(vec![rows(0, 6)]).await.unwrap().iter().map(|file| file.add.clone()).collect();
    adds.iter_mut().for_each(|add| add.data_change = false);
    log.append(&head, Change { adds, removes, ..Change::new("OPTIMIZE", 1) }).await.unwrap();
    table.deliver(delivery(&table, 0, 5, 4, true).await).await.unwrap();
    assert_eq!((counted(&lake, "raw").await.0, lake.has_lost_lease()), (5, false));
}

#[tokio::test]
async fn a_delivery_that_can_never_be_committed_says_so_and_holds_nothing_up() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    table.deliver(delivery(&table, 0, 10, 1, true).await).await.unwrap();
    let mut reader = table.reader(Some(1)).await.unwrap();
    set_property(&store, &table, "delta.appendOnly", "true").await;
    let refused = delivery(&table, 0, 4, 2, true).await;
    let error = tokio::time::timeout(SOON, table.deliver(refused)).await.unwrap().unwrap_err();
    let LakeError::Delta { source: DeltaError::AppendOnly { .. }, .. } = &error else { panic!("{error:?}") };
    assert_eq!((error.class(), error.retry(), lake.has_lost_lease()), (Class::User, Retry::Never, false));
    // It has no place among the changes, so that readers go on.
    assert_eq!(drain(&mut reader).await.0, 0);
    assert!(table.flush().await.unwrap().is_none());
    let number = table.deliver(delivery(&table, 10, 2, 2, false).await);
    tokio::time::timeout(SOON, number).await.unwrap().unwrap();
    assert_eq!((counted(&lake, "raw").await.0, drain(&mut reader).await.0), (12, 2));
}

#[tokio::test]
async fn a_delivery_that_is_refused_on_its_way_gives_up_its_place_and_its_seal() {
    let store = Unruly::new();
    let lake = open(&(Arc::clone(&store) as Arc<dyn ObjectStore>), LakeOptions::default()).await;
    let table = table(&lake);
    table.deliver(delivery(&table, 0, 10, 1, true).await).await.unwrap();
    let mut reader = table.reader(Some(1)).await.unwrap();
    let refused = delivery(&table, 0, 4, 2, true).await;
    store.stop_commits();
    // Of the commits before this one.
    let _ = store.arrived.notified().now_or_never();
    let delivering = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.deliver(refused).await }
    });
    store.arrived.notified().await;
    let beneath: Arc<dyn ObjectStore> = Arc::clone(&store.inner) as Arc<dyn ObjectStore>;
    set_property(&beneath, &table, "delta.appendOnly", "true").await;
    store.permits.add_permits(10);
    let error = tokio::time::timeout(SOON, delivering).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&error, LakeError::Delta { source: DeltaError::AppendOnly { .. }, .. }), "{error:?}");
    let (count, versions) = drain(&mut reader).await;
    assert_eq!((count, versions.len(), lake.has_lost_lease()), (0, 1, false));
    assert!(table.flush().await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_processes_that_deliver_the_later_takes_the_next_number_and_loses_nothing_else() {
    let (store, one) = opened().await;
    let other = open(&store, LakeOptions::default()).await;
    let (here, there) = (table(&one), table(&other));
    there.append(vec![rows(50, 5)], Vec::new(), [(TxnId::landing(uuid(), 0), 4)]).unwrap();
    here.deliver(delivery(&here, 0, 10, 1, false).await).await.unwrap();
    let error = there.deliver(delivery(&there, 10, 3, 1, false).await).await.unwrap_err();
    assert!(matches!(&error, LakeError::Superseded { committed: 1, .. }), "{error}");
    assert_eq!((other.has_lost_lease(), there.committed_txn(&TxnId::delivery("readings"))), (false, Some(1)));
    there.deliver(delivery(&there, 10, 3, 2, false).await).await.unwrap();
    assert_eq!(counted(&other, "raw").await.0, 18);
    assert_eq!(foreign(&store, &here).await.1.rows(), Some(18));
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::from_u128(1)
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_also_when_it_says_no_transaction() {
    let store = Unruly::new();
    let lake = open(&(Arc::clone(&store) as Arc<dyn ObjectStore>), LakeOptions::default()).await;
    let table = table(&lake);
    for (n, txns) in [(0, vec![]), (1, vec![(txn_id("app"), 1)])] {
        table.append(vec![rows(n, 1)], vec![reject(n)], txns).unwrap();
        // It takes place, and neither it nor the look whether it will last is answered: first the rejects', then the rows'.
        for before in [None, Some(Fate::Passed)] {
            store.fates.lock().extend(before.into_iter().chain([Fate::Unanswered, Fate::Refused]));
            assert!(matches!(table.flush().await, Err(LakeError::Delta { .. })));
        }
        table.flush().await.unwrap();
    }
    let store: Arc<dyn ObjectStore> = store;
    assert_eq!(foreign(&store, &table).await.1.version().0, 2);
    assert_eq!((counted(&lake, "raw").await.0, counted(&lake, "quarantine").await.0), (2, 2));
}

#[tokio::test]
async fn a_path_that_another_writer_spells_otherwise_is_the_same_file() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    table.append(vec![rows(0, 10)], Vec::new(), [(txn_id("app"), 9)]).unwrap();
    table.flush().await.unwrap();
    let (log, head) = foreign(&store, &table).await;
    let mut remove = head.files().next().unwrap().to_remove(1, true);
    remove.path = remove.path.replace('-', "%2D");
    let after = log.append(&head, Change { removes: vec![remove], ..Change::new("DELETE", 1) }).await.unwrap();
    assert_eq!((after.file_count(), after.rows()), (0, Some(0)));
    let info: BTreeMap<&str, i64> = after.txns().map(|txn| (txn.app_id.as_str(), txn.version)).collect();
    assert_eq!(info, BTreeMap::from([("app", 9)]));
}

/// Another writer brings rows, or moves them between files.
async fn foreign_commit(store: &Arc<dyn ObjectStore>, table: &Table, moves_only: bool) {
    let (log, head) = foreign(store, table).await;
    let from = if moves_only { 0 } else { 1_000 };
    let mut adds: Vec<_> =
        table.write_rows(vec![rows(from, 10)]).await.unwrap().iter().map(|file| file.add.clone()).collect();
    adds.iter_mut().for_each(|add| add.data_change = !moves_only);
    let removes = head.files().filter(|_| moves_only).map(|file| file.to_remove(1, false)).collect();
    log.append(&head, Change { adds, removes, ..Change::new("FOREIGN", 1) }).await.unwrap();
}

#[tokio::test]
async fn rows_of_another_writer_are_not_passed_over_by_models_that_read_the_table_here() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    table.append(vec![rows(0, 10)], Vec::new(), [(txn_id("app"), 9)]).unwrap();
    table.flush().await.unwrap();
    let mut reader = table.reader(None).await.unwrap();
    drain(&mut reader).await;
    // That rows were moved between files is nothing to a model.
    foreign_commit(&store, &table, true).await;
    table.append(vec![rows(10, 1)], Vec::new(), [(txn_id("app"), 10)]).unwrap();
    table.flush().await.unwrap();
    assert_eq!((drain(&mut reader).await.0, lake.has_lost_lease()), (1, false));
    foreign_commit(&store, &table, false).await;
    table.append(vec![rows(11, 1)], Vec::new(), [(txn_id("app"), 11)]).unwrap();
    table.flush().await.unwrap();
    assert!(lake.has_lost_lease());
    assert!(matches!(table.flush().await, Ok(None)));
    // Begun anew, a model that has consumed what it had made of version 3 meets them.
    let again = open(&store, LakeOptions::default()).await;
    let mut since = crate::table::table(&again).reader(Some(3)).await.unwrap();
    assert_eq!(drain(&mut since).await.0, 11);
}

#[tokio::test]
async fn without_a_reader_here_another_writers_rows_change_nothing_for_a_writer() {
    let (store, lake) = opened().await;
    let table = table(&lake);
    drop(table.reader(None).await.unwrap());
    for n in 0..2 {
        foreign_commit(&store, &table, false).await;
        table.append(vec![rows(n, 1)], Vec::new(), [(txn_id("app"), n)]).unwrap();
        table.flush().await.unwrap();
        assert!(!lake.has_lost_lease());
    }
    assert_eq!(counted(&lake, "raw").await.0, 22);
}

#[tokio::test]
async fn groups_are_not_shown_beside_files_that_another_writer_has_joined() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut specs = vec![vitalake_lake::TableSpec::of(crate::table::contract())];
    specs[0].grouped = true;
    let lake = crate::table::open_specs(&store, specs, LakeOptions::default()).await;
    let table = table(&lake);
    let files = table.write_rows(vec![rows(0, 10)]).await.unwrap();
    table.commit_replace(&[], &files, vec![(txn_id("m"), 1)], None, Overlay::default).await.unwrap();
    foreign_commit(&store, &table, true).await;
    let more = table.write_rows(vec![rows(10, 1)]).await.unwrap();
    let shown = table.commit_replace(&[], &more, vec![(txn_id("m"), 2)], None, || panic!("nothing may be shown")).await;
    assert!(matches!(shown, Err(LakeError::LeaseLost { .. })) && lake.has_lost_lease());
    // The commit is in the log, and is found by who begins anew.
    let again = open(&store, LakeOptions::default()).await;
    assert_eq!(crate::table::table(&again).committed_txn(&txn_id("m")), Some(2));
}

/// Two processes that make the same of the same: the same transactions with the same versions, in files of their own.
fn the_same(here: &Table, txn: &TxnId) {
    here.append(vec![rows(0, 10)], vec![reject(10)], [(txn.clone(), 9)]).unwrap();
}

#[rstest::rstest]
#[case::landing(TxnId::landing(uuid(), 0))]
#[case::a_model(TxnId::model("m", "readings"))]
#[case::another_writers(txn_id("app"))]
#[tokio::test]
async fn a_commit_that_another_process_has_made_word_for_word_is_not_taken_for_ones_own(
    #[case] txn: TxnId,
    // Whether rejects, rows or both are there already when the second comes.
    #[values(false, true)] rejects_alone: bool,
) {
    let store = Unruly::new();
    let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    let (one, other) = (open(&shared, LakeOptions::default()).await, open(&shared, LakeOptions::default()).await);
    let (here, there) = (table(&one), table(&other));
    the_same(&here, &txn);
    the_same(&there, &txn);
    if rejects_alone {
        store.fates.lock().extend([Fate::Passed, Fate::Refused, Fate::Refused, Fate::Refused]);
        assert!(matches!(here.flush().await, Err(LakeError::Delta { .. })));
    } else {
        here.flush().await.unwrap();
    }
    assert!(matches!(there.flush().await, Err(LakeError::LeaseLost { .. })));
    assert!(other.has_lost_lease() && !one.has_lost_lease());
    here.flush().await.unwrap();
    let again = open(&shared, LakeOptions::default()).await;
    assert_eq!((counted(&again, "raw").await.0, counted(&again, "quarantine").await.0), (10, 1));
}

#[tokio::test]
async fn a_commit_without_files_is_told_from_anothers_and_found_when_its_answer_was_lost() {
    let store = Unruly::new();
    let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    let (one, other) = (open(&shared, LakeOptions::default()).await, open(&shared, LakeOptions::default()).await);
    let (here, there) = (table(&one), table(&other));
    let txns = || vec![(TxnId::model("m", "readings"), 7)];
    store.fates.lock().extend([Fate::Unanswered, Fate::Refused]);
    let lost = here.commit_replace(&[], &[], txns(), None, Overlay::default).await;
    assert!(matches!(lost, Err(LakeError::Delta { .. })), "{lost:?}");
    assert_eq!(here.commit_replace(&[], &[], txns(), None, Overlay::default).await.unwrap(), 1);
    let theirs = there.commit_replace(&[], &[], txns(), None, Overlay::default).await;
    assert!(matches!(theirs, Err(LakeError::LeaseLost { .. })), "{theirs:?}");
    assert_eq!((one.has_lost_lease(), other.has_lost_lease()), (false, true));
}

#[tokio::test]
async fn of_two_processes_that_deliver_the_same_at_once_the_later_says_that_its_number_is_taken() {
    let store = Unruly::new();
    let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    let beneath: Arc<dyn ObjectStore> = Arc::clone(&store.inner) as _;
    let (one, other) = (open(&beneath, LakeOptions::default()).await, open(&shared, LakeOptions::default()).await);
    let (here, there) = (table(&one), table(&other));
    let mut reader = there.reader(None).await.unwrap();
    drain(&mut reader).await;
    let second = delivery(&there, 0, 10, 1, false).await;
    store.stop_commits();
    let delivering = tokio::spawn({
        let there = Arc::clone(&there);
        async move { there.deliver(second).await }
    });
    // It has found nobody before it, and is about to be put.
    store.arrived.notified().await;
    here.deliver(delivery(&here, 0, 10, 1, false).await).await.unwrap();
    store.permits.add_permits(10);
    let outcome = tokio::time::timeout(SOON, delivering).await.unwrap().unwrap();
    assert!(matches!(&outcome, Err(LakeError::Superseded { .. })), "{outcome:?}");
    assert_eq!(counted(&other, "raw").await.0, 10);
}
