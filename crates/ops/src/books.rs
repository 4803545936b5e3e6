//! The books of the datasets, as they travel between server and command line.
//!
//! Invariant: counts and names alone; a dataset is balanced only where everything could be counted.

use serde::{Deserialize, Serialize};

/// What was offered to a dataset and what became of it, over all of its commits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetBooks {
    /// The dataset, as `layer.name`.
    pub dataset: String,
    /// Records or rows that its source has offered, counted there.
    pub offered: i64,
    /// Rows in its table; nought where they could not be counted, which the note says.
    pub accepted: i64,
    /// Rows in its quarantine.
    pub quarantined: i64,
    /// Rows that it had already.
    pub duplicates: i64,
    /// Rows that were erased.
    pub erased: i64,
    /// Whether everything that was offered has a place, and nothing else has.
    pub balanced: bool,
    /// Rows that its model leaves out.
    #[serde(default)]
    pub filtered: i64,
    /// Rows that later deliveries have taken the place of.
    #[serde(default)]
    pub replaced: i64,
    /// Rows and rejects that were taken back because what they were made of has changed.
    #[serde(default)]
    pub retracted: i64,
    /// Quarantined rows that people have given up.
    #[serde(default)]
    pub discarded: i64,
    /// What was offered and has no place; below nought what has a place and was not offered.
    #[serde(default)]
    pub missing: i64,
    /// Records in the source that no commit holds yet, of a stream.
    #[serde(default)]
    pub waiting: Option<u64>,
    /// The version of the table that was looked at.
    #[serde(default)]
    pub version: u64,
    /// What it comes to, in words.
    #[serde(default)]
    pub note: String,
}
