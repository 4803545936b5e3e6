//! What was given up of quarantine → rows of `ops.discards`, each discard once, whoever enters it.
//!
//! The commits of quarantine say what was given up. Who discards enters what they say and nobody has entered yet, and so does
//! a process that starts, for one that was killed in between. Invariant: the rows of a discard and the transaction that says
//! that it is entered are one commit, so that of several processes one enters it.

use vitalake_lake::{Table, TxnId};
use vitalake_runtime::events::Event;

use super::cells::{Row, batch};
use super::{RecordError, Recorder, name};
use crate::tables::OpsTable;

/// How often another process may be first before that is an error.
const LOST_RACES_MAX: u32 = 10;

impl Recorder {
    /// Enters what was given up of a dataset since a moment and has no row yet. Gives how many rejects those rows count.
    ///
    /// # Errors
    /// When there is no lake, the commits of quarantine cannot be read, or the rows cannot be committed: a later call makes
    /// them.
    pub async fn enter_discards(&self, table: &Table, since_ms: i64) -> Result<u64, RecordError> {
        let journal = self.journal(OpsTable::Discards).await?;
        let dataset = table.id();
        let txn = TxnId::discard_entered(&dataset.dataset);
        let unread = |source| RecordError::Read { table: name(OpsTable::Discards), source };
        for _ in 0..LOST_RACES_MAX {
            journal.refresh().await.map_err(unread)?;
            let entered = journal.committed_txn(&txn).unwrap_or(i64::MIN);
            let given_up = table.discarded_since(entered, since_ms).await.map_err(unread)?;
            let Some(last) = given_up.iter().map(|discarded| discarded.number).max() else { return Ok(0) };
            let count = given_up.iter().map(|discarded| discarded.rows).sum();
            let row = |discarded: vitalake_lake::Discarded| {
                self.stamp().single(&Event::Discard {
                    dataset: dataset.to_string().into(),
                    number: discarded.number,
                    rows: discarded.rows,
                    reason: discarded.reason.into(),
                    actor: discarded.actor.into(),
                })
            };
            let rows: Vec<Row> = given_up.into_iter().filter_map(row).collect();
            let rows = batch(journal.schema(), &rows).ok_or(RecordError::NotKept)?;
            let entered = journal.commit_once(rows, (&txn, last)).await;
            if entered.map_err(|source| RecordError::Commit { table: name(OpsTable::Discards), source })? {
                return Ok(count);
            }
        }
        Err(RecordError::Late { table: name(OpsTable::Discards) })
    }
}
