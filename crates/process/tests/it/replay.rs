//! Rejects of derived datasets that come back: through mended rules, through a mended model, with the values they had.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::DataType;
use parking_lot::Mutex;
use rstest::rstest;
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_contract::{Contract, Layer};
use vitalake_lake::{RejectFilter, Space, Tried, TxnId};
use vitalake_process::Error;

use crate::breaking::{BreakingStore, Puts};
use crate::goes_on::{PADDED_DAILY, with_padded_daily_as};
use crate::run::{Up, World};
use crate::support::{batch, contract, contracts, model, name, strings, times};
use crate::upsert;

const KEPT: &str = "-- kind: append\nSELECT subject_id, length(lpad(subject_id, CAST(steps AS INT), 'x')) AS padded\nFROM raw.hourly_steps\n";
const MENDED: &str = "-- kind: append\nSELECT subject_id, length(lpad(subject_id, CAST(LEAST(steps, 9) AS INT), 'x')) AS padded\nFROM raw.hourly_steps\n";
const READS_MORE: &str =
    "-- kind: append\nSELECT subject_id, CAST(hour(hour) AS INT) AS padded\nFROM raw.hourly_steps\n";
const LEAVES_OUT: &str =
    "-- kind: append\nSELECT subject_id, CAST(steps AS INT) AS padded\nFROM raw.hourly_steps\nWHERE steps < 1000\n";

/// The world with another least number of steps.
fn with_minimum(least: i64) -> World {
    let mut world = World::new(Severity::Error);
    change(&mut world, "steps", |contract| {
        for rule in contract.row_rules.iter_mut().filter(|rule| rule.name == "steps.minimum") {
            rule.check = Check::Minimum(Bound::Whole(least));
        }
    });
    world
}

fn change(world: &mut World, dataset: &str, change: impl FnOnce(&mut Contract)) {
    let mut all = world.contracts.as_ref().clone();
    let mut changed = all[&name(dataset)].as_ref().clone();
    change(&mut changed);
    all.insert(name(dataset), Arc::new(changed));
    world.contracts = Arc::new(all);
}

/// The same tables under other contracts and models.
async fn mended(up: Up, before: &World, after: &mut World) -> Up {
    up.models.stop().await;
    drop(up.lake);
    after.store = Arc::clone(&before.store);
    after.up().await
}

async fn replay(up: &Up, dataset: &str, dry_run: bool) -> Result<Tried, Error> {
    let dataset = name(dataset);
    let replaying = up.models.replay(&dataset, RejectFilter::default(), dry_run, Arc::default());
    up.within(replaying).await
}

#[tokio::test]
async fn rows_that_keep_the_mended_rules_come_back_once_and_flow_on() {
    let world = with_minimum(0);
    let up = world.up().await;
    up.append(&[("a", 1, Some(-5)), ("a", 2, Some(7)), ("b", 3, Some(-50))], 0);
    up.commit().await;
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 2);
    let up = mended(up, &world, &mut with_minimum(-10)).await;
    for dry_run in [true, true, false] {
        let tried = replay(&up, "steps", dry_run).await.unwrap();
        assert_eq!((tried.taken, tried.rows, tried.duplicates, tried.failed_rows()), (2, 1, 0, 1), "{dry_run}");
    }
    let want = ["|a|1970-01-01T01:00:00Z|-5|hourly-steps|0|0|", "|a|1970-01-01T02:00:00Z|7|hourly-steps|0|1|"];
    assert_eq!(up.committed(Space::Curated, "steps").await, want);
    let left = up.rows_in_full(Space::Quarantine, "steps").await;
    assert!(left.len() == 1 && left[0].contains("below the minimum of -10") && left[0].ends_with("|1|"), "{left:?}");
    assert_eq!(up.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|2|2|"]);
    up.append(&[("a", 1, Some(-5))], 3);
    up.commit().await;
    assert_eq!(up.committed(Space::Curated, "steps").await, want, "what came back is known by its key");
    let tried = replay(&up, "steps", false).await.unwrap();
    assert_eq!((tried.taken, tried.rows, tried.failed_rows()), (1, 0, 1));
    up.models.stop().await;
    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|2|2|"]);
    assert!(up.rows_in_full(Space::Quarantine, "steps").await[0].ends_with("|2|"));
    up.models.stop().await;
}

#[tokio::test]
async fn a_row_whose_key_is_there_is_a_duplicate_or_still_a_conflict() {
    let world = with_minimum(0);
    let up = world.up().await;
    up.append(&[("a", 1, Some(-5)), ("a", 2, Some(-6))], 0);
    up.commit().await;
    let up = mended(up, &world, &mut with_minimum(-10)).await;
    up.append(&[("a", 1, Some(-5)), ("a", 2, Some(3))], 2);
    up.commit().await;
    for dry_run in [true, false] {
        let tried = replay(&up, "steps", dry_run).await.unwrap();
        assert_eq!((tried.rows, tried.duplicates), (0, 1));
        assert_eq!(tried.failed.into_iter().collect::<Vec<_>>(), [("primaryKey".to_owned(), 1)]);
    }
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 2);
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 1);
    up.models.stop().await;
}

fn padded(text: &str) -> World {
    let mut world = World::new(Severity::Error);
    let mut all = world.contracts.as_ref().clone();
    all.extend(contracts(vec![contract(Layer::Curated, "padded", "subject_id string, padded int", false)]));
    world.contracts = Arc::new(all);
    world.models.push(model(Layer::Curated, "padded", text));
    world
}

#[rstest]
#[case::mended(MENDED, 1, 0, Some("|b|9|hourly-steps|0|8|"))]
#[case::not_mended(KEPT, 0, 1, None)]
#[case::reads_what_was_not_kept(READS_MORE, 0, 1, None)]
#[case::leaves_the_row_out(LEAVES_OUT, 0, 0, None)]
#[tokio::test]
async fn rows_that_a_model_failed_on_go_through_it_again(
    #[case] after: &str,
    #[case] back: u64,
    #[case] stay: u64,
    #[case] row: Option<&str>,
) {
    let world = padded(KEPT);
    let up = world.up().await;
    up.append(&[("a", 1, Some(3)), ("b", 2, Some(2_000_000_000)), ("c", 3, Some(4))], 7);
    up.commit().await;
    assert_eq!(up.committed(Space::Quarantine, "padded").await.len(), 1);
    let up = mended(up, &world, &mut padded(after)).await;
    let tried = replay(&up, "padded", false).await.unwrap();
    assert_eq!((tried.taken, tried.rows, tried.failed_rows()), (1, back, stay));
    let rows = up.committed(Space::Curated, "padded").await;
    assert_eq!(rows.iter().find(|row| row.starts_with("|b")).map(String::as_str), row);
    let left = up.rows_in_full(Space::Quarantine, "padded").await;
    assert_eq!(left.len() as u64, stay);
    assert!(left.iter().all(|row| row.ends_with("|1|")), "{left:?}");
    if after == READS_MORE {
        assert!(left[0].contains("the model reads the column hour now"), "{left:?}");
    }
    up.models.stop().await;
}

/// The rollup's text, mended as it may be.
fn padded_daily(mended: &str) -> World {
    with_padded_daily_as(&PADDED_DAILY.replace("CAST(steps AS INT)", mended))
}

/// Rows of two days; the model cannot be run on two of them.
const TWO_DAYS: [(&str, i64, Option<i64>); 5] = [
    ("a", 1, Some(3)),
    ("b", 2, Some(2_000_000_000)),
    ("c", 3, Some(4)),
    ("d", 30, Some(2_000_000_001)),
    ("e", 55, Some(1)),
];
const DAYS: [&str; 3] = ["|1970-01-01|3|16|", "|1970-01-02|1|9|", "|1970-01-03|1|1|"];
const LEAST: &str = "CAST(LEAST(steps, 9) AS INT)";

#[tokio::test]
async fn rows_that_a_rollup_could_not_aggregate_come_back_into_their_groups_once() {
    let world = padded_daily("CAST(steps AS INT)");
    let up = world.up().await;
    up.append(&TWO_DAYS, 0);
    up.commit().await;
    let before = ["|1970-01-01|2|7|", "|1970-01-03|1|1|"];
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, before);
    let tried = replay(&up, "padded_daily", false).await.unwrap();
    assert_eq!((tried.taken, tried.rows, tried.failed_rows()), (2, 0, 2), "nothing was mended");
    let left = up.rows_in_full(Space::Quarantine, "padded_daily").await;
    assert!(left.len() == 2 && left.iter().all(|row| row.ends_with("|1|")), "{left:?}");
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, before);

    let mended_world = &mut padded_daily(LEAST);
    let up = mended(up, &world, mended_world).await;
    up.within(up.models.caught_up()).await;
    for (dry_run, rows) in [(true, &before[..]), (false, &DAYS[..])] {
        let tried = replay(&up, "padded_daily", dry_run).await.unwrap();
        assert_eq!((tried.taken, tried.rows, tried.failed_rows()), (2, 2, 0), "{dry_run}");
        assert_eq!(up.live(Space::Serving, "padded_daily").await, rows);
        assert_eq!(up.committed(Space::Serving, "padded_daily").await, rows);
    }
    assert!(up.rows_in_full(Space::Quarantine, "padded_daily").await.is_empty());
    assert_eq!(replay(&up, "padded_daily", false).await.unwrap(), Tried::default());
    up.append(&[("f", 2, Some(5))], TWO_DAYS.len() as i64);
    up.commit().await;
    let after = ["|1970-01-01|4|21|", DAYS[1], DAYS[2]];
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, after);
    up.models.stop().await;
    drop(up.lake);
    let up = mended_world.up().await;
    assert_eq!(up.live(Space::Serving, "padded_daily").await, after);
    up.models.stop().await;
}

#[tokio::test]
async fn a_rollup_whose_mended_model_fails_on_other_rows_is_not_made_of_less() {
    let world = padded_daily("CAST(steps AS INT)");
    let up = world.up().await;
    up.append(&TWO_DAYS, 0);
    up.commit().await;
    let other = "CAST(CASE WHEN steps = 4 THEN 2000000000 ELSE LEAST(steps, 9) END AS INT)";
    let up = mended(up, &world, &mut padded_daily(other)).await;
    up.within(up.models.caught_up()).await;
    let before = up.committed(Space::Serving, "padded_daily").await;
    let refused = replay(&up, "padded_daily", false).await.unwrap_err().to_string();
    assert!(refused.contains("rows that are not in its quarantine"), "{refused}");
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, before);
    assert_eq!(up.committed(Space::Quarantine, "padded_daily").await.len(), 2);
    let unknown = replay(&up, "hourly_steps", false).await.unwrap_err().to_string();
    assert!(unknown.contains("no model of this process makes it"), "{unknown}");
    up.models.stop().await;
}

#[tokio::test]
async fn a_replay_of_a_rollup_beside_rows_that_come_counts_each_once() {
    let world = padded_daily("CAST(steps AS INT)");
    let up = world.up().await;
    up.append(&TWO_DAYS, 0);
    up.commit().await;
    let up = mended(up, &world, &mut padded_daily(LEAST)).await;
    let appending = async {
        for n in 0..30 {
            up.append(&[("g", 4, Some(1))], 100 + n);
            if n % 3 == 0 {
                up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), tried) = tokio::join!(appending, replay(&up, "padded_daily", false));
    assert_eq!(tried.unwrap().rows, 2);
    up.commit().await;
    let want = ["|1970-01-01|33|46|", DAYS[1], DAYS[2]];
    assert_eq!(up.live(Space::Serving, "padded_daily").await, want);
    assert_eq!(up.committed(Space::Serving, "padded_daily").await, want);
    up.models.stop().await;
}

/// What the store does next.
type Next = Arc<Mutex<Option<(&'static str, Puts)>>>;

/// A world over whose store it is said how many more writes are taken.
fn cut(mut world: World) -> (World, Next) {
    let next = Arc::default();
    world.store =
        Arc::new(BreakingStore { store: Arc::clone(&world.store), next: Arc::clone(&next), taken: Default::default() });
    (world, next)
}

/// Replays while the store takes ever more writes before it takes none any longer, and each time again after a new start.
/// What rows and rejects are then is `whole`; a row is in its table before it leaves quarantine.
async fn killed_at_each_write(
    before: impl Fn() -> World,
    after: impl Fn() -> World,
    fill: impl AsyncFn(&Up),
    (space, dataset, whole): (Space, &str, &[&str]),
) {
    for taken in 0.. {
        let (world, next) = cut(before());
        let up = world.up().await;
        fill(&up).await;
        let rejects = up.committed(Space::Quarantine, dataset).await.len();
        let mut mended_world = after();
        let up = mended(up, &world, &mut mended_world).await;
        up.within(up.models.settled()).await;
        *next.lock() = Some(("", Puts::RefuseAfter(taken)));
        let replaying = replay(&up, dataset, false);
        let ended = tokio::time::timeout(Duration::from_millis(300), replaying).await;
        up.lake.close().await;
        up.models.stop().await;
        drop(up.lake);
        let unhurt = next.lock().take().is_some_and(|(_, puts)| puts != Puts::RefuseAfter(0));
        let up = mended_world.up().await;
        up.within(up.models.caught_up()).await;
        let left = up.committed(Space::Quarantine, dataset).await.len();
        let rows = up.live(space, dataset).await;
        assert!(left == rejects || (left == 0 && rows == whole), "{taken}: {left} rejects left, {rows:?}");
        let again = replay(&up, dataset, false).await.unwrap();
        assert_eq!(again.taken, left as u64, "{taken}");
        assert_eq!(up.live(space, dataset).await, whole, "{taken}");
        assert_eq!(up.committed(space, dataset).await, whole, "{taken}");
        assert!(up.committed(Space::Quarantine, dataset).await.is_empty(), "{taken}");
        up.models.stop().await;
        if matches!(ended, Ok(Ok(_))) && unhurt {
            assert!(taken > 2, "a replay of {taken} writes has nothing to be killed at");
            return;
        }
    }
}

#[tokio::test]
async fn a_replay_of_a_rollup_that_is_killed_at_any_write_counts_each_row_once() {
    let fill = async |up: &Up| {
        up.append(&TWO_DAYS, 0);
        up.commit().await;
    };
    let before = || padded_daily("CAST(steps AS INT)");
    killed_at_each_write(before, || padded_daily(LEAST), fill, (Space::Serving, "padded_daily", &DAYS)).await;
}

/// The upserts with another least value.
fn upserts(least: i64) -> World {
    let mut world = upsert::world();
    change(&mut world, "latest", |contract| {
        for rule in &mut contract.row_rules {
            rule.check = Check::Minimum(Bound::Whole(least));
        }
    });
    world
}

/// A newer and an older value of two keys that break the rule, and one that goes on breaking it.
const CHANGES: [upsert::Event; 5] = [
    (0, 5, Some(1), false),
    (1, 5, Some(1), false),
    (0, 9, Some(-5), false),
    (1, 2, Some(-5), false),
    (2, 4, Some(-50), false),
];

fn of_keys(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.split('|').take(4).collect::<Vec<_>>().join("|")).collect()
}

#[tokio::test]
async fn rows_that_an_upsert_rejected_come_back_in_the_order_of_their_keys_once() {
    let world = upserts(0);
    let up = world.up().await;
    upsert::append(&up, &CHANGES, 0);
    upsert::commit(&up).await;
    let before = up.committed(Space::Curated, "latest").await;
    assert_eq!((before.len(), up.committed(Space::Quarantine, "latest").await.len()), (2, 3));
    let mut mended_world = upserts(-10);
    let up = mended(up, &world, &mut mended_world).await;
    up.within(up.models.settled()).await;
    for dry_run in [true, false] {
        assert_eq!(up.committed(Space::Curated, "latest").await, before);
        let tried = replay(&up, "latest", dry_run).await.unwrap();
        assert_eq!((tried.taken, tried.rows, tried.failed_rows()), (3, 2, 1), "{dry_run}");
    }
    let want = upsert::newest("changes", &upsert::placed(&CHANGES[..4]), true, false);
    assert_eq!(up.committed(Space::Curated, "latest").await, want);
    let left = up.rows_in_full(Space::Quarantine, "latest").await;
    assert!(left.len() == 1 && left[0].contains("below the minimum of -10") && left[0].ends_with("|1|"), "{left:?}");
    // What is new is put in order with what came back.
    upsert::append(&up, &[(0, 7, Some(2), false), (1, 7, Some(2), false)], CHANGES.len() as i64);
    upsert::commit(&up).await;
    let now = of_keys(&up.committed(Space::Curated, "latest").await);
    assert!(now[0].ends_with("|-5") && now[1].ends_with("|2"), "{now:?}");
    up.models.stop().await;
    drop(up.lake);
    let up = mended_world.up().await;
    assert_eq!(of_keys(&up.live(Space::Curated, "latest").await), now);
    up.models.stop().await;
}

#[tokio::test]
async fn a_replay_of_an_upsert_that_is_killed_at_any_write_brings_each_row_once() {
    let fill = async |up: &Up| {
        upsert::append(up, &CHANGES[..4], 0);
        upsert::commit(up).await;
    };
    let whole = upsert::newest("changes", &upsert::placed(&CHANGES[..4]), true, false);
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    killed_at_each_write(|| upserts(0), || upserts(-10), fill, (Space::Curated, "latest", &whole)).await;
}

#[tokio::test]
async fn rejects_of_what_each_delivery_brings_as_a_whole_are_delivered_again() {
    let least = |least: i64| {
        let mut world = upsert::world();
        change(&mut world, "staffing", |contract| {
            contract.row_rules.push(RowRule {
                name: "value.minimum".to_owned(),
                column: Some(1),
                check: Check::Minimum(Bound::Whole(least)),
                severity: Severity::Error,
            });
        });
        world
    };
    let world = least(0);
    let up = world.up().await;
    upsert::deliver(&up, "staff", 1, &CHANGES[2..4], None).await;
    assert_eq!(up.committed(Space::Quarantine, "staffing").await.len(), 2);
    let up = mended(up, &world, &mut least(-10)).await;
    let refused = replay(&up, "staffing", true).await.unwrap_err().to_string();
    assert!(refused.contains("deliver it again"), "{refused}");
    upsert::deliver(&up, "staff", 2, &CHANGES[2..4], None).await;
    assert_eq!(up.committed(Space::Curated, "staffing").await.len(), 2);
    up.models.stop().await;
}

const ALL: &str = "s string, l long, i int, d double, b boolean, day date, at timestamp";
const COPY: &str = "-- kind: append\nSELECT s, l, i, d, b, day, at\nFROM raw.everything\n";

fn everything(refuses: bool) -> World {
    let mut world = World::new(Severity::Error);
    let raw = contract(Layer::Raw, "everything", ALL, true);
    let mut curated = contract(Layer::Curated, "copied", ALL, false);
    if refuses {
        let check = Check::NotSql("l IS NOT NULL OR l IS NULL".to_owned());
        curated.row_rules.push(RowRule { name: "no".to_owned(), column: None, check, severity: Severity::Error });
    }
    world.contracts = Arc::new(contracts(vec![raw, curated]));
    world.models = vec![model(Layer::Curated, "copied", COPY)];
    world
}

fn extremes() -> arrow::array::RecordBatch {
    let texts = ["", "ü\"\\\t\u{0}\u{1f600}", "NaN", "1"];
    let days = [Some(0), Some(-719_162), Some(2_932_896), Some(16_903)];
    let at = [Some(1), Some(-62_135_596_800_000_000), Some(253_402_300_799_999_999), Some(1_460_419_200_000_001)];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(StringViewArray::from_iter(texts.into_iter().map(Some).chain([None])))),
        (
            "l",
            Arc::new(Int64Array::from(vec![
                Some(i64::MIN),
                Some(i64::MAX),
                Some(9_007_199_254_740_993),
                Some(0),
                None,
            ])),
        ),
        ("i", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), Some(-1), Some(0), None]))),
        (
            "d",
            Arc::new(Float64Array::from(vec![
                Some(f64::NAN),
                Some(f64::NEG_INFINITY),
                Some(0.1 + 0.2),
                Some(-0.0),
                None,
            ])),
        ),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), Some(false), None]))),
        ("day", Arc::new(Date32Array::from_iter(days.into_iter().chain([None])))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(at.into_iter().chain([None])).with_timezone("UTC"))),
        ("_topic", strings(&[Some("feed/everything"); 5])),
        ("_partition", Arc::new(Int32Array::from(vec![1; 5]))),
        ("_offset", Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4]))),
        ("_timestamp", times(&[None; 5])),
        ("_key", new_null_array(&DataType::BinaryView, 5)),
        ("_headers", strings(&[None; 5])),
        ("_ingested_at", times(&[Some(1), Some(2), Some(3), Some(4), Some(5)])),
        ("_rescued", strings(&[None; 5])),
    ];
    batch(columns)
}

#[tokio::test]
async fn values_come_back_exactly_as_they_were() {
    let direct = everything(false);
    let up = direct.up().await;
    fill(&up).await;
    let want = up.rows_in_full(Space::Curated, "copied").await;
    assert_eq!(want.len(), 5);
    up.models.stop().await;
    let world = everything(true);
    let up = world.up().await;
    fill(&up).await;
    assert_eq!(up.committed(Space::Quarantine, "copied").await.len(), 5);
    let up = mended(up, &world, &mut everything(false)).await;
    assert_eq!(replay(&up, "copied", false).await.unwrap().rows, 5);
    assert_eq!(up.rows_in_full(Space::Curated, "copied").await, want);
    up.models.stop().await;
}

async fn fill(up: &Up) {
    let raw = up.lake.table(&name("everything")).unwrap();
    let (rows, schema) = (extremes(), raw.schema());
    let columns = schema.fields().iter().map(|field| {
        let null = || arrow::array::new_null_array(field.data_type(), rows.num_rows());
        (field.name().as_str(), rows.column_by_name(field.name()).cloned().unwrap_or_else(null))
    });
    raw.append(vec![batch(columns.collect())], Vec::new(), [(TxnId::parse("landing"), 5)]).unwrap();
    raw.flush().await.unwrap();
    up.within(up.models.settled()).await;
}

#[tokio::test]
async fn new_rows_and_replays_go_on_beside_each_other() {
    let world = with_minimum(0);
    let up = world.up().await;
    for batch in 0..20 {
        up.append(&[("a", batch, Some(-5)), ("b", batch, Some(1))], 2 * batch);
        up.commit().await;
    }
    let up = mended(up, &world, &mut with_minimum(-10)).await;
    let appending = async {
        for batch in 20..60 {
            up.append(&[("a", batch, Some(-5)), ("b", batch, Some(1))], 2 * batch);
            up.commit().await;
        }
    };
    let replaying = async {
        let mut rows = 0;
        for _ in 0..5 {
            rows += replay(&up, "steps", false).await.unwrap().rows;
        }
        rows
    };
    let ((), rows) = tokio::join!(appending, replaying);
    assert_eq!(rows, 20);
    up.commit().await;
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 120);
    assert!(up.committed(Space::Quarantine, "steps").await.is_empty());
    let daily = up.live(Space::Serving, "steps_daily").await;
    assert_eq!(daily.len(), 6, "{daily:?}");
    assert_eq!(daily[0], "|a|1970-01-01|24|-120|");
    up.models.stop().await;
}
