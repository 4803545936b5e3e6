//! Whatever the order of increments, commits, restarts and rewrites of files by others: the tables are those of a
//! rebuild, also with values that are missing, far away or no numbers, and with rows that cannot be run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Date32Type;
use proptest::prelude::*;
use vitalake_contract::Layer;
use vitalake_contract::rule::Severity;
use vitalake_lake::delta::{CompactOptions, CompactTask, DeltaLog};
use vitalake_lake::{Space, TableId, TxnId};
use vitalake_process::rollup::{HeadLeaf, Leaves, LeavesLimits, RollupPlan, Sealed};

use crate::run::{Up, World};
use crate::support::{batch, contract, contracts, longs, model, name, printed, strings, times};

const EXTREMES: &str = "-- kind: rollup\n-- time: day\nSELECT level, CAST(hour AS DATE) AS day, COUNT(*) AS n, MIN(v) AS low, MAX(v) AS high, SUM(w) AS total FROM curated.readings GROUP BY level, CAST(hour AS DATE)";

type Reading = (Option<f64>, Option<i64>, Option<f64>, Option<i64>);

fn doubles(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn readings(rows: &[Reading]) -> RecordBatch {
    batch(vec![
        ("level", doubles(rows.iter().map(|r| r.0))),
        ("hour", times(&rows.iter().map(|r| r.1.map(|day| day * 86_400)).collect::<Vec<_>>())),
        ("v", doubles(rows.iter().map(|r| r.2))),
        ("w", longs(&rows.iter().map(|r| r.3).collect::<Vec<_>>())),
    ])
}

/// What Spark makes of the rows, computed one by one.
fn expected(rows: &[Reading]) -> Vec<String> {
    let spelled = |number: Option<f64>| {
        number.map_or(String::new(), |n| if n.is_nan() { "NaN".to_owned() } else { format!("{n:?}") })
    };
    let by_order = |a: &f64, b: &f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Greater,
        (false, true) => std::cmp::Ordering::Less,
        _ => a.total_cmp(b),
    };
    let mut groups: BTreeMap<(String, Option<i64>), Vec<&Reading>> = BTreeMap::new();
    for row in rows {
        let level = row.0.map(|level| if level == 0.0 { 0.0 } else { level });
        groups.entry((spelled(level), row.1)).or_default().push(row);
    }
    let mut lines: Vec<String> = groups
        .iter()
        .map(|((level, day), rows)| {
            let values = || rows.iter().filter_map(|row| row.2);
            let (low, high) = (values().min_by(by_order), values().max_by(by_order));
            let total = rows.iter().filter_map(|row| row.3).reduce(i64::wrapping_add);
            let day = day.map_or(String::new(), |day| {
                let day = arrow::array::Date32Array::from(vec![i32::try_from(day).unwrap()]);
                arrow::util::display::array_value_to_string(&day, 0).unwrap()
            });
            let total = total.map_or(String::new(), |total| total.to_string());
            format!("|{level}|{day}|{}|{}|{}|{total}|", rows.len(), spelled(low), spelled(high))
        })
        .collect();
    lines.sort();
    lines
}

/// A table of files that somebody may lay out anew.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, RecordBatch>,
    made: usize,
}

impl Files {
    fn add(&mut self, rows: RecordBatch) -> String {
        self.made += 1;
        let path = format!("part-{}", self.made);
        self.files.insert(path.clone(), rows);
        path
    }

    fn commit(&mut self, leaves: &mut Leaves, sealed: &Sealed) {
        for path in leaves.removes(sealed) {
            assert!(self.files.remove(&path).is_some(), "{path} is removed twice");
        }
        let whole = |rows: &Vec<RecordBatch>| concat_batches(&rows[0].schema(), rows).unwrap();
        let paths: Vec<Vec<String>> = sealed.adds.iter().map(|rows| vec![self.add(whole(rows))]).collect();
        leaves.committed(sealed, &paths);
    }

    /// All rows in some order, in some number of files.
    fn rewrite(&mut self, seed: u32) {
        let Some(first) = self.files.values().next() else { return };
        let all = concat_batches(&first.schema(), self.files.values()).unwrap();
        let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
        order.sort_by_key(|row| row.wrapping_add(seed).wrapping_mul(2_654_435_761));
        self.files.clear();
        for rows in order.chunks(1 + seed as usize % 9) {
            self.add(take_record_batch(&all, &UInt32Array::from(rows.to_vec())).unwrap());
        }
    }

    fn head(&self) -> Vec<HeadLeaf> {
        let leaf = |(path, rows): (&String, &RecordBatch)| {
            let days = rows.column(1).as_primitive::<Date32Type>();
            let bounds = days.iter().flatten().min().zip(days.iter().flatten().max());
            let range = bounds.map(|(from, to)| (i64::from(from), i64::from(to)));
            let without_time = days.iter().any(|day| day.is_none());
            HeadLeaf { path: path.clone(), rows: rows.num_rows(), range, without_time }
        };
        self.files.iter().map(leaf).collect()
    }

    fn visible(&self, leaves: &mut Leaves) -> Vec<String> {
        let shown = leaves.overlay().unwrap();
        let kept = self.files.iter().filter(|(path, _)| !shown.hidden.contains(*path)).map(|(_, rows)| rows.clone());
        printed(&shown.rows.iter().cloned().chain(kept).collect::<Vec<_>>())
    }
}

#[derive(Clone, Debug)]
enum Then {
    Nothing,
    Commit,
    /// Everything is committed, somebody rewrites the files, and the model begins again.
    Rewrite(u32),
}

fn a_run_of_readings() -> impl Strategy<Value = Vec<(Vec<Reading>, Then)>> {
    let odd = || {
        prop_oneof![
            Just(None),
            Just(Some(f64::NAN)),
            Just(Some(-f64::NAN)),
            Just(Some(0.0)),
            Just(Some(-0.0)),
            Just(Some(f64::INFINITY)),
            Just(Some(f64::NEG_INFINITY)),
            Just(Some(f64::MAX)),
            (-3..3_i32).prop_map(|n| Some(f64::from(n) * 0.5)),
        ]
    };
    // From the year 1 to the year 9999.
    let day = prop_oneof![2 => Just(None), 6 => (0..40_i64).prop_map(Some), 1 => Just(Some(-719_162)), 1 => Just(Some(2_932_896))];
    let whole = prop_oneof![Just(None), Just(Some(i64::MAX)), Just(Some(i64::MIN)), (-9..9_i64).prop_map(Some)];
    let reading = (odd(), day, odd(), whole);
    let then = prop_oneof![2 => Just(Then::Nothing), 2 => Just(Then::Commit), 2 => (0..50_u32).prop_map(Then::Rewrite)];
    prop::collection::vec((prop::collection::vec(reading, 0..30), then), 1..8)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn groups_are_sparks_however_rows_are_cut_and_files_laid_out(run in a_run_of_readings()) {
        runtime().block_on(async {
            let all = contracts(vec![
                contract(Layer::Curated, "readings", "level double, hour timestamp, v double, w long", false),
                contract(Layer::Serving, "extremes", "*level double, *day date, n long, low double, high double, total long", false),
            ]);
            let plan = RollupPlan::compile(&model(Layer::Serving, "extremes", EXTREMES), &all).await.unwrap();
            let limits = LeavesLimits { leaf_rows_max: 8, dirty_rows_max: 10_000, clean_rows_max: 8 };
            let (mut files, mut everything) = (Files::default(), Vec::new());
            let mut leaves = Leaves::new(&plan, limits, Vec::new()).unwrap();
            for (increment, then) in &run {
                let partial = plan.partial(&[readings(increment)]).await.unwrap();
                for (id, paths) in leaves.missing(&partial).unwrap() {
                    let rows: Vec<RecordBatch> = paths.iter().map(|path| files.files[path].clone()).collect();
                    leaves.load(id, &rows).unwrap();
                }
                leaves.apply(&partial).unwrap();
                everything.extend(increment.iter().copied());
                if !matches!(then, Then::Nothing) {
                    let sealed = leaves.seal().unwrap();
                    files.commit(&mut leaves, &sealed);
                }
                if let Then::Rewrite(seed) = then {
                    files.rewrite(*seed);
                    leaves = Leaves::new(&plan, limits, files.head()).unwrap();
                }
                prop_assert_eq!(files.visible(&mut leaves), expected(&everything));
            }
            Ok(())
        })?;
    }
}

const PADDED_DAILY: &str = "-- kind: rollup\n-- time: day\nSELECT CAST(hour AS DATE) AS day, COUNT(*) AS hours, SUM(length(lpad(subject_id, CAST(steps AS INT), 'x'))) AS padded FROM raw.hourly_steps GROUP BY CAST(hour AS DATE)";
const PADDED: &str = "-- kind: append\nSELECT subject_id, length(lpad(subject_id, CAST(steps AS INT), 'x')) AS padded FROM raw.hourly_steps";

fn world() -> World {
    let mut world = World::new(Severity::Warning);
    let mut all = world.contracts.as_ref().clone();
    all.extend(contracts(vec![
        contract(Layer::Serving, "padded_daily", "day date, hours long, padded long", false),
        contract(Layer::Curated, "padded", "subject_id string, padded int", false),
    ]));
    world.contracts = Arc::new(all);
    world.models.push(model(Layer::Serving, "padded_daily", PADDED_DAILY));
    world.models.push(model(Layer::Curated, "padded", PADDED));
    world.leaves = LeavesLimits { leaf_rows_max: 8, dirty_rows_max: 40, clean_rows_max: 8 };
    world
}

type Step = (u8, Option<i64>, Option<i64>);

fn append(up: &Up, rows: &[Step], offset: i64) {
    let subjects: Vec<String> = rows.iter().map(|row| format!("s{}", row.0)).collect();
    let count = rows.len() as i64;
    let offsets: Vec<Option<i64>> = (offset..offset + count).map(Some).collect();
    let topic = strings(&vec![Some("hourly-steps"); rows.len()]);
    let rows = batch(vec![
        ("subject_id", strings(&subjects.iter().map(|s| Some(s.as_str())).collect::<Vec<_>>())),
        ("hour", times(&rows.iter().map(|row| row.1.map(|hour| hour * 3600)).collect::<Vec<_>>())),
        ("steps", longs(&rows.iter().map(|row| row.2).collect::<Vec<_>>())),
        ("_topic", topic),
        ("_partition", Arc::new(Int32Array::from(vec![0; rows.len()]))),
        ("_offset", longs(&offsets)),
        ("_timestamp", times(&vec![None; rows.len()])),
        ("_ingested_at", times(&offsets.iter().map(|o| o.map(|o| 1_000_000 + o)).collect::<Vec<_>>())),
        ("_rescued", strings(&vec![None; rows.len()])),
    ]);
    let raw = up.lake.table(&name("hourly_steps")).unwrap();
    let schema = raw.schema();
    let columns = schema.fields().iter().map(|field| {
        let null = || arrow::array::new_null_array(field.data_type(), rows.num_rows());
        (field.name().as_str(), rows.column_by_name(field.name()).cloned().unwrap_or_else(null))
    });
    let rows = batch(columns.collect());
    raw.append(vec![rows], Vec::new(), [(TxnId::parse("landing"), offset + count)]).unwrap();
}

/// All files of a table become one, as another program's OPTIMIZE makes them.
pub async fn optimize(world: &World, space: Space, dataset: &str) {
    let log = DeltaLog::new(Arc::clone(&world.store), TableId::new(space, name(dataset)).root());
    let head = log.load().await.unwrap().unwrap();
    let task = CompactTask { files: head.files().cloned().collect() };
    if task.files.len() > 1 {
        let compacted = log.compact(&head, &task, &CompactOptions::default(), 1).await.unwrap();
        log.append(&head, compacted.into_change(1)).await.unwrap();
    }
}

const TABLES: [(Space, &str); 6] = [
    (Space::Curated, "steps"),
    (Space::Curated, "padded"),
    (Space::Serving, "steps_daily"),
    (Space::Serving, "padded_daily"),
    (Space::Quarantine, "padded"),
    (Space::Quarantine, "padded_daily"),
];

#[derive(Clone, Debug)]
enum Life {
    GoesOn,
    Commits,
    Restarts,
    IsOptimized,
}

fn a_run_of_steps() -> impl Strategy<Value = Vec<(Vec<Step>, Life)>> {
    let hour = prop_oneof![
        2 => Just(None),
        8 => (0..700_i64).prop_map(Some),
        1 => Just(Some(2_932_896 * 24)),
        1 => Just(Some(-719_162 * 24)),
    ];
    let steps = prop_oneof![1 => Just(None), 8 => (0..30_i64).prop_map(Some), 1 => Just(Some(2_000_000_000))];
    let life = prop_oneof![Just(Life::GoesOn), Just(Life::Commits), Just(Life::Restarts), Just(Life::IsOptimized)];
    prop::collection::vec((prop::collection::vec((0..6_u8, hour, steps), 1..25), life), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_life_of_the_tables_ends_with_what_a_rebuild_gives(run in a_run_of_steps()) {
        runtime().block_on(async {
            let world = world();
            let mut up = world.up().await;
            let mut everything: Vec<Step> = Vec::new();
            for (rows, life) in &run {
                append(&up, rows, everything.len() as i64);
                everything.extend(rows);
                up.within(up.models.caught_up()).await;
                if !matches!(life, Life::GoesOn) {
                    up.commit().await;
                }
                if matches!(life, Life::Restarts | Life::IsOptimized) {
                    up.models.stop().await;
                    drop(up.lake);
                    if matches!(life, Life::IsOptimized) {
                        optimize(&world, Space::Serving, "steps_daily").await;
                        optimize(&world, Space::Serving, "padded_daily").await;
                    }
                    up = world.up().await;
                }
            }
            let other = self::world();
            let rebuilt = other.up().await;
            append(&rebuilt, &everything, 0);
            for (space, dataset) in TABLES {
                prop_assert_eq!(up.live(space, dataset).await, rebuilt.live(space, dataset).await, "{}", dataset);
            }
            up.commit().await;
            for (space, dataset) in TABLES {
                prop_assert_eq!(up.committed(space, dataset).await, rebuilt.live(space, dataset).await, "{}", dataset);
            }
            up.models.stop().await;
            rebuilt.models.stop().await;
            Ok(())
        })?;
    }
}
