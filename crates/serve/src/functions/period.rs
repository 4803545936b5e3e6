//! ISO 8601 periods as Druid uses them to cut time: `PT1H`, `P1D`, `P1M`, and floors and shifts by them in a time zone.
//!
//! Times are microseconds since 1970 in UTC. Days and longer follow the local calendar; hours and shorter are exact
//! lengths, cut in local time when the zone is not UTC.

use chrono::{DateTime, Datelike, Days, Duration, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// A period: calendar months, days and an exact length; at least one is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    months: i64,
    days: i64,
    micros: i64,
}

const SECOND: i64 = 1_000_000;

impl Period {
    /// The period of a unit's name such as HOUR.
    pub fn of_unit(unit: &str) -> Option<&'static str> {
        Some(match unit.trim_end_matches('S') {
            "SECOND" => "PT1S",
            "MINUTE" => "PT1M",
            "HOUR" => "PT1H",
            "DAY" => "P1D",
            "WEEK" => "P1W",
            "MONTH" => "P1M",
            "QUARTER" => "P3M",
            "YEAR" => "P1Y",
            _ => return None,
        })
    }

    /// Reads an ISO 8601 period.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('P')?;
        let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
        let mut period = Self { months: 0, days: 0, micros: 0 };
        for (count, unit) in parts(date)? {
            match unit {
                'Y' => period.months = period.months.checked_add(count.checked_mul(12)?)?,
                'M' => period.months = period.months.checked_add(count)?,
                'W' => period.days = period.days.checked_add(count.checked_mul(7)?)?,
                'D' => period.days = period.days.checked_add(count)?,
                _ => return None,
            }
        }
        for (count, unit) in parts(time)? {
            let length = match unit {
                'H' => 3600 * SECOND,
                'M' => 60 * SECOND,
                'S' => SECOND,
                _ => return None,
            };
            period.micros = period.micros.checked_add(count.checked_mul(length)?)?;
        }
        (period.months > 0 || period.days > 0 || period.micros > 0).then_some(period)
    }

    /// The start of the period that holds a time; periods are counted from `origin`, or from 1970 (weeks from a Monday).
    pub fn floor(&self, micros: i64, origin: Option<i64>, zone: Tz) -> Option<i64> {
        if zone == Tz::UTC && self.months == 0 {
            let length = self.days.checked_mul(86_400 * SECOND)?.checked_add(self.micros)?;
            let start = origin.unwrap_or(if self.whole_weeks() { MONDAY } else { 0 });
            return micros.checked_sub(micros.checked_sub(start)?.rem_euclid(length));
        }
        let local = local(micros, zone)?;
        let start = match origin {
            Some(origin) => self::local(origin, zone)?,
            None => NaiveDateTime::new(
                if self.whole_weeks() { NaiveDate::from_ymd_opt(1969, 12, 29)? } else { NaiveDate::from_ymd_opt(1970, 1, 1)? },
                NaiveTime::MIN,
            ),
        };
        let floored = if self.months > 0 {
            let distance = months_of(local) - months_of(start);
            let mut steps = distance.div_euclid(self.months);
            if shift_months(start, steps.checked_mul(self.months)?)? > local {
                steps -= 1;
            }
            shift_months(start, steps.checked_mul(self.months)?)?
        } else {
            let length = self.days.checked_mul(86_400 * SECOND)?.checked_add(self.micros)?;
            let distance = (local - start).num_microseconds()?.rem_euclid(length);
            local.checked_sub_signed(Duration::microseconds(distance))?
        };
        // A local hour that exists twice: keep the one that the time is in.
        let candidates = candidates(floored, zone);
        candidates.iter().copied().filter(|start| *start <= micros).max().or_else(|| candidates.first().copied())
    }

    /// The first start of a period at or after a time.
    pub fn ceil(&self, micros: i64, origin: Option<i64>, zone: Tz) -> Option<i64> {
        let floor = self.floor(micros, origin, zone)?;
        if floor == micros { Some(micros) } else { self.shift(floor, 1, zone) }
    }

    /// A time moved by so many periods.
    pub fn shift(&self, micros: i64, count: i64, zone: Tz) -> Option<i64> {
        let mut moved = micros;
        if self.months != 0 || self.days != 0 {
            let mut local = local(micros, zone)?;
            local = shift_months(local, self.months.checked_mul(count)?)?;
            let days = self.days.checked_mul(count)?;
            local = if days >= 0 {
                local.checked_add_days(Days::new(days.unsigned_abs()))?
            } else {
                local.checked_sub_days(Days::new(days.unsigned_abs()))?
            };
            moved = candidates(local, zone).first().copied()?;
        }
        moved.checked_add(self.micros.checked_mul(count)?)
    }

    fn whole_weeks(&self) -> bool {
        self.micros == 0 && self.months == 0 && self.days % 7 == 0
    }
}

/// Monday 29 December 1969.
const MONDAY: i64 = -3 * 86_400 * SECOND;

fn parts(text: &str) -> Option<Vec<(i64, char)>> {
    let mut found = vec![];
    let mut digits = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
        } else {
            found.push((digits.parse().ok()?, letter));
            digits.clear();
        }
    }
    digits.is_empty().then_some(found)
}

/// The local time of an instant.
pub fn local(micros: i64, zone: Tz) -> Option<NaiveDateTime> {
    Some(DateTime::<Utc>::from_timestamp_micros(micros)?.with_timezone(&zone).naive_local())
}

/// The instants of a local time, earliest first: two in the hour that is repeated; in the hour that is left out, the
/// instant at which the clock jumps over it.
pub fn candidates(local: NaiveDateTime, zone: Tz) -> Vec<i64> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) => vec![time.timestamp_micros()],
        LocalResult::Ambiguous(first, second) => vec![first.timestamp_micros(), second.timestamp_micros()],
        LocalResult::None => {
            // Read with the offset of the day before: that is the instant as the clock would have shown it.
            let before = local.checked_sub_signed(Duration::days(1)).and_then(|day| zone.from_local_datetime(&day).earliest());
            before
                .and_then(|time| time.checked_add_signed(Duration::days(1)))
                .map(|time| time.timestamp_micros())
                .into_iter()
                .collect()
        }
    }
}

fn months_of(time: NaiveDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

fn shift_months(time: NaiveDateTime, months: i64) -> Option<NaiveDateTime> {
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months >= 0 { time.checked_add_months(count) } else { time.checked_sub_months(count) }
}
