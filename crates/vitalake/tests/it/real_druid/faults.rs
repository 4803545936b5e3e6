//! Faults of Druid while versions are published to it: each is told in a sentence, nothing is lost, and nothing of others
//! is replaced.

use serde_json::{Value, json};

use super::double::Double;
use super::{TICKS, fetched, publishing, report, state, ticked};
use crate::folders::{Here, landed, send, tick};
use crate::rehearsal::project;
use crate::rehearsal::server::Place;

const DATASOURCE: &str = "ticks_hourly";
const ALL: [&str; 3] = [DATASOURCE, "ticks_hourly_2", "ticks_hourly_3"];

/// The project with three serving datasets of the same rows.
fn three(double: &Double) -> Here {
    let here = publishing(double);
    for (number, name) in ALL.iter().enumerate().skip(1) {
        for (file, last) in
            [("contracts/serving/ticks_hourly.yaml", "0003"), ("models/serving/ticks_hourly.sql", "none")]
        {
            let text = std::fs::read_to_string(here.project(file)).unwrap();
            let text = text.replace(last, &format!("{number}003")).replace(": ticks_hourly", &format!(": {name}"));
            std::fs::write(here.project(&file.replace(DATASOURCE, name)), text).unwrap();
        }
    }
    here
}

fn is_sent(double: &Double, place: &Place, datasource: &str) -> Value {
    place.until("a task is sent", || double.running(datasource).is_some());
    double.running(datasource).unwrap()
}

/// A publication from the sending to the end.
fn published(double: &Double, place: &Place, datasource: &str) {
    is_sent(double, place, datasource);
    double.arrives(place, datasource);
    state(place, datasource, "published");
}

fn alert(place: &Place, name: &str) -> Option<Value> {
    let (_, body) = fetched(&format!("http://{}/api/v1/alerts", place.http));
    let text = String::from_utf8(body).unwrap();
    let alerts: Value = serde_json::from_str(&text).unwrap();
    let alerts = alerts.as_array().or_else(|| alerts["alerts"].as_array()).cloned().unwrap_or_default();
    alerts.into_iter().find(|alert| alert["alert"] == name)
}

#[test]
fn a_druid_without_a_free_place_delays_what_is_sent_and_nothing_else_waits_for_its_turn() {
    let double = Double::new();
    double.state.lock().runner = "WAITING";
    let here = three(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 2);
    for datasource in ALL {
        is_sent(&double, &here.place, datasource);
    }
    here.place.until("said", || report(&here.place, DATASOURCE)["message"].to_string().contains("no free place"));
    for datasource in ALL {
        double.brings(&here.place, datasource);
    }
    ticked(&here.place, 3, 3);
    double.state.lock().runner = "RUNNING";
    for datasource in ALL {
        double.ends(datasource);
    }
    // The version that came meanwhile follows, and its row counts.
    for datasource in ALL {
        here.place.until("the newest is sent", || double.tasks(datasource).len() == 2);
        published(&double, &here.place, datasource);
    }
    server.stop();
}

#[test]
fn rows_of_others_in_some_datasets_hold_up_none_of_ours() {
    let double = Double::new();
    let here = three(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 1);
    for datasource in ALL {
        published(&double, &here.place, datasource);
    }
    for datasource in &ALL[..2] {
        double.state.lock().rows.get_mut(*datasource).unwrap().0 += 1;
    }
    ticked(&here.place, 2, 2);
    published(&double, &here.place, ALL[2]);
    for datasource in &ALL[..2] {
        assert_eq!(double.tasks(datasource).len(), 1, "nothing of others is replaced");
        let said = report(&here.place, datasource)["message"].to_string();
        assert!(said.contains("another number of rows"), "{said}");
    }
    // Whoever takes it over need not wait until it is refused.
    let adopt = format!("http://{}/api/v1/druid/{DATASOURCE}/adopt", here.place.http);
    ureq::post(adopt).send_empty().unwrap();
    published(&double, &here.place, DATASOURCE);
    server.stop();
}

#[test]
fn a_druid_that_lost_all_that_was_published_gets_all_of_it_again() {
    let double = Double::new();
    let here = publishing(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 1);
    published(&double, &here.place, DATASOURCE);
    double.state.lock().rows.clear();
    // A row of another day: what has changed alone would be that day.
    send(&here.place, project::TOPIC, &[tick(2, "").replace("2026-01-01", "2026-01-05")]);
    landed(&here.place, TICKS, &[2]);
    let task = is_sent(&double, &here.place, DATASOURCE);
    let intervals = &task["spec"]["dataSchema"]["granularitySpec"]["intervals"];
    assert_eq!(intervals.as_array().map(Vec::len), Some(2), "{task}");
    double.arrives(&here.place, DATASOURCE);
    state(&here.place, DATASOURCE, "published");
    server.stop();
}

#[test]
fn a_task_that_somebody_ended_is_sent_again_also_where_it_had_done_its_work() {
    let double = Double::new();
    let here = publishing(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 1);
    published(&double, &here.place, DATASOURCE);
    // A row of another hour: there are more of them than were left there.
    send(&here.place, project::TOPIC, &[tick(2, "").replace("T00:00", "T01:00")]);
    landed(&here.place, TICKS, &[2]);
    is_sent(&double, &here.place, DATASOURCE);
    double.brings(&here.place, DATASOURCE);
    double.fails(DATASOURCE, "Task canceled by shutdown request, row {patient=7}");
    here.place
        .until("it is told", || report(&here.place, DATASOURCE)["message"].to_string().contains("ended by somebody"));
    assert!(!report(&here.place, DATASOURCE).to_string().contains("patient"), "none of Druid's own words");
    here.place.until("it is sent again", || double.tasks(DATASOURCE).len() == 3);
    published(&double, &here.place, DATASOURCE);
    server.stop();
}

#[test]
fn a_druid_that_is_away_in_the_middle_is_gone_on_with_by_the_same_task() {
    let double = Double::new();
    let here = publishing(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 2);
    is_sent(&double, &here.place, DATASOURCE);
    double.brings(&here.place, DATASOURCE);
    double.state.lock().status = Some(503);
    let away = || here.place.status().is_some_and(|status| status["away"].to_string().contains("Druid"));
    here.place.until("it is told that it is away", away);
    ticked(&here.place, 3, 3);
    double.state.lock().status = None;
    double.ends(DATASOURCE);
    here.place.until("it is there again", || !away());
    here.place.until("the newest is sent", || double.tasks(DATASOURCE).len() == 2);
    published(&double, &here.place, DATASOURCE);
    server.stop();
}

#[test]
fn a_wrong_password_an_old_version_and_a_part_that_is_missing_are_told_and_fire_an_alert() {
    let double = Double::new();
    double.state.lock().status = Some(401);
    let mut here = publishing(&double);
    let place = here.place.clone().set("VITALAKE_ENGINES__DRUID__USER", "vitalake");
    here.place = place.set("VITALAKE_ENGINES__DRUID__PASSWORD", "not-this-one");
    let server = here.place.start().ready();
    ticked(&here.place, 1, 2);
    let said = state(&here.place, DATASOURCE, "refused");
    assert!(said.contains("engines.druid.user") && !said.contains("not-this-one"), "{said}");
    here.place.until("an alert", || alert(&here.place, "druid_behind").is_some());
    let told = alert(&here.place, "druid_behind").unwrap();
    assert_eq!(told["dataset"], "serving.ticks_hourly", "{told}");
    assert!(told.to_string().contains("engines.druid.user"), "{told}");
    assert_eq!(fetched(&format!("http://{}/runbooks/druid_behind", here.place.http)).0, 200);
    server.stop();

    double.state.lock().status = None;
    double.state.lock().version = "27.0.0".to_owned();
    let server = here.place.start().ready();
    let said = state(&here.place, DATASOURCE, "refused");
    assert!(said.contains("this Druid is version 27.0.0"), "{said}");
    server.stop();

    double.state.lock().version = "33.0.0".to_owned();
    let lacks = "Could not resolve type id 'parquet' as a subtype known type ids = [csv, json] (for POJO property)";
    double.state.lock().refusal = Some(json!({"error": lacks}));
    let server = here.place.start().ready();
    let said = state(&here.place, DATASOURCE, "refused");
    assert!(said.contains("does not know `parquet`"), "{said}");
    assert!(double.tasks(DATASOURCE).is_empty());
    server.stop();

    double.state.lock().refusal = None;
    let server = here.place.start().ready();
    published(&double, &here.place, DATASOURCE);
    server.stop();
}
