//! Java's patterns for times, such as `yyyy-MM-dd HH:mm:ss`: read once, then used to write and to read times.
//!
//! Used by the functions over times. Invariant: a pattern is refused when it is checked, or it means what it means in
//! Spark; a text that does not fit one is `None`.

use std::fmt::Write;

use vitalake_contract::time_format::names::{MONTHS, WEEKDAYS};

use crate::functions::bind::Refusal;
use crate::functions::calendar::{DAY_US, SECOND_US, Zone, civil, day_of_year, days_of, iso_weekday, leap, split};

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// A letter and how many times it stands.
    Field(char, usize),
    /// The begin of a part that need not be read; it is always written.
    Optional,
}

/// A pattern for times.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<Part>);

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, Refusal> {
        let mut parts = Vec::new();
        let mut open = 0_usize;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '\'' {
                parts.push(Part::Text(quoted(&mut characters)?));
            } else if character.is_ascii_alphabetic() {
                let mut count = 1;
                while characters.next_if_eq(&character).is_some() {
                    count += 1;
                }
                parts.push(field(character, count)?);
            } else if character == '[' {
                open += 1;
                parts.push(Part::Optional);
            } else if character == ']' && open > 0 {
                open -= 1;
            } else if "]{}#".contains(character) {
                return Err(refused(&format!("the sign {character:?}")));
            } else {
                parts.push(Part::Text(character.to_string()));
            }
        }
        if open > 0 { Err(refused("the sign '[' without its end")) } else { Ok(Self(parts)) }
    }

    /// Reads a pattern by which texts will be read, where a weekday and a quarter say nothing.
    pub(crate) fn for_reading(text: &str) -> Result<Self, Refusal> {
        let pattern = Self::new(text)?;
        let found = pattern.0.iter().find_map(|part| match part {
            Part::Field('E' | 'Q', _) => Some("a weekday or a quarter that is read"),
            Part::Field('V' | 'z' | 'O', _) | Part::Field('X' | 'x' | 'Z', 4..) => {
                Some("a zone that is read by its name")
            }
            Part::Field('G' | 'F' | 'L', _) => Some("an era, a week or a month alone that is read"),
            Part::Optional => Some("a part in [ ] that may be read"),
            _ => None,
        });
        found.map_or(Ok(pattern), |what| Err(refused(what)))
    }

    /// An instant as text, in UTC.
    pub(crate) fn write(&self, micros: i64) -> Option<String> {
        let (days, rest) = split(micros);
        let mut made = String::new();
        // A year counts from its era where the pattern says the era, and has a sign where it does not.
        let has_era = self.0.iter().any(|part| matches!(part, Part::Field('G', _)));
        for part in &self.0 {
            match part {
                Part::Text(text) => made.push_str(text),
                Part::Optional => {}
                Part::Field('y', count) => {
                    let year = civil(days).year;
                    write_year(&mut made, if has_era && year <= 0 { 1 - year } else { year }, *count)?;
                }
                Part::Field(letter, count) => write_field(&mut made, *letter, *count, days, rest)?,
            }
        }
        Some(made)
    }

    /// A text as an instant; what the pattern does not say is the beginning of 1970.
    pub(crate) fn read(&self, text: &str) -> Option<i64> {
        let mut fields = Fields::default();
        let mut rest = text;
        for (index, part) in self.0.iter().enumerate() {
            rest = match part {
                Part::Text(expected) => strip_ignoring_case(rest, expected)?,
                Part::Optional => rest,
                Part::Field(letter, count) => fields.read(*letter, *count, rest, self.reserved(index))?,
            };
        }
        if rest.is_empty() { fields.instant() } else { None }
    }

    /// Digits that numbers right after this one are sure to take.
    fn reserved(&self, index: usize) -> Option<usize> {
        let following = self.0.iter().skip(index + 1);
        let widths: Vec<usize> = following
            .map_while(|part| match part {
                Part::Field(letter, count) if numeric(*letter, *count) => Some(*count),
                _ => None,
            })
            .collect();
        if widths.is_empty() { None } else { Some(widths.iter().sum()) }
    }
}

fn refused(what: &str) -> Refusal {
    Refusal::new(
        format!("{what} in a pattern for times is not known here"),
        "use y M L d D F H h K k m s S a E Q G X x Z z VV O, and text in single quotes",
    )
}

fn quoted(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, Refusal> {
    let mut text = String::new();
    if characters.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    while let Some(character) = characters.next() {
        if character != '\'' {
            text.push(character);
        } else if characters.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err(Refusal::new("a quote in this pattern is not closed", "write a second one"))
}

fn field(letter: char, count: usize) -> Result<Part, Refusal> {
    let most = match letter {
        'y' => 6,
        'M' | 'L' | 'E' | 'Q' | 'z' | 'G' | 'O' => 4,
        'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' => 2,
        'D' => 3,
        'S' => 9,
        'a' | 'F' => 1,
        'V' => 2,
        'X' | 'x' | 'Z' => 5,
        _ => return Err(refused(&format!("the letter {letter}"))),
    };
    let between = (letter == 'V' && count != 2) || (letter == 'O' && !matches!(count, 1 | 4));
    if count > most || between {
        return Err(refused(&letter.to_string().repeat(count)));
    }
    Ok(Part::Field(letter, count))
}

fn numeric(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'Q' => count <= 2,
        'y' | 'd' | 'D' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' | 'S' => true,
        _ => false,
    }
}

fn write_field(made: &mut String, letter: char, count: usize, days: i64, rest: i64) -> Option<()> {
    let date = civil(days);
    let seconds = rest / SECOND_US;
    let hour = seconds / 3600;
    let number = match letter {
        'M' | 'L' if count > 2 => return write_name(made, &MONTHS, date.month - 1, count),
        'Q' if count > 2 => return write_quarter(made, (date.month - 1) / 3, count),
        'G' => {
            let (short, long) = if date.year > 0 { ("AD", "Anno Domini") } else { ("BC", "Before Christ") };
            made.push_str(if count == 4 { long } else { short });
            return Some(());
        }
        'E' => return write_name(made, &WEEKDAYS, iso_weekday(days) - 1, count),
        'a' => {
            made.push_str(if hour < 12 { "AM" } else { "PM" });
            return Some(());
        }
        'S' => {
            let text = format!("{:09}", rest % SECOND_US * 1000);
            made.push_str(text.get(..count)?);
            return Some(());
        }
        'X' => {
            made.push('Z');
            return Some(());
        }
        'x' | 'Z' | 'V' | 'z' | 'O' => {
            made.push_str(utc(letter, count));
            return Some(());
        }
        'M' | 'L' => date.month,
        'F' => (date.day - 1) % 7 + 1,
        'Q' => (date.month - 1) / 3 + 1,
        'd' => date.day,
        'D' => day_of_year(days),
        'H' => hour,
        'h' => (hour + 11) % 12 + 1,
        'K' => hour % 12,
        'k' => (hour + 23) % 24 + 1,
        'm' => seconds / 60 % 60,
        _ => seconds % 60,
    };
    // A number with more digits than its letters is an error of Java's.
    let text = format!("{number:0count$}");
    if count > 1 && text.len() > count {
        return None;
    }
    made.push_str(&text);
    Some(())
}

/// How a letter for zones shows UTC.
fn utc(letter: char, count: usize) -> &'static str {
    match (letter, count) {
        ('x', 1) => "+00",
        ('x', 3 | 5) => "+00:00",
        ('Z', 5) => "Z",
        ('Z', 4) | ('O', _) => "GMT",
        ('z', 4) => "Coordinated Universal Time",
        ('V' | 'z', _) => "UTC",
        _ => "+0000",
    }
}

fn write_quarter(made: &mut String, index: i64, count: usize) -> Option<()> {
    let ending = ["st", "nd", "rd", "th"].get(usize::try_from(index).ok()?)?;
    let number = index + 1;
    if count == 3 { write!(made, "Q{number}").ok() } else { write!(made, "{number}{ending} quarter").ok() }
}

/// The year, with a sign where it is negative or has more digits than letters.
fn write_year(made: &mut String, year: i64, count: usize) -> Option<()> {
    if count == 2 {
        return write!(made, "{:02}", year.abs() % 100).ok();
    }
    let text = format!("{:0count$}", year.abs());
    if year < 0 {
        made.push('-');
    } else if count >= 4 && text.len() > count {
        made.push('+');
    }
    made.push_str(&text);
    Some(())
}

fn write_name(made: &mut String, names: &[&str], index: i64, count: usize) -> Option<()> {
    let name = names.get(usize::try_from(index).ok()?)?;
    made.push_str(if count == 4 { name } else { name.get(..3)? });
    Some(())
}

fn strip_ignoring_case<'a>(text: &'a str, expected: &str) -> Option<&'a str> {
    let head = text.get(..expected.len())?;
    if head.eq_ignore_ascii_case(expected) { text.get(expected.len()..) } else { None }
}

/// What a text said.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    half_hour: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    weekday: Option<i64>,
    zone: Option<Zone>,
}

impl Fields {
    fn read<'a>(&mut self, letter: char, count: usize, text: &'a str, reserved: Option<usize>) -> Option<&'a str> {
        match letter {
            'M' if count > 2 => {
                let (month, rest) = name(text, &MONTHS, count)?;
                self.month = Some(month + 1);
                return Some(rest);
            }
            'E' => {
                let (day, rest) = name(text, &WEEKDAYS, count)?;
                self.weekday = Some(day + 1);
                return Some(rest);
            }
            'a' => {
                let head = text.get(..2)?.to_ascii_uppercase();
                self.afternoon = Some(match head.as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                });
                return text.get(2..);
            }
            'X' | 'x' | 'Z' => return self.read_zone(letter, count, text),
            'S' => return self.read_fraction(count, text, reserved),
            _ => {}
        }
        let (value, rest) = number(letter, count, text, reserved)?;
        let within = |low: i64, high: i64| (low..=high).contains(&value).then_some(value);
        match letter {
            'y' => self.year = Some(if count == 2 { 2000 + value } else { value }),
            'M' => self.month = Some(within(1, 12)?),
            'd' => self.day = Some(within(1, 31)?),
            'D' => self.day_of_year = Some(within(1, 366)?),
            'H' => self.hour = Some(within(0, 23)?),
            'k' => self.hour = Some(within(1, 24)? % 24),
            'h' => self.half_hour = Some(within(1, 12)? % 12),
            'K' => self.half_hour = Some(within(0, 11)?),
            'm' => self.minute = within(0, 59)?,
            's' => self.second = within(0, 59)?,
            'Q' => {
                within(1, 4)?;
            }
            _ => return None,
        }
        Some(rest)
    }

    fn read_zone<'a>(&mut self, letter: char, count: usize, text: &'a str) -> Option<&'a str> {
        if letter == 'X' && text.starts_with(['Z', 'z']) {
            self.zone = Some(Zone::Fixed(0));
            return text.get(1..);
        }
        let length = match (letter, count) {
            ('X' | 'x', 3) => 6,
            ('X' | 'x', 1) => {
                let digits = text.get(1..)?.bytes().take_while(u8::is_ascii_digit).count();
                if digits >= 4 { 5 } else { 3 }
            }
            _ => 5,
        };
        let offset = text.get(..length)?;
        if !offset.starts_with(['+', '-']) {
            return None;
        }
        self.zone = Some(Zone::parse(offset)?);
        text.get(length..)
    }

    /// Up to as many digits as there are letters.
    fn read_fraction<'a>(&mut self, count: usize, text: &'a str, reserved: Option<usize>) -> Option<&'a str> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let taken = if reserved.is_some() { count } else { digits.min(count) };
        if taken == 0 || taken > digits {
            return None;
        }
        let padded = format!("{:0<9}", text.get(..taken)?);
        self.micros = padded.parse::<i64>().ok()? / 1000;
        text.get(taken..)
    }

    fn instant(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let days = match self.day_of_year {
            Some(day) if self.month.is_none() && self.day.is_none() => {
                let length = 365 + i64::from(leap(year));
                days_of(year, 1, 1)? + (day <= length).then_some(day - 1)?
            }
            _ => days_of(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        if self.weekday.is_some_and(|weekday| weekday != iso_weekday(days)) {
            return None;
        }
        let hour = match (self.hour, self.half_hour, self.afternoon) {
            (Some(hour), _, _) => hour,
            (None, Some(half), afternoon) => half + if afternoon.unwrap_or(false) { 12 } else { 0 },
            (None, None, Some(true)) => 12,
            _ => 0,
        };
        let time = (hour * 3600 + self.minute * 60 + self.second) * SECOND_US + self.micros;
        let local = days.checked_mul(DAY_US)?.checked_add(time)?;
        match self.zone {
            Some(zone) => zone.to_utc(local),
            None => Some(local),
        }
    }
}

/// A number of a field: of so many digits when there are several letters, of any when there is one.
fn number(letter: char, count: usize, text: &str, reserved: Option<usize>) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix('-').filter(|_| letter == 'y' && count >= 4) {
        let (year, rest) = number(letter, count, rest, reserved)?;
        return Some((-year, rest));
    }
    let signed = letter == 'y' && count >= 4 && text.starts_with('+');
    let text = if signed { text.get(1..)? } else { text };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (least, most) = match (letter, count) {
        ('y', 2) => (2, 2),
        ('y', n) if n >= 3 => (n, if reserved.is_some() || !signed { n.max(4) } else { 10 }),
        ('D', n) if n > 1 => (n, 3),
        (_, 1) => (1, 19),
        (_, n) => (n, n),
    };
    let free = digits.saturating_sub(reserved.unwrap_or(0));
    let taken = most.min(if reserved.is_some() { free.max(least) } else { digits });
    if taken < least || taken > digits || taken > 18 || (signed && taken <= count) {
        return None;
    }
    Some((text.get(..taken)?.parse().ok()?, text.get(taken..)?))
}

fn name<'a>(text: &'a str, names: &[&str], count: usize) -> Option<(i64, &'a str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if count == 4 { name } else { name.get(..3)? };
        let rest = strip_ignoring_case(text, name)?;
        Some((i64::try_from(index).ok()?, rest))
    })
}
