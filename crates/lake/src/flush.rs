//! Rows in memory become files, and files become commits: the early writes, the epochs, the deliveries.
//!
//! Writing and committing are two steps. Writing turns runs of the tail into Parquet files that no commit names yet; a
//! commit only lists them. So a tail that is full is written early, and a commit that failed is tried again with the
//! same files. Any failed commit is "unknown": the transaction ids in the log decide whether it took place.
//! Invariant: an epoch's rejects are committed before its rows, with the same transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_runtime::error::Retry;

use crate::delta::{Change, DataFile, DeltaError, DeltaLog, Snapshot};
use crate::epoch::{ChangeNumber, Seal};
use crate::error::LakeError;
use crate::parquet::{self, ParquetOptions};
use crate::table::{Overlay, SideName, State, Table};
use crate::tail::Run;

/// How the transaction ids of models begin.
const MODEL_TXN_PREFIX: &str = "vitalake/model/";

/// Rows for a commit of their own: what a delivery holds.
#[derive(Debug, Default)]
pub struct DeliveredFiles {
    /// Files of accepted rows.
    pub rows: Vec<Arc<DataFile>>,
    /// Files of rejects.
    pub rejects: Vec<Arc<DataFile>>,
    /// Whether they take the place of everything that is there.
    pub replace: bool,
    /// `txn` actions: application id and version.
    pub txns: Vec<(String, i64)>,
    /// What the commit says of itself beside.
    pub info: BTreeMap<String, String>,
}

impl Table {
    /// Writes as files what is in memory, when it is more than the table should hold; what is open stays open.
    ///
    /// # Errors
    /// When rows cannot be encoded or the store refuses; nothing is lost, the rows stay where they were.
    pub async fn write_early(&self) -> Result<bool, LakeError> {
        if self.followed {
            return Ok(false);
        }
        let (last, bytes) = {
            let state = self.state.lock();
            (state.changes.last(), state.rows.chunks.bytes() + state.rejects.chunks.bytes())
        };
        if bytes < self.shared.options.tail_bytes_max / 4 {
            return Ok(false);
        }
        self.write(SideName::Rows, last).await?;
        self.write(SideName::Rejects, last).await?;
        Ok(true)
    }

    /// Commits a sealed epoch and returns its version; at once when it is committed already. `txns` join the seal's own.
    ///
    /// # Errors
    /// When a file or a commit cannot be written. The epoch stays sealed and visible; call again.
    pub async fn commit(&self, seal: &Arc<Seal>, txns: Vec<(String, i64)>) -> Result<i64, LakeError> {
        let _one_at_a_time = self.committing.lock().await;
        self.commit_epoch(seal, &DeliveredFiles { txns, ..DeliveredFiles::default() }, None).await
    }

    /// Seals and commits what is there. `None` when there was nothing new.
    ///
    /// # Errors
    /// As [`Table::commit`].
    pub async fn flush(&self) -> Result<Option<i64>, LakeError> {
        if self.followed {
            return Ok(None);
        }
        let _one_at_a_time = self.committing.lock().await;
        let seals = self.open_seals();
        let mut version = None;
        for seal in seals.into_iter().chain(self.seal()) {
            version = Some(self.commit_epoch(&seal, &DeliveredFiles::default(), None).await?);
        }
        Ok(version)
    }

    /// Commits a delivery: one epoch that ends with it, visible whole with its commit and not before. While the store is
    /// away it is tried again without end, since models wait at its place: run it in a task that outlives the request.
    ///
    /// # Errors
    /// When trying again cannot help; the delivery is not in the table then and its place among the changes is given up.
    pub async fn deliver(&self, delivered: DeliveredFiles) -> Result<i64, LakeError> {
        let _one_at_a_time = self.committing.lock().await;
        for seal in self.open_seals() {
            self.commit_epoch(&seal, &DeliveredFiles::default(), None).await?;
        }
        let (seal, place) = {
            let mut state = self.state.lock();
            let place = state.changes.advance();
            state.changes.push_pending(place);
            (Self::seal_in(&mut state), place)
        };
        let mut wait = std::time::Duration::from_millis(100);
        loop {
            match self.commit_epoch(&seal, &delivered, Some(place)).await {
                Err(error) if error.may_pass() => {
                    tracing::warn!(table = %self.id(), error = &error as &dyn std::error::Error, "a delivery waits for its commit");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(std::time::Duration::from_secs(5));
                }
                outcome => {
                    if outcome.is_err() {
                        self.state.lock().changes.resolve(place, Vec::new());
                    }
                    return outcome;
                }
            }
        }
    }

    /// Replaces whole files by others in one commit, for tables that keep one final row per group. What `then` gives is
    /// shown with the commit. A commit that failed may have taken place: it is tried again with the same files.
    ///
    /// # Errors
    /// As [`Table::commit`]; the overlay stays as it was.
    pub async fn commit_replace(
        &self,
        removes: &[String],
        files: &[Arc<DataFile>],
        txns: Vec<(String, i64)>,
        then: impl FnOnce() -> Overlay,
    ) -> Result<i64, LakeError> {
        let _one_at_a_time = self.committing.lock().await;
        let head = self.head();
        let now_ms = self.shared.clock.now_ms();
        let mut change = self.change("MERGE", &txns.into_iter().collect());
        change.adds = files.iter().map(|f| f.add.clone()).collect();
        change.removes = removes.iter().filter_map(|path| head.file(path)).map(|f| f.to_remove(now_ms, true)).collect();
        let head = self.append_or_find(&self.rows_log, &head, change).await?;
        let version = signed(&head);
        let mut state = self.state.lock();
        state.rows.head = Arc::new(head);
        state.overlay = Some(then());
        self.publish(&state);
        Ok(version)
    }

    /// Writes batches as files of the table that no commit names yet.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write_rows(&self, batches: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.write_files(SideName::Rows, batches).await
    }

    /// The same for rejects.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write_rejects(&self, batches: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.write_files(SideName::Rejects, batches).await
    }

    fn open_seals(&self) -> Vec<Arc<Seal>> {
        self.state.lock().changes.open_seals()
    }

    async fn commit_epoch(
        &self,
        seal: &Arc<Seal>,
        extra: &DeliveredFiles,
        place: Option<ChangeNumber>,
    ) -> Result<i64, LakeError> {
        if let Some(version) = seal.version_now() {
            return Ok(version);
        }
        let mut txns = seal.txns.clone();
        txns.extend(extra.txns.iter().cloned());
        if let Some(gate) = self.gate.get()
            && !gate.may_commit(&self.head(), &txns).await
        {
            return Err(LakeError::Stopped("a commit of records whose source has changed"));
        }
        self.write(SideName::Rejects, seal.through).await?;
        self.write(SideName::Rows, seal.through).await?;
        let (mut rows, mut rejects) = {
            let state = self.state.lock();
            (state.rows.chunks.files_through(seal.through), state.rejects.chunks.files_through(seal.through))
        };
        rows.extend(extra.rows.iter().cloned());
        rejects.extend(extra.rejects.iter().cloned());
        if !rejects.is_empty() {
            self.commit_rejects(seal, &rejects, &txns, extra).await?;
        }
        let head = self.head();
        let head = if rows.is_empty() && rejects.is_empty() && extra.txns.is_empty() && !extra.replace {
            Snapshot::clone(&head)
        } else {
            // Partitions that stood still are not said again.
            txns.retain(|id, version| head.txn(id) != Some(*version));
            let mut change = self.change("WRITE", &txns);
            change.adds = rows.iter().map(|f| f.add.clone()).collect();
            change.info.extend(extra.info.iter().map(|(k, v)| (k.clone(), v.clone().into())));
            if extra.replace {
                let now_ms = self.shared.clock.now_ms();
                change.removes = head.files().map(|f| f.to_remove(now_ms, true)).collect();
            }
            self.append_or_find(&self.rows_log, &head, change).await?
        };
        Ok(self.published(seal, head, &rows, place.map(|p| (p, extra.rows.clone()))))
    }

    async fn commit_rejects(
        &self,
        seal: &Arc<Seal>,
        rejects: &[Arc<DataFile>],
        txns: &BTreeMap<String, i64>,
        extra: &DeliveredFiles,
    ) -> Result<(), LakeError> {
        let head = Arc::clone(&self.state.lock().rejects.head);
        // A crash between the two commits leaves the rejects ahead; what they know already is not said again.
        let news = txns.iter().filter(|(id, version)| head.txn(id).is_none_or(|known| known < **version));
        let mut change = self.change("WRITE", &news.map(|(id, version)| (id.clone(), *version)).collect());
        change.adds = rejects.iter().map(|f| f.add.clone()).collect();
        change.info.extend(extra.info.iter().map(|(k, v)| (k.clone(), v.clone().into())));
        let head = self.append_or_find(&self.rejects_log, &head, change).await?;
        let mut state = self.state.lock();
        state.rejects.head = Arc::new(head);
        state.rejects.chunks.committed(seal.through);
        self.publish(&state);
        Ok(())
    }

    /// One publication: the new head, the tail without what it holds, the seal's version, the delivery's place.
    fn published(
        &self,
        seal: &Arc<Seal>,
        head: Snapshot,
        rows: &[Arc<DataFile>],
        delivery: Option<(ChangeNumber, Vec<Arc<DataFile>>)>,
    ) -> i64 {
        let version = signed(&head);
        let mut guard = self.state.lock();
        let state: &mut State = &mut guard;
        state.rows.head = Arc::new(head);
        state.rows.chunks.committed(seal.through);
        if let Some((place, files)) = delivery {
            state.changes.resolve(place, files);
        }
        seal.set_version(version);
        state.changes.committed(seal, state.committed, rows);
        state.committed = seal.through;
        self.publish(state);
        version
    }

    /// Commits, or finds that an earlier try had taken place: then the log's transactions are at ours already.
    async fn append_or_find(&self, log: &DeltaLog, head: &Snapshot, change: Change) -> Result<Snapshot, LakeError> {
        let failed = |source: DeltaError| LakeError::Delta { attempt: "commit", table: self.id(), source };
        if self.shared.is_lost() {
            return Err(LakeError::Stopped("a commit of a process that has lost its work"));
        }
        let txns: Vec<(String, i64)> = change.txns.iter().map(|t| (t.app_id.clone(), t.version)).collect();
        match log.append(head, change).await {
            Ok(newest) => {
                let alone = newest.version() == head.version().next();
                if !alone && self.is_taken_over(head, &newest, &txns) {
                    self.give_way();
                }
                Ok(newest)
            }
            Err(error) if error.is_superseded() => {
                let newest = log.reload(head).await.map_err(failed)?;
                let ours = txns.iter().all(|(id, version)| newest.txn(id) == Some(*version));
                if ours {
                    return Ok(newest);
                }
                self.give_way();
                Err(failed(error))
            }
            Err(error) => {
                // Only another process rewrites or removes what this one is about to.
                if matches!(error, DeltaError::FileNotLive { .. } | DeltaError::ConcurrentChange { .. }) {
                    self.give_way();
                }
                Err(failed(error))
            }
        }
    }

    /// Whether another process has moved a transaction that is this one's: it does the same work, and what is in memory
    /// here may be in its commits.
    pub(crate) fn is_taken_over(&self, before: &Snapshot, after: &Snapshot, ours: &[(String, i64)]) -> bool {
        let held: Vec<String> = self.state.lock().txns.keys().cloned().collect();
        let models = after.txns().map(|txn| txn.app_id.as_str()).filter(|id| id.starts_with(MODEL_TXN_PREFIX));
        held.iter().map(String::as_str).chain(models).any(|id| {
            let moved = after.txn(id);
            moved != before.txn(id) && !ours.iter().any(|(own, version)| own == id && Some(*version) == moved)
        })
    }

    /// Another process does what this one did: nothing is committed here any longer, and everything begins anew.
    pub fn give_way(&self) {
        self.shared.lost.send_replace(true);
    }

    fn change(&self, operation: &str, txns: &BTreeMap<String, i64>) -> Change {
        let change = Change::new(operation, self.shared.clock.now_ms());
        txns.iter().fold(change, |change, (id, version)| change.with_txn(id.clone(), *version))
    }

    /// Writes one side's rows up to a change as files; they stay visible all the while.
    async fn write(&self, side: SideName, through: ChangeNumber) -> Result<(), LakeError> {
        let _one_at_a_time = self.writing.lock().await;
        let runs = self.state.lock().side(side).chunks.runs(through, self.shared.options.file_bytes_in_memory);
        for run in runs {
            let files = self.write_files(side, run.batches.clone()).await?;
            self.run_written(side, &run, &files);
        }
        Ok(())
    }

    fn run_written(&self, side: SideName, run: &Run, files: &[Arc<DataFile>]) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.side(side).chunks.written(run, files);
        if side == SideName::Rows {
            let before = ChangeNumber(run.first.0.saturating_sub(1));
            state.changes.written(before, run.last, files);
        }
        self.publish(state);
    }

    async fn write_files(&self, side: SideName, batches: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        if batches.iter().all(|b| b.num_rows() == 0) {
            return Ok(Vec::new());
        }
        let (log, schema) = match side {
            SideName::Rows => (&self.rows_log, self.schema()),
            SideName::Rejects => (&self.rejects_log, vitalake_contract::contract::quarantine_schema()),
        };
        let (store, root, now_ms) = (Arc::clone(&self.shared.store), log.root().clone(), self.shared.clock.now_ms());
        let encoding = async move {
            parquet::write_batches(&store, &root, &schema, &batches, &ParquetOptions::default(), now_ms).await
        };
        let written = self.shared.cpu.spawn_cpu(encoding).await.map_err(|source| LakeError::Interrupted {
            attempt: "write",
            table: self.id(),
            source,
        })?;
        let file = written.map_err(|source| LakeError::Parquet { attempt: "write", table: self.id(), source })?;
        Ok(file.map(|file| Arc::new(DataFile::new(file.to_add(true)))).into_iter().collect())
    }
}

impl LakeError {
    /// Whether the same call may succeed once the cause is gone.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        vitalake_runtime::error::Classified::retry(self) == Retry::Later
    }
}

pub(crate) fn signed(snapshot: &Snapshot) -> i64 {
    i64::try_from(snapshot.version().0).unwrap_or(i64::MAX)
}
