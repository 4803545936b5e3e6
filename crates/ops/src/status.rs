//! What the platform says about itself, as the types that travel between server, command line and console.
//!
//! The binary fills them, `serve` sends them as JSON, clients read them back. Plain data: no HTTP, no I/O, and never a
//! record's value: names, counts, versions and times only. Times are RFC 3339 in UTC with milliseconds and `Z`.

use serde::{Deserialize, Serialize};

use crate::gates::GateReport;

/// Whether queries may be answered, and if not, what is still to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// True when every acknowledged row can be read, but for tables that are stalled or failed.
    pub ready: bool,
    /// What is still to do, one phrase each; empty when ready.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// Parts outside this process that do not answer now; queries go on with what is here.
    #[serde(default)]
    pub away: Vec<AwayPart>,
    /// What is not well, whether ready or not: in the answer of `GET /health/ready`.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

/// A part outside the process, such as a broker, that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AwayPart {
    /// `storage` or `Kafka`.
    pub part: String,
    /// Since when.
    pub since: String,
    /// For how long, in seconds.
    pub seconds: f64,
    /// What the last attempt said.
    pub reason: String,
}

/// Where the control store of a process is, and whether it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlStatus {
    /// `sqlite` or `postgres`.
    pub kind: String,
    /// The file, or the server and the database.
    pub place: String,
    /// Whether it answered when it was last asked.
    pub reachable: bool,
}

/// How far the workspace of Azure Monitor has the ops datasets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MonitorStatus {
    /// Whether this process sends; another one does where it does not.
    pub sends: bool,
    /// Commits of the ops datasets that wait; those older than a day are given up.
    pub commits_waiting: u64,
    /// Age of the oldest of them, in seconds.
    pub behind_seconds: f64,
    /// Rows that were taken since this process began.
    pub rows_sent: u64,
    /// Rows that the workspace refused for good.
    pub rows_refused: u64,
    /// Commits that were too old to be sent.
    pub commits_given_up: u64,
    /// When something was last taken.
    pub last_sent: Option<String>,
    /// How far this machine's clock is behind that of Azure, where that is minutes.
    #[serde(default)]
    pub clock_behind_seconds: i64,
}

/// The state of a dataset that needs a person.
pub const FAILED: &str = "failed";
/// The state of a dataset that comes back by itself.
pub const STALLED: &str = "stalled";
/// The state of a dataset that does not yet show everything that was durable at start.
pub const RECOVERING: &str = "recovering";
/// The state of a dataset that is well.
pub const OK: &str = "ok";

/// Something that is not well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The dataset that suffers, where it is known.
    pub dataset: Option<String>,
    /// `failed`: it needs a person; `stalled`: it comes back by itself.
    #[serde(default)]
    pub state: String,
    /// What happened, to what, and what to do.
    pub message: String,
}

/// The answer of `GET /api/v1/status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// True when recovery is complete, but for what is stalled or failed.
    pub ready: bool,
    /// The project's name.
    #[serde(default)]
    pub name: String,
    /// The binary's version.
    #[serde(default)]
    pub version: String,
    /// Since when the process runs.
    #[serde(default)]
    pub since: String,
    /// What the process does: `all`, `ingest`, `process` or `serve`.
    #[serde(default)]
    pub role: String,
    /// Parts outside the process that do not answer now.
    #[serde(default)]
    pub away: Vec<AwayPart>,
    /// Its control store, where its role has one.
    #[serde(default)]
    pub control: Option<ControlStatus>,
    /// The workspace that gets the ops datasets, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<MonitorStatus>,
    /// What is still to do; empty when ready.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// One entry per dataset, in the order of the graph (raw first).
    #[serde(default)]
    pub datasets: Vec<DatasetStatus>,
    /// One entry per partition of a topic.
    #[serde(default)]
    pub partitions: Vec<PartitionStatus>,
    /// What is not well: damage, missing files, records that no contract claims, models that are failed or stalled.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

/// What is known of one dataset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetStatus {
    /// Its name, unique in the project.
    pub dataset: String,
    /// `raw`, `curated`, `serving` or `quarantine`.
    pub layer: String,
    /// Rows that a query sees now: committed and tail.
    pub rows: u64,
    /// Rows among them that no commit holds yet.
    pub tail_rows: u64,
    /// The Delta version of HEAD.
    pub version: Option<u64>,
    /// When HEAD was committed.
    pub last_commit: Option<String>,
    /// When the newest row was taken in.
    pub newest_row_at: Option<String>,
    /// Age of the newest row in seconds.
    pub freshness_seconds: Option<f64>,
    /// Records durable in the log or in an input table, not yet in this dataset.
    pub lag_records: Option<u64>,
    /// Records of this dataset that are in quarantine.
    pub quarantined: u64,
    /// `ok`, `recovering`, `stalled` (tried again by itself) or `failed` (it needs a person).
    pub state: String,
    /// Why it is not `ok`, and what to do.
    pub error: Option<String>,
    /// The rules that records have broken since the process began.
    #[serde(default)]
    pub broken_rules: Vec<BrokenRule>,
    /// The kind of the model that makes it; none of a dataset that records or files come into.
    #[serde(default)]
    pub model: Option<String>,
    /// What runs that model: `datafusion`, this process, or `spark`.
    #[serde(default)]
    pub engine: Option<String>,
    /// The statement of the model that runs on Spark now, once that takes longer.
    #[serde(default)]
    pub running: Option<RunningReport>,
    /// What its gate says, where it has one.
    #[serde(default)]
    pub gate: Option<GateReport>,
}

/// A statement that runs on Spark, by Spark's own reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningReport {
    /// For how long.
    pub seconds: f64,
    /// Stages that it has come to.
    pub stages: u64,
    /// Tasks of these.
    pub tasks: u64,
    /// Tasks that are done.
    pub tasks_done: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
}

/// How often a rule of a contract was broken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenRule {
    /// The rule's name.
    pub rule: String,
    /// `warning`, `error` or `fatal`.
    pub severity: String,
    /// How many rows.
    pub rows: u64,
}

/// What is known of one partition of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// First offset that the log still holds.
    pub log_start_offset: i64,
    /// One past the last durable offset.
    pub high_watermark: i64,
    /// One past the last offset whose row is in a Delta commit.
    pub committed_offset: i64,
}

/// The answer of a delivery (`POST /api/v1/deliveries/{dataset}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// The dataset delivered to.
    pub dataset: String,
    /// The delivery's number in that dataset; none where nothing of it is there.
    #[serde(default)]
    pub delivery: Option<u64>,
    /// The day that it stands for.
    #[serde(default)]
    pub business_date: Option<String>,
    /// The delivery of the same day that it took the place of.
    #[serde(default)]
    pub corrects: Option<u64>,
    /// What it is known by while it is held.
    #[serde(default)]
    pub held: Option<String>,
    /// SHA-256 of the delivered bytes, in hexadecimal: the delivery's identity.
    pub sha256: String,
    /// Whether these bytes were loaded now or had been before.
    pub state: DeliveryState,
    /// Rows that entered the dataset.
    pub accepted: u64,
    /// Rows that went to quarantine.
    pub quarantined: u64,
    /// The Delta version that holds the delivery.
    pub version: u64,
    /// Values of accepted rows that did not fit their column: they are null, and kept in `_rescued`.
    #[serde(default)]
    pub did_not_fit: Vec<DidNotFit>,
    /// The file's columns that the contract does not name, kept in `_rescued`: the first of them.
    #[serde(default)]
    pub not_in_contract: Vec<String>,
    /// Rules about the delivery as a set that it does not keep, or of which nobody can tell.
    #[serde(default)]
    pub not_kept: Vec<NotKept>,
    /// Of a dataset that is read through a view: what became of the file's FHIR resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceCounts>,
}

/// What became of delivered FHIR resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceCounts {
    /// Resources read.
    pub read: u64,
    /// Those of another type than the view's, of which nothing was made.
    pub of_another_type: u64,
    /// Those of the view's type of which it makes no rows.
    pub without_rows: u64,
}

/// A rule about a delivery that does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotKept {
    /// The rule.
    pub rule: String,
    /// What breaking it means.
    pub severity: String,
    /// What was found, or why nobody can tell.
    pub got: String,
    /// What the rule wants.
    pub want: String,
}

/// Values of one column that did not fit it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DidNotFit {
    /// The column.
    pub column: String,
    /// What it takes, in words.
    pub expected: String,
    /// How many values did not fit.
    pub values: u64,
}

/// Whether a delivery's bytes were new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryState {
    /// Loaded by this request.
    #[serde(rename = "loaded")]
    Loaded,
    /// The same bytes were loaded before, for the same day; nothing was changed.
    #[serde(rename = "already loaded")]
    AlreadyLoaded,
    /// A rule holds it: its bytes are kept, and somebody has to decide.
    #[serde(rename = "held")]
    Held,
    /// The dataset shows a newer day already; nothing was changed.
    #[serde(rename = "superseded")]
    Superseded,
}

/// The answer of `POST /api/v1/flush`: what was committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushReport {
    /// One entry per table that got a new version.
    pub tables: Vec<FlushedTable>,
    /// One entry per table that has something to commit and could not.
    #[serde(default)]
    pub behind: Vec<Behind>,
}

/// A table that a flush could not bring forward.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The dataset's name.
    pub dataset: String,
    /// Its state and why.
    pub reason: String,
}

/// One table of a [`FlushReport`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushedTable {
    /// The dataset's name.
    pub dataset: String,
    /// Its layer.
    pub layer: String,
    /// The version that now is HEAD.
    pub version: u64,
    /// Rows that this flush added.
    pub rows: u64,
}

/// The body of every error of `/api/v1/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable word: `not_found`, `invalid`, `forbidden`, `unavailable`, `too_large`, `conflict`, `internal`.
    pub error: String,
    /// What happened, to what, and what to do.
    pub message: String,
}
