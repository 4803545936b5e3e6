//! Rows and rejects that take the place of others, because what they were made of has changed.
//!
//! Done as a replay is, between two epochs: rows first, in a commit that says what is to happen in quarantine, then that.
//! To who reads the table change by change it is an epoch of its own. Invariant: nothing of it is committed over files that
//! another has rewritten meanwhile, and whoever opens the table after a crash finishes the second commit first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::books::{Account, Balance, signed};
use crate::changes::Change;
use crate::commit::{Commit, Done, Turn};
use crate::delta::DataFile;
use crate::error::LakeError;
use crate::flush::version_of;
use crate::rejects::{Begun, adds};
use crate::side::SideName;
use crate::table::{Overlay, Table};
use crate::txn::{Counter, TxnId};

/// The operation's name in the history of both tables.
const OPERATION: &str = "CORRECT";

/// What takes the place of what.
#[derive(Clone, Debug, Default)]
pub struct Correction {
    /// Files of the table that go.
    pub removed: Vec<Arc<DataFile>>,
    /// Files that come: with what stays of those that go, and with new rows.
    pub added: Vec<Arc<DataFile>>,
    /// Files of its quarantine that go.
    pub rejects_removed: Vec<Arc<DataFile>>,
    /// Files that come into quarantine.
    pub rejects_added: Vec<Arc<DataFile>>,
    /// How far the sources have come with it.
    pub txns: Vec<(TxnId, i64)>,
    /// What was taken in of the input for it, and what of that is neither row nor reject.
    pub account: Account,
    /// Rows and rejects that stay in none of the files.
    pub retracted: u64,
    /// Rows and rejects that were made again and are there as they were.
    pub unchanged: u64,
}

impl Correction {
    fn is_of_rows(&self) -> bool {
        !self.removed.is_empty() || !self.added.is_empty()
    }

    fn is_of_rejects(&self) -> bool {
        !self.rejects_removed.is_empty() || !self.rejects_added.is_empty()
    }

    /// What the files come to; none where one does not say how many rows it holds.
    fn balance(&self) -> Option<Balance> {
        let count = |files: &[Arc<DataFile>]| files.iter().map(|file| file.rows).sum::<Option<u64>>().map(signed);
        let stays = count(&self.removed)? + count(&self.rejects_removed)? - signed(self.retracted);
        Some(Balance {
            offered: self.account.offered + stays,
            accepted: count(&self.added)?,
            quarantined: count(&self.rejects_added)?,
            duplicates: self.account.duplicates + signed(self.unchanged),
            filtered: self.account.filtered,
            erased: self.account.erased,
        })
    }
}

impl Table {
    /// Commits a correction and gives the version of the table that has it. `None` when something of it has moved
    /// meanwhile, or rows are in the table that no epoch holds: nothing is done then. While the store is away it is tried
    /// again without end, and the table waits. Who has looked at quarantine holds the turn to take rejects out of it.
    ///
    /// # Errors
    /// When trying again cannot help. Nothing is done then, or the next opening of the table finishes what was begun.
    pub async fn correct(&self, correction: &Correction) -> Result<Option<i64>, LakeError> {
        self.correct_and(correction, None::<fn() -> Overlay>).await
    }

    /// The same to a table that shows rows in the place of files: what it shows from then on is in the same publication.
    ///
    /// # Errors
    /// As [`Table::correct`].
    pub async fn correct_showing(
        &self,
        correction: &Correction,
        then: impl FnOnce() -> Overlay + Send,
    ) -> Result<Option<i64>, LakeError> {
        self.correct_and(correction, Some(then)).await
    }

    async fn correct_and<F: FnOnce() -> Overlay + Send>(
        &self,
        correction: &Correction,
        then: Option<F>,
    ) -> Result<Option<i64>, LakeError> {
        let mut turn = self.turn_between_epochs(OPERATION).await?;
        self.catch_up(&mut turn, SideName::Rejects).await?;
        self.catch_up(&mut turn, SideName::Rows).await?;
        let (rows_head, rejects_head) = (self.head(), self.rejects_head());
        let is_gone = |file: &Arc<DataFile>| rows_head.file(file.path()).is_none();
        let is_gone_from_rejects = |file: &Arc<DataFile>| rejects_head.file(file.path()).is_none();
        if !self.is_at_rest()
            || correction.removed.iter().any(is_gone)
            || correction.rejects_removed.iter().any(is_gone_from_rejects)
        {
            return Ok(None);
        }
        self.check_correction(correction)?;
        let txn = TxnId::correction(&self.contract.dataset);
        let number = rows_head.txn(&txn).max(rejects_head.txn(&txn)).unwrap_or(0) + 1;
        let came = self.bring_in_correction(&mut turn, correction, (&txn, number)).await?;
        let left = match correction.is_of_rejects() {
            true => {
                let leaving = correction.of_rejects((&txn, number));
                Some(self.until_known(&mut turn, &leaving, OPERATION).await?)
            }
            false => None,
        };
        Ok(Some(self.publish_correction(correction, (came, left), then)))
    }

    /// Whether every row that came is in an epoch, and every epoch in a commit.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let state = self.state.lock();
        state.changes.open_seals().is_empty() && state.rows.chunks.is_empty() && state.rejects.chunks.is_empty()
    }

    /// Waits until every epoch that has ended is committed.
    ///
    /// # Errors
    /// When the lake is closed.
    pub async fn rest(&self) -> Result<(), LakeError> {
        self.turn_between_epochs("waiting for the last epoch").await.map(|_| ())
    }

    fn check_correction(&self, correction: &Correction) -> Result<(), LakeError> {
        let Some(balance) = correction.balance().filter(|balance| !balance.comes_out()) else { return Ok(()) };
        self.tell_balance(&balance, self.head().version().next().0);
        Err(LakeError::Unbalanced { table: self.id(), balance })
    }

    /// The first commit: the rows, with what the second has to do.
    async fn bring_in_correction(
        &self,
        turn: &mut Turn,
        correction: &Correction,
        (txn, number): (&TxnId, i64),
    ) -> Result<Done, LakeError> {
        let mut txns: BTreeMap<TxnId, i64> = correction.txns.iter().cloned().collect();
        txns.extend(self.counted(correction.account));
        if !self.grouped {
            // What is there as it was has been taken in twice, and is there once.
            let retracted = signed(correction.retracted + correction.unchanged);
            txns.extend(self.counted_on(SideName::Rows, Counter::Retracted, retracted));
        }
        let mut info = BTreeMap::from([("vitalakeRetracted".to_owned(), correction.retracted.to_string())]);
        if correction.is_of_rejects() {
            self.check(&correction.of_rejects((txn, number)))?;
            txns.insert(txn.clone(), number);
            info.extend([self.said_of(&Begun {
                number,
                taken: correction.rejects_removed.iter().map(|file| file.add.path.clone()).collect(),
                kept: adds(&correction.rejects_added),
                counters: BTreeMap::new(),
            })?]);
        }
        let commit = Commit {
            adds: correction.added.clone(),
            removes: correction.removed.iter().map(|file| file.path().clone()).collect(),
            txns,
            info,
            ..Commit::to(SideName::Rows, OPERATION)
        };
        self.check(&commit)?;
        self.until_known(turn, &commit, OPERATION).await
    }

    /// Both heads in one publication, and an epoch of its own for readers.
    fn publish_correction(
        &self,
        correction: &Correction,
        (came, left): (Done, Option<Done>),
        then: Option<impl FnOnce() -> Overlay>,
    ) -> i64 {
        let version = version_of(&came.head);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.rows.head = Arc::new(came.head);
        if let Some(then) = then {
            state.overlay = Some(then());
        }
        if let Some(left) = left {
            state.rejects.head = Arc::new(left.head);
        }
        if correction.is_of_rows() {
            let (added, removed) = (correction.added.clone(), correction.removed.clone());
            state.push_epoch(Change { added, removed, version: Some(version) }, version);
            state.committed = state.changes.last();
        }
        self.publish_value(state);
        version
    }
}

impl Correction {
    /// The second commit.
    fn of_rejects(&self, (txn, number): (&TxnId, i64)) -> Commit {
        Commit {
            adds: self.rejects_added.clone(),
            removes: self.rejects_removed.iter().map(|file| file.path().clone()).collect(),
            txns: BTreeMap::from([(txn.clone(), number)]),
            ..Commit::to(SideName::Rejects, OPERATION)
        }
    }
}
