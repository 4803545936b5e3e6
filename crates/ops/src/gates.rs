//! What is said of gates over HTTP and on the command line: the same JSON.
//!
//! Invariant: reasons hold counts, ages and names, never a record's value.

use serde::{Deserialize, Serialize};

/// A gate's state when what is staged is what readers see.
pub const PASSED: &str = "passed";
/// A gate's state when something is held back.
pub const HELD: &str = "held";

/// One gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// The dataset, as `serving.x`.
    pub dataset: String,
    /// `passed` or `held`.
    pub state: String,
    /// Since when it is so.
    pub since: String,
    /// The rules that do not pass.
    pub reasons: Vec<GateReasonReport>,
    /// Whether the newest published row is older than the contract promises.
    #[serde(default)]
    pub stale: bool,
    /// Who holds it, where a person does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One rule that does not pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReasonReport {
    /// The rule's name.
    pub rule: String,
    /// What was found.
    pub got: String,
    /// What the rule wants.
    pub want: String,
}

/// What a person decides (`POST /api/v1/gates/{dataset}/{hold|release}`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateDecision {
    /// Why.
    pub reason: String,
    /// Who, as they name themselves.
    #[serde(default)]
    pub by: String,
}
