//! Clean-up beside models: what one of them has still to read stays, whether it runs, has failed or is elsewhere.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use vitalake_contract::{Contract, DatasetName, Layer};
use vitalake_lake::{Lake, LakeError, LakeOptions, Maintained, Space, TableId, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;

use crate::table::{contract, drain, rows, table};

const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// Commits before the clock moves on, enough to be compacted.
const COMMITS: i64 = 12;

/// Which tables a process opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    Both,
    /// It runs no models.
    RawAlone,
}

fn output() -> TableId {
    TableId::new(Space::Curated, DatasetName::new("steps").unwrap())
}

fn raw(read: bool) -> TableSpec {
    TableSpec { read_by: read.then(output).into_iter().collect(), ..TableSpec::of(contract()) }
}

fn derived() -> TableSpec {
    let contract = contract();
    let schema = contract.table_schema();
    let contract = Contract { dataset: output().dataset, layer: Layer::Curated, source: None, ..(*contract).clone() };
    TableSpec { schema, ..TableSpec::of(Arc::new(contract)) }
}

async fn open(store: &Arc<dyn ObjectStore>, specs: Vec<TableSpec>, clock: &Clock) -> Lake {
    let options = LakeOptions { commits_per_checkpoint: 4, ..LakeOptions::default() };
    Lake::open(Arc::clone(store), specs, options, clock.clone(), Cpu::with_workers(2).unwrap()).await.unwrap()
}

async fn commit(lake: &Lake, count: i64) {
    for n in 0..count {
        table(lake).append(vec![rows(n, 10)], Vec::new(), []).unwrap();
        table(lake).flush().await.unwrap();
    }
}

/// The model commits what it made of a version of its input.
async fn model_commits(lake: &Lake, input_table_id: &str, version: i64) {
    let output = lake.table(&output().dataset).unwrap();
    output.append(vec![rows(version, 1)], Vec::new(), []).unwrap();
    let seal = output.seal().unwrap();
    output.commit(&seal, vec![(TxnId::model("steps", input_table_id), version)]).await.unwrap();
}

/// A month goes by between the commits, with maintenance on both sides of it. Gives the rows that came.
async fn a_month(lake: &Lake, clock: &Clock) -> (i64, Maintained) {
    commit(lake, COMMITS).await;
    assert!(table(lake).maintain().await.unwrap().files_compacted >= 8);
    clock.advance(MONTH);
    commit(lake, 6).await;
    ((COMMITS + 6) * 10, table(lake).maintain().await.unwrap())
}

/// A clock that can be compared with the times of files in the store.
fn clock() -> Clock {
    Clock::manual(Clock::system().now_ms())
}

#[rstest::rstest]
#[case::has_failed(Opens::Both, Some(3))]
#[case::has_failed_before_its_first_commit(Opens::Both, None)]
#[case::is_of_a_process_that_is_down(Opens::RawAlone, Some(3))]
#[case::is_of_a_process_that_never_was(Opens::RawAlone, None)]
#[tokio::test]
async fn a_model_that_does_not_read_for_a_month_misses_nothing(#[case] opens: Opens, #[case] consumed: Option<i64>) {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), clock());
    let both = open(&store, vec![raw(true), derived()], &clock).await;
    let input_table_id = table(&both).head().metadata().id.clone();
    if let Some(version) = consumed {
        // It has been there, and has gone.
        drop(table(&both).reader(Some(0)).await.unwrap());
        model_commits(&both, &input_table_id, version).await;
    }
    let alone = open(&store, vec![raw(true)], &clock).await;
    let here = if opens == Opens::Both { &both } else { &alone };
    let (came, maintained) = a_month(here, &clock).await;
    assert!(maintained.checkpoints >= 1);
    let mended = open(&store, vec![raw(true), derived()], &clock).await;
    // A first commit that was cut short goes on from the beginning.
    let from = consumed.unwrap_or(0);
    let mut reader = table(&mended).reader(Some(from)).await.unwrap();
    assert_eq!(drain(&mut reader).await.0, came - from * 10);
    // What it was past is gone.
    assert_eq!(maintained.files_removed > 0, consumed.is_some());
    // Once it has read everything, so is the rest.
    let head = i64::try_from(table(&mended).head().version().0).unwrap();
    model_commits(&mended, &input_table_id, head).await;
    drop(reader);
    commit(&mended, 4).await;
    clock.advance(MONTH);
    assert!(table(&mended).maintain().await.unwrap().files_removed >= 8);
}

#[tokio::test]
async fn a_model_that_is_no_longer_in_the_project_keeps_nothing() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), clock());
    let lake = open(&store, vec![raw(false), derived()], &clock).await;
    let input_table_id = table(&lake).head().metadata().id.clone();
    model_commits(&lake, &input_table_id, 3).await;
    let (_, maintained) = a_month(&lake, &clock).await;
    assert!(maintained.files_removed >= 12, "{maintained:?}");
    let error = table(&lake).reader(Some(3)).await.unwrap_err();
    assert!(matches!(error, LakeError::Delta { attempt: "reading the history", .. }), "{error}");
}

#[rstest::rstest]
#[case::is_read(true)]
#[case::was_read(false)]
#[tokio::test]
async fn a_version_that_is_read_from_outside_keeps_its_files_for_as_long_as_that_takes(#[case] is_read: bool) {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), clock());
    let lake = open(&store, vec![raw(false)], &clock).await;
    commit(&lake, COMMITS).await;
    // Not the newest: an engine that goes on after a restart names the version that it was given.
    commit(&lake, 1).await;
    let version = table(&lake).head().version().0 - 1;
    let pin = table(&lake).pin_published(Some(version)).await.unwrap().unwrap();
    let files: Vec<_> = pin.snapshot().files().map(|file| file.location(&table(&lake).id().root())).collect();
    assert!(files.len() >= 8);
    let kept = is_read.then_some(pin);
    let (_, maintained) = a_month(&lake, &clock).await;
    let mut left = 0;
    for file in &files {
        left += usize::from(store.head(file).await.is_ok());
    }
    assert_eq!(left == files.len(), is_read, "{left} of {} files, {maintained:?}", files.len());
    drop(kept);
    commit(&lake, 4).await;
    table(&lake).maintain().await.unwrap();
    for file in &files {
        assert!(store.head(file).await.is_err(), "{file} is nobody's any longer");
    }
}
