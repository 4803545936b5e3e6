//! Superset's words for stretches of time and for types of columns, and the way back.
//!
//! Invariant: a period that is written here is read as the same.

use vitalake_contract::ColumnType;
use vitalake_contract::dashboard::{Period, PeriodUnit};

/// Everything, in Superset's words.
const ALL: &str = "No filter";
const TODAY: &str = "today : now";
const TOMORROW: &str = "DATEADD(DATETIME(\"today\"), 1, day)";
const YESTERDAY: &str = "DATEADD(DATETIME(\"today\"), -1, day) : today";

/// A period as a time range. Superset's own `Last 7 days` ends last midnight: so both ends are said. Of days today is one.
pub(super) fn time_range(period: Period, of_days: bool) -> String {
    match period {
        Period::Last { count, unit } => {
            let to = if of_days { TOMORROW } else { "now" };
            format!("DATEADD(DATETIME(\"now\"), -{count}, {}) : {to}", unit.as_str())
        }
        Period::Today if of_days => format!("today : {TOMORROW}"),
        Period::Today => TODAY.to_owned(),
        Period::Yesterday => YESTERDAY.to_owned(),
        Period::All => ALL.to_owned(),
    }
}

/// The period of a time range, where it is one of ours.
pub(super) fn period(time_range: &str, of_days: bool) -> Option<Period> {
    let simple = [Period::All, Period::Today, Period::Yesterday];
    if let Some(period) = simple.into_iter().find(|period| self::time_range(*period, of_days) == time_range) {
        return Some(period);
    }
    let (from, to) = time_range.split_once(" : ")?;
    if to != if of_days { TOMORROW } else { "now" } {
        return None;
    }
    let (count, word) = from.strip_prefix("DATEADD(DATETIME(\"now\"), -")?.strip_suffix(')')?.split_once(", ")?;
    let unit = PeriodUnit::ALL.into_iter().find(|unit| unit.as_str() == word)?;
    Some(Period::Last { count: count.parse().ok()?, unit })
}

/// A column's type as Druid's SQL names it.
pub(super) fn sql_type(kind: &ColumnType) -> &'static str {
    match kind {
        ColumnType::String | ColumnType::Time(_) | ColumnType::Json => "VARCHAR",
        ColumnType::Long => "BIGINT",
        ColumnType::Int => "INTEGER",
        ColumnType::Double => "DOUBLE",
        ColumnType::Float => "FLOAT",
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Date(_) => "DATE",
        ColumnType::Timestamp(_) => "TIMESTAMP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_read_as_it_is_written() {
        let lasts = PeriodUnit::ALL.into_iter().map(|unit| Period::Last { count: 24, unit });
        for period_of_ours in lasts.chain([Period::Today, Period::Yesterday, Period::All]) {
            for of_days in [false, true] {
                assert_eq!(period(&time_range(period_of_ours, of_days), of_days), Some(period_of_ours));
            }
        }
        assert_eq!(period("Last week", false), None);
        let week = Period::Last { count: 7, unit: PeriodUnit::ALL[0] };
        assert_eq!(period(&time_range(week, true), false), None);
    }
}
