//! What derives follows what changes: rows of an input that are gone or corrected, and joined tables that explain rows anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch};
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use rstest::rstest;
use vitalake_contract::rule::{Bound, Check, Measure, Must, RowRule, SetRule, Severity};
use vitalake_contract::{Delivery, Layer};
use vitalake_lake::{DeliveredFiles, Space, TxnId};
use vitalake_process::Contracts;
use vitalake_process::rollup::LeavesLimits;

use crate::run::{Up, World};
use crate::support::{batch, contract, contracts, longs, model, name, strings, times};

/// The device, the second, the value.
type Reading = (u8, i64, i32);
/// The device, the patient, from when, until when.
type Assignment = (u8, u8, i64, Option<i64>);
/// The clinic, the day, the cost.
type Visit = (u8, i64, i32);

const VITALS: &str = "-- kind: append\nSELECT r.device AS device, r.at AS at, r.v AS v, a.patient AS patient\nFROM raw.readings r LEFT JOIN raw.assignments a ON a.device = r.device AND r.at >= a.since AND (a.until IS NULL OR r.at < a.until)";
const KNOWN: &str = "-- kind: append\nSELECT r.device AS device, r.at AS at, a.patient AS patient, c.ward AS ward\nFROM raw.readings r JOIN raw.assignments a ON a.device = r.device AND r.at >= a.since JOIN raw.wards c ON c.patient = a.patient WHERE c.ward <> 'w0'";
const DAILY: &str = "-- kind: rollup\n-- time: day\nSELECT patient, CAST(at AS DATE) AS day, COUNT(*) AS n, MIN(v) AS low, MAX(v) AS high, AVG(v) AS mean FROM curated.vitals GROUP BY patient, CAST(at AS DATE)";
const VISITS: &str =
    "-- kind: append\nSELECT clinic, day, cost, lpad(clinic, CAST(cost AS INT), 'x') AS padded FROM raw.visits";
const COSTS: &str = "-- kind: rollup\n-- time: day\nSELECT clinic, CAST(day AS DATE) AS day, SUM(cost) AS total, MAX(cost) AS highest, SUM(length(lpad(clinic, CAST(cost AS INT), 'x'))) AS padded FROM raw.visits GROUP BY clinic, CAST(day AS DATE)";

const WEARERS: &str =
    "-- kind: upsert\n-- key: device\n-- sequence: since\nSELECT device, patient, since FROM raw.wears";
const WORN: &str = "-- kind: append\nSELECT r.device AS device, r.at AS at, w.patient AS patient\nFROM raw.readings r LEFT JOIN curated.wearers w ON w.device = r.device AND r.at >= w._valid_from AND (w._valid_to IS NULL OR r.at < w._valid_to)";
const SPELLS: &str =
    "-- kind: append\nSELECT device, patient, _valid_to AS until FROM curated.wearers WHERE patient <> 'p0'";
const SPELLS_DAILY: &str = "-- kind: rollup\n-- time: day\nSELECT CAST(_valid_from AS DATE) AS day, COUNT(*) AS n, MAX(patient) AS last FROM curated.wearers GROUP BY CAST(_valid_from AS DATE)";

fn all_contracts() -> Contracts {
    let replaced = |dataset: &str, columns: &str| {
        let mut contract = contract(Layer::Raw, dataset, columns, true);
        contract.delivery = Delivery::Replace;
        contract
    };
    let mut vitals = contract(Layer::Curated, "vitals", "device string, at timestamp, v double, patient string", false);
    vitals.row_rules.push(RowRule {
        name: "nobody".to_owned(),
        column: None,
        check: Check::NotSql("patient = 'p3'".to_owned()),
        severity: Severity::Error,
    });
    let mut visits =
        contract(Layer::Curated, "visits_kept", "*clinic string, *day timestamp, cost long, padded string", false);
    visits.row_rules.push(RowRule {
        name: "cost.minimum".to_owned(),
        column: Some(2),
        check: Check::Minimum(Bound::Whole(2)),
        severity: Severity::Error,
    });
    // Behind a gate: what is staged is what is compared.
    let mut costs =
        contract(Layer::Serving, "costs", "clinic string, day date, total long, highest long, padded long", false);
    let must = Must::BeGreaterOrEqualTo(0.0);
    let enough = SetRule {
        name: "enough".to_owned(),
        measure: Measure::RowCount,
        must,
        severity: Severity::Error,
        schedule: None,
    };
    costs.set_rules.push(enough);
    let mut wearers = contract(Layer::Curated, "wearers", "*device string, patient string", false);
    wearers.history = true;
    contracts(vec![
        contract(Layer::Raw, "wears", "device string, patient string, since timestamp", true),
        wearers,
        contract(Layer::Curated, "worn", "device string, at timestamp, patient string", false),
        contract(Layer::Curated, "spells", "device string, patient string, until timestamp", false),
        contract(Layer::Serving, "spells_daily", "day date, n long, last string", false),
        contract(Layer::Raw, "readings", "device string, at timestamp, v double", false),
        replaced("assignments", "device string, patient string, since timestamp, until timestamp"),
        replaced("wards", "patient string, ward string"),
        contract(Layer::Raw, "visits", "clinic string, day timestamp, cost long", true),
        vitals,
        contract(Layer::Curated, "known", "device string, at timestamp, patient string, ward string", false),
        contract(
            Layer::Serving,
            "vitals_daily",
            "patient string, day date, n long, low double, high double, mean double",
            false,
        ),
        visits,
        costs,
    ])
}

fn world() -> World {
    let mut world = World::new(Severity::Error);
    world.contracts = Arc::new(all_contracts());
    world.models = vec![
        model(Layer::Curated, "vitals", VITALS),
        model(Layer::Curated, "known", KNOWN),
        model(Layer::Serving, "vitals_daily", DAILY),
        model(Layer::Curated, "visits_kept", VISITS),
        model(Layer::Serving, "costs", COSTS),
        model(Layer::Curated, "wearers", WEARERS),
        model(Layer::Curated, "worn", WORN),
        model(Layer::Curated, "spells", SPELLS),
        model(Layer::Serving, "spells_daily", SPELLS_DAILY),
    ];
    world.leaves = LeavesLimits { leaf_rows_max: 6, dirty_rows_max: 1_000, clean_rows_max: 8 };
    world
}

const DERIVED: [(Space, &str); 11] = [
    (Space::Curated, "wearers"),
    (Space::Curated, "worn"),
    (Space::Curated, "spells"),
    (Space::Serving, "spells_daily"),
    (Space::Curated, "vitals"),
    (Space::Quarantine, "vitals"),
    (Space::Curated, "known"),
    (Space::Serving, "vitals_daily"),
    (Space::Curated, "visits_kept"),
    (Space::Quarantine, "visits_kept"),
    (Space::Serving, "costs"),
];

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    let values: Vec<String> = values.collect();
    strings(&values.iter().map(|value| Some(value.as_str())).collect::<Vec<_>>())
}

/// Rows of a table with the columns given, the others null.
fn in_full(
    up: &Up,
    dataset: &str,
    given: Vec<(&str, ArrayRef)>,
    topic: &str,
    partition: i32,
    offset: i64,
) -> RecordBatch {
    let table = up.lake.table(&name(dataset)).unwrap();
    let count = given[0].1.len();
    let offsets: Vec<Option<i64>> = (offset..offset + count as i64).map(Some).collect();
    let mut given: BTreeMap<&str, ArrayRef> = given.into_iter().collect();
    given.insert("_topic", strings(&vec![Some(topic); count]));
    given.insert("_partition", Arc::new(Int32Array::from(vec![partition; count])));
    given.insert("_offset", longs(&offsets));
    given.insert("_ingested_at", times(&vec![Some(1_000_000); count]));
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| {
        let null = || arrow::array::new_null_array(field.data_type(), count);
        (field.name().as_str(), given.get(field.name().as_str()).cloned().unwrap_or_else(null))
    });
    batch(columns.collect())
}

fn read(up: &Up, rows: &[Reading], offset: i64) {
    if rows.is_empty() {
        return;
    }
    let given = vec![
        ("device", texts(rows.iter().map(|row| format!("d{}", row.0)))),
        ("at", times(&rows.iter().map(|row| Some(row.1 * 3600)).collect::<Vec<_>>())),
        ("v", Arc::new(rows.iter().map(|row| Some(f64::from(row.2) * 0.5)).collect::<Float64Array>()) as ArrayRef),
    ];
    let rows = in_full(up, "readings", given, "readings", 0, offset);
    let count = rows.num_rows() as i64;
    let table = up.lake.table(&name("readings")).unwrap();
    table.append(vec![rows], Vec::new(), [(TxnId::parse("landing"), offset + count)]).unwrap();
}

async fn deliver(up: &Up, dataset: &str, given: Vec<(&str, ArrayRef)>, number: i32, replaces: Replaces) {
    let table = up.lake.table(&name(dataset)).unwrap();
    let rows = match given[0].1.is_empty() {
        true => Vec::new(),
        false => vec![in_full(up, dataset, given, &format!("feed/{dataset}"), number, 0)],
    };
    let files = table.write_rows(rows).await.unwrap();
    let (replace, instead_of) = match replaces {
        Replaces::Nothing => (false, None),
        Replaces::All => (true, None),
        Replaces::One(number) => (false, Some(number)),
    };
    let txns = vec![(TxnId::delivery(dataset), i64::from(number))];
    table
        .deliver(DeliveredFiles { rows: files, replace, instead_of, txns, ..DeliveredFiles::default() })
        .await
        .unwrap();
}

enum Replaces {
    Nothing,
    All,
    One(i64),
}

async fn assign(up: &Up, rows: &[Assignment], number: i32) {
    let given = vec![
        ("device", texts(rows.iter().map(|row| format!("d{}", row.0)))),
        ("patient", texts(rows.iter().map(|row| format!("p{}", row.1)))),
        ("since", times(&rows.iter().map(|row| Some(row.2 * 3600)).collect::<Vec<_>>())),
        ("until", times(&rows.iter().map(|row| row.3.map(|until| until * 3600)).collect::<Vec<_>>())),
    ];
    deliver(up, "assignments", given, number, Replaces::All).await;
}

async fn place(up: &Up, rows: &[(u8, u8)], number: i32) {
    let given = vec![
        ("patient", texts(rows.iter().map(|row| format!("p{}", row.0)))),
        ("ward", texts(rows.iter().map(|row| format!("w{}", row.1)))),
    ];
    deliver(up, "wards", given, number, Replaces::All).await;
}

async fn visit(up: &Up, rows: &[Visit], number: i32, replaces: Replaces) {
    let given = vec![
        ("clinic", texts(rows.iter().map(|row| format!("c{}", row.0)))),
        ("day", times(&rows.iter().map(|row| Some(row.1 * 86_400)).collect::<Vec<_>>())),
        ("cost", longs(&rows.iter().map(|row| Some(i64::from(row.2))).collect::<Vec<_>>())),
    ];
    deliver(up, "visits", given, number, replaces).await;
}

/// The device, the patient, from when.
type Wear = (u8, u8, i64);

async fn wear(up: &Up, rows: &[Wear], number: i32, replaces: Replaces) {
    let given = vec![
        ("device", texts(rows.iter().map(|row| format!("d{}", row.0)))),
        ("patient", texts(rows.iter().map(|row| format!("p{}", row.1)))),
        ("since", times(&rows.iter().map(|row| Some(row.2 * 3600)).collect::<Vec<_>>())),
    ];
    deliver(up, "wears", given, number, replaces).await;
}

async fn settle(up: &Up) {
    up.lake.table(&name("readings")).unwrap().flush().await.unwrap();
    up.within(up.models.settled()).await;
}

async fn balanced(up: &Up) {
    for dataset in ["vitals", "known", "visits_kept", "worn", "spells"] {
        let books = up.lake.table(&name(dataset)).unwrap().books().await.unwrap();
        assert_eq!(books.missing(), Some(0), "{dataset}: {books:?}");
    }
}

#[tokio::test]
async fn an_assignment_that_comes_late_mends_the_readings_that_it_explains_up_to_the_rollup() {
    let world = world();
    let up = world.up().await;
    read(&up, &[(1, 1, 10), (1, 5, 20), (2, 1, 30)], 0);
    settle(&up).await;
    assert_eq!(up.committed(Space::Serving, "vitals_daily").await, ["||1970-01-01|3|5.0|15.0|10.0|30.0|3|"]);
    assert!(up.committed(Space::Curated, "known").await.is_empty());
    place(&up, &[(1, 1)], 1).await;
    assign(&up, &[(1, 1, 3, None)], 1).await;
    settle(&up).await;
    let daily = ["|p1|1970-01-01|1|10.0|10.0|10.0|10.0|1|", "||1970-01-01|2|5.0|15.0|10.0|20.0|2|"];
    assert_eq!(up.committed(Space::Serving, "vitals_daily").await, daily);
    assert_eq!(up.committed(Space::Curated, "known").await, ["|d1|1970-01-01T05:00:00Z|p1|w1|readings|0|1|"]);
    balanced(&up).await;
    // And it is taken back.
    assign(&up, &[], 2).await;
    settle(&up).await;
    assert_eq!(up.committed(Space::Serving, "vitals_daily").await, ["||1970-01-01|3|5.0|15.0|10.0|30.0|3|"]);
    assert!(up.committed(Space::Curated, "known").await.is_empty());
    balanced(&up).await;
    up.models.stop().await;
}

#[tokio::test]
async fn a_row_that_is_made_again_as_it_was_stays_in_its_file() {
    let world = world();
    let up = world.up().await;
    assign(&up, &[(1, 1, 0, None), (2, 2, 0, None)], 1).await;
    read(&up, &[(1, 1, 10), (2, 5, 20)], 0);
    settle(&up).await;
    let files = |up: &Up| {
        let head = up.lake.table(&name("vitals")).unwrap().head();
        head.files().map(|file| file.path().clone()).collect::<Vec<_>>()
    };
    let before = files(&up);
    // The assignment ends after everything that was read: nothing follows from that.
    assign(&up, &[(1, 1, 0, Some(9)), (2, 2, 0, None), (1, 2, 9, None)], 2).await;
    settle(&up).await;
    assert_eq!(files(&up), before);
    up.models.stop().await;
}

#[tokio::test]
async fn what_was_delivered_wrongly_is_gone_from_what_derives_from_it_when_it_is_corrected() {
    let world = world();
    let up = world.up().await;
    visit(&up, &[(1, 1, 5), (2, 1, 9), (1, 2, 1)], 1, Replaces::Nothing).await;
    visit(&up, &[(3, 1, 4)], 2, Replaces::Nothing).await;
    settle(&up).await;
    assert_eq!(up.committed(Space::Quarantine, "visits_kept").await.len(), 1);
    visit(&up, &[(1, 1, 6), (1, 2, 3)], 3, Replaces::One(1)).await;
    settle(&up).await;
    let costs = up.committed(Space::Serving, "costs").await;
    assert_eq!(costs, ["|c1|1970-01-02|6|6|6|", "|c1|1970-01-03|3|3|3|", "|c3|1970-01-02|4|4|4|"]);
    assert_eq!(up.committed(Space::Curated, "visits_kept").await.len(), 3);
    assert!(up.committed(Space::Quarantine, "visits_kept").await.is_empty());
    balanced(&up).await;
    up.models.stop().await;
}

#[tokio::test]
async fn a_key_that_is_free_again_is_that_of_the_row_which_it_kept_out() {
    let world = world();
    let up = world.up().await;
    visit(&up, &[(1, 1, 5), (1, 2, 7)], 1, Replaces::Nothing).await;
    visit(&up, &[(1, 1, 5), (1, 2, 8)], 2, Replaces::Nothing).await;
    settle(&up).await;
    assert_eq!(up.committed(Space::Quarantine, "visits_kept").await.len(), 1);
    visit(&up, &[(4, 4, 4)], 3, Replaces::One(1)).await;
    settle(&up).await;
    let kept = up.committed(Space::Curated, "visits_kept").await;
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().filter(|row| row.contains("|c1|")).all(|row| row.ends_with("|2|0|") || row.ends_with("|2|1|")));
    assert!(up.committed(Space::Quarantine, "visits_kept").await.is_empty());
    balanced(&up).await;
    up.models.stop().await;
}

#[derive(Clone, Debug)]
enum Step {
    Read(Vec<Reading>),
    Assign(Vec<Assignment>),
    Place(Vec<(u8, u8)>),
    Visit(Vec<Visit>),
    /// The visits of an earlier delivery, by its place among those that still stand.
    Correct(usize, Vec<Visit>),
    Wear(Vec<Wear>),
    /// The same of who wore what.
    Rewear(usize, Vec<Wear>),
    Commit,
    Settle,
    Restart,
}

fn a_life() -> impl Strategy<Value = Vec<Step>> {
    let readings = prop::collection::vec((0..4_u8, 0..60_i64, 0..9_i32), 1..8);
    let assignments = prop::collection::vec((0..4_u8, 0..4_u8, 0..60_i64, prop::option::of(0..60_i64)), 0..6);
    let wards = prop::collection::vec((0..4_u8, 0..3_u8), 0..5);
    // No two visits have one key: which of them is the first is a matter of order.
    let visits = || prop::collection::btree_map((0..5_u8, 0..4_i64), 0..6_i32, 1..6);
    let visits = || {
        visits().prop_map(|rows| rows.into_iter().map(|((clinic, day), cost)| (clinic, day, cost)).collect::<Vec<_>>())
    };
    let wears = || prop::collection::vec((0..4_u8, 0..4_u8, 0..60_i64), 1..5);
    let step = prop_oneof![
        3 => wears().prop_map(Step::Wear),
        2 => (0..4_usize, wears()).prop_map(|(which, rows)| Step::Rewear(which, rows)),
        4 => readings.prop_map(Step::Read),
        3 => assignments.prop_map(Step::Assign),
        2 => wards.prop_map(Step::Place),
        2 => visits().prop_map(Step::Visit),
        2 => (0..4_usize, visits()).prop_map(|(which, rows)| Step::Correct(which, rows)),
        2 => Just(Step::Commit),
        2 => Just(Step::Settle),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..14)
}

/// What the raw tables hold in the end.
#[derive(Default)]
struct Raw {
    readings: Vec<Reading>,
    assignments: Option<(i32, Vec<Assignment>)>,
    wards: Option<(i32, Vec<(u8, u8)>)>,
    visits: Vec<(i32, Vec<Visit>)>,
    wears: Vec<(i32, Vec<Wear>)>,
    numbers: i32,
}

impl Raw {
    fn number(&mut self) -> i32 {
        self.numbers += 1;
        self.numbers
    }

    /// Visits of different deliveries never share a key.
    fn apart(rows: &[Visit], number: i32) -> Vec<Visit> {
        rows.iter().map(|row| (row.0, row.1 + 10 * i64::from(number), row.2)).collect()
    }

    async fn step(&mut self, up: &Up, step: &Step) {
        match step {
            Step::Read(rows) => {
                read(up, rows, self.readings.len() as i64);
                self.readings.extend(rows);
            }
            Step::Assign(rows) => {
                let number = self.number();
                assign(up, rows, number).await;
                self.assignments = Some((number, rows.clone()));
            }
            Step::Place(rows) => {
                let number = self.number();
                place(up, rows, number).await;
                self.wards = Some((number, rows.clone()));
            }
            Step::Visit(rows) => {
                let number = self.number();
                let rows = Self::apart(rows, number);
                visit(up, &rows, number, Replaces::Nothing).await;
                self.visits.push((number, rows));
            }
            Step::Correct(which, rows) => {
                let Some((old, _)) = self.visits.get(*which).cloned() else { return };
                let number = self.number();
                let rows = Self::apart(rows, number);
                visit(up, &rows, number, Replaces::One(i64::from(old))).await;
                self.visits[*which] = (number, rows);
            }
            Step::Wear(rows) => {
                let number = self.number();
                wear(up, rows, number, Replaces::Nothing).await;
                self.wears.push((number, rows.clone()));
            }
            Step::Rewear(which, rows) => {
                let Some((old, _)) = self.wears.get(*which).cloned() else { return };
                let number = self.number();
                wear(up, rows, number, Replaces::One(i64::from(old))).await;
                self.wears[*which] = (number, rows.clone());
            }
            Step::Commit => {
                up.lake.table(&name("readings")).unwrap().flush().await.unwrap();
            }
            Step::Settle => settle(up).await,
            Step::Restart => {}
        }
    }

    async fn rebuilt(&self) -> Up {
        let up = world().up().await;
        if let Some((number, rows)) = &self.assignments {
            assign(&up, rows, *number).await;
        }
        if let Some((number, rows)) = &self.wards {
            place(&up, rows, *number).await;
        }
        let mut visits: Vec<_> = self.visits.iter().collect();
        visits.sort_by_key(|(number, _)| *number);
        for (number, rows) in visits {
            visit(&up, rows, *number, Replaces::Nothing).await;
        }
        let mut wears: Vec<_> = self.wears.iter().collect();
        wears.sort_by_key(|(number, _)| *number);
        for (number, rows) in wears {
            wear(&up, rows, *number, Replaces::Nothing).await;
        }
        read(&up, &self.readings, 0);
        settle(&up).await;
        up
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_comes_in_whatever_order_ends_as_a_rebuild_does(life in a_life()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world();
            let mut up = world.up().await;
            let mut raw = Raw::default();
            for step in &life {
                raw.step(&up, step).await;
                if matches!(step, Step::Restart) {
                    // What the models have made of it may be half committed.
                    up.lake.table(&name("readings")).unwrap().flush().await.unwrap();
                    up.models.stop().await;
                    drop(up.lake);
                    up = world.up().await;
                }
            }
            settle(&up).await;
            balanced(&up).await;
            let rebuilt = raw.rebuilt().await;
            for (space, dataset) in DERIVED {
                let (got, want) = (up.committed(space, dataset).await, rebuilt.committed(space, dataset).await);
                prop_assert_eq!(got, want, "{}", dataset);
            }
            up.models.stop().await;
            rebuilt.models.stop().await;
            Ok(())
        })?;
    }
}

/// The last commit of a log never took place.
async fn undo_last_commit(store: &Arc<dyn ObjectStore>, table: &str) {
    let folder = object_store::path::Path::from(format!("lake/{table}/_delta_log"));
    let mut commits: Vec<_> = store.list(Some(&folder)).map(|found| found.unwrap().location).collect().await;
    commits.retain(|path| path.as_ref().ends_with(".json"));
    commits.sort();
    store.delete(commits.last().unwrap()).await.unwrap();
}

/// A crash after the rows of a correction and before its rejects, or before both.
#[rstest]
#[case::between_the_two_commits(&["quarantine/vitals"])]
#[case::before_the_first(&["quarantine/vitals", "curated/vitals", "serving/vitals_daily"])]
#[tokio::test]
async fn a_correction_that_a_crash_cut_short_is_made_once(#[case] lost: &[&str]) {
    let world = world();
    let up = world.up().await;
    assign(&up, &[(1, 3, 0, None)], 1).await;
    read(&up, &[(1, 1, 10), (1, 2, 20), (2, 1, 30)], 0);
    settle(&up).await;
    assert_eq!(up.committed(Space::Quarantine, "vitals").await.len(), 2);
    assign(&up, &[(1, 1, 2, None), (1, 3, 0, Some(2))], 2).await;
    settle(&up).await;
    let want = up.committed(Space::Serving, "vitals_daily").await;
    assert_eq!(want.len(), 2, "{want:?}");
    up.models.stop().await;
    drop(up.lake);
    for table in lost {
        undo_last_commit(&world.store, table).await;
    }
    let up = world.up().await;
    settle(&up).await;
    assert_eq!(up.committed(Space::Serving, "vitals_daily").await, want);
    assert_eq!(up.committed(Space::Curated, "vitals").await.len(), 2);
    assert_eq!(up.committed(Space::Quarantine, "vitals").await.len(), 1);
    balanced(&up).await;
    up.models.stop().await;
}

/// Rows may be made with any version of a joined table that was there for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_joined_table_said_for_a_moment_is_taken_back() {
    let world = world();
    let up = world.up().await;
    assign(&up, &[(0, 3, 16, Some(29))], 1).await;
    read(&up, &[(3, 14, 1), (0, 23, 0), (0, 45, 3)], 0);
    up.within(up.models.caught_up()).await;
    assign(&up, &[(3, 0, 18, None), (2, 0, 11, None)], 2).await;
    settle(&up).await;
    assert_eq!(up.committed(Space::Curated, "vitals").await.len(), 3);
    assert!(up.committed(Space::Quarantine, "vitals").await.is_empty());
    balanced(&up).await;
    up.models.stop().await;
}

/// Somebody has removed the joined table's folder, and it was made anew.
#[tokio::test]
async fn where_nobody_knows_what_changed_the_table_is_made_again_whole() {
    let world = world();
    let up = world.up().await;
    assign(&up, &[(1, 1, 0, None)], 1).await;
    read(&up, &[(1, 1, 10), (2, 1, 30)], 0);
    settle(&up).await;
    up.models.stop().await;
    drop(up.lake);
    let folder = object_store::path::Path::from("lake/raw/assignments");
    let files: Vec<_> = world.store.list(Some(&folder)).map(|found| found.unwrap().location).collect().await;
    for file in files {
        world.store.delete(&file).await.unwrap();
    }
    let up = world.up().await;
    assign(&up, &[(2, 2, 0, None)], 1).await;
    settle(&up).await;
    let daily = ["|p2|1970-01-01|1|15.0|15.0|15.0|15.0|1|", "||1970-01-01|1|5.0|5.0|5.0|5.0|1|"];
    assert_eq!(up.committed(Space::Serving, "vitals_daily").await, daily);
    balanced(&up).await;
    up.models.stop().await;
}

/// A figure, not a check: `bench/dimension_change.sh`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
#[allow(clippy::print_stdout)]
async fn measured_change_of_a_dimension() {
    let count: i64 = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let mut world = world();
    world.models.retain(|model| ["vitals", "vitals_daily"].contains(&model.dataset.as_str()));
    world.leaves = LeavesLimits::default();
    let up = world.up().await;
    let assigned = |patient: i32, devices: std::ops::Range<i32>| {
        let devices: Vec<i32> = devices.collect();
        vec![
            ("device", texts(devices.iter().map(|device| format!("d{device}")))),
            ("patient", texts(devices.iter().map(|device| format!("p{}", if *device == 7 { patient } else { 100 })))),
            ("since", times(&vec![Some(0); devices.len()])),
            ("until", times(&vec![None; devices.len()])),
        ]
    };
    deliver(&up, "assignments", assigned(101, 0..100), 1, Replaces::All).await;
    let (batch_rows, mut offset) = (50_000.min(count), 0);
    while offset < count {
        let rows: Vec<i64> = (offset..offset + batch_rows).collect();
        let given = vec![
            ("device", texts(rows.iter().map(|row| format!("d{}", row % 100)))),
            ("at", times(&rows.iter().map(|row| Some(row / 100)).collect::<Vec<_>>())),
            ("v", Arc::new(rows.iter().map(|row| Some((row % 977) as f64)).collect::<Float64Array>()) as ArrayRef),
        ];
        let made = in_full(&up, "readings", given, "readings", 0, offset);
        offset += batch_rows;
        let table = up.lake.table(&name("readings")).unwrap();
        table.append(vec![made], Vec::new(), [(TxnId::parse("landing"), offset)]).unwrap();
        if offset % 500_000 == 0 || offset >= count {
            table.flush().await.unwrap();
            up.models.settled().await;
        }
    }
    let files = |dataset: &str| {
        let head = up.lake.table(&name(dataset)).unwrap().head();
        head.files().map(|file| (file.path().clone(), file.size_bytes())).collect::<BTreeMap<_, _>>()
    };
    let before = (files("vitals"), files("vitals_daily"));
    let input: u64 = files("readings").values().sum();
    let started = std::time::Instant::now();
    deliver(&up, "assignments", assigned(102, 0..100), 2, Replaces::All).await;
    up.models.settled().await;
    let took = started.elapsed();
    let after = (files("vitals"), files("vitals_daily"));
    let sum = |of: &BTreeMap<_, u64>, without: &BTreeMap<_, u64>| {
        let of = of.iter().filter(|(path, _)| !without.contains_key(*path));
        of.fold((0, 0), |(files, bytes), (_, size)| (files + 1, bytes + size))
    };
    println!("{count} derived rows, 1% touched: {:.2} s", took.as_secs_f64());
    println!("input looked through: at most {input} bytes, twice");
    println!("rewritten (files, bytes): {:?}, written: {:?}", sum(&before.0, &after.0), sum(&after.0, &before.0));
    println!("rollup, rewritten: {:?}, written: {:?}", sum(&before.1, &after.1), sum(&after.1, &before.1));
    up.models.stop().await;
}
