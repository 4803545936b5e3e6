//! Superset's words for stretches of time and for types of columns, and the way back.
//!
//! Invariant: a period that is written here is read as the same.

use vitalake_contract::ColumnType;
use vitalake_contract::dashboard::{Period, PeriodUnit};

/// Everything, in Superset's words.
const ALL: &str = "No filter";
const TODAY: &str = "today : now";
const YESTERDAY: &str = "DATEADD(DATETIME(\"today\"), -1, day) : today";

/// A period as a time range. Superset's own `Last 7 days` ends last midnight: so both ends are said.
pub(super) fn time_range(period: Period) -> String {
    match period {
        Period::Last { count, unit } => format!("DATEADD(DATETIME(\"now\"), -{count}, {}) : now", unit.as_str()),
        Period::Today => TODAY.to_owned(),
        Period::Yesterday => YESTERDAY.to_owned(),
        Period::All => ALL.to_owned(),
    }
}

/// The period of a time range, where it is one of ours.
pub(super) fn period(time_range: &str) -> Option<Period> {
    match time_range {
        ALL => return Some(Period::All),
        TODAY => return Some(Period::Today),
        YESTERDAY => return Some(Period::Yesterday),
        _ => {}
    }
    let inner = time_range.strip_prefix("DATEADD(DATETIME(\"now\"), -")?.strip_suffix(") : now")?;
    let (count, word) = inner.split_once(", ")?;
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
            assert_eq!(period(&time_range(period_of_ours)), Some(period_of_ours));
        }
        assert_eq!(period("Last week"), None);
    }
}
