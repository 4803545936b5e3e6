//! Models at work on a lake in memory: rows in at the front, tables at the end, restarts in between.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::DataType;
use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_contract::{DatasetName, Layer};
use vitalake_lake::{Lake, LakeOptions, Space, TableId};
use vitalake_process::rollup::LeavesLimits;
use vitalake_process::{
    Consumed, Contracts, Engines, Model, ModelState, Models, ModelsOptions, consumed, has_rows_to_consume, table_specs,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{CrashDisk, Disk};

use crate::support::{STEPS, STEPS_DAILY, batch, longs, model, name, printed, steps, strings, times};

pub struct World {
    pub store: Arc<dyn ObjectStore>,
    pub contracts: Arc<Contracts>,
    pub models: Vec<Model>,
    pub cpu: Cpu,
    pub leaves: LeavesLimits,
    pub disk: Arc<dyn Disk>,
    pub keys_in_memory_max: usize,
    pub clock: Clock,
    pub lake: LakeOptions,
    pub joined_bytes_max: Option<usize>,
    pub engines: Engines,
}

pub struct Up {
    pub lake: Arc<Lake>,
    pub models: Models,
}

pub type Row<'a> = (&'a str, i64, Option<i64>);

impl World {
    pub fn new(severity: Severity) -> Self {
        let mut contracts = steps();
        let mut curated = contracts[&name("steps")].as_ref().clone();
        curated.row_rules.push(RowRule {
            name: "steps.minimum".to_owned(),
            column: Some(2),
            check: Check::Minimum(Bound::Whole(0)),
            severity: Severity::Error,
        });
        curated.row_rules.push(RowRule {
            name: "not.absurd".to_owned(),
            column: None,
            check: Check::NotSql("steps > 100000 AND \"x\" == 'x'".to_owned()),
            severity,
        });
        contracts.insert(name("steps"), Arc::new(curated));
        let models = vec![model(Layer::Serving, "steps_daily", STEPS_DAILY), model(Layer::Curated, "steps", STEPS)];
        Self {
            store: Arc::new(InMemory::new()),
            contracts: Arc::new(contracts),
            models,
            cpu: Cpu::with_workers(2).unwrap(),
            leaves: LeavesLimits::default(),
            disk: Arc::new(CrashDisk::new(1)),
            keys_in_memory_max: 2_000_000,
            clock: Clock::system(),
            lake: LakeOptions::default(),
            joined_bytes_max: None,
            engines: Engines::default(),
        }
    }

    pub async fn up(&self) -> Up {
        let specs = table_specs(&self.models, &self.contracts).unwrap();
        let lake = Lake::open(Arc::clone(&self.store), specs, self.lake.clone(), self.clock.clone(), self.cpu.clone())
            .await
            .unwrap();
        let lake = Arc::new(lake);
        let models = Models::start(&lake, &self.models, &self.contracts, &self.options()).await.unwrap();
        Up { lake, models }
    }

    /// The same where some tables do not open.
    pub async fn up_as_far_as_it_opens(&self) -> Up {
        let specs = table_specs(&self.models, &self.contracts).unwrap();
        let (lake, clock, cpu) = (self.lake.clone(), self.clock.clone(), self.cpu.clone());
        let lake = Arc::new(Lake::open_each(Arc::clone(&self.store), specs, lake, clock, cpu).await);
        let models = Models::start(&lake, &self.models, &self.contracts, &self.options()).await.unwrap();
        Up { lake, models }
    }

    pub fn options(&self) -> ModelsOptions {
        let mut options = ModelsOptions::new(Arc::clone(&self.disk), "/data/keys".into(), Clock::system());
        options.keys_in_memory_max = self.keys_in_memory_max;
        options.leaves = self.leaves;
        options.engines = self.engines.clone();
        options.joined_bytes_max = self.joined_bytes_max.unwrap_or(options.joined_bytes_max);
        options
    }
}

impl Up {
    pub fn append(&self, rows: &[Row<'_>], offset: i64) {
        let raw = self.lake.table(&name("hourly_steps")).unwrap();
        raw.append(
            vec![raw_rows(rows, offset)],
            Vec::new(),
            [(vitalake_lake::TxnId::parse("landing"), offset + rows.len() as i64)],
        )
        .unwrap();
    }

    /// Ends the epoch and waits for every model's commit.
    pub async fn commit(&self) {
        self.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
        self.within(self.models.settled()).await;
    }

    pub async fn within<T>(&self, future: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(Duration::from_secs(20), future).await;
        done.unwrap_or_else(|_| panic!("a model did not get there in time: {:#?}", self.models.statuses()))
    }

    /// What readers see.
    pub async fn live(&self, space: Space, dataset: &str) -> Vec<String> {
        self.within(self.models.caught_up()).await;
        for status in self.models.statuses() {
            assert!(status.error.is_none(), "{status:#?}");
        }
        self.rows(space, dataset, true).await
    }

    pub async fn committed(&self, space: Space, dataset: &str) -> Vec<String> {
        self.rows(space, dataset, false).await
    }

    pub async fn rows(&self, space: Space, dataset: &str, live: bool) -> Vec<String> {
        let rows = self.batches(space, dataset, live).await;
        printed(&rows.iter().map(without_times).collect::<Vec<_>>())
    }

    /// With the columns that other tests have no use for.
    pub async fn rows_in_full(&self, space: Space, dataset: &str) -> Vec<String> {
        printed(&self.batches(space, dataset, true).await)
    }

    pub async fn batches(&self, space: Space, dataset: &str, live: bool) -> Vec<RecordBatch> {
        let dataset = DatasetName::new(dataset).unwrap();
        let table = self.lake.table(&dataset).unwrap();
        let pinned = self.lake.pin();
        let view = pinned.table(&TableId::new(space, dataset)).unwrap();
        let mut rows: Vec<RecordBatch> = Vec::new();
        for file in view.head.files().chain(view.tail.early.iter().filter(|_| live)) {
            if live && view.tail.hidden.contains(file.path()) {
                continue;
            }
            rows.extend(
                if space == Space::Quarantine { table.read_rejects(file).await } else { table.read_file(file).await }
                    .unwrap(),
            );
        }
        if live {
            rows.extend(view.tail.rows.iter().cloned());
        }
        rows
    }
}

/// Rows of the raw table: subject, hour since 1970, steps.
pub fn raw_rows(rows: &[Row<'_>], offset: i64) -> RecordBatch {
    let n = rows.len() as i64;
    let offsets: Vec<Option<i64>> = (offset..offset + n).map(Some).collect();
    let all = |value: Option<&'static str>| strings(&vec![value; rows.len()]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("subject_id", strings(&rows.iter().map(|r| Some(r.0)).collect::<Vec<_>>())),
        ("hour", times(&rows.iter().map(|r| Some(r.1 * 3600)).collect::<Vec<_>>())),
        ("steps", longs(&rows.iter().map(|r| r.2).collect::<Vec<_>>())),
        ("_topic", all(Some("hourly-steps"))),
        ("_partition", Arc::new(Int32Array::from(vec![0; rows.len()]))),
        ("_offset", longs(&offsets)),
        ("_timestamp", times(&vec![None; rows.len()])),
        ("_key", arrow::array::new_null_array(&DataType::BinaryView, rows.len())),
        ("_headers", all(None)),
        ("_ingested_at", times(&offsets.iter().map(|o| o.map(|o| 1_000_000 + o)).collect::<Vec<_>>())),
        ("_rescued", all(None)),
    ];
    batch(columns)
}

/// Arrival times differ between runs of a test in nothing, but they are long to write out.
fn without_times(batch: &RecordBatch) -> RecordBatch {
    let kept: Vec<usize> = batch
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, f)| f.name() != "_ingested_at" && f.name() != "_quarantined_at" && f.name() != "_reason")
        .map(|(i, _)| i)
        .collect();
    batch.project(&kept).unwrap()
}

const DAILY: [&str; 2] = ["|a|1970-01-01|2|12|", "|b|1970-01-02|1|3|"];

#[tokio::test]
async fn rows_flow_from_raw_to_serving_before_and_after_the_commit() {
    let world = World::new(Severity::Error);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("a", 2, Some(7)), ("b", 25, Some(3))], 0);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, DAILY);
    assert!(up.committed(Space::Serving, "steps_daily").await.is_empty());
    up.commit().await;
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, DAILY);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, DAILY);
    up.append(&[("a", 3, Some(1))], 3);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|3|13|", DAILY[1]]);
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, DAILY);
    up.models.stop().await;
}

#[tokio::test]
async fn an_epoch_with_more_groups_than_fit_into_memory_is_shown_and_committed_whole() {
    let mut world = World::new(Severity::Error);
    world.leaves = LeavesLimits { leaf_rows_max: 50, dirty_rows_max: 200, clean_rows_max: 50 };
    let up = world.up().await;
    let names: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    let day = |day: i64, step: i64| -> Vec<(&str, i64, Option<i64>)> {
        names.iter().map(|name| (name.as_str(), 24 * day + step, Some(1))).collect()
    };
    for step in 0..2 {
        for number in 0..30 {
            up.append(&day(number, step), (step * 30 + number) * 40);
            if number % 7 == 0 {
                up.within(up.models.caught_up()).await;
            }
        }
    }
    let live = up.live(Space::Serving, "steps_daily").await;
    assert_eq!(live.len(), 1_200);
    assert!(live.iter().all(|row| row.ends_with("|2|2|")), "{:?}", live.first());
    assert!(up.committed(Space::Serving, "steps_daily").await.is_empty());
    up.commit().await;
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, live);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, live);
    up.models.stop().await;
    let up = world.up().await;
    up.append(&day(3, 5), 2_400);
    let live = up.live(Space::Serving, "steps_daily").await;
    assert_eq!((live.len(), live.iter().filter(|row| row.ends_with("|3|3|")).count()), (1_200, 40));
    up.models.stop().await;
}

#[tokio::test]
async fn duplicates_are_dropped_and_conflicts_and_broken_rules_go_to_quarantine() {
    let world = World::new(Severity::Error);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("a", 1, Some(5)), ("a", 1, Some(6)), ("b", 1, Some(200_000))], 0);
    up.append(&[("a", 1, Some(5)), ("a", 1, Some(7))], 4);
    assert_eq!(up.live(Space::Curated, "steps").await, ["|a|1970-01-01T01:00:00Z|5|hourly-steps|0|0|"]);
    let quarantine = up.live(Space::Quarantine, "steps").await;
    assert_eq!(quarantine.len(), 3);
    assert!(quarantine.iter().all(|r| r.contains("hourly-steps")), "{quarantine:?}");
    assert_eq!(quarantine.iter().filter(|r| r.contains("primaryKey")).count(), 2);
    assert_eq!(quarantine.iter().filter(|r| r.contains("not.absurd")).count(), 1);
    let status = up.models.statuses().into_iter().find(|s| s.dataset == name("steps")).unwrap();
    assert_eq!(
        (status.rows_in, status.rows_out, status.rows_rejected, status.duplicates, status.conflicts),
        (6, 1, 3, 2, 2)
    );
    up.commit().await;
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 3);
    up.models.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_from_the_last_commit() {
    let world = World::new(Severity::Error);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("a", 2, Some(7))], 0);
    up.commit().await;
    up.append(&[("b", 25, Some(3))], 2);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, DAILY);
    up.models.stop().await;
    drop(up.lake);

    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "steps_daily").await, DAILY[..1]);
    up.append(&[("b", 25, Some(3)), ("a", 1, Some(5)), ("a", 2, Some(8))], 2);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, DAILY);
    up.commit().await;
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, DAILY);
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 1);
    up.models.stop().await;
}

#[tokio::test]
async fn what_was_committed_while_models_were_away_is_made_up_for() {
    let world = World::new(Severity::Error);
    let up = world.up().await;
    up.commit().await;
    up.models.stop().await;
    let specs = table_specs(&world.models, &world.contracts).unwrap();
    let lake = Lake::open(Arc::clone(&world.store), specs, LakeOptions::default(), Clock::system(), world.cpu.clone())
        .await
        .unwrap();
    let (lake, none) = (Arc::new(lake), Arc::new(Contracts::new()));
    let options = ModelsOptions::new(Arc::clone(&world.disk), "/data/keys".into(), Clock::system());
    let idle = Up { models: Models::start(&lake, &[], &none, &options).await.unwrap(), lake };
    for n in 0..5 {
        idle.append(&[("a", n, Some(1)), ("b", n, Some(-1))], n * 2);
        idle.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    }
    drop(idle);
    let up = world.up().await;
    assert_eq!(up.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|5|5|"]);
    up.commit().await;
    up.within(up.models.settled()).await;
    assert_eq!(up.committed(Space::Serving, "steps_daily").await, ["|a|1970-01-01|5|5|"]);
    up.models.stop().await;
}

#[tokio::test]
async fn a_version_that_only_joins_files_leaves_a_model_nothing_to_consume() {
    let world = World::new(Severity::Error);
    let up = world.up().await;
    for n in 0..20 {
        up.append(&[("a", n, Some(1))], n);
        up.commit().await;
    }
    assert!(!has_rows_to_consume(&up.lake, &world.models, &world.contracts).await.unwrap());
    let joined = up.lake.table(&name("steps")).unwrap().maintain().await.unwrap();
    assert!(joined.files_compacted > 0, "{joined:?}");
    let behind = |all: Vec<Consumed>| all.into_iter().any(|model| model.consumed < Some(model.there));
    assert!(behind(consumed(&up.lake, &world.models, &world.contracts).unwrap()));
    assert!(!has_rows_to_consume(&up.lake, &world.models, &world.contracts).await.unwrap());
    up.models.stop().await;
    up.lake
        .table(&name("hourly_steps"))
        .unwrap()
        .append(vec![raw_rows(&[("a", 99, Some(1))], 20)], vec![], [])
        .unwrap();
    up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    assert!(has_rows_to_consume(&up.lake, &world.models, &world.contracts).await.unwrap());
}

/// The commit of the rows never took place: the table is as if the process had died right after the quarantine's.
async fn undo_last_commit(store: &Arc<dyn ObjectStore>, table: &str) {
    let folder = object_store::path::Path::from(format!("lake/{table}/_delta_log"));
    let mut commits: Vec<_> = store.list(Some(&folder)).map(|found| found.unwrap().location).collect().await;
    commits.retain(|path| path.as_ref().ends_with(".json"));
    commits.sort();
    store.delete(commits.last().unwrap()).await.unwrap();
}

#[tokio::test]
async fn rejects_committed_before_a_crash_are_not_committed_again() {
    let world = World::new(Severity::Error);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("b", 1, Some(200_000))], 0);
    up.commit().await;
    up.append(&[("a", 2, Some(7)), ("a", 1, Some(6)), ("b", 2, Some(300_000))], 2);
    up.commit().await;
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 3);
    up.models.stop().await;
    drop(up.lake);
    undo_last_commit(&world.store, "curated/steps").await;
    undo_last_commit(&world.store, "serving/steps_daily").await;

    let up = world.up().await;
    up.append(&[("a", 2, Some(8))], 5);
    assert_eq!(up.live(Space::Serving, "steps_daily").await, DAILY[..1]);
    up.commit().await;
    assert_eq!(up.committed(Space::Curated, "steps").await.len(), 2);
    assert_eq!(up.committed(Space::Quarantine, "steps").await.len(), 4);
    up.models.stop().await;
}

#[tokio::test]
async fn a_fatal_rule_stops_the_model_and_says_so() {
    let world = World::new(Severity::Fatal);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5))], 0);
    assert_eq!(up.live(Space::Curated, "steps").await.len(), 1, "{:?}", up.models.statuses());
    up.append(&[("a", 2, Some(200_000))], 1);
    up.within(up.models.caught_up()).await;
    let status = up.models.statuses().into_iter().find(|s| s.dataset == name("steps")).unwrap();
    assert_eq!(status.state, ModelState::Failed);
    assert!(status.error.unwrap().contains("not.absurd"));
    assert_eq!(up.rows(Space::Curated, "steps", true).await.len(), 1);
    up.models.stop().await;
}
