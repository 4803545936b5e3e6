//! What the process knows of datasets, feeds and alerts, before it is cut to what somebody may see.
//!
//! Plain data. Invariant: names, counts, times and the words of contracts; never a record's value but where a rule's result
//! has one, which only those see who watch the platform.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use vitalake_contract::dashboard::{Dashboard, MeasureSet};
use vitalake_contract::{Contract, Diagnostic};
use vitalake_ops::alerts::report::AlertReport;
use vitalake_ops::deliveries::LedgerEntry;
use vitalake_ops::feeds::FeedReport;
use vitalake_ops::gates::GateReport;

/// What runs here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// The project's name.
    pub project: String,
    /// The binary's version.
    pub version: String,
    /// Since when the process runs.
    pub started_at: String,
    /// Where people reach it, where the project says so.
    pub public_url: Option<String>,
}

/// How everything is at a moment.
#[derive(Debug, Clone, Default)]
pub struct Today {
    /// When.
    pub at: String,
    /// Whether queries are answered, and if not what they wait for.
    pub waiting_for: Vec<String>,
    /// Each dataset.
    pub datasets: Vec<DatasetNow>,
    /// Each gate.
    pub gates: Vec<GateReport>,
    /// Alerts that fire, or cannot be evaluated.
    pub alerts: Vec<AlertReport>,
    /// Each feed.
    pub feeds: Vec<FeedReport>,
    /// What came in lately.
    pub came_in: CameIn,
    /// The last deliveries, newest first.
    pub deliveries: Vec<LedgerEntry>,
}

/// How a dataset is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DatasetNow {
    /// Its name, without its layer.
    pub name: String,
    /// Its layer.
    pub layer: String,
    /// `fresh`, `stale`, `held`, `waiting` or `trouble`.
    pub state: &'static str,
    /// The age of its newest row.
    pub freshness_ms: Option<i64>,
    /// The age that its contract allows.
    pub sla_ms: Option<i64>,
    /// Its rows.
    pub rows: Option<u64>,
    /// Rows that came within the last hour.
    pub rows_last_hour: Option<u64>,
    /// Records of it in quarantine.
    pub quarantined: Option<u64>,
    /// Those that came there within the last hour.
    pub quarantined_last_hour: Option<u64>,
    /// Why it is not well, and what to do.
    pub reason: Option<String>,
}

/// Rows that came in, by steps of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CameIn {
    /// Where the first step begins.
    pub from: String,
    /// How long a step is.
    pub step_ms: u64,
    /// For each dataset that takes records or files.
    pub series: Vec<Series>,
}

/// What came into one dataset.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// The dataset, as `layer.name`.
    pub dataset: String,
    /// Rows, step by step.
    pub counts: Vec<u64>,
}

/// The project as its files have it.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Its datasets, those first that others are made of.
    pub datasets: Vec<Described>,
    /// Its dashboards.
    pub dashboards: Vec<DashboardTold>,
    /// Measures and dimensions of serving datasets.
    pub measures: Vec<MeasureSet>,
}

/// A dataset as its files describe it.
#[derive(Debug)]
pub struct Described {
    /// Its contract.
    pub contract: Arc<Contract>,
    /// The model that makes it.
    pub model: Option<ModelTold>,
    /// What it is made of, as `layer.name`.
    pub upstream: Vec<String>,
    /// What is made of it.
    pub downstream: Vec<String>,
    /// What its columns are made of.
    pub origins: BTreeMap<String, Vec<Origin>>,
    /// Columns that decide about its rows.
    pub conditions: Vec<Origin>,
    /// Its rules, in words.
    pub rules: Vec<RuleTold>,
    /// The contract's tags.
    pub tags: Vec<String>,
    /// What a delivery does, where files are delivered: `append` or `replace`.
    pub delivery: &'static str,
}

/// A column that another is made of, or that decides about rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its dataset, as `layer.name`.
    pub dataset: String,
    /// Its name.
    pub column: String,
    /// How, in OpenLineage's words: `IDENTITY`, `FILTER`.
    pub how: &'static str,
}

/// A rule in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleTold {
    /// Its name.
    pub name: String,
    /// The column that it is about.
    pub column: Option<String>,
    /// What it wants, or what breaks it.
    pub text: String,
    /// What breaking it means.
    pub severity: &'static str,
    /// `row` or `set`.
    pub scope: &'static str,
}

/// A model, as the console shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ModelTold {
    /// Its text.
    pub sql: String,
    /// Its kind.
    pub kind: String,
    /// What runs it.
    pub engine: &'static str,
}

/// A dashboard with what is wrong with its file.
#[derive(Debug)]
pub struct DashboardTold {
    /// Its name: the file's.
    pub name: String,
    /// What the file says, where it could be read.
    pub dashboard: Option<Dashboard>,
    /// What is wrong with it.
    pub problems: Vec<Diagnostic>,
}

/// What the tables say of one dataset.
#[derive(Debug, Clone, Default)]
pub struct DatasetNews {
    /// The newest result of each rule, by the rule's name.
    pub results: BTreeMap<String, RuleResult>,
    /// The last versions of its table, newest first.
    pub versions: Vec<VersionTold>,
    /// Rejects by rule.
    pub quarantine: Vec<RejectsTold>,
}

/// What a rule last found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RuleResult {
    /// When.
    pub at: String,
    /// `passed`, `broken` or `unknown`.
    pub state: &'static str,
    /// What was found.
    pub got: Option<String>,
    /// What it wants.
    pub want: Option<String>,
    /// Rows that broke it.
    pub failed: Option<u64>,
}

/// One version of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VersionTold {
    /// Its number.
    pub version: u64,
    /// When it was committed.
    pub at: Option<String>,
    /// Rows of the files that it added.
    pub rows_added: Option<u64>,
    /// Rows of the files that it removed.
    pub rows_removed: Option<u64>,
    /// What the commit calls itself.
    pub operation: String,
}

/// Rejects of one rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RejectsTold {
    /// The rule.
    pub rule: String,
    /// How many.
    pub rows: u64,
    /// When the last came.
    pub last: Option<String>,
}
