//! Rejects of deliveries that do not count: taken out of the quarantine again.
//!
//! A delivery that was cut short between its two commits has rejects and no rows. One that still has its number is left as
//! it is: the same file, or the process that is at it, finishes it. A delivery that a corrected one of its business date
//! has replaced has lost its rows, and its rejects follow. Invariant: what is taken away are rejects whose rows are not in
//! the table and cannot come into it any longer, so that each number's rows and rejects are of one file.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use vitalake_contract::Delivery;

use crate::commit::Commit;
use crate::delta::Snapshot;
use crate::displaced::Displaced;
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::{Counter, TxnId, TxnKind};

/// Why rejects go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    CutShort,
    Replaced,
}

/// A delivery whose rejects go.
struct Leaving {
    number: i32,
    /// Says that they are gone.
    withdrawn: TxnId,
}

impl Table {
    /// Takes away the rejects of all deliveries that were cut short and whose number has gone to another, and of those that
    /// were replaced by a corrected one. Gives how many deliveries these were.
    ///
    /// # Errors
    /// When the quarantine cannot be read or written; what was not taken away then is with the next call.
    pub async fn withdraw(&self) -> Result<usize, LakeError> {
        Ok(self.withdraw_because(Why::CutShort).await? + self.withdraw_because(Why::Replaced).await?)
    }

    async fn withdraw_because(&self, why: Why) -> Result<usize, LakeError> {
        if self.leaving(why).is_empty() {
            return Ok(0);
        }
        let mut turn = self.turn().await;
        self.catch_up(&mut turn, SideName::Rejects).await?;
        self.catch_up(&mut turn, SideName::Rows).await?;
        let leaving = self.leaving(why);
        if leaving.is_empty() {
            return Ok(0);
        }
        let numbers: Vec<i32> = leaving.iter().map(|gone| gone.number).collect();
        let Displaced { removes, kept, rows } = self.displaced(SideName::Rejects, &numbers).await?;
        let mut txns: BTreeMap<TxnId, i64> =
            leaving.into_iter().map(|gone| (gone.withdrawn, i64::from(gone.number))).collect();
        if why == Why::Replaced {
            // Those of a delivery that was cut short had not been counted yet.
            txns.extend(self.counted_on(SideName::Rejects, Counter::ReplacedRejects, rows));
        }
        let commit = Commit { adds: kept, removes, txns, ..Commit::to(SideName::Rejects, "DELETE") };
        let done = self.carry_out(&mut turn, &commit).await?;
        let mut state = self.state.lock();
        state.rejects.head = Arc::new(done.head);
        self.publish_value(&state);
        drop(state);
        let deliveries = numbers.len();
        if why == Why::CutShort {
            tracing::warn!(table = %self.id(), deliveries, "rejects of deliveries that were cut short were taken out of quarantine: their files were not loaded; deliver them again");
        }
        Ok(deliveries)
    }

    /// The delivery of a content whose rejects are in the quarantine without its rows.
    #[must_use]
    pub fn rejects_ahead(&self, sha256: &str, date: Option<NaiveDate>) -> Option<i64> {
        let state = self.state.lock();
        ahead(&state.rows.head, &state.rejects.head, self.contract.dataset.as_str(), (sha256, date))
    }

    /// Whether rejects are in the quarantine whose delivery was replaced: nothing may come of them any longer.
    pub(crate) fn has_replaced_rejects(&self) -> bool {
        !self.leaving(Why::Replaced).is_empty()
    }

    fn leaving(&self, why: Why) -> Vec<Leaving> {
        let (rows, rejects) = {
            let state = self.state.lock();
            (Arc::clone(&state.rows.head), Arc::clone(&state.rejects.head))
        };
        let Some(last) = rows.txn(TxnId::delivery(&self.contract.dataset)) else { return Vec::new() };
        let mut found = Vec::new();
        for said in rejects.txns() {
            let id = TxnId::parse(&said.app_id);
            let TxnKind::DeliveredContent { dataset, sha256, date } = id.kind() else { continue };
            let number = match why {
                Why::CutShort => ahead(&rows, &rejects, dataset, (sha256, date)).filter(|number| *number <= last),
                Why::Replaced => Some(said.version)
                    .filter(|number| date.and_then(|date| self.current(&rows, date)).is_some_and(|now| *number < now))
                    .filter(|number| rejects.txn(TxnId::withdrawn(dataset, sha256, date)) != Some(*number)),
            };
            if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
                found.push(Leaving { number, withdrawn: TxnId::withdrawn(dataset, sha256, date) });
            }
        }
        found
    }

    /// The delivery whose rows are there in the place of all earlier ones of this business date.
    fn current(&self, rows: &Snapshot, date: NaiveDate) -> Option<i64> {
        let dataset = &self.contract.dataset;
        match self.contract.delivery {
            Delivery::Append => rows.txn(TxnId::delivery_of_date(dataset, date)),
            Delivery::Replace => rows.txn(TxnId::delivery(dataset)),
        }
    }
}

/// The number under which a content's rejects are in the quarantine, where its rows are not in the table under it.
fn ahead(rows: &Snapshot, rejects: &Snapshot, dataset: &str, (sha256, date): (&str, Option<NaiveDate>)) -> Option<i64> {
    let content = TxnId::delivered_content(dataset, sha256, date);
    let number = rejects.txn(&content)?;
    let committed = rows.txn(&content).is_some_and(|committed| committed >= number);
    let withdrawn = rejects.txn(TxnId::withdrawn(dataset, sha256, date)) == Some(number);
    (!committed && !withdrawn).then_some(number)
}
