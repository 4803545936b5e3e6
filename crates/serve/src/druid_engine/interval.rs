//! Stretches of time that a task replaces, aligned to the segments that they are kept in.
//!
//! Druid replaces whole segments: an interval of half a day would take the other half away too. Invariant: an interval
//! begins and ends where a segment does, and no two of a list touch.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Rows of a segment below which a coarser one is chosen.
const ROWS_PER_SEGMENT_MIN: u64 = 50_000;
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// The stretch of time that one segment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Granularity {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Granularity {
    /// The one for a dataset of so many rows between two moments, milliseconds since 1970. Days have nothing finer than a
    /// month worth a segment of its own.
    #[must_use]
    pub fn of(by_day: bool, rows: u64, span: Option<(i64, i64)>) -> Self {
        let days = span.map_or(1, |(first, last)| last.saturating_sub(first) / DAY_MS + 1).max(1);
        let per_day = rows / u64::try_from(days).unwrap_or(1);
        let finest = if by_day { Self::Month } else { Self::Day };
        let wanted = match (per_day, days) {
            (per_day, _) if per_day >= ROWS_PER_SEGMENT_MIN => Self::Day,
            (_, ..=31) => Self::Day,
            (per_day, days) if per_day * 30 >= ROWS_PER_SEGMENT_MIN || days <= 1_100 => Self::Month,
            _ => Self::Year,
        };
        wanted.max(finest)
    }

    /// Its name in a specification.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Month => "MONTH",
            Self::Year => "YEAR",
        }
    }

    /// Its length in SQL.
    #[must_use]
    pub fn period(self) -> &'static str {
        match self {
            Self::Hour => "PT1H",
            Self::Day => "P1D",
            Self::Month => "P1M",
            Self::Year => "P1Y",
        }
    }

    /// The beginning of the segment that a moment lies in, milliseconds since 1970.
    #[must_use]
    pub fn floor(self, at_ms: i64) -> i64 {
        match self {
            Self::Hour => at_ms.div_euclid(HOUR_MS).saturating_mul(HOUR_MS),
            Self::Day => at_ms.div_euclid(DAY_MS).saturating_mul(DAY_MS),
            Self::Month | Self::Year => {
                let Some(at) = DateTime::<Utc>::from_timestamp_millis(at_ms) else { return at_ms };
                let month = if self == Self::Month { at.month() } else { 1 };
                start_of(NaiveDate::from_ymd_opt(at.year(), month, 1)).unwrap_or(at_ms)
            }
        }
    }

    /// The beginning of the one after it.
    #[must_use]
    pub fn next(self, at_ms: i64) -> i64 {
        let floor = self.floor(at_ms);
        let months = match self {
            Self::Hour => return floor.saturating_add(HOUR_MS),
            Self::Day => return floor.saturating_add(DAY_MS),
            Self::Month => 1,
            Self::Year => 12,
        };
        let start = DateTime::<Utc>::from_timestamp_millis(floor).map(|at| at.date_naive());
        start_of(start.and_then(|day| day.checked_add_months(Months::new(months)))).unwrap_or(at_ms)
    }
}

fn start_of(day: Option<NaiveDate>) -> Option<i64> {
    Some(day?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// From a moment up to another, which is not in it; milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    /// Its first moment.
    pub start_ms: i64,
    /// The first moment after it.
    pub end_ms: i64,
}

impl Interval {
    /// Whether a moment lies in it.
    #[must_use]
    pub fn holds(&self, at_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&at_ms)
    }

    /// Whether something from one moment to another, both included, has a part in it.
    #[must_use]
    pub fn meets(&self, first_ms: i64, last_ms: i64) -> bool {
        first_ms < self.end_ms && last_ms >= self.start_ms
    }

    /// One as Druid writes it: `2024-03-01T00:00:00.000Z/2024-03-04T00:00:00.000Z`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (start, end) = text.split_once('/')?;
        let ms = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis());
        Some(Self { start_ms: ms(start)?, end_ms: ms(end)? })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |ms| DateTime::<Utc>::UNIX_EPOCH.checked_add_signed(TimeDelta::milliseconds(ms)).unwrap_or_default();
        let text = |ms| at(ms).to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(f, "{}/{}", text(self.start_ms), text(self.end_ms))
    }
}

/// The segments that stretches of time lie in, both ends of each included, joined where they touch.
#[must_use]
pub fn aligned(stretches: impl IntoIterator<Item = (i64, i64)>, granularity: Granularity) -> Vec<Interval> {
    let whole = |(first, last): (i64, i64)| Interval {
        start_ms: granularity.floor(first.min(last)),
        end_ms: granularity.next(last.max(first)),
    };
    let mut all: Vec<Interval> = stretches.into_iter().map(whole).collect();
    all.sort_unstable();
    let mut joined: Vec<Interval> = Vec::with_capacity(all.len());
    for next in all {
        match joined.last_mut() {
            Some(last) if next.start_ms <= last.end_ms => last.end_ms = last.end_ms.max(next.end_ms),
            _ => joined.push(next),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn intervals_are_whole_segments_and_joined_where_they_touch() {
        let stretches = [
            (ms("2024-03-02T10:00:00Z"), ms("2024-03-02T11:00:00Z")),
            (ms("2024-02-29T23:59:59.999Z"), ms("2024-03-01T00:00:00Z")),
            (ms("2023-12-31T00:00:00Z"), ms("2023-12-31T00:00:00Z")),
        ];
        let of = |granularity| aligned(stretches, granularity).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            of(Granularity::Day),
            ["2023-12-31T00:00:00.000Z/2024-01-01T00:00:00.000Z", "2024-02-29T00:00:00.000Z/2024-03-03T00:00:00.000Z"]
        );
        assert_eq!(
            of(Granularity::Month),
            ["2023-12-01T00:00:00.000Z/2024-01-01T00:00:00.000Z", "2024-02-01T00:00:00.000Z/2024-04-01T00:00:00.000Z"]
        );
        assert_eq!(of(Granularity::Year), ["2023-01-01T00:00:00.000Z/2025-01-01T00:00:00.000Z"]);
    }

    #[test]
    fn moments_before_1970_lie_in_the_segment_that_holds_them() {
        for granularity in [Granularity::Hour, Granularity::Day, Granularity::Month, Granularity::Year] {
            for at in [ms("1969-12-31T23:59:59.999Z"), ms("0001-01-01T00:00:00Z"), ms("2024-02-29T12:00:00Z"), 0] {
                let (start, end) = (granularity.floor(at), granularity.next(at));
                assert!(start <= at && at < end && granularity.floor(end) == end, "{granularity:?} {at}");
                let interval = Interval { start_ms: start, end_ms: end };
                assert_eq!(Interval::parse(&interval.to_string()), Some(interval));
            }
        }
    }

    #[test]
    fn few_rows_make_coarse_segments_and_days_never_a_segment_each() {
        let years = |n: i64| Some((0, n * 366 * DAY_MS));
        assert_eq!(Granularity::of(false, 1_000, Some((0, DAY_MS))), Granularity::Day);
        assert_eq!(Granularity::of(false, 100_000_000, years(1)), Granularity::Day);
        assert_eq!(Granularity::of(false, 1_000_000, years(1)), Granularity::Month);
        assert_eq!(Granularity::of(false, 1_000, years(20)), Granularity::Year);
        assert_eq!(Granularity::of(true, 1_000, Some((0, DAY_MS))), Granularity::Month);
        assert_eq!(Granularity::of(false, 0, None), Granularity::Day);
    }
}
