//! Which event comes next: a reading or an app event, on time or late, sound or broken on purpose, once or twice.
//!
//! Pure: `Population::event(i, time)` depends on its arguments and the seed alone. Invariant: the stated shares are of
//! the numbered events; a duplicate is a second copy of the same bytes.

use chrono::{DateTime, SecondsFormat};

use crate::simulate::noise::{About, Noise};
use crate::simulate::wearer::Wearer;

/// The topic of device readings, as in the example's contract.
pub const READINGS_TOPIC: &str = "wearable-readings";
/// The topic of app events.
pub const APP_EVENTS_TOPIC: &str = "app-events";

const MINUTE_MS: i64 = 60_000;

/// What was done to an event on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing.
    None,
    /// It tells of minutes to hours ago.
    Late,
    /// It is to be sent twice.
    Duplicate,
    /// It breaks the contract.
    Malformed,
}

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where to.
    pub topic: &'static str,
    /// The device or the app user: events of one stay in order.
    pub key: String,
    /// The JSON.
    pub value: String,
    /// When it is sent, in milliseconds since 1970.
    pub sent_at_ms: i64,
    /// What was done to it.
    pub mischief: Mischief,
}

/// Shares of events that are not as they should be.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Late ones.
    pub late: f64,
    /// Doubled ones.
    pub duplicate: f64,
    /// Broken ones.
    pub malformed: f64,
}

/// Everyone who wears a device and uses the app.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    noise: Noise,
    wearers: u32,
    shares: Shares,
    interval_ms: f64,
}

impl Population {
    /// So many wearers, whose events come at `rate` a second all together.
    #[must_use]
    pub fn new(seed: u64, wearers: u32, rate: f64, shares: Shares) -> Self {
        let interval_ms = if rate > 0.0 { f64::from(wearers) / rate * 1_000.0 } else { 1_000.0 };
        Self { noise: Noise(seed), wearers: wearers.max(1), shares, interval_ms }
    }

    /// The event with this number, sent at this time in microseconds since 1970. Nine of ten are readings.
    #[must_use]
    pub fn event(&self, number: u64, at_us: i64) -> Event {
        let mischief = self.mischief(number);
        let told_us = if mischief == Mischief::Late { at_us - self.lateness_ms(number) * 1_000 } else { at_us };
        let mut event = if number % 10 == 9 {
            let who = self.noise.bits(About::AppUser, number, 0) % u64::from(self.wearers);
            self.app_event(self.wearer(who), number, told_us)
        } else {
            self.reading(self.worn(number - number / 10, told_us / 1_000), told_us, self.interval_ms)
        };
        event.sent_at_ms = at_us / 1_000;
        event.mischief = mischief;
        if mischief == Mischief::Malformed {
            event.value = self.broken(&event.value, number);
        }
        event
    }

    /// One minute of history: a reading of each wearer whose device is worn, and an app event of some.
    pub fn minute(self, minute: i64) -> impl Iterator<Item = Event> {
        (0..u64::from(self.wearers)).flat_map(move |who| {
            let wearer = self.wearer(who);
            let at_ms = minute * MINUTE_MS + i64::from(wearer.0 % 60) * 1_000;
            let moment = minute.cast_unsigned();
            let reading = wearer.wears(self.noise, at_ms).then(|| self.reading(wearer, at_ms * 1_000, 60_000.0));
            let uses_app = self.noise.share(About::AppUser, who, moment) < 0.01;
            let app =
                uses_app.then(|| self.app_event(wearer, self.noise.bits(About::AppUser, who, moment), at_ms * 1_000));
            [reading, app].into_iter().flatten()
        })
    }

    fn wearer(&self, index: u64) -> Wearer {
        Wearer(u32::try_from(index % u64::from(self.wearers)).unwrap_or(0) + 1)
    }

    /// The next wearer, in turn, whose device is on the wrist.
    fn worn(&self, turn: u64, at_ms: i64) -> Wearer {
        let candidates = (0..u64::from(self.wearers).min(100)).map(|step| self.wearer(turn + step));
        candidates.into_iter().find(|wearer| wearer.wears(self.noise, at_ms)).unwrap_or_else(|| self.wearer(turn))
    }

    fn reading(&self, wearer: Wearer, at_us: i64, interval_ms: f64) -> Event {
        let reading = wearer.reading(self.noise, at_us / 1_000, interval_ms);
        let value = format!(
            r#"{{"device_id":"{}","recorded_at":"{}","vitals":{{"hr":{},"spo2":{},"skin_temp":{:.1}}},"steps":{},"battery":{}}}"#,
            wearer.device(),
            rfc3339(at_us),
            reading.heart_rate,
            reading.oxygen,
            reading.skin_temperature,
            reading.steps,
            reading.battery,
        );
        Event {
            topic: READINGS_TOPIC,
            key: wearer.device(),
            value,
            sent_at_ms: at_us / 1_000,
            mischief: Mischief::None,
        }
    }

    fn app_event(&self, wearer: Wearer, number: u64, at_us: i64) -> Event {
        let (event, screen) = match self.noise.bits(About::AppEvent, number, 0) % 10 {
            0 | 1 => ("session_started", "home"),
            2..=4 => ("screen_viewed", "trends"),
            5 | 6 => ("screen_viewed", "home"),
            7 => ("medication_logged", "medication"),
            8 => ("symptom_reported", "symptoms"),
            _ => ("message_read", "messages"),
        };
        let platform = if wearer.0.is_multiple_of(3) { "android" } else { "ios" };
        let id = self.noise.bits(About::AppEvent, number, at_us.cast_unsigned());
        let value = format!(
            r#"{{"event_id":"evt-{id:016x}","user_id":"{}","occurred_at":"{}","event":"{event}","context":{{"screen":"{screen}","platform":"{platform}"}}}}"#,
            wearer.app_user(),
            rfc3339(at_us),
        );
        Event {
            topic: APP_EVENTS_TOPIC,
            key: wearer.app_user(),
            value,
            sent_at_ms: at_us / 1_000,
            mischief: Mischief::None,
        }
    }

    fn mischief(&self, number: u64) -> Mischief {
        let draw = self.noise.share(About::Mischief, number, 0);
        let Shares { late, duplicate, malformed } = self.shares;
        if draw < malformed {
            Mischief::Malformed
        } else if draw < malformed + duplicate {
            Mischief::Duplicate
        } else if draw < malformed + duplicate + late {
            Mischief::Late
        } else {
            Mischief::None
        }
    }

    /// Five minutes to six hours, never a whole number of seconds: a late event is not another event's double.
    fn lateness_ms(&self, number: u64) -> i64 {
        let minutes = 5 + (self.noise.bits(About::MischiefKind, number, 0) % 355).cast_signed();
        let odd = 1 + (self.noise.bits(About::MischiefKind, number, 1) % 997).cast_signed();
        minutes * MINUTE_MS + odd
    }

    fn broken(&self, value: &str, number: u64) -> String {
        match self.noise.bits(About::MischiefKind, number, 2) % 5 {
            0 => value.get(..value.len() / 2).unwrap_or_default().to_owned(),
            1 => value.replace("T", " at "),
            2 => value.replace(r#""hr":"#, r#""hr":9"#).replace(r#""event":"#, r#""happened":"#),
            3 => value.replace("_at\":", "_when\":"),
            _ => format!("firmware panic: {number}"),
        }
    }
}

/// RFC 3339 in UTC, with milliseconds, or with microseconds where there are any.
fn rfc3339(at_us: i64) -> String {
    let format = if at_us % 1_000 == 0 { SecondsFormat::Millis } else { SecondsFormat::Micros };
    DateTime::from_timestamp_micros(at_us).unwrap_or_default().to_rfc3339_opts(format, true)
}
