//! Joda's patterns, by which TIME_FORMAT writes and TIME_PARSE reads, and the parts of a time.
//!
//! A letter that is not known, and names of zones in words, are refused when the pattern is read.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, Timelike, Utc, Weekday};
use datafusion::common::Result;
use vitalake_contract::time_format::names::{MONTHS, WEEKDAYS};

use super::iso;
use super::period::{instant, local};
use super::time::refuse;
use super::zone::Zone;

/// A pattern, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    Field(char, usize),
}

/// Two digits of a year stand for one from here on for a century.
const TWO_DIGIT_YEARS_FROM: i32 = 1946;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty or has a letter that is not known.
    pub fn parse(pattern: &str) -> Result<Self> {
        if pattern.is_empty() {
            return Err(refuse(
                "Invalid pattern specification: it is empty; use one such as 'yyyy-MM-dd HH:mm:ss'".to_owned(),
            ));
        }
        let mut tokens = vec![];
        let mut text = String::new();
        let mut letters = pattern.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter == '\'' {
                quoted(&mut letters, &mut text);
                continue;
            }
            if !letter.is_ascii_alphabetic() {
                text.push(letter);
                continue;
            }
            let mut count = 1;
            while letters.next_if_eq(&letter).is_some() {
                count += 1;
            }
            if !"GCYxwedEyDMaKhHkmsSzZ".contains(letter) || count > 20 {
                return Err(refuse(format!("Illegal pattern component: {letter}; put plain text between ' and '")));
            }
            if !text.is_empty() {
                tokens.push(Token::Text(std::mem::take(&mut text)));
            }
            tokens.push(Token::Field(letter, count));
        }
        if !text.is_empty() {
            tokens.push(Token::Text(text));
        }
        Ok(Self(tokens))
    }

    /// Refuses what can be read by this pattern and not written.
    ///
    /// # Errors
    /// When it has a zone's name in words.
    pub fn for_format(self) -> Result<Self> {
        if self.0.iter().any(|token| matches!(token, Token::Field('z', 4..))) {
            return Err(refuse(
                "the pattern 'zzzz' (a zone's name in words) is not supported; use 'ZZZ' or 'z'".to_owned(),
            ));
        }
        Ok(self)
    }

    /// Refuses what can be written by this pattern and not read.
    ///
    /// # Errors
    /// When it has a zone's name.
    pub fn for_parse(self) -> Result<Self> {
        if self.0.iter().any(|token| matches!(token, Token::Field('z', _))) {
            return Err(refuse("the pattern 'z' (a zone's name) cannot be read; use 'Z' for an offset".to_owned()));
        }
        Ok(self)
    }

    /// Writes a time.
    pub fn format(&self, micros: i64, zone: Zone) -> Option<String> {
        let time = DateTime::<Utc>::from_timestamp_micros(micros)?.with_timezone(&zone);
        let local = time.naive_local();
        let mut out = String::new();
        for token in &self.0 {
            match token {
                Token::Text(text) => out.push_str(text),
                Token::Field('z', _) => {
                    out.push_str(&zone.abbreviation(time.to_utc()));
                }
                Token::Field('Z', 1) => {
                    let _ = write!(out, "{}", time.format("%z"));
                }
                Token::Field('Z', 2) => {
                    let _ = write!(out, "{}", time.format("%:z"));
                }
                Token::Field('Z', _) => out.push_str(&zone.name()),
                Token::Field(letter, count) => field(local, *letter, *count, &mut out)?,
            }
        }
        Some(out)
    }

    /// Reads a time; nothing where the text has another form or the local clock never shows it.
    pub fn read(&self, text: &str, zone: Zone) -> Option<i64> {
        let mut found = Found::default();
        let mut rest = text;
        for (index, token) in self.0.iter().enumerate() {
            rest = match token {
                Token::Text(text) => strip(rest, text)?,
                Token::Field(letter, count) => {
                    let followed =
                        matches!(self.0.get(index + 1), Some(Token::Field(next, count)) if is_number(*next, *count));
                    found.read(*letter, *count, followed, rest)?
                }
            };
        }
        rest.is_empty().then(|| found.instant(zone))?
    }
}

/// What stands between quotes means itself; two of them are one.
fn quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) {
    if letters.next_if_eq(&'\'').is_some() {
        text.push('\'');
        return;
    }
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            if letters.next_if_eq(&'\'').is_none() {
                return;
            }
            text.push('\'');
        } else {
            text.push(letter);
        }
    }
}

/// Text is compared without regard to case.
fn strip<'a>(rest: &'a str, text: &str) -> Option<&'a str> {
    let (start, end) = (rest.get(..text.len())?, rest.get(text.len()..)?);
    (start.to_lowercase() == text.to_lowercase()).then_some(end)
}

fn is_number(letter: char, count: usize) -> bool {
    "CYxwedyDKhHkmsS".contains(letter) || (letter == 'M' && count <= 2)
}

fn field(time: NaiveDateTime, letter: char, count: usize, out: &mut String) -> Option<()> {
    let week = time.iso_week();
    let weekday = usize::try_from(time.weekday().num_days_from_monday()).ok()?;
    let hour = i64::from(time.hour());
    let number = match letter {
        'G' => {
            out.push_str(if time.year() > 0 { "AD" } else { "BC" });
            return Some(());
        }
        'E' => {
            let name = WEEKDAYS.get(weekday)?;
            out.push_str(if count >= 4 { name } else { name.get(..3)? });
            return Some(());
        }
        'M' if count >= 3 => {
            let name = MONTHS.get(usize::try_from(time.month0()).ok()?)?;
            out.push_str(if count >= 4 { name } else { name.get(..3)? });
            return Some(());
        }
        'a' => {
            out.push_str(if hour < 12 { "AM" } else { "PM" });
            return Some(());
        }
        'S' => {
            let digits = format!("{:03}", time.nanosecond() / 1_000_000);
            let digits = format!("{digits:0<count$}");
            out.push_str(digits.get(..count)?);
            return Some(());
        }
        'Y' | 'y' | 'x' if count == 2 => {
            let year = if letter == 'x' { week.year() } else { time.year() };
            i64::from(year.rem_euclid(100))
        }
        'Y' => i64::from(if time.year() > 0 { time.year() } else { 1 - time.year() }),
        'y' => i64::from(time.year()),
        'x' => i64::from(week.year()),
        'C' => i64::from(time.year().abs() / 100),
        'w' => i64::from(week.week()),
        'e' => i64::from(time.weekday().number_from_monday()),
        'd' => i64::from(time.day()),
        'D' => i64::from(time.ordinal()),
        'M' => i64::from(time.month()),
        'H' => hour,
        'k' => {
            if hour == 0 {
                24
            } else {
                hour
            }
        }
        'K' => hour % 12,
        'h' => {
            if hour % 12 == 0 {
                12
            } else {
                hour % 12
            }
        }
        'm' => i64::from(time.minute()),
        's' => i64::from(time.second()),
        _ => return None,
    };
    let sign = if number < 0 { "-" } else { "" };
    let _ = write!(out, "{sign}{:0count$}", number.abs());
    Some(())
}

/// What has been read of a text.
#[derive(Debug, Default)]
struct Found {
    year: Option<i32>,
    week_year: Option<i32>,
    before_era: bool,
    month: Option<u32>,
    week: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    weekday: Option<u32>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: i64,
    offset_seconds: Option<i64>,
    zone: Option<Zone>,
}

/// Digits at the front of a text, at most so many.
fn digits(text: &str, most: usize) -> Option<(i64, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(length)?;
    Some((number.parse().ok()?, rest))
}

fn name<'a>(text: &'a str, names: &[&str]) -> Option<(u32, &'a str)> {
    for (index, name) in (1_u32..).zip(names) {
        for form in [*name, name.get(..3)?] {
            if let Some(rest) = strip(text, form) {
                return Some((index, rest));
            }
        }
    }
    None
}

impl Found {
    /// Takes one field from the front of a text; gives the rest.
    fn read<'a>(&mut self, letter: char, count: usize, followed: bool, text: &'a str) -> Option<&'a str> {
        match letter {
            'y' | 'Y' | 'x' => return self.read_year(letter, count, followed, text),
            'M' if count >= 3 => {
                let (month, rest) = name(text, &MONTHS)?;
                self.month = Some(month);
                return Some(rest);
            }
            'E' => {
                let (day, rest) = name(text, &WEEKDAYS)?;
                self.weekday = Some(day);
                return Some(rest);
            }
            'a' => {
                let afternoon = strip(text, "PM").map(|rest| (true, rest));
                let (afternoon, rest) = afternoon.or_else(|| strip(text, "AM").map(|rest| (false, rest)))?;
                self.afternoon = Some(afternoon);
                return Some(rest);
            }
            'G' => {
                let before = ["BCE", "BC"].iter().find_map(|era| strip(text, era)).map(|rest| (true, rest));
                let after = || ["CE", "AD"].iter().find_map(|era| strip(text, era)).map(|rest| (false, rest));
                let (before, rest) = before.or_else(after)?;
                self.before_era = before;
                return Some(rest);
            }
            'Z' => return self.read_offset(count, text),
            'S' => {
                let length = text.bytes().take(count).take_while(u8::is_ascii_digit).count();
                let (part, rest) = text.split_at_checked(length)?;
                let millis = format!("{part:0<3}").get(..3)?.parse::<i64>().ok().filter(|_| length > 0)?;
                self.micros = millis * 1000;
                return Some(rest);
            }
            _ => {}
        }
        let most = if letter == 'D' { 3 } else { 2 };
        let (number, rest) = digits(text, most)?;
        let number = u32::try_from(number).ok()?;
        let within = |low: u32, high: u32| (low..=high).contains(&number).then_some(number);
        match letter {
            'M' => self.month = Some(within(1, 12)?),
            'd' => self.day = Some(within(1, 31)?),
            'D' => self.day_of_year = Some(within(1, 366)?),
            'w' => self.week = Some(within(1, 53)?),
            'e' => self.weekday = Some(within(1, 7)?),
            'H' => self.hour = Some(within(0, 23)?),
            'k' => self.hour = Some(within(1, 24)? % 24),
            'K' => self.half_hour = Some(within(0, 11)?),
            'h' => self.half_hour = Some(within(1, 12)? % 12),
            'm' => self.minute = within(0, 59)?,
            's' => self.second = within(0, 59)?,
            _ => return None,
        }
        Some(rest)
    }

    fn read_year<'a>(&mut self, letter: char, count: usize, followed: bool, text: &'a str) -> Option<&'a str> {
        let (sign, body) = text.strip_prefix('-').map_or((1, text), |body| (-1, body));
        let most = if followed { count } else { 9 };
        let (number, rest) = digits(body, most)?;
        let mut year = i32::try_from(number).ok()? * sign;
        if count == 2 && body.len() - rest.len() == 2 && sign > 0 {
            year += TWO_DIGIT_YEARS_FROM / 100 * 100;
            year += if year < TWO_DIGIT_YEARS_FROM { 100 } else { 0 };
        }
        *(if letter == 'x' { &mut self.week_year } else { &mut self.year }) = Some(year);
        Some(rest)
    }

    fn read_offset<'a>(&mut self, count: usize, text: &'a str) -> Option<&'a str> {
        if count >= 3 {
            let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && !"/_+-:".contains(letter));
            let (zone, rest) = text.split_at(end.unwrap_or(text.len()));
            self.zone = Some(Zone::of(zone)?);
            return Some(rest);
        }
        if let Some(rest) = text.strip_prefix('Z') {
            self.offset_seconds = Some(0);
            return Some(rest);
        }
        for length in [6, 5, 3] {
            if let Some(seconds) = text.get(..length).and_then(iso::parse_offset) {
                self.offset_seconds = Some(seconds);
                return text.get(length..);
            }
        }
        None
    }

    fn date(&self) -> Option<NaiveDate> {
        if self.week_year.is_some() || self.week.is_some() {
            let weekday = Weekday::try_from(u8::try_from(self.weekday.unwrap_or(1) - 1).ok()?).ok()?;
            return NaiveDate::from_isoywd_opt(
                self.week_year.or(self.year).unwrap_or(2000),
                self.week.unwrap_or(1),
                weekday,
            );
        }
        let fields = self.month.is_some() || self.day.is_some() || self.day_of_year.is_some();
        // A time of day alone is on the first day of 1970, and a day without a year is in 2000.
        let year = self.year.unwrap_or(if fields { 2000 } else { 1970 });
        let year = if self.before_era { 1 - year } else { year };
        match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day),
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        }
    }

    fn instant(&self, zone: Zone) -> Option<i64> {
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => {
                if self.afternoon == Some(true) {
                    12
                } else {
                    0
                }
            }
        };
        let clock = NaiveTime::from_hms_opt(hour, self.minute, self.second)?;
        let local = self.date()?.and_time(clock).checked_add_signed(Duration::microseconds(self.micros))?;
        match self.offset_seconds {
            Some(seconds) => local.and_utc().timestamp_micros().checked_sub(seconds * 1_000_000),
            None => instant(local, self.zone.unwrap_or(zone)),
        }
    }
}

/// Writes a time as `2024-03-09T23:30:00.000+00:00`.
pub fn iso_text(micros: i64, zone: Zone) -> Option<String> {
    let time = DateTime::<Utc>::from_timestamp_micros(micros)?.with_timezone(&zone);
    // Old local times were off by seconds.
    let seconds = time.offset().fix().local_minus_utc() % 60 != 0;
    Some(time.format(if seconds { "%Y-%m-%dT%H:%M:%S%.3f%::z" } else { "%Y-%m-%dT%H:%M:%S%.3f%:z" }).to_string())
}

/// A part of a time such as HOUR; nothing for a unit that is not known.
pub fn extract(micros: i64, unit: &str, zone: Zone) -> Option<i64> {
    let time = local(micros, zone)?;
    let hundreds = |length: i32| i64::from((time.year() + length - 1).div_euclid(length));
    Some(match unit {
        "EPOCH" => micros / 1_000_000,
        "MILLISECOND" => i64::from(time.nanosecond() / 1_000_000),
        "SECOND" => i64::from(time.second()),
        "MINUTE" => i64::from(time.minute()),
        "HOUR" => i64::from(time.hour()),
        "DAY" => i64::from(time.day()),
        "DOW" | "ISODOW" => i64::from(time.weekday().number_from_monday()),
        "DOY" => i64::from(time.ordinal()),
        "WEEK" => i64::from(time.iso_week().week()),
        "MONTH" => i64::from(time.month()),
        "QUARTER" => i64::from(time.month0() / 3 + 1),
        "YEAR" => i64::from(time.year()),
        "ISOYEAR" => i64::from(time.iso_week().year()),
        "DECADE" => i64::from(time.year().div_euclid(10)),
        "CENTURY" => hundreds(100),
        "MILLENNIUM" => hundreds(1000),
        _ => return None,
    })
}
