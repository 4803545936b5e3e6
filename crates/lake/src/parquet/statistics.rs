//! Delta's `add.stats` from the statistics that the Parquet writer kept anyway.
//!
//! Text is cut to 32 characters, a maximum upwards; instants are given in milliseconds, a maximum rounded up; bytes have
//! no bounds. Booleans have: delta-rs takes a column without bounds for one without values. Invariant: a bound is true of every row, or it is left out.
//! Source: Delta transaction log protocol, "Per-file statistics".

use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::file::statistics::Statistics;
use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, Datelike, Days, NaiveDate, SecondsFormat, Utc};
use serde_json::{Map, Number, Value, json};

/// Characters of a text bound.
const TEXT_CHARACTERS_MAX: usize = 32;

/// The statistics of a whole file. `not_a_number` marks the columns that hold a NaN.
pub(super) fn stats_json(
    schema: &Schema,
    metadata: &ParquetMetaData,
    not_a_number: &[bool],
    unbounded: &[String],
) -> String {
    let (mut mins, mut maxs, mut nulls) = (Map::new(), Map::new(), Map::new());
    let rows = metadata.file_metadata().num_rows();
    for (index, field) in schema.fields().iter().enumerate() {
        let groups = metadata.row_groups();
        if let Some(count) = null_count(groups, index) {
            nulls.insert(field.name().clone(), count.into());
        }
        if not_a_number.get(index).copied().unwrap_or(false) || unbounded.contains(field.name()) {
            continue;
        }
        let Some((min, max)) = column_bounds(groups, index).and_then(|range| range.into_json(field.data_type())) else {
            continue;
        };
        mins.extend(min.map(|value| (field.name().clone(), value)));
        maxs.extend(max.map(|value| (field.name().clone(), value)));
    }
    json!({"numRecords": rows, "minValues": mins, "maxValues": maxs, "nullCount": nulls}).to_string()
}

/// The smallest and largest value of a column in its Parquet type.
enum Range {
    Boolean(bool, bool),
    Integer(i64, i64),
    Float(f64, f64),
    Text(Vec<u8>, Vec<u8>),
}

impl Range {
    fn of(statistics: &Statistics) -> Option<Self> {
        Some(match statistics {
            Statistics::Boolean(s) => Self::Boolean(*s.min_opt()?, *s.max_opt()?),
            Statistics::Int32(s) => Self::Integer(i64::from(*s.min_opt()?), i64::from(*s.max_opt()?)),
            Statistics::Int64(s) => Self::Integer(*s.min_opt()?, *s.max_opt()?),
            Statistics::Float(s) => Self::Float(f64::from(*s.min_opt()?), f64::from(*s.max_opt()?)),
            Statistics::Double(s) => Self::Float(*s.min_opt()?, *s.max_opt()?),
            Statistics::ByteArray(s) => Self::Text(s.min_opt()?.data().to_vec(), s.max_opt()?.data().to_vec()),
            _ => return None,
        })
    }

    fn union(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Boolean(a, b), Self::Boolean(c, d)) => Self::Boolean(a.min(c), b.max(d)),
            (Self::Integer(a, b), Self::Integer(c, d)) => Self::Integer(a.min(c), b.max(d)),
            (Self::Float(a, b), Self::Float(c, d)) => Self::Float(a.min(c), b.max(d)),
            (Self::Text(a, b), Self::Text(c, d)) => Self::Text(a.min(c), b.max(d)),
            _ => return None,
        })
    }

    fn into_json(self, kind: &DataType) -> Option<(Option<Value>, Option<Value>)> {
        Some(match (self, kind) {
            (Self::Boolean(min, max), DataType::Boolean) => (Some(min.into()), Some(max.into())),
            (Self::Integer(min, max), DataType::Int32 | DataType::Int64) => (Some(min.into()), Some(max.into())),
            (Self::Integer(min, max), DataType::Date32) => (date(min), date(max)),
            (Self::Integer(min, max), DataType::Timestamp(..)) => {
                (instant(min.div_euclid(1000)), instant(max.div_euclid(1000) + i64::from(max.rem_euclid(1000) > 0)))
            }
            (Self::Float(min, max), _) => (number(min), number(max)),
            (Self::Text(min, max), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
                (text_min(&min).map(Value::from), text_max(&max).map(Value::from))
            }
            _ => return None,
        })
    }
}

/// Bounds over all row groups; none as soon as one group with values has none.
fn column_bounds(groups: &[RowGroupMetaData], index: usize) -> Option<Range> {
    let mut all: Option<Range> = None;
    for group in groups {
        let statistics = group.columns().get(index)?.statistics()?;
        let only_nulls = statistics.null_count_opt() == u64::try_from(group.num_rows()).ok();
        if only_nulls {
            continue;
        }
        let range = Range::of(statistics)?;
        all = match all {
            Some(before) => Some(before.union(range)?),
            None => Some(range),
        };
    }
    all
}

fn null_count(groups: &[RowGroupMetaData], index: usize) -> Option<u64> {
    groups.iter().map(|group| group.columns().get(index)?.statistics()?.null_count_opt()).sum()
}

fn number(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

fn date(days: i64) -> Option<Value> {
    let epoch = NaiveDate::default();
    let date = match u64::try_from(days) {
        Ok(days) => epoch.checked_add_days(Days::new(days)),
        Err(_) => epoch.checked_sub_days(Days::new(days.unsigned_abs())),
    }?;
    in_four_digits(date.year()).then(|| Value::from(date.format("%Y-%m-%d").to_string()))
}

fn instant(milliseconds: i64) -> Option<Value> {
    let instant = DateTime::<Utc>::from_timestamp_millis(milliseconds)?;
    in_four_digits(instant.year()).then(|| Value::from(instant.to_rfc3339_opts(SecondsFormat::Millis, true)))
}

fn in_four_digits(year: i32) -> bool {
    (0..=9999).contains(&year)
}

/// The first characters: never above the text.
fn text_min(text: &[u8]) -> Option<String> {
    let text = valid_prefix(text)?;
    Some(text.chars().take(TEXT_CHARACTERS_MAX).collect())
}

/// The text, or its first characters and one that is above all that may follow.
fn text_max(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let mut rest = text.chars();
    let mut bound: String = rest.by_ref().take(TEXT_CHARACTERS_MAX).collect();
    match rest.next() {
        None => {}
        Some(next) if next < '\u{7f}' => bound.push('\u{7f}'),
        Some(next) if next < char::MAX => bound.push(char::MAX),
        Some(_) => return None,
    }
    Some(bound)
}

/// Parquet may have cut a minimum within a character.
fn valid_prefix(text: &[u8]) -> Option<&str> {
    match std::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(error) => std::str::from_utf8(text.get(..error.valid_up_to())?).ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::short("abc", Some("abc".to_owned()))]
    #[case::exactly_the_limit(&"a".repeat(32), Some("a".repeat(32)))]
    #[case::ascii_next(&"a".repeat(33), Some("a".repeat(32) + "\u{7f}"))]
    #[case::delete_next(&("a".repeat(32) + "\u{7f}"), Some("a".repeat(32) + "\u{10ffff}"))]
    #[case::wide_next(&"ß".repeat(40), Some("ß".repeat(32) + "\u{10ffff}"))]
    #[case::nothing_above(&("a".repeat(32) + "\u{10ffff}"), None)]
    fn text_maximum_is_cut_upwards(#[case] text: &str, #[case] bound: Option<String>) {
        assert_eq!(text_max(text.as_bytes()), bound);
    }

    #[rstest]
    #[case(0, "1970-01-01T00:00:00.000Z")]
    #[case(-1, "1969-12-31T23:59:59.999Z")]
    fn instants_are_printed_in_milliseconds(#[case] ms: i64, #[case] text: &str) {
        assert_eq!(instant(ms), Some(Value::from(text)));
    }

    proptest! {
        #[test]
        fn text_bounds_hold_for_any_text(text in ".{0,80}") {
            let (min, max) = (text_min(text.as_bytes()).unwrap(), text_max(text.as_bytes()));
            prop_assert!(min.as_bytes() <= text.as_bytes());
            prop_assert!(max.is_none_or(|max| max.as_bytes() >= text.as_bytes()));
        }
    }
}
