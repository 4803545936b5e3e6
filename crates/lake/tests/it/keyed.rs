//! The state of a table with a key: who commits to it, what is found of an epoch that was cut short, what checkpoints keep.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use vitalake_contract::{Contract, DatasetName, Layer};
use vitalake_lake::delta::{CheckpointOptions, DeltaLog};
use vitalake_lake::{FilePath, Lake, LakeError, LakeOptions, StateChange, StateTable, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn rows(n: i64) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap()
}

async fn opened(store: &Arc<dyn ObjectStore>) -> (Lake, StateTable) {
    let contract = Contract::new(DatasetName::new("newest").unwrap(), Layer::Curated);
    let mut spec = TableSpec::of(Arc::new(contract));
    spec.schema = schema();
    let cpu = Cpu::with_workers(1).unwrap();
    let lake = Lake::open(Arc::clone(store), vec![spec], LakeOptions::default(), Clock::system(), cpu).await.unwrap();
    let table = Arc::clone(lake.table(&DatasetName::new("newest").unwrap()).unwrap());
    let state = lake.state_table(&table, schema(), 7).await.unwrap();
    (lake, state)
}

/// A row in the place of what a range held.
async fn change(state: &StateTable, range: &str, n: i64) -> StateChange {
    let held = state.head().files().filter(|file| file.range() == Some(range));
    let removes: Vec<FilePath> = held.map(|file| file.path().clone()).collect();
    let adds = state.files().write(&[rows(n)], range).await.unwrap().into_iter().collect();
    let txns = [(TxnId::model("newest", "input"), n)].into();
    StateChange { removes, adds, txns, ranges: vec![range.to_owned()], portion: false }
}

fn files(state: &StateTable) -> Vec<(String, String)> {
    let mut files: Vec<_> =
        state.head().files().map(|f| (f.range().unwrap().to_owned(), f.path().to_string())).collect();
    files.sort();
    files
}

#[tokio::test]
async fn of_two_who_commit_to_a_state_the_second_has_lost_its_lease() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (_first, mut state) = opened(&store).await;
    let (second, mut stale) = opened(&store).await;
    let mine = change(&state, "0", 1).await;
    state.commit(&mine).await.unwrap();
    let theirs = change(&stale, "1", 1).await;
    assert!(matches!(stale.commit(&theirs).await, Err(LakeError::LeaseLost { .. })));
    assert!(second.has_lost_lease());
}

#[tokio::test]
async fn parts_of_an_epoch_that_never_ended_are_not_there_for_who_opens_the_state() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (_lake, mut state) = opened(&store).await;
    for (range, n) in [("0", 1), ("1", 2)] {
        let whole = change(&state, range, n).await;
        state.commit(&whole).await.unwrap();
    }
    let (before, version) = (files(&state), state.version());
    for (range, n) in [("0", 3), ("10", 4), ("0", 5)] {
        let part = StateChange { portion: true, txns: [].into(), ..change(&state, range, n).await };
        state.commit(&part).await.unwrap();
    }
    assert_ne!(files(&state), before);
    let (_lake, mut state) = opened(&store).await;
    assert_eq!(files(&state), before);
    assert_eq!(state.head().txn(TxnId::model("newest", "input")), Some(2));
    // Who has seen the version before derives those ranges again, which changes nothing.
    let mut ranges = state.ranges_since(version).await.unwrap().unwrap();
    ranges.sort();
    ranges.dedup();
    assert_eq!(ranges, ["0", "10"]);
    let whole = change(&state, "0", 6).await;
    state.commit(&whole).await.unwrap();
    let (_lake, state) = opened(&store).await;
    assert_eq!(state.head().txn(TxnId::model("newest", "input")), Some(6));
}

#[tokio::test]
async fn a_checkpoint_keeps_the_ranges_of_files_and_the_seed() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (_lake, mut state) = opened(&store).await;
    let whole = change(&state, "0110", 1).await;
    state.commit(&whole).await.unwrap();
    let log = DeltaLog::new(Arc::clone(&store), object_store::path::Path::from("state/newest"));
    log.checkpoint(state.head(), CheckpointOptions::at(1)).await.unwrap();
    let (_lake, opened) = opened(&store).await;
    assert_eq!((files(&opened), opened.seed()), (files(&state), 7));
}
