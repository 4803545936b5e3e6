//! Something that goes wrong on purpose, and what the platform is to make of it.
//!
//! An incident changes the readings of a run and nothing else; what catches it (alerts, runbooks) lies in the example
//! project. Pure. Invariant: the same event with the same number is always afflicted alike.

use chrono::TimeDelta;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::events::{Event, READINGS_TOPIC};

/// How often a reading is sent in a storm.
const COPIES: usize = 10;
/// How old a silent source's last readings are: older than the contract of serving.vitals_hourly allows.
const SILENT_HOURS: i64 = 3;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Incident {
    /// New firmware sends numbers as texts with their unit
    StringsForNumbers,
    /// The clocks of some devices are a day ahead
    ClockAhead,
    /// A gateway sends each reading ten times
    DuplicateStorm,
    /// Some devices have new names, which the contract refuses; a replay before its mend brings none back
    ReplayFailsAgain,
    /// The gateway hands over what it measured three hours ago, and no reading comes after that
    SilentSource,
    /// The clinic's last file of visits is of three days ago: its feed is four hours late, and more
    FeedLate,
    /// A day's file of visits has a third of its rows, and comes whole a moment later
    HalfAFile,
    /// The file of yesterday's visits comes twice
    FileAgain,
    /// A file of visits has two columns in each other's place, under the header as ever
    SwappedColumns,
    /// The list of who wears what comes without anybody
    EmptySnapshot,
}

/// What to look at when a delivery of visits is held.
const HELD: &[&str] = &[
    "vitalake feed history clinic_visits",
    "vitalake query \"SELECT _business_date, COUNT(*) AS visits FROM raw.clinic_visits GROUP BY _business_date\"",
    "vitalake alert list",
    "vitalake runbook delivery_held",
];

/// What a person is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Guide {
    /// What is sent.
    pub what: &'static str,
    /// What the platform makes of it.
    pub caught: &'static str,
    /// The alert that fires; empty where none does.
    pub alert: &'static str,
    /// Its runbook.
    pub runbook: &'static str,
    /// Commands that show it.
    pub look: &'static [&'static str],
}

impl Incident {
    /// What a person is told of it.
    #[must_use]
    pub fn guide(self) -> Guide {
        match self {
            Self::StringsForNumbers => Guide {
                what: "every second device sends its heart rate as \"72 bpm\" and its battery as \"80 %\"",
                caught: "the readings land; a value that is no number is null, and kept as it came in _rescued",
                alert: "schema_drift",
                runbook: "schema_drift",
                look: &[
                    "vitalake query \"SELECT COUNT(*) AS readings, COUNT(heart_rate) AS heart_rates, COUNT(_rescued) AS rescued FROM raw.wearable_readings\"",
                    "vitalake alert list",
                    "vitalake runbook schema_drift",
                ],
            },
            Self::ClockAhead => Guide {
                what: "every fifth device says that it is tomorrow",
                caught: "the readings land under the time that they name; nothing else knows what time it was",
                alert: "readings_ahead",
                runbook: "readings_ahead",
                look: &["vitalake alert list", "vitalake runbook readings_ahead"],
            },
            Self::DuplicateStorm => Guide {
                what: "each reading is sent ten times",
                caught: "raw keeps every copy, curated has each reading once, and the books say where the others went",
                alert: "readings_repeated",
                runbook: "readings_repeated",
                look: &[
                    "vitalake reconcile curated.vitals",
                    "vitalake query \"SELECT COUNT(*) AS copies FROM raw.wearable_readings\"",
                    "vitalake alert list",
                    "vitalake runbook readings_repeated",
                ],
            },
            Self::ReplayFailsAgain => Guide {
                what: "every fifth device calls itself watch-N in place of dev-N",
                caught: "its readings are in quarantine under device_id.pattern; a replay leaves them there and counts the attempt, until the contract takes the name: pattern '^(dev|watch)-[0-9]+$', a restart, and a replay",
                alert: "poison_records",
                runbook: "poison_records",
                look: &[
                    "vitalake quarantine list",
                    "vitalake quarantine replay wearable_readings",
                    "vitalake query \"SELECT _rule, _attempts, COUNT(*) AS readings FROM quarantine.wearable_readings GROUP BY _rule, _attempts\"",
                    "vitalake runbook poison_records",
                ],
            },
            Self::SilentSource => Guide {
                what: "readings that were measured three hours ago, beside app events of now; then, as long as nobody else sends any, no reading",
                caught: "nothing is lost: raw and curated have the readings; on a new lake serving.vitals_hourly holds them back, because its contract wants hours of the last two, until readings of now come and open the gate: vitalake simulate --duration 10",
                alert: "readings_silent",
                runbook: "readings_silent",
                look: &[
                    "vitalake gate status serving.vitals_hourly",
                    "vitalake query \"SELECT SUM(readings) AS readings, _published FROM serving.vitals_hourly_live GROUP BY _published\"",
                    "vitalake alert list",
                    "vitalake runbook readings_silent",
                ],
            },
            Self::HalfAFile => Guide {
                what: "of the clinic's visits yesterday's file with 13 of its 40 rows, and then the whole one",
                caught: "the first is held, because the contract wants 20 visits of a day at least: none of its rows is in raw.clinic_visits; the second comes in, and what to do with the first is for a person to say, with the id that stands above",
                alert: "delivery_held",
                runbook: "delivery_held",
                look: HELD,
            },
            Self::FileAgain => Guide {
                what: "the file of yesterday's visits, twice",
                caught: "the second is known by its content: each visit is there once, and the ledger says that it came; no alert fires",
                alert: "",
                runbook: "",
                look: &[
                    "vitalake feed history clinic_visits",
                    "vitalake query \"SELECT COUNT(*) AS visits FROM raw.clinic_visits\"",
                ],
            },
            Self::SwappedColumns => Guide {
                what: "yesterday's visits, with the patient's id where the visit's id belongs, under the header as ever",
                caught: "a rule of severity fatal knows the ids of visits by their form: the file is held, and no row of it is anywhere else",
                alert: "delivery_held",
                runbook: "delivery_held",
                look: HELD,
            },
            Self::EmptySnapshot => Guide {
                what: "the list of who wears what, which takes the place of the one before, with no row",
                caught: "it is held, and the list of before stays: readings go on to find their patients; nobody was deleted",
                alert: "delivery_held",
                runbook: "delivery_held",
                look: &[
                    "vitalake feed history device_assignments",
                    "vitalake query \"SELECT COUNT(*) AS assignments FROM raw.device_assignments\"",
                    "vitalake alert list",
                ],
            },
            Self::FeedLate => Guide {
                what: "readings as ever, and of the clinic's visits the file of three days ago, none of the days since",
                caught: "its rows are in raw.clinic_visits; the feed says that yesterday's file was due four hours ago, and stops saying it when the file comes: put visits_YYYYMMDD.csv of yesterday into deliveries/visits",
                alert: "visits_late",
                runbook: "feed_late",
                look: &[
                    "vitalake feed list",
                    "vitalake query \"SELECT at, scope, got AS seconds, passed FROM ops.checks WHERE rule = 'feed_late'\"",
                    "vitalake alert list",
                    "vitalake runbook feed_late",
                ],
            },
        }
    }

    /// Whether it happens to a feed: readings go on as they are.
    #[must_use]
    pub fn is_of_a_feed(self) -> bool {
        matches!(self, Self::FeedLate | Self::HalfAFile | Self::FileAgain | Self::SwappedColumns | Self::EmptySnapshot)
    }

    /// What is sent in place of an event.
    #[must_use]
    pub fn afflict(self, event: Event) -> Vec<Event> {
        if event.topic != READINGS_TOPIC || self.is_of_a_feed() {
            return vec![event];
        }
        match self {
            Self::StringsForNumbers if device(&event).is_multiple_of(2) => vec![changed(event, units)],
            Self::ClockAhead if device(&event).is_multiple_of(5) => {
                vec![changed(event, |reading| moved(reading, TimeDelta::days(1)))]
            }
            Self::ReplayFailsAgain if device(&event).is_multiple_of(5) => vec![changed(event, renamed)],
            Self::SilentSource => vec![changed(event, |reading| moved(reading, TimeDelta::hours(-SILENT_HOURS)))],
            Self::DuplicateStorm => vec![event; COPIES],
            // A feed's incidents change no reading.
            _ => vec![event],
        }
    }
}

/// The number in a device's name.
fn device(event: &Event) -> u64 {
    event.key.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(1)
}

fn changed(event: Event, change: impl FnOnce(&mut Value)) -> Event {
    let Ok(mut reading) = serde_json::from_str::<Value>(&event.value) else { return event };
    change(&mut reading);
    Event { value: reading.to_string(), ..event }
}

fn units(reading: &mut Value) {
    for (pointer, unit) in [("/vitals/hr", "bpm"), ("/battery", "%")] {
        if let Some(number) = reading.pointer_mut(pointer).filter(|value| value.is_number()) {
            *number = json!(format!("{number} {unit}"));
        }
    }
}

fn renamed(reading: &mut Value) {
    if let Some(device) = reading.get_mut("device_id")
        && let Some(name) = device.as_str().map(|name| name.replacen("dev-", "watch-", 1))
    {
        *device = json!(name);
    }
}

/// Lets a reading say another time.
fn moved(reading: &mut Value, by: TimeDelta) {
    let Some(time) = reading.get_mut("recorded_at") else { return };
    let told = time.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    if let Some(moved) = told.and_then(|told| told.checked_add_signed(by)) {
        *time = json!(moved.with_timezone(&chrono::Utc).to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::events::{APP_EVENTS_TOPIC, Mischief};
    use super::*;

    fn reading(device: u32) -> Event {
        Event {
            topic: READINGS_TOPIC,
            key: format!("dev-{device}"),
            value: json!({"device_id": format!("dev-{device}"), "recorded_at": "2026-01-01T00:00:00.5Z", "vitals": {"hr": 72}, "battery": 80})
                .to_string(),
            sent_at_ms: 0,
            mischief: Mischief::None,
        }
    }

    fn value(events: &[Event]) -> Value {
        serde_json::from_str(&events.first().unwrap().value).unwrap()
    }

    #[test]
    fn each_incident_changes_what_it_says_and_nothing_else() {
        let text = value(&Incident::StringsForNumbers.afflict(reading(2)));
        assert_eq!((&text["vitals"]["hr"], &text["battery"]), (&json!("72 bpm"), &json!("80 %")));
        assert_eq!(Incident::StringsForNumbers.afflict(reading(3)), [reading(3)]);
        let ahead = value(&Incident::ClockAhead.afflict(reading(5)));
        assert_eq!(ahead["recorded_at"], "2026-01-02T00:00:00.500000Z");
        assert_eq!(Incident::ClockAhead.afflict(reading(6)), [reading(6)]);
        assert_eq!(Incident::DuplicateStorm.afflict(reading(1)), vec![reading(1); COPIES]);
        let renamed = value(&Incident::ReplayFailsAgain.afflict(reading(5)));
        assert_eq!(renamed["device_id"], "watch-5");
        let old = value(&Incident::SilentSource.afflict(reading(1)));
        assert_eq!(old["recorded_at"], "2025-12-31T21:00:00.500000Z");
        let app = Event { topic: APP_EVENTS_TOPIC, ..reading(10) };
        for incident in [Incident::DuplicateStorm, Incident::SilentSource] {
            assert_eq!(incident.afflict(app.clone()), vec![app.clone()]);
        }
    }
}
