//! Gates at work behind models: what is held, what is published, what is said of it, and what a restart finds.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use tokio::task::JoinHandle;
use vitalake_contract::contract::OnStale;
use vitalake_contract::rule::{Measure, Must, SetRule, Severity};
use vitalake_contract::{Contract, Layer};
use vitalake_lake::delta::DeltaLog;
use vitalake_lake::{Space, TableId, TxnId};
use vitalake_process::Contracts;
use vitalake_process::gate::{Decision, GateStatus, Gates};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::{Event, EventReader, Events};

use crate::breaking::{BreakingStore, Puts};
use crate::run::{Up, World, raw_rows};
use crate::support::{STEPS_DAILY, contract, model, name};

const SOON: Duration = Duration::from_secs(30);
const MINUTE_MS: i64 = 60_000;

/// A world with its gates.
struct Gated {
    world: World,
    up: Up,
    gates: Arc<Gates>,
    events: EventReader,
    task: JoinHandle<()>,
}

impl Gated {
    async fn start(world: World) -> Self {
        let up = world.up().await;
        let (sender, events) = Events::channel();
        let gates = Arc::new(Gates::new(&up.lake, &world.clock, &sender));
        let task = tokio::spawn(Arc::clone(&gates).run());
        Self { world, up, gates, events, task }
    }

    /// Ends where it stands, as a kill does, and starts again.
    async fn restart(self) -> Self {
        self.task.abort();
        self.up.models.stop().await;
        Self::start(self.world).await
    }

    /// Rows that are published.
    fn published(&self, dataset: &str) -> u64 {
        let pinned = self.up.lake.pin();
        pinned.table(&TableId::new(Space::Serving, name(dataset))).unwrap().published().rows().unwrap()
    }

    /// Published rows of two whole numbers each.
    async fn pairs(&self, dataset: &str) -> Vec<(i64, i64)> {
        let pinned = self.up.lake.pin();
        let view = pinned.table(&TableId::new(Space::Serving, name(dataset))).unwrap();
        let mut pairs = Vec::new();
        for file in view.published().files() {
            for batch in self.up.lake.table(&name(dataset)).unwrap().read_file(file).await.unwrap() {
                let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().clone();
                pairs.extend(column(0).values().iter().copied().zip(column(1).values().iter().copied()));
            }
        }
        pairs.sort_unstable();
        pairs
    }

    fn status(&self, dataset: &str) -> GateStatus {
        self.gates.status(dataset).unwrap()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = tokio::time::timeout(SOON, reached).await;
        assert!(reached.is_ok(), "{what}: {:#?}", self.gates.statuses());
    }

    /// Decisions that were told of a dataset since this was last asked.
    fn decisions(&mut self, dataset: &str) -> Vec<&'static str> {
        let mut decisions = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Gate { dataset: of, decision, .. } = event
                && *of == format!("serving.{dataset}")
            {
                decisions.push(decision);
            }
        }
        decisions
    }
}

fn rule(rule: &str, measure: Measure, must: Must) -> SetRule {
    SetRule { name: rule.to_owned(), measure, must, severity: Severity::Error, schedule: None }
}

fn at_least(rows: f64) -> SetRule {
    rule("enough", Measure::RowCount, Must::BeGreaterOrEqualTo(rows))
}

/// A world in which the contract of the daily steps is another.
fn world(change: impl FnOnce(&mut Contract)) -> World {
    let mut world = World::new(Severity::Error);
    let mut contracts = Contracts::clone(&world.contracts);
    let mut daily = contracts[&name("steps_daily")].as_ref().clone();
    change(&mut daily);
    contracts.insert(daily.dataset.clone(), Arc::new(daily));
    world.contracts = Arc::new(contracts);
    world
}

fn decision(reason: &str) -> Decision {
    Decision { by: "ada".to_owned(), reason: reason.to_owned() }
}

#[tokio::test]
async fn half_of_the_rows_are_held_back_over_a_restart_and_published_with_the_rest() {
    let mut gated = Gated::start(world(|daily| daily.set_rules.push(at_least(3.0)))).await;
    for (offset, row) in [("a", 1, Some(5)), ("b", 25, Some(3))].into_iter().enumerate() {
        gated.up.append(&[row], offset as i64);
        gated.up.commit().await;
        gated.gates.settled().await;
    }
    gated.until("held", |gated| gated.status("steps_daily").held).await;
    let status = gated.status("steps_daily");
    assert_eq!((status.reasons[0].rule.as_str(), status.reasons[0].want.as_str()), ("enough", "at least 3"));
    assert_eq!(gated.published("steps_daily"), 0);
    // Each epoch is judged, and only what is news is told.
    assert_eq!(gated.decisions("steps_daily"), ["held"]);
    let since = status.since_ms;
    let mut gated = gated.restart().await;
    gated.until("held again", |gated| gated.status("steps_daily").held).await;
    assert_eq!((gated.status("steps_daily").since_ms, gated.published("steps_daily")), (since, 0));
    gated.up.append(&[("c", 49, Some(1))], 2);
    gated.up.commit().await;
    gated.until("published", |gated| gated.published("steps_daily") == 3).await;
    gated.until("passed", |gated| !gated.status("steps_daily").held).await;
    assert_eq!(gated.decisions("steps_daily"), ["held", "passed"]);
}

#[tokio::test]
async fn where_nobody_knows_whether_it_was_held_it_is() {
    let gated = Gated::start(world(|daily| daily.set_rules.push(at_least(1.0)))).await;
    gated.gates.hold("steps_daily", decision("a correction comes")).await.unwrap();
    let staged = object_store::path::Path::from("staged/steps_daily");
    let files: Vec<_> = gated.world.store.list(Some(&staged)).try_collect().await.unwrap();
    for file in files {
        gated.world.store.delete(&file.location).await.unwrap();
    }
    gated.up.append(&[("a", 1, Some(5))], 0);
    gated.up.commit().await;
    let gated = gated.restart().await;
    gated.up.commit().await;
    gated.until("held", |gated| gated.status("steps_daily").held).await;
    let status = gated.status("steps_daily");
    assert_eq!((status.by.as_deref(), gated.published("steps_daily")), (Some("vitalake"), 0));
    gated.gates.release("steps_daily", decision("checked")).await.unwrap();
    let gated = gated.restart().await;
    gated.until("passed", |gated| !gated.status("steps_daily").held).await;
    assert_eq!(gated.published("steps_daily"), 1);
}

#[tokio::test]
async fn a_hold_and_a_release_are_decided_by_hand_and_outlive_the_process() {
    let gated = Gated::start(world(|daily| daily.set_rules.push(at_least(1.0)))).await;
    gated.gates.hold("serving.steps_daily", decision("a correction comes")).await.unwrap();
    gated.up.append(&[("a", 1, Some(5))], 0);
    gated.up.commit().await;
    let gated = gated.restart().await;
    gated.gates.settled().await;
    let status = gated.status("steps_daily");
    assert_eq!((status.held, status.by.as_deref(), gated.published("steps_daily")), (true, Some("ada"), 0));
    assert!(status.reasons.iter().any(|reason| reason.rule == "hold" && reason.got.contains("a correction comes")));
    let (status, event) = gated.gates.release("steps_daily", decision("checked")).await.unwrap();
    assert_eq!((status.held, gated.published("steps_daily")), (false, 1));
    let Event::Gate { decision, actor, comment, version, .. } = event else { panic!("{event:?}") };
    assert_eq!((decision, &*actor, comment.as_deref(), version.is_some()), ("release", "ada", Some("checked"), true));
    let gated = gated.restart().await;
    assert!(!gated.status("steps_daily").held);
    let refused = gated.gates.hold("steps_daily", Decision { by: "ada".to_owned(), reason: " ".to_owned() }).await;
    assert!(refused.is_err() && gated.gates.hold("steps", self::decision("x")).await.is_err());
}

#[tokio::test]
async fn a_release_publishes_in_spite_of_the_rules_once() {
    let gated = Gated::start(world(|daily| daily.set_rules.push(at_least(10.0)))).await;
    gated.up.append(&[("a", 1, Some(5))], 0);
    gated.up.commit().await;
    gated.until("held", |gated| gated.status("steps_daily").held).await;
    gated.gates.release("steps_daily", decision("enough for today")).await.unwrap();
    assert_eq!((gated.published("steps_daily"), gated.status("steps_daily").held), (1, false));
    gated.up.append(&[("b", 25, Some(5))], 1);
    gated.up.commit().await;
    gated.until("held again", |gated| gated.status("steps_daily").held).await;
    assert_eq!(gated.published("steps_daily"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_while_the_gate_judges_is_nobody_elses_commit() {
    let gated = Gated::start(world(|daily| daily.set_rules.push(at_least(1.0)))).await;
    for round in 0..25_i64 {
        gated.gates.hold("steps_daily", decision("a correction comes")).await.unwrap();
        gated.up.append(&[("a", round, Some(5))], round);
        let (_, released) = tokio::join!(gated.up.commit(), gated.gates.release("steps_daily", decision("checked")));
        released.unwrap();
        assert!(!gated.up.lake.has_lost_lease(), "round {round}");
    }
    gated.gates.settled().await;
    gated.until("all published", |gated| !gated.status("steps_daily").held).await;
    assert!(!gated.up.lake.has_lost_lease());
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_holds_and_says_why() {
    let sql = |query: &str| rule("odd", Measure::Sql(query.to_owned()), Must::Be(0.0));
    for query in [
        "SELECT gone FROM {object}",
        "SELECT COUNT(*) FROM raw.nowhere",
        "SELECT SUM(steps) FROM {object} WHERE steps < 0",
    ] {
        let gated = Gated::start(world(|daily| daily.set_rules.push(sql(query)))).await;
        gated.up.append(&[("a", 1, Some(5))], 0);
        gated.up.commit().await;
        gated.until("held", |gated| gated.status("steps_daily").held).await;
        let reasons = gated.status("steps_daily").reasons;
        assert!(reasons[0].rule == "odd" && reasons[0].got.contains("could not be evaluated"), "{reasons:?}");
        assert_eq!(gated.published("steps_daily"), 0);
    }
}

/// A world with a second stream, which the daily steps are told to look at beside the first.
fn two_inputs(on_stale: OnStale) -> World {
    let mut world = world(|daily| {
        daily.sla.freshness = Some(Duration::from_secs(15 * 60));
        daily.gate_inputs = vec![name("hourly_steps"), name("pulses")];
        daily.on_stale = on_stale;
    });
    let mut contracts = Contracts::clone(&world.contracts);
    for (dataset, column) in [("hourly_steps", "hour"), ("pulses", "at")] {
        let columns = if column == "at" { "at timestamp" } else { "subject_id string, hour timestamp, steps long" };
        let timed = Contract {
            time_column: Some(usize::from(column == "hour")),
            ..contract(Layer::Raw, dataset, columns, false)
        };
        contracts.insert(name(dataset), Arc::new(timed));
    }
    world.contracts = Arc::new(contracts);
    world.clock = Clock::manual(0);
    world
}

/// A row of the first stream whose time is that many minutes after 1970.
async fn steps_at(gated: &Gated, minute: i64, offset: i64) {
    let mut row = raw_rows(&[("a", 0, Some(1))], offset);
    let mut columns = row.columns().to_vec();
    columns[1] = crate::support::times(&[Some(minute * 60)]);
    row = arrow::array::RecordBatch::try_new(row.schema(), columns).unwrap();
    let raw = gated.up.lake.table(&name("hourly_steps")).unwrap();
    raw.append(vec![row], Vec::new(), [(TxnId::parse("landing"), offset)]).unwrap();
    gated.up.commit().await;
}

async fn pulse_at(gated: &Gated, minute: i64, offset: i64) {
    let row = raw_rows(&[("a", 0, Some(1))], offset);
    let mut columns = row.columns().to_vec();
    columns.splice(0..3, [crate::support::times(&[Some(minute * 60)])]);
    let pulses = gated.up.lake.table(&name("pulses")).unwrap();
    let row = arrow::array::RecordBatch::try_new(pulses.schema(), columns).unwrap();
    pulses.append(vec![row], Vec::new(), [(TxnId::parse("landing of pulses"), offset)]).unwrap();
    pulses.flush().await.unwrap();
}

fn at_minute(gated: &Gated, minute: i64) {
    let now = gated.world.clock.now_ms();
    gated.world.clock.advance(Duration::from_millis(u64::try_from(minute * MINUTE_MS - now).unwrap()));
}

/// Hours that the published days hold: a row of the first stream each.
async fn hours(gated: &Gated) -> i64 {
    let pinned = gated.up.lake.pin();
    let view = pinned.table(&TableId::new(Space::Serving, name("steps_daily"))).unwrap();
    let table = gated.up.lake.table(&name("steps_daily")).unwrap();
    let mut hours = 0;
    for file in view.published().files() {
        for batch in table.read_file(file).await.unwrap() {
            let column = batch.column_by_name("hours").unwrap().clone();
            let column = column.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
            hours += column.iter().flatten().sum::<i64>();
        }
    }
    hours
}

async fn until_hours(gated: &Gated, want: i64) {
    let reached = async {
        while hours(gated).await != want {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(SOON, reached).await;
    assert!(reached.is_ok(), "{want} hours: {:#?}", gated.gates.statuses());
}

#[tokio::test]
async fn two_inputs_that_are_late_by_turns_do_not_keep_each_other_out() {
    let gated = Gated::start(two_inputs(OnStale::Hold)).await;
    pulse_at(&gated, 0, 0).await;
    steps_at(&gated, 0, 0).await;
    until_hours(&gated, 1).await;
    for (turn, minute) in [20, 60, 100].into_iter().enumerate() {
        let published = i64::try_from(turn).unwrap() + 1;
        // The second is late: what the first has brought is held.
        at_minute(&gated, minute);
        steps_at(&gated, minute, published).await;
        let is_late = |gated: &Gated| {
            let status = gated.status("steps_daily");
            status.held && status.reasons.iter().all(|reason| reason.rule == "freshness of pulses")
        };
        gated.until("held for the second", is_late).await;
        assert_eq!(hours(&gated).await, published);
        // Now the first is late, and was in time: the second's arrival opens the gate.
        at_minute(&gated, minute + 20);
        pulse_at(&gated, minute + 20, published).await;
        until_hours(&gated, published + 1).await;
    }
}

#[tokio::test]
async fn an_input_that_falls_silent_holds_after_one_publication_and_says_which() {
    let gated = Gated::start(two_inputs(OnStale::Hold)).await;
    pulse_at(&gated, 0, 0).await;
    steps_at(&gated, 0, 0).await;
    until_hours(&gated, 1).await;
    at_minute(&gated, 60);
    steps_at(&gated, 60, 1).await;
    gated.until("held", |gated| gated.status("steps_daily").held).await;
    let reasons = gated.status("steps_daily").reasons;
    assert_eq!((reasons[0].rule.as_str(), reasons[0].got.as_str()), ("freshness of pulses", "3600 s old"));
    assert_eq!(hours(&gated).await, 1, "readers stay with the last good version");
    // It speaks again: what has waited is published, each row once.
    at_minute(&gated, 61);
    pulse_at(&gated, 61, 1).await;
    until_hours(&gated, 2).await;
    gated.until("passed", |gated| !gated.status("steps_daily").held).await;
}

#[tokio::test]
async fn a_stale_candidate_is_published_and_marked_where_the_contract_wants_that() {
    let mut gated = Gated::start(two_inputs(OnStale::Publish)).await;
    at_minute(&gated, 60);
    steps_at(&gated, 60, 0).await;
    until_hours(&gated, 1).await;
    gated.until("stale", |gated| gated.status("steps_daily").stale).await;
    assert!(!gated.status("steps_daily").held);
    assert_eq!(gated.decisions("steps_daily"), ["stale"]);
}

#[tokio::test]
async fn rows_from_the_future_do_not_make_a_candidate_fresh() {
    let mut world = two_inputs(OnStale::Hold);
    let mut contracts = Contracts::clone(&world.contracts);
    let mut daily = contracts[&name("steps_daily")].as_ref().clone();
    daily.gate_inputs = vec![name("hourly_steps")];
    contracts.insert(daily.dataset.clone(), Arc::new(daily));
    world.contracts = Arc::new(contracts);
    let gated = Gated::start(world).await;
    at_minute(&gated, 60);
    // A device whose clock is a day ahead.
    steps_at(&gated, 60 + 24 * 60, 0).await;
    gated.until("held", |gated| gated.status("steps_daily").held).await;
    assert_eq!(gated.status("steps_daily").reasons[0].got, "no row");
    steps_at(&gated, 55, 1).await;
    until_hours(&gated, 2).await;
}

/// Two datasets that are published together, made of the same; `totals` changes the second one's contract.
fn group(totals: impl FnOnce(&mut Contract)) -> World {
    let mut world = world(|daily| daily.publish_group = Some("nightly".to_owned()));
    let mut contracts = Contracts::clone(&world.contracts);
    let mut second = contracts[&name("steps_daily")].as_ref().clone();
    second.dataset = name("steps_totals");
    totals(&mut second);
    contracts.insert(name("steps_totals"), Arc::new(second));
    world.contracts = Arc::new(contracts);
    world.models.push(model(Layer::Serving, "steps_totals", STEPS_DAILY));
    world
}

#[tokio::test]
async fn datasets_of_a_group_are_published_together_or_not_at_all() {
    let gated = Gated::start(group(|totals| totals.set_rules.push(at_least(2.0)))).await;
    gated.up.append(&[("a", 1, Some(5))], 0);
    gated.up.commit().await;
    gated.until("both held", |gated| gated.gates.statuses().iter().all(|status| status.held)).await;
    let reasons = gated.status("steps_daily").reasons;
    assert_eq!((reasons[0].rule.as_str(), reasons[0].got.as_str()), ("publishGroup", "held: serving.steps_totals"));
    assert_eq!((gated.published("steps_daily"), gated.published("steps_totals")), (0, 0));
    gated.up.append(&[("b", 25, Some(5))], 1);
    gated.up.commit().await;
    gated.until("published", |gated| gated.published("steps_totals") == 2).await;
    assert_eq!(gated.published("steps_daily"), 2);
}

#[tokio::test]
async fn a_group_of_which_a_table_does_not_open_publishes_nothing_and_says_why() {
    let gated = Gated::start(group(|_| ())).await;
    gated.up.append(&[("a", 1, Some(5))], 0);
    gated.up.commit().await;
    gated.until("published", |gated| gated.published("steps_daily") == 1).await;
    gated.task.abort();
    gated.up.models.stop().await;
    let world = gated.world;
    let commit = object_store::path::Path::from(format!("lake/serving/steps_totals/_delta_log/{:020}.json", 0));
    world.store.put(&commit, "no commit".into()).await.unwrap();

    let up = world.up_as_far_as_it_opens().await;
    let (sender, events) = Events::channel();
    let gates = Arc::new(Gates::new(&up.lake, &world.clock, &sender));
    let task = tokio::spawn(Arc::clone(&gates).run());
    let gated = Gated { world, up, gates, events, task };
    gated.up.append(&[("b", 25, Some(5))], 1);
    gated.up.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
    gated.up.within(gated.up.models.settled()).await;
    gated.gates.settled().await;
    let (daily, totals) = (gated.status("steps_daily"), gated.status("steps_totals"));
    assert!(daily.held && totals.held, "{daily:?} {totals:?}");
    for reason in [&daily.reasons[0], &totals.reasons[0]] {
        assert!(
            reason.got.contains("serving.steps_totals is not open") && reason.got.contains("restore"),
            "{reason:?}"
        );
    }
    assert_eq!(gated.published("steps_daily"), 1);
    for dataset in ["steps_daily", "steps_totals"] {
        let refused = gated.gates.release(dataset, decision("now")).await.unwrap_err().to_string();
        assert!(refused.contains("is not open"), "{refused}");
    }
    assert_eq!(gated.published("steps_daily"), 1);
    gated.task.abort();
    gated.up.models.stop().await;
}

#[tokio::test]
async fn a_publication_that_seemed_to_fail_is_no_part_of_the_next() {
    let mut world = world(|daily| daily.set_rules.push(at_least(1.0)));
    let next = Arc::default();
    let store = Arc::clone(&world.store);
    world.store = Arc::new(BreakingStore { store, next: Arc::clone(&next), taken: Default::default() });
    // Nobody judges: what is published when is the test's.
    let up = world.up().await;
    let table = Arc::clone(up.lake.table(&name("steps_daily")).unwrap());
    let candidate = || table.candidate().unwrap();
    up.append(&[("a", 1, Some(5))], 0);
    up.commit().await;
    table.publish(&candidate()).await.unwrap();
    // The commit is there, and the store says that it is not.
    *next.lock() = Some(("serving/steps_daily/_delta_log", Puts::TakeAndRefuse(2)));
    up.append(&[("b", 25, Some(5))], 1);
    up.commit().await;
    table.publish(&candidate()).await.unwrap_err();
    assert!(next.lock().is_none());
    // The group that came with it is another by now.
    up.append(&[("b", 26, Some(7))], 2);
    up.commit().await;
    table.publish(&candidate()).await.unwrap();
    let rows = up.committed(Space::Serving, "steps_daily").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let log = DeltaLog::new(Arc::clone(&world.store), "lake/serving/steps_daily".into());
    assert_eq!(log.load().await.unwrap().unwrap().rows(), Some(2), "a group is in HEAD twice");
    up.models.stop().await;
}

#[tokio::test]
async fn windows_that_pass_are_published_and_those_that_do_not_wait() {
    let gated = Gated::start(world(|daily| {
        daily.gate_window = Some(1);
        daily.set_rules.push(at_least(2.0));
    }))
    .await;
    // Two wearers on the first day, one on the second.
    gated.up.append(&[("a", 1, Some(5)), ("b", 2, Some(5)), ("a", 25, Some(3))], 0);
    gated.up.commit().await;
    gated.until("the first day", |gated| gated.published("steps_daily") == 2).await;
    gated.until("held", |gated| gated.status("steps_daily").held).await;
    let reasons = gated.status("steps_daily").reasons;
    assert_eq!((reasons.len(), reasons[0].got.as_str()), (1, "1 in window 1970-01-02"));
    // A restart finds both parts as they were.
    let gated = gated.restart().await;
    gated.until("held again", |gated| gated.status("steps_daily").held).await;
    assert_eq!(gated.published("steps_daily"), 2);
    gated.up.append(&[("b", 26, Some(3)), ("a", 49, Some(1))], 3);
    gated.up.commit().await;
    gated.until("the second day", |gated| gated.published("steps_daily") == 4).await;
    gated.gates.release("steps_daily", decision("the rest as well")).await.unwrap();
    assert_eq!((gated.published("steps_daily"), gated.status("steps_daily").held), (5, false));
}

#[tokio::test]
async fn an_upsert_is_staged_and_published_as_others_are() {
    let mut world = World::new(Severity::Error);
    let mut all = Contracts::clone(&world.contracts);
    let mut newest = contract(Layer::Serving, "newest", "*subject_id string, hour timestamp, steps long", false);
    newest.set_rules.push(at_least(2.0));
    all.insert(newest.dataset.clone(), Arc::new(newest));
    world.contracts = Arc::new(all);
    let text =
        "-- kind: upsert\n-- key: subject_id\n-- sequence: hour\nSELECT subject_id, hour, steps FROM raw.hourly_steps";
    world.models = vec![model(Layer::Serving, "newest", text)];
    let gated = Gated::start(world).await;
    gated.up.append(&[("a", 1, Some(5)), ("a", 2, Some(6))], 0);
    gated.up.commit().await;
    gated.until("held", |gated| gated.status("newest").held).await;
    assert_eq!(gated.published("newest"), 0);
    let gated = gated.restart().await;
    gated.up.append(&[("b", 25, Some(3)), ("a", 1, Some(7))], 2);
    gated.up.commit().await;
    gated.until("published", |gated| gated.published("newest") == 2).await;
    gated.up.append(&[("a", 3, Some(9))], 4);
    gated.up.commit().await;
    gated.gates.settled().await;
    gated.until("published again", |gated| !gated.status("newest").held && gated.published("newest") == 2).await;
    let shown = ["|a|1970-01-01T03:00:00Z|9|hourly-steps|0|4|", "|b|1970-01-02T01:00:00Z|3|hourly-steps|0|2|"];
    assert_eq!(gated.up.committed(Space::Serving, "newest").await, shown);
}

#[tokio::test]
async fn a_full_table_is_held_and_published_whole() {
    let mut world = World::new(Severity::Error);
    let mut all = Contracts::clone(&world.contracts);
    let newest = contract(Layer::Curated, "newest", "*subject_id string, hour timestamp, steps long", false);
    let mut counted = contract(Layer::Serving, "counted", "*steps long, subjects long", false);
    counted.set_rules.push(at_least(2.0));
    for contract in [newest, counted] {
        all.insert(contract.dataset.clone(), Arc::new(contract));
    }
    world.contracts = Arc::new(all);
    let text =
        "-- kind: upsert\n-- key: subject_id\n-- sequence: hour\nSELECT subject_id, hour, steps FROM raw.hourly_steps";
    let full = "-- kind: full\nSELECT steps, count(*) AS subjects FROM curated.newest GROUP BY steps";
    world.models = vec![model(Layer::Curated, "newest", text), model(Layer::Serving, "counted", full)];
    let gated = Gated::start(world).await;
    gated.up.append(&[("a", 1, Some(5)), ("b", 2, Some(5))], 0);
    gated.up.commit().await;
    gated.until("held", |gated| gated.status("counted").held).await;
    assert_eq!(gated.published("counted"), 0);
    let gated = gated.restart().await;
    let shows = async |wanted: &[(i64, i64)]| {
        let reached = async {
            while gated.pairs("counted").await != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = tokio::time::timeout(SOON, reached).await;
        assert!(reached.is_ok(), "{wanted:?}: {:#?}", gated.gates.statuses());
    };
    gated.up.append(&[("b", 3, Some(6)), ("c", 3, Some(6))], 2);
    gated.up.commit().await;
    shows(&[(5, 1), (6, 2)]).await;
    // All of it is one row: readers keep the version before, until there are two again.
    gated.up.append(&[("a", 4, Some(6))], 4);
    gated.up.commit().await;
    gated.until("held again", |gated| gated.status("counted").held).await;
    shows(&[(5, 1), (6, 2)]).await;
    gated.up.append(&[("c", 5, Some(7))], 5);
    gated.up.commit().await;
    shows(&[(6, 2), (7, 1)]).await;
}
