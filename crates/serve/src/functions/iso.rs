//! Times as ISO 8601 writes them, as far as Druid reads it, and intervals of two of them.
//!
//! `2024`, `2024-3-10`, `2024-W10-7`, `2024-070`, then `T` or a space, a time of day, and an offset. A text without an
//! offset is local; a local time that the clock leaves out is no time.

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use super::period::{Period, instant};
use super::zone::Zone;

/// Reads a time.
pub fn parse(text: &str, zone: Zone) -> Option<i64> {
    let (local, offset_seconds) = read(text)?;
    match offset_seconds {
        Some(seconds) => local.and_utc().timestamp_micros().checked_sub(seconds.checked_mul(1_000_000)?),
        None => instant(local, zone),
    }
}

/// Reads a time without looking at whether the clock shows it; with the offset in seconds that the text names.
pub fn read(text: &str) -> Option<(NaiveDateTime, Option<i64>)> {
    let (date, rest) = match text.find(['T', ' ']) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let date = parse_date(date)?;
    let Some(rest) = rest else { return Some((date.and_time(NaiveTime::MIN), None)) };
    let at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at(at);
    let length = parse_clock(clock)?;
    let offset = if offset.is_empty() { None } else { Some(parse_offset(offset)?) };
    Some((date.and_time(NaiveTime::MIN).checked_add_signed(length)?, offset))
}

fn number(text: &str, digits_max: usize) -> Option<u32> {
    (!text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    let (sign, body) = text.strip_prefix('-').map_or((1, text), |body| (-1, body));
    let mut parts = body.split('-');
    let year = sign * i32::try_from(number(parts.next()?, 9)?).ok()?;
    let second = parts.next();
    let third = parts.next();
    if parts.next().is_some() {
        return None;
    }
    match (second, third) {
        (None, _) => NaiveDate::from_ymd_opt(year, 1, 1),
        (Some(second), third) => {
            if let Some(week) = second.strip_prefix('W') {
                let day = third.map_or(Some(1), |day| number(day, 1))?;
                let weekday = Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?;
                return NaiveDate::from_isoywd_opt(year, number(week, 2)?, weekday);
            }
            if third.is_none() && second.len() == 3 {
                return NaiveDate::from_yo_opt(year, number(second, 3)?);
            }
            let day = third.map_or(Some(1), |day| number(day, 2))?;
            NaiveDate::from_ymd_opt(year, number(second, 2)?, day)
        }
    }
}

/// `10`, `10:30`, `10:30:15`, the last with a fraction; as the length since midnight.
fn parse_clock(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return Some(Duration::zero());
    }
    let (whole, fraction) = match text.find(['.', ',']) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let mut parts = whole.split(':');
    let mut micros = 0_i64;
    let mut unit = 0;
    for (limit, length) in [(23, 3_600_000_000_i64), (59, 60_000_000), (59, 1_000_000)] {
        let Some(part) = parts.next() else { break };
        let part = number(part, 2).filter(|part| *part <= limit)?;
        micros += i64::from(part) * length;
        unit = length;
    }
    if parts.next().is_some() {
        return None;
    }
    if let Some(fraction) = fraction {
        if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits: String = fraction.chars().take(9).collect();
        let scale = 10_i64.checked_pow(u32::try_from(digits.len()).ok()?)?;
        // Druid counts in milliseconds.
        let part = i128::from(digits.parse::<i64>().ok()?) * i128::from(unit) / i128::from(scale);
        micros += i64::try_from(part).ok()? / 1000 * 1000;
    }
    Some(Duration::microseconds(micros))
}

/// `Z`, `+02`, `+0200`, `+02:00`, `+02:00:30` in seconds.
pub fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, body) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let digits = match body.len() {
        2 | 4 => body.to_owned(),
        5 if body.get(2..3) == Some(":") => body.replace(':', ""),
        8 if body.get(2..3) == Some(":") && body.get(5..6) == Some(":") => body.replace(':', ""),
        _ => return None,
    };
    let hours = number(digits.get(..2)?, 2).filter(|hours| *hours <= 23)?;
    let sixtieth = |at: usize| match digits.get(at..at + 2) {
        None => Some(0),
        Some(part) => number(part, 2).filter(|part| *part <= 59).map(i64::from),
    };
    Some(sign * (i64::from(hours) * 3600 + sixtieth(2)? * 60 + sixtieth(4)?))
}

/// The two ends of an interval: `start/end`, `start/period` or `period/end`.
pub fn interval(text: &str, zone: Zone) -> Option<(i64, i64)> {
    let (left, right) = text.split_once('/')?;
    let (start, end) = match (Period::parse(left), Period::parse(right)) {
        (Some(period), None) => {
            let end = parse(right, zone)?;
            (period.shift(end, -1, zone)?, end)
        }
        (None, Some(period)) => {
            let start = parse(left, zone)?;
            (start, period.shift(start, 1, zone)?)
        }
        _ => (parse(left, zone)?, parse(right, zone)?),
    };
    (start <= end).then_some((start, end))
}
