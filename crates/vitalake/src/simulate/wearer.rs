//! One wearer's body and device at a moment: what a wearable would say.
//!
//! Pure: a reading depends on the seed, the wearer and the moment alone. Invariant: readings lie within the ranges that
//! the example's contract allows; what breaks it is made on purpose, in `events`.

use crate::simulate::noise::{About, Noise};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const HOUR_REAL_MS: f64 = 3_600_000.0;

/// A wearer's number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wearer(pub u32);

/// What the device measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Beats a minute.
    pub heart_rate: i64,
    /// Percent.
    pub oxygen: i64,
    /// Degrees Celsius.
    pub skin_temperature: f64,
    /// Since the reading before.
    pub steps: i64,
    /// Percent.
    pub battery: i64,
}

/// What the wearer does for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Activity {
    Asleep,
    Resting,
    Walking,
    Exercising,
}

impl Wearer {
    /// The device's id.
    #[must_use]
    pub fn device(self) -> String {
        format!("dev-{:04}", self.0)
    }

    /// The id in the app.
    #[must_use]
    pub fn app_user(self) -> String {
        format!("app-{:04}", self.0)
    }

    /// Whether the device is on the wrist: not while it charges, and not for some half hours of a day.
    #[must_use]
    pub fn wears(self, noise: Noise, at_ms: i64) -> bool {
        self.charge_hours(noise, at_ms) < BATTERY_HOURS
            && noise.share(About::Worn, self.number(), block(at_ms, 30 * MINUTE_MS)) > 0.04
    }

    /// What the device measures at a moment, `interval_ms` after its last reading.
    #[must_use]
    pub fn reading(self, noise: Noise, at_ms: i64, interval_ms: f64) -> Reading {
        let activity = self.activity(noise, at_ms);
        let moment = at_ms.cast_unsigned();
        let (beats, steps_a_minute) = match activity {
            Activity::Asleep => (-7.0, 0.0),
            Activity::Resting => (6.0, 3.0),
            Activity::Walking => (28.0, 95.0),
            Activity::Exercising => (70.0, 150.0),
        };
        let resting = 54.0 + 20.0 * noise.share(About::Trait, self.number(), 1);
        let heart_rate = resting + beats + 4.0 * noise.bell(About::HeartRate, self.number(), moment);
        let asleep = if activity == Activity::Asleep { 1.0 } else { 0.0 };
        let oxygen = 97.6 - 0.9 * asleep + 0.9 * noise.bell(About::Oxygen, self.number(), moment);
        let skin = 32.8 + 1.1 * asleep + 0.4 * noise.bell(About::SkinTemperature, self.number(), moment);
        let expected = steps_a_minute * interval_ms / 60_000.0;
        let steps = expected + noise.share(About::Steps, self.number(), moment);
        Reading {
            heart_rate: whole(heart_rate.round(), 35, 205),
            oxygen: whole(oxygen.round(), 85, 100),
            skin_temperature: (skin * 10.0).round() / 10.0,
            steps: whole(steps.floor(), 0, 400),
            battery: whole((100.0 - 97.0 * self.charge_hours(noise, at_ms) / BATTERY_HOURS).round(), 1, 100),
        }
    }

    fn activity(self, noise: Noise, at_ms: i64) -> Activity {
        // Each wearer's night is shifted by up to two hours against the others'.
        let shift = 4.0 * noise.share(About::Trait, self.number(), 2) - 2.0;
        let hour = (hours(at_ms) + shift).rem_euclid(24.0);
        if !(6.5..23.0).contains(&hour) {
            return Activity::Asleep;
        }
        match noise.share(About::Activity, self.number(), block(at_ms, 10 * MINUTE_MS)) {
            draw if draw < 0.03 => Activity::Exercising,
            draw if draw < 0.20 => Activity::Walking,
            _ => Activity::Resting,
        }
    }

    /// Hours since the device left its charger; at and past [`BATTERY_HOURS`] it is on it.
    fn charge_hours(self, noise: Noise, at_ms: i64) -> f64 {
        let cycle = BATTERY_HOURS + 1.5;
        (hours(at_ms) + cycle * noise.share(About::Trait, self.number(), 3)).rem_euclid(cycle)
    }

    fn number(self) -> u64 {
        u64::from(self.0)
    }
}

const BATTERY_HOURS: f64 = 60.0;

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double's 53 bits")]
fn hours(at_ms: i64) -> f64 {
    (at_ms / HOUR_MS) as f64 + at_ms.rem_euclid(HOUR_MS) as f64 / HOUR_REAL_MS
}

fn block(at_ms: i64, size_ms: i64) -> u64 {
    at_ms.div_euclid(size_ms).cast_unsigned()
}

#[expect(clippy::cast_possible_truncation, reason = "the values are far below 2^53 and then clamped")]
fn whole(value: f64, least: i64, most: i64) -> i64 {
    (value as i64).clamp(least, most)
}
