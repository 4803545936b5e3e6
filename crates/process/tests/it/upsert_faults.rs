//! Upserts over crashes, beside other programs and in processes that only follow.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use parking_lot::Mutex;
use rstest::rstest;
use vitalake_lake::delta::DeltaLog;
use vitalake_lake::{Space, TableId, TxnId};

use crate::breaking::{BreakingStore, Puts};
use crate::rebuild::optimize;
use crate::replica::follow_tables;
use crate::run::{Up, World};
use crate::support::name;
use crate::upsert::{Event, append, commit, newest, placed, restarted, versions, world};

type Next = Arc<Mutex<Option<(&'static str, Puts)>>>;

/// The world once it has settled over a panic at its next write to a folder: the first events are committed, those that
/// follow came after that.
async fn panicked(world: &mut World, folder: &'static str, then: &[Event]) -> Up {
    let next = breaking(world);
    let up = world.up().await;
    append(&up, &FIRST, 0);
    commit(&up).await;
    *next.lock() = Some((folder, Puts::Panic));
    append(&up, then, FIRST.len() as i64);
    up.lake.table(&name("changes")).unwrap().flush().await.unwrap();
    up.within(up.models.settled()).await;
    assert!(next.lock().is_none(), "nothing was written to {folder}");
    up
}

fn breaking(world: &mut World) -> Next {
    let next = Next::default();
    world.store =
        Arc::new(BreakingStore { store: Arc::clone(&world.store), next: Arc::clone(&next), taken: Default::default() });
    next
}

/// Keys in several ranges, newer and older rows of some, and a delete.
const FIRST: [Event; 6] = [
    (0, 5, Some(1), false),
    (1, 5, Some(1), false),
    (2, 5, Some(1), false),
    (3, 5, Some(1), false),
    (4, 5, Some(1), false),
    (5, 5, Some(1), false),
];
const THEN: [Event; 5] = [
    (0, 3, Some(2), false),
    (1, 7, Some(2), false),
    (2, 6, None, true),
    (6, 1, Some(2), false),
    (3, 9, Some(-1), false),
];

fn everything() -> Vec<Event> {
    FIRST.into_iter().chain(THEN).collect()
}

/// Without the row that breaks a rule of `latest`.
fn expected() -> Vec<String> {
    newest("changes", &placed(&everything()[..10]), true, false)
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), reached).await.is_ok(), "{what}");
}

#[rstest]
#[case::the_state("state/latest")]
#[case::its_log("state/latest/_delta_log")]
#[case::the_rows("curated/latest/0")]
#[case::their_log("curated/latest/_delta_log")]
#[case::the_rejects("quarantine/latest/_delta_log")]
#[tokio::test]
async fn a_panic_at_any_write_leaves_what_a_rebuild_gives(#[case] folder: &'static str) {
    let mut world = world();
    let up = panicked(&mut world, folder, &THEN).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, expected());
    assert_eq!(up.committed(Space::Quarantine, "latest").await.len(), 1);
    let up = restarted(&world, up).await;
    append(&up, &[(0, 9, Some(2), false)], everything().len() as i64);
    commit(&up).await;
    assert_eq!(up.committed(Space::Quarantine, "latest").await.len(), 1);
    up.models.stop().await;
}

#[rstest]
#[case::the_state("state/latest")]
#[case::its_log("state/latest/_delta_log")]
#[case::the_rows("curated/latest/0")]
#[case::their_log("curated/latest/_delta_log")]
#[case::the_rejects("quarantine/latest/_delta_log")]
#[tokio::test]
async fn a_panic_while_keys_come_beside_others_leaves_what_a_rebuild_gives(#[case] folder: &'static str) {
    let mut world = world();
    world.leaves.leaf_rows_max = 1_000;
    let then = [(6, 5, Some(1), false), (7, 6, None, true), (8, 7, Some(1), false), (9, 9, Some(-1), false)];
    let up = panicked(&mut world, folder, &then).await;
    let mut events: Vec<Event> = FIRST.into_iter().chain(then).collect();
    let good = |events: &[Event]| placed(events).into_iter().filter(|((_, _, value, _), _)| *value != Some(-1));
    let latest = |events: &[Event]| newest("changes", &good(events).collect::<Vec<_>>(), true, false);
    assert_eq!(up.rows(Space::Curated, "latest", false).await, latest(&events));
    let up = restarted(&world, up).await;
    let last = [(10, 5, Some(1), false), (6, 4, Some(3), false), (7, 7, Some(3), false)];
    append(&up, &last[..1], events.len() as i64);
    commit(&up).await;
    append(&up, &last[1..], events.len() as i64 + 1);
    commit(&up).await;
    events.extend(last);
    assert_eq!(up.rows(Space::Curated, "latest", false).await, latest(&events));
    assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&events)));
    assert_eq!(up.committed(Space::Quarantine, "latest").await.len(), 1);
    up.models.stop().await;
}

/// How far the state of `latest` has come in its input.
async fn state_of(up: &Up) -> Option<i64> {
    let (input, output) = (up.lake.table(&name("changes")).unwrap(), up.lake.table(&name("latest")).unwrap());
    output.state_txn(&TxnId::model("latest", &input.head().metadata().id)).await.unwrap()
}

#[tokio::test]
async fn a_table_behind_its_state_is_brought_up_at_start() {
    let mut world = world();
    let next = breaking(&mut world);
    let up = world.up().await;
    append(&up, &FIRST, 0);
    commit(&up).await;
    let before = up.rows(Space::Curated, "latest", false).await;
    *next.lock() = Some(("curated/latest/_delta_log", Puts::Refuse));
    append(&up, &THEN, FIRST.len() as i64);
    let version = up.lake.table(&name("changes")).unwrap().flush().await.unwrap();
    until("the state is committed", async || state_of(&up).await == version).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, before);
    up.models.stop().await;
    drop(up.lake);
    *next.lock() = None;
    let up = world.up().await;
    up.within(up.models.settled()).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, expected());
    assert_eq!(up.committed(Space::Quarantine, "latest").await.len(), 1);
    up.models.stop().await;
}

/// There is room for few rows, or for the bytes of few.
#[rstest]
#[case::rows(6, None)]
#[case::bytes(1_000_000, Some(4 << 10))]
#[tokio::test]
async fn an_epoch_that_is_in_the_state_in_part_is_begun_again(
    #[case] dirty_rows_max: usize,
    #[case] joined_bytes_max: Option<usize>,
) {
    let mut world = world();
    world.models.retain(|model| ["latest", "versions"].contains(&model.dataset.as_str()));
    world.leaves.dirty_rows_max = dirty_rows_max;
    world.joined_bytes_max = joined_bytes_max;
    let up = world.up().await;
    append(&up, &FIRST, 0);
    commit(&up).await;
    let state = || DeltaLog::new(Arc::clone(&world.store), object_store::path::Path::from("state/latest"));
    let events = async || state().load().await.unwrap().unwrap().rows().unwrap();
    let before = events().await;
    // More keys than memory has room for, in an epoch that does not end: these rows never come again.
    let many: Vec<Event> = (10..40).map(|key| (key, 9, Some(9), false)).collect();
    append(&up, &many, FIRST.len() as i64);
    until("a part is in the state", async || events().await > before).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, newest("changes", &placed(&FIRST), true, false));
    let up = restarted(&world, up).await;
    append(&up, &THEN, FIRST.len() as i64);
    commit(&up).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, expected());
    assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&everything())));
    let latest = expected().len() as u64;
    // The newest of each key, the mark of the one that is deleted among them.
    assert_eq!(events().await, latest + 1);
    up.models.stop().await;
}

#[tokio::test]
async fn files_that_another_program_has_joined_are_made_anew() {
    let world = world();
    let up = world.up().await;
    append(&up, &FIRST, 0);
    commit(&up).await;
    up.models.stop().await;
    drop(up.lake);
    optimize(&world, Space::Curated, "latest").await;
    optimize(&world, Space::Curated, "versions").await;
    let up = world.up().await;
    append(&up, &THEN, FIRST.len() as i64);
    commit(&up).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, expected());
    assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&everything())));
    up.models.stop().await;
}

#[tokio::test]
async fn a_table_whose_folder_was_removed_comes_back_from_its_state() {
    let world = world();
    let up = world.up().await;
    append(&up, &everything(), 0);
    commit(&up).await;
    up.models.stop().await;
    drop(up.lake);
    remove(&world, "lake/curated/latest").await;
    let up = world.up().await;
    up.within(up.models.settled()).await;
    assert_eq!(up.rows(Space::Curated, "latest", false).await, expected());
    up.models.stop().await;
    drop(up.lake);
    remove(&world, "state/latest").await;
    let up = world.up().await;
    let why = async || up.models.statuses().into_iter().find(|s| s.dataset == name("latest")).and_then(|s| s.error);
    until("it says that the state is gone", async || why().await.is_some_and(|why| why.contains("gone from state/")))
        .await;
    up.models.stop().await;
}

async fn remove(world: &World, folder: &str) {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    let folder = object_store::path::Path::from(folder);
    let files: Vec<_> = world.store.list(Some(&folder)).try_collect().await.unwrap();
    for file in files {
        world.store.delete(&file.location).await.unwrap();
    }
}

#[tokio::test]
async fn a_range_that_nothing_came_to_keeps_its_files() {
    let world = world();
    let up = world.up().await;
    let keys: Vec<Event> = (0..60).map(|key| (key, 1, Some(1), false)).collect();
    append(&up, &keys, 0);
    commit(&up).await;
    let files = |dataset: &str| {
        let head = up.lake.table(&name(dataset)).unwrap().head();
        head.files().map(|file| file.path().to_string()).collect::<Vec<_>>()
    };
    let before = files("latest");
    assert!(before.len() > 8, "{}", before.len());
    // One key is newer, another comes late and changes nothing.
    append(&up, &[(7, 2, Some(2), false), (20, 0, Some(3), false)], 60);
    commit(&up).await;
    let after = files("latest");
    let gone = before.iter().filter(|path| !after.contains(path)).count();
    assert_eq!((gone, after.len()), (1, before.len()));
    let log = DeltaLog::new(Arc::clone(&world.store), TableId::new(Space::Curated, name("latest")).root());
    assert!(log.load().await.unwrap().unwrap().files().all(|file| file.range().is_some()));
    up.models.stop().await;
}

#[tokio::test]
async fn epochs_that_wait_are_committed_as_one() {
    let mut world = world();
    world.leaves.dirty_rows_max = 1_000;
    let next = breaking(&mut world);
    let up = world.up().await;
    append(&up, &FIRST, 0);
    commit(&up).await;
    *next.lock() = Some(("state/latest/_delta_log", Puts::Refuse));
    let latest = up.lake.table(&name("latest")).unwrap();
    let before = latest.head().version().0;
    let mut events = FIRST.to_vec();
    for number in 0..12 {
        let event = (number % 8, 10 + i64::from(number), Some(i64::from(number)), number == 9);
        append(&up, &[event], events.len() as i64);
        up.lake.table(&name("changes")).unwrap().flush().await.unwrap();
        events.push(event);
    }
    *next.lock() = None;
    up.within(up.models.settled()).await;
    // A few had begun when the store refused; those that came meanwhile are one.
    let commits = latest.head().version().0 - before;
    assert!((1..=6).contains(&commits), "{commits}");
    assert_eq!(up.rows(Space::Curated, "latest", false).await, newest("changes", &placed(&events), true, false));
    assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&events)));
    up.models.stop().await;
}

#[tokio::test]
async fn a_process_that_follows_shows_what_is_committed() {
    let world = world();
    let up = world.up().await;
    append(&up, &FIRST, 0);
    commit(&up).await;
    let follower = follow_tables(&world, Arc::clone(&world.store), &["changes", "corrected", "staff"]).await;
    append(&up, &THEN, FIRST.len() as i64);
    commit(&up).await;
    let history = versions("changes", &placed(&everything()));
    until("the follower shows the last commit", async || {
        follower.rows(Space::Curated, "latest", true).await == expected()
            && follower.rows(Space::Curated, "versions", true).await == history
    })
    .await;
    follower.models.stop().await;
    up.models.stop().await;
}
