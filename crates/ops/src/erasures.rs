//! Erasures as they travel between server and command line, and the receipt that is left of one.
//!
//! Invariant: but for a request, nothing here names a person; a receipt has the person's keyed hash alone.

use serde::{Deserialize, Serialize};
use vitalake_lake::erase::SubjectToken;

/// An erasure that is complete: everything was read, and nothing found.
pub const DONE: &str = "done";
/// One that has begun, and goes on with the next start.
pub const PENDING: &str = "pending";
/// One after which the person was still found, or that could not be carried out; it is tried again at the next start.
pub const INCOMPLETE: &str = "incomplete";
/// What would be erased, and was not.
pub const DRY_RUN: &str = "dry run";
/// What the operator has to do, outside of what the platform reaches.
pub const OPERATOR: &str = "operator";
/// What does not exist here.
pub const NOT_USED: &str = "not used";

/// Who is to be erased.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EraseRequest {
    /// The person's id, as the datasets have it.
    pub subject: String,
    /// Whether it is only said what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Who asks.
    #[serde(default)]
    pub by: String,
}

/// What went from one table, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedTable {
    /// The table, as `raw.x` or `quarantine.x`.
    pub table: String,
    /// Rows that are gone.
    pub rows: u64,
    /// Other rows of which a cell named the person.
    pub cells: u64,
    /// Files of the newest version that were written again.
    pub files: u64,
    /// Files of older versions that are gone.
    pub past_files: u64,
    /// Files of the log that were written again.
    pub log_files: u64,
    /// The version without the person.
    #[serde(default)]
    pub version: Option<u64>,
}

/// What became of the embedded log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedLog {
    /// Segments that were written again.
    pub segments: u64,
    /// Batches in them.
    pub batches: u64,
    /// Records that are empty now.
    pub records: u64,
}

/// What reading everything came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Places that still name the person.
    pub found_in: Vec<String>,
}

/// Something that the platform does not reach, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// What it is.
    pub what: String,
    /// [`OPERATOR`], [`DONE`] or [`NOT_USED`].
    pub state: String,
    /// What to do, or why there is nothing to do.
    pub note: String,
}

/// What is left of an erasure: signed, and naming nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The form of this document.
    pub form: u32,
    /// The erasure's id.
    pub id: String,
    /// Its number among the project's erasures.
    pub number: i64,
    /// The project.
    pub project: String,
    /// [`DONE`], [`INCOMPLETE`] or [`DRY_RUN`].
    pub state: String,
    /// The person, as a hash under the project's key.
    pub subject: SubjectToken,
    /// Who asked for it.
    pub by: String,
    /// When that was, RFC 3339.
    pub requested: String,
    /// When this was written.
    pub finished: String,
    /// The tables of which something went.
    pub tables: Vec<ErasedTable>,
    /// The embedded log.
    pub log: ErasedLog,
    /// Files beside tables that were removed: held deliveries, caches, the control store.
    pub other_files: u64,
    /// What was read afterwards, and what was found.
    pub proof: Proof,
    /// What lies outside.
    pub outside: Vec<Outside>,
    /// Why it is not complete, where it is not.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// The version of the platform.
    pub software: String,
    /// The public key of the signature, Ed25519, in hex.
    #[serde(default)]
    pub key: String,
    /// The signature over this document as compact JSON with an empty signature, in hex.
    #[serde(default)]
    pub signature: String,
}
