//! Days, instants and zones as numbers: the proleptic Gregorian calendar over the whole range of Spark's DATE and
//! TIMESTAMP, without a library's own limits.
//!
//! Pure; under casts, date functions and patterns. Invariant: nothing here overflows or panics; what is outside of a
//! type's range is `None`.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

pub(crate) const DAY_US: i64 = 86_400_000_000;
pub(crate) const SECOND_US: i64 = 1_000_000;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
}

/// The calendar day of a number of days since 1970.
pub(crate) fn civil(days: i64) -> Civil {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    Civil { year, month, day: doy - (153 * mp + 2) / 5 + 1 }
}

/// Days since 1970 of a day that the calendar has.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) || year.abs() > 10_000_000 {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (month + 9) % 12;
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    Some(era * 146_097 + doe - 719_468)
}

pub(crate) fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap(year)),
        _ => 31,
    }
}

pub(crate) fn day_of_year(days: i64) -> i64 {
    let year = civil(days).year;
    days - days_of(year, 1, 1).unwrap_or(days) + 1
}

/// One for Monday to seven for Sunday.
pub(crate) fn iso_weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// The ISO week and the year that it belongs to.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days + 4 - iso_weekday(days);
    (civil(thursday).year, (day_of_year(thursday) - 1) / 7 + 1)
}

/// A day moved by months; where the month is shorter, its last day.
pub(crate) fn plus_months(days: i64, months: i64) -> Option<i64> {
    let Civil { year, month, day } = civil(days);
    let total = year.checked_mul(12)?.checked_add(month - 1)?.checked_add(months)?;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_of(year, month, day.min(month_days(year, month)))
}

/// The day of an instant, and the microseconds since its midnight.
pub(crate) fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(DAY_US), micros.rem_euclid(DAY_US))
}

pub(crate) fn day32(days: i64) -> Option<i32> {
    i32::try_from(days).ok()
}

/// A time zone: a fixed offset, or rules.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zone {
    Fixed(i64),
    Rules(Tz),
}

impl Zone {
    /// A zone by the names that Spark knows.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        if matches!(name, "Z" | "UTC" | "GMT" | "UT") {
            return Some(Self::Fixed(0));
        }
        let offset = name.strip_prefix("UTC").or_else(|| name.strip_prefix("GMT")).or_else(|| name.strip_prefix("UT"));
        let offset = offset.filter(|o| o.starts_with(['+', '-'])).unwrap_or(name);
        if offset.starts_with(['+', '-']) {
            return parse_offset(offset).map(Self::Fixed);
        }
        let short = match name {
            "PST" => "America/Los_Angeles",
            "CST" => "America/Chicago",
            "CTT" => "Asia/Shanghai",
            "JST" => "Asia/Tokyo",
            "IST" => "Asia/Kolkata",
            "ECT" => "Europe/Paris",
            "BST" => "Asia/Dhaka",
            "ACT" => "Australia/Darwin",
            "AET" => "Australia/Sydney",
            other => other,
        };
        match name {
            "EST" => return Some(Self::Fixed(-5 * 3600)),
            "MST" => return Some(Self::Fixed(-7 * 3600)),
            "HST" => return Some(Self::Fixed(-10 * 3600)),
            _ => {}
        }
        short.parse::<Tz>().ok().map(Self::Rules)
    }

    /// Seconds to add to UTC at an instant.
    pub(crate) fn offset_at(self, micros: i64) -> i64 {
        match self {
            Self::Fixed(seconds) => seconds,
            Self::Rules(zone) => match DateTime::from_timestamp(micros.div_euclid(SECOND_US), 0) {
                Some(at) => i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The instant of a local time. One that the clock skips is moved on by the gap; of two the first is taken.
    pub(crate) fn to_utc(self, local: i64) -> Option<i64> {
        let Self::Rules(zone) = self else {
            return local.checked_sub(self.offset_at(0) * SECOND_US);
        };
        let Some(naive) = DateTime::from_timestamp(local.div_euclid(SECOND_US), 0).map(|at| at.naive_utc()) else {
            return Some(local);
        };
        let offset = match zone.offset_from_local_datetime(&naive) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                i64::from(offset.fix().local_minus_utc())
            }
            LocalResult::None => offset_before(&zone, naive),
        };
        local.checked_sub(offset * SECOND_US)
    }

    /// The local time of an instant, as microseconds that are read as if in UTC.
    pub(crate) fn to_local(self, micros: i64) -> Option<i64> {
        micros.checked_add(self.offset_at(micros) * SECOND_US)
    }
}

/// The offset that held before a gap.
fn offset_before(zone: &Tz, naive: NaiveDateTime) -> i64 {
    let earlier = naive.checked_sub_signed(chrono::TimeDelta::hours(26)).unwrap_or(naive);
    i64::from(zone.offset_from_utc_datetime(&earlier).fix().local_minus_utc())
}

/// `+1`, `+01`, `+0130`, `+01:30`, `+01:30:15`, in seconds.
fn parse_offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let rest = text.get(1..)?;
    let parts: Vec<&str> = if rest.contains(':') {
        rest.split(':').collect()
    } else {
        match rest.len() {
            1 | 2 => vec![rest],
            4 => vec![rest.get(..2)?, rest.get(2..)?],
            6 => vec![rest.get(..2)?, rest.get(2..4)?, rest.get(4..)?],
            _ => return None,
        }
    };
    if parts.is_empty() || parts.len() > 3 {
        return None;
    }
    let mut seconds = 0;
    for (index, part) in parts.iter().enumerate() {
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: i64 = part.parse().ok()?;
        if index > 0 && value > 59 {
            return None;
        }
        seconds = seconds * 60 + value;
    }
    for _ in parts.len()..3 {
        seconds *= 60;
    }
    (seconds <= 18 * 3600).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn chrono_days(year: i32, month: u32, day: u32) -> i64 {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
        NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default().signed_duration_since(epoch).num_days()
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (year, month, day) in [(1, 1, 1), (1582, 10, 15), (1969, 12, 31), (2000, 2, 29), (9999, 12, 31)] {
            let days = days_of(i64::from(year), i64::from(month), i64::from(day));
            assert_eq!(days, Some(chrono_days(year, month, day)));
            let back = civil(days.unwrap_or_default());
            assert_eq!((back.year, back.month, back.day), (i64::from(year), i64::from(month), i64::from(day)));
        }
        assert_eq!(days_of(2023, 2, 29), None);
    }

    #[test]
    fn a_skipped_local_time_is_moved_on_by_the_gap() {
        let berlin = Zone::parse("Europe/Berlin").unwrap_or(Zone::Fixed(0));
        let at = |day: i64, hour: i64| (day * 24 + hour) * 3600 * SECOND_US;
        let gap = days_of(2024, 3, 31).unwrap_or_default();
        assert_eq!(berlin.to_utc(at(gap, 2)), Some(at(gap, 1)));
    }
}
