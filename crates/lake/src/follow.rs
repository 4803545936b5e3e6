//! A table that another process commits to, followed here: its new versions become this process's head, and changes for
//! the models that read it.
//!
//! A follower writes nothing. It may hold a tail of its own, read from where the owner reads; `Uncovered` says which of
//! those rows no commit holds yet. Invariant: head and tail move in one publication, so that a row that has just been
//! committed is neither missing nor there twice.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::delta::{Snapshot, VersionChanges};
use crate::epoch::ChangeNumber;
use crate::error::LakeError;
use crate::table::{State, Table};

/// Rows of a batch that a version of the table does not hold yet; `None` when it holds them all.
pub type Uncovered<'a> = &'a (dyn Fn(&Snapshot, &RecordBatch) -> Option<RecordBatch> + Send + Sync);

impl Table {
    /// Whether another process owns this table and this one only follows it.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followed
    }

    /// Takes over the versions that were committed elsewhere since the last call; says whether there were any. Costs one
    /// request when there are none.
    ///
    /// # Errors
    /// When the log cannot be read; what was taken over before stays.
    pub async fn follow(&self, uncovered: Uncovered<'_>) -> Result<bool, LakeError> {
        let _one_at_a_time = self.committing.lock().await;
        let failed = |source| LakeError::Delta { attempt: "following", table: self.id(), source };
        let head = self.head();
        let (newest, versions) = self.rows_log.newer(&head).await.map_err(failed)?;
        if newest.version() == head.version() {
            return Ok(false);
        }
        // Rejects are committed before the rows of their epoch: they are there by now.
        let rejects = Arc::clone(&self.state.lock().rejects.head);
        let rejects = self.rejects_log.reload(&rejects).await.map_err(failed)?;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.rows.chunks.retain_rows(|batch| uncovered(&newest, batch));
        state.rejects.chunks.retain_rows(|batch| uncovered(&rejects, batch));
        state.rows.head = Arc::new(newest);
        state.rejects.head = Arc::new(rejects);
        for version in versions {
            take_over(state, version);
        }
        self.publish(state);
        Ok(true)
    }

    /// Adds rows and rejects to a follower's own tail, without those that the newest version here holds already.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub fn append_uncovered(
        &self,
        rows: Vec<RecordBatch>,
        rejects: Vec<RecordBatch>,
        uncovered: Uncovered<'_>,
    ) -> Result<(), LakeError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let rows = rows.iter().filter_map(|batch| uncovered(&state.rows.head, batch)).collect();
        let rejects = rejects.iter().filter_map(|batch| uncovered(&state.rejects.head, batch)).collect();
        self.append_in(state, rows, rejects, []).map(|_| ())
    }
}

/// One version as a change of its own that ends an epoch: models commit what they make of it under its number.
fn take_over(state: &mut State, version: VersionChanges) {
    let number: ChangeNumber = state.changes.advance();
    state.changes.push_files(number, version.added);
    let seal = state.changes.seal(std::collections::BTreeMap::new());
    seal.set_version(i64::try_from(version.version.0).unwrap_or(i64::MAX));
    let previous = state.committed;
    state.changes.committed(&seal, previous, &[]);
    state.committed = number;
    state.newest_ms = version.timestamp_ms.or(state.newest_ms);
}
