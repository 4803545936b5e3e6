//! What a gate has decided, as it is kept beside what is staged, so that it outlives the process and others can show it.
//!
//! Invariant: a record holds names, counts and the words of whoever decided, never a record's value.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vitalake_lake::{BEGUN_AFTER_GAP, LakeError, Table};

/// The property of the staged log under which it stands.
const KEY: &str = "vitalake.gate";

/// One rule that does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReason {
    /// The rule's name.
    pub rule: String,
    /// What was found: a count, an age, or why nobody can tell.
    pub got: String,
    /// What the rule wants.
    pub want: String,
}

/// A hold by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) at_ms: i64,
}

/// A release by a person: what is published in spite of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    pub(super) by: String,
    pub(super) reason: String,
    /// The staged version.
    pub(super) version: i64,
}

/// A gate's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) held: bool,
    pub(super) since_ms: i64,
    pub(super) reasons: Vec<GateReason>,
    pub(super) stale: bool,
    pub(super) hold: Option<Hold>,
    pub(super) released: Option<Release>,
    /// Inputs that were fresh when they were looked at since the last publication.
    pub(super) fresh: BTreeSet<String>,
    pub(super) newest_ms: Option<i64>,
}

impl Record {
    /// What is kept beside what is staged; one that cannot be read counts as none. Where nobody knows whether a person
    /// has said hold, somebody has.
    pub(super) fn read(table: &Table) -> Option<Self> {
        let Some(kept) = table.noted(KEY) else { return table.noted(BEGUN_AFTER_GAP).map(Self::held_for) };
        serde_json::from_str(&kept).ok()
    }

    fn held_for(reason: String) -> Self {
        let hold = Hold { by: "vitalake".to_owned(), reason, at_ms: 0 };
        Self { hold: Some(hold), ..Self::default() }
    }

    /// Keeps it.
    pub(super) async fn keep(&self, table: &Table) -> Result<(), LakeError> {
        table.note(KEY, serde_json::to_string(self).unwrap_or_default()).await
    }

    /// The reasons as ops.gates has them.
    pub(super) fn reasons_as_json(&self) -> String {
        serde_json::to_string(&self.reasons).unwrap_or_default()
    }

    /// Whether another record says so much else that it is news: what was measured changes with every row.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let rules = |record: &Self| record.reasons.iter().map(|reason| reason.rule.clone()).collect::<Vec<_>>();
        self.held != other.held || self.stale != other.stale || rules(self) != rules(other)
    }
}
