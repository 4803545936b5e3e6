//! What became of a delivery.
//!
//! Invariant: counts, names and words of ours, never a record's value.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SetFinding;
use crate::decode::DeliveryTotals;

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// Its number; none where the table has nothing of it.
    pub number: Option<i64>,
    /// The content's SHA-256, in hex.
    pub sha256: String,
    /// Where it stands.
    pub state: DeliveredState,
    /// The day that it stands for.
    pub business_date: Option<NaiveDate>,
    /// The delivery of the same business date that it took the place of.
    pub corrects: Option<i64>,
    /// What it held.
    pub totals: DeliveryTotals,
    /// The version of the table that holds it.
    pub version: i64,
    /// What the rules about the delivery as a set found.
    pub findings: Vec<SetFinding>,
}

impl Delivered {
    /// Whether the same content was there already.
    #[must_use]
    pub fn known(&self) -> bool {
        self.state == DeliveredState::Known
    }
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveredState {
    /// It is in the table.
    Loaded,
    /// The same content was in the table before, for the same day; nothing was done.
    Known,
    /// Its bytes are kept, and nothing of it is in the table: somebody has to decide.
    Held {
        /// What it is known by.
        id: Uuid,
        /// Why.
        why: Vec<Verdict>,
    },
    /// The table shows a newer day already; nothing was done.
    Superseded {
        /// That day.
        by: NaiveDate,
    },
}

/// Why a delivery is not taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule, or what of the control totals or of the snapshot.
    pub rule: String,
    /// What was found, in words.
    pub got: String,
    /// What is wanted, in words.
    pub want: String,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} in place of {}", self.rule, self.got, self.want)
    }
}
