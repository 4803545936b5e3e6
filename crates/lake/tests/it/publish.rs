//! Gated tables: what is staged is no reader's, what is published is everybody's, and no crash is in between.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::context::SessionContext;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer};
use vitalake_lake::delta::{Change, DeltaLog, Snapshot};
use vitalake_lake::{BEGUN_AFTER_GAP, Candidate, Lake, LakeError, LakeOptions, Overlay, Table, TableSpec, TxnId};

use crate::table::open_specs;
use crate::unruly::{Fate, Unruly};

const MODEL: &str = "vitalake/model/daily/input";

fn spec(name: &str, grouped: bool) -> TableSpec {
    let column = Column::new("n", ColumnType::Long);
    let contract = Contract { columns: vec![column], ..Contract::new(DatasetName::new(name).unwrap(), Layer::Serving) };
    TableSpec { grouped, gated: true, ..TableSpec::of(Arc::new(contract)) }
}

pub async fn open(store: &Arc<dyn ObjectStore>) -> Lake {
    open_specs(store, vec![spec("daily", true), spec("weekly", false)], LakeOptions::default()).await
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

pub fn table(lake: &Lake, name: &str) -> Arc<Table> {
    Arc::clone(lake.table(&DatasetName::new(name).unwrap()).unwrap())
}

pub fn rows(n: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("n", Arc::new(Int64Array::from(n.to_vec())) as ArrayRef, true)]).unwrap()
}

/// Commits rows as a model does that has consumed a version of its input.
async fn stage(table: &Table, n: &[i64], version: i64) -> Result<i64, LakeError> {
    let files = table.write_rows(vec![rows(n)]).await?;
    table.commit_replace(&[], &files, vec![(TxnId::parse(MODEL), version)], None, Overlay::default).await
}

pub fn candidate(table: &Table) -> Candidate {
    table.candidate().unwrap()
}

async fn query(lake: &Lake, name: &str, sql: &str) -> Vec<i64> {
    let context = SessionContext::new();
    vitalake_lake::provider::register_store(&context.runtime_env(), Arc::clone(lake.store()));
    context.register_table("t", lake.pin().provider("serving", name).unwrap()).unwrap();
    let answer = context.sql(sql).await.unwrap().collect().await.unwrap();
    let columns = answer[0].columns().iter();
    columns.map(|column| column.as_primitive::<Int64Type>().value(0)).collect()
}

async fn count(lake: &Lake, name: &str) -> i64 {
    query(lake, name, "SELECT COUNT(*) FROM t").await[0]
}

/// Rows by what `_published` says of them: those that are, those that are not.
async fn live(lake: &Lake, name: &str) -> Vec<i64> {
    let sql = "SELECT COUNT(*) FILTER (WHERE _published), COUNT(*) FILTER (WHERE NOT _published) FROM t";
    query(lake, &format!("{name}_live"), sql).await
}

/// HEAD as any Delta reader opens it.
async fn foreign(store: &Arc<dyn ObjectStore>, table: &Table) -> (DeltaLog, Snapshot) {
    let log = DeltaLog::new(Arc::clone(store), table.id().root());
    let head = log.load().await.unwrap().unwrap();
    (log, head)
}

/// Somebody removes the staged log.
pub async fn forget_staged(store: &Arc<dyn ObjectStore>, table: &Table) {
    let listed: Vec<_> = store.list(Some(&table.id().staged_log())).try_collect().await.unwrap();
    for meta in listed {
        store.delete(&meta.location).await.unwrap();
    }
}

async fn foreign_rows(store: &Arc<dyn ObjectStore>, table: &Table) -> Option<u64> {
    foreign(store, table).await.1.rows()
}

#[tokio::test]
async fn what_waits_is_news_after_a_checkpoint_and_a_start_too() {
    let store = memory();
    let options = || LakeOptions { commits_per_checkpoint: 2, ..LakeOptions::default() };
    let specs = || vec![spec("daily", true), spec("weekly", false)];
    let lake = open_specs(&store, specs(), options()).await;
    for name in ["daily", "weekly"] {
        let table = table(&lake, name);
        for version in 1..5 {
            stage(&table, &[version], version).await.unwrap();
        }
        assert_eq!(table.maintain().await.unwrap().checkpoints, 1);
        assert!(candidate(&table).changes_rows());
    }
    drop(lake);
    // A checkpoint does not say which of its files brought rows: no gate may take them for files that were only joined.
    let lake = open_specs(&store, specs(), options()).await;
    for name in ["daily", "weekly"] {
        let table = table(&lake, name);
        assert!(candidate(&table).changes_rows(), "{name}");
        table.publish(&candidate(&table)).await.unwrap();
        let added = foreign(&store, &table).await.1;
        assert_eq!(added.rows(), Some(4));
        assert!(added.files().all(|file| file.add.data_change), "readers of HEAD's changes would pass them by");
    }
}

#[tokio::test]
async fn what_is_staged_is_live_alone_until_it_is_published() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    assert!(!candidate(&table).waits());
    stage(&table, &[1, 2], 7).await.unwrap();
    let first = candidate(&table);
    stage(&table, &[3], 8).await.unwrap();
    assert_eq!((count(&lake, "daily").await, live(&lake, "daily").await), (0, vec![0, 3]));
    assert_eq!(foreign_rows(&store, &table).await, Some(0));
    // The candidate is what it was: what came meanwhile waits.
    table.publish(&first).await.unwrap();
    assert_eq!((count(&lake, "daily").await, live(&lake, "daily").await), (2, vec![2, 1]));
    let head = foreign(&store, &table).await.1;
    assert_eq!((head.rows(), head.txn(MODEL)), (Some(2), Some(7)));
    assert_eq!(head.txn("vitalake/publish/daily"), Some(first.version()));
    assert_eq!(table.committed_txn(&TxnId::parse(MODEL)), Some(8));
    let again = open(&store).await;
    assert_eq!((count(&again, "daily").await, live(&again, "daily").await), (2, vec![2, 1]));
    let table = self::table(&again, "daily");
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!((live(&again, "daily").await, candidate(&table).waits()), (vec![3, 0], false));
    assert_eq!(foreign(&store, &table).await.1.txn(MODEL), Some(8));
}

#[tokio::test]
async fn a_publication_takes_away_what_was_replaced_meanwhile_and_copies_nothing() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1, 2], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    let old = table.head().files().next().unwrap().path().clone();
    let files = table.write_rows(vec![rows(&[5])]).await.unwrap();
    let txns = vec![(TxnId::parse(MODEL), 2)];
    table.commit_replace(&[old], &files, txns, None, Overlay::default).await.unwrap();
    assert_eq!((count(&lake, "daily").await, live(&lake, "daily").await), (2, vec![0, 1]));
    table.publish(&candidate(&table)).await.unwrap();
    let head = foreign(&store, &table).await.1;
    let named: Vec<_> = head.files().map(|file| file.path().clone()).collect();
    assert_eq!((named, count(&lake, "daily").await), (vec![files[0].path().clone()], 1));
}

#[tokio::test]
async fn a_crash_at_any_commit_leaves_the_old_version_or_the_new_one_and_nothing_is_lost() {
    for failing in 0..3 {
        for fate in [Fate::Refused, Fate::Unanswered] {
            let unruly = Unruly::new();
            let store = Arc::clone(&unruly) as Arc<dyn ObjectStore>;
            let lake = open(&store).await;
            let table = table(&lake, "daily");
            stage(&table, &[1], 1).await.unwrap();
            table.publish(&candidate(&table)).await.unwrap();
            let mut fates = VecDeque::from(vec![Fate::Passed; failing]);
            fates.push_back(fate);
            fates.extend([Fate::Refused; 20]);
            *unruly.fates.lock() = fates;
            let staged = stage(&table, &[2, 3], 2).await;
            let published = table.publish(&candidate(&table)).await;
            assert!(failing == 2 || staged.is_err() || published.is_err());
            // Killed here: what comes next sees the store alone.
            let store = Arc::clone(&unruly.inner) as Arc<dyn ObjectStore>;
            let again = open(&store).await;
            let table = self::table(&again, "daily");
            let consumed = table.committed_txn(&TxnId::parse(MODEL));
            let rows = foreign_rows(&store, &table).await;
            assert_eq!(count(&again, "daily").await, i64::try_from(rows.unwrap()).unwrap());
            assert!(rows == Some(1) || (rows == Some(3) && consumed == Some(2)), "{failing} {fate:?}: {rows:?}");
            if consumed == Some(1) {
                stage(&table, &[2, 3], 2).await.unwrap();
            }
            table.publish(&candidate(&table)).await.unwrap();
            assert_eq!((count(&again, "daily").await, live(&again, "daily").await), (3, vec![3, 0]));
            assert_eq!(foreign_rows(&store, &table).await, Some(3));
        }
    }
}

#[tokio::test]
async fn a_publication_whose_answer_was_lost_is_found_by_the_next_try() {
    let unruly = Unruly::new();
    let store = Arc::clone(&unruly) as Arc<dyn ObjectStore>;
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    *unruly.fates.lock() = VecDeque::from([Fate::Unanswered, Fate::Refused, Fate::Refused, Fate::Refused]);
    let candidate = candidate(&table);
    let _unknown = table.publish(&candidate).await;
    unruly.fates.lock().clear();
    let version = table.publish(&candidate).await.unwrap();
    assert_eq!((version.0, count(&lake, "daily").await), (1, 1));
    assert_eq!(foreign(&store, &table).await.1.version().0, 1);
}

async fn foreign_commit(store: &Arc<dyn ObjectStore>, table: &Table, change: impl FnOnce(&Snapshot) -> Change) {
    let (log, head) = foreign(store, table).await;
    let change = change(&head);
    log.append(&head, change).await.unwrap();
}

#[tokio::test]
async fn another_writers_rows_in_between_are_found_and_never_written_over() {
    let store = memory();
    for reopened in [false, true] {
        let mut lake = open(&store).await;
        let mut table = table(&lake, "daily");
        let before = foreign_rows(&store, &table).await.unwrap();
        let staged = before + 1;
        stage(&table, &[1], table.committed_txn(&TxnId::parse(MODEL)).unwrap_or(0) + 1).await.unwrap();
        // A property is nothing to what is staged.
        foreign_commit(&store, &table, |head| {
            let mut metadata = head.metadata().clone();
            metadata.configuration.insert("owner".to_owned(), format!("{before}"));
            Change { metadata: Some(metadata), ..Change::new("SET TBLPROPERTIES", 1) }
        })
        .await;
        table.publish(&candidate(&table)).await.unwrap();
        stage(&table, &[2], table.committed_txn(&TxnId::parse(MODEL)).unwrap() + 1).await.unwrap();
        let files = table.write_rows(vec![rows(&[99])]).await.unwrap();
        foreign_commit(&store, &table, |_| Change {
            adds: files.iter().map(|file| file.add.clone()).collect(),
            ..Change::new("FOREIGN", 1)
        })
        .await;
        if !reopened {
            let refused = table.publish(&candidate(&table)).await.unwrap_err();
            assert!(matches!(refused, LakeError::ForeignCommit { .. }), "{refused}");
            assert!(table.can_be_staged_again());
        }
        assert_eq!(foreign_rows(&store, &table).await, Some(staged + 1));
        // Begun anew the model goes on from what HEAD has consumed, and makes again what was staged.
        lake = open(&store).await;
        table = self::table(&lake, "daily");
        assert_eq!(live(&lake, "daily").await, vec![i64::try_from(staged).unwrap() + 1, 0]);
        stage(&table, &[2], table.committed_txn(&TxnId::parse(MODEL)).unwrap() + 1).await.unwrap();
        table.publish(&candidate(&table)).await.unwrap();
        assert_eq!(foreign_rows(&store, &table).await, Some(staged + 2));
        lake = open(&store).await;
        assert_eq!(live(&lake, "daily").await, vec![i64::try_from(staged).unwrap() + 2, 0]);
    }
}

#[tokio::test]
async fn a_staged_file_that_somebody_removed_holds_the_publication_and_loses_nothing_else() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    stage(&table, &[2], 2).await.unwrap();
    let waits = candidate(&table);
    let file = waits.adds()[0].location(&table.id().root());
    let bytes = store.get(&file).await.unwrap().bytes().await.unwrap();
    store.delete(&file).await.unwrap();
    let refused = table.publish(&waits).await.unwrap_err();
    assert!(matches!(refused, LakeError::StagedFilesGone { files: 1, .. }), "{refused}");
    assert_eq!((count(&lake, "daily").await, foreign_rows(&store, &table).await), (1, Some(1)));
    store.put(&file, bytes.into()).await.unwrap();
    table.publish(&waits).await.unwrap();
    assert_eq!(count(&lake, "daily").await, 2);
}

#[tokio::test]
async fn a_staged_log_that_is_gone_is_begun_anew_from_what_is_published() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    stage(&table, &[2], 2).await.unwrap();
    forget_staged(&store, &table).await;
    let again = open(&store).await;
    let table = self::table(&again, "daily");
    // The model goes on from what HEAD has consumed, and what it makes is published under a version that is new.
    assert_eq!((table.committed_txn(&TxnId::parse(MODEL)), live(&again, "daily").await), (Some(1), vec![1, 0]));
    stage(&table, &[2], 2).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!((count(&again, "daily").await, foreign_rows(&store, &table).await), (2, Some(2)));
}

#[tokio::test]
async fn of_a_table_whose_folder_was_removed_nothing_is_staged_any_longer() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    stage(&table, &[2], 2).await.unwrap();
    let all: Vec<_> = store.list(Some(&table.id().root())).try_collect().await.unwrap();
    for meta in all {
        store.delete(&meta.location).await.unwrap();
    }
    let again = open(&store).await;
    let table = self::table(&again, "daily");
    assert_eq!((table.committed_txn(&TxnId::parse(MODEL)), live(&again, "daily").await), (None, vec![0, 0]));
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!((count(&again, "daily").await, foreign_rows(&store, &table).await), (1, Some(1)));
    // What is staged of the new table is its own.
    stage(&table, &[2], 2).await.unwrap();
    assert_eq!(live(&open(&store).await, "daily").await, vec![1, 1]);
}

#[tokio::test]
async fn what_is_noted_is_found_again_and_is_no_reason_to_publish() {
    let store = memory();
    let lake = open(&store).await;
    table(&lake, "daily").note("vitalake.gate", "held".to_owned()).await.unwrap();
    let again = open(&store).await;
    let table = table(&again, "daily");
    assert_eq!(table.noted("vitalake.gate").as_deref(), Some("held"));
    assert!(!candidate(&table).waits());
    let head = foreign(&store, &table).await.1;
    assert_eq!((head.version().0, head.metadata().configuration.len()), (0, 0));
}

/// Another writer's row in HEAD.
async fn foreign_row(store: &Arc<dyn ObjectStore>, table: &Table, n: i64) {
    let files = table.write_rows(vec![rows(&[n])]).await.unwrap();
    let adds = files.iter().map(|file| file.add.clone()).collect();
    foreign_commit(store, table, |_| Change { adds, ..Change::new("FOREIGN", 1) }).await;
}

#[tokio::test]
async fn what_is_noted_outlives_a_new_beginning_after_another_writer() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    table.note("vitalake.gate", "held".to_owned()).await.unwrap();
    foreign_row(&store, &table, 99).await;
    for _ in 0..2 {
        let again = open(&store).await;
        assert_eq!(live(&again, "daily").await, vec![1, 0]);
        assert_eq!(self::table(&again, "daily").noted("vitalake.gate").as_deref(), Some("held"));
    }
}

#[tokio::test]
async fn staged_files_that_are_gone_are_made_again_after_a_start_and_what_is_noted_stays() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    stage(&table, &[2], 2).await.unwrap();
    table.note("vitalake.gate", "held".to_owned()).await.unwrap();
    let file = candidate(&table).adds()[0].location(&table.id().root());
    store.delete(&file).await.unwrap();
    let again = open(&store).await;
    let table = self::table(&again, "daily");
    assert_eq!((table.committed_txn(&TxnId::parse(MODEL)), live(&again, "daily").await), (Some(1), vec![1, 0]));
    assert_eq!(table.noted("vitalake.gate").as_deref(), Some("held"));
    stage(&table, &[2], 2).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!(foreign_rows(&store, &table).await, Some(2));
}

#[tokio::test]
async fn a_staged_log_with_a_gap_is_begun_anew_and_says_so() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    forget_staged(&store, &table).await;
    // The process has not seen it, and writes on.
    stage(&table, &[2], 2).await.unwrap();
    for _ in 0..2 {
        let again = open(&store).await;
        let table = self::table(&again, "daily");
        assert_eq!((table.committed_txn(&TxnId::parse(MODEL)), live(&again, "daily").await), (Some(1), vec![1, 0]));
        assert!(table.noted(BEGUN_AFTER_GAP).is_some());
    }
    let again = open(&store).await;
    let table = self::table(&again, "daily");
    stage(&table, &[2], 2).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!((count(&again, "daily").await, foreign_rows(&store, &table).await), (2, Some(2)));
}

#[tokio::test]
async fn replayed_rows_that_wait_are_put_on_top_of_another_writers_commit() {
    let store = memory();
    let lake = open(&store).await;
    let table = table(&lake, "weekly");
    stage(&table, &[1], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    // They have left quarantine, and no input gives them again.
    let files = table.write_rows(vec![rows(&[2, 3])]).await.unwrap();
    let replay = TxnId::parse("vitalake/replay/weekly");
    table.commit_replace(&[], &files, vec![(replay.clone(), 1)], None, Overlay::default).await.unwrap();
    foreign_row(&store, &table, 99).await;
    for _ in 0..2 {
        let again = open(&store).await;
        let table = self::table(&again, "weekly");
        assert_eq!(live(&again, "weekly").await, vec![2, 2]);
        assert_eq!((table.committed_txn(&replay), table.committed_txn(&TxnId::parse(MODEL))), (Some(1), Some(1)));
    }
    let again = open(&store).await;
    let table = self::table(&again, "weekly");
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!((count(&again, "weekly").await, foreign_rows(&store, &table).await), (4, Some(4)));
}

#[tokio::test]
async fn tables_of_a_group_are_published_together_also_when_a_crash_comes_between_their_commits() {
    // The note, then the two commits to HEAD.
    for failing in 0..=3 {
        let unruly = Unruly::new();
        let store = Arc::clone(&unruly) as Arc<dyn ObjectStore>;
        let lake = open(&store).await;
        let both = ["daily", "weekly"].map(|name| table(&lake, name));
        for table in &both {
            stage(table, &[1], 1).await.unwrap();
        }
        let candidates: Vec<Candidate> = both.iter().map(|table| candidate(table)).collect();
        // What is staged after they were taken is not part of it.
        stage(&both[1], &[2, 3], 2).await.unwrap();
        *unruly.fates.lock() = VecDeque::from(vec![Fate::Passed; failing]);
        unruly.fates.lock().extend([Fate::Refused; 20]);
        let published = lake.publish_together(&candidates).await;
        assert_eq!(published.is_ok(), failing == 3);
        let shown = [count(&lake, "daily").await, count(&lake, "weekly").await];
        assert_eq!(shown, if failing == 3 { [1, 1] } else { [0, 0] });
        let again = open(&(Arc::clone(&unruly.inner) as Arc<dyn ObjectStore>)).await;
        let shown = [count(&again, "daily").await, count(&again, "weekly").await];
        assert_eq!(shown, if failing >= 2 { [1, 1] } else { [0, 0] }, "{failing}");
        assert_eq!(live(&again, "weekly").await.iter().sum::<i64>(), 3);
    }
}

#[tokio::test]
async fn a_follower_sees_what_its_owner_has_published() {
    let store = memory();
    let owner = open(&store).await;
    let specs = ["daily", "weekly"].map(|name| TableSpec { followed: true, ..spec(name, name == "daily") });
    let follower = open_specs(&store, specs.to_vec(), LakeOptions::default()).await;
    let (ours, theirs) = (table(&owner, "daily"), table(&follower, "daily"));
    stage(&ours, &[1, 2], 1).await.unwrap();
    assert!(theirs.follow(&|_, batch| Some(batch.clone())).await.unwrap());
    assert_eq!((count(&follower, "daily").await, live(&follower, "daily").await), (0, vec![0, 2]));
    ours.publish(&candidate(&ours)).await.unwrap();
    theirs.follow(&|_, batch| Some(batch.clone())).await.unwrap();
    assert_eq!((count(&follower, "daily").await, live(&follower, "daily").await), (2, vec![2, 0]));
    assert!(!unpublished(&ours) && !follower.has_lost_lease());
}

fn unpublished(table: &Table) -> bool {
    candidate(table).waits()
}

#[tokio::test]
async fn a_table_whose_contract_has_no_gate_any_longer_keeps_what_was_staged() {
    let store = memory();
    let lake = open(&store).await;
    stage(&table(&lake, "daily"), &[1], 1).await.unwrap();
    let specs = ["daily", "weekly"].map(|name| TableSpec { gated: false, ..spec(name, name == "daily") });
    let again = open_specs(&store, specs.to_vec(), LakeOptions::default()).await;
    let table = table(&again, "daily");
    assert_eq!((count(&again, "daily").await, unpublished(&table)), (0, true));
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!(count(&again, "daily").await, 1);
}

#[tokio::test]
async fn a_store_that_is_away_publishes_nothing_and_the_next_try_does() {
    let unruly = Unruly::new();
    let store = Arc::clone(&unruly) as Arc<dyn ObjectStore>;
    let lake = open(&store).await;
    let table = table(&lake, "daily");
    stage(&table, &[1], 1).await.unwrap();
    unruly.is_away.store(true, Ordering::SeqCst);
    assert!(table.publish(&candidate(&table)).await.is_err());
    assert_eq!(count(&lake, "daily").await, 0);
    unruly.is_away.store(false, Ordering::SeqCst);
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!(count(&lake, "daily").await, 1);
}

#[tokio::test]
async fn a_window_is_published_while_its_neighbour_waits_and_is_not_forgotten() {
    let store = memory();
    let parted = || {
        let mut spec = spec("daily", true);
        let contract = Contract { gate_window: Some(0), ..Contract::clone(&spec.contract) };
        spec.contract = Arc::new(contract);
        spec
    };
    let lake = open_specs(&store, vec![parted()], LakeOptions::default()).await;
    let table = table(&lake, "daily");
    stage(&table, &[1, 1, 2, 3, 3, 3], 1).await.unwrap();
    let all = candidate(&table);
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!((all.adds().len(), all.changed_windows()), (3, named(&["1", "2", "3"])));
    let first = all.without(&named(&["2"]));
    assert!(first.waits());
    table.publish(&first).await.unwrap();
    assert_eq!((count(&lake, "daily").await, live(&lake, "daily").await), (5, vec![5, 1]));
    // HEAD says of no input how far it has come, so that what waits can be made again.
    let head = foreign(&store, &table).await.1;
    assert_eq!((head.txn(MODEL), head.rows()), (None, Some(5)));
    assert!(!candidate(&table).without(&named(&["2"])).waits());
    // What waited is published later, though nothing else was staged since.
    table.publish(&candidate(&table)).await.unwrap();
    let head = foreign(&store, &table).await.1;
    assert_eq!((head.txn(MODEL), head.rows(), candidate(&table).waits()), (Some(1), Some(6), false));
}

#[tokio::test]
async fn of_a_table_that_was_published_in_part_and_has_lost_its_staged_log_all_is_made_again() {
    let store = memory();
    let parted = || {
        let mut spec = spec("daily", true);
        spec.contract = Arc::new(Contract { gate_window: Some(0), ..Contract::clone(&spec.contract) });
        spec
    };
    let lake = open_specs(&store, vec![parted()], LakeOptions::default()).await;
    let table = table(&lake, "daily");
    stage(&table, &[1, 2], 1).await.unwrap();
    table.publish(&candidate(&table).without(&BTreeSet::from(["2".to_owned()]))).await.unwrap();
    forget_staged(&store, &table).await;
    let again = open_specs(&store, vec![parted()], LakeOptions::default()).await;
    let table = self::table(&again, "daily");
    assert_eq!((table.committed_txn(&TxnId::parse(MODEL)), live(&again, "daily").await), (None, vec![0, 0]));
    assert_eq!(count(&again, "daily").await, 1);
    stage(&table, &[1, 2], 1).await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    assert_eq!(foreign_rows(&store, &table).await, Some(2));
}
