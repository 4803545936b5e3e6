//! Every metric that is registered gets a value from a real run.

use vitalake_runtime::telemetry::metric;

use crate::folders::{Here, asked, landed, send, tick};
use crate::rehearsal::project;

/// The names that have at least one sample.
fn sampled(here: &Here) -> String {
    let mut answer = ureq::get(format!("http://{}/metrics", here.place.http)).call().unwrap();
    answer.body_mut().read_to_string().unwrap()
}

/// Whether a metric has a sample: a line that begins with its name, or with that of one of a histogram's series.
fn has_value(text: &str, name: &str) -> bool {
    let is_of = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_count"))
    };
    text.lines().any(|line| is_of(&line))
}

#[test]
fn every_metric_has_a_value_after_a_real_run() {
    let here = Here::new();
    let server = here.place.start().ready();
    let other = r#"{"n":3,"tick_id":"t1","device":"d2","at":"2026-01-01T00:00:00Z","steps":9}"#.to_owned();
    send(&here.place, project::TOPIC, &[tick(1, ""), tick(2, ""), tick(2, ""), other, "no json".to_owned()]);
    landed(&here.place, "SELECT COUNT(*) FROM curated.ticks_once", &[2]);
    landed(&here.place, "SELECT COUNT(*) FROM quarantine.ticks_once", &[1]);
    let file = here.project("more.ndjson");
    std::fs::write(&file, tick(4, "") + "\n").unwrap();
    let (code, said) = asked(&here, &["ingest", "ticks", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(here.place.flush());
    // Storage over a network alone counts what it is asked: the platform's own test of its gauges has those. A feed that
    // is late has the feeds' numbers in the tests of feeds, a workspace its own in those of `monitor`.
    let prefixes = ["vitalake_storage_", "vitalake_feed_", "vitalake_monitor_"];
    let elsewhere = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let local = metric::ALL.iter().filter(|metric| !elsewhere(metric.name));
    for metric in local {
        here.place.until(metric.name, || has_value(&sampled(&here), metric.name));
    }
    let text = sampled(&here);
    for wanted in [
        "vitalake_commits_total{table=\"raw.ticks\",outcome=\"done\"}",
        "vitalake_model_runs_total{dataset=\"ticks_once\",outcome=\"done\"}",
        "vitalake_broken_rules_total{dataset=\"ticks_once\",rule=\"primaryKey\",severity=\"error\"} 1",
        "vitalake_deliveries_total{dataset=\"ticks\",outcome=\"done\"} 1",
        "vitalake_queries_total{surface=\"druid\",outcome=\"ok\"}",
        "vitalake_duplicate_records_total{dataset=\"ticks_once\"} 1",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    server.stop();
}
