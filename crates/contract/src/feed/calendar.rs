//! The times that a cron pattern names in a zone, daylight saving decided.
//!
//! A time of day that the clock skips runs at the first moment after the gap; one that the clock shows twice runs once,
//! at the first. A pattern whose hour is `*` or `*/n` goes by the hours that pass, both of a repeated one. Invariant:
//! asking for the next time again and again gives each time once, in order.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::schedule::Schedule;

/// The longest gap that a zone's clock has skipped: a whole day, at a date line that was moved.
const GAP_MINUTES_MAX: i64 = 26 * 60;
/// How many times may lie within a gap or a repeated stretch, by the minute.
const STEPS_MAX: usize = 4 * 26 * 60;

/// The times of a cron pattern in a zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    schedule: Schedule,
    zone: Tz,
    by_passing_hours: bool,
}

impl Calendar {
    /// Reads a pattern of five fields.
    ///
    /// # Errors
    /// Says in words why it is none, or that no day fits it.
    pub fn new(pattern: &str, zone: Tz) -> Result<Self, String> {
        let schedule: Schedule = pattern.parse()?;
        let hour = schedule.pattern().split_whitespace().nth(1).unwrap_or("*").to_owned();
        Ok(Self { by_passing_hours: hour.starts_with('*') || pattern.trim() == "@hourly", schedule, zone })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.schedule.pattern()
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first time after an instant, both in milliseconds since 1970 UTC.
    #[must_use]
    pub fn next_after_ms(&self, instant_ms: i64) -> Option<i64> {
        let after = self.local(instant_ms)?;
        if self.by_passing_hours {
            return self.schedule.next_in(&after).map(|next| next.timestamp_millis());
        }
        // A time within a gap lies before the instant on the clock, and comes after it.
        let mut clock = after.naive_local().checked_sub_signed(TimeDelta::minutes(GAP_MINUTES_MAX))?;
        for _ in 0..STEPS_MAX {
            clock = self.schedule.next_in(&clock.and_utc())?.naive_utc();
            let ms = self.instant_ms(clock)?;
            if ms > instant_ms {
                return Some(ms);
            }
        }
        None
    }

    /// The last time at or before an instant.
    #[must_use]
    pub fn last_ms(&self, instant_ms: i64) -> Option<i64> {
        let at = self.local(instant_ms)?;
        if self.by_passing_hours {
            return self.schedule.last_in(&at).map(|last| last.timestamp_millis());
        }
        let ahead = TimeDelta::minutes(GAP_MINUTES_MAX);
        let mut clock = at.naive_local().checked_add_signed(ahead)?;
        for _ in 0..STEPS_MAX {
            clock = self.schedule.last_in(&clock.and_utc())?.naive_utc();
            let ms = self.instant_ms(clock)?;
            if ms <= instant_ms {
                return Some(ms);
            }
            clock = clock.checked_sub_signed(TimeDelta::seconds(1))?;
        }
        None
    }

    /// How many times lie after one instant, up to and with another; counting ends at this many.
    #[must_use]
    pub fn count_between(&self, after_ms: i64, until_ms: i64, most: usize) -> usize {
        let next = |from_ms: &i64| self.next_after_ms(*from_ms).filter(|next_ms| *next_ms <= until_ms);
        std::iter::successors(next(&after_ms), next).take(most).count()
    }

    fn local(&self, ms: i64) -> Option<DateTime<Tz>> {
        DateTime::<Utc>::from_timestamp_millis(ms).map(|at| at.with_timezone(&self.zone))
    }

    /// The instant at which a clock of the zone first shows a time, or the first that it shows after a gap.
    fn instant_ms(&self, clock: NaiveDateTime) -> Option<i64> {
        (0..=GAP_MINUTES_MAX).find_map(|minutes| {
            match self.zone.from_local_datetime(&clock.checked_add_signed(TimeDelta::minutes(minutes))?) {
                MappedLocalTime::Single(at) => Some(at.timestamp_millis()),
                MappedLocalTime::Ambiguous(first, second) => Some(first.min(second).timestamp_millis()),
                MappedLocalTime::None => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    fn shown(ms: i64, zone: Tz) -> String {
        DateTime::<Utc>::from_timestamp_millis(ms).unwrap().with_timezone(&zone).to_rfc3339()
    }

    /// Three times in a row; the clock goes on at 02:00 on 2026-03-29, and back at 03:00 on 2026-10-25.
    #[rstest]
    #[case::skipped("30 2 * * *", "2026-03-28T12:00:00Z",
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"])]
    #[case::several_skipped_are_one("0,30 2 * * *", "2026-03-28T12:00:00Z",
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"])]
    #[case::skipped_into_another("30 2,3 * * *", "2026-03-28T12:00:00Z",
        ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"])]
    #[case::shown_twice("30 2 * * *", "2026-10-24T12:00:00Z",
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"])]
    #[case::two_shown_twice("15,45 2 * * *", "2026-10-24T12:00:00Z",
        ["2026-10-25T02:15:00+02:00", "2026-10-25T02:45:00+02:00", "2026-10-26T02:15:00+01:00"])]
    #[case::asked_in_the_second_of_two_hours("30 2 * * *", "2026-10-25T01:10:00Z",
        ["2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00", "2026-10-28T02:30:00+01:00"])]
    #[case::by_passing_hours_over_a_repeated_one("0 * * * *", "2026-10-24T23:30:00Z",
        ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"])]
    #[case::by_passing_hours_over_a_gap("*/30 * * * *", "2026-03-29T00:15:00Z",
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"])]
    #[case::a_weekday_in_the_zone("0 0 * * 1", "2026-10-24T12:00:00Z",
        ["2026-10-26T00:00:00+01:00", "2026-11-02T00:00:00+01:00", "2026-11-09T00:00:00+01:00"])]
    #[case::leap_day("0 6 29 2 *", "2026-01-01T00:00:00Z",
        ["2028-02-29T06:00:00+01:00", "2032-02-29T06:00:00+01:00", "2036-02-29T06:00:00+01:00"])]
    fn times_of_berlin(#[case] pattern: &str, #[case] from: &str, #[case] want: [&str; 3]) {
        let zone = chrono_tz::Europe::Berlin;
        let calendar = Calendar::new(pattern, zone).unwrap();
        let mut at = ms(from);
        for want in want {
            at = calendar.next_after_ms(at).unwrap();
            assert_eq!(shown(at, zone), want);
            assert_eq!(calendar.last_ms(at), Some(at));
            assert_eq!(calendar.last_ms(at + 59_000), Some(at));
        }
    }

    #[rstest]
    #[case("30 2 * * *", chrono_tz::Europe::Berlin, 365)]
    #[case("0 3 * * *", chrono_tz::America::New_York, 365)]
    #[case("15 2 * * *", chrono_tz::Australia::Lord_Howe, 365)]
    #[case("0 0 * * *", chrono_tz::America::Asuncion, 365)]
    fn a_daily_time_comes_once_a_day_all_year(#[case] pattern: &str, #[case] zone: Tz, #[case] want: usize) {
        let calendar = Calendar::new(pattern, zone).unwrap();
        let year = (ms("2026-01-01T12:00:00Z"), ms("2027-01-01T12:00:00Z"));
        assert_eq!(calendar.count_between(year.0, year.1, 1_000), want);
    }

    #[test]
    fn a_day_that_a_zone_skipped_runs_at_its_end() {
        let zone = chrono_tz::Pacific::Apia;
        let calendar = Calendar::new("0 6 30 12 *", zone).unwrap();
        let next = calendar.next_after_ms(ms("2011-12-01T00:00:00Z")).unwrap();
        assert_eq!(shown(next, zone), "2011-12-31T00:00:00+14:00");
    }

    #[rstest]
    #[case("0 0 31 4 *")]
    #[case("0 24 * * *")]
    #[case("daily")]
    fn what_never_comes_is_no_calendar(#[case] pattern: &str) {
        assert!(Calendar::new(pattern, chrono_tz::UTC).is_err());
    }
}
