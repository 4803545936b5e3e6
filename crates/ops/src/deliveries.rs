//! What is asked about deliveries and what is answered: the ledger, what is held, and decisions.
//!
//! The bodies of `/api/v1/deliveries` and of `vitalake feed history | release | reject --json`. Invariant: counts, names and
//! words of ours and of who decides, never a record's value.

use serde::{Deserialize, Serialize};

/// Which entries of the ledger are asked for; what is not said is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerQuery {
    /// A dataset or a feed.
    #[serde(default)]
    pub of: Option<String>,
    /// Where deliveries stand; `held` are those that wait for somebody to decide now.
    #[serde(default)]
    pub state: Option<String>,
    /// At most so many, newest first.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// One entry of the ledger: a decision about a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// When it was decided.
    pub at: String,
    /// The dataset, with its layer.
    pub dataset: String,
    /// Where the delivery stood from then on.
    pub state: String,
    /// What it is or was held as.
    pub id: Option<String>,
    /// The feed that brought it.
    pub feed: Option<String>,
    /// The day that it stands for.
    pub business_date: Option<String>,
    /// Its number.
    pub delivery: Option<u64>,
    /// The delivery that it took the place of.
    pub corrects: Option<u64>,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: Option<String>,
    /// Records in it.
    pub offered: Option<u64>,
    /// Rows that entered the dataset, or would.
    pub accepted: u64,
    /// Rows that went to quarantine, or would.
    pub quarantined: u64,
    /// Records that were there already.
    pub duplicate: u64,
    /// When it began to come.
    pub since: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who has decided.
    pub actor: Option<String>,
    /// Whether it is held now.
    pub open: bool,
    /// Whether its table was removed and made again since, so that nothing of it is there.
    #[serde(default)]
    pub gone: bool,
}

/// A person's decision about a held delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryDecision {
    /// Why.
    pub reason: String,
    /// Who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether a release takes the place of a delivery that has come since this one was held.
    #[serde(default)]
    pub replaces_newer: bool,
}

/// The answer of a rejection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedDelivery {
    /// The dataset.
    pub dataset: String,
    /// What it was held as.
    pub id: String,
    /// Why it was rejected.
    pub reason: String,
    /// Who has decided.
    pub by: String,
}
