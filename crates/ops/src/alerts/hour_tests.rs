//! An hour of a desk by its own clock: a receiver that is down, and a gate that is held by turns.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use serde_json::Value;
use vitalake_contract::Layer;
use vitalake_contract::alert::{AlertRule, AlertSource};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::notify::Receiver;

use super::ask::{Cell, Rows, observations};
use super::desk::Desk;
use super::desk_tests::{DONE, ROOM, deliver, desk_of, disk_rule, receiver_by, webhook};
use super::signal::{DatasetFacts, Facts, GateFacts};
use super::signal_tests::of;

const MINUTE: Duration = Duration::from_secs(60);
const DOWN: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const ALERTS: [&str; 4] = ["told", "open", "gone", "twice"];

/// A desk whose alerts are queries.
fn queried(receivers: &BTreeMap<String, Receiver>, clock: &Clock) -> Arc<Desk> {
    let query = |name: &&str| AlertRule {
        name: (*name).to_owned(),
        source: AlertSource::Sql("SELECT 1".to_owned()),
        ..disk_rule()
    };
    let queries: Vec<AlertRule> = ALERTS.iter().map(query).collect();
    desk_of(&queries, receivers.clone(), clock)
}

/// Evaluates with these alerts holding.
async fn evaluate(desk: &Desk, holds: impl Fn(&str) -> bool) {
    for name in ALERTS {
        let row = Rows { names: vec!["n".to_owned()], rows: vec![vec![Cell::Plain("7".to_owned())]] };
        let rows = if holds(name) { row } else { Rows::default() };
        desk.answered(name, desk.setup.clock.now_ms(), observations(Ok(rows), &BTreeSet::new()));
    }
    desk.tick(&Facts { disk_free_bytes: Some(ROOM), ..Facts::default() }).await;
}

#[tokio::test]
async fn a_receiver_that_is_down_for_an_hour_is_then_told_each_open_alert_once_and_the_rest_in_a_digest() {
    let answer = Arc::new(Mutex::new(DONE));
    let answered = Arc::clone(&answer);
    let (address, inbox) = receiver_by(move |_| *answered.lock());
    let said = || -> Vec<(String, String)> {
        let bodies = inbox.try_iter().map(|body| serde_json::from_str::<Value>(&body).unwrap());
        let word = |body: &Value, key: &str| body[key].as_str().unwrap().to_owned();
        bodies
            .map(|body| {
                (word(&body, "alert"), word(&body, if body["alert"] == "digest" { "summary" } else { "state" }))
            })
            .collect()
    };
    let receivers = BTreeMap::from([("ops".to_owned(), webhook(address))]);
    let (clock, store): (_, Arc<dyn ObjectStore>) = (Clock::manual(1_700_000_000_000), Arc::new(InMemory::new()));
    let mut desk = queried(&receivers, &clock);
    desk.open(Arc::clone(&store)).await.unwrap();
    evaluate(&desk, |alert| alert == "told").await;
    assert_eq!(deliver(&desk).await, 1);
    assert_eq!(said(), [("told".to_owned(), "firing".to_owned())]);

    *answer.lock() = DOWN;
    let mut not_taken = BTreeSet::new();
    for minute in 0..60 {
        clock.advance(MINUTE);
        evaluate(&desk, |alert| match alert {
            "told" => minute < 20,
            "gone" => (5..10).contains(&minute),
            "twice" => (10..15).contains(&minute) || (30..35).contains(&minute),
            _ => true,
        })
        .await;
        assert!(desk.deliver_one("ops", &receivers["ops"], &mut not_taken).await.is_err(), "minute {minute}");
        if minute == 40 {
            // Another process takes over in the middle of it.
            desk.close().await;
            desk = queried(&receivers, &clock);
            desk.open(Arc::clone(&store)).await.unwrap();
        }
    }
    drop(said());

    *answer.lock() = DONE;
    assert_eq!(deliver(&desk).await, 3);
    let digest = "these came and went before you could be told: gone, twice (2 times)";
    let expected = [("open", "firing"), ("told", "resolved"), ("digest", digest)];
    assert_eq!(said(), expected.map(|(alert, words)| (alert.to_owned(), words.to_owned())));
    clock.advance(MINUTE);
    evaluate(&desk, |alert| alert == "open").await;
    assert_eq!(deliver(&desk).await, 0);
    evaluate(&desk, |_| false).await;
    assert_eq!(deliver(&desk).await, 1);
    assert_eq!(said(), [("open".to_owned(), "resolved".to_owned())]);
}

fn gated(held: bool) -> Facts {
    let reasons = if held { vec!["freshness of pulses: 1200 s old in place of 900 s".to_owned()] } else { Vec::new() };
    let dataset = DatasetFacts { gate: Some(GateFacts { held, reasons }), ..of(Layer::Serving) };
    Facts { datasets: vec![dataset], disk_free_bytes: Some(ROOM), ..Facts::default() }
}

#[tokio::test]
async fn a_gate_that_inputs_hold_by_turns_alerts_nobody_until_one_of_them_stays_away() {
    let (address, inbox) = receiver_by(|_| DONE);
    let receivers = BTreeMap::from([("default".to_owned(), webhook(address))]);
    let clock = Clock::manual(1_700_000_000_000);
    let desk = desk_of(&[], receivers, &clock);
    desk.open(Arc::new(InMemory::new())).await.unwrap();
    let minute = async |held: bool| {
        clock.advance(MINUTE);
        desk.tick(&gated(held)).await;
        deliver(&desk).await
    };
    for turn in 0..15 {
        for held in [true, true, true, false] {
            assert_eq!(minute(held).await, 0, "turn {turn}");
        }
    }
    let mut told = 0;
    for _ in 0..60 {
        told += minute(true).await;
    }
    assert_eq!(told, 1);
    let body: Value = serde_json::from_str(&inbox.try_recv().unwrap()).unwrap();
    assert_eq!(
        (&body["alert"], &body["runbook"]),
        (&"gate_held".into(), &"http://127.0.0.1:8888/runbooks/gate_held".into())
    );
    assert!(body["summary"].as_str().unwrap().contains("freshness of pulses"), "{body}");
    let mut told = 0;
    for _ in 0..5 {
        told += minute(false).await;
    }
    assert_eq!(told, 1);
    let body: Value = serde_json::from_str(&inbox.try_recv().unwrap()).unwrap();
    assert_eq!(body["state"], "resolved");
}
