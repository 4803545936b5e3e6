//! What a workspace of Log Analytics has of the ops datasets: tables, streams, columns and their types.
//!
//! Made of the contracts, for the sender (`rows`) and for whoever lays the workspace out. Invariant: `ops.audit` and
//! `ops.evidence` have no table here, and no column here holds what a person has typed.

use vitalake_contract::{Column, ColumnType};

use crate::tables::OpsTable;

/// The ops datasets that may leave. What people did (`audit`) and what authors of runbooks select (`evidence`) stay.
const SENT: [OpsTable; 9] = [
    OpsTable::Runs,
    OpsTable::Commits,
    OpsTable::Checks,
    OpsTable::Gates,
    OpsTable::Deliveries,
    OpsTable::Alerts,
    OpsTable::Discards,
    OpsTable::Lag,
    OpsTable::Resources,
];
/// Columns that stay wherever they are: names and reasons as people have typed them, and what tells a file's content.
const KEPT: [&str; 4] = ["actor", "comment", "reason", "sha256"];
/// The column of a contract that says when; it goes as `TimeGenerated`.
const TIME: &str = "at";

/// A column's type in Log Analytics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogType {
    /// An instant.
    DateTime,
    /// Text.
    String,
    /// 64-bit signed.
    Long,
    /// 64-bit floating point.
    Real,
    /// True or false.
    Boolean,
}

impl LogType {
    /// As tables and streams of Azure Monitor write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DateTime => "datetime",
            Self::String => "string",
            Self::Long => "long",
            Self::Real => "real",
            Self::Boolean => "boolean",
        }
    }

    fn of(kind: &ColumnType) -> Self {
        match kind {
            ColumnType::Timestamp(_) => Self::DateTime,
            ColumnType::Long | ColumnType::Int => Self::Long,
            ColumnType::Double | ColumnType::Float => Self::Real,
            ColumnType::Boolean => Self::Boolean,
            // A day is no instant: as text no time zone moves it.
            ColumnType::String | ColumnType::Date(_) | ColumnType::Time(_) | ColumnType::Json => Self::String,
        }
    }
}

/// A column of a table in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogColumn {
    /// Its name, such as `TookMs`.
    pub name: String,
    /// Its type.
    pub kind: LogType,
    /// What it means.
    pub description: String,
    /// The column of the ops dataset that it is; none of those that only the workspace has.
    pub source: Option<String>,
}

/// A table of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTable {
    /// The ops dataset.
    pub ops: OpsTable,
    /// Its name, such as `VitalakeRuns_CL`.
    pub table: String,
    /// The stream that its rows are sent to, such as `Custom-VitalakeRuns`.
    pub stream: String,
    /// Its columns.
    pub columns: Vec<LogColumn>,
}

/// Every table that a workspace may have.
#[must_use]
pub fn log_tables() -> Vec<LogTable> {
    SENT.into_iter().filter_map(log_table).collect()
}

/// The table of one ops dataset; none of those that never leave.
#[must_use]
pub fn log_table(ops: OpsTable) -> Option<LogTable> {
    if !SENT.contains(&ops) {
        return None;
    }
    let contract = ops.contract()?;
    let name = format!("Vitalake{}", pascal(ops.as_str()));
    let said = contract.columns.iter().filter(|column| !KEPT.contains(&&*column.name) && &*column.name != TIME);
    let columns = own_columns().into_iter().chain(said.map(of_contract)).collect();
    Some(LogTable { ops, table: format!("{name}_CL"), stream: format!("Custom-{name}"), columns })
}

/// What every table has first.
fn own_columns() -> [LogColumn; 3] {
    let own = |name: &str, kind, description: &str, source: Option<&str>| LogColumn {
        name: name.to_owned(),
        kind,
        description: description.to_owned(),
        source: source.map(ToOwned::to_owned),
    };
    [
        own("TimeGenerated", LogType::DateTime, "When it was recorded.", Some(TIME)),
        own("RunId", LogType::String, "Tells the row from others, the same when it is sent again.", None),
        own("Project", LogType::String, "The project's name.", None),
    ]
}

fn of_contract(column: &Column) -> LogColumn {
    LogColumn {
        name: pascal(&column.name),
        kind: LogType::of(&column.kind),
        description: column.description.clone().unwrap_or_default(),
        source: Some(column.name.to_string()),
    }
}

/// `took_ms` as `TookMs`.
fn pascal(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    name.split('_').filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// What Azure Monitor keeps for itself.
    const RESERVED: [&str; 7] = ["_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"];

    #[test]
    fn every_name_is_one_that_a_workspace_takes_and_stands_once() {
        for table in log_tables() {
            let names: BTreeSet<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names.len(), table.columns.len(), "{}", table.table);
            for name in names {
                let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.len() <= 45
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                assert!(is_name && !RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)), "{name}");
            }
        }
    }

    #[test]
    fn a_table_is_its_contract_in_the_words_of_the_workspace() {
        let table = log_table(OpsTable::Runs).unwrap();
        assert_eq!((table.table.as_str(), table.stream.as_str()), ("VitalakeRuns_CL", "Custom-VitalakeRuns"));
        let columns = table.columns.iter().map(|column| format!("{} {}", column.name, column.kind.as_str()));
        let wanted = "TimeGenerated datetime, RunId string, Project string, Dataset string, Outcome string, Error string, \
                      Runs long, RowsIn long, RowsOut long, TookMs real, Process string";
        assert_eq!(columns.collect::<Vec<_>>().join(", "), wanted);
    }

    #[test]
    fn what_people_did_and_typed_and_what_runbooks_found_stays() {
        let stays: Vec<OpsTable> = OpsTable::ALL.into_iter().filter(|table| log_table(*table).is_none()).collect();
        assert_eq!(stays, [OpsTable::Evidence, OpsTable::Audit]);
        for table in log_tables() {
            let typed = |column: &&LogColumn| {
                let said = column.description.to_lowercase();
                KEPT.contains(&column.source.as_deref().unwrap_or_default())
                    || said.starts_with("who")
                    || said.starts_with("why")
            };
            let typed: Vec<&str> = table.columns.iter().filter(typed).map(|column| column.name.as_str()).collect();
            // The class of a failure answers why, and is one of three words of ours.
            assert!(typed.iter().all(|name| *name == "Error"), "{}: {typed:?}", table.table);
        }
    }
}
