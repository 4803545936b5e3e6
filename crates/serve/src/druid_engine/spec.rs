//! The task that publishes a version: made of the contract, pure.
//!
//! Rows stay rows (`rollup: false`): the dataset is rolled up already, and sums and counts in Druid are those of ours.
//! Dates and timestamps beside `__time` become ISO text, as our own endpoint answers them; true and false become 1 and 0.
//! Invariant: a task names its intervals and replaces what is in them; where it brings no row, none stays.

use serde_json::{Value, json};
use vitalake_contract::Contract;
use vitalake_contract::contract::ColumnType;

use super::interval::{Granularity, Interval};

/// Rows of a segment at most.
const ROWS_PER_SEGMENT_MAX: u64 = 3_000_000;
/// Before a merge of Druid's own (25) and behind what streams in (75).
const PRIORITY: u32 = 50;
/// The column of time where there is none, which no file has.
const NO_TIME: &str = "__no_time";

/// What a column is to Druid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedColumn {
    /// Its name.
    pub name: String,
    /// Its type in Druid.
    pub kind: DruidType,
}

/// A type that Druid can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DruidType {
    /// Text.
    Text,
    /// A day, as `yyyy-MM-dd`.
    Day,
    /// A moment, as `yyyy-MM-ddTHH:mm:ss.SSSZ`.
    Moment,
    /// A whole number; true and false as 1 and 0.
    Long,
    /// A number.
    Double,
}

impl PublishedColumn {
    /// Its name in an expression.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.name.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

impl DruidType {
    /// Whether sums of it can be compared.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Long | Self::Double)
    }
}

/// The columns of a contract as Druid gets them.
#[must_use]
pub fn columns(contract: &Contract) -> Vec<PublishedColumn> {
    let kind = |kind: &ColumnType| match kind {
        ColumnType::String | ColumnType::Time(_) | ColumnType::Json => DruidType::Text,
        ColumnType::Long | ColumnType::Int | ColumnType::Boolean => DruidType::Long,
        ColumnType::Double | ColumnType::Float => DruidType::Double,
        ColumnType::Date(_) => DruidType::Day,
        ColumnType::Timestamp(_) => DruidType::Moment,
    };
    let of = |column: &vitalake_contract::contract::Column| PublishedColumn {
        name: column.name.to_string(),
        kind: kind(&column.kind),
    };
    contract.columns.iter().map(of).collect()
}

/// The column that becomes `__time`, and whether it holds days: the one that the contract knows as its time, else the first
/// required date. `None` where the dataset has no time: then every row is at 1970-01-01.
#[must_use]
pub fn time_of(contract: &Contract) -> Option<(String, bool)> {
    let named = contract.time_column.and_then(|index| contract.columns.get(index));
    let day = || contract.columns.iter().find(|c| c.required && matches!(c.kind, ColumnType::Date(_)));
    let found = named.or_else(day)?;
    Some((found.name.to_string(), matches!(found.kind, ColumnType::Date(_))))
}

/// What a task publishes.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The task's id: the same is the same task.
    pub id: &'a str,
    /// Where it goes.
    pub datasource: &'a str,
    /// The dataset.
    pub dataset: &'a str,
    /// Its version.
    pub version: u64,
    /// Its columns.
    pub columns: &'a [PublishedColumn],
    /// The column of time.
    pub time: Option<&'a str>,
    /// The stretch of time of a segment.
    pub granularity: Granularity,
    /// What is replaced.
    pub intervals: &'a [Interval],
    /// The addresses of the files with the rows of these intervals.
    pub files: &'a [String],
    /// How many tasks may read them at once.
    pub subtasks: u64,
}

impl Publication<'_> {
    /// The task.
    #[must_use]
    pub fn task(&self) -> Value {
        let tuning = json!({
            "type": "index_parallel",
            "maxNumConcurrentSubTasks": self.subtasks,
            "maxParseExceptions": 0,
            "logParseExceptions": false,
            "maxSavedParseExceptions": 0,
            "partitionsSpec": {"type": "dynamic", "maxRowsPerSegment": ROWS_PER_SEGMENT_MAX},
        });
        let (source, format) = self.input();
        json!({
            "type": "index_parallel",
            "id": self.id,
            "context": {
                "vitalake": {"dataset": self.dataset, "version": self.version},
                "priority": PRIORITY,
            },
            "spec": {
                "dataSchema": self.data_schema(),
                "ioConfig": {
                    "type": "index_parallel",
                    "appendToExisting": false,
                    "dropExisting": true,
                    "inputSource": source,
                    "inputFormat": format,
                },
                "tuningConfig": tuning,
            },
        })
    }

    /// The question what Druid would make of the first rows.
    #[must_use]
    pub fn sampler(&self) -> Value {
        let (source, format) = self.input();
        json!({
            "type": "index",
            "spec": {
                "type": "index",
                "dataSchema": self.data_schema(),
                "ioConfig": {"type": "index", "inputSource": source, "inputFormat": format},
                "tuningConfig": {"type": "index"},
            },
            "samplerConfig": {"numRows": 100, "timeoutMs": 15_000},
        })
    }

    fn data_schema(&self) -> Value {
        let intervals: Vec<String> = self.intervals.iter().map(ToString::to_string).collect();
        json!({
            "dataSource": self.datasource,
            "timestampSpec": self.timestamp(),
            "dimensionsSpec": {"dimensions": self.columns.iter().map(dimension).collect::<Vec<_>>()},
            "transformSpec": {"transforms": self.columns.iter().filter_map(transform).collect::<Vec<_>>()},
            "metricsSpec": [],
            "granularitySpec": {
                "type": "uniform",
                "segmentGranularity": self.granularity.as_str(),
                "queryGranularity": "NONE",
                "rollup": false,
                "intervals": intervals,
            },
        })
    }

    fn timestamp(&self) -> Value {
        match self.time {
            Some(_) if self.files.is_empty() => json!({"column": NO_TIME, "format": "auto"}),
            Some(column) => json!({"column": column, "format": "auto"}),
            None => json!({"column": NO_TIME, "format": "auto", "missingValue": "1970-01-01T00:00:00.000Z"}),
        }
    }

    /// Where no row is left, Druid wants one all the same: one that lies outside of every interval.
    fn input(&self) -> (Value, Value) {
        if !self.files.is_empty() {
            return (json!({"type": "http", "uris": self.files}), json!({"type": "parquet"}));
        }
        let outside = self.intervals.iter().map(|interval| interval.end_ms).max().unwrap_or(0);
        let row = json!({NO_TIME: outside}).to_string();
        (json!({"type": "inline", "data": row}), json!({"type": "json"}))
    }
}

pub(super) fn dimension(column: &PublishedColumn) -> Value {
    let kind = match column.kind {
        DruidType::Text | DruidType::Day | DruidType::Moment => "string",
        DruidType::Long => "long",
        DruidType::Double => "double",
    };
    json!({"type": kind, "name": column.name})
}

/// A moment that an expression gives, as the text of a day or a moment.
pub(super) fn iso_of(column: &PublishedColumn, moment: &str) -> String {
    let form = if column.kind == DruidType::Day { ", 'yyyy-MM-dd'" } else { "" };
    format!("timestamp_format({moment}{form})")
}

/// Days and moments come out of Parquet as milliseconds since 1970.
fn transform(column: &PublishedColumn) -> Option<Value> {
    if !matches!(column.kind, DruidType::Day | DruidType::Moment) {
        return None;
    }
    let expression = iso_of(column, &format!("cast({}, 'LONG')", column.quoted()));
    Some(json!({"type": "expression", "name": column.name, "expression": expression}))
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
