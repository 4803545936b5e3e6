//! The sender against a workspace that records what it is sent and answers as documented, faults included.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::Value;
use vitalake_lake::control::{ControlPlace, ControlStore};
use vitalake_lake::{Lake, LakeOptions};
use vitalake_runtime::azure::{Audience, Identity, Tokens};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::azure::{Monitor, SENT};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::{DeliveryTold, Event, Outcome};
use vitalake_runtime::health::Health;

use super::client::CALL_BYTES_MAX;
use super::sender::BACKLOG_MAX;
use super::*;
use crate::double::{Answer, Asked, Double};
use crate::metrics::Metrics;
use crate::record::{EvidenceRow, LagSample, Recorder, ResourcesSample};
use crate::tables::OpsTable;

const NOW_MS: i64 = 1_795_000_000_000;
const RULE: &str = "dcr-0123";
const TOKEN_PATH: &str = "/metadata/identity/oauth2/token";

/// A workspace: tokens with a number each, and answers by a function of the stream and the rows.
fn workspace(answer: impl Fn(&str, &[Value]) -> Answer + Send + Sync + 'static) -> Double {
    let given = AtomicU64::new(0);
    Double::start(move |asked| match asked.target.starts_with(TOKEN_PATH) {
        true => {
            let number = given.fetch_add(1, Ordering::SeqCst);
            Answer::of(200, &format!(r#"{{"access_token":"t{number}","expires_in":"86000"}}"#))
        }
        false => answer(stream(asked), &rows_of(asked)),
    })
}

fn willing() -> Double {
    workspace(|_, _| Answer::of(204, ""))
}

fn stream(asked: &Asked) -> &str {
    asked.target.split(['/', '?']).nth(4).unwrap_or_default()
}

fn rows_of(asked: &Asked) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(asked.body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.len() <= CALL_BYTES_MAX, "{} bytes in one call", text.len());
    serde_json::from_str(&text).unwrap()
}

/// The calls that brought rows.
fn calls(double: &Double) -> Vec<Asked> {
    double.asked().into_iter().filter(|asked| !asked.target.starts_with(TOKEN_PATH)).collect()
}

/// The ids of all rows that came, in their order.
fn ids(double: &Double) -> Vec<String> {
    let rows = calls(double).iter().flat_map(rows_of).collect::<Vec<_>>();
    rows.iter().map(|row| row["RunId"].as_str().unwrap().to_owned()).collect()
}

/// A platform's part that a sender needs.
struct Place {
    recorder: Recorder,
    control: ControlStore,
    clock: Clock,
    health: Health,
    metrics: Arc<Metrics>,
    _lake: Lake,
}

impl Place {
    async fn new() -> Self {
        let clock = Clock::manual(NOW_MS);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (options, cpu) = (LakeOptions::default(), Cpu::with_workers(1).unwrap());
        let lake = Lake::open(store, Vec::new(), options, clock.clone(), cpu).await.unwrap();
        let recorder = Recorder::new(clock.clone(), [("steps".to_owned(), "raw.steps".to_owned())]);
        recorder.attach(&lake).await;
        let health = Health::new("Azure Monitor", clock.clone());
        let control = control(&clock);
        Self { recorder, control, clock, health, metrics: Arc::new(Metrics::new()), _lake: lake }
    }

    fn sender(&self, url: &str) -> (Sender, MonitorSaid) {
        self.sender_with(url, &self.control)
    }

    fn sender_with(&self, url: &str, control: &ControlStore) -> (Sender, MonitorSaid) {
        let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), url.to_owned())].into();
        let identity = Identity::from_environment(&environment).unwrap();
        let said = MonitorSaid::new(Arc::clone(&self.metrics));
        let settings = Monitor { endpoint: Some(url.to_owned()), rule: Some(RULE.to_owned()), ..Monitor::default() };
        let setup = SenderSetup {
            settings,
            project: "clinic".to_owned(),
            tokens: Tokens::new(identity, Audience::new(Audience::MONITOR), self.clock.clone()),
            recorder: self.recorder.clone(),
            control: control.clone(),
            health: self.health.clone(),
            clock: self.clock.clone(),
            said: said.clone(),
        };
        (Sender::new(setup).unwrap(), said)
    }

    /// Commits what was told.
    async fn commit(&self) {
        self.recorder.show();
        for table in OpsTable::ALL {
            self.recorder.journal_now(table).unwrap().commit().await.unwrap();
        }
    }

    /// Commits rows of `ops.lag`, as many as asked.
    async fn lag(&self, rows: usize) {
        let sample =
            |at: usize| LagSample { dataset: "steps".into(), lag_records: Some(at as u64), ..LagSample::default() };
        for part in (0..rows).collect::<Vec<_>>().chunks(10_000) {
            self.recorder.lag(&part.iter().map(|at| sample(*at)).collect::<Vec<_>>());
            self.recorder.show();
        }
        self.commit().await;
    }

    fn away(&self) -> String {
        self.health.away().map(|away| away.reason).unwrap_or_default()
    }
}

fn control(clock: &Clock) -> ControlStore {
    ControlStore::new(ControlPlace::Memory, "clinic", clock.clone(), Health::new("control store", clock.clone()))
}

/// Something for each ops dataset, with what people type marked.
async fn one_of_each(place: &Place) {
    let (dataset, took): (Arc<str>, _) = ("steps".into(), Duration::from_millis(3));
    let (of, typed) = (|| Arc::clone(&dataset), || Arc::<str>::from("ZQX ada: she asked"));
    let events = [
        Event::Commit { table: of(), outcome: Outcome::Done, version: Some(3), rows: 7, error: None, took },
        Event::Run { dataset: of(), outcome: Outcome::Failed, rows_in: 2, rows_out: 1, error: Some("user"), took },
        Event::Check { dataset: of(), rule: "hour".into(), severity: "error", rows: 4 },
        Event::Delivery(Arc::new(DeliveryTold {
            dataset: of(),
            state: "rejected",
            sha256: Some(typed()),
            business_date: Some("2026-04-13".into()),
            reason: Some(typed()),
            actor: Some(typed()),
            ..DeliveryTold::default()
        })),
        Event::Gate {
            dataset: of(),
            decision: "hold",
            version: None,
            reasons: "[]".into(),
            actor: typed(),
            comment: Some(typed()),
        },
        Event::Alert {
            fingerprint: "f".into(),
            alert: "late".into(),
            dataset: Some(of()),
            state: "firing",
            severity: "high".into(),
            owner: "ops".into(),
            summary: "3 are late".into(),
        },
        Event::Discard { dataset: of(), number: 1, rows: 2, reason: typed(), actor: typed() },
    ];
    events.iter().for_each(|event| place.recorder.record(event));
    place.recorder.resources(&ResourcesSample { away: vec!["Kafka".into()], ..ResourcesSample::default() });
    let found = EvidenceRow { found: "ZQX".into(), query: "ZQX".into(), ..EvidenceRow::default() };
    place.recorder.record_evidence(&[found]).await.unwrap();
    place.lag(1).await;
}

#[test]
fn the_names_that_settings_take_are_those_of_the_schema() {
    let names: Vec<&str> = schema::log_tables().into_iter().map(|table| table.ops.as_str()).collect();
    assert_eq!(names, SENT);
}

#[tokio::test]
async fn each_table_goes_to_its_stream_once_as_documented_and_nothing_that_people_typed() {
    let (place, workspace) = (Place::new().await, willing());
    one_of_each(&place).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    let calls = calls(&workspace);
    let streams: Vec<&str> = calls.iter().map(stream).collect();
    let wanted: Vec<String> = schema::log_tables().into_iter().map(|table| table.stream).collect();
    assert_eq!(streams, wanted);
    for (call, table) in calls.iter().zip(schema::log_tables()) {
        let path = format!("/dataCollectionRules/{RULE}/streams/{}?api-version=2023-01-01", table.stream);
        assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", path.as_str()));
        assert_eq!((call.header("authorization"), call.header("content-type")), ("Bearer t0", "application/json"));
        assert_eq!(call.header("x-ms-client-request-id").len(), 36);
        for row in rows_of(call) {
            let columns = row.as_object().unwrap().keys();
            assert!(columns.clone().all(|name| table.columns.iter().any(|column| column.name == *name)), "{row}");
            assert!(columns.count() > 4 && row["TimeGenerated"].is_string() && row["Project"] == "clinic", "{row}");
            assert!(!row.to_string().contains("ZQX"), "{row}");
        }
    }
    sender.pass().await;
    assert_eq!(calls.len(), super::tests::calls(&workspace).len(), "nothing is new");
    place.lag(2).await;
    sender.pass().await;
    let ids = ids(&workspace);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (11, 11));
    let status = said.status(NOW_MS);
    assert_eq!((status.sends, status.rows_sent, status.commits_waiting), (true, 11, 0));
    assert!(place.metrics.text().contains(r#"vitalake_monitor_rows_sent_total{table="lag"} 3"#));
}

#[tokio::test]
async fn who_comes_after_goes_on_and_a_control_store_that_is_lost_costs_the_same_ids_again() {
    let (place, workspace) = (Place::new().await, willing());
    place.lag(3).await;
    let (mut first, _) = place.sender(&workspace.url);
    first.pass().await;
    first.release().await;
    let (mut second, _) = place.sender(&workspace.url);
    place.lag(1).await;
    second.pass().await;
    let sent = ids(&workspace);
    assert_eq!(sent.len(), 4);
    let (mut third, _) = place.sender_with(&workspace.url, &control(&place.clock));
    third.pass().await;
    assert_eq!(ids(&workspace)[4..], sent[..], "all of it once more, by the same ids");
}

#[tokio::test]
async fn one_of_two_sends_and_the_other_takes_over_when_it_is_gone() {
    let (place, workspace) = (Place::new().await, willing());
    place.lag(1).await;
    let ((mut one, one_said), (mut other, other_said)) = (place.sender(&workspace.url), place.sender(&workspace.url));
    one.pass().await;
    place.lag(1).await;
    other.pass().await;
    assert_eq!(ids(&workspace).len(), 1, "it is not the other's turn");
    assert!(one_said.status(NOW_MS).sends && !other_said.status(NOW_MS).sends);
    // Killed: nobody gives the turn back.
    drop(one);
    place.clock.advance(Duration::from_secs(16));
    other.pass().await;
    let ids = ids(&workspace);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (2, 2));
}

#[tokio::test]
async fn many_rows_go_in_calls_that_fit_and_what_broke_off_goes_on_with_the_call_that_failed() {
    let place = Place::new().await;
    let taken = AtomicU64::new(0);
    let workspace = workspace(move |_, _| match taken.fetch_add(1, Ordering::SeqCst) {
        2 => Answer::of(503, ""),
        _ => Answer::of(204, ""),
    });
    place.lag(15_000).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    assert_eq!(calls(&workspace).len(), 3);
    assert!(place.away().contains("answered 503") && said.status(NOW_MS).commits_waiting == 1, "{}", place.away());
    sender.pass().await;
    assert_eq!(calls(&workspace).len(), 3, "it is left for a while");
    place.clock.advance(Duration::from_secs(3));
    // A process that was begun anew knows it from the control store.
    sender.release().await;
    let (mut after, _) = place.sender(&workspace.url);
    after.pass().await;
    let (ids, third) = (ids(&workspace), rows_of(&calls(&workspace)[2]).len());
    assert_eq!(ids.len() - third, 15_000);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 15_000);
    assert_eq!(place.away(), "");
}

#[tokio::test]
async fn what_is_too_large_is_halved_and_a_row_that_is_too_large_alone_is_counted() {
    let place = Place::new().await;
    let workspace = workspace(|_, rows| match rows.len() > 3 || rows.iter().any(|row| row["LagRecords"] == 7) {
        true => Answer::of(413, r#"{"error":{"code":"ContentLengthLimitExceeded"}}"#),
        false => Answer::of(204, ""),
    });
    place.lag(10).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    let status = said.status(NOW_MS);
    assert_eq!((status.rows_sent, status.rows_refused, status.commits_waiting), (9, 1, 0));
    assert_eq!(place.away(), "");
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_once_and_the_rest_goes_on() {
    let place = Place::new().await;
    let refused = AtomicU64::new(0);
    let workspace = workspace(move |_, _| match refused.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::of(400, r#"{"error":{"code":"InvalidPayload"}}"#),
        _ => Answer::of(204, ""),
    });
    place.lag(5).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    place.lag(2).await;
    sender.pass().await;
    assert_eq!((calls(&workspace).len(), said.status(NOW_MS).rows_refused, said.status(NOW_MS).rows_sent), (2, 5, 2));
}

#[tokio::test]
async fn a_token_that_is_over_is_renewed_once_and_one_that_is_refused_again_is_said() {
    let place = Place::new().await;
    let wanted = Arc::new(AtomicU64::new(1));
    let (given, known) = (AtomicU64::new(0), Arc::clone(&wanted));
    let workspace = Double::start(move |asked| match asked.target.starts_with(TOKEN_PATH) {
        true => Answer::of(
            200,
            &format!(r#"{{"access_token":"t{}","expires_in":3600}}"#, given.fetch_add(1, Ordering::SeqCst)),
        ),
        false if asked.header("authorization") == format!("Bearer t{}", known.load(Ordering::SeqCst)) => {
            Answer::of(204, "")
        }
        false => Answer::of(401, ""),
    });
    place.lag(1).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    assert_eq!((calls(&workspace).len(), said.status(NOW_MS).rows_sent, place.away()), (2, 1, String::new()));
    wanted.store(u64::MAX, Ordering::SeqCst);
    place.lag(1).await;
    sender.pass().await;
    assert_eq!(calls(&workspace).len(), 4, "once more, and no further");
    assert!(place.away().contains("does not take the token"), "{}", place.away());
}

#[tokio::test]
async fn a_missing_role_is_said_with_its_name_and_asked_for_slowly() {
    let place = Place::new().await;
    let workspace = workspace(|_, _| Answer::of(403, "ZQX"));
    place.lag(1).await;
    let (mut sender, said) = place.sender(&workspace.url);
    for _ in 0..59 {
        sender.pass().await;
        place.clock.advance(Duration::from_secs(1));
    }
    assert_eq!((calls(&workspace).len(), said.status(NOW_MS).commits_waiting), (1, 1));
    assert!(place.away().contains("Monitoring Metrics Publisher") && !place.away().contains("ZQX"), "{}", place.away());
    place.clock.advance(Duration::from_secs(1));
    sender.pass().await;
    assert_eq!(calls(&workspace).len(), 2);
}

#[tokio::test]
async fn a_stream_that_is_not_there_holds_up_its_own_table_alone() {
    let place = Place::new().await;
    let workspace = workspace(|stream, _| match stream {
        "Custom-VitalakeChecks" => Answer::of(404, ""),
        _ => Answer::of(204, ""),
    });
    one_of_each(&place).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    sender.pass().await;
    let streams: BTreeSet<String> = calls(&workspace).iter().map(|call| stream(call).to_owned()).collect();
    assert_eq!((calls(&workspace).len(), streams.len(), said.status(NOW_MS).commits_waiting), (9, 9, 1));
    assert!(place.away().contains("declares Custom-VitalakeChecks"), "{}", place.away());
}

#[tokio::test]
async fn who_is_throttled_comes_back_when_it_was_told_to() {
    let place = Place::new().await;
    let asked = AtomicU64::new(0);
    let workspace = workspace(move |_, _| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::of(429, "").with("retry-after", 70),
        _ => Answer::of(204, ""),
    });
    place.lag(1).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    place.clock.advance(Duration::from_secs(69));
    sender.pass().await;
    assert_eq!((calls(&workspace).len(), said.status(NOW_MS + 69_000).behind_seconds), (1, 69.0));
    place.clock.advance(Duration::from_secs(1));
    sender.pass().await;
    assert_eq!((calls(&workspace).len(), said.status(NOW_MS).rows_sent, place.away()), (2, 1, String::new()));
}

#[tokio::test]
async fn a_workspace_that_is_not_there_costs_a_backlog_of_a_day_that_is_said() {
    let (place, nobody) = (Place::new().await, std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let workspace = willing();
    place.lag(1).await;
    let (mut before, _) = place.sender(&workspace.url);
    before.pass().await;
    before.release().await;
    let (mut sender, said) = place.sender(&url);
    for _ in 0..3 {
        place.lag(2).await;
        sender.pass().await;
        place.clock.advance(Duration::from_secs(600));
    }
    sender.pass().await;
    let status = said.status(place.clock.now_ms());
    assert_eq!((status.commits_waiting, status.behind_seconds), (3, 1_800.0));
    assert!(place.away().contains("there is no token"), "{}", place.away());
    sender.release().await;
    // The oldest of the three is a day old now.
    place.clock.advance(BACKLOG_MAX - Duration::from_secs(1_500));
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    let status = said.status(place.clock.now_ms());
    assert_eq!((ids(&workspace).len(), status.commits_given_up, status.commits_waiting), (5, 1, 0));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_said() {
    let place = Place::new().await;
    let workspace = workspace(|_, _| Answer::of(204, "").with("date", "Wed, 18 Nov 2026 12:06:40 GMT"));
    place.lag(1).await;
    let (mut sender, said) = place.sender(&workspace.url);
    sender.pass().await;
    assert_eq!(said.status(NOW_MS).clock_behind_seconds, 3_600);
}
