//! What type the values of one column have, as far as a sample shows: every value that is seen rules some types out.
//!
//! Forms of dates and times are tried with the very parser that landing uses. Invariant: of a value nothing is kept but
//! a hash that tells whether it stood twice, so none can come into a contract.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use vitalake_contract::time_format::{TimeFormat, is_time, parse_iso_date, parse_rfc3339};

use super::name::is_identifier;

/// Different values that are remembered to find a key; a column with more is taken for one.
const DISTINCT_MAX: usize = 1 << 20;
/// The zone that is written where the sample names none.
pub(super) const ZONE_ASSUMED: &str = "Etc/UTC";

/// Forms of days, the likelier first: where several fit, months come before days.
const DAYS: [&str; 10] = [
    "M/d/yyyy",
    "d/M/yyyy",
    "d.M.yyyy",
    "M-d-yyyy",
    "d-M-yyyy",
    "yyyy/M/d",
    "d-MMM-yyyy",
    "MMM d, yyyy",
    "yyyyMMdd",
    "yyyy.M.d",
];
/// Forms of moments. Those with an offset first; what stands in brackets may be absent.
const MOMENTS: [&str; 14] = [
    "yyyy-MM-dd HH:mm:ss Z",
    "yyyy-MM-dd'T'HH:mm:ssZ",
    "yyyy-MM-dd HH:mm:ssXXX",
    "yyyy-MM-dd'T'HH:mm:ss",
    "yyyy-MM-dd'T'HH:mm:ss.SSS",
    "yyyy-MM-dd'T'HH:mm",
    "yyyy-MM-dd HH:mm:ss",
    "yyyy-MM-dd HH:mm:ss.SSS",
    "yyyy-MM-dd HH:mm",
    "M/d/yyyy h:mm:ss a",
    "M/d/yyyy h:mm a",
    "M/d/yyyy H:mm:ss",
    "M/d/yyyy H:mm",
    "d/M/yyyy H:mm:ss",
];
/// More forms of moments, that hardly anybody writes.
const MORE_MOMENTS: [&str; 5] =
    ["d/M/yyyy H:mm", "d.M.yyyy H:mm:ss", "d.M.yyyy H:mm", "yyyy/MM/dd HH:mm:ss", "yyyyMMdd'T'HHmmss"];
/// Forms of times of day beside ISO 8601's.
const TIMES: [&str; 4] = ["h:mm:ss a", "h:mm a", "H:mm:ss", "H:mm"];

/// A type with what a contract says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// The contract's `logicalType`.
    pub(super) logical: &'static str,
    /// The contract's `format`.
    pub(super) format: Option<&'static str>,
    /// Whether the format names no zone.
    pub(super) zoneless: bool,
    /// Another form that fits as well, where months and days could be exchanged.
    pub(super) or: Option<&'static str>,
    /// Whether every value of the sample fits.
    pub(super) fits_all: bool,
    /// Whether digits were taken for an identifier.
    pub(super) identifier: bool,
}

/// A value of the sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Boolean,
    Whole,
    Real,
    /// Text of JSON, which is never a number.
    Text(&'a str),
    /// A cell of a CSV, which may be anything.
    Cell(&'a str),
    Object,
    Array,
}

/// What was seen of a column so far.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Values that are there.
    pub(super) values: u64,
    booleans: u64,
    wholes: u64,
    reals: u64,
    texts: u64,
    objects: u64,
    arrays: u64,
    forms: Option<Forms>,
    /// Hashes of all values; none once one stood twice.
    distinct: Option<HashSet<u64>>,
}

impl Default for Seen {
    fn default() -> Self {
        let (values, booleans, wholes, reals, texts, objects, arrays) = Default::default();
        let distinct = Some(HashSet::new());
        Self { values, booleans, wholes, reals, texts, objects, arrays, forms: None, distinct }
    }
}

impl Seen {
    /// Takes a value.
    pub(super) fn see(&mut self, value: Value<'_>) {
        self.values += 1;
        match value {
            Value::Boolean => self.booleans += 1,
            Value::Whole => self.wholes += 1,
            Value::Real => self.reals += 1,
            Value::Object => self.objects += 1,
            Value::Array => self.arrays += 1,
            Value::Text(text) | Value::Cell(text) => {
                self.texts += 1;
                self.forms.get_or_insert_with(Forms::all).keep(text, matches!(value, Value::Cell(_)));
            }
        }
    }

    /// Takes a value's text, to see whether it stands twice.
    pub(super) fn see_again(&mut self, text: &str) {
        static HASHER: OnceLock<RandomState> = OnceLock::new();
        let Some(distinct) = &mut self.distinct else { return };
        let hash = HASHER.get_or_init(RandomState::new).hash_one(text);
        if distinct.len() < DISTINCT_MAX && !distinct.insert(hash) {
            self.distinct = None;
        }
    }

    /// Whether no value stood twice.
    pub(super) fn is_distinct(&self) -> bool {
        self.distinct.is_some()
    }

    /// The type that most values have.
    pub(super) fn guess(&self, name: &str) -> Guess {
        let numbers = self.wholes + self.reals;
        let nested = self.objects + self.arrays;
        let most = [self.booleans, numbers, self.texts, nested].into_iter().max().unwrap_or(0);
        let plain = |logical, of: u64| Guess {
            logical,
            format: None,
            zoneless: false,
            or: None,
            fits_all: of == self.values,
            identifier: false,
        };
        if most == 0 {
            return plain("string", 0);
        }
        match &self.forms {
            Some(forms) if most == self.texts => Guess { fits_all: self.texts == self.values, ..forms.guess(name) },
            _ if most == self.booleans => plain("boolean", self.booleans),
            _ if most == numbers && self.reals == 0 => plain("integer", self.wholes),
            _ if most == numbers => plain("number", numbers),
            _ if self.objects == 0 => plain("array", nested),
            _ => plain("object", nested),
        }
    }
}

/// What all texts so far can be read as.
#[derive(Clone, Debug)]
struct Forms {
    boolean: bool,
    whole: bool,
    real: bool,
    nested: bool,
    iso_day: bool,
    iso_moment: bool,
    iso_time: bool,
    days: Vec<usize>,
    moments: Vec<usize>,
    times: Vec<usize>,
}

impl Forms {
    fn all() -> Self {
        let of = |formats: &[(&str, TimeFormat)]| (0..formats.len()).collect();
        let known = known();
        Self {
            boolean: true,
            whole: true,
            real: true,
            nested: true,
            iso_day: true,
            iso_moment: true,
            iso_time: true,
            days: of(&known.days),
            moments: of(&known.moments),
            times: of(&known.times),
        }
    }

    fn keep(&mut self, text: &str, cell: bool) {
        let (bytes, trimmed) = (text.as_bytes(), text.trim_ascii());
        let known = known();
        self.boolean &= cell && (trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false"));
        // A number that begins with a zero is written with care, and no quantity.
        let digits = trimmed.strip_prefix('-').unwrap_or(trimmed);
        let quantity = cell && !(digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0."));
        self.whole &= quantity && trimmed.parse::<i64>().is_ok();
        self.real &= quantity && trimmed.parse::<f64>().is_ok_and(f64::is_finite);
        self.nested &=
            cell && trimmed.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(trimmed).is_ok();
        self.iso_day = self.iso_day && parse_iso_date(bytes).is_some();
        self.iso_moment = self.iso_moment && parse_rfc3339(bytes).is_some();
        self.iso_time = self.iso_time && is_time(None, bytes);
        let fits = |formats: &[(&str, TimeFormat)], at: usize, parse: fn(&TimeFormat, &[u8]) -> bool| {
            formats.get(at).is_some_and(|(_, format)| parse(format, bytes))
        };
        self.days.retain(|at| fits(&known.days, *at, |format, bytes| format.parse_date(bytes).is_some()));
        self.moments.retain(|at| fits(&known.moments, *at, |format, bytes| format.parse_timestamp(bytes).is_some()));
        self.times.retain(|at| fits(&known.times, *at, |format, bytes| format.parse_time(bytes).is_some()));
    }

    fn guess(&self, name: &str) -> Guess {
        let known = known();
        let plain =
            |logical| Guess { logical, format: None, zoneless: false, or: None, fits_all: true, identifier: false };
        let formed = |logical, formats: &'static [(&'static str, TimeFormat)], fitting: &[usize]| {
            let mut fitting = fitting.iter().filter_map(|at| formats.get(*at));
            let (format, compiled) = fitting.next()?;
            let zoneless = logical == "timestamp" && !compiled.has_zone();
            let or = fitting.next().map(|(other, _)| *other);
            Some(Guess { logical, format: Some(format), zoneless, or, ..plain(logical) })
        };
        let says_day = ["date", "day", "_on"].iter().any(|word| name.contains(word));
        let digits = self.whole && (!says_day || self.days.is_empty());
        if self.boolean {
            return plain("boolean");
        }
        if (self.whole || self.real) && is_identifier(name) {
            return Guess { identifier: true, ..plain("string") };
        }
        if digits {
            return plain("integer");
        }
        if self.iso_moment {
            return plain("timestamp");
        }
        if self.iso_day {
            return plain("date");
        }
        let other = || {
            let times = || formed("time", &known.times, &self.times);
            formed("date", &known.days, &self.days)
                .or_else(|| formed("timestamp", &known.moments, &self.moments))
                .or_else(times)
        };
        match (self.real && !says_day, self.iso_time, self.nested) {
            (true, ..) => plain("number"),
            (_, true, _) => plain("time"),
            (.., true) => plain("object"),
            _ => other().unwrap_or_else(|| if self.real { plain("number") } else { plain("string") }),
        }
    }
}

/// Forms, compiled.
struct Known {
    days: Vec<(&'static str, TimeFormat)>,
    moments: Vec<(&'static str, TimeFormat)>,
    times: Vec<(&'static str, TimeFormat)>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let compile = |formats: &[&'static str]| {
            let compiled =
                |format: &&'static str| Some((*format, TimeFormat::compile(format, ZONE_ASSUMED.parse().ok()).ok()?));
            formats.iter().filter_map(compiled).collect()
        };
        let moments: Vec<&'static str> = MOMENTS.into_iter().chain(MORE_MOMENTS).collect();
        Known { days: compile(&DAYS), moments: compile(&moments), times: compile(&TIMES) }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[rstest::rstest]
    #[case("n", &["1", "-20", " 3 "], "integer", None)]
    #[case("n", &["1", "2.5", "1e3"], "number", None)]
    #[case("n", &["007", "12"], "string", None)]
    #[case("n", &["0.5", "-0.25", "0"], "number", None)]
    #[case("n", &["1", ""], "string", None)]
    #[case("user_id", &["1503960366", "22"], "string", None)]
    #[case("worn", &["TRUE", "false"], "boolean", None)]
    #[case("day", &["2016-05-01"], "date", None)]
    #[case("day", &["5/13/2016", "5/1/2016"], "date", Some("M/d/yyyy"))]
    #[case("day", &["13/5/2016", "1/5/2016"], "date", Some("d/M/yyyy"))]
    #[case("day", &["20160501"], "date", Some("yyyyMMdd"))]
    #[case("steps", &["20160501"], "integer", None)]
    #[case("at", &["2016-05-01T08:00:00Z", "2016-05-01T08:00:00.5+02:00"], "timestamp", None)]
    #[case("at", &["2016-05-01 08:00:00"], "timestamp", Some("yyyy-MM-dd HH:mm:ss"))]
    #[case("at", &["4/12/2016 1:00:00 AM", "4/13/2016 12:59:59 PM"], "timestamp", Some("M/d/yyyy h:mm:ss a"))]
    #[case("at", &["2017-07-08 21:12:04 -0400"], "timestamp", Some("yyyy-MM-dd HH:mm:ss Z"))]
    #[case("clock", &["08:00", "23:59:01"], "time", None)]
    #[case("clock", &["8:00 PM"], "time", Some("h:mm a"))]
    #[case("tags", &["{\"a\":1}", "[]"], "object", None)]
    #[case("text", &["nan", "inf"], "string", None)]
    #[case("text", &["2016-05-01", "tomorrow"], "string", None)]
    fn a_column_has_the_type_that_all_of_its_values_have(
        #[case] name: &str,
        #[case] values: &[&str],
        #[case] logical: &str,
        #[case] format: Option<&str>,
    ) {
        let mut seen = Seen::default();
        values.iter().for_each(|value| seen.see(Value::Cell(value)));
        let guess = seen.guess(name);
        assert_eq!((guess.logical, guess.format), (logical, format));
    }

    #[test]
    fn every_form_is_one_that_a_contract_can_have() {
        let known = known();
        assert_eq!(known.days.len(), DAYS.len());
        assert_eq!(known.moments.len(), MOMENTS.len() + MORE_MOMENTS.len());
        assert_eq!(known.times.len(), TIMES.len());
    }

    #[test]
    fn months_and_days_that_could_be_exchanged_are_said() {
        let mut seen = Seen::default();
        seen.see(Value::Cell("5/1/2016"));
        assert_eq!(seen.guess("day").or, Some("d/M/yyyy"));
    }
}
