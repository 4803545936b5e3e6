//! ISO 8601 periods as Druid uses them to cut time: `PT1H`, `P1D`, `P1M`, and floors and shifts by them in a time zone.
//!
//! Times are microseconds since 1970 in UTC. Days and longer follow the local calendar; hours and shorter are exact
//! lengths.

use arrow::array::TimestampMicrosecondArray;
use chrono::{
    DateTime, Datelike, Days, Duration, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc,
};

use super::zone::Zone;

/// A period: calendar months, weeks, days and an exact length; at least one is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    months: i64,
    weeks: i64,
    days: i64,
    micros: i64,
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Steps of one length, counted from a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Even {
    start: i64,
    length: i64,
}

impl Even {
    /// Times within so many microseconds of 1970 (142 years) are exact as a float, and so is a step's number.
    const NEAR: u64 = 1 << 52;

    /// The start of the step that holds a time.
    pub fn floor(self, micros: i64) -> Option<i64> {
        micros.checked_sub(micros.checked_sub(self.start)?.rem_euclid(self.length))
    }

    /// The same for many times, without a division for each.
    pub fn floor_all(self, times: &TimestampMicrosecondArray) -> TimestampMicrosecondArray {
        let near = |time: i64| time.unsigned_abs() < Self::NEAR / 2;
        if !near(self.start) || !times.values().iter().all(|time| near(*time)) {
            return times.iter().map(|time| self.floor(time?)).collect();
        }
        let Self { start, length } = self;
        let share = 1.0 / length as f64;
        times.unary(|time| {
            let distance = time - start;
            let rest = distance - (distance as f64 * share) as i64 * length;
            // The product is cut toward zero and may be one off.
            time - if rest < 0 { rest + length } else { rest - if rest >= length { length } else { 0 } }
        })
    }
}

impl Period {
    /// The period of a unit's name such as HOUR.
    pub fn of_unit(unit: &str) -> Option<&'static str> {
        Some(match unit {
            "SECOND" => "PT1S",
            "MINUTE" => "PT1M",
            "HOUR" => "PT1H",
            "DAY" => "P1D",
            "WEEK" => "P1W",
            "MONTH" => "P1M",
            "QUARTER" => "P3M",
            "YEAR" => "P1Y",
            "DECADE" => "P10Y",
            "CENTURY" => "P100Y",
            "MILLENNIUM" => "P1000Y",
            _ => return None,
        })
    }

    /// Reads an ISO 8601 period.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('P')?;
        let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
        let mut period = Self { months: 0, weeks: 0, days: 0, micros: 0 };
        for (count, unit) in parts(date)? {
            match unit {
                'Y' => period.months = period.months.checked_add(count.checked_mul(12)?)?,
                'M' => period.months = period.months.checked_add(count)?,
                'W' => period.weeks = period.weeks.checked_add(count)?,
                'D' => period.days = period.days.checked_add(count)?,
                _ => return None,
            }
        }
        for (count, unit) in parts(&whole_seconds(time, &mut period.micros)?)? {
            let length = match unit {
                'H' => 3600 * SECOND,
                'M' => 60 * SECOND,
                'S' => SECOND,
                _ => return None,
            };
            period.micros = period.micros.checked_add(count.checked_mul(length)?)?;
        }
        (period.months > 0 || period.weeks > 0 || period.days > 0 || period.micros > 0).then_some(period)
    }

    /// The start of the period that holds a time; periods are counted from `origin`, or from 1970. A single week begins
    /// on a Monday; several are counted from 1970 like everything else.
    pub fn floor(&self, micros: i64, origin: Option<i64>, zone: Zone) -> Option<i64> {
        if let Some(even) = self.even(origin, zone) {
            return even.floor(micros);
        }
        if self.months == 0 && self.weeks == 0 && self.days == 0 {
            return self.floor_shown(micros, zone);
        }
        let local = local(micros, zone)?;
        let start = match origin {
            Some(origin) => self::local(origin, zone)?,
            None if self.is_one_week() => NaiveDate::from_ymd_opt(1969, 12, 29)?.and_time(NaiveTime::MIN),
            None => NaiveDate::from_ymd_opt(1970, 1, 1)?.and_time(NaiveTime::MIN),
        };
        let floored = if self.months > 0 && self.weeks == 0 && self.days == 0 && self.micros == 0 {
            let distance = months_of(local) - months_of(start);
            let mut steps = distance.div_euclid(self.months);
            if shift_months(start, steps.checked_mul(self.months)?)? > local {
                steps -= 1;
            }
            shift_months(start, steps.checked_mul(self.months)?)?
        } else if self.months > 0 {
            return None;
        } else {
            let length = self.length()?;
            let distance = (local - start).num_microseconds()?.rem_euclid(length);
            local.checked_sub_signed(Duration::microseconds(distance))?
        };
        // A local hour that exists twice: keep the one that the time is in.
        let candidates = candidates(floored, zone);
        candidates.iter().copied().filter(|start| *start <= micros).max().or_else(|| candidates.first().copied())
    }

    /// The period as steps of one exact length, where it is that in this zone.
    pub fn even(&self, origin: Option<i64>, zone: Zone) -> Option<Even> {
        if self.months != 0 {
            return None;
        }
        if zone == Zone::UTC {
            let monday = if self.is_one_week() { -3 * DAY } else { 0 };
            return Some(Even { start: origin.unwrap_or(monday), length: self.length()? });
        }
        if self.weeks != 0 || self.days != 0 || (origin.is_none() && self.is_single()) {
            return None;
        }
        // As in Druid, exact lengths are counted from the local midnight of 1970 and ignore changes of the clock.
        let midnight = NaiveDate::from_ymd_opt(1970, 1, 1)?.and_time(NaiveTime::MIN);
        let start = origin.or_else(|| candidates(midnight, zone).first().copied())?;
        Some(Even { start, length: self.micros })
    }

    /// A single hour, minute or second begins where the local clock shows its start.
    fn floor_shown(&self, micros: i64, zone: Zone) -> Option<i64> {
        let offset = local(micros, zone)?.and_utc().timestamp_micros().checked_sub(micros)?;
        micros.checked_sub(micros.checked_add(offset)?.rem_euclid(self.micros))
    }

    fn is_single(&self) -> bool {
        [3600 * SECOND, 60 * SECOND, SECOND].contains(&self.micros)
    }

    /// The first start of a period at or after a time.
    pub fn ceil(&self, micros: i64, origin: Option<i64>, zone: Zone) -> Option<i64> {
        let floor = self.floor(micros, origin, zone)?;
        if floor == micros { Some(micros) } else { self.shift(floor, 1, zone) }
    }

    /// A time moved by so many periods.
    pub fn shift(&self, micros: i64, count: i64, zone: Zone) -> Option<i64> {
        let mut moved = micros;
        if self.months != 0 || self.weeks != 0 || self.days != 0 {
            let mut local = local(micros, zone)?;
            local = shift_months(local, self.months.checked_mul(count)?)?;
            let days = self.weeks.checked_mul(7)?.checked_add(self.days)?.checked_mul(count)?;
            local = if days >= 0 {
                local.checked_add_days(Days::new(days.unsigned_abs()))?
            } else {
                local.checked_sub_days(Days::new(days.unsigned_abs()))?
            };
            moved = candidates(local, zone).first().copied()?;
        }
        moved.checked_add(self.micros.checked_mul(count)?)
    }

    /// What is exact of it: all but the months.
    fn length(&self) -> Option<i64> {
        self.weeks.checked_mul(7)?.checked_add(self.days)?.checked_mul(DAY)?.checked_add(self.micros)
    }

    /// Whether it has months and something else, so that no start of it can be counted.
    pub fn has_months_and_more(&self) -> bool {
        self.months > 0 && (self.weeks > 0 || self.days > 0 || self.micros > 0)
    }

    /// Whether it has days and hours, which differ where the clock changes.
    pub fn is_mixed(&self) -> bool {
        (self.weeks > 0 || self.days > 0) && self.micros > 0
    }

    fn is_one_week(&self) -> bool {
        self.weeks == 1 && self.micros == 0 && self.months == 0 && self.days == 0
    }
}

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

/// A time without the fraction of its seconds, which is added to `micros`.
fn whole_seconds(text: &str, micros: &mut i64) -> Option<String> {
    let Some((whole, fraction)) = text.split_once('.') else { return Some(text.to_owned()) };
    let digits = fraction.strip_suffix('S').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    *micros = format!("{digits:0<3}").get(..3)?.parse::<i64>().ok()?.checked_mul(1000)?;
    Some(format!("{whole}S"))
}

/// The local time of an instant.
pub fn local(micros: i64, zone: Zone) -> Option<NaiveDateTime> {
    Some(DateTime::<Utc>::from_timestamp_micros(micros)?.with_timezone(&zone).naive_local())
}

/// The instants of a local time, earliest first: two in the hour that is repeated; in the hour that is left out, the
/// instant at which the clock jumps over it.
pub fn candidates(local: NaiveDateTime, zone: Zone) -> Vec<i64> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) => vec![time.timestamp_micros()],
        LocalResult::Ambiguous(first, second) => vec![first.timestamp_micros(), second.timestamp_micros()],
        LocalResult::None => {
            // Read with the offset of the day before: that is the instant as the clock would have shown it.
            let before =
                local.checked_sub_signed(Duration::days(1)).and_then(|day| zone.from_local_datetime(&day).earliest());
            before
                .and_then(|time| time.checked_add_signed(Duration::days(1)))
                .map(|time| time.timestamp_micros())
                .into_iter()
                .collect()
        }
    }
}

/// The instant of a local time; nothing for one that the clock leaves out, the first of two.
pub fn instant(local: NaiveDateTime, zone: Zone) -> Option<i64> {
    zone.from_local_datetime(&local).earliest().map(|time| time.timestamp_micros())
}

/// A local time moved by months: the day is the last of the month where the month is too short.
pub fn add_months(micros: i64, months: i64, zone: Zone) -> Option<i64> {
    candidates(shift_months(local(micros, zone)?, months)?, zone).first().copied()
}

/// Whole months between two times: as often as one can be added to the earlier without passing the later.
pub fn months_between(from: i64, to: i64, zone: Zone) -> Option<i64> {
    if to < from {
        return months_between(to, from, zone).map(|months| -months);
    }
    let (start, end) = (local(from, zone)?, local(to, zone)?);
    let months = months_of(end) - months_of(start);
    Some(if shift_months(start, months)? > end { months - 1 } else { months })
}

/// A local date moved by months.
pub fn shift_date(date: NaiveDate, months: i64) -> Option<NaiveDate> {
    Some(shift_months(date.and_time(NaiveTime::MIN), months)?.date())
}

fn months_of(time: NaiveDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

fn shift_months(time: NaiveDateTime, months: i64) -> Option<NaiveDateTime> {
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months >= 0 { time.checked_add_months(count) } else { time.checked_sub_months(count) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::iso::parse;
    use super::super::joda::{Pattern, extract};
    use super::*;
    use rstest::rstest;

    fn at(text: &str) -> i64 {
        parse(text, Zone::UTC).unwrap()
    }

    fn text(micros: i64) -> String {
        Pattern::parse("yyyy-MM-dd'T'HH:mm:ss").unwrap().format(micros, Zone::UTC).unwrap()
    }

    #[rstest]
    #[case("PT1S", "2024-03-10T12:34:56", "UTC", "2024-03-10T12:34:56")]
    #[case("PT30M", "2024-03-10T12:34:56", "UTC", "2024-03-10T12:30:00")]
    #[case("PT6H", "1969-12-31T23:00:00", "UTC", "1969-12-31T18:00:00")]
    #[case("P1D", "2024-03-10T12:34:56", "UTC", "2024-03-10T00:00:00")]
    #[case("P1W", "2024-03-10T12:34:56", "UTC", "2024-03-04T00:00:00")]
    #[case("P1M", "2024-03-10T12:34:56", "UTC", "2024-03-01T00:00:00")]
    #[case("P3M", "1969-12-31T00:00:00", "UTC", "1969-10-01T00:00:00")]
    #[case("P1Y", "2024-03-10T12:34:56", "UTC", "2024-01-01T00:00:00")]
    #[case("P1D", "2024-03-10T12:00:00", "America/New_York", "2024-03-10T05:00:00")]
    #[case("P1D", "2024-03-11T12:00:00", "America/New_York", "2024-03-11T04:00:00")]
    // The clock shows half past one twice on 3 November: each half past one has its own hour.
    #[case("PT1H", "2024-11-03T05:30:00", "America/New_York", "2024-11-03T05:00:00")]
    #[case("PT1H", "2024-11-03T06:30:00", "America/New_York", "2024-11-03T06:00:00")]
    // Half past two does not exist on 10 March.
    #[case("PT1H", "2024-03-10T07:30:00", "America/New_York", "2024-03-10T07:00:00")]
    #[case("PT1H", "2024-03-10T06:30:00", "Asia/Kolkata", "2024-03-10T06:30:00")]
    #[case("PT6H", "2024-03-10T22:30:00", "America/New_York", "2024-03-10T17:00:00")]
    #[case("P1D", "2018-11-04T12:00:00", "America/Sao_Paulo", "2018-11-04T03:00:00")]
    fn floors(#[case] period: &str, #[case] time: &str, #[case] zone: Zone, #[case] expected: &str) {
        let floor = Period::parse(period).unwrap().floor(at(time), None, zone).unwrap();
        assert_eq!(text(floor), expected);
    }

    #[rstest]
    #[case("P1M", "2024-01-31T00:00:00", 1, "2024-02-29T00:00:00")]
    #[case("P1D", "2024-03-01T00:00:00", -1, "2024-02-29T00:00:00")]
    #[case("PT1H", "2024-03-01T00:00:00", -25, "2024-02-28T23:00:00")]
    fn shifts(#[case] period: &str, #[case] time: &str, #[case] count: i64, #[case] expected: &str) {
        assert_eq!(text(Period::parse(period).unwrap().shift(at(time), count, Zone::UTC).unwrap()), expected);
    }

    #[rstest]
    #[case("")]
    #[case("P")]
    #[case("PT")]
    #[case("P0D")]
    #[case("1D")]
    #[case("P1")]
    #[case("PT1D")]
    #[case("P99999999999999999999D")]
    #[case("P9223372036854775807Y")]
    fn what_is_not_a_period_is_refused(#[case] text: &str) {
        assert_eq!(Period::parse(text), None);
    }

    #[test]
    fn many_times_have_the_floors_of_each() {
        let mut random = 7_u64;
        let mut near = |bits: u32| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random.cast_signed()) >> bits
        };
        for period in ["PT1S", "PT5M", "PT1H", "P1D", "P1W", "P3DT1H"] {
            let even = Period::parse(period).unwrap().even(Some(near(14)), Zone::UTC).unwrap();
            let edges = (-3..3).flat_map(|n| [n * even.length + even.start, n * even.length + even.start - 1]);
            let times: Vec<i64> = edges.chain((0..2000).map(|n| near(12 + n % 40))).collect();
            for times in [times.clone(), times.into_iter().chain([i64::MAX, i64::MIN]).collect()] {
                let array = TimestampMicrosecondArray::from(times);
                let one_by_one: TimestampMicrosecondArray = array.iter().map(|time| even.floor(time?)).collect();
                assert_eq!(even.floor_all(&array), one_by_one, "{period}");
            }
        }
    }

    #[test]
    fn extremes_give_nothing_and_do_not_overflow() {
        let year = Period::parse("P1Y").unwrap();
        for time in [i64::MIN, i64::MAX] {
            let _ = year.floor(time, None, Zone::UTC);
            let _ = Period::parse("PT1H").unwrap().ceil(time, Some(i64::MIN), Zone::UTC);
            assert_eq!(year.shift(time, i64::MAX, Zone::UTC), None);
            let _ = extract(time, "WEEK", Zone::UTC);
        }
    }

    #[rstest]
    #[case("2024-03-10", Some("2024-03-10T00:00:00"))]
    #[case("2024-03-10T01:02:03.5Z", Some("2024-03-10T01:02:03"))]
    #[case("2024-03-10 01:02:03+05:30", Some("2024-03-09T19:32:03"))]
    #[case("2024-02-30", None)]
    #[case("2024-03-10T25:00:00", None)]
    #[case("bad", None)]
    #[case("", None)]
    #[case("ü", None)]
    #[case("2024-03-10T01:02:03+ü", None)]
    fn iso_times(#[case] input: &str, #[case] expected: Option<&str>) {
        assert_eq!(parse(input, Zone::UTC).map(text).as_deref(), expected);
    }
}
