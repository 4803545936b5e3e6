//! The fields that a text gives for a pattern, and what they make: a day, a time of day, a zone.
//!
//! Invariant: a field that is given twice must be given alike, as in the JDK.

use chrono_tz::Tz;

use super::iso::{days_from_civil, two};
use super::names::{MONTHS, WEEKDAYS};
use super::pattern::{Item, OffsetForm};

/// Where the local time is local.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Zone {
    /// The text does not say.
    #[default]
    Unknown,
    /// Seconds east of UTC.
    Offset(i32),
    /// A zone with its rules.
    Named(Tz),
}

/// What a text said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    year: Option<u32>,
    era_year: Option<u32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    weekday: Option<u32>,
    /// 0 to 24
    hour: Option<u32>,
    /// 0 to 11
    half_hour: Option<u32>,
    afternoon: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    nano: Option<u32>,
    /// The zone or offset in the text.
    pub(super) zone: Zone,
}

impl Fields {
    /// Days since 1970-01-01; none where a part is missing, out of range or contradicted by the weekday.
    pub(super) fn day(&self) -> Option<i32> {
        let year = match (self.year, self.era_year) {
            (None, None) | (_, Some(0)) => return None,
            (Some(year), Some(era_year)) if year != era_year => return None,
            (Some(year), _) | (None, Some(year)) => i32::try_from(year).ok().filter(|&year| year <= 9999)?,
        };
        let days = match (self.month, self.day, self.day_of_year) {
            (Some(month), Some(day), _) => days_from_civil(year, month, day)?,
            (_, _, Some(of_year @ 1..=366)) => {
                let first = days_from_civil(year, 1, 1)?;
                let days = first + i32::try_from(of_year).ok()? - 1;
                if days > days_from_civil(year, 12, 31)? {
                    return None;
                }
                days
            }
            _ => return None,
        };
        let weekday = u32::try_from((days + 3).rem_euclid(7)).ok()?;
        self.weekday.is_none_or(|said| said == weekday).then_some(days)
    }

    /// How many days later (24:00 is the next day's midnight), and µs since midnight.
    pub(super) fn time_of_day(&self) -> Option<(i32, i64)> {
        let from_half = match (self.half_hour, self.afternoon) {
            (Some(hour @ 0..=11), Some(afternoon)) => Some(hour + 12 * afternoon),
            (None, _) => None,
            _ => return None,
        };
        let hour = match (self.hour, from_half) {
            (Some(hour), Some(other)) if hour != other => return None,
            (Some(hour), _) | (None, Some(hour)) => hour,
            (None, None) => return None,
        };
        let (minute, second, nano) = (self.minute.unwrap_or(0), self.second.unwrap_or(0), self.nano.unwrap_or(0));
        if hour > 24 || minute > 59 || second > 59 || nano > 999_999_999 {
            return None;
        }
        if hour == 24 {
            return (minute == 0 && second == 0 && nano == 0).then_some((1, 0));
        }
        Some((0, i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + i64::from(nano / 1000)))
    }

    /// Whether the text said nothing about the time of day.
    pub(super) fn has_no_time(&self) -> bool {
        [self.hour, self.half_hour, self.afternoon, self.minute, self.second, self.nano].iter().all(Option::is_none)
    }

    fn set(&mut self, letter: u8, value: u32) -> Option<()> {
        let (field, value) = match letter {
            b'y' => (&mut self.era_year, value),
            b'u' => (&mut self.year, value),
            b'M' => (&mut self.month, value),
            b'd' => (&mut self.day, value),
            b'D' => (&mut self.day_of_year, value),
            b'E' => (&mut self.weekday, value),
            b'H' if value <= 24 => (&mut self.hour, value),
            b'k' if value <= 24 => (&mut self.hour, value % 24),
            b'K' if value <= 11 => (&mut self.half_hour, value),
            b'h' if value <= 12 => (&mut self.half_hour, value % 12),
            b'a' => (&mut self.afternoon, value),
            b'm' => (&mut self.minute, value),
            b's' => (&mut self.second, value),
            b'n' => (&mut self.nano, value),
            _ => return None,
        };
        (*field.get_or_insert(value) == value).then_some(())
    }
}

/// Reads the items from the beginning of the text and gives what follows them.
pub(super) fn read<'t>(items: &[Item], mut text: &'t [u8], fields: &mut Fields) -> Option<&'t [u8]> {
    for item in items {
        text = match item {
            Item::Literal(literal) => text.strip_prefix(&**literal)?,
            Item::Number { letter, least, most, reserved } => {
                let run = text.iter().take(most + reserved).take_while(|b| b.is_ascii_digit()).count();
                let (value, rest) = digits(text, run.saturating_sub(*reserved).min(*most).max(*least))?;
                fields.set(*letter, value)?;
                rest
            }
            Item::ShortYear => {
                let (value, rest) = digits(text, 2)?;
                fields.set(b'u', 2000 + value)?;
                rest
            }
            Item::Fraction(count) => {
                let (value, rest) = digits(text, *count)?;
                fields.set(b'n', value * 10_u32.checked_pow(9_u32.checked_sub(u32::try_from(*count).ok()?)?)?)?;
                rest
            }
            Item::HalfDay => {
                let (name, rest) = text.split_first_chunk::<2>()?;
                let afternoon = name.eq_ignore_ascii_case(b"PM");
                if !afternoon && !name.eq_ignore_ascii_case(b"AM") {
                    return None;
                }
                fields.set(b'a', u32::from(afternoon))?;
                rest
            }
            Item::Month { short } => {
                let (month, rest) = name(text, &MONTHS, *short)?;
                fields.set(b'M', month + 1)?;
                rest
            }
            Item::Weekday { short } => {
                let (weekday, rest) = name(text, &WEEKDAYS, *short)?;
                fields.set(b'E', weekday)?;
                rest
            }
            Item::Offset(form) => {
                let (seconds, rest) = offset(text, *form)?;
                fields.zone = Zone::Offset(seconds);
                rest
            }
            Item::Zone => {
                let (zone, rest) = zone(text)?;
                fields.zone = zone;
                rest
            }
            Item::Optional(items) => {
                let mut tried = *fields;
                match read(items, text, &mut tried) {
                    Some(rest) => {
                        *fields = tried;
                        rest
                    }
                    None => text,
                }
            }
        };
    }
    Some(text)
}

/// Exactly so many digits, at most nine.
fn digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let mut value = 0_u32;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    Some((value, rest))
}

fn name<'t>(text: &'t [u8], names: &[&str], short: bool) -> Option<(u32, &'t [u8])> {
    for (index, name) in names.iter().enumerate() {
        let name = name.as_bytes();
        let name = if short { name.get(..3)? } else { name };
        if let Some((begin, rest)) = text.split_at_checked(name.len())
            && begin.eq_ignore_ascii_case(name)
        {
            return Some((u32::try_from(index).ok()?, rest));
        }
    }
    None
}

/// An offset in seconds; at most 18 hours, as in the JDK.
fn offset(text: &[u8], form: OffsetForm) -> Option<(i32, &[u8])> {
    if form.zulu
        && let [b'Z', rest @ ..] = text
    {
        return Some((0, rest));
    }
    let &[sign @ (b'+' | b'-'), h0, h1, ref rest @ ..] = text else { return None };
    let mut seconds = two(h0, h1)? * 3600;
    let mut rest = rest;
    match part(rest, form.colon) {
        Some((minutes, after)) => {
            seconds += minutes * 60;
            rest = after;
            if form.seconds
                && let Some((more, after)) = part(rest, form.colon)
            {
                seconds += more;
                rest = after;
            }
        }
        None if form.minutes => return None,
        None => {}
    }
    let seconds = i32::try_from(seconds).ok().filter(|&seconds| seconds <= 18 * 3600)?;
    Some((if sign == b'-' { -seconds } else { seconds }, rest))
}

/// Two digits of minutes or seconds, after a colon where the form has one.
fn part(text: &[u8], colon: bool) -> Option<(u32, &[u8])> {
    let text = if colon { text.strip_prefix(b":")? } else { text };
    let &[tens, ones, ref rest @ ..] = text else { return None };
    Some((two(tens, ones).filter(|&value| value < 60)?, rest))
}

fn zone(text: &[u8]) -> Option<(Zone, &[u8])> {
    let part_of_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'+' | b'-' | b':');
    let (name, rest) = text.split_at_checked(text.iter().take_while(part_of_name).count())?;
    let colon = OffsetForm { zulu: false, colon: true, minutes: false, seconds: true };
    let bare = [&b"UTC"[..], b"GMT", b"UT"].iter().find_map(|prefix| name.strip_prefix(*prefix)).unwrap_or(name);
    if matches!(name, b"Z" | b"UTC" | b"GMT" | b"UT") {
        return Some((Zone::Offset(0), rest));
    }
    if let Some((seconds, [])) = offset(bare, colon) {
        return Some((Zone::Offset(seconds), rest));
    }
    let zone = match name {
        b"EST" | b"EDT" => Tz::America__New_York,
        b"CST" | b"CDT" => Tz::America__Chicago,
        b"MST" | b"MDT" => Tz::America__Denver,
        b"PST" | b"PDT" => Tz::America__Los_Angeles,
        name => std::str::from_utf8(name).ok()?.parse().ok()?,
    };
    Some((Zone::Named(zone), rest))
}
