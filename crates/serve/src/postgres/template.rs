//! `to_char`, `to_date` and `to_timestamp`: times by a template such as `YYYY-MM-DD HH24:MI:SS.US`, as dashboard tools
//! write the bounds of a filter.
//!
//! Invariant: what a template has and is not known here is refused by name, and no message holds a value.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Date32Array, Float64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use vitalake_contract::time_format::names::{MONTHS, WEEKDAYS};

use crate::error::QueryError;

/// The longest template.
const TEMPLATE_BYTES_MAX: usize = 256;

/// A function over a template.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Templated {
    name: &'static str,
    signature: Signature,
}

/// The functions.
pub fn functions() -> [Arc<ScalarUDF>; 3] {
    ["to_char", "to_date", "to_timestamp"].map(|name| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Templated { name, signature }))
    })
}

fn refused<T>(message: impl Into<String>) -> Result<T> {
    Err(DataFusionError::External(Box::new(QueryError::invalid(message.into()))))
}

fn moments() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl ScalarUDFImpl for Templated {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.name, types) {
            ("to_timestamp", [kind]) if kind.is_numeric() => Ok(moments()),
            ("to_timestamp", [_, _]) => Ok(moments()),
            ("to_date", [_, _]) => Ok(DataType::Date32),
            ("to_char", [kind, _]) if kind.is_temporal() || kind.is_null() => Ok(DataType::Utf8),
            ("to_char", [_, _]) => refused("to_char of what is no time is not supported: use round and a cast to text"),
            (name, _) => plan_err!("wrong number of arguments of {name}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let array: ArrayRef = match arrays.as_slice() {
            [seconds] => {
                let seconds = cast(seconds, &DataType::Float64)?;
                Arc::new(of_seconds(seconds.as_primitive::<Float64Type>()).with_timezone("UTC"))
            }
            [first, templates] => {
                let templates = cast(templates, &DataType::Utf8)?;
                self.of_both(first, templates.as_string::<i32>())?
            }
            _ => return plan_err!("wrong number of arguments"),
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// The template that was read last: it is the same for all rows but where somebody computes it.
#[derive(Default)]
struct Read {
    text: String,
    parts: Vec<Part>,
}

impl Read {
    fn parts(&mut self, text: &str) -> Result<&[Part]> {
        if self.text != text {
            (self.parts, self.text) = (parts_of(text)?, text.to_owned());
        }
        Ok(&self.parts)
    }
}

impl Templated {
    fn of_both(&self, first: &ArrayRef, templates: &StringArray) -> Result<ArrayRef> {
        let mut read = Read::default();
        if self.name == "to_char" {
            let times = cast(&cast(first, &DataType::Timestamp(TimeUnit::Microsecond, None))?, &moments())?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let shown = (0..times.len()).map(|row| {
                if times.is_null(row) || templates.is_null(row) {
                    return Ok(None);
                }
                let moment = DateTime::from_timestamp_micros(times.value(row));
                let parts = read.parts(templates.value(row))?;
                Ok(moment.map(|moment| shown(moment.naive_utc(), parts)))
            });
            return Ok(Arc::new(shown.collect::<Result<StringArray>>()?));
        }
        let texts = cast(first, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let found = (0..texts.len()).map(|row| {
            if texts.is_null(row) || templates.is_null(row) {
                return Ok(None);
            }
            match read_by(texts.value(row), read.parts(templates.value(row))?) {
                Some(time) => Ok(Some(time.and_utc().timestamp_micros())),
                None => refused("a value could not be cast to a time by its template"),
            }
        });
        let moments: TimestampMicrosecondArray = found.collect::<Result<_>>()?;
        let moments: ArrayRef = Arc::new(moments);
        if self.name == "to_date" {
            let dates = cast(&moments, &DataType::Date32)?;
            let dates: Date32Array = dates.as_primitive::<Date32Type>().clone();
            return Ok(Arc::new(dates));
        }
        Ok(Arc::new(moments.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC")))
    }
}

fn of_seconds(seconds: &Float64Array) -> TimestampMicrosecondArray {
    let moment = |seconds: f64| {
        let micros = (seconds * 1e6).round();
        (micros.abs() < 9.2e18).then_some(micros as i64)
    };
    seconds.iter().map(|seconds| seconds.and_then(moment)).collect()
}

/// Part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    what: What,
    /// Whether nothing fills it up.
    is_bare: bool,
}

/// What a part stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A number of so many digits.
    Number(Field, usize),
    /// The name of a month, whole or short.
    Month(Case, bool),
    /// The name of a weekday, whole or short.
    Day(Case, bool),
    /// `AM` or `PM`.
    Half(Case),
    /// A sign as it is.
    Sign(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    ShortYear,
    Month,
    Day,
    Hour,
    HalfHour,
    Minute,
    Second,
    Milli,
    Micro,
    OfYear,
    OfWeek,
    Quarter,
    Week,
    WeekYear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

const NUMBERS: [(&str, Field, usize); 18] = [
    ("HH24", Field::Hour, 2),
    ("HH12", Field::HalfHour, 2),
    ("YYYY", Field::Year, 4),
    ("IYYY", Field::WeekYear, 4),
    ("DDD", Field::OfYear, 3),
    ("YY", Field::ShortYear, 2),
    ("MM", Field::Month, 2),
    ("DD", Field::Day, 2),
    ("HH", Field::HalfHour, 2),
    ("MI", Field::Minute, 2),
    ("SS", Field::Second, 2),
    ("MS", Field::Milli, 3),
    ("US", Field::Micro, 6),
    ("FF3", Field::Milli, 3),
    ("FF6", Field::Micro, 6),
    ("IW", Field::Week, 2),
    ("ID", Field::OfWeek, 1),
    ("Q", Field::Quarter, 1),
];

fn parts_of(template: &str) -> Result<Vec<Part>> {
    if template.len() > TEMPLATE_BYTES_MAX {
        return refused("a template for times that is so long is not supported");
    }
    let mut parts = Vec::new();
    let (mut rest, mut is_bare) = (template, false);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = strip(rest, "FM") {
            (rest, is_bare) = (after, true);
            continue;
        }
        let (what, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            parts.extend(text.chars().map(|sign| Part { what: What::Sign(sign), is_bare: false }));
            rest = after;
            continue;
        } else if let Some(found) = word(rest) {
            found
        } else if first.is_ascii_alphabetic() {
            return refused(
                "a template for times with other words than YYYY, MM, DD, HH24, MI, SS and so on is not supported",
            );
        } else {
            (What::Sign(first), rest.get(first.len_utf8()..).unwrap_or_default())
        };
        parts.push(Part { what, is_bare });
        (rest, is_bare) = (after, false);
    }
    Ok(parts)
}

/// The rest of a text that begins with a word in whatever case.
fn strip<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let begin = text.get(..word.len())?;
    begin.eq_ignore_ascii_case(word).then(|| text.get(word.len()..)).flatten()
}

/// The part that a template begins with.
fn word(template: &str) -> Option<(What, &str)> {
    for (word, whole) in [("MONTH", true), ("MON", false)] {
        if let Some(after) = strip(template, word) {
            return Some((What::Month(case(template), whole), after));
        }
    }
    for (word, whole) in [("DAY", true), ("DY", false)] {
        if let Some(after) = strip(template, word) {
            return Some((What::Day(case(template), whole), after));
        }
    }
    if let Some(after) = strip(template, "AM").or_else(|| strip(template, "PM")) {
        return Some((What::Half(case(template)), after));
    }
    NUMBERS.iter().find_map(|(word, field, digits)| Some((What::Number(*field, *digits), strip(template, word)?)))
}

fn case(word: &str) -> Case {
    let mut signs = word.chars();
    match (signs.next().is_some_and(char::is_uppercase), signs.next().is_some_and(char::is_uppercase)) {
        (true, true) => Case::Upper,
        (true, false) => Case::Capital,
        (false, _) => Case::Lower,
    }
}

fn cased(word: &str, case: Case) -> String {
    match case {
        Case::Upper => word.to_uppercase(),
        Case::Capital => word.to_owned(),
        Case::Lower => word.to_lowercase(),
    }
}

/// A time as a template shows it.
fn shown(time: NaiveDateTime, parts: &[Part]) -> String {
    let mut text = String::new();
    for Part { what, is_bare } in parts {
        match what {
            What::Sign(sign) => text.push(*sign),
            What::Half(case) => text.push_str(&cased(if time.hour() < 12 { "AM" } else { "PM" }, *case)),
            What::Month(case, whole) => text.push_str(&name(&MONTHS, time.month0(), *case, (*whole, *is_bare))),
            What::Day(case, whole) => {
                text.push_str(&name(&WEEKDAYS, time.weekday().num_days_from_monday(), *case, (*whole, *is_bare)));
            }
            What::Number(field, digits) => {
                let digits = if *is_bare { 0 } else { *digits };
                text.push_str(&format!("{:0digits$}", number(time, *field)));
            }
        }
    }
    text
}

fn name(names: &[&str], index: u32, case: Case, (whole, is_bare): (bool, bool)) -> String {
    let name = usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default();
    let name = cased(if whole { name } else { name.get(..3).unwrap_or(name) }, case);
    if whole && !is_bare { format!("{name:<9}") } else { name }
}

fn number(time: NaiveDateTime, field: Field) -> i64 {
    let hour = i64::from(time.hour());
    match field {
        Field::Year => i64::from(time.year()),
        Field::ShortYear => i64::from(time.year().rem_euclid(100)),
        Field::Month => i64::from(time.month()),
        Field::Day => i64::from(time.day()),
        Field::Hour => hour,
        Field::HalfHour => (hour + 11) % 12 + 1,
        Field::Minute => i64::from(time.minute()),
        Field::Second => i64::from(time.second()),
        Field::Milli => i64::from(time.nanosecond() / 1_000_000 % 1_000),
        Field::Micro => i64::from(time.nanosecond() / 1_000 % 1_000_000),
        Field::OfYear => i64::from(time.ordinal()),
        Field::OfWeek => i64::from(time.weekday().number_from_monday()),
        Field::Quarter => i64::from(time.month0() / 3 + 1),
        Field::Week => i64::from(time.iso_week().week()),
        Field::WeekYear => i64::from(time.iso_week().year()),
    }
}

/// The time that a text has by a template; none where it has none.
fn read_by(text: &str, parts: &[Part]) -> Option<NaiveDateTime> {
    let (mut year, mut month, mut day, mut of_year) = (1, 1, 1, None);
    let (mut hour, mut minute, mut second, mut micro, mut is_late) = (0, 0, 0, 0_u32, None);
    let mut rest = text.trim_start();
    for Part { what, .. } in parts {
        match what {
            What::Sign(sign) => {
                // A sign stands for any that is no letter and no digit.
                let next = rest.chars().next();
                if let Some(next) = next.filter(|next| next == sign || !next.is_alphanumeric()) {
                    rest = rest.get(next.len_utf8()..)?;
                }
            }
            What::Half(_) => {
                is_late = Some(rest.get(..2)?.eq_ignore_ascii_case("PM"));
                rest = rest.get(2..)?;
            }
            What::Month(_, whole) => {
                let length = |name: &str| if *whole { name.len() } else { 3 };
                let at =
                    MONTHS.iter().position(|&name| strip(rest, name.get(..length(name)).unwrap_or(name)).is_some())?;
                month = u32::try_from(at).ok()? + 1;
                rest = rest.get(length(MONTHS.get(at).copied()?)..)?;
            }
            What::Day(..) => rest = rest.trim_start_matches(|sign: char| sign.is_alphabetic()),
            What::Number(field, digits) => {
                rest = rest.trim_start();
                let end = rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len()).min(*digits);
                let (found, after) = rest.split_at_checked(end)?;
                let value: u32 = found.parse().ok()?;
                rest = after;
                match field {
                    Field::Year => year = i32::try_from(value).ok()?,
                    Field::ShortYear => year = i32::try_from(value).ok()? + if value < 70 { 2000 } else { 1900 },
                    Field::Month => month = value,
                    Field::Day => day = value,
                    Field::Hour | Field::HalfHour => hour = value,
                    Field::Minute => minute = value,
                    Field::Second => second = value,
                    Field::Milli | Field::Micro => micro = value * 10_u32.checked_pow(6 - u32::try_from(end).ok()?)?,
                    Field::OfYear => of_year = Some(value),
                    Field::OfWeek | Field::Quarter | Field::Week | Field::WeekYear => {}
                }
            }
        }
    }
    hour = match is_late {
        Some(is_late) => hour % 12 + if is_late { 12 } else { 0 },
        None => hour,
    };
    let date = match of_year {
        Some(day) => NaiveDate::from_yo_opt(year, day)?,
        None => NaiveDate::from_ymd_opt(year, month, day)?,
    };
    Some(date.and_time(NaiveTime::from_hms_micro_opt(hour, minute, second, micro)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    // What PostgreSQL 15 gives.
    #[rstest]
    #[case("2026-01-02 03:04:05.000006", "YYYY-MM-DD HH24:MI:SS.US", "2026-01-02T03:04:05.000006")]
    #[case("2026-01-02 03:04:05.5", "YYYY-MM-DD HH24:MI:SS.MS", "2026-01-02T03:04:05.500")]
    #[case("2026-1-2", "YYYY-MM-DD", "2026-01-02T00:00:00")]
    #[case("20260102", "YYYYMMDD", "2026-01-02T00:00:00")]
    #[case("02 Mar 2026 11:30 PM", "DD Mon YYYY HH12:MI AM", "2026-03-02T23:30:00")]
    #[case("2026-060", "YYYY-DDD", "2026-03-01T00:00:00")]
    fn texts_are_read_by_templates(#[case] text: &str, #[case] template: &str, #[case] expected: &str) {
        let read = read_by(text, &parts_of(template).unwrap()).unwrap();
        assert_eq!(read, expected.parse().unwrap());
    }

    #[rstest]
    #[case("YYYY-MM-DD\"T\"HH24:MI:SS.MS", "2026-03-01T15:04:05.006")]
    #[case("FMMonth FMDD, YY", "March 1, 26")]
    #[case("Month|Dy|DAY", "March    |Sun|SUNDAY   ")]
    #[case("HH12:MI am", "03:04 pm")]
    #[case("IYYY-IW-ID Q DDD", "2026-09-7 1 060")]
    fn times_are_shown_by_templates(#[case] template: &str, #[case] expected: &str) {
        let time: NaiveDateTime = "2026-03-01T15:04:05.006".parse().unwrap();
        assert_eq!(shown(time, &parts_of(template).unwrap()), expected);
    }

    #[test]
    fn what_is_no_time_is_none_and_an_unknown_word_is_refused() {
        for text in ["", "2026-13-01", "2026-02-30", "x"] {
            assert_eq!(read_by(text, &parts_of("YYYY-MM-DD").unwrap()), None, "{text}");
        }
        for template in ["YYYY-J", "TZ", "DD-RM"] {
            assert!(parts_of(template).is_err(), "{template}");
        }
    }
}
