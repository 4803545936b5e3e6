//! Replayed rows that wait for a gate when somebody removes the staged log: their rejects are in quarantine again.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use vitalake_lake::delta::DeltaLog;
use vitalake_lake::{Again, Lake, LakeError, PutThrough, Putting, RejectFilter, Table, Terms, TxnId, Walk};

use crate::publish::{candidate, forget_staged, open, table};
use crate::table::reject;

const MODEL: &str = "vitalake/model/weekly/input";

/// Makes a row of every second reject that it meets; one is there already, and the others fail again.
struct Seconds(usize);

impl PutThrough for Seconds {
    type Error = LakeError;

    async fn put_through(&mut self, rejects: RecordBatch) -> Result<Again, LakeError> {
        let mut again = Again::default();
        for at in 0..rejects.num_rows() {
            self.0 += 1;
            match self.0 {
                n if n % 2 == 0 => again.rows.push(crate::publish::rows(&[7])),
                1 => again.duplicates += 1,
                _ => again.rejects.push(rejects.slice(at, 1)),
            }
        }
        Ok(again)
    }
}

async fn replay(table: &Table) -> (u64, u64) {
    let _one_at_a_time = table.turn_to_take_back().await;
    let mut walk = Walk::begin(table, RejectFilter::default()).await.unwrap();
    let done = AtomicU64::new(0);
    while let Some(portion) = walk.next_portion() {
        let filter = walk.filter().clone();
        let putting = Putting { filter: &filter, done: &done };
        let came = table.put_portion_through(&portion, putting, &mut Seconds(0), Terms::default()).await.unwrap();
        walk.came(table, came).await.unwrap();
    }
    (walk.tried().taken, walk.tried().rows)
}

/// A row that is published, and six rejects.
async fn with_rejects(store: &Arc<dyn ObjectStore>) -> (Lake, Arc<Table>) {
    let lake = open(store).await;
    let table = table(&lake, "weekly");
    let account = vitalake_lake::Account { offered: 7, ..Default::default() };
    let rejects = (0..6).map(reject).collect();
    table.append_accounted(vec![crate::publish::rows(&[1])], rejects, [(TxnId::parse(MODEL), 1)], account).unwrap();
    table.flush().await.unwrap();
    table.publish(&candidate(&table)).await.unwrap();
    (lake, table)
}

/// Rows of HEAD and what is staged, rejects, and what is missing by the books.
async fn places(table: &Table) -> (Option<i64>, Option<i64>, Option<i64>) {
    let books = table.books().await.unwrap();
    (books.accepted, books.quarantined, books.missing())
}

#[tokio::test]
async fn rejects_whose_replayed_rows_are_gone_with_the_staged_log_are_back_once_and_can_be_replayed_again() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lake, table) = with_rejects(&store).await;
    assert_eq!(places(&table).await, (Some(1), Some(6), Some(0)));
    // The second replay takes rejects that the first has kept.
    assert_eq!((replay(&table).await, replay(&table).await), ((6, 3), (2, 1)));
    assert_eq!(places(&table).await, (Some(5), Some(0), Some(0)));
    drop(lake);
    forget_staged(&store, &table).await;
    for _ in 0..2 {
        let lake = open(&store).await;
        assert_eq!(places(&self::table(&lake, "weekly")).await, (Some(1), Some(6), Some(0)));
    }
    let lake = open(&store).await;
    let table = self::table(&lake, "weekly");
    assert_eq!(replay(&table).await, (6, 3));
    table.publish(&candidate(&table)).await.unwrap();
    drop(lake);
    forget_staged(&store, &table).await;
    // What was published is not undone.
    let lake = open(&store).await;
    assert_eq!(places(&self::table(&lake, "weekly")).await, (Some(4), Some(2), Some(0)));
}

#[tokio::test]
async fn rejects_that_cannot_be_had_any_more_are_missing_in_the_books() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lake, table) = with_rejects(&store).await;
    let quarantine = DeltaLog::new(Arc::clone(&store), "lake/quarantine/weekly".into());
    let before = quarantine.load().await.unwrap().unwrap();
    replay(&table).await;
    drop(lake);
    forget_staged(&store, &table).await;
    for file in before.files() {
        store.delete(&file.location(quarantine.root())).await.unwrap();
    }
    for _ in 0..2 {
        let lake = open(&store).await;
        assert_eq!(places(&self::table(&lake, "weekly")).await, (Some(1), Some(2), Some(3)));
    }
    let left: Vec<_> = store.list(Some(&table.id().staged_log())).try_collect().await.unwrap();
    assert!(!left.is_empty());
}
