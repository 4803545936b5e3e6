//! Rollups: however the input is cut, the table is what one query over all of it gives.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use proptest::prelude::*;
use vitalake_contract::Layer;
use vitalake_process::Contracts;
use vitalake_process::rollup::{HeadLeaf, Leaves, LeavesLimits, RollupPlan, Sealed, Shown};

use crate::support::{batch, contract, contracts, longs, model, printed, steps, strings, times};

const TEXT: &str = "-- kind: rollup\n-- time: day\nSELECT subject_id, CAST(hour AS DATE) AS day, COUNT(*) AS n, SUM(steps) AS total, MIN(steps) AS low, MAX(subject_id) AS last, AVG(steps) AS mean, SUM(steps) div COUNT(*) AS each\nFROM curated.steps WHERE steps IS NULL OR steps > -100 GROUP BY subject_id, CAST(hour AS DATE)";

fn all() -> Contracts {
    let mut all = steps();
    all.extend(contracts(vec![contract(
        Layer::Serving,
        "daily",
        "*subject_id string, *day date, n long, total long, low long, last string, mean double, each long",
        false,
    )]));
    all
}

/// A table of files, as the lake would hold it.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, Vec<RecordBatch>>,
    aside: BTreeMap<String, Vec<RecordBatch>>,
    made: usize,
}

impl Files {
    fn commit(&mut self, leaves: &mut Leaves, sealed: &Sealed) {
        for path in leaves.removes(sealed) {
            assert!(self.files.remove(&path).is_some(), "{path} is removed twice");
        }
        let mut paths = Vec::new();
        for rows in &sealed.adds {
            self.made += 1;
            let path = format!("part-{}", self.made);
            self.files.insert(path.clone(), rows.clone());
            paths.push(vec![path]);
        }
        for path in sealed.aside() {
            self.files.insert(path.clone(), self.aside[path].clone());
        }
        leaves.committed(sealed, &paths);
    }

    fn set_aside(&mut self, leaves: &mut Leaves) {
        for (leaf, rows) in leaves.to_set_aside().unwrap() {
            self.made += 1;
            let path = format!("aside-{}", self.made);
            self.aside.insert(path.clone(), rows);
            leaves.set_aside(leaf, path);
        }
    }

    fn visible(&self, leaves: &mut Leaves) -> Vec<String> {
        let Shown { hidden, aside, mut rows } = leaves.overlay().unwrap();
        rows.extend(aside.iter().flat_map(|path| self.aside[path].clone()));
        rows.extend(self.files.iter().filter(|(path, _)| !hidden.contains(*path)).flat_map(|(_, rows)| rows.clone()));
        printed(&rows)
    }

    fn head(&self) -> Vec<HeadLeaf> {
        let range = |rows: &[RecordBatch]| {
            let days: Vec<i32> = rows
                .iter()
                .flat_map(|b| b.column(1).as_primitive::<Date32Type>().iter().flatten().collect::<Vec<_>>())
                .collect();
            days.iter().min().zip(days.iter().max()).map(|(a, b)| (i64::from(*a), i64::from(*b)))
        };
        let leaf = |(path, rows): (&String, &Vec<RecordBatch>)| HeadLeaf {
            path: path.clone(),
            rows: rows.iter().map(RecordBatch::num_rows).sum(),
            range: range(rows),
            without_time: rows.iter().any(|b| b.column(1).null_count() > 0),
        };
        self.files.iter().map(leaf).collect()
    }
}

async fn feed(plan: &RollupPlan, leaves: &mut Leaves, files: &Files, rows: &RecordBatch) {
    let partial = plan.partial(std::slice::from_ref(rows)).await.unwrap();
    for (id, paths) in leaves.missing(&partial).unwrap() {
        let rows: Vec<RecordBatch> =
            paths.iter().flat_map(|p| files.files.get(p).unwrap_or_else(|| &files.aside[p]).clone()).collect();
        leaves.load(id, &rows).unwrap();
    }
    leaves.apply(&partial).unwrap();
}

type Row = (Option<u8>, Option<i64>, Option<i64>);

fn rows(rows: &[Row]) -> RecordBatch {
    let subjects: Vec<Option<String>> = rows.iter().map(|r| r.0.map(|s| format!("subject-{s}"))).collect();
    batch(vec![
        ("subject_id", strings(&subjects.iter().map(Option::as_deref).collect::<Vec<_>>())),
        ("hour", times(&rows.iter().map(|r| r.1.map(|hour| hour * 3600)).collect::<Vec<_>>())),
        ("steps", longs(&rows.iter().map(|r| r.2).collect::<Vec<_>>())),
    ])
}

#[derive(Clone, Debug)]
enum Then {
    Nothing,
    Seal,
    Commit,
    Restart,
}

fn steps_of_a_run() -> impl Strategy<Value = Vec<(Vec<Row>, Then)>> {
    let row = (
        prop_oneof![9 => (0..5_u8).prop_map(Some), 1 => Just(None)],
        prop_oneof![19 => (-200..2000_i64).prop_map(Some), 1 => Just(None)],
        prop_oneof![9 => (-120..1000_i64).prop_map(Some), 1 => Just(None)],
    );
    let then =
        prop_oneof![4 => Just(Then::Nothing), 2 => Just(Then::Seal), 2 => Just(Then::Commit), 1 => Just(Then::Restart)];
    prop::collection::vec((prop::collection::vec(row, 0..40), then), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_cut_of_the_input_gives_what_one_query_gives(run in steps_of_a_run()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let plan = RollupPlan::compile(&model(Layer::Serving, "daily", TEXT), &all()).await.unwrap();
            let limits = LeavesLimits { leaf_rows_max: 16, dirty_rows_max: 64, clean_rows_max: 16 };
            let mut files = Files::default();
            let mut leaves = Leaves::new(&plan, limits, Vec::new()).unwrap();
            let (mut everything, mut open): (Vec<Row>, Vec<Sealed>) = (Vec::new(), Vec::new());
            for (increment, then) in &run {
                feed(&plan, &mut leaves, &files, &rows(increment)).await;
                everything.extend(increment);
                if leaves.is_full() && open.is_empty() {
                    files.set_aside(&mut leaves);
                    assert!(leaves.rows_in_memory() <= 64 / 2 + 16, "{} rows", leaves.rows_in_memory());
                }
                match then {
                    Then::Nothing => {}
                    Then::Seal => open.push(leaves.seal().unwrap()),
                    Then::Commit => if !open.is_empty() {
                        let sealed = open.remove(0);
                        files.commit(&mut leaves, &sealed);
                    },
                    Then::Restart => {
                        open.push(leaves.seal().unwrap());
                        for sealed in open.drain(..) {
                            files.commit(&mut leaves, &sealed);
                        }
                        leaves = Leaves::new(&plan, limits, files.head()).unwrap();
                    }
                }
                let mut whole = Leaves::new(&plan, LeavesLimits::default(), Vec::new()).unwrap();
                feed(&plan, &mut whole, &Files::default(), &rows(&everything)).await;
                assert_eq!(files.visible(&mut leaves), Files::default().visible(&mut whole));
            }
        });
    }
}

#[tokio::test]
async fn one_query_gives_what_it_should() {
    let plan = RollupPlan::compile(&model(Layer::Serving, "daily", TEXT), &all()).await.unwrap();
    let mut leaves = Leaves::new(&plan, LeavesLimits::default(), Vec::new()).unwrap();
    let input = rows(&[
        (Some(1), Some(1), Some(5)),
        (Some(1), Some(2), Some(2)),
        (Some(1), Some(30), None),
        (None, Some(3), Some(-500)),
    ]);
    feed(&plan, &mut leaves, &Files::default(), &input).await;
    let visible = Files::default().visible(&mut leaves);
    let stored = plan.shape().stored_schema();
    let hidden: Vec<&str> = stored.fields().iter().skip(8).map(|f| f.name().as_str()).collect();
    assert_eq!(hidden, ["_mean_sum", "_mean_count"]);
    assert_eq!(
        visible,
        ["|subject-1|1970-01-01|2|7|2|subject-1|3.5|3|7.0|2|", "|subject-1|1970-01-02|1|||subject-1||||0|"]
    );
}

#[tokio::test]
async fn a_commit_touches_only_the_leaves_that_changed() {
    let plan = RollupPlan::compile(&model(Layer::Serving, "daily", TEXT), &all()).await.unwrap();
    let limits = LeavesLimits { leaf_rows_max: 100, ..LeavesLimits::default() };
    let mut leaves = Leaves::new(&plan, limits, Vec::new()).unwrap();
    let mut files = Files::default();
    let year: Vec<Row> = (0..1000).map(|n| (Some((n % 3) as u8), Some(n / 3 * 24), Some(n))).collect();
    feed(&plan, &mut leaves, &files, &rows(&year)).await;
    let sealed = leaves.seal().unwrap();
    assert!(
        sealed.adds.len() > 10 && sealed.adds.iter().all(|f| f.iter().map(RecordBatch::num_rows).sum::<usize>() <= 100)
    );
    files.commit(&mut leaves, &sealed);
    assert!(leaves.overlay().unwrap().hidden.is_empty());
    feed(&plan, &mut leaves, &files, &rows(&[(Some(1), Some(24 * 100), Some(1))])).await;
    let Shown { hidden, rows: shown, .. } = leaves.overlay().unwrap();
    assert_eq!(hidden.len(), 1);
    assert!(shown.iter().map(RecordBatch::num_rows).sum::<usize>() <= 100);
    assert_eq!(leaves.seal().unwrap().adds.len(), 1);
    let total: i64 = files
        .files
        .values()
        .flatten()
        .map(|b| b.column(2).as_primitive::<Int64Type>().iter().flatten().sum::<i64>())
        .sum();
    assert_eq!(total, 1000);
}

#[tokio::test]
async fn a_leaf_that_no_file_was_written_for_leaves_the_others_theirs() {
    let plan = RollupPlan::compile(&model(Layer::Serving, "daily", TEXT), &all()).await.unwrap();
    let limits = LeavesLimits { leaf_rows_max: 100, ..LeavesLimits::default() };
    let mut leaves = Leaves::new(&plan, limits, Vec::new()).unwrap();
    let year: Vec<Row> = (0..1000).map(|n| (Some((n % 3) as u8), Some(n / 3 * 24), Some(n))).collect();
    feed(&plan, &mut leaves, &Files::default(), &rows(&year)).await;
    let sealed = leaves.seal().unwrap();
    let written = |n: usize| if n == 0 { Vec::new() } else { vec![format!("part-{n}")] };
    leaves.committed(&sealed, &(0..sealed.adds.len()).map(written).collect::<Vec<_>>());
    for (n, hour) in sealed.adds.iter().map(|leaf| leaf[0].column(1).as_primitive::<Date32Type>().value(0)).enumerate()
    {
        let of_leaf = rows(&[(Some(1), Some(i64::from(hour) * 24), Some(1))]);
        feed(&plan, &mut leaves, &Files::default(), &of_leaf).await;
        let again = leaves.seal().unwrap();
        assert_eq!(leaves.removes(&again), written(n));
    }
}

#[tokio::test]
async fn a_leaf_that_is_not_in_memory_is_not_merged_into() {
    let plan = RollupPlan::compile(&model(Layer::Serving, "daily", TEXT), &all()).await.unwrap();
    let head = vec![HeadLeaf { path: "part-1".to_owned(), rows: 1, range: Some((0, 3)), without_time: false }];
    let mut leaves = Leaves::new(&plan, LeavesLimits::default(), head).unwrap();
    let partial = plan.partial(&[rows(&[(Some(1), Some(1), Some(1))])]).await.unwrap();
    assert!(leaves.apply(&partial).is_err());
    assert_eq!(leaves.missing(&partial).unwrap()[0].1, ["part-1"]);
}
