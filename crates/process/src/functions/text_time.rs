//! Dates and instants as text, the way Spark's casts read and write them.
//!
//! Pure; used by casts and by functions that take a time as text. Invariant: a text that is no time is `None`.

use crate::functions::calendar::{Civil, DAY_US, SECOND_US, Zone, civil, day32, days_of, split};

/// A day as `yyyy-MM-dd`.
pub(crate) fn day_text(days: i64) -> String {
    let Civil { year, month, day } = civil(days);
    format!("{}-{month:02}-{day:02}", year_text(year))
}

/// A year in at least four digits, with a sign when it has more.
fn year_text(year: i64) -> String {
    match year {
        0..=9999 => format!("{year:04}"),
        year if year < 0 => format!("-{:04}", -year),
        year => format!("+{year}"),
    }
}

/// An instant as `yyyy-MM-dd HH:mm:ss`, with as much of its fraction as is not nought.
pub(crate) fn instant_text(micros: i64) -> String {
    let (days, rest) = split(micros);
    let seconds = rest / SECOND_US;
    let mut text = format!("{} {:02}:{:02}:{:02}", day_text(days), seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = rest % SECOND_US;
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// Spark trims control characters and spaces around what it casts.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c == '\u{7f}')
}

/// Reads digits off the front of a text.
struct Digits<'a> {
    rest: &'a str,
}

impl Digits<'_> {
    fn number(&mut self, digits_min: usize, digits_max: usize) -> Option<i64> {
        let end = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if end < digits_min || end > digits_max {
            return None;
        }
        let number = self.rest.get(..end)?.parse().ok()?;
        self.rest = self.rest.get(end..)?;
        Some(number)
    }

    fn eat(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `y`, `y-m` or `y-m-d`, and whether the day was there.
    fn day(&mut self) -> Option<(i64, bool)> {
        let sign = if self.eat('-') { -1 } else { i64::from(!self.eat('+')).max(1) };
        let year = sign * self.number(4, 7)?;
        let month = if self.eat('-') { self.number(1, 2)? } else { return Some((days_of(year, 1, 1)?, false)) };
        let day = if self.eat('-') { self.number(1, 2)? } else { return Some((days_of(year, month, 1)?, false)) };
        Some((days_of(year, month, day)?, true))
    }
}

/// A text as a day: what follows a `T` or a space after a whole day does not matter.
pub(crate) fn parse_day(text: &str) -> Option<i32> {
    let mut digits = Digits { rest: trimmed(text) };
    let (days, whole) = digits.day()?;
    let ends = digits.rest.is_empty() || (whole && digits.rest.starts_with([' ', 'T']));
    if ends { day32(days) } else { None }
}

/// A text as an instant; without a zone it is in UTC.
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    let mut digits = Digits { rest: trimmed(text) };
    let (days, whole) = digits.day()?;
    if digits.rest.is_empty() {
        return days.checked_mul(DAY_US);
    }
    if !whole || !(digits.eat(' ') || digits.eat('T')) {
        return None;
    }
    let (time, has_seconds) = parse_time(&mut digits)?;
    let local = days.checked_mul(DAY_US)?.checked_add(time)?;
    let zone = digits.rest.trim();
    if zone.is_empty() {
        return Some(local);
    }
    // Spark reads a zone after seconds alone.
    if has_seconds { Zone::parse(zone)?.to_utc(local) } else { None }
}

/// `h:m`, `h:m:s` or `h:m:s.f`, in microseconds, and whether there were seconds; digits past the sixth are dropped.
fn parse_time(digits: &mut Digits<'_>) -> Option<(i64, bool)> {
    let hour = digits.number(1, 2)?;
    let mut minute = 0;
    let mut second = 0;
    let mut fraction = 0;
    let mut has_seconds = false;
    let minutes = digits.eat(':');
    if minutes {
        minute += digits.number(1, 2)?;
    }
    if minutes && digits.eat(':') {
        has_seconds = true;
        second = digits.number(1, 2)?;
        if digits.eat('.') {
            let end = digits.rest.bytes().take_while(u8::is_ascii_digit).count();
            let kept = digits.rest.get(..end.min(6))?;
            fraction = format!("{kept:0<6}").parse().ok()?;
            digits.rest = digits.rest.get(end..)?;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((hour * 3600 + minute * 60 + second) * SECOND_US + fraction, has_seconds))
}
