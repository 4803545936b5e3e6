//! The built-in row rules of a contract over an Arrow batch: which rows break which rule.
//!
//! Pure and vectorised: one pass over a column per rule. Rules in SQL (`Check::NotSql`) need an engine: whoever has one
//! gives them as [`SqlRules`]. Invariant: a value never stands in a reason.

mod remembered;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Days, NaiveDate, SecondsFormat};

use remembered::each_text_once;

use crate::contract::{ColumnType, Contract};
use crate::rule::{Bound, Check, RowRule};

/// A row of a batch that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Violation {
    /// The row's index in the batch.
    pub row: usize,
    /// The rule's index in the rules that were checked.
    pub rule: usize,
}

/// The rules in SQL of one contract, compiled by a crate that has an engine, for those that have none.
pub trait SqlRules: std::fmt::Debug + Send + Sync {
    /// Every violation in rows of the contract's table, in any order: rows for which a forbidden condition holds or
    /// cannot be computed. A condition that is null does not hold.
    fn violations(&self, rows: &RecordBatch) -> Vec<Violation>;
}

/// Why a batch could not be checked at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// The batch has fewer columns than the rule's contract.
    #[error(
        "rule {rule} is about column {column} of the contract, the batch has {columns} columns; decode it by this contract"
    )]
    NoColumn {
        /// The rule's name.
        rule: String,
        /// The column's index.
        column: usize,
        /// How many columns the batch has.
        columns: usize,
    },
    /// The check does not fit the column's type.
    #[error("rule {rule} cannot be checked on a column of type {found}; correct the contract")]
    Type {
        /// The rule's name.
        rule: String,
        /// The column's type in the batch.
        found: String,
    },
}

/// Every violation of `rules` in `batch`, sorted by row and then by rule. The batch's first columns are the
/// contract's, in its order; more may follow.
///
/// # Errors
/// When the batch was not made by the rules' contract.
pub fn violations(rules: &[RowRule], batch: &RecordBatch) -> Result<Vec<Violation>, CheckError> {
    let mut found = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let (Some(column), false) = (rule.column, matches!(rule.check, Check::NotSql(_))) else { continue };
        let array = batch.columns().get(column).ok_or_else(|| CheckError::NoColumn {
            rule: rule.name.clone(),
            column,
            columns: batch.num_columns(),
        })?;
        broken_rows(rule, array, &mut |row| found.push(Violation { row, rule: index }))?;
    }
    found.sort_unstable();
    Ok(found)
}

fn broken_rows(rule: &RowRule, array: &ArrayRef, found: &mut dyn FnMut(usize)) -> Result<(), CheckError> {
    let misfit = || CheckError::Type { rule: rule.name.clone(), found: array.data_type().to_string() };
    let fits = match &rule.check {
        Check::Required => {
            if array.null_count() > 0 {
                (0..array.len()).filter(|&row| array.is_null(row)).for_each(found);
            }
            true
        }
        Check::MinLength(least) => each_text(array, &|text| !length_at_least(text, *least), found),
        Check::MaxLength(most) => {
            each_text(array, &|text| text.len() as u64 > *most && length_at_least(text, most.saturating_add(1)), found)
        }
        Check::Pattern(pattern) => each_text_once(array, &|text| !pattern.is_match(text), found),
        Check::OneOf(allowed) => one_of(array, allowed, found),
        Check::Minimum(bound) => {
            compared(array, *bound, &|value, bound| value >= bound, &|value, bound| value >= bound, found)
        }
        Check::Maximum(bound) => {
            compared(array, *bound, &|value, bound| value <= bound, &|value, bound| value <= bound, found)
        }
        Check::ExclusiveMinimum(bound) => {
            compared(array, *bound, &|value, bound| value > bound, &|value, bound| value > bound, found)
        }
        Check::ExclusiveMaximum(bound) => {
            compared(array, *bound, &|value, bound| value < bound, &|value, bound| value < bound, found)
        }
        Check::MultipleOf(step) => multiple_of(array, *step, found),
        Check::NotSql(_) => true,
    };
    if fits { Ok(()) } else { Err(misfit()) }
}

/// Characters, not bytes, as JSON Schema counts a text's length.
fn length_at_least(text: &str, least: u64) -> bool {
    let Some(last) = least.checked_sub(1) else { return true };
    usize::try_from(last)
        .is_ok_and(|last| if text.is_ascii() { text.len() > last } else { text.chars().nth(last).is_some() })
}

/// Calls `found` with the rows whose text is bad; false where the column is no text.
fn each_text(array: &ArrayRef, bad: &dyn Fn(&str) -> bool, found: &mut dyn FnMut(usize)) -> bool {
    let mut visit = |(row, text): (usize, Option<&str>)| {
        if text.is_some_and(bad) {
            found(row);
        }
    };
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().iter().enumerate().for_each(&mut visit),
        DataType::Utf8 => array.as_string::<i32>().iter().enumerate().for_each(&mut visit),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().enumerate().for_each(&mut visit),
        _ => return false,
    }
    true
}

fn each<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    bad: impl Fn(T::Native) -> bool,
    found: &mut dyn FnMut(usize),
) {
    let values = array.values();
    // Mostly nothing is bad: this loop has no branch per row that depends on nulls, and compiles to vector code.
    if !values.iter().fold(false, |any, &value| any | bad(value)) {
        return;
    }
    for (row, _) in values.iter().enumerate().filter(|&(row, &value)| bad(value) && !array.is_null(row)) {
        found(row);
    }
}

/// The values of a column as one of two kinds of number.
fn each_number(
    array: &ArrayRef,
    bad_whole: impl Fn(i64) -> bool,
    bad_real: impl Fn(f64) -> bool,
    found: &mut dyn FnMut(usize),
) -> bool {
    match array.data_type() {
        DataType::Int64 => each(array.as_primitive::<Int64Type>(), bad_whole, found),
        DataType::Int32 => each(array.as_primitive::<Int32Type>(), |v| bad_whole(i64::from(v)), found),
        DataType::Date32 => each(array.as_primitive::<Date32Type>(), |v| bad_whole(i64::from(v)), found),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            each(array.as_primitive::<TimestampMicrosecondType>(), bad_whole, found)
        }
        DataType::Float64 => each(array.as_primitive::<Float64Type>(), bad_real, found),
        DataType::Float32 => each(array.as_primitive::<Float32Type>(), |v| bad_real(f64::from(v)), found),
        _ => return false,
    }
    true
}

fn compared(
    array: &ArrayRef,
    bound: Bound,
    whole: &dyn Fn(i64, i64) -> bool,
    real: &dyn Fn(f64, f64) -> bool,
    found: &mut dyn FnMut(usize),
) -> bool {
    match bound {
        Bound::Whole(bound) => each_number(array, |v| !whole(v, bound), |v| !real(v, bound as f64), found),
        Bound::Real(bound) => each_number(array, |v| !real(v as f64, bound), |v| !real(v, bound), found),
    }
}

fn multiple_of(array: &ArrayRef, step: f64, found: &mut dyn FnMut(usize)) -> bool {
    let whole_step = (step.fract() == 0.0 && step.abs() >= 1.0 && step.abs() < 9e15).then_some(step as i64);
    let real = |value: f64| {
        // 0.3 is a multiple of 0.1 to whoever wrote the rule, though not in binary.
        let ratio = value / step;
        !ratio.is_finite() || (ratio - ratio.round()).abs() > 1e-9 * ratio.abs().max(1.0)
    };
    each_number(array, |value| whole_step.map_or_else(|| real(value as f64), |step| value % step != 0), real, found)
}

fn one_of(array: &ArrayRef, allowed: &[String], found: &mut dyn FnMut(usize)) -> bool {
    if each_text(array, &|text| !allowed.iter().any(|a| a == text), found) {
        return true;
    }
    if array.data_type() == &DataType::Boolean {
        let values = array.as_boolean();
        let bad = |value: bool| !allowed.iter().any(|a| a == if value { "true" } else { "false" });
        values.iter().enumerate().filter(|(_, value)| value.is_some_and(bad)).for_each(|(row, _)| found(row));
        return true;
    }
    let whole: Vec<i64> = allowed.iter().filter_map(|a| whole(a, array.data_type())).collect();
    let real: Vec<f64> = allowed.iter().filter_map(|a| a.parse().ok()).collect();
    each_number(array, |value| !whole.contains(&value), |value| !real.contains(&value), found)
}

/// An allowed value of an enumeration in the column's unit.
fn whole(text: &str, kind: &DataType) -> Option<i64> {
    match kind {
        DataType::Date32 => crate::time_format::parse_iso_date(text.as_bytes()).map(i64::from),
        DataType::Timestamp(..) => crate::time_format::parse_rfc3339(text.as_bytes()),
        _ => text.parse().ok().or_else(|| {
            let real = text.parse::<f64>().ok().filter(|real| real.fract() == 0.0 && real.abs() < 9e15)?;
            Some(real as i64)
        }),
    }
}

/// Why a row that breaks the rule is refused: the column, what must hold and its bound; never the value.
#[must_use]
pub fn reason(rule: &RowRule, contract: &Contract) -> String {
    let column = rule.column.and_then(|index| contract.columns.get(index));
    let name = column.map_or("the row", |column| &column.name);
    let bound = |bound: &Bound| written(*bound, column.map(|column| &column.kind));
    match &rule.check {
        Check::Required => format!("{name} is required and is absent or null"),
        Check::MinLength(least) => format!("{name} has fewer than {least} characters"),
        Check::MaxLength(most) => format!("{name} has more than {most} characters"),
        Check::Pattern(pattern) => format!("{name} does not match the pattern {pattern}"),
        Check::OneOf(allowed) => format!("{name} is none of the {} values that the contract allows", allowed.len()),
        Check::Minimum(least) => format!("{name} is below the minimum of {}", bound(least)),
        Check::Maximum(most) => format!("{name} is above the maximum of {}", bound(most)),
        Check::ExclusiveMinimum(least) => format!("{name} is not above {}", bound(least)),
        Check::ExclusiveMaximum(most) => format!("{name} is not below {}", bound(most)),
        Check::MultipleOf(step) => format!("{name} is not a multiple of {step}"),
        Check::NotSql(predicate) => format!("{name} meets the condition that the rule forbids: {predicate}"),
    }
}

/// A bound as its column is printed: days and instants in words of ISO 8601.
fn written(bound: Bound, kind: Option<&ColumnType>) -> String {
    let value = match bound {
        Bound::Real(value) => return value.to_string(),
        Bound::Whole(value) => value,
    };
    let day = |days: i64| {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        let distance = Days::new(days.unsigned_abs());
        if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }
    };
    match kind {
        Some(ColumnType::Date(_)) => day(value).map(|day| day.to_string()),
        Some(ColumnType::Timestamp(_)) => {
            DateTime::from_timestamp_micros(value).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
        }
        _ => None,
    }
    .unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests;
