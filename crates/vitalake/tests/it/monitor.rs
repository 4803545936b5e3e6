//! The real server and a workspace of Azure Monitor: what is committed arrives, over restarts and once by its id; one that
//! refuses is said, and nothing else waits for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use serde_json::Value;
use vitalake_runtime::telemetry::metric;

use crate::double::{Answer, Asked, Double};
use crate::folders::{Here, asked, landed, send, tick};

const TOKEN: &str = r#"{"access_token":"a-token","expires_in":"86000"}"#;

/// A workspace that refuses while it is told to.
fn workspace() -> (Double, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&refuses);
    let double = Double::start(move |asked| match asked.method.as_str() {
        "GET" => Answer::of(200, TOKEN),
        _ if now.load(Ordering::SeqCst) => Answer::of(403, ""),
        _ => Answer::of(204, ""),
    });
    (double, refuses)
}

fn rows_of(asked: &Asked) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(asked.body.as_slice()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The rows that were taken, by their ids; one that came twice is the same.
fn taken(asked: &[Asked], into: &mut BTreeMap<String, Value>) -> usize {
    let before = into.len();
    for row in asked.iter().filter(|asked| asked.method == "POST").flat_map(rows_of) {
        let id = row["RunId"].as_str().unwrap().to_owned();
        assert_eq!(*into.entry(id).or_insert_with(|| row.clone()), row);
    }
    into.len() - before
}

fn monitor(here: &Here) -> Value {
    here.place.status().unwrap()["monitor"].clone()
}

fn everything_is_sent(here: &Here) {
    here.place.until("everything is sent", || {
        let monitor = monitor(here);
        monitor["commits_waiting"] == 0 && monitor["last_sent"].is_string()
    });
}

#[test]
fn what_is_committed_arrives_over_restarts_and_a_workspace_that_refuses_is_said_and_costs_nothing_else() {
    let (double, refuses) = workspace();
    let mut here = Here::new();
    here.place = here.place.clone().set("AZURE_POD_IDENTITY_AUTHORITY_HOST", &double.url);
    let settings = fs::read_to_string(here.project("vitalake.yaml")).unwrap();
    let more = format!("azure:\n  monitor:\n    endpoint: {}\n    rule: dcr-0123\n", double.url);
    fs::write(here.project("vitalake.yaml"), settings + &more).unwrap();

    let server = here.place.start().ready();
    send(&here.place, "ticks", &[tick(1, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[1]);
    let is_of_commits = |asked: &Asked| asked.target.contains("/streams/Custom-VitalakeCommits?");
    here.place.until("commits arrive", || double.asked().iter().any(is_of_commits));
    everything_is_sent(&here);
    server.stop();

    // What the stop committed waits for a workspace that refuses.
    let first = double.count();
    refuses.store(true, Ordering::SeqCst);
    let server = here.place.start().ready();
    here.place.until("it is said", || {
        here.place.status().unwrap()["away"].to_string().contains("Monitoring Metrics Publisher")
    });
    here.place.until("what waits is counted", || monitor(&here)["commits_waiting"].as_u64() > Some(0));
    assert!(here.place.is_ready());
    send(&here.place, "ticks", &[tick(2, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[2]);
    let said = asked(&here, &["status"]).1;
    assert!(said.contains("Azure Monitor is away") && said.contains("of the ops datasets wait"), "{said}");
    let mut answer = ureq::get(format!("http://{}/metrics", here.place.http)).call().unwrap();
    let metrics = answer.body_mut().read_to_string().unwrap();
    assert!(metrics.contains(r#"vitalake_monitor_requests_total{outcome="no_role"}"#), "{metrics}");
    for metric in metric::ALL.iter().filter(|metric| metric.name.starts_with("vitalake_monitor_")) {
        assert!(metrics.lines().any(|line| line.starts_with(metric.name)), "{}: {metrics}", metric.name);
    }
    server.stop();

    refuses.store(false, Ordering::SeqCst);
    let refused = double.count();
    let server = here.place.start().ready();
    everything_is_sent(&here);
    server.stop();
    let asked = double.asked();
    let mut rows = BTreeMap::new();
    assert!(taken(&asked[..first], &mut rows) > 0 && taken(&asked[refused..], &mut rows) > 0);
    assert!(!here.place.said().contains("a-token"));
}
