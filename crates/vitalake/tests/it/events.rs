//! What the simulator makes: the same from the same seed, plausible, with the stated shares of what is wrong.

use chrono::{DateTime, Utc};
use vitalake::simulate::events::{APP_EVENTS_TOPIC, Event, Mischief, READINGS_TOPIC, Shares};
use vitalake::simulate::{Options, dry_run};

fn events(seed: u64, count: u64, shares: Shares) -> Vec<Event> {
    let start: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let options = Options { seed, shares, count: Some(count), start: Some(start), ..Options::new("", 50) };
    dry_run(&options, Utc::now()).collect()
}

const NONE: Shares = Shares { late: 0.0, duplicate: 0.0, malformed: 0.0 };

#[test]
fn the_same_seed_gives_the_same_events_and_another_gives_others() {
    let shares = Shares { late: 0.1, duplicate: 0.1, malformed: 0.1 };
    assert_eq!(events(7, 500, shares), events(7, 500, shares));
    assert_ne!(events(7, 500, shares), events(8, 500, shares));
}

#[test]
fn the_first_events_are_as_they_were() {
    let lines: Vec<String> =
        events(7, 12, NONE).into_iter().map(|event| format!("{} {}", event.key, event.value)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn shares_are_kept() {
    let made = events(3, 20_000, Shares { late: 0.05, duplicate: 0.02, malformed: 0.01 });
    let share = |mischief| made.iter().filter(|event| event.mischief == mischief).count() as f64 / 20_000.0;
    assert!((share(Mischief::Late) - 0.05).abs() < 0.01);
    assert!((share(Mischief::Malformed) - 0.01).abs() < 0.005);
    // Both copies of a duplicate carry the mark.
    assert!((share(Mischief::Duplicate) - 0.04).abs() < 0.01);
}

#[test]
fn sound_events_keep_their_contract_and_broken_ones_do_not() {
    let sound = |event: &Event| {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&event.value) else { return false };
        let time = |name: &str| value[name].as_str().is_some_and(|text| text.parse::<DateTime<Utc>>().is_ok());
        if event.topic == READINGS_TOPIC {
            let vitals = &value["vitals"];
            time("recorded_at")
                && value["device_id"].is_string()
                && vitals["hr"].as_i64().is_some_and(|hr| (20..=250).contains(&hr))
                && vitals["spo2"].as_i64().is_some_and(|spo2| (50..=100).contains(&spo2))
                && value["steps"].as_i64().is_some_and(|steps| steps >= 0)
        } else {
            time("occurred_at") && value["event_id"].is_string() && value["event"].is_string()
        }
    };
    for event in events(5, 5_000, Shares { late: 0.1, duplicate: 0.1, malformed: 0.2 }) {
        assert_eq!(sound(&event), event.mischief != Mischief::Malformed, "{}", event.value);
    }
}

#[test]
fn nine_of_ten_are_readings_and_every_wearer_sends_some() {
    let made = events(1, 5_000, NONE);
    assert_eq!(made.iter().filter(|event| event.topic == APP_EVENTS_TOPIC).count(), 500);
    let devices: std::collections::BTreeSet<&str> =
        made.iter().filter(|event| event.topic == READINGS_TOPIC).map(|event| event.key.as_str()).collect();
    // Some devices are charging or off the wrist for the whole minute and a half.
    assert!(devices.len() > 40, "{}", devices.len());
}

#[test]
fn a_night_is_calmer_than_an_afternoon() {
    let mean = |start: &str| {
        let start: DateTime<Utc> = start.parse().unwrap();
        let options = Options { shares: NONE, count: Some(5_000), start: Some(start), ..Options::new("", 200) };
        let rates: Vec<f64> = dry_run(&options, Utc::now())
            .filter(|event| event.topic == READINGS_TOPIC)
            .map(|event| {
                serde_json::from_str::<serde_json::Value>(&event.value).unwrap()["vitals"]["hr"].as_f64().unwrap()
            })
            .collect();
        rates.iter().sum::<f64>() / rates.len() as f64
    };
    assert!(mean("2026-01-01T03:00:00Z") + 8.0 < mean("2026-01-01T15:00:00Z"));
}

#[test]
fn history_sent_twice_is_the_same_history() {
    let start: DateTime<Utc> = "2026-01-01T12:00:30Z".parse().unwrap();
    let history = |rate| {
        let options = Options { history_minutes: 60, count: Some(0), start: Some(start), rate, ..Options::new("", 20) };
        dry_run(&options, Utc::now()).collect::<Vec<_>>()
    };
    let made = history(20.0);
    assert!(made.len() > 1_000, "{}", made.len());
    assert!(made.iter().all(|event| event.sent_at_ms < start.timestamp_millis()));
    assert_eq!(made, history(5.0));
}
