//! What keeps a table cheap as it grows: checkpoints, compaction, clean-up of the log and of files nobody names.
//!
//! Called by one task per lake, off the path of any commit. Invariant: nothing is removed that the head, an open epoch
//! or the slowest model that reads the table still needs, whether that model is running, has failed, or is another
//! process's.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::delta::{
    CheckpointOptions, CleanOptions, CompactOptions, DataFile, DeltaError, DeltaLog, FilePath, Snapshot, TableVersion,
    VacuumOptions, VersionChanges,
};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::side::SideName;
use crate::staged::Published;
use crate::table::Table;
use crate::txn::TxnId;

/// How long commits stay in the log after a checkpoint, as Delta's own default is for tombstones.
const LOG_RETENTION_MS: i64 = 7 * 24 * 3_600_000;
/// How long files that no version names any longer stay, for queries and foreign readers that began before.
const FILE_RETENTION_MS: i64 = 24 * 3_600_000;
/// Versions that the slowest model may have still to read for their files to be looked up. With more nearly all that is
/// there is still to be read, so that a clean-up would cost a request for each and remove little.
const UNREAD_VERSIONS_MAX: u64 = 10_000;

/// What maintenance did to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Small files that larger ones took the place of.
    pub files_compacted: u64,
    /// Files removed: of the log, and data that nothing names.
    pub files_removed: u64,
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
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(table = %table.id(), error, "maintenance will be tried again");
                }
            }
        }
    }
}

impl Table {
    /// Compacts, checkpoints and cleans both sides where it is due.
    ///
    /// # Errors
    /// When a file cannot be read or written; the table is as it was, and the next call tries again.
    pub async fn maintain(&self) -> Result<Maintained, LakeError> {
        let mut done = Maintained::default();
        if self.followed {
            return Ok(done);
        }
        for side in [SideName::Rejects, SideName::Rows] {
            done.files_compacted += self.compact(side).await?;
            if self.checkpoint(side).await? {
                done.checkpoints += 1;
                done.files_removed += self.clean(side).await?;
            }
        }
        if self.checkpoint_published().await? {
            done.checkpoints += 1;
            done.files_removed += self.clean_published().await?;
        }
        Ok(done)
    }

    async fn checkpoint_published(&self) -> Result<bool, LakeError> {
        let Some(Published { log, head, checkpointed, .. }) = self.published_side() else { return Ok(false) };
        if head.version().0 < checkpointed.0 + self.shared.options.commits_per_checkpoint {
            return Ok(false);
        }
        let failed = |source: DeltaError| LakeError::Delta { attempt: "checkpoint", table: self.id(), source };
        log.checkpoint(&head, CheckpointOptions::at(self.shared.clock.now_ms())).await.map_err(failed)?;
        if let Some(published) = &mut self.state.lock().rows.published {
            published.checkpointed = head.version();
        }
        Ok(true)
    }

    /// Removes of HEAD's folder what neither HEAD nor the staged log names. Nobody reads HEAD change by change.
    async fn clean_published(&self) -> Result<u64, LakeError> {
        let Some(Published { log, head, base, .. }) = self.published_side() else { return Ok(0) };
        let failed = |source: DeltaError| LakeError::Delta { attempt: "clean-up", table: self.id(), source };
        let now_ms = self.shared.clock.now_ms();
        let options = CleanOptions { now_ms, retention_ms: LOG_RETENTION_MS, keep_from: base };
        let commits = log.clean_log(options).await.map_err(failed)?;
        let (_, staged) = self.at(SideName::Rows);
        let mut protected = self.uncommitted(SideName::Rows);
        protected.extend(staged.files().map(|file| file.path().clone()));
        let cutoff_ms = now_ms - FILE_RETENTION_MS;
        let recent = staged.tombstones().filter(|(_, tombstone)| tombstone.deleted_ms >= cutoff_ms);
        protected.extend(recent.map(|(path, _)| path.clone()));
        let options = VacuumOptions { now_ms, retention_ms: FILE_RETENTION_MS, protected };
        let files = log.vacuum(&head, &options).await.map_err(failed)?;
        Ok((commits.files + files.files) as u64)
    }

    async fn checkpoint(&self, side: SideName) -> Result<bool, LakeError> {
        let (log, head) = self.at(side);
        let last = self.state.lock().side(side).checkpointed;
        if head.version().0 < last.0 + self.shared.options.commits_per_checkpoint {
            return Ok(false);
        }
        let failed = |source: DeltaError| LakeError::Delta { attempt: "checkpoint", table: self.id(), source };
        log.checkpoint(&head, CheckpointOptions::at(self.shared.clock.now_ms())).await.map_err(failed)?;
        self.state.lock().side_mut(side).checkpointed = head.version();
        Ok(true)
    }

    /// Removes commits behind the checkpoint and files that no version names, both past their retention.
    async fn clean(&self, side: SideName) -> Result<u64, LakeError> {
        let (log, head) = self.at(side);
        let now_ms = self.shared.clock.now_ms();
        let failed = |source: DeltaError| LakeError::Delta { attempt: "clean-up", table: self.id(), source };
        let keep_from = self.read_by_all(side, &head).await.map_err(failed)?;
        if head.version().0 - keep_from.0 > UNREAD_VERSIONS_MAX {
            return Ok(0);
        }
        let staged = side == SideName::Rows && self.is_gated();
        let mut protected = self.uncommitted(side);
        let options = CleanOptions { now_ms, retention_ms: LOG_RETENTION_MS, keep_from };
        let commits = log.clean_log(options).await.map_err(failed)?;
        if staged {
            self.forget_tombstones(side, now_ms);
            return Ok(commits.files as u64); // Its files are HEAD's, and go with those that HEAD's clean-up finds.
        }
        match log.changes(keep_from, head.version()).await {
            // The slowest reader has them still to come, though later versions may have taken them away.
            Ok(history) => protected.extend(history.iter().flat_map(VersionChanges::files).map(|f| f.path().clone())),
            // It reads the table from its beginning, and which files that were is not in the log: none goes yet.
            Err(DeltaError::HistoryCleaned { .. }) => return Ok(commits.files as u64),
            Err(error) => return Err(failed(error)),
        }
        let options = VacuumOptions { now_ms, retention_ms: FILE_RETENTION_MS, protected };
        let files = log.vacuum(&head, &options).await.map_err(failed)?;
        self.forget_tombstones(side, now_ms);
        Ok((commits.files + files.files) as u64)
    }

    fn forget_tombstones(&self, side: SideName, now_ms: i64) {
        let mut guard = self.state.lock();
        let newest = &mut guard.side_mut(side).head;
        *newest = Arc::new(newest.without_tombstones_before(now_ms - LOG_RETENTION_MS));
    }

    /// The version after which a model may still ask for the history. What counts is what is committed in the models'
    /// tables, since from there each goes on when it is started again; a model that has committed nothing yet may ask for
    /// everything.
    async fn read_by_all(&self, side: SideName, head: &Snapshot) -> Result<TableVersion, DeltaError> {
        if side == SideName::Rejects {
            return Ok(head.version()); // Nobody reads them as they change.
        }
        let here = self.state.lock().changes.consumed_by_all();
        let mut slowest = here.unwrap_or(head.version()).min(head.version());
        for output in &self.read_by {
            // What a gate holds back can be made again only while its input's history is there: HEAD's transactions count.
            let open = self.shared.pointer.pin().table(output).map(|view| Arc::clone(view.published()));
            let output_head = match open {
                Some(head) => Some(head),
                // A process without models has not opened it.
                None => DeltaLog::new(Arc::clone(&self.shared.store), output.root()).load().await?.map(Arc::new),
            };
            let txn = TxnId::model(&output.dataset, &head.metadata().id);
            let consumed = output_head.and_then(|head| head.txn(txn.as_str()));
            slowest = slowest.min(TableVersion(consumed.and_then(|v| u64::try_from(v).ok()).unwrap_or(0)));
        }
        Ok(slowest)
    }

    /// Files that no commit names yet, and those of versions that are read from outside.
    fn uncommitted(&self, side: SideName) -> HashSet<FilePath> {
        let state = self.state.lock();
        let mut early: HashSet<FilePath> = state.side(side).chunks.files().map(|f| f.path().clone()).collect();
        early.extend(state.overlay.iter().flat_map(|overlay| &overlay.early).map(|f| f.path().clone()));
        if side == SideName::Rows {
            early.extend(self.pins.files());
        }
        early
    }

    /// Joins small files into large ones in a commit that changes no data.
    /// The names of the columns that the contract's queries filter by.
    fn sort_by(&self) -> Vec<String> {
        let columns = self.contract.sort_by.iter().filter_map(|at| self.contract.columns.get(*at));
        columns.map(|column| column.name.to_string()).collect()
    }

    async fn compact(&self, side: SideName) -> Result<u64, LakeError> {
        if side == SideName::Rows && self.grouped {
            return Ok(0); // A table of groups keeps its files in shape with each commit.
        }
        if side == SideName::Rows && self.is_gated() && self.contract.gate_window.is_some() {
            return Ok(0); // A file holds one window.
        }
        if side == SideName::Rows && self.candidate().is_some_and(|candidate| candidate.waits()) {
            return Ok(0); // What waits is published as it was staged, so that HEAD's readers of changes see it as such.
        }
        let undisturbed = match side {
            SideName::Rejects => self.taking_back.try_lock().map(Some),
            SideName::Rows => Ok(None),
        };
        let Ok(_undisturbed) = undisturbed else {
            return Ok(0); // Who takes rejects out of quarantine has its files named already.
        };
        let (log, head) = self.at(side);
        let failed = |source: DeltaError| LakeError::Delta { attempt: "compaction", table: self.id(), source };
        let sort_by = if side == SideName::Rows { self.sort_by() } else { Vec::new() };
        let (options, mut compacted) = (CompactOptions { sort_by, ..CompactOptions::default() }, 0);
        for task in log.plan_compaction(&head, &options) {
            let now_ms = self.shared.clock.now_ms();
            let rewritten = log.compact(&head, &task, &options, now_ms).await.map_err(failed)?;
            let (removed, added) = (rewritten.removes.len() as u64, rewritten.adds.clone());
            let _turn = self.turn().await;
            self.shared.may_commit("compaction", self)?;
            let (_, newest) = self.at(side);
            let next = match log.append(&newest, rewritten.into_change(now_ms)).await {
                Ok(next) => next,
                // Another process has joined them first; its files are these now.
                Err(DeltaError::FileNotLive { .. }) => log.reload(&newest).await.map_err(failed)?,
                Err(error) => return Err(failed(error)),
            };
            // Past a commit of rows only a commit of rows may go: it alone compares transactions.
            if self.is_taken_over(&newest, &next, []) {
                return Ok(compacted);
            }
            let added: Vec<_> = added.iter().map(|add| Arc::new(DataFile::new(add.clone()))).collect();
            let alone = next.version() == newest.version().next();
            if side == SideName::Rows && !alone && self.others_moved_rows(&log, &newest, &next, &added).await {
                self.lose_lease();
            }
            let mut state = self.state.lock();
            state.side_mut(side).head = Arc::new(next);
            self.publish_value(&state);
            compacted += removed;
        }
        Ok(compacted)
    }
}
