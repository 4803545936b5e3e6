//! Gates against the real server: their addresses, what answers say of them, and a hold whose note somebody removed.

use serde_json::{Value, json};
use ureq::http::StatusCode;

use crate::folders::{Here, landed, send, tick};
use crate::rehearsal::project;
use crate::rehearsal::server::Place;

/// A project whose serving dataset is published from five ticks on.
fn gated() -> Here {
    let here = Here::new();
    let hourly = here.project("contracts/serving/ticks_hourly.yaml");
    let text = std::fs::read_to_string(&hourly).unwrap();
    let rule = "    quality:\n      - {id: enough, type: sql, query: 'SELECT SUM(ticks) FROM {object}', mustBeGreaterOrEqualTo: 5}\n";
    std::fs::write(&hourly, text + rule).unwrap();
    here
}

fn asked(place: &Place, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let url = format!("http://{}{path}", place.http);
    let answer = if method == "GET" { agent.get(url).call() } else { agent.post(url).send(body) };
    let mut answer = answer.unwrap();
    (answer.status(), answer.body_mut().read_json().unwrap())
}

/// What an answer says of the gates of what it reads.
fn headers(place: &Place, sql: &str) -> Vec<String> {
    let answer = ureq::post(format!("http://{}/druid/v2/sql", place.http)).send_json(json!({"query": sql})).unwrap();
    let said = answer.headers().get_all("x-vitalake-gate").iter();
    said.map(|value| value.to_str().unwrap().to_owned()).collect()
}

fn state(place: &Place) -> (Value, Value) {
    let (status, gate) = asked(place, "GET", "/api/v1/gates/ticks_hourly", "");
    assert_eq!(status, 200, "{gate}");
    (gate[0]["state"].clone(), gate[0]["by"].clone())
}

const PUBLISHED: &str = "SELECT COALESCE(SUM(ticks), 0) FROM serving.ticks_hourly";
const LIVE: &str = "SELECT COALESCE(SUM(ticks), 0) FROM serving.ticks_hourly_live";

#[test]
fn a_gate_is_seen_held_and_released_over_http_and_every_answer_says_how_it_is() {
    let here = gated();
    let server = here.place.start().ready();
    let place = &here.place;
    send(place, project::TOPIC, &[tick(1, ""), tick(2, "")]);
    landed(place, LIVE, &[2]);
    place.until("held", || state(place).0 == "held");
    let (_, all) = asked(place, "GET", "/api/v1/gates", "");
    let gate = &all[0];
    assert_eq!((&gate["dataset"], &gate["state"]), (&json!("serving.ticks_hourly"), &json!("held")));
    let reason = &gate["reasons"][0];
    assert_eq!((&reason["rule"], &reason["got"]), (&json!("enough"), &json!("2")));
    let said = headers(place, PUBLISHED);
    let [said] = said.as_slice() else { panic!("{said:?}") };
    assert!(said.starts_with("serving.ticks_hourly; state=held; since=2"), "{said}");
    assert!(headers(place, "SELECT COUNT(*) FROM raw.ticks").is_empty(), "no gate stands before what it reads");

    for (path, body, status, want) in [
        ("/api/v1/gates/nobody/hold", r#"{"reason": "x"}"#, 404, "nobody has no gate"),
        ("/api/v1/gates/ticks_hourly/hold", r#"{"reason": " "}"#, 400, "needs a reason"),
        ("/api/v1/gates/ticks_hourly/hold", "reason", 400, "a decision is"),
        ("/api/v1/gates/ticks_hourly/release", "", 400, "a decision is"),
    ] {
        let (found, answer) = asked(place, "POST", path, body);
        assert!(found == status && answer.to_string().contains(want), "{path} {body}: {found} {answer}");
    }
    let (status, gate) =
        asked(place, "POST", "/api/v1/gates/serving.ticks_hourly/release", r#"{"reason": "few today", "by": "maria"}"#);
    assert_eq!((status.as_u16(), &gate["state"]), (200, &json!("passed")), "{gate}");
    assert_eq!(place.numbers(PUBLISHED), [2]);
    assert!(headers(place, PUBLISHED)[0].contains("state=passed"));
    server.stop();
}

#[test]
fn a_hold_outlives_the_removal_of_what_is_staged_until_it_is_released() {
    let here = gated();
    let place = &here.place;
    let mut server = place.start().ready();
    let ticks: Vec<String> = (0..6).map(|n| tick(n, "")).collect();
    send(place, project::TOPIC, &ticks);
    landed(place, PUBLISHED, &[6]);
    let held = asked(place, "POST", "/api/v1/gates/ticks_hourly/hold", r#"{"reason": "looks wrong", "by": "maria"}"#);
    assert_eq!(held.0, 200, "{held:?}");
    for removed in [true, false] {
        server.stop();
        if removed {
            std::fs::remove_dir_all(place.data.join("staged/ticks_hourly")).unwrap();
        }
        server = place.start().ready();
        assert_eq!(state(place), (json!("held"), json!("maria")), "{}", place.said());
    }
    assert!(place.said().contains("it is held again, as ops.gates says"), "{}", place.said());
    send(place, project::TOPIC, &[tick(7, "")]);
    landed(place, LIVE, &[7]);
    assert!(place.flush());
    assert_eq!(place.numbers(PUBLISHED), [6]);
    let released =
        asked(place, "POST", "/api/v1/gates/ticks_hourly/release", r#"{"reason": "it was right", "by": "maria"}"#);
    assert_eq!((released.0.as_u16(), place.numbers(PUBLISHED)), (200, vec![7]), "{released:?}");
    server.stop();
    std::fs::remove_dir_all(place.data.join("staged/ticks_hourly")).unwrap();
    server = place.start().ready();
    place.until("passed", || state(place).0 == "passed");
    server.stop();
}

#[test]
fn a_hold_comes_first_among_the_reasons_and_hides_no_other() {
    let here = gated();
    let place = &here.place;
    let mut server = place.start().ready();
    send(place, project::TOPIC, &[tick(1, ""), tick(2, "")]);
    landed(place, LIVE, &[2]);
    place.until("held", || state(place).0 == "held");
    let reasons = || -> Vec<(String, String)> {
        let (_, gates) = asked(place, "GET", "/api/v1/gates/ticks_hourly", "");
        let text = |reason: &Value, field: &str| reason[field].as_str().unwrap().to_owned();
        gates[0]["reasons"].as_array().unwrap().iter().map(|r| (text(r, "rule"), text(r, "got"))).collect()
    };
    let held = |got: &str| {
        [("hold", "held by maria: looks wrong"), ("enough", got)].map(|(r, g)| (r.to_owned(), g.to_owned())).to_vec()
    };
    let answer = asked(place, "POST", "/api/v1/gates/ticks_hourly/hold", r#"{"reason": "looks wrong", "by": "maria"}"#);
    assert_eq!((answer.0.as_u16(), &answer.1["reasons"][0]["rule"]), (200, &json!("hold")), "{answer:?}");
    assert_eq!(reasons(), held("2"));
    send(place, project::TOPIC, &[tick(3, "")]);
    place.until("judged again", || reasons() == held("3"));
    server.kill();
    server = place.start().ready();
    place.until("judged again", || reasons() == held("3"));
    let (_, said) = crate::folders::asked(&here, &["gate", "status"]);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" is held by ")).collect();
    let [first, second] = lines.as_slice() else { panic!("{said}") };
    assert!(first.contains("is held by hold: held by maria") && second.contains("is held by enough: 3"), "{said}");
    server.stop();
}
