//! What was given up of quarantine, as its commits say it.
//!
//! Who gives rejects up hears of it after the commit; one that was killed in between finds here what to say of them.
//! Invariant: the number of the newest such commit is a transaction of quarantine, so that nobody reads the log to learn
//! that there is nothing to learn.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::delta::action::Txn;
use crate::delta::{TableVersion, VersionChanges};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::TxnId;

/// The field of commitInfo that says how many rejects were given up.
pub const DISCARDED: &str = "vitalakeDiscarded";
/// The field that says why.
pub const DISCARD_REASON: &str = "vitalakeDiscardReason";
/// The field that says who gave them up.
pub const DISCARD_ACTOR: &str = "vitalakeDiscardActor";

/// Rejects that somebody gave up for a reason, in one commit or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// The number of the last of the commits.
    pub number: i64,
    /// How many they were.
    pub rows: u64,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
}

impl Table {
    /// The number of the newest commit that gave rejects up.
    #[must_use]
    pub fn last_discard(&self) -> Option<i64> {
        self.at(SideName::Rejects).1.txn(TxnId::discard(&self.contract.dataset))
    }

    /// What was given up after a number and since a moment, as far back as the log goes.
    ///
    /// # Errors
    /// When the log of quarantine cannot be read.
    pub async fn discarded_since(&self, number: i64, since_ms: i64) -> Result<Vec<Discarded>, LakeError> {
        let (log, head) = self.at(SideName::Rejects);
        let txn = TxnId::discard(&self.contract.dataset);
        let newest = head.txns().find(|found| found.app_id == txn.as_str());
        let is_old = |txn: &Txn| txn.version <= number || txn.last_updated.is_some_and(|at| at < since_ms);
        if newest.is_none_or(is_old) {
            return Ok(Vec::new());
        }
        let mut found = BTreeMap::new();
        for version in (1..=head.version().0).rev().map(TableVersion) {
            let failed = |source| LakeError::Delta { attempt: "reading the history", table: self.rejects_id(), source };
            let Some(actions) = log.read_commit(version).await.map_err(failed)? else { break };
            let commit = VersionChanges::of(version, actions);
            let Some(at) = commit.txns.iter().find(|found| found.app_id == txn.as_str()) else { continue };
            if at.version <= number || commit.timestamp_ms.is_some_and(|at| at < since_ms) {
                break;
            }
            add(&mut found, at.version, &commit.info);
        }
        let mut found: Vec<Discarded> = found.into_values().collect();
        found.sort_by_key(|discarded| discarded.number);
        Ok(found)
    }
}

/// Commits of one discard have the same reason and actor; two that share both are said as one.
fn add(found: &mut BTreeMap<(String, String), Discarded>, number: i64, info: &Map<String, Value>) {
    let text = |field: &str| info.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (reason, actor) = (text(DISCARD_REASON), text(DISCARD_ACTOR));
    let rows = text(DISCARDED).parse().unwrap_or(0);
    let all = found.entry((reason.clone(), actor.clone())).or_insert(Discarded { number, rows: 0, reason, actor });
    (all.number, all.rows) = (all.number.max(number), all.rows + rows);
}
