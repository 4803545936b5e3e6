//! What is asked of quarantine and what it answers: counts, rejects, replays, discards.
//!
//! The bodies of `/api/v1/quarantine/…` and of `vitalake quarantine … --json`. Invariant: a record's bytes stand in
//! [`RejectedRow::raw`] and its base64 form alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which rejects are meant; what is not said is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// A rule that the record broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Quarantined at this time or after it: RFC 3339, or a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Quarantined before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The number of the delivery that brought the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<i64>,
}

/// How many rejects of a dataset broke a rule first, under one version of its contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectCount {
    /// The dataset, with its layer.
    pub dataset: String,
    /// The first rule that they broke.
    pub rule: String,
    /// The fingerprint of the contract that judged; none of rejects from before it was kept.
    pub contract: Option<String>,
    /// How many.
    pub rows: u64,
    /// When the first was quarantined.
    pub first: Option<String>,
    /// When the last was.
    pub last: Option<String>,
}

/// One reject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Where the record came from: a topic, or `feed/{dataset}`.
    pub topic: Option<String>,
    /// Its partition, or the delivery's number.
    pub partition: Option<i32>,
    /// Its offset, or the row's number in the delivery.
    pub offset: Option<i64>,
    /// The first rule that it breaks.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// All rules that it breaks: `[{"rule", "reason", "contract"}]`.
    pub rules: Value,
    /// How many replays it did not pass.
    pub attempts: i32,
    /// When it was quarantined.
    pub quarantined_at: Option<String>,
    /// Its bytes, where they were asked for and are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Its bytes in base64, where they were asked for and are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_base64: Option<String>,
}

/// The body of `POST /api/v1/quarantine/{dataset}/replay`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRequest {
    /// Which rejects.
    #[serde(flatten)]
    pub which: Which,
    /// Whether it is only said what would come back.
    #[serde(default)]
    pub dry_run: bool,
}

/// How many rejects failed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAgain {
    /// The first rule that they break now.
    pub rule: String,
    /// How many.
    pub rows: u64,
}

/// What came of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The dataset, with its layer.
    pub dataset: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Rejects that were put through.
    pub taken: u64,
    /// Rows that came back.
    pub replayed: u64,
    /// Those that the table had already, by their key.
    pub duplicates: u64,
    /// Those of which the model makes no row now.
    #[serde(default)]
    pub without_row: u64,
    /// Those that failed again and stay.
    pub failed: u64,
    /// The same by rule, the most frequent first.
    pub failed_by_rule: Vec<FailedAgain>,
    /// Those of a delivery that a later one has replaced: they are left where they are.
    pub superseded: u64,
}

/// How far a replay is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Whether one is under way.
    pub running: bool,
    /// Rejects that have been put through.
    pub done: u64,
    /// Of how many.
    pub of: u64,
}

/// The body of `POST /api/v1/quarantine/{dataset}/discard`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardRequest {
    /// Which rejects.
    #[serde(flatten)]
    pub which: Which,
    /// Why they are given up.
    #[serde(default)]
    pub reason: String,
    /// Who gives them up, as they name themselves.
    #[serde(default)]
    pub by: Option<String>,
}

/// What was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardReport {
    /// The dataset, with its layer.
    pub dataset: String,
    /// How many rejects.
    pub discarded: u64,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}
