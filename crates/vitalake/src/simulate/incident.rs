//! Something that goes wrong on purpose, and what the platform is to make of it.
//!
//! An incident changes the readings of a run and nothing else; what catches it (alerts, runbooks) lies in the example
//! project, and `guide` tells a person. Pure. Invariant: the same event with the same number is always afflicted alike.

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

impl Incident {
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
