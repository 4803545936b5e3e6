//! Facts become observations: what each signal says of what is known, and of what is not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::Duration;

use vitalake_contract::alert::{AlertDataset, AlertSchedule, AlertSource, Signal};
use vitalake_contract::{DatasetName, Layer};

use super::machine::Observation;
use super::rates::{Brought, Drift, Rates};
use super::rule::{Rule, rules};
use super::signal::{DatasetFacts, Facts, GateFacts, last_due, look};

type F = DatasetFacts;

fn dataset(layer: Layer, name: &str) -> AlertDataset {
    AlertDataset { layer, name: DatasetName::new(name).unwrap() }
}

pub(super) fn of(layer: Layer) -> DatasetFacts {
    DatasetFacts {
        dataset: dataset(layer, "x"),
        is_feed: false,
        ready: true,
        lag_records: Some(0),
        newest_age_s: Some(10.0),
        feed: None,
        freshness_sla_s: Some(60.0),
        rows: 0,
        quarantined: 0,
        small_files: Some(0),
        held: None,
        gate: None,
        balanced: None,
        not_in_druid: None,
        volume: None,
    }
}

fn built_in(name: &str) -> Rule {
    rules(&[], &BTreeMap::new()).into_iter().find(|rule| rule.alert.name == name).unwrap()
}

fn named(rule: &Rule, facts: DatasetFacts, rates: &Rates) -> &'static str {
    let facts = Facts { datasets: vec![facts], ..Facts::default() };
    let seen = look(rule, rule.signal().unwrap(), &facts, rates, 1_700_000_000_000);
    match seen.first().map(|seen| &seen.observation) {
        None => "not meant",
        Some(Observation::Clear) => "clear",
        Some(Observation::Holds(_)) => "holds",
        Some(Observation::NoData(_)) => "no data",
        Some(Observation::Unknown(_)) => "unknown",
    }
}

#[rstest::rstest]
#[case::fresh("source_silent", Layer::Raw, |_: &mut F| {}, "clear")]
#[case::silent("source_silent", Layer::Raw, |f: &mut F| f.newest_age_s = Some(61.0), "holds")]
#[case::never_a_row("source_silent", Layer::Raw, |f: &mut F| f.newest_age_s = None, "no data")]
#[case::no_promise("source_silent", Layer::Raw, |f: &mut F| f.freshness_sla_s = None, "not meant")]
#[case::not_of_derived("source_silent", Layer::Curated, |f: &mut F| f.newest_age_s = Some(61.0), "not meant")]
#[case::a_feed_is_late("feed_late", Layer::Raw, |f: &mut F| (f.is_feed, f.newest_age_s) = (true, Some(61.0)), "holds")]
#[case::a_stream_is_not("feed_late", Layer::Raw, |f: &mut F| f.newest_age_s = Some(61.0), "not meant")]
#[case::lag("landing_lag", Layer::Raw, |f: &mut F| f.lag_records = Some(100_001), "holds")]
#[case::lag_in_bounds("landing_lag", Layer::Raw, |f: &mut F| f.lag_records = Some(100_000), "clear")]
#[case::lag_unknown("landing_lag", Layer::Raw, |f: &mut F| f.lag_records = None, "no data")]
#[case::gate_undecided("gate_held", Layer::Serving, |_: &mut F| {}, "no data")]
#[case::gate_passed("gate_held", Layer::Serving, |f: &mut F| f.gate = Some(GateFacts::default()), "clear")]
#[case::gate_held("gate_held", Layer::Serving, |f: &mut F| f.gate = Some(GateFacts { held: true, reasons: vec![] }), "holds")]
#[case::held_unseen("delivery_held", Layer::Raw, |_: &mut F| {}, "no data")]
#[case::nothing_held("delivery_held", Layer::Raw, |f: &mut F| f.held = Some(vec![]), "clear")]
#[case::held("delivery_held", Layer::Raw, |f: &mut F| f.held = Some(vec!["few".into()]), "holds")]
#[case::held_elsewhere("delivery_held", Layer::Serving, |f: &mut F| f.held = Some(vec!["few".into()]), "not meant")]
#[case::books_unseen("conservation_broken", Layer::Raw, |_: &mut F| {}, "no data")]
#[case::books_broken("conservation_broken", Layer::Raw, |f: &mut F| f.balanced = Some(Err("3 are gone".into())), "holds")]
#[case::files("compaction_behind", Layer::Raw, |f: &mut F| f.small_files = Some(1_001), "holds")]
#[case::recovering("landing_lag", Layer::Raw, |f: &mut F| (f.ready, f.lag_records) = (false, Some(1_000_000)), "no data")]
fn signals(#[case] name: &str, #[case] layer: Layer, #[case] set: fn(&mut DatasetFacts), #[case] expected: &str) {
    let mut facts = of(layer);
    set(&mut facts);
    assert_eq!(named(&built_in(name), facts, &Rates::default()), expected);
}

#[test]
fn a_rate_is_of_its_window_and_says_when_it_has_not_seen_all_of_it() {
    let rule = built_in("poison_records");
    let mut rates = Rates::default();
    let mut at = |seconds: u64, rows: u64, quarantined: u64| {
        let facts = DatasetFacts { rows, quarantined, ..of(Layer::Raw) };
        rates.keep(&Facts { datasets: vec![facts.clone()], ..Facts::default() }, seconds * 1_000);
        named(&rule, facts, &rates)
    };
    assert_eq!(at(1_000, 100, 50), "no data");
    assert_eq!(at(1_030, 200, 51), "no data");
    assert_eq!(at(1_060, 201, 90), "holds");
    assert_eq!(at(1_000 + 900, 500, 90), "holds");
    // What was bad has left the window.
    assert_eq!(at(1_060 + 900, 600, 90), "clear");
    assert_eq!(at(1_060 + 1_800, 600, 90), "clear");
}

#[test]
fn a_rate_goes_on_after_a_start_from_the_books_of_before() {
    let rule = built_in("poison_records");
    let wall_ms = 1_700_000_000_000;
    let brought = |minutes_ago: i64, accepted, quarantined| Brought {
        dataset: "raw.x".to_owned(),
        at_ms: wall_ms - minutes_ago * 60_000,
        accepted,
        quarantined,
    };
    // A window of 15 minutes that was seen whole: nothing bad in it, however bad it was before.
    for (bad_ago, expected) in [(20, "clear"), (10, "holds")] {
        let mut rates = Rates::default();
        rates.take_up(vec![brought(12, 100, 0), brought(bad_ago, 0, 100)], wall_ms, 5_000);
        let facts = DatasetFacts { rows: 100, quarantined: 100, ..of(Layer::Raw) };
        rates.keep(&Facts { datasets: vec![facts.clone()], ..Facts::default() }, 5_000);
        assert_eq!(named(&rule, facts.clone(), &rates), expected, "{bad_ago} minutes ago");
        // As long after as the window is, what was bad has left it.
        rates.keep(&Facts { datasets: vec![facts.clone()], ..Facts::default() }, 5_000 + 900_000);
        assert_eq!(named(&rule, facts, &rates), "clear");
    }
}

#[rstest::rstest]
#[case::replayed(1_100)]
#[case::discarded(100)]
fn rejects_that_left_quarantine_hide_no_new_ones(#[case] rows: u64) {
    let rule = built_in("poison_records");
    let mut rates = Rates::default();
    let mut at = |seconds: u64, rows: u64, quarantined: u64| {
        let facts = DatasetFacts { rows, quarantined, ..of(Layer::Raw) };
        rates.keep(&Facts { datasets: vec![facts.clone()], ..Facts::default() }, seconds * 1_000);
        named(&rule, facts, &rates)
    };
    at(1_000, 100, 1_000);
    assert_eq!(at(2_000, rows, 0), "clear");
    assert_eq!(at(2_001, rows + 10, 20), "holds");
    assert_eq!(at(2_002, rows + 30, 0), "clear");
}

#[test]
fn drift_is_what_was_counted() {
    let rule = built_in("schema_drift");
    let mut rates = Rates::default();
    assert_eq!(named(&rule, of(Layer::Raw), &rates), "no data");
    let drift = |window| Drift { alert: "schema_drift".into(), dataset: dataset(Layer::Raw, "x"), window };
    rates.drifted(drift(Duration::from_secs(60)), 0);
    assert_eq!(named(&rule, of(Layer::Raw), &rates), "clear");
    rates.drifted(drift(Duration::from_secs(60)), 1);
    assert_eq!(named(&rule, of(Layer::Raw), &rates), "holds");
    assert_eq!(
        drift(Duration::from_secs(60)).query(1_700_000_000_000),
        "SELECT COUNT(*) FROM raw.x WHERE _rescued IS NOT NULL AND _ingested_at >= TIMESTAMP '2023-11-14 22:12:20'"
    );
}

#[test]
fn a_schedule_is_read_in_its_zone() {
    let schedule = |cron: &str| AlertSchedule { cron: cron.to_owned(), zone: chrono_tz::Europe::Berlin };
    // 2023-11-14 22:13:20 UTC is 23:13:20 in Berlin.
    let due = |cron: &str| last_due(&schedule(cron), 1_700_000_000_000).map(|due| due.to_rfc3339());
    assert_eq!(due("0 6 * * *").unwrap(), "2023-11-14T05:00:00+00:00");
    assert_eq!(due("30 23 * * *").unwrap(), "2023-11-13T22:30:00+00:00");
    assert!(due("61 6 * * *").is_err());
}

#[test]
fn an_alert_of_the_project_takes_the_place_of_a_built_in_one_for_its_dataset() {
    let mut own = built_in("gate_held").alert;
    own.name = "steps_held".to_owned();
    own.dataset = Some(dataset(Layer::Serving, "x"));
    let held = |all: Vec<Rule>| {
        let mine = dataset(Layer::Serving, "x");
        let about = all.iter().filter(|r| r.alert.source == AlertSource::Signal(Signal::GateHeld) && r.is_about(&mine));
        about.map(|rule| rule.alert.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(held(rules(&[own.clone()], &BTreeMap::new())), ["steps_held"]);
    own.dataset = None;
    assert_eq!(held(rules(&[own.clone()], &BTreeMap::new())), ["steps_held"]);
    own.dataset = Some(dataset(Layer::Serving, "y"));
    assert_eq!(held(rules(&[own.clone()], &BTreeMap::new())), ["gate_held"]);
    own.name = "gate_held".to_owned();
    assert!(held(rules(&[own], &BTreeMap::new())).is_empty());
}

#[test]
fn what_druid_does_not_have_is_told_of_its_dataset_alone() {
    let rule = built_in("druid_behind");
    let words = "Druid does not have its newest version: its task failed".to_owned();
    let there = DatasetFacts { not_in_druid: Some(words.clone()), ..of(Layer::Serving) };
    let all = Facts { datasets: vec![there, of(Layer::Serving)], ..Facts::default() };
    let seen = look(&rule, Signal::DruidBehind, &all, &Rates::default(), 0);
    assert_eq!(seen[0].observation, Observation::Holds(words));
    assert_eq!(seen[1].observation, Observation::Clear);
}
