//! What is said of datasets that are published to a real Druid, over HTTP and on the command line: the same JSON.
//!
//! Invariant: names, versions, intervals and counts, never a record's value, and none of Druid's own words.

use serde::{Deserialize, Serialize};

/// Druid answers as the published version does.
pub const PUBLISHED: &str = "published";
/// A version is on its way.
pub const PUBLISHING: &str = "publishing";
/// A topic's records stream in.
pub const STREAMING: &str = "streaming";
/// A version waits for its turn.
pub const WAITING: &str = "waiting";
/// A version could not be published; it is tried again by itself.
pub const FAILED: &str = "failed";
/// A person has to decide.
pub const REFUSED: &str = "refused";

/// Where a dataset stands in Druid.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DruidReport {
    /// The dataset, as `serving.x`.
    pub dataset: String,
    /// What it is called in Druid.
    pub datasource: String,
    /// `published`, `publishing`, `streaming`, `waiting`, `failed` or `refused`.
    pub state: String,
    /// The version that readers of the table see.
    pub version: u64,
    /// The version that Druid was last seen to answer from.
    pub published_version: Option<u64>,
    /// Rows of that.
    pub rows: Option<u64>,
    /// Since when it is so.
    pub since: String,
    /// The task that is under way, or was last.
    pub task: Option<String>,
    /// How long the last publication took, in seconds.
    pub took_seconds: Option<f64>,
    /// Records of its topic that Druid has not read, where it streams.
    #[serde(default)]
    pub lag_records: Option<u64>,
    /// What is waited for, or what to do.
    #[serde(default)]
    pub message: String,
}

/// What would be sent for a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DruidPlan {
    /// The dataset, as `serving.x`.
    pub dataset: String,
    /// What it is called in Druid.
    pub datasource: String,
    /// The version that would be published.
    pub version: u64,
    /// The version that Druid has; none where all of it is replaced.
    pub from: Option<u64>,
    /// The column that becomes `__time`.
    pub time: Option<String>,
    /// The stretch of time of a segment.
    pub segment_granularity: String,
    /// What would be replaced.
    pub intervals: Vec<String>,
    /// Rows in these.
    pub rows: u64,
    /// Files with these rows.
    pub files: u64,
    /// What Druid says of the first rows, where it was asked.
    #[serde(default)]
    pub sample: String,
    /// The task as it would be sent, its addresses without their signatures.
    pub task: serde_json::Value,
}

/// What was removed from Druid's deep storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DruidReceipt {
    /// The dataset, as `serving.x`.
    pub dataset: String,
    /// What it is called in Druid.
    pub datasource: String,
    /// When it was done.
    pub at: String,
    /// The version that Druid answers from.
    pub version: Option<u64>,
    /// The segments that are gone.
    pub segments: Vec<String>,
    /// The task that removed them; none where there was nothing to remove.
    pub task: Option<String>,
    /// Segments that are out of use and still there: none, or the receipt is not whole.
    pub left: u64,
    /// It in words.
    pub note: String,
}
