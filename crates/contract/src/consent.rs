//! Rows that are bound to consent: where the decisions are, and which of this dataset's columns says whose row it is.
//!
//! Compiled from the custom property `consent`; `vitalake-serve` keeps it. Invariant: where a contract names a consent, no
//! row of it is shown for a purpose to which its subject has not agreed, unless the contract says that the purpose needs none.

use crate::contract::DatasetName;

/// What binds a dataset's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The dataset of decisions: one row for each that somebody made.
    pub dataset: DatasetName,
    /// Its column that says whose decision it is.
    pub subject: String,
    /// Its column that says for what.
    pub purpose: String,
    /// Its column that says yes or no.
    pub decision: String,
    /// What a yes is called where that column is text.
    pub given: String,
    /// Its column that says since when.
    pub time: String,
    /// The column of this dataset that says whose row it is; an index into the contract's.
    pub own: usize,
    /// Purposes that need no consent.
    pub without: Vec<String>,
}

/// What a yes is called where a contract does not say it.
pub const GIVEN_DEFAULT: &str = "permit";
