//! Whose work this is: how a process finds that another has taken it over, and stops committing.
//!
//! There is no lease file. Whoever moves a transaction that was this process's does its work from then on, and what is
//! in memory here may be in the other's commits. Invariant: once the lease is lost nothing is committed by this lake;
//! its owner begins anew from the tables.

use std::sync::Arc;

use crate::delta::action::Action;
use crate::delta::{DataFile, DeltaLog, Snapshot, TableVersion};
use crate::error::LakeError;
use crate::lake::{Lake, Shared};
use crate::table::Table;
use crate::txn::{TxnId, TxnKind};

impl Shared {
    /// Refuses what may not be committed any longer.
    pub(crate) fn may_commit(&self, attempt: &'static str, table: &Table) -> Result<(), LakeError> {
        if *self.closed.borrow() {
            return Err(LakeError::Stopped { attempt, table: table.id() });
        }
        if *self.lease_lost.borrow() {
            return Err(LakeError::LeaseLost { table: table.id() });
        }
        Ok(())
    }
}

impl Lake {
    /// Waits until a commit finds that another process has taken over what this one was doing: what is not committed
    /// here is the other's to do, and this process must begin anew from the tables.
    pub async fn lease_lost(&self) {
        let mut lost = self.shared.lease_lost.subscribe();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Whether another process has taken over what this one was doing.
    #[must_use]
    pub fn has_lost_lease(&self) -> bool {
        *self.shared.lease_lost.borrow()
    }
}

impl Table {
    /// Another process does what this one did: nothing is committed here any longer, and everything begins anew.
    pub fn lose_lease(&self) {
        self.shared.lease_lost.send_replace(true);
    }

    /// Loses the lease, and the error that says so.
    pub(crate) fn lease_lost(&self) -> LakeError {
        self.lose_lease();
        LakeError::LeaseLost { table: self.id() }
    }

    /// Whether other writers' commits between two versions concern what is in memory here: rows that came or went without
    /// the readers of this process, or any file of a table whose groups are known by their files. Asked only when there
    /// are such commits; where they cannot be read they do.
    pub(crate) async fn others_moved_rows(
        &self,
        log: &DeltaLog,
        before: &Snapshot,
        after: &Snapshot,
        ours: &[Arc<DataFile>],
    ) -> bool {
        if !self.grouped && !self.state.lock().changes.has_readers() {
            return false;
        }
        let is_ours = |action: &Action| match action {
            Action::Add(add) => ours.iter().any(|file| file.add.path == add.path),
            _ => false,
        };
        let concerns = |action: &Action| match action {
            Action::Add(add) => add.data_change || self.grouped,
            Action::Remove(remove) => remove.data_change || self.grouped,
            _ => false,
        };
        for version in before.version().0 + 1..=after.version().0 {
            let Ok(Some(actions)) = log.read_commit(TableVersion(version)).await else { return true };
            if !actions.iter().any(is_ours) && actions.iter().any(concerns) {
                return true;
            }
        }
        false
    }

    /// Whether another process has moved a transaction that is this one's between two versions: it does the same work,
    /// and what is in memory here may be in its commits. `ours` are those that this process has moved itself.
    pub(crate) fn is_taken_over<'a>(
        &self,
        before: &Snapshot,
        after: &Snapshot,
        ours: impl IntoIterator<Item = (&'a TxnId, &'a i64)> + Clone,
    ) -> bool {
        let held: Vec<TxnId> = self.state.lock().txns.keys().cloned().collect();
        let models = after.txns().map(|txn| TxnId::parse(&txn.app_id));
        let models = models.filter(|id| matches!(id.kind(), TxnKind::Model { .. }));
        held.into_iter().chain(models).any(|id| {
            let moved = after.txn(&id);
            let by_us = ours.clone().into_iter().any(|(own, version)| *own == id && Some(*version) == moved);
            moved != before.txn(&id) && !by_us
        })
    }
}
