//! `logicalTypeOptions` as row rules: lengths, patterns, ranges, multiples, and what a narrow format can hold.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone};

use super::columns::Columns;
use super::{Context, pattern};
use crate::contract::ColumnType;
use crate::rule::{Bound, Check};
use crate::time_format::TimeFormat;
use crate::yaml::{Node, Value, shorten};

impl Context<'_> {
    /// The compiled `format` of a date or time; the format is not read in layers that no decoder fills, but checked.
    pub(super) fn time_format(&mut self, options: Option<&Node>, zone: Option<chrono_tz::Tz>) -> Option<TimeFormat> {
        let node = options?.get("format")?;
        let text = node.text()?;
        match TimeFormat::compile(text, zone) {
            Ok(format) => Some(format),
            Err(reason) => {
                let message = format!("the format `{}` is not understood: {reason}", shorten(text));
                self.error(
                    node.place,
                    "bad-format",
                    message,
                    "write a pattern of Java's DateTimeFormatter: yyyy-MM-dd HH:mm:ss",
                );
                None
            }
        }
    }

    pub(super) fn option_rules(&mut self, options: &Node, column: usize, columns: &mut Columns) {
        let Some(kind) = columns.columns.get(column).map(|c| c.kind.clone()) else {
            return;
        };
        let minimum_length = self.length(options, "minLength");
        let maximum_length = self.length(options, "maxLength");
        if let (Some(minimum), Some(maximum)) = (minimum_length, maximum_length)
            && minimum > maximum
        {
            self.empty_range(options, "minLength", "maxLength");
        }
        if let Some(length) = minimum_length {
            columns.row_rule(column, "minLength", Check::MinLength(length));
        }
        if let Some(length) = maximum_length {
            columns.row_rule(column, "maxLength", Check::MaxLength(length));
        }
        if let Some((node, text)) = options.get("pattern").and_then(|node| Some((node, node.text()?))) {
            match pattern::compile(text) {
                Ok(regex) => columns.row_rule(column, "pattern", Check::Pattern(regex)),
                Err(reason) => {
                    let message = format!("the pattern is not understood: {reason}");
                    self.error(
                        node.place,
                        "bad-pattern",
                        message,
                        "write it in ECMA 262 without look-around and back-references",
                    );
                }
            }
        }
        self.range(options, &kind, column, columns);
        if let Some(step) = options.get("multipleOf").and_then(Node::number).filter(|step| *step > 0.0) {
            columns.row_rule(column, "multipleOf", Check::MultipleOf(step));
        }
        if let Some((minimum, maximum)) = narrow(options.get("format").and_then(Node::text), &kind) {
            columns.row_rule(column, "format", Check::Minimum(Bound::Whole(minimum)));
            columns.row_rule(column, "format", Check::Maximum(Bound::Whole(maximum)));
        }
    }

    fn length(&mut self, options: &Node, key: &str) -> Option<u64> {
        let node = options.get(key)?;
        let length = node.integer().and_then(|length| u64::try_from(length).ok());
        if length.is_none() {
            self.error(node.place, "wrong-type", format!("`{key}` must be a whole number from 0"), "correct it");
        }
        length
    }

    fn range(&mut self, options: &Node, kind: &ColumnType, column: usize, columns: &mut Columns) {
        let mut lowest: Option<(&str, Limit)> = None;
        let mut highest: Option<(&str, Limit)> = None;
        for key in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
            let Some(node) = options.get(key) else {
                continue;
            };
            let upper = key.ends_with("aximum");
            // In 3.0.x an exclusive bound is a flag beside the bound itself.
            if node.boolean().is_some() {
                continue;
            }
            let Some(mut limit) = self.limit(node, key, kind) else {
                continue;
            };
            let flag = if upper { "exclusiveMaximum" } else { "exclusiveMinimum" };
            limit.open |= options.get(flag).and_then(Node::boolean) == Some(true);
            let check = match (upper, limit.open) {
                (false, false) => Check::Minimum(limit.bound),
                (false, true) => Check::ExclusiveMinimum(limit.bound),
                (true, false) => Check::Maximum(limit.bound),
                (true, true) => Check::ExclusiveMaximum(limit.bound),
            };
            columns.row_rule(column, key, check);
            *(if upper { &mut highest } else { &mut lowest }) = Some((key, limit));
        }
        if let (Some((low_key, low)), Some((high_key, high))) = (lowest, highest)
            && low.leaves_nothing_below(high)
        {
            self.empty_range(options, low_key, high_key);
        }
    }

    fn empty_range(&mut self, options: &Node, low: &str, high: &str) {
        let Some(node) = options.get(low) else { return };
        let message = format!("no value can keep both `{low}` and `{high}`");
        self.error(node.place, "empty-range", message, "exchange or correct the two");
    }

    fn limit(&mut self, node: &Node, key: &str, kind: &ColumnType) -> Option<Limit> {
        let open = key.starts_with("exclusive");
        let bound = match kind {
            ColumnType::Long | ColumnType::Int => return whole(node, key, open),
            ColumnType::Double | ColumnType::Float => {
                return node.number().map(|n| Limit { bound: Bound::Real(n), open });
            }
            ColumnType::Date(format) => node.text().and_then(|text| date(text, format.as_ref())),
            ColumnType::Timestamp(format) => node.text().and_then(|text| instant(text, format.as_ref())),
            ColumnType::Time(_) => {
                let message = format!("`{key}` is not supported on a time of day, which is kept as text");
                self.error(
                    node.place,
                    "unsupported-option",
                    message,
                    "use a `pattern` on a string, or an sql rule under `quality`",
                );
                return None;
            }
            ColumnType::String | ColumnType::Boolean | ColumnType::Json => return None,
        };
        if bound.is_none() && node.text().is_some() {
            let help = if matches!(kind, ColumnType::Date(_)) {
                "write it as 2024-01-31"
            } else {
                "write it as 2024-01-31T00:00:00Z"
            };
            self.error(node.place, "bad-bound", format!("`{key}` is not a {}", name_of(kind)), help);
        }
        bound.map(|bound| Limit { bound: Bound::Whole(bound), open })
    }
}

#[derive(Clone, Copy)]
struct Limit {
    bound: Bound,
    open: bool,
}

impl Limit {
    fn leaves_nothing_below(self, upper: Self) -> bool {
        let open = self.open || upper.open;
        match (self.bound, upper.bound) {
            (Bound::Whole(low), Bound::Whole(high)) => low > high || (open && low == high),
            (Bound::Real(low), Bound::Real(high)) => low > high || (open && low >= high),
            _ => false,
        }
    }
}

fn name_of(kind: &ColumnType) -> &'static str {
    if matches!(kind, ColumnType::Date(_)) { "date" } else { "timestamp" }
}

/// The bound of a whole number; a fractional one is moved to the nearest whole number within, which it then includes.
#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, and so bounds as before")]
fn whole(node: &Node, key: &str, open: bool) -> Option<Limit> {
    match node.value {
        Value::Integer(value) => Some(Limit { bound: Bound::Whole(value), open }),
        Value::Real(value) if !value.is_nan() => {
            let inner = if key.ends_with("inimum") { value.ceil() } else { value.floor() };
            Some(Limit { bound: Bound::Whole(inner as i64), open: open && value.fract() == 0.0 })
        }
        _ => None,
    }
}

/// What a format can hold, where its column could hold more.
fn narrow(format: Option<&str>, kind: &ColumnType) -> Option<(i64, i64)> {
    if !matches!(kind, ColumnType::Int | ColumnType::Long) {
        return None;
    }
    match format? {
        "i8" => Some((i8::MIN.into(), i8::MAX.into())),
        "i16" => Some((i16::MIN.into(), i16::MAX.into())),
        "u8" => Some((0, u8::MAX.into())),
        "u16" => Some((0, u16::MAX.into())),
        "u32" => Some((0, u32::MAX.into())),
        _ => None,
    }
}

fn date(text: &str, format: Option<&TimeFormat>) -> Option<i64> {
    let epoch = NaiveDate::default();
    text.parse::<NaiveDate>()
        .ok()
        .map(|day| day.signed_duration_since(epoch).num_days())
        .or_else(|| format.and_then(|format| format.parse_date(text.as_bytes())).map(i64::from))
}

/// µs since 1970; a bound without a zone is in the column's default zone, else in UTC.
fn instant(text: &str, format: Option<&TimeFormat>) -> Option<i64> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.timestamp_micros());
    }
    if let Some(instant) = format.and_then(|format| format.parse_timestamp(text.as_bytes())) {
        return Some(instant);
    }
    let local = text
        .parse::<NaiveDateTime>()
        .ok()
        .or_else(|| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok())
        .or_else(|| text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)))?;
    let zone = format.and_then(|format| format.default_zone).unwrap_or(chrono_tz::UTC);
    zone.from_local_datetime(&local).earliest().map(|instant| instant.timestamp_micros())
}
