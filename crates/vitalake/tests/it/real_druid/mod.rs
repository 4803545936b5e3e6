//! What is published to a real Druid: the files that it fetches, its faults, and topics that it streams in by itself.

mod double;
mod faults;
mod files;
mod live;

use serde_json::Value;

use crate::folders::{Here, landed, send, tick};
use crate::rehearsal::project;
use crate::rehearsal::server::Place;

use double::Double;

const TICKS: &str = "SELECT COALESCE(SUM(ticks), 0) FROM serving.ticks_hourly";

/// A project that publishes to a double.
fn publishing(double: &Double) -> Here {
    let mut here = Here::new();
    let place = here.place.clone().set("VITALAKE_ENGINES__ANALYTICS", "druid");
    here.place = place.set("VITALAKE_ENGINES__DRUID__URL", &double.url).set("VITALAKE_ENGINES__DRUID__INTERVAL_MS", 0);
    here
}

/// Rows `from` to `to` come, and are in the table.
fn ticked(place: &Place, from: i64, to: i64) {
    let rows: Vec<String> = (from..=to).map(|n| tick(n, "")).collect();
    send(place, project::TOPIC, &rows);
    landed(place, TICKS, &[to]);
}

fn fetched(url: &str) -> (u16, Vec<u8>) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let mut answer = agent.get(url).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
}

/// What is said of a datasource.
fn report(place: &Place, datasource: &str) -> Value {
    let (status, body) = fetched(&format!("http://{}/api/v1/druid", place.http));
    assert_eq!(status, 200);
    let reports: Vec<Value> = serde_json::from_slice(&body).unwrap();
    reports.into_iter().find(|report| report["datasource"] == datasource).unwrap_or_default()
}

/// Waits for a state, and gives what is said beside it.
fn state(place: &Place, datasource: &str, state: &str) -> String {
    place.until(state, || report(place, datasource)["state"] == state);
    report(place, datasource)["message"].as_str().unwrap().to_owned()
}
