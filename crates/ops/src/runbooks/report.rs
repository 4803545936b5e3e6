//! An opened runbook as it goes over the wire: prose and evidence, today's and that of the moment when its alert fired.
//!
//! Invariant: how much of a result is kept is bounded, and a result that is cut says so.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AlertContext;

/// Whose a runbook is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The project's own.
    #[default]
    Project,
    /// In the binary.
    BuiltIn,
}

/// A runbook in the list of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookEntry {
    /// Its name.
    pub name: String,
    /// Its first heading.
    pub title: String,
    /// Whose it is.
    pub origin: Origin,
    /// The teams whose alerts name it.
    #[serde(default)]
    pub owners: Vec<String>,
    /// The alerts that name it.
    #[serde(default)]
    pub alerts: Vec<String>,
}

/// A runbook, opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunbookReport {
    /// Its name.
    pub name: String,
    /// Its first heading.
    pub title: String,
    /// Whose it is.
    pub origin: Origin,
    /// When it was opened.
    pub at: String,
    /// The alert that it was opened for.
    #[serde(default)]
    pub alert: Option<AlertContext>,
    /// Prose and evidence, in order.
    pub parts: Vec<Part>,
}

/// A stretch of an opened runbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Part {
    /// Prose.
    Prose {
        /// Markdown.
        markdown: String,
    },
    /// A query and what it found.
    Evidence {
        /// The query, as it was run.
        sql: String,
        /// What it finds now.
        now: Found,
        /// What it found when the alert fired.
        #[serde(default)]
        then: Option<Found>,
    },
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// When it was asked.
    pub at: String,
    /// The columns' names.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The rows, as JSON values.
    #[serde(default)]
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than are kept.
    #[serde(default)]
    pub more: bool,
    /// Why there is no result.
    #[serde(default)]
    pub error: Option<String>,
}
