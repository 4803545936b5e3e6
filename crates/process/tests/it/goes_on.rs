//! Nothing stops at one value: rows that a model cannot be run on go to quarantine, models that cannot go on are failed,
//! and all others work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use vitalake_contract::Layer;
use vitalake_contract::rule::Severity;
use vitalake_lake::Space;
use vitalake_process::{AppendPlan, MODEL_EXPRESSION_RULE, ModelState};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::CrashDisk;

use crate::breaking::{Breaking, BreakingStore, Puts};
use crate::run::{Up, World};
use crate::support::{batch, contract, contracts, longs, model, name, printed, strings};

const PADDED: &str = "-- kind: append\nSELECT subject_id,\n       length(lpad(subject_id, CAST(steps AS INT), 'x')) AS padded\nFROM raw.hourly_steps\n";

/// `steps` with its rollup, and beside it a model that a large number of steps breaks.
fn world() -> World {
    let mut world = World::new(Severity::Fatal);
    let mut all = world.contracts.as_ref().clone();
    all.extend(contracts(vec![contract(Layer::Curated, "padded", "subject_id string, padded int", false)]));
    world.contracts = Arc::new(all);
    world.models.push(model(Layer::Curated, "padded", PADDED));
    world
}

fn state(up: &Up, dataset: &str) -> (ModelState, Option<String>, Option<String>) {
    let status = up.models.statuses().into_iter().find(|status| status.dataset == name(dataset)).unwrap();
    (status.state, status.error, status.behind.map(|name| name.to_string()))
}

#[tokio::test]
async fn a_row_that_makes_gigabytes_goes_to_quarantine_and_its_neighbours_go_on() {
    let world = world();
    let up = world.up().await;
    up.append(&[("a", 1, Some(3)), ("b", 2, Some(2_000_000_000)), ("c", 3, Some(4))], 7);
    up.within(up.models.caught_up()).await;
    let rows = up.rows(Space::Curated, "padded", true).await;
    assert_eq!(rows, ["|a|3|hourly-steps|0|7|", "|c|4|hourly-steps|0|9|"]);
    let quarantine = up.rows_in_full(Space::Quarantine, "padded").await;
    let place = "models/curated/padded.sql:3:8";
    assert_eq!(quarantine.len(), 1);
    for part in [MODEL_EXPRESSION_RULE, place, "hourly-steps|0|8|", "too large"] {
        assert!(quarantine[0].contains(part), "{part} in {quarantine:?}");
    }
    let reason = quarantine[0].split('|').find(|cell| cell.contains(place)).unwrap();
    assert!(!reason.contains("2000000000"), "{reason}");
    assert_eq!(state(&up, "padded").0, ModelState::Running);
    up.models.stop().await;
}

#[tokio::test]
async fn many_rows_that_cannot_be_run_are_all_in_quarantine_once() {
    let world = world();
    let up = world.up().await;
    let names: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let rows: Vec<_> = (0..200_i64)
        .map(|n| (names[n as usize].as_str(), n, Some(if n % 3 == 0 { 2_000_000_000 } else { n % 50 })))
        .collect();
    up.append(&rows, 0);
    up.commit().await;
    assert_eq!(up.committed(Space::Curated, "padded").await.len(), 133);
    assert_eq!(up.committed(Space::Quarantine, "padded").await.len(), 67);
    up.models.stop().await;
    // What is committed is not made again.
    let up = world.up().await;
    up.within(up.models.caught_up()).await;
    assert_eq!(up.rows(Space::Quarantine, "padded", true).await.len(), 67);
    up.models.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_a_failed_model_nor_for_those_behind_it_also_after_a_restart() {
    let world = world();
    let up = world.up().await;
    up.append(&[("a", 1, Some(5))], 0);
    up.commit().await;
    // Breaks the fatal rule of `steps`.
    up.append(&[("a", 2, Some(200_000))], 1);
    up.within(up.models.caught_up()).await;
    up.append(&[("b", 3, Some(6))], 2);
    up.commit().await;
    check(&up).await;
    up.models.stop().await;
    drop(up.lake);
    let up = world.up().await;
    up.within(up.models.caught_up()).await;
    up.commit().await;
    check(&up).await;
    up.models.stop().await;

    async fn check(up: &Up) {
        up.within(up.models.settled()).await;
        let (failed, error, _) = state(up, "steps");
        assert!(error.unwrap().contains("not.absurd"));
        assert_eq!(failed, ModelState::Failed);
        let (behind, error, model) = state(up, "steps_daily");
        assert_eq!((behind, model.as_deref()), (ModelState::BehindFailed, Some("steps")));
        assert!(error.unwrap().contains("steps") && behind.needs_a_person());
        assert_eq!(state(up, "padded").0, ModelState::Running);
        assert_eq!(up.committed(Space::Serving, "steps_daily").await, ["|a|1970-01-01|1|5|"]);
        assert_eq!(up.rows(Space::Curated, "padded", true).await.len(), 3);
    }
}

#[tokio::test]
async fn a_model_that_is_mended_after_a_month_misses_nothing() {
    let mut world = World::new(Severity::Fatal);
    world.clock = Clock::manual(Clock::system().now_ms());
    world.lake.commits_per_checkpoint = 4;
    let up = world.up().await;
    let raw = Arc::clone(up.lake.table(&name("hourly_steps")).unwrap());
    up.append(&[("a", 1, Some(5))], 0);
    up.commit().await;
    // Breaks the fatal rule of `steps`.
    up.append(&[("a", 2, Some(200_000))], 1);
    up.commit().await;
    assert_eq!(state(&up, "steps").0, ModelState::Failed);
    for n in 2..14 {
        up.append(&[("a", n + 1, Some(1))], n);
        up.commit().await;
    }
    assert!(raw.maintain().await.unwrap().files_compacted >= 8);
    world.clock.advance(Duration::from_secs(30 * 86_400));
    for n in 14..20 {
        up.append(&[("a", n + 1, Some(1))], n);
        up.commit().await;
    }
    // What the model was past goes; it is one file.
    assert_eq!(raw.maintain().await.unwrap().files_removed, 1);
    up.models.stop().await;
    drop(up.lake);
    world.contracts = World::new(Severity::Error).contracts;
    let up = world.up().await;
    up.within(up.models.caught_up()).await;
    up.commit().await;
    assert_eq!(state(&up, "steps").0, ModelState::Running);
    // Of twenty rows one is in quarantine now.
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 19);
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, ["|a|1970-01-01|19|23|"]);
    up.models.stop().await;
}

/// The optimiser finds that a column is needless, and the text names it all the same.
#[rstest::rstest]
#[case::condition("SELECT subject_id AS v FROM raw.hourly_steps WHERE true OR steps > 1", "a")]
#[case::coalesce("SELECT coalesce('app', subject_id) AS v FROM raw.hourly_steps", "app")]
#[case::case("SELECT CASE WHEN 1 = 1 THEN 'x' ELSE subject_id END AS v FROM raw.hourly_steps", "x")]
#[case::null("SELECT CAST(steps / 0 AS STRING) AS v FROM raw.hourly_steps", "")]
#[tokio::test]
async fn a_column_may_be_named_and_not_needed(#[case] text: &str, #[case] want: &str) {
    let mut all = crate::support::steps();
    all.extend(contracts(vec![contract(Layer::Curated, "c", "v string", false)]));
    let model = model(Layer::Curated, "c", &format!("-- kind: append\n{text}"));
    let plan = AppendPlan::compile(&model, &all).await.unwrap();
    let rows = batch(vec![("subject_id", strings(&[Some("a")])), ("steps", longs(&[Some(2)]))]);
    assert_eq!(printed(&plan.run(&[rows]).await.unwrap())[0].split('|').nth(1), Some(want));
}

pub const PADDED_DAILY: &str = "-- kind: rollup\n-- time: day\nSELECT CAST(hour AS DATE) AS day, COUNT(*) AS hours,\n       SUM(length(lpad(subject_id, CAST(steps AS INT), 'x'))) AS padded\nFROM raw.hourly_steps\nGROUP BY CAST(hour AS DATE)\n";

/// The usual models, and a rollup that a large number of steps breaks.
pub fn with_padded_daily() -> World {
    with_padded_daily_as(PADDED_DAILY)
}

/// The same with another text of that rollup.
pub fn with_padded_daily_as(text: &str) -> World {
    let mut world = World::new(Severity::Error);
    let mut all = world.contracts.as_ref().clone();
    all.extend(contracts(vec![contract(Layer::Serving, "padded_daily", "day date, hours long, padded long", false)]));
    world.contracts = Arc::new(all);
    world.models.push(model(Layer::Serving, "padded_daily", text));
    world
}

#[tokio::test]
async fn rows_that_a_rollup_cannot_aggregate_are_committed_to_quarantine_with_the_groups_of_the_others() {
    let world = with_padded_daily();
    let up = world.up().await;
    up.append(&[("a", 1, Some(3)), ("b", 2, Some(2_000_000_000)), ("c", 3, Some(4)), ("d", 30, Some(1))], 0);
    let days = ["|1970-01-01|2|7|", "|1970-01-02|1|1|"];
    assert_eq!(up.live(Space::Serving, "padded_daily").await, days);
    let quarantine = up.rows_in_full(Space::Quarantine, "padded_daily").await;
    assert!(quarantine.len() == 1 && quarantine[0].contains("models/serving/padded_daily.sql:4:8"), "{quarantine:?}");
    assert!(up.committed(Space::Quarantine, "padded_daily").await.is_empty());
    up.commit().await;
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, days);
    assert_eq!(up.committed(Space::Quarantine, "padded_daily").await.len(), 1);
    up.append(&[("e", 4, Some(1))], 4);
    up.commit().await;
    up.models.stop().await;
    drop(up.lake);
    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "padded_daily").await, ["|1970-01-01|3|8|", days[1]]);
    assert_eq!(up.rows(Space::Quarantine, "padded_daily", true).await.len(), 1);
    up.models.stop().await;
}

#[tokio::test]
async fn a_task_that_panics_is_begun_again_and_a_step_that_panics_is_made_again() {
    let next = Arc::new(AtomicBool::new(true));
    let mut world = World::new(Severity::Error);
    let disk = Breaking { disk: CrashDisk::new(1), next: Arc::clone(&next) };
    world.disk = Arc::new(disk);
    world.keys_in_memory_max = 2;
    // While the keys are read, before anything is processed.
    let up = world.up().await;
    up.append(&[("a", 1, Some(5))], 0);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|1|5|"]);
    assert!(!next.load(Ordering::SeqCst));
    // While rows are judged: more keys than memory has room for.
    next.store(true, Ordering::SeqCst);
    let rows: Vec<_> = (0..300).map(|hour| ("b", hour, Some(1))).collect();
    for (index, rows) in rows.chunks(30).enumerate() {
        up.append(rows, 1 + 30 * index as i64);
        up.within(up.models.caught_up()).await;
    }
    assert!(!next.load(Ordering::SeqCst), "nothing was written to disk");
    up.append(&rows[..50], 301);
    up.within(up.models.caught_up()).await;
    assert_eq!(up.rows(Space::Curated, "steps", true).await.len(), 301);
    up.commit().await;
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 301);
    assert_eq!(state(&up, "steps").0, ModelState::Running);
    up.models.stop().await;
}

/// What the store is told to do next.
fn breaking(world: &mut World) -> Arc<Mutex<Option<(&'static str, Puts)>>> {
    let next = Arc::default();
    world.store =
        Arc::new(BreakingStore { store: Arc::clone(&world.store), next: Arc::clone(&next), taken: Default::default() });
    next
}

async fn flush_raw(up: &Up) {
    up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
}

#[tokio::test]
async fn rejects_of_a_rollup_that_began_again_are_committed_once() {
    let mut world = with_padded_daily();
    let next = breaking(&mut world);
    let up = world.up().await;
    up.append(&[("a", 1, Some(3)), ("b", 2, Some(2_000_000_000))], 0);
    up.within(up.models.caught_up()).await;
    *next.lock() = Some(("quarantine/padded_daily/_delta_log", Puts::Panic));
    up.commit().await;
    assert!(next.lock().is_none(), "it did not panic");
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, ["|1970-01-01|1|3|"]);
    assert_eq!(up.committed(Space::Quarantine, "padded_daily").await.len(), 1);
    up.append(&[("c", 3, Some(2_000_000_000))], 2);
    up.commit().await;
    up.models.stop().await;
    drop(up.lake);
    let up = world.up().await;
    up.within(up.models.caught_up()).await;
    assert_eq!(up.rows(Space::Quarantine, "padded_daily", true).await.len(), 2);
    up.models.stop().await;
}

#[tokio::test]
async fn a_rollup_that_began_again_commits_with_an_epoch_the_rejects_of_that_epoch_alone() {
    let mut world = with_padded_daily();
    let next = breaking(&mut world);
    let up = world.up().await;
    let raw = up.lake.table(&name("hourly_steps")).unwrap();
    up.append(&[("a", 1, Some(2_000_000_000)), ("b", 2, Some(3))], 0);
    up.within(up.models.caught_up()).await;
    *next.lock() = Some(("raw/hourly_steps/_delta_log", Puts::Refuse));
    raw.flush().await.unwrap_err();
    // Rejects of two epochs lie in the tail, and neither is committed.
    up.append(&[("c", 3, Some(2_000_000_000)), ("d", 4, Some(5))], 2);
    up.within(up.models.caught_up()).await;
    assert_eq!(up.rows(Space::Quarantine, "padded_daily", true).await.len(), 2);
    *next.lock() =
        Some(("quarantine/padded_daily/_delta_log", Puts::PanicThenRefuse("serving/padded_daily/_delta_log")));
    raw.flush().await.unwrap();
    let rejected = async {
        while up.committed(Space::Quarantine, "padded_daily").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    up.within(rejected).await;
    // The crash.
    up.models.stop().await;
    drop(up.lake);
    *next.lock() = None;
    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "padded_daily").await, ["|1970-01-01|2|8|"]);
    up.within(up.models.settled()).await;
    up.commit().await;
    assert_eq!(up.rows(Space::Quarantine, "padded_daily", true).await.len(), 2);
    up.models.stop().await;
}

/// Removes a table by hand.
async fn remove(world: &World, folder: &str) {
    use futures::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;
    let found: Vec<_> = world.store.list(Some(&folder.into())).try_collect().await.unwrap();
    assert!(!found.is_empty(), "nothing in {folder}");
    for object in found {
        world.store.delete(&object.location).await.unwrap();
    }
}

#[tokio::test]
async fn a_rollup_whose_input_was_removed_counts_nothing_twice_and_says_what_to_do() {
    let world = World::new(Severity::Error);
    let days = ["|a|1970-01-01|2|8|"];
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("a", 2, Some(3))], 0);
    up.commit().await;
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, days);
    up.models.stop().await;
    drop(up.lake);
    remove(&world, "lake/curated/steps").await;
    let up = world.up().await;
    up.within(up.models.caught_up()).await;
    assert_eq!(up.rows(Space::Curated, "steps", true).await.len(), 2, "it is made again from raw");
    assert_eq!(up.rows(Space::Serving, "steps_daily", true).await, days);
    let (state, error, _) = state(&up, "steps_daily");
    assert_eq!(state, ModelState::Failed);
    assert!(error.is_some_and(|said| said.contains("remove the folder of serving.steps_daily")), "it does not say so");
    up.commit().await;
    up.models.stop().await;
    drop(up.lake);
    remove(&world, "lake/serving/steps_daily").await;
    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "steps_daily").await, days);
    up.append(&[("a", 3, Some(1))], 2);
    up.commit().await;
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, ["|a|1970-01-01|3|9|"]);
    up.models.stop().await;
}

#[tokio::test]
async fn an_append_model_that_panics_outside_a_step_asks_for_a_new_start_and_loses_nothing() {
    let mut world = World::new(Severity::Error);
    let next = breaking(&mut world);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("b", 1, Some(-1))], 0);
    up.within(up.models.caught_up()).await;
    *next.lock() = Some(("curated/steps/_delta_log", Puts::Panic));
    flush_raw(&up).await;
    up.within(up.models.must_restart()).await;
    let (now, error, _) = state(&up, "steps");
    assert_eq!((now, error.is_some()), (ModelState::Stalled, true));
    up.models.stop().await;
    drop(up.lake);
    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|1|5|"]);
    up.commit().await;
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 1);
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 1);
    up.models.stop().await;
}

#[tokio::test]
async fn a_table_that_cannot_be_committed_stalls_its_model_however_well_the_steps_go() {
    let mut world = World::new(Severity::Error);
    let next = breaking(&mut world);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5))], 0);
    up.within(up.models.caught_up()).await;
    *next.lock() = Some(("curated/steps/_delta_log", Puts::Refuse));
    flush_raw(&up).await;
    up.within(async {
        while state(&up, "steps").0 != ModelState::Stalled {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for offset in 1..4 {
        up.append(&[("a", 1 + offset, Some(5))], offset);
        up.within(up.models.caught_up()).await;
        let (now, error, _) = state(&up, "steps");
        assert_eq!((now, error.is_some()), (ModelState::Stalled, true));
    }
    *next.lock() = None;
    up.commit().await;
    assert_eq!(state(&up, "steps"), (ModelState::Running, None, None));
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 4);
    up.models.stop().await;
}
