//! The two commits of a replay: rows into their table, then out of quarantine.
//!
//! A foreign reader sees a row in its table before it leaves quarantine; readers here see both at once, since both heads
//! are published together. Invariant: between the two commits nothing else of this process is committed to the table, and
//! whoever opens it after a crash finishes the second before anything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;
use vitalake_runtime::error::{Classified, Retry};

use super::begun::{self, BEGUN, Begun, OPERATION};
use crate::books::{Balance, signed};
use crate::changes;
use crate::commit::{Commit, Done, Turn};
use crate::delta::{DataFile, DeltaError};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::{Counter, TxnId};

/// What leaves quarantine, and what becomes of it.
#[derive(Clone, Debug, Default)]
pub struct TakeBack {
    /// Files of quarantine that go whole.
    pub taken: Vec<Arc<DataFile>>,
    /// Files with the rejects of those that stay, as they are now.
    pub kept: Vec<Arc<DataFile>>,
    /// Files with the rows that come into the table.
    pub rows: Vec<Arc<DataFile>>,
    /// A transaction of the table that must still be where it was when the rows were made.
    pub unless_moved: Option<(TxnId, Option<i64>)>,
    /// How many of those that leave the table had already.
    pub duplicates: u64,
    /// How many of those that leave are given up.
    pub given_up: u64,
    /// What both commits say of themselves.
    pub info: BTreeMap<String, String>,
}

impl Table {
    /// The turn to take rejects out of quarantine: one at a time, and no compaction of its files meanwhile.
    pub async fn turn_to_take_back(&self) -> MutexGuard<'_, ()> {
        self.taking_back.lock().await
    }

    /// Whether a crash has left rejects in quarantine whose records are still to be worked through again under one of these
    /// transactions: until they are, who does that leaves out what stands in quarantine, and nothing may leave it.
    #[must_use]
    pub fn rejects_are_ahead(&self, of: &[TxnId]) -> bool {
        let state = self.state.lock();
        let (rows, rejects) = (&state.rows.head, &state.rejects.head);
        of.iter().any(|txn| rejects.txn(txn) > rows.txn(txn))
    }

    /// Commits what came of rejects. `None` when a file of quarantine or the transaction that was named has moved
    /// meanwhile, or rejects of a replaced delivery are still to be withdrawn: nothing is done then, and what is there now has to be looked at. While the store is away it is tried
    /// again without end, and the table waits.
    ///
    /// # Errors
    /// When trying again cannot help. Nothing is done then, or the lease is lost and the next opening of the table finishes
    /// what was begun.
    pub async fn take_back(&self, back: &TakeBack) -> Result<Option<i64>, LakeError> {
        let mut turn = self.turn_between_epochs("a replay").await?;
        self.catch_up(&mut turn, SideName::Rejects).await?;
        self.catch_up(&mut turn, SideName::Rows).await?;
        let txn = TxnId::replay(&self.contract.dataset);
        let (rows_head, rejects_head) = (self.head(), self.at(SideName::Rejects).1);
        let is_moved = |(txn, was): &(TxnId, Option<i64>)| rows_head.txn(txn) != *was;
        if back.unless_moved.as_ref().is_some_and(is_moved)
            || (self.has_replaced_rejects() && !back.rows.is_empty())
            || back.taken.iter().any(|file| rejects_head.file(file.path()).is_none())
        {
            return Ok(None);
        }
        let left_out = self.left_out(back)?;
        let counted = [
            (Counter::ReplayedDuplicates, signed(back.duplicates)),
            (Counter::Discarded, signed(back.given_up)),
            (Counter::ReplayedFiltered, left_out),
            (Counter::ReplayedJoined, -left_out),
        ];
        let counters: BTreeMap<TxnId, i64> = counted
            .into_iter()
            .filter_map(|(counter, count)| self.counted_on(SideName::Rejects, counter, count))
            .collect();
        let number = rows_head.txn(&txn).max(rejects_head.txn(&txn)).unwrap_or(0) + 1;
        let dataset = &self.contract.dataset;
        let staged = !back.rows.is_empty() && self.is_gated();
        let further = [(back.given_up > 0, TxnId::discard(dataset)), (staged, TxnId::replay_staged(dataset))];
        let further = further.into_iter().filter_map(|(is_so, id)| is_so.then_some(id));
        let numbered = further.chain([txn.clone()]).map(|id| (id, number));
        let leaving = Commit {
            adds: back.kept.clone(),
            removes: back.taken.iter().map(|file| file.path().clone()).collect(),
            txns: counters.iter().map(|(id, count)| (id.clone(), *count)).chain(numbered).collect(),
            info: back.info.clone(),
            ..Commit::to(SideName::Rejects, OPERATION)
        };
        self.check(&leaving)?;
        let came = match back.rows.is_empty() {
            true => None,
            false => {
                let begun = Begun {
                    number,
                    taken: back.taken.iter().map(|file| file.add.path.clone()).collect(),
                    kept: begun::adds(&back.kept),
                    counters: counters.into_iter().map(|(id, count)| (id.into(), count)).collect(),
                };
                Some(self.bring_in(&mut turn, back, &txn, &begun).await?)
            }
        };
        let left = self.until_known(&mut turn, &leaving, "a replay").await?;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.rejects.head = Arc::new(left.head);
        if let Some(came) = came {
            state.rows.head = Arc::new(came.head);
            state.push_change(changes::Change::added(back.rows.clone()));
        }
        self.publish_value(state);
        Ok(Some(number))
    }

    /// What leaves quarantine is a row, is there already, stays, or is given up; beside that a model may leave rows out, or
    /// make several of one, and it is said how many.
    fn left_out(&self, back: &TakeBack) -> Result<i64, LakeError> {
        let count = |files: &[Arc<DataFile>]| files.iter().map(|file| file.rows).sum::<Option<u64>>().map(signed);
        let (Some(taken), Some(kept), Some(rows)) = (count(&back.taken), count(&back.kept), count(&back.rows)) else {
            return Ok(0);
        };
        let balance = Balance {
            offered: taken,
            accepted: rows,
            quarantined: kept,
            duplicates: signed(back.duplicates),
            filtered: signed(back.given_up),
            erased: 0,
        };
        let left_out = taken - balance.accounted();
        if left_out == 0 || self.contract.source.is_none() {
            return Ok(left_out);
        }
        self.tell_balance(&balance, self.head().version().next().0);
        Err(LakeError::Unbalanced { table: self.id(), balance })
    }

    /// The first commit: the rows, with what the second has to do.
    async fn bring_in(&self, turn: &mut Turn, back: &TakeBack, txn: &TxnId, begun: &Begun) -> Result<Done, LakeError> {
        let mut info = back.info.clone();
        info.extend([self.said_of(begun)?]);
        let commit = Commit {
            adds: back.rows.clone(),
            txns: BTreeMap::from([(txn.clone(), begun.number)]),
            info,
            ..Commit::to(SideName::Rows, OPERATION)
        };
        self.check(&commit)?;
        self.until_known(turn, &commit, "a replay").await
    }

    /// What the first of two commits says of the second.
    pub(crate) fn said_of(&self, begun: &Begun) -> Result<(String, String), LakeError> {
        let invalid = |error: serde_json::Error| LakeError::Delta {
            attempt: "a commit",
            table: self.id(),
            source: DeltaError::InvalidCommit { path: BEGUN.to_owned(), line: 0, reason: error.to_string() },
        };
        Ok((BEGUN.to_owned(), serde_json::to_string(begun).map_err(invalid)?))
    }

    /// The turn to commit at a moment when every epoch that has ended is committed: what is committed then lies between
    /// two epochs, for models too.
    pub(crate) async fn turn_between_epochs(&self, attempt: &'static str) -> Result<MutexGuard<'_, Turn>, LakeError> {
        let mut moved = self.watch();
        loop {
            moved.borrow_and_update();
            self.shared.may_commit(attempt, self)?;
            let turn = self.turn().await;
            if self.state.lock().changes.open_seals().is_empty() {
                return Ok(turn);
            }
            drop(turn);
            if moved.changed().await.is_err() {
                return Err(LakeError::Stopped { attempt, table: self.id() });
            }
        }
    }

    /// Tries a commit again for as long as that can help and the lake is not closed.
    pub(crate) async fn until_known(
        &self,
        turn: &mut Turn,
        commit: &Commit,
        attempt: &'static str,
    ) -> Result<Done, LakeError> {
        let mut closed = self.shared.closed.subscribe();
        let mut wait = Duration::from_millis(100);
        loop {
            let error = match self.carry_out(turn, commit).await {
                Err(error) if error.retry() == Retry::Later => error,
                outcome => return outcome,
            };
            tracing::warn!(table = %self.id(), attempt, error = &error as &dyn std::error::Error, "a commit is tried again");
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(5)),
                _ = closed.wait_for(|closed| *closed) => {
                    return Err(LakeError::Stopped { attempt, table: self.id() });
                }
            }
        }
    }
}
