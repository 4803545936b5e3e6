//! Which files are deliveries, and what a file's name says of its date.
//!
//! `*` stands for any text, `?` for one character, `{date:yyyyMMdd}` for the delivery's business date; everything else
//! stands for itself. Invariant: a pattern never matches a name that a sender uses while it writes, nor one in a folder
//! below.

use chrono::{Days, NaiveDate};
use regex::Regex;

use crate::time_format::TimeFormat;

const PATTERN_BYTES_MAX: usize = 200;
const STARS_MAX: usize = 8;

/// Which names are deliveries.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    regex: Regex,
    date: Option<TimeFormat>,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Says in words what is wrong with it, and what to write in its place.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has 1 to {PATTERN_BYTES_MAX} characters, such as patients_*.csv"));
        }
        if text.contains(['/', '\\']) {
            return Err("a pattern names files of one folder: it has no / in it".to_owned());
        }
        if text.matches('*').count() > STARS_MAX {
            return Err(format!("a pattern has at most {STARS_MAX} of *"));
        }
        let (mut regex, mut date, mut rest) = (String::from("^"), None, text);
        while let Some(first) = rest.chars().next() {
            let mut taken = first.len_utf8();
            match first {
                '*' => regex.push_str("[^/]*"),
                '?' => regex.push_str("[^/]"),
                '{' => {
                    let (inner, length) = braced(rest)?;
                    if date.is_some() {
                        return Err("a pattern has one date".to_owned());
                    }
                    let format = inner.strip_prefix("date:").ok_or_else(|| {
                        format!("{{{inner}}} is not known in a pattern; write a date as {{date:yyyyMMdd}}")
                    })?;
                    regex.push_str(&format!("(?P<date>{})", digits_of(format)?));
                    date = Some(whole_date(format)?);
                    taken = length;
                }
                '}' => return Err("a } without its { before it".to_owned()),
                other => regex.push_str(&regex::escape(&other.to_string())),
            }
            rest = rest.get(taken..).unwrap_or("");
        }
        regex.push('$');
        let regex = Regex::new(&regex).map_err(|_| "the pattern is too large".to_owned())?;
        Ok(Self { text: text.to_owned(), regex, date })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether names have a date.
    #[must_use]
    pub fn has_date(&self) -> bool {
        self.date.is_some()
    }

    /// Whether a file is a delivery, and of which date; none where it is not one, or is being written.
    #[must_use]
    pub fn matches(&self, name: &str) -> Option<Option<NaiveDate>> {
        if is_temporary(name) {
            return None;
        }
        let found = self.regex.captures(name)?;
        let Some(format) = &self.date else { return Some(None) };
        Self::day(format, found.name("date")?.as_str()).map(Some)
    }

    /// Whether a name is that of a delivery but for its date, which is no day.
    #[must_use]
    pub fn is_without_day(&self, name: &str) -> bool {
        !is_temporary(name) && self.regex.is_match(name) && self.matches(name).is_none()
    }

    fn day(format: &TimeFormat, text: &str) -> Option<NaiveDate> {
        let days = format.parse_date(text.as_bytes())?;
        let epoch = NaiveDate::default();
        match u64::try_from(days) {
            Ok(days) => epoch.checked_add_days(Days::new(days)),
            Err(_) => epoch.checked_sub_days(Days::new(days.unsigned_abs().into())),
        }
    }
}

/// Whether a name is one that senders use while they write.
fn is_temporary(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ending = [".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~"];
    name.starts_with(['.', '~']) || ending.iter().any(|ending| lower.ends_with(ending))
}

/// The name of the file whose being there says that another is complete.
#[must_use]
pub fn marker_name(template: &str, name: &str) -> String {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    template.replace("{name}", name).replace("{stem}", stem)
}

/// What stands in braces at the beginning of a text, and the length with them.
fn braced(text: &str) -> Result<(&str, usize), String> {
    let end = text.find('}').ok_or_else(|| "a { that never closes".to_owned())?;
    Ok((text.get(1..end).unwrap_or(""), end + 1))
}

/// The digits that a date's letters stand for: as many as there are letters, so that what follows is not part of them.
fn digits_of(format: &str) -> Result<String, String> {
    let mut regex = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let count = rest.chars().take_while(|&letter| letter == first).count();
        match (first, count) {
            ('y' | 'u', 2 | 4) | ('M' | 'd' | 'H' | 'm' | 's', 2) | ('D', 3) => {
                regex.push_str(&format!("[0-9]{{{count}}}"));
            }
            ('-' | '_' | '.' | ' ', _) => regex.push_str(&regex::escape(&first.to_string().repeat(count))),
            _ => {
                return Err(format!(
                    "{} is not read in a file's name; write a date with yyyy, MM and dd, such as {{date:yyyyMMdd}} or {{date:yyyy-MM-dd}}",
                    first.to_string().repeat(count)
                ));
            }
        }
        rest = rest.get(first.len_utf8() * count..).unwrap_or("");
    }
    Ok(regex)
}

fn whole_date(format: &str) -> Result<TimeFormat, String> {
    let compiled = TimeFormat::compile(format, None)?;
    if compiled.has_date() {
        return Ok(compiled);
    }
    Err("a date has a year, a month and a day, such as {date:yyyyMMdd}".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("patients_{date:yyyyMMdd}*.csv", "patients_20261129.csv", Some("2026-11-29"))]
    #[case("patients_{date:yyyyMMdd}*.csv", "patients_20261129_2.csv", Some("2026-11-29"))]
    #[case("patients_{date:yyyyMMdd}*.csv", "patients_2026112.csv", None)]
    #[case("patients_{date:yyyyMMdd}.csv", "patients_20260230.csv", None)]
    #[case("patients_{date:yyyyMMdd}.csv", "xpatients_20261129.csv", None)]
    #[case("patients_{date:yyyyMMdd}.csv", "patients_20261129.csv.gz", None)]
    #[case("{date:yyyy-MM-dd}.*", "2026-11-29.ndjson.gz", Some("2026-11-29"))]
    #[case("{date:ddMMyy}?.csv", "291126a.csv", Some("2026-11-29"))]
    #[case("{date:yyyyMMddHHmm}.csv", "202611290545.csv", Some("2026-11-29"))]
    #[case("a+(b)*{date:yyyyDDD}.csv", "a+(b)x2026333.csv", Some("2026-11-29"))]
    fn a_name_says_its_date(#[case] pattern: &str, #[case] name: &str, #[case] want: Option<&str>) {
        let found = NamePattern::new(pattern).unwrap().matches(name);
        assert_eq!(found.map(|date| date.unwrap().to_string()).as_deref(), want);
    }

    #[rstest]
    #[case("p_20260230.csv", true)]
    #[case("p_20261301.csv", true)]
    #[case("p_20260228.csv", false)]
    #[case("p_2026023.csv", false)]
    #[case(".p_20260230.csv", false)]
    fn a_date_that_is_no_day_is_told_from_a_name_that_is_none(#[case] name: &str, #[case] want: bool) {
        assert_eq!(NamePattern::new("p_{date:yyyyMMdd}*.csv").unwrap().is_without_day(name), want);
    }

    #[rstest]
    #[case("a.csv", true)]
    #[case(".a.csv", false)]
    #[case("~a.csv", false)]
    #[case("a.csv~", false)]
    #[case("a.csv.tmp", false)]
    #[case("a.PART", false)]
    #[case("a.csv.filepart", false)]
    fn what_is_being_written_is_no_delivery(#[case] name: &str, #[case] want: bool) {
        assert_eq!(NamePattern::new("*").unwrap().matches(name).is_some(), want);
    }

    #[rstest]
    #[case("")]
    #[case("../a.csv")]
    #[case("sub/a.csv")]
    #[case("a_{date}.csv")]
    #[case("a_{date:yyyyMM}.csv")]
    #[case("a_{date:yyyyMMMdd}.csv")]
    #[case("a_{day:yyyyMMdd}.csv")]
    #[case("a_{date:yyyyMMdd")]
    #[case("{date:yyyyMMdd}{date:yyyyMMdd}")]
    #[case("a}b")]
    #[case("*********")]
    fn what_is_no_pattern(#[case] pattern: &str) {
        assert!(NamePattern::new(pattern).is_err());
    }

    #[test]
    fn a_marker_is_named_after_its_file() {
        assert_eq!(marker_name("{name}.done", "a.csv.gz"), "a.csv.gz.done");
        assert_eq!(marker_name("{stem}.ok", "a.csv.gz"), "a.ok");
    }
}
