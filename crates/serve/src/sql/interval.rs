//! `INTERVAL '…' unit` as months and an exact length: read when the query is rewritten.

use datafusion::sql::sqlparser::ast::{DateTimeField, Expr, Interval, Value};

use crate::error::QueryError;

/// Months and milliseconds of an interval.
///
/// # Errors
/// When its text has not the form that its units ask for.
pub fn parts(interval: &Interval) -> Result<(i64, i64), QueryError> {
    let illegal = || {
        QueryError::invalid(
            "Illegal interval literal; write it as INTERVAL '1' DAY, with one unit or as INTERVAL '1-2' YEAR TO MONTH",
        )
    };
    let Expr::Value(value) = interval.value.as_ref() else { return Err(illegal()) };
    let Value::SingleQuotedString(text) = &value.value else { return Err(illegal()) };
    let (negative, text) = text.trim().strip_prefix('-').map_or((false, text.trim()), |text| (true, text));
    let first = interval.leading_field.as_ref().ok_or_else(illegal)?;
    let last = interval.last_field.as_ref();
    let (months, millis) = read(text, first, last).ok_or_else(illegal)?;
    Ok(if negative { (-months, -millis) } else { (months, millis) })
}

fn read(text: &str, first: &DateTimeField, last: Option<&DateTimeField>) -> Option<(i64, i64)> {
    if let (DateTimeField::Year, Some(DateTimeField::Month)) = (first, last) {
        let (years, months) = text.split_once('-')?;
        return Some((whole(years)?.checked_mul(12)?.checked_add(whole(months)?)?, 0));
    }
    let Some(last) = last else {
        if let Some(months) = months_of(first) {
            return Some((whole(text)?.checked_mul(months)?, 0));
        }
        // A part of a second is left out, as Druid does.
        let count = if *first == DateTimeField::Second { text.split('.').next()? } else { text };
        return Some((0, whole(count)?.checked_mul(millis_of(first)?)?));
    };
    let units = [DateTimeField::Day, DateTimeField::Hour, DateTimeField::Minute, DateTimeField::Second];
    let start = units.iter().position(|unit| unit == first)?;
    let end = units.iter().position(|unit| unit == last)?;
    let mut counts = text.split([' ', ':']);
    let mut millis = 0_i64;
    for unit in units.get(start..=end)? {
        let count = counts.next()?.split('.').next()?;
        millis = millis.checked_add(whole(count)?.checked_mul(millis_of(unit)?)?)?;
    }
    counts.next().is_none().then_some((0, millis))
}

fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Months of a unit that follows the calendar.
pub fn months_of(unit: &DateTimeField) -> Option<i64> {
    Some(match unit {
        DateTimeField::Month => 1,
        DateTimeField::Quarter => 3,
        DateTimeField::Year => 12,
        _ => return None,
    })
}

/// Milliseconds of a unit of a fixed length.
pub fn millis_of(unit: &DateTimeField) -> Option<i64> {
    Some(match unit {
        DateTimeField::Millisecond => 1,
        DateTimeField::Second => 1000,
        DateTimeField::Minute => 60_000,
        DateTimeField::Hour => 3_600_000,
        DateTimeField::Day => 86_400_000,
        DateTimeField::Week(_) => 7 * 86_400_000,
        _ => return None,
    })
}
