//! The books of a table: what is offered is a row, a reject or accounted for, or nothing of the epoch is committed.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use uuid::Uuid;
use vitalake_contract::{Contract, DatasetName};
use vitalake_lake::delta::{Change, DeltaLog};
use vitalake_lake::{Account, DeliveredFiles, Lake, LakeError, LakeOptions, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::{Event, Events};

use crate::table::{contract, open, reject, rows, table};

const TOPIC: Uuid = Uuid::from_u128(7);

fn offered(count: i64) -> Account {
    Account { offered: count, ..Account::default() }
}

fn measured(events: &mut vitalake_runtime::events::EventReader) -> Vec<(String, Option<bool>)> {
    let mut found = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Measured { rule, want, passed, .. } = event {
            assert_eq!(&*rule, "conservation");
            found.push((want.to_string(), passed));
        }
    }
    found
}

#[rstest::rstest]
#[case::a_row_was_dropped(11)]
#[case::a_row_was_made_up(9)]
#[tokio::test]
async fn an_epoch_whose_sum_does_not_come_out_is_not_committed_and_said_once(#[case] count: i64) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (events, mut told) = Events::channel();
    let options = LakeOptions { events, ..LakeOptions::default() };
    let other = Arc::new(Contract { dataset: DatasetName::new("other").unwrap(), ..(*contract()).clone() });
    let specs = vec![TableSpec::of(contract()), TableSpec::of(other)];
    let lake =
        Lake::open(Arc::clone(&store), specs, options, Clock::system(), Cpu::with_workers(1).unwrap()).await.unwrap();
    let (broken, whole) = (table(&lake), Arc::clone(lake.table(&DatasetName::new("other").unwrap()).unwrap()));
    broken.append_accounted(vec![rows(0, 9)], vec![reject(9)], [], offered(count)).unwrap();
    whole.append_accounted(vec![rows(0, 9)], vec![reject(9)], [], offered(10)).unwrap();
    for _ in 0..2 {
        assert!(matches!(broken.flush().await, Err(LakeError::Unbalanced { .. })));
    }
    whole.flush().await.unwrap();
    let again = open(&store, LakeOptions::default()).await;
    assert_eq!(again.pin().tables().map(|view| view.head.rows().unwrap()).sum::<u64>(), 0, "nothing is committed");
    let sum = "9 accepted + 1 quarantined + 0 duplicates + 0 filtered";
    let want = [(format!("{count} offered = {sum}"), Some(false)), (format!("10 offered = {sum}"), Some(true))];
    assert_eq!(measured(&mut told), want);
}

#[tokio::test]
async fn what_is_offered_is_counted_over_all_commits_and_openings_through_checkpoints() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let count = TxnId::landed_count(TOPIC, 0);
    for epoch in 1..=3_i64 {
        let lake = open(&store, LakeOptions { commits_per_checkpoint: 1, ..LakeOptions::default() }).await;
        let before = table(&lake).committed_txn(&count).unwrap_or(0);
        assert_eq!(before, (epoch - 1) * 10);
        let txns = [(TxnId::landing(TOPIC, 0), epoch * 10 - 1), (count.clone(), before + 10)];
        let account = Account { offered: 10, quarantined_before: 2, ..Account::default() };
        table(&lake).append_accounted(vec![rows(epoch * 10, 7)], vec![reject(epoch)], txns, account).unwrap();
        table(&lake).flush().await.unwrap();
        table(&lake).maintain().await.unwrap();
    }
    let books = table(&open(&store, LakeOptions::default()).await).books().await.unwrap();
    assert_eq!((books.offered, books.accepted, books.quarantined), (30, Some(21), Some(3)));
    // Two of each epoch were said to be in quarantine from before, and are not.
    assert_eq!(books.missing(), Some(6));
}

#[tokio::test]
async fn what_another_writer_removed_is_missing_at_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = open(&store, LakeOptions::default()).await;
    let table = table(&lake);
    table.append_accounted(vec![rows(0, 9)], vec![reject(9)], [], offered(10)).unwrap();
    table.flush().await.unwrap();
    let before = table.books().await.unwrap().missing().unwrap();
    let log = DeltaLog::new(Arc::clone(&store), table.id().root());
    let head = log.load().await.unwrap().unwrap();
    let removes = head.files().map(|file| file.to_remove(1, true)).collect();
    log.append(&head, Change { removes, ..Change::new("FOREIGN", 1) }).await.unwrap();
    assert_eq!(table.books().await.unwrap().missing(), Some(before + 9));
}

#[tokio::test]
async fn a_delivery_that_lost_a_record_is_refused_and_one_that_replaces_keeps_count_of_what_it_replaced() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = open(&store, LakeOptions::default()).await;
    let table = table(&lake);
    let delivered = |number: i64, count: i64, files| DeliveredFiles {
        rows: files,
        replace: true,
        txns: vec![(TxnId::delivery("readings"), number)],
        account: Some(offered(count)),
        ..DeliveredFiles::default()
    };
    let files = |from| {
        let table = Arc::clone(&table);
        async move { table.write_rows(vec![rows(from, 5)]).await.unwrap() }
    };
    let lost = table.deliver(delivered(1, 6, files(0).await)).await;
    assert!(matches!(lost, Err(LakeError::Unbalanced { .. })), "{lost:?}");
    table.deliver(delivered(1, 5, files(0).await)).await.unwrap();
    table.deliver(delivered(2, 5, files(5).await)).await.unwrap();
    let books = table.books().await.unwrap();
    assert_eq!((books.offered, books.accepted, books.replaced, books.missing()), (10, Some(5), 5, Some(0)));
}
