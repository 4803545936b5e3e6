//! Upserts and full models at work: whatever the order and the portions in which events come, and whatever happens in
//! between, the tables are those of a rebuild in event order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, RecordBatch};
use proptest::prelude::*;
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_contract::{Delivery, Layer};
use vitalake_lake::{DeliveredFiles, Space, TxnId};
use vitalake_process::rollup::LeavesLimits;

use crate::run::{Up, World};
use crate::support::{batch, contract, contracts, longs, model, name, strings, times};

/// Key, sequence, value, and whether it is a delete.
pub type Event = (u8, i64, Option<i64>, bool);

const LATEST: &str =
    "-- kind: upsert\n-- key: id\n-- sequence: at\n-- deleted: gone\nSELECT id, at, value, gone FROM raw.changes";
const VERSIONS: &str = LATEST;
/// The open version of each key, of the versions of another upsert.
const AGAIN: &str = "-- kind: upsert\n-- key: id\n-- sequence: since\n-- deleted: gone\nSELECT id, value, _valid_from AS since, _valid_to IS NOT NULL AS gone FROM curated.versions";
const STAFFING: &str = "-- kind: upsert\n-- key: id\nSELECT id, value FROM raw.staff";

fn contract_of(layer: Layer, dataset: &str, columns: &str, history: bool) -> vitalake_contract::Contract {
    vitalake_contract::Contract { history, ..contract(layer, dataset, columns, false) }
}

/// Small ranges, so that a few keys are in several, and little memory, so that an epoch comes in parts.
pub fn world() -> World {
    let mut world = World::new(Severity::Warning);
    let row = "id string, at timestamp, value long, gone boolean";
    let mut latest = contract_of(Layer::Curated, "latest", "*id string, at timestamp, value long", false);
    latest.row_rules.push(RowRule {
        name: "value.minimum".to_owned(),
        column: Some(2),
        check: Check::Minimum(Bound::Whole(0)),
        severity: Severity::Error,
    });
    let mut staff = contract(Layer::Raw, "staff", "id string, value long", true);
    staff.delivery = Delivery::Replace;
    world.contracts = Arc::new(contracts(vec![
        contract(Layer::Raw, "changes", row, false),
        contract(Layer::Raw, "corrected", row, true),
        staff,
        latest,
        contract_of(Layer::Curated, "versions", "*id string, value long", true),
        contract_of(Layer::Curated, "mended", "*id string, value long", false),
        contract_of(Layer::Curated, "mended_versions", "*id string, value long", true),
        contract_of(Layer::Curated, "staffing", "*id string, value long", false),
        contract_of(Layer::Curated, "staffing_versions", "*id string, value long", true),
        contract_of(Layer::Curated, "again", "*id string, value long", false),
        contract_of(Layer::Serving, "counted", "*value long, ids long", false),
    ]));
    let corrected = LATEST.replace("raw.changes", "raw.corrected");
    world.models = vec![
        model(Layer::Curated, "latest", LATEST),
        model(Layer::Curated, "versions", VERSIONS),
        model(Layer::Curated, "mended", &corrected),
        model(Layer::Curated, "mended_versions", &corrected),
        model(Layer::Curated, "again", AGAIN),
        model(Layer::Curated, "staffing", STAFFING),
        model(Layer::Curated, "staffing_versions", STAFFING),
        model(
            Layer::Serving,
            "counted",
            "-- kind: full\nSELECT value, count(*) AS ids FROM curated.latest GROUP BY value",
        ),
    ];
    world.leaves = LeavesLimits { leaf_rows_max: 4, dirty_rows_max: 6, ..LeavesLimits::default() };
    world
}

pub fn raw_rows(topic: &str, partition: i32, events: &[Event], offset: i64) -> RecordBatch {
    let ids: Vec<String> = events.iter().map(|event| format!("k{}", event.0)).collect();
    let offsets: Vec<Option<i64>> = (offset..offset + events.len() as i64).map(Some).collect();
    let gone: BooleanArray = events.iter().map(|event| Some(event.3)).collect();
    batch(vec![
        ("id", strings(&ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>())),
        ("at", times(&events.iter().map(|event| Some(event.1)).collect::<Vec<_>>())),
        ("value", longs(&events.iter().map(|event| event.2).collect::<Vec<_>>())),
        ("gone", Arc::new(gone)),
        ("_topic", strings(&vec![Some(topic); events.len()])),
        ("_partition", Arc::new(Int32Array::from(vec![partition; events.len()]))),
        ("_offset", longs(&offsets)),
        (
            "_ingested_at",
            times(&offsets.iter().map(|o| o.map(|o| 1_000 * i64::from(partition) + o)).collect::<Vec<_>>()),
        ),
    ])
}

/// Rows with the columns of a table, null where they have none.
pub fn of_table(up: &Up, dataset: &str, rows: &RecordBatch) -> RecordBatch {
    let schema = up.lake.table(&name(dataset)).unwrap().schema();
    let columns = schema.fields().iter().map(|field| {
        let null = || arrow::array::new_null_array(field.data_type(), rows.num_rows());
        (field.name().as_str(), rows.column_by_name(field.name()).cloned().unwrap_or_else(null))
    });
    batch(columns.collect::<Vec<(&str, ArrayRef)>>())
}

pub fn append(up: &Up, events: &[Event], offset: i64) {
    let rows = of_table(up, "changes", &raw_rows("changes", 0, events, offset));
    let landed = (TxnId::parse("landing"), offset + events.len() as i64);
    up.lake.table(&name("changes")).unwrap().append(vec![rows], Vec::new(), [landed]).unwrap();
}

pub async fn commit(up: &Up) {
    up.lake.table(&name("changes")).unwrap().flush().await.unwrap();
    up.within(up.models.settled()).await;
    for status in up.models.statuses() {
        assert!(status.error.is_none(), "{status:#?}");
    }
}

/// Delivers a file, in the place of an earlier one where that is given.
pub async fn deliver(up: &Up, dataset: &str, number: i32, events: &[Event], instead_of: Option<i32>) {
    let table = up.lake.table(&name(dataset)).unwrap();
    let rows = of_table(up, dataset, &raw_rows(dataset, number, events, 0));
    let rows = table.write_rows(vec![rows]).await.unwrap();
    let replace = table.contract().delivery == Delivery::Replace;
    let txns = vec![(TxnId::delivery(dataset), i64::from(number))];
    let instead_of = instead_of.map(i64::from);
    table.deliver(DeliveredFiles { rows, replace, instead_of, txns, ..DeliveredFiles::default() }).await.unwrap();
    up.within(up.models.settled()).await;
}

pub async fn restarted(world: &World, up: Up) -> Up {
    up.models.stop().await;
    drop(up.lake);
    world.up().await
}

/// What a snapshot said of a key, and as which record.
type Said = (Option<i64>, (i32, i64));

/// Events with the partition and the offset of their records.
pub type Placed = (Event, (i32, i64));

fn by_key(events: &[Placed]) -> BTreeMap<u8, Vec<Placed>> {
    let mut keys: BTreeMap<u8, Vec<Placed>> = BTreeMap::new();
    for event in events {
        keys.entry(event.0.0).or_default().push(*event);
    }
    keys.values_mut().for_each(|events| events.sort_by_key(|((_, at, ..), place)| (*at, *place)));
    keys
}

fn spelled(value: Option<i64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn at(seconds: i64) -> String {
    format!("1970-01-01T00:00:{seconds:02}Z")
}

/// The newest of each key. `with_time` are the tables whose rows have the sequence, `first` those where an unchanged row
/// keeps the place of the first event that said so.
pub fn newest(topic: &str, events: &[Placed], with_time: bool, first: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, events) in by_key(events) {
        let Some(((_, time, value, gone), mut place)) = events.last().copied() else { continue };
        if gone {
            continue;
        }
        if first {
            let same = events.iter().rev().take_while(|((_, _, v, gone), _)| !gone && *v == value);
            place = same.last().map_or(place, |(_, place)| *place);
        }
        let time = if with_time { format!("{}|", at(time)) } else { String::new() };
        lines.push(format!("|k{key}|{time}{}|{topic}|{}|{}|", spelled(value), place.0, place.1));
    }
    lines.sort();
    lines
}

/// Each version of each key.
pub fn versions(topic: &str, events: &[Placed]) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, events) in by_key(events) {
        let mut by_time: BTreeMap<i64, Placed> = BTreeMap::new();
        by_time.extend(events.iter().map(|event| (event.0.1, *event)));
        let mut runs: Vec<Placed> = Vec::new();
        for event in by_time.into_values() {
            let same = |before: &Placed| before.0.3 == event.0.3 && (event.0.3 || before.0.2 == event.0.2);
            if !runs.last().is_some_and(same) {
                runs.push(event);
            }
        }
        for (index, ((_, time, value, gone), place)) in runs.iter().enumerate() {
            let to = runs.get(index + 1).map_or(String::new(), |next| at(next.0.1));
            if !gone {
                let (value, from) = (spelled(*value), at(*time));
                lines.push(format!("|k{key}|{value}|{from}|{to}|{topic}|{}|{}|", place.0, place.1));
            }
        }
    }
    lines.sort();
    lines
}

pub fn placed(events: &[Event]) -> Vec<Placed> {
    events.iter().zip(0..).map(|(event, offset)| (*event, (0, offset))).collect()
}

#[tokio::test]
async fn the_newest_row_of_a_key_wins_whenever_it_comes() {
    let world = world();
    let up = world.up().await;
    append(&up, &[(1, 5, Some(10), false), (2, 5, Some(20), false), (3, 1, Some(30), false)], 0);
    commit(&up).await;
    append(&up, &[(1, 3, Some(11), false), (2, 7, Some(21), false), (3, 2, None, true)], 3);
    commit(&up).await;
    let latest = up.rows(Space::Curated, "latest", false).await;
    assert_eq!(latest, ["|k1|1970-01-01T00:00:05Z|10|changes|0|0|", "|k2|1970-01-01T00:00:07Z|21|changes|0|4|"]);
    let history = up.rows(Space::Curated, "versions", false).await;
    assert_eq!(
        history,
        [
            "|k1|10|1970-01-01T00:00:05Z||changes|0|0|",
            "|k1|11|1970-01-01T00:00:03Z|1970-01-01T00:00:05Z|changes|0|3|",
            "|k2|20|1970-01-01T00:00:05Z|1970-01-01T00:00:07Z|changes|0|1|",
            "|k2|21|1970-01-01T00:00:07Z||changes|0|4|",
            "|k3|30|1970-01-01T00:00:01Z|1970-01-01T00:00:02Z|changes|0|2|",
        ]
    );
    up.models.stop().await;
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_leaves_its_key_as_it_was() {
    let world = world();
    let up = world.up().await;
    append(&up, &[(1, 1, Some(10), false)], 0);
    commit(&up).await;
    append(&up, &[(1, 2, Some(-1), false), (2, 2, Some(5), false)], 1);
    commit(&up).await;
    let latest = up.rows(Space::Curated, "latest", false).await;
    assert_eq!(latest, ["|k1|1970-01-01T00:00:01Z|10|changes|0|0|", "|k2|1970-01-01T00:00:02Z|5|changes|0|2|"]);
    let rejects = up.rows_in_full(Space::Quarantine, "latest").await;
    assert!(rejects.len() == 1 && rejects[0].contains("value.minimum"), "{rejects:?}");
    up.models.stop().await;
}

#[tokio::test]
async fn keys_that_are_new_come_beside_what_is_there_until_these_are_many_files() {
    let mut world = world();
    world.leaves.leaf_rows_max = 1_000;
    let up = world.up().await;
    let files = || {
        let head = up.lake.table(&name("latest")).unwrap().head();
        head.files().map(|file| file.path().to_string()).collect::<Vec<_>>()
    };
    let (mut events, mut merged): (Vec<Event>, Vec<u8>) = Default::default();
    for round in 0..20 {
        let before = files();
        let came: Vec<Event> = (0..3).map(|key| (3 * round + key, 5, Some(1), key == 2)).collect();
        append(&up, &came, events.len() as i64);
        events.extend(came);
        commit(&up).await;
        let after = files();
        match before.iter().all(|file| after.contains(file)) {
            true => assert_eq!(after.len(), before.len() + 1),
            false => merged.push(round),
        }
        assert_eq!(up.rows(Space::Curated, "latest", false).await, newest("changes", &placed(&events), true, false));
        assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&events)));
    }
    assert_eq!(merged, [8, 16]);
    // A key that is there brings all of its range together.
    let came = [(0, 9, Some(2), false), (2, 9, Some(2), false), (100, 1, Some(2), false), (1, 4, Some(2), false)];
    append(&up, &came, events.len() as i64);
    events.extend(came);
    commit(&up).await;
    assert_eq!(files().len(), 1);
    assert_eq!(up.rows(Space::Curated, "latest", false).await, newest("changes", &placed(&events), true, false));
    assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&events)));
    up.models.stop().await;
}

fn an_event() -> impl Strategy<Value = Event> {
    let value = prop_oneof![1 => Just(None), 6 => (0..3_i64).prop_map(Some)];
    (0..7_u8, 0..6_i64, value, prop::bool::weighted(0.2))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_order_and_split_of_events_gives_the_tables_of_a_rebuild(
        run in prop::collection::vec((prop::collection::vec(an_event(), 1..9), 0..4_u8), 1..8),
        in_one_range in any::<bool>(),
    ) {
        runtime().block_on(async {
            let mut world = world();
            if in_one_range {
                world.leaves.leaf_rows_max = 100;
            }
            let mut up = world.up().await;
            let mut events: Vec<Event> = Vec::new();
            for (came, then) in &run {
                append(&up, came, events.len() as i64);
                events.extend(came);
                if *then > 0 {
                    commit(&up).await;
                    let (latest, history) = (newest("changes", &placed(&events), true, false), versions("changes", &placed(&events)));
                    prop_assert_eq!(up.rows(Space::Curated, "latest", false).await, latest);
                    prop_assert_eq!(up.rows(Space::Curated, "versions", false).await, history);
                }
                if *then > 2 {
                    up = restarted(&world, up).await;
                }
            }
            commit(&up).await;
            let said = |row: String| row.split('|').take(3).map(str::to_owned).collect::<Vec<_>>();
            let open = newest("changes", &placed(&events), false, true).into_iter().map(said).collect::<Vec<_>>();
            let again = up.rows(Space::Curated, "again", false).await.into_iter().map(said).collect::<Vec<_>>();
            prop_assert_eq!(again, open);
            prop_assert_eq!(up.rows(Space::Curated, "latest", false).await, newest("changes", &placed(&events), true, false));
            prop_assert_eq!(up.rows(Space::Curated, "versions", false).await, versions("changes", &placed(&events)));
            up.models.stop().await;
            Ok(())
        })?;
    }

    #[test]
    fn deliveries_that_are_taken_back_leave_what_the_others_say(
        run in prop::collection::vec((prop::collection::vec(an_event(), 1..6), prop::option::of(0..4_usize), any::<bool>()), 1..6)
    ) {
        runtime().block_on(async {
            let world = world();
            let mut up = world.up().await;
            let mut deliveries: Vec<(i32, Vec<Event>)> = Vec::new();
            for (number, (events, replaced, restarts)) in (1..).zip(&run) {
                let replaced = replaced.filter(|replaced| *replaced < deliveries.len());
                let replaced = replaced.map(|replaced| deliveries.remove(replaced).0);
                deliver(&up, "corrected", number, events, replaced).await;
                deliveries.push((number, events.clone()));
                let all: Vec<Placed> = deliveries
                    .iter()
                    .flat_map(|(number, events)| events.iter().zip(0..).map(|(event, offset)| (*event, (*number, offset))))
                    .collect();
                prop_assert_eq!(up.rows(Space::Curated, "mended", false).await, newest("corrected", &all, false, true));
                prop_assert_eq!(up.rows(Space::Curated, "mended_versions", false).await, versions("corrected", &all));
                if *restarts {
                    up = restarted(&world, up).await;
                }
            }
            up.models.stop().await;
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn snapshots_change_what_differs_and_delete_what_they_lack(
        run in prop::collection::vec((prop::collection::btree_map(0..7_u8, 0..3_i64, 0..7), any::<bool>()), 1..6)
    ) {
        runtime().block_on(async {
            let world = world();
            let mut up = world.up().await;
            let mut said: BTreeMap<u8, Vec<Said>> = BTreeMap::new();
            for (number, (whole, restarts)) in (1..).zip(&run) {
                let events: Vec<Event> = whole.iter().map(|(key, value)| (*key, 0, Some(*value), false)).collect();
                deliver(&up, "staff", number, &events, None).await;
                for key in 0..7_u8 {
                    let versions = said.entry(key).or_default();
                    let now = whole.get(&key).copied();
                    if versions.last().map_or(now.is_some(), |(before, _)| *before != now) {
                        let offset = whole.keys().position(|other| *other == key).unwrap_or(0);
                        versions.push((now, (number, offset as i64)));
                    }
                }
                let mut latest: Vec<String> = Vec::new();
                let mut history: Vec<String> = Vec::new();
                for (key, versions) in &said {
                    for (index, (value, (number, offset))) in versions.iter().enumerate() {
                        let Some(value) = value else { continue };
                        let is_open = index + 1 == versions.len();
                        if is_open {
                            latest.push(format!("|k{key}|{value}|staff|{number}|{offset}|"));
                        }
                        history.push(format!("k{key} {value} {is_open} {number} {offset}"));
                    }
                }
                latest.sort();
                history.sort();
                prop_assert_eq!(up.rows(Space::Curated, "staffing", false).await, latest);
                let rows = up.rows(Space::Curated, "staffing_versions", false).await;
                let cells = |row: &String| row.split('|').map(str::to_owned).collect::<Vec<_>>();
                let mut shown: Vec<String> = rows
                    .iter()
                    .map(cells)
                    .map(|c| format!("{} {} {} {} {}", c[1], c[2], c[4].is_empty(), c[6], c[7]))
                    .collect();
                shown.sort();
                // When a file without rows came, only the clock knows.
                if run.iter().take(number as usize).all(|(whole, _)| !whole.is_empty()) {
                    prop_assert_eq!(shown, history);
                }
                if *restarts {
                    up = restarted(&world, up).await;
                }
            }
            up.models.stop().await;
            Ok(())
        })?;
    }
}
