//! Times to text and back, and parts of times, as Druid has them: ISO 8601 by default, Joda patterns on request.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use chrono_tz::Tz;

use super::period::{Period, candidates, local};

/// Reads a time: ISO 8601, or by a Joda pattern. A text without an offset is local time in `zone`.
pub fn parse(text: &str, pattern: Option<&str>, zone: Tz) -> Option<i64> {
    match pattern {
        None => parse_iso(text.trim(), zone),
        Some(pattern) => {
            let format = strftime(pattern)?;
            if let Ok(time) = DateTime::parse_from_str(text, &format) {
                return Some(time.timestamp_micros());
            }
            let time = NaiveDateTime::parse_from_str(text, &format).ok().or_else(|| {
                NaiveDate::parse_from_str(text, &format).ok().map(|date| NaiveDateTime::new(date, NaiveTime::MIN))
            })?;
            candidates(time, zone).first().copied()
        }
    }
}

fn parse_iso(text: &str, zone: Tz) -> Option<i64> {
    let (date, time) = match text.find(['T', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, ""),
    };
    let mut numbers = date.split('-');
    let year = numbers.next()?;
    if year.len() != 4 {
        return None;
    }
    let month = numbers.next().map_or(Some(1), |part| part.parse().ok())?;
    let day = numbers.next().map_or(Some(1), |part| part.parse().ok())?;
    if numbers.next().is_some() {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month, day)?;
    let (clock, offset_seconds) = split_offset(time.trim())?;
    let clock = parse_clock(clock)?;
    let local = NaiveDateTime::new(date, clock);
    match offset_seconds {
        Some(seconds) => Some(local.and_utc().timestamp_micros() - seconds * 1_000_000),
        None => candidates(local, zone).first().copied(),
    }
}

fn split_offset(time: &str) -> Option<(&str, Option<i64>)> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some((clock, Some(0)));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, None)) };
    let (clock, offset) = time.split_at(at);
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = match digits.get(2..) {
        Some("") | None => 0,
        Some(minutes) => minutes.parse().ok()?,
    };
    let seconds = hours * 3600 + minutes * 60;
    Some((clock, Some(if offset.starts_with('-') { -seconds } else { seconds })))
}

fn parse_clock(clock: &str) -> Option<NaiveTime> {
    if clock.is_empty() {
        return Some(NaiveTime::MIN);
    }
    let mut parts = clock.split(':');
    let hour = parts.next()?.parse().ok()?;
    let minute = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    let seconds = parts.next().unwrap_or("0");
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let micros: u32 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    NaiveTime::from_hms_micro_opt(hour, minute, whole.parse().ok()?, micros)
}

/// Writes a time: `2024-03-09T23:30:00.000+00:00`, or by a Joda pattern.
pub fn format(micros: i64, pattern: Option<&str>, zone: Tz) -> Option<String> {
    let time = DateTime::<Utc>::from_timestamp_micros(micros)?.with_timezone(&zone);
    match pattern {
        None => Some(time.format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()),
        Some(pattern) => Some(time.format(&strftime(pattern)?).to_string()),
    }
}

/// A Joda pattern in chrono's terms; `None` for a letter that has no counterpart.
fn strftime(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            for quoted in letters.by_ref().take_while(|letter| *letter != '\'') {
                out.push(quoted);
            }
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            out.push_str(if letter == '%' { "%%" } else { "" });
            if letter != '%' {
                out.push(letter);
            }
            continue;
        }
        let mut count = 1;
        while letters.next_if_eq(&letter).is_some() {
            count += 1;
        }
        out.push_str(field(letter, count)?);
    }
    Some(out)
}

fn field(letter: char, count: usize) -> Option<&'static str> {
    Some(match (letter, count) {
        ('y' | 'Y' | 'u', 2) => "%y",
        ('y' | 'Y' | 'u', _) => "%Y",
        ('x', _) => "%G",
        ('M', 1) => "%-m",
        ('M', 2) => "%m",
        ('M', 3) => "%b",
        ('M', _) => "%B",
        ('d', 1) => "%-d",
        ('d', _) => "%d",
        ('D', _) => "%j",
        ('w', _) => "%V",
        ('e', _) => "%u",
        ('E', 1..=3) => "%a",
        ('E', _) => "%A",
        ('H', 1) => "%-H",
        ('H', _) => "%H",
        ('h', 1) => "%-I",
        ('h', _) => "%I",
        ('m', 1) => "%-M",
        ('m', _) => "%M",
        ('s', 1) => "%-S",
        ('s', _) => "%S",
        ('S', 1..=3) => "%3f",
        ('S', _) => "%6f",
        ('a', _) => "%p",
        ('Z', 1) => "%z",
        ('Z', _) => "%:z",
        ('z', _) => "%Z",
        _ => return None,
    })
}

/// A part of a time such as HOUR; `None` for a unit that is not known.
pub fn extract(micros: i64, unit: &str, zone: Tz) -> Option<i64> {
    let time = local(micros, zone)?;
    Some(match unit {
        "EPOCH" => micros.div_euclid(1_000_000),
        "MICROSECOND" => i64::from(time.nanosecond() / 1000),
        "MILLISECOND" => i64::from(time.nanosecond() / 1_000_000),
        "SECOND" => i64::from(time.second()),
        "MINUTE" => i64::from(time.minute()),
        "HOUR" => i64::from(time.hour()),
        "DAY" => i64::from(time.day()),
        "DOW" | "ISODOW" | "DAYOFWEEK" => i64::from(time.weekday().number_from_monday()),
        "DOY" | "DAYOFYEAR" => i64::from(time.ordinal()),
        "WEEK" => i64::from(time.iso_week().week()),
        "MONTH" => i64::from(time.month()),
        "QUARTER" => i64::from(time.month0() / 3 + 1),
        "YEAR" => i64::from(time.year()),
        "ISOYEAR" => i64::from(time.iso_week().year()),
        "DECADE" => i64::from(time.year() / 10),
        "CENTURY" => i64::from((time.year() + 99) / 100),
        "MILLENNIUM" => i64::from((time.year() + 999) / 1000),
        _ => return None,
    })
}

/// Whole units between two times, as TIMESTAMPDIFF counts them.
pub fn difference(from: i64, to: i64, unit: &str, zone: Tz) -> Option<i64> {
    let second = 1_000_000;
    let length = match unit.trim_end_matches('S') {
        "SECOND" => second,
        "MINUTE" => 60 * second,
        "HOUR" => 3600 * second,
        "DAY" => 86_400 * second,
        "WEEK" => 7 * 86_400 * second,
        "MONTH" => return months_between(from, to, zone),
        "QUARTER" => return months_between(from, to, zone).map(|months| months / 3),
        "YEAR" => return months_between(from, to, zone).map(|months| months / 12),
        _ => return None,
    };
    Some(to.checked_sub(from)? / length)
}

fn months_between(from: i64, to: i64, zone: Tz) -> Option<i64> {
    let (start, end) = (local(from, zone)?, local(to, zone)?);
    let months = i64::from(end.year() - start.year()) * 12 + i64::from(end.month()) - i64::from(start.month());
    let rest = |time: NaiveDateTime| (time.day(), time.time());
    Some(if months > 0 && rest(end) < rest(start) {
        months - 1
    } else if months < 0 && rest(end) > rest(start) {
        months + 1
    } else {
        months
    })
}

/// The two ends of an interval: `start/end`, `start/period` or `period/end`.
pub fn interval(text: &str, zone: Tz) -> Option<(i64, i64)> {
    let (left, right) = text.split_once('/')?;
    match (Period::parse(left), Period::parse(right)) {
        (Some(period), None) => {
            let end = parse(right, None, zone)?;
            Some((period.shift(end, -1, zone)?, end))
        }
        (None, Some(period)) => {
            let start = parse(left, None, zone)?;
            Some((start, period.shift(start, 1, zone)?))
        }
        _ => Some((parse(left, None, zone)?, parse(right, None, zone)?)),
    }
}
