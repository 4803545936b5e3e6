//! Corrections: rows and rejects that take the place of others, in two commits that are one to whoever opens the table.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use vitalake_lake::store::DiskStore;
use vitalake_lake::{Account, Correction, Lake, LakeError, LakeOptions, Table};
use vitalake_runtime::disk::CrashDisk;

use crate::table::{counted, drain, open, reject, rows, table, txn_id};

async fn filled(store: &Arc<dyn ObjectStore>) -> Lake {
    let lake = open(store, LakeOptions::default()).await;
    for from in [0, 10] {
        table(&lake).append(vec![rows(from, 10)], vec![reject(from)], [(txn_id("app"), from)]).unwrap();
        table(&lake).flush().await.unwrap();
    }
    lake
}

/// The rows of the first file become three, and its reject goes.
async fn correction(table: &Table) -> Result<Correction, LakeError> {
    Ok(Correction {
        removed: table.head().files().take(1).cloned().collect(),
        added: table.write_rows(vec![rows(100, 3)]).await?,
        rejects_removed: table.rejects_head().files().take(1).cloned().collect(),
        rejects_added: Vec::new(),
        txns: vec![(txn_id("input"), 7)],
        account: Account { offered: 3, ..Account::default() },
        retracted: 11,
        unchanged: 0,
    })
}

#[tokio::test]
async fn a_correction_is_an_epoch_of_its_own_to_readers_and_has_its_place_in_the_books() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = filled(&store).await;
    let table = table(&lake);
    let mut reader = table.reader(None).await.unwrap();
    drain(&mut reader).await;
    let version = table.correct(&correction(&table).await.unwrap()).await.unwrap().unwrap();
    let increment = reader.try_next().unwrap();
    assert_eq!((increment.removed.len(), increment.files.len(), increment.version), (1, 1, Some(version)));
    assert_eq!(increment.seal.unwrap().version_now(), Some(version));
    assert!(reader.try_next().is_none());
    assert_eq!((counted(&lake, "raw").await.0, counted(&lake, "quarantine").await.0), (13, 1));
    assert_eq!(table.committed_txn(&txn_id("input")), Some(7));
    assert_eq!(table.books().await.unwrap().retracted, 11);
    let again = open(&store, LakeOptions::default()).await;
    assert_eq!((counted(&again, "raw").await.0, counted(&again, "quarantine").await.0), (13, 1));
}

#[tokio::test]
async fn what_has_moved_is_looked_at_again_and_what_does_not_come_out_is_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = filled(&store).await;
    let table = table(&lake);
    let made = correction(&table).await.unwrap();
    let lost = Correction { retracted: 10, ..made.clone() };
    assert!(matches!(table.correct(&lost).await, Err(LakeError::Unbalanced { .. })));
    // Rows that no epoch holds.
    table.append(vec![rows(20, 1)], Vec::new(), [(txn_id("app"), 20)]).unwrap();
    assert_eq!(table.correct(&made).await.unwrap(), None);
    table.flush().await.unwrap();
    assert!(table.correct(&made).await.unwrap().is_some());
    // Its files are gone.
    let again = Correction { txns: Vec::new(), ..made };
    assert_eq!(table.correct(&again).await.unwrap(), None);
}

#[tokio::test]
async fn killed_at_every_step_both_sides_are_as_before_or_as_after() {
    let (mut before, mut after) = (0, 0);
    for operations in 0.. {
        let disk = CrashDisk::new(operations);
        let store: Arc<dyn ObjectStore> = Arc::new(DiskStore::new(Arc::new(disk.clone()), "/data"));
        let lake = Arc::new(filled(&store).await);
        let correcting = {
            let table = table(&lake);
            disk.kill_after(operations);
            tokio::spawn(async move { table.correct(&correction(&table).await?).await })
        };
        while !correcting.is_finished() {
            if disk.is_dead() {
                lake.close().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ended = correcting.await.unwrap().is_ok() && !disk.is_dead();
        lake.close().await;
        drop(lake);
        disk.crash();
        let store: Arc<dyn ObjectStore> = Arc::new(DiskStore::new(Arc::new(disk.clone()), "/data"));
        let again = open(&store, LakeOptions::default()).await;
        let there = (counted(&again, "raw").await.0, counted(&again, "quarantine").await.0);
        match there {
            (20, 2) => before += 1,
            (13, 1) => after += 1,
            other => panic!("killed after {operations}: {other:?}"),
        }
        if ended {
            break;
        }
    }
    assert!(before > 0 && after > 1, "{before} {after}");
}
