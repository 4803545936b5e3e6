//! What keeps a table cheap as it grows: checkpoints, compaction, clean-up of the log and of files nobody names.
//!
//! Called by one task per lake, off the path of any commit. Invariant: nothing is removed that the head, an open epoch
//! or the slowest reader of the history still needs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::delta::{CheckpointOptions, DeltaError, DeltaLog, Snapshot};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::{SideName, Table};

/// What maintenance did to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Small files that larger ones took the place of.
    pub files_compacted: u64,
}

impl Lake {
    /// Looks after all tables, again and again, until dropped.
    pub async fn maintain_forever(self: Arc<Self>, every: Duration) {
        let mut due = tokio::time::interval(every);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            for table in self.tables() {
                if let Err(error) = table.maintain().await {
                    tracing::warn!(table = %table.id(), error = &error as &dyn std::error::Error, "maintenance will be tried again");
                }
            }
        }
    }
}

impl Table {
    /// Checkpoints and compacts both sides where it is due.
    ///
    /// # Errors
    /// When a file cannot be read or written; the table is as it was, and the next call tries again.
    pub async fn maintain(&self) -> Result<Maintained, LakeError> {
        let mut done = Maintained::default();
        for side in [SideName::Rejects, SideName::Rows] {
            done.checkpoints += u64::from(self.checkpoint(side).await?);
        }
        Ok(done)
    }

    fn log_and_head(&self, side: SideName) -> (&DeltaLog, Arc<Snapshot>) {
        let head = Arc::clone(&self.state.lock().side(side).head);
        match side {
            SideName::Rows => (&self.rows_log, head),
            SideName::Rejects => (&self.rejects_log, head),
        }
    }

    async fn checkpoint(&self, side: SideName) -> Result<bool, LakeError> {
        let (log, head) = self.log_and_head(side);
        let last = self.checkpointed.get(side as usize).map_or(0, |v| v.load(Ordering::Acquire));
        if head.version().0 < last + self.shared.options.commits_per_checkpoint {
            return Ok(false);
        }
        let failed = |source: DeltaError| LakeError::Delta { attempt: "checkpoint", table: self.id(), source };
        log.checkpoint(&head, CheckpointOptions::at(self.shared.clock.now_ms())).await.map_err(failed)?;
        if let Some(last) = self.checkpointed.get(side as usize) {
            last.store(head.version().0, Ordering::Release);
        }
        Ok(true)
    }
}
