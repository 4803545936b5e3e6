//! A delivery's commit: an epoch of its table that ends with it.
//!
//! Sits between who has read a file (`ingest::delivery`) and the commits of epochs in `flush`. What cannot be committed is
//! refused before anything of it is there. Invariant: a delivery that was refused has given up its place among the
//! changes and its seal, so that nobody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vitalake_runtime::error::{Classified, Retry};

use crate::books::Account;
use crate::changes::Change;
use crate::commit::{Commit, Turn};
use crate::delta::DataFile;
use crate::displaced::Displaced;
use crate::epoch::{ChangeNumber, Seal};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::TxnId;

/// Rows for a commit of their own: what a delivery holds.
#[derive(Debug, Default)]
pub struct DeliveredFiles {
    /// Files of accepted rows.
    pub rows: Vec<Arc<DataFile>>,
    /// Files of rejects.
    pub rejects: Vec<Arc<DataFile>>,
    /// Whether they take the place of everything that is there.
    pub replace: bool,
    /// The delivery that they take the place of, where they correct one: its rows go in the same commit.
    pub instead_of: Option<i64>,
    /// `txn` actions: application id and version.
    pub txns: Vec<(TxnId, i64)>,
    /// Transactions that must still be where they were when it was decided what this is to be.
    pub unless_moved: Vec<(TxnId, Option<i64>)>,
    /// How many records the delivery held, counted as they were read, and which of them quarantine has from before. Without
    /// it the files are taken at their word.
    pub account: Option<Account>,
    /// What the commit says of itself beside.
    pub info: BTreeMap<String, String>,
}

/// A delivery that is to be committed: where among the changes of its table it will be.
pub(crate) struct Pending {
    pub(crate) number: ChangeNumber,
    /// What takes the rows away that it takes the place of.
    pub(crate) displaced: Displaced,
}

impl DeliveredFiles {
    pub(crate) fn account(&self) -> Account {
        let rows = self.rows.iter().chain(&self.rejects).filter_map(|file| file.rows).sum();
        self.account.unwrap_or_else(|| Account::of(rows))
    }
}

impl Table {
    /// Commits a delivery: one epoch that ends with it, visible whole with its commit and not before. While the store is
    /// away it is tried again without end, since models wait at its place: run it in a task that outlives the request.
    ///
    /// # Errors
    /// When trying again cannot help; the delivery is not in the table then, and its place among the changes and its
    /// seal are given up. `Superseded` says that another process has delivered meanwhile: take the next number.
    pub async fn deliver(&self, delivered: DeliveredFiles) -> Result<i64, LakeError> {
        let mut turn = self.turn().await;
        for seal in self.open_seals() {
            self.commit_epoch(&mut turn, &seal, &DeliveredFiles::default(), None).await?;
        }
        // What cannot be committed is refused before its rejects are: they would be there without it.
        self.catch_up(&mut turn, SideName::Rejects).await?;
        self.catch_up(&mut turn, SideName::Rows).await?;
        let head = self.head();
        if let Some((txn, _)) = delivered.unless_moved.iter().find(|(txn, was)| head.txn(txn) != *was) {
            let committed = head.txn(txn).unwrap_or_default();
            return Err(LakeError::Superseded { table: self.id(), txn: txn.clone(), committed });
        }
        let txns: BTreeMap<TxnId, i64> = delivered.txns.iter().cloned().collect();
        self.check_rejects(&txns, !delivered.rejects.is_empty())?;
        let displaced = match delivered.instead_of.and_then(|number| i32::try_from(number).ok()) {
            Some(number) => self.displaced(SideName::Rows, &[number]).await?,
            None => Displaced::default(),
        };
        let removes = displaced.removes.clone();
        self.check(&Commit { replace_all: delivered.replace, removes, txns, ..Commit::to(SideName::Rows, "WRITE") })?;
        let (seal, pending) = {
            let mut state = self.state.lock();
            let number = state.changes.advance();
            state.changes.push_pending(number);
            (Self::seal_in(&mut state), Pending { number, displaced })
        };
        let outcome = self.deliver_until_known(&mut turn, &seal, &delivered, &pending).await;
        if outcome.is_err() {
            self.state.lock().changes.resolve(pending.number, Change::default());
            // What came beside it is committed without it; where nothing did, the seal has the version that is there.
            if let Err(error) = self.commit_epoch(&mut turn, &seal, &DeliveredFiles::default(), None).await {
                tracing::warn!(table = %self.id(), error = &error as &dyn std::error::Error, "an epoch waits for its commit");
            }
        }
        outcome
    }

    /// Refuses a delivery whose number the quarantine has given to another: rejects of two files would be under one. Those
    /// of the same content are its own; where it brings them once more, another process is at it too.
    fn check_rejects(&self, txns: &BTreeMap<TxnId, i64>, brings_some: bool) -> Result<(), LakeError> {
        let (_, head) = self.at(SideName::Rejects);
        if !brings_some && txns.iter().all(|(id, version)| head.txn(id.as_str()) == Some(*version)) {
            return Ok(());
        }
        self.check(&Commit { txns: txns.clone(), ..Commit::to(SideName::Rejects, "WRITE") })
    }

    /// Tries a delivery's commit again for as long as that can help and the lake is not closed.
    async fn deliver_until_known(
        &self,
        turn: &mut Turn,
        seal: &Arc<Seal>,
        delivered: &DeliveredFiles,
        pending: &Pending,
    ) -> Result<i64, LakeError> {
        let mut closed = self.shared.closed.subscribe();
        let mut wait = Duration::from_millis(100);
        loop {
            let error = match self.commit_epoch(turn, seal, delivered, Some(pending)).await {
                Err(error) if error.retry() == Retry::Later => error,
                outcome => return outcome,
            };
            tracing::warn!(table = %self.id(), error = &error as &dyn std::error::Error, "a delivery waits for its commit");
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(5)),
                _ = closed.wait_for(|closed| *closed) => {
                    return Err(LakeError::Stopped { attempt: "a delivery", table: self.id() });
                }
            }
        }
    }
}
