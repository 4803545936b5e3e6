//! A cron pattern of five fields: when a rule about a set is looked at, in UTC; the times of a feed, in its zone.
//!
//! Read by `compile`, asked by whoever evaluates rules. Invariant: a schedule that was read has a next time.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// When rules are looked at that say nothing of it: every quarter of an hour.
pub const SCHEDULE_DEFAULT: &str = "*/15 * * * *";

/// The times that a pattern names.
#[derive(Clone, Debug)]
pub struct Schedule(Arc<Cron>);

impl Schedule {
    /// The first time after an instant, both in milliseconds since 1970 UTC.
    #[must_use]
    pub fn next_after_ms(&self, instant_ms: i64) -> Option<i64> {
        let after = DateTime::<Utc>::from_timestamp_millis(instant_ms)?;
        self.0.find_next_occurrence(&after, false).ok().map(|next| next.timestamp_millis())
    }

    /// The first time after another, by the clock that it is given in.
    pub(crate) fn next_in<Z: TimeZone>(&self, after: &DateTime<Z>) -> Option<DateTime<Z>> {
        self.0.find_next_occurrence(after, false).ok()
    }

    /// The last time at or before another, by the clock that it is given in.
    pub(crate) fn last_in<Z: TimeZone>(&self, at: &DateTime<Z>) -> Option<DateTime<Z>> {
        self.0.find_previous_occurrence(at, true).ok()
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        static PARSER: LazyLock<CronParser> =
            LazyLock::new(|| CronParser::builder().seconds(Seconds::Disallowed).build());
        let cron = PARSER.parse(text.trim()).map_err(|error| error.to_string().to_lowercase())?;
        let schedule = Self(Arc::new(cron));
        schedule.next_after_ms(0).map(|_| schedule.clone()).ok_or_else(|| "no day fits it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(SCHEDULE_DEFAULT, 1_000, Some(900_000))]
    #[case(SCHEDULE_DEFAULT, 900_000, Some(1_800_000))]
    #[case("0 20 * * *", 0, Some(72_000_000))]
    #[case("@daily", 1, Some(86_400_000))]
    fn the_next_time_is_after_the_instant(#[case] text: &str, #[case] at_ms: i64, #[case] next_ms: Option<i64>) {
        assert_eq!(text.parse::<Schedule>().ok().and_then(|s| s.next_after_ms(at_ms)), next_ms);
    }

    #[rstest]
    #[case("")]
    #[case("every hour")]
    #[case("0 25 * * *")]
    #[case("0 0 30 2 *")]
    #[case("* * * * * *")]
    #[case("0 20 * *")]
    fn what_is_no_schedule(#[case] text: &str) {
        assert!(text.parse::<Schedule>().is_err());
    }
}
