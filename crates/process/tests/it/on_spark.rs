//! Models of every kind on a Spark that is a double: it runs the statements it is sent over the rows it is sent, and is
//! away, loses its session, stalls or refuses where a test says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use vitalake_contract::Layer;
use vitalake_contract::rule::Severity;
use vitalake_lake::Space;
use vitalake_process::spark::{Answer, Failure, Question, RunProgress, Spark};
use vitalake_process::{EngineName, Engines, ModelState};

use crate::run::{Up, World};
use crate::support::{contract, contracts, model, name};
use crate::upsert;

/// What the double does in place of an answer.
#[derive(Clone, Debug)]
enum Fault {
    Fails(Failure),
    /// It never ends.
    Stalls,
}

/// A Spark that is none.
#[derive(Debug, Default)]
struct Double {
    asked: AtomicUsize,
    /// For the next statements, one each.
    next: Mutex<VecDeque<Fault>>,
    /// For all, as long as it is there.
    always: Mutex<Option<Fault>>,
    /// Rows with these steps cannot be run.
    poison: Option<i64>,
    /// Whether it says where.
    poison_has_no_place: bool,
    /// Why statements are asked for again.
    trouble: Mutex<Option<String>>,
    sql: Mutex<Vec<String>>,
    interrupted: Arc<AtomicBool>,
}

struct Interrupts(Arc<AtomicBool>);

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[async_trait]
impl Spark for Double {
    async fn ask(&self, question: Question) -> Result<Answer, Failure> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        self.sql.lock().push(question.sql.clone());
        let (told, progress) = watch::channel(RunProgress { stages: 1, tasks: 8, tasks_done: 3, bytes_read: 0 });
        let fault = self.next.lock().pop_front().or_else(|| self.always.lock().clone());
        match fault {
            Some(Fault::Fails(failure)) => return Err(failure),
            Some(Fault::Stalls) => {
                let interrupts = Interrupts(Arc::clone(&self.interrupted));
                let rows = futures::stream::once(async move {
                    std::future::pending::<()>().await;
                    drop((interrupts, told));
                    Err(Failure::SessionLost)
                });
                return Ok(Answer { rows: rows.boxed(), progress });
            }
            None => {}
        }
        if self.poison.is_some_and(|poison| holds(&question, poison)) {
            let at = question.sql.find("steps * steps").filter(|_| !self.poison_has_no_place);
            let class = Some("ARITHMETIC_OVERFLOW".to_owned());
            return Err(Failure::Statement { class, sql_state: Some("22003".to_owned()), at });
        }
        let rows = run(question).await;
        Ok(Answer { rows: futures::stream::iter(rows.into_iter().map(Ok)).boxed(), progress })
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}

fn holds(question: &Question, poison: i64) -> bool {
    let batches = question.inputs.iter().flat_map(|input| &input.rows);
    let steps = batches.filter_map(|batch| batch.column_by_name("steps"));
    steps.flat_map(|steps| steps.as_primitive::<Int64Type>().iter()).any(|steps| steps == Some(poison))
}

/// The statement, over what it is given. Rows come in another order than they went.
async fn run(question: Question) -> Vec<RecordBatch> {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.dialect = datafusion::common::config::Dialect::Databricks;
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    let context = SessionContext::new_with_config(config);
    for input in question.inputs {
        let table = MemTable::try_new(input.schema, vec![input.rows]).unwrap();
        context.register_table(input.name, Arc::new(table)).unwrap();
    }
    let rows = match context.sql(&question.sql).await {
        Ok(frame) => frame.collect().await.unwrap(),
        Err(error) => panic!("{error}\n{}", question.sql),
    };
    let reversed = |batch: RecordBatch| {
        let order: arrow::array::UInt32Array = (0..batch.num_rows() as u32).rev().collect::<Vec<_>>().into();
        arrow::compute::take_record_batch(&batch, &order).unwrap()
    };
    rows.into_iter().rev().map(reversed).collect()
}

fn on(world: World, double: &Arc<Double>) -> World {
    let spark: Arc<dyn Spark> = Arc::clone(double) as Arc<dyn Spark>;
    World { engines: Engines { otherwise: EngineName::Spark, spark: Some(spark) }, ..world }
}

fn away() -> Fault {
    Fault::Fails(Failure::Away { what: "Spark at double:1 is away: refused".to_owned() })
}

const STEPS: &str = "-- kind: append\nSELECT h.subject_id, h.hour, h.steps /* of ö, ;FROM raw.x */\nFROM raw.hourly_steps h -- all\nWHERE h.steps IS DISTINCT FROM 7;\n";
const WIDE: &str = "-- kind: append\n\nSELECT subject_id, hour,\n  steps * steps AS steps FROM raw.hourly_steps";
const DAILY: &str = "-- kind: rollup\n-- time: day\nSELECT subject_id, CAST(hour AS DATE) AS day, COUNT(*) AS hours, round(AVG(steps) FILTER (WHERE steps > 1), 1) AS mean, MAX(steps) - MIN(steps) AS spread\nFROM curated.steps\nGROUP BY subject_id, CAST(hour AS DATE)\n";
const ALL: &str = "-- kind: full\nSELECT DISTINCT s.subject_id AS subject_id, count(*) AS n, avg(d.mean) AS mean FROM curated.steps AS s JOIN serving_copy_of AS d ON d.subject_id = s.subject_id GROUP BY s.subject_id";

fn steps_world() -> World {
    let mut world = World::new(Severity::Error);
    let mut all = world.contracts.as_ref().clone();
    all.extend(contracts(vec![
        contract(Layer::Serving, "daily", "*subject_id string, *day date, hours long, mean double, spread long", false),
        contract(Layer::Serving, "totals", "*subject_id string, n long, mean double", false),
    ]));
    world.contracts = Arc::new(all);
    let full = ALL.replace("serving_copy_of", "raw.hourly_steps").replace("d.mean", "d.steps");
    world.models = vec![
        model(Layer::Curated, "steps", STEPS),
        model(Layer::Serving, "daily", DAILY),
        model(Layer::Serving, "totals", &full),
    ];
    world
}

async fn scenario(world: &World) -> Vec<Vec<String>> {
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("b", 30, Some(3)), ("a", 2, Some(7)), ("c", 1, None)], 0);
    up.commit().await;
    up.append(&[("a", 1, Some(5)), ("a", 3, Some(9)), ("a", 3, Some(8)), ("b", 31, Some(-4)), ("b", 32, Some(1))], 4);
    up.commit().await;
    let found = tables(&up, &["steps", "daily", "totals"]).await;
    up.models.stop().await;
    found
}

async fn tables(up: &Up, datasets: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for dataset in datasets {
        let space = Space::from(if *dataset == "steps" { Layer::Curated } else { Layer::Serving });
        found.push(up.rows_in_full(space, dataset).await);
    }
    found.push(up.rows(Space::Quarantine, "steps", true).await);
    found
}

#[tokio::test]
async fn tables_are_the_same_on_either_engine() {
    let double = Arc::new(Double::default());
    let expected = scenario(&steps_world()).await;
    let found = scenario(&on(steps_world(), &double)).await;
    assert_eq!(found, expected);
    assert!(found.iter().all(|rows| !rows.is_empty()), "{found:#?}");
    assert!(double.asked.load(Ordering::Acquire) >= 6);
}

#[tokio::test]
async fn upserts_are_the_same_on_either_engine() {
    let double = Arc::new(Double::default());
    let mut found = Vec::new();
    for world in [upsert::world(), on(upsert::world(), &double)] {
        let up = world.up().await;
        upsert::append(&up, &[(1, 5, Some(4), false), (2, 1, Some(4), false), (1, 3, Some(-1), false)], 0);
        upsert::commit(&up).await;
        upsert::append(&up, &[(1, 4, Some(9), false), (2, 2, None, true), (3, 2, Some(6), false)], 3);
        upsert::deliver(&up, "staff", 1, &[(1, 0, Some(1), false), (2, 0, Some(2), false)], None).await;
        upsert::commit(&up).await;
        let mut tables = Vec::new();
        for dataset in ["latest", "versions", "again", "staffing"] {
            tables.push(up.rows(Space::Curated, dataset, false).await);
        }
        found.push(tables);
        up.models.stop().await;
    }
    assert_eq!(found[1], found[0]);
    assert!(found[0].iter().all(|rows| !rows.is_empty()), "{found:#?}");
}

#[tokio::test]
async fn a_model_goes_on_where_it_was_when_it_moves() {
    let double = Arc::new(Double::default());
    let expected = scenario(&steps_world()).await;
    for first_on_spark in [true, false] {
        let mut world = steps_world();
        let parts: [(&[crate::run::Row<'_>], i64); 2] = [
            (&[("a", 1, Some(5)), ("b", 30, Some(3)), ("a", 2, Some(7)), ("c", 1, None)], 0),
            (&[("a", 1, Some(5)), ("a", 3, Some(9)), ("a", 3, Some(8)), ("b", 31, Some(-4)), ("b", 32, Some(1))], 4),
        ];
        let mut found = Vec::new();
        for (index, (rows, offset)) in parts.into_iter().enumerate() {
            let otherwise = if (index == 0) == first_on_spark { EngineName::Spark } else { EngineName::DataFusion };
            world = on(world, &double);
            world.engines.otherwise = otherwise;
            let asked = double.asked.load(Ordering::Acquire);
            let up = world.up().await;
            up.append(rows, offset);
            up.commit().await;
            found = tables(&up, &["steps", "daily", "totals"]).await;
            up.models.stop().await;
            assert_eq!(double.asked.load(Ordering::Acquire) > asked, otherwise == EngineName::Spark);
        }
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn micro_batches_of_an_epoch_are_one_statement() {
    let double = Arc::new(Double::default());
    let mut world = on(steps_world(), &double);
    world.models.truncate(1);
    let up = world.up().await;
    up.within(up.models.caught_up()).await;
    for offset in 0..20 {
        up.append(&[("a", offset, Some(5))], offset);
        tokio::task::yield_now().await;
    }
    up.commit().await;
    assert_eq!(up.rows(Space::Curated, "steps", false).await.len(), 20);
    assert_eq!(double.asked.load(Ordering::Acquire), 1);
    up.models.stop().await;
}

#[tokio::test]
async fn a_spark_that_is_away_delays_its_models_and_nothing_is_lost() {
    let double = Arc::new(Double::default());
    *double.always.lock() = Some(away());
    let mut world = on(steps_world(), &double);
    world.models.truncate(2);
    world.models[1].engine = Some(EngineName::DataFusion);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("b", 30, Some(3))], 0);
    up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    let status = || up.models.statuses().into_iter().find(|status| status.dataset == name("steps")).unwrap();
    let stalled = async {
        while status().state != ModelState::Stalled {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    up.within(stalled).await;
    assert_eq!(status().error.as_deref(), Some("model steps: Spark at double:1 is away: refused"));
    assert_eq!(status().engine, EngineName::Spark);
    *double.always.lock() = None;
    up.commit().await;
    assert_eq!(up.rows(Space::Curated, "steps", false).await.len(), 2);
    assert!(up.rows(Space::Quarantine, "steps", true).await.is_empty());
    assert!(status().error.is_none());
    up.models.stop().await;
}

#[tokio::test]
async fn a_session_that_is_lost_is_begun_anew_at_once() {
    let double = Arc::new(Double::default());
    double.next.lock().push_back(Fault::Fails(Failure::SessionLost));
    let mut world = on(steps_world(), &double);
    world.models.truncate(1);
    let up = world.up().await;
    up.append(&[("a", 1, Some(5))], 0);
    up.commit().await;
    assert_eq!(double.asked.load(Ordering::Acquire), 2);
    assert_eq!(up.rows(Space::Curated, "steps", false).await.len(), 1);
    up.models.stop().await;
}

fn wide(double: &Arc<Double>) -> World {
    let mut world = on(World::new(Severity::Warning), double);
    world.models = vec![model(Layer::Curated, "steps", WIDE)];
    world
}

#[tokio::test]
async fn a_row_that_spark_cannot_run_is_rejected_with_its_place_and_its_neighbours_go_on() {
    let double = Arc::new(Double { poison: Some(9), ..Double::default() });
    let up = wide(&double).up().await;
    up.append(&[("a", 1, Some(5)), ("a", 2, Some(9)), ("a", 3, Some(7))], 0);
    up.commit().await;
    assert_eq!(up.rows(Space::Curated, "steps", false).await.len(), 2);
    let rejects = up.rows_in_full(Space::Quarantine, "steps").await.join("\n");
    let reason = "the expression at models/curated/steps.sql:4:3 cannot be computed for this row: Spark says ARITHMETIC_OVERFLOW (SQLSTATE 22003)";
    assert!(rejects.contains(reason), "{rejects}");
    up.models.stop().await;
}

/// Spark says no place of a row that fails while it makes its plan: the expression is looked for here.
#[tokio::test]
async fn a_row_that_spark_rejects_without_a_place_is_placed_by_this_process() {
    let double = Arc::new(Double { poison: Some(9), poison_has_no_place: true, ..Double::default() });
    let mut world = wide(&double);
    let parts = "-- kind: append\n\nSELECT subject_id, hour,\n  CAST(length(repeat('x', CASE WHEN steps = 9 THEN 1000000000 ELSE 1 END)) AS BIGINT) AS steps FROM raw.hourly_steps";
    world.models = vec![model(Layer::Curated, "steps", parts)];
    let up = world.up().await;
    up.append(&[("a", 1, Some(5)), ("a", 2, Some(9))], 0);
    up.commit().await;
    let rejects = up.rows_in_full(Space::Quarantine, "steps").await.join("\n");
    assert!(rejects.contains("the expression at models/curated/steps.sql:4:8 cannot be computed"), "{rejects}");
    up.models.stop().await;
}

/// A statement that waits for a Spark that has gone: nobody waits for its model meanwhile.
#[tokio::test]
async fn a_model_whose_statement_waits_for_spark_is_stalled_until_spark_answers() {
    let double = Arc::new(Double::default());
    double.next.lock().push_back(Fault::Stalls);
    let up = wide(&double).up().await;
    up.append(&[("a", 1, Some(5))], 0);
    up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    let asked = async {
        while double.asked.load(Ordering::Acquire) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    up.within(asked).await;
    let status = || up.models.statuses().remove(0);
    assert_eq!((status().state, status().error), (ModelState::CatchingUp, None));
    *double.trouble.lock() = Some("Spark at double:1 is away: refused".to_owned());
    assert_eq!((status().state, status().error), (ModelState::Stalled, double.trouble()));
    *double.trouble.lock() = None;
    assert_eq!((status().state, status().error), (ModelState::CatchingUp, None));
    up.models.stop().await;
}

#[tokio::test]
async fn an_outage_while_rows_are_halved_blames_none() {
    let double = Arc::new(Double { poison: Some(9), ..Double::default() });
    let overflow = || Failure::Statement { class: None, sql_state: Some("22003".to_owned()), at: None };
    double.next.lock().extend([Fault::Fails(overflow()), away()]);
    let up = wide(&double).up().await;
    up.append(&[("a", 1, Some(5)), ("a", 3, Some(7))], 0);
    up.commit().await;
    assert_eq!(up.rows(Space::Curated, "steps", false).await.len(), 2);
    assert!(up.rows(Space::Quarantine, "steps", true).await.is_empty());
    up.models.stop().await;
}

#[tokio::test]
async fn a_statement_that_spark_cannot_plan_fails_its_model_alone_with_its_place() {
    let double = Arc::new(Double::default());
    let mut world = wide(&double);
    *double.always.lock() = Some(Fault::Fails(Failure::Statement {
        class: Some("UNRESOLVED_ROUTINE".to_owned()),
        sql_state: Some("42883".to_owned()),
        at: None,
    }));
    world.models.push(model(Layer::Serving, "steps_daily", crate::support::STEPS_DAILY));
    let up = world.up().await;
    up.append(&[("a", 1, Some(5))], 0);
    up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    up.within(up.models.settled()).await;
    let status = up.models.statuses().into_iter().find(|status| status.dataset == name("steps")).unwrap();
    assert_eq!(status.state, ModelState::Failed);
    let error = status.error.unwrap();
    assert!(
        error.contains("Spark cannot run models/curated/steps.sql:3:1: Spark says UNRESOLVED_ROUTINE (SQLSTATE 42883)"),
        "{error}"
    );
    up.models.stop().await;
}

#[tokio::test]
async fn a_model_that_is_stopped_interrupts_its_statement() {
    let double = Arc::new(Double::default());
    *double.always.lock() = Some(Fault::Stalls);
    let up = wide(&double).up().await;
    up.append(&[("a", 1, Some(5))], 0);
    up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    let asked = async {
        while double.asked.load(Ordering::Acquire) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    up.within(asked).await;
    let running = || up.models.statuses().remove(0).running;
    let shown = async {
        while running().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    up.within(shown).await;
    assert_eq!(running().unwrap().progress.tasks_done, 3);
    let within = tokio::time::timeout(Duration::from_secs(20), up.models.stop()).await;
    assert!(within.is_ok() && double.interrupted.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_model_that_names_spark_where_there_is_none_says_what_to_write() {
    let mut world = World::new(Severity::Warning);
    world.models[1].engine = Some(EngineName::Spark);
    let up = world.up().await;
    up.within(up.models.settled()).await;
    let status = up.models.statuses().into_iter().find(|status| status.dataset == name("steps")).unwrap();
    assert_eq!(status.state, ModelState::Failed);
    assert!(status.error.unwrap().contains("add `engines: {spark: 'sc://HOST:15002'}`"));
    up.models.stop().await;
}
