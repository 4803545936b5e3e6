//! Rows in memory become files, and files become commits: the early writes and the epochs; `deliver` has deliveries.
//!
//! Writing and committing are two steps. Writing turns runs of the tail into Parquet files that no commit names yet; a
//! commit only lists them. So a tail that is full is written early, and a commit that failed is tried again with the
//! same files. Any failed commit is "unknown": the commit's own id in the log decides whether it took place.
//! Invariant: an epoch's rejects are committed before its rows, with the same transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt};

use crate::books::{Balance, signed};
use crate::changes::Change;
use crate::commit::{Commit, Done, Turn};
use crate::deliver::{DeliveredFiles, Pending};
use crate::delta::{DataFile, DeltaError, FilePath, Snapshot};
use crate::epoch::{ChangeNumber, Seal};
use crate::error::LakeError;
use crate::parquet::{self, ParquetOptions};
use crate::side::SideName;
use crate::table::{Overlay, State, Table};
use crate::tail::Run;
use crate::txn::{Counter, TxnId};
use crate::windows::WindowColumn;

/// How many files of one side are encoded at once.
const FILES_AT_ONCE: usize = 2;

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

    /// Commits a sealed epoch and returns its version; at once when it is committed already. `txns` join the seal's own:
    /// one for each table that a model has read.
    ///
    /// # Errors
    /// When a file or a commit cannot be written. The epoch stays sealed and visible; call again.
    pub async fn commit(&self, seal: &Arc<Seal>, txns: Vec<(TxnId, i64)>) -> Result<i64, LakeError> {
        let mut turn = self.turn().await;
        self.commit_epoch(&mut turn, seal, &DeliveredFiles { txns, ..DeliveredFiles::default() }, None).await
    }

    /// Seals and commits what is there. `None` when there was nothing new.
    ///
    /// # Errors
    /// As [`Table::commit`].
    pub async fn flush(&self) -> Result<Option<i64>, LakeError> {
        if self.followed {
            return Ok(None);
        }
        let mut turn = self.turn().await;
        let seals = self.open_seals();
        let mut version = None;
        for seal in seals.into_iter().chain(self.seal()) {
            version = Some(self.commit_epoch(&mut turn, &seal, &DeliveredFiles::default(), None).await?);
        }
        Ok(version)
    }

    /// Replaces whole files by others in one commit, for tables that keep one final row per group; the rejects of
    /// the epoch that ends with `rejects` are committed before it. What `then` gives is shown with the commit. A commit that failed may have taken
    /// place: it is tried again with the same files.
    ///
    /// # Errors
    /// As [`Table::commit`]; the overlay stays as it was. `FileNotInHead` when a file to replace is not there.
    pub async fn commit_replace(
        &self,
        removes: &[FilePath],
        files: &[Arc<DataFile>],
        txns: Vec<(TxnId, i64)>,
        rejects: Option<&Arc<Seal>>,
        then: impl FnOnce() -> Overlay,
    ) -> Result<i64, LakeError> {
        let mut turn = self.turn().await;
        self.shared.may_commit("a commit", self)?;
        if let Some(seal) = rejects {
            self.write(SideName::Rejects, seal.through).await?;
        }
        let commit = Commit {
            adds: files.to_vec(),
            removes: removes.to_vec(),
            txns: txns.into_iter().collect(),
            ..Commit::to(SideName::Rows, "MERGE")
        };
        let txns = commit.txns.clone();
        if let Some(seal) = rejects {
            let files = self.state.lock().rejects.chunks.files_through(seal.through);
            if !files.is_empty() {
                self.commit_rejects(&mut turn, seal, files, txns, &DeliveredFiles::default()).await?;
            }
        }
        let Done { head, removed } = self.carry_out(&mut turn, &commit).await?;
        let version = version_of(&head);
        let mut state = self.state.lock();
        state.rows.head = Arc::new(head);
        state.overlay = Some(then());
        let change = Change { added: files.to_vec(), removed, version: Some(version) };
        state.push_epoch(change, version);
        if let Some(seal) = rejects {
            seal.set_version(version);
            state.changes.forget();
        }
        self.publish_value(&state);
        Ok(version)
    }

    /// Takes back the rejects that no commit holds, for a maker that begins again from the last commit and makes them
    /// anew. Which of them an epoch's commit would have to hold is known to nobody else.
    pub async fn take_back_rejects(&self) {
        let _turn = self.turn().await;
        let mut state = self.state.lock();
        state.rejects.chunks.clear();
        let version = version_of(&state.rows.head);
        state.changes.open_seals().iter().for_each(|seal| seal.set_version(version));
        state.changes.forget();
        self.publish_value(&state);
    }

    /// Writes batches as files of the table that no commit names yet.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write_rows(&self, batches: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.write_files(SideName::Rows, batches).await
    }

    /// Writes batches as they come as a file that no commit names yet; none when there are no rows. They are encoded while
    /// more are made, and memory holds a row group of them. Nobody takes batches any longer after an error.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write_coming_rows(
        &self,
        batches: impl Stream<Item = RecordBatch> + Send + Unpin + 'static,
    ) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.encode(SideName::Rows, batches).await
    }

    /// As [`Table::write_coming_rows`], for rejects.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write_coming_rejects(
        &self,
        batches: impl Stream<Item = RecordBatch> + Send + Unpin + 'static,
    ) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.encode(SideName::Rejects, batches).await
    }

    /// As [`Table::write_rows`], for rejects.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write_rejects(&self, batches: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.write_files(SideName::Rejects, batches).await
    }

    pub(crate) fn open_seals(&self) -> Vec<Arc<Seal>> {
        self.state.lock().changes.open_seals()
    }

    pub(crate) async fn commit_epoch(
        &self,
        turn: &mut Turn,
        seal: &Arc<Seal>,
        extra: &DeliveredFiles,
        pending: Option<&Pending>,
    ) -> Result<i64, LakeError> {
        if let Some(version) = seal.version_now() {
            return Ok(version);
        }
        self.shared.may_commit("a commit", self)?;
        let mut txns = seal.txns.clone();
        txns.extend(extra.txns.iter().cloned());
        if let Some(check) = self.source_check.get()
            && !check.may_commit(&self.head(), &txns).await
        {
            return Err(LakeError::SourceChanged { table: self.id() });
        }
        self.write(SideName::Rejects, seal.through).await?;
        self.write(SideName::Rows, seal.through).await?;
        let (mut rows, mut rejects) = {
            let state = self.state.lock();
            (state.rows.chunks.files_through(seal.through), state.rejects.chunks.files_through(seal.through))
        };
        let own_rejects = rejects.len();
        rows.extend(extra.rows.iter().cloned());
        rejects.extend(extra.rejects.iter().cloned());
        let rejected = self.rejected_before(seal);
        let is_empty = rows.is_empty()
            && rejects.is_empty()
            && rejected == 0
            && extra.txns.is_empty()
            && !extra.replace
            && seal.account.erased == 0;
        let balance = self.balance_of(seal, extra, &rows, &rejects)?;
        let displaced = pending.map(|pending| pending.displaced.clone()).unwrap_or_default();
        if !is_empty {
            txns.extend(self.counters(seal, extra, displaced.rows));
        }
        let files = rows.clone();
        rows.extend(displaced.kept.iter().cloned());
        let commit = Commit {
            adds: rows,
            removes: displaced.removes,
            replace_all: extra.replace,
            txns: txns.clone(),
            info: extra.info.clone(),
            ..Commit::to(SideName::Rows, "WRITE")
        };
        let done = if is_empty {
            Done { head: Snapshot::clone(&self.head()), removed: Vec::new() }
        } else {
            if !rejects.is_empty() {
                let own = rejects.iter().take(own_rejects).filter_map(|file| file.rows).sum();
                self.commit_rejects(turn, seal, rejects, txns, extra).await?;
                self.state.lock().rejected = (seal.number, rejected + signed(own));
            }
            let done = self.carry_out(turn, &commit).await?;
            balance.iter().for_each(|balance| self.tell_balance(balance, done.head.version().0));
            done
        };
        let added = extra.rows.iter().chain(&displaced.kept).cloned().collect();
        let change = Change { added, removed: done.removed, version: Some(version_of(&done.head)) };
        Ok(self.published(seal, done.head, &files, pending.map(|pending| (pending.number, change))))
    }

    /// The sum of what is about to be committed.
    fn balance_of(
        &self,
        seal: &Seal,
        extra: &DeliveredFiles,
        rows: &[Arc<DataFile>],
        rejects: &[Arc<DataFile>],
    ) -> Result<Option<Balance>, LakeError> {
        let mut account = seal.account;
        account.quarantined_before += self.rejected_before(seal);
        account.add(extra.account());
        let balance = self.balance(account, rows, rejects);
        balance.iter().try_for_each(|balance| self.check_balance(seal, balance))?;
        Ok(balance)
    }

    /// Rejects of an epoch that an earlier try has committed, when its rows could not be.
    fn rejected_before(&self, seal: &Seal) -> i64 {
        let (number, count) = self.state.lock().rejected;
        if number == seal.number { count } else { 0 }
    }

    /// The counters of the books that a commit moves.
    fn counters(&self, seal: &Seal, extra: &DeliveredFiles, displaced: i64) -> Vec<(TxnId, i64)> {
        let mut counters = self.counted(seal.account);
        counters.extend(self.counted_on(SideName::Rows, Counter::Delivered, extra.account().offered));
        let replaced = match extra.replace {
            true => signed(self.head().rows().unwrap_or(0)),
            false => displaced,
        };
        counters.extend(self.counted_on(SideName::Rows, Counter::Replaced, replaced));
        let erased = seal.account.erased + extra.account().erased;
        counters.extend(self.counted_on(SideName::Rows, Counter::Erased, erased));
        counters
    }

    pub(crate) async fn commit_rejects(
        &self,
        turn: &mut Turn,
        seal: &Arc<Seal>,
        rejects: Vec<Arc<DataFile>>,
        mut txns: BTreeMap<TxnId, i64>,
        extra: &DeliveredFiles,
    ) -> Result<(), LakeError> {
        let (_, head) = self.at(SideName::Rejects);
        // A crash between the two commits leaves the rejects ahead; what they know already is not said again.
        txns.retain(|id, version| head.txn(id.as_str()).is_none_or(|known| known < *version));
        let commit = Commit { adds: rejects, txns, info: extra.info.clone(), ..Commit::to(SideName::Rejects, "WRITE") };
        let done = self.carry_out(turn, &commit).await?;
        let mut state = self.state.lock();
        state.rejects.head = Arc::new(done.head);
        state.rejects.chunks.committed(seal.through);
        self.publish_value(&state);
        Ok(())
    }

    /// One publication: the new head, the tail without what it holds, the seal's version, the delivery's place.
    fn published(
        &self,
        seal: &Arc<Seal>,
        head: Snapshot,
        rows: &[Arc<DataFile>],
        delivery: Option<(ChangeNumber, Change)>,
    ) -> i64 {
        let version = version_of(&head);
        let mut guard = self.state.lock();
        let state: &mut State = &mut guard;
        state.rows.head = Arc::new(head);
        state.rows.chunks.committed(seal.through);
        if let Some((place, change)) = delivery {
            state.changes.resolve(place, change);
        }
        seal.set_version(version);
        state.changes.committed(seal, state.committed, rows);
        state.committed = seal.through;
        self.publish_value(state);
        version
    }

    /// Writes one side's rows up to a change as files; they stay visible all the while.
    pub(crate) async fn write(&self, side: SideName, through: ChangeNumber) -> Result<(), LakeError> {
        let _one_at_a_time = self.writing.lock().await;
        let runs = self.state.lock().side_mut(side).chunks.runs(through, self.shared.options.file_bytes_in_memory);
        let written = |run: Run| async move { (self.write_files(side, run.batches.clone()).await, run) };
        let mut runs = futures::stream::iter(runs).map(written).buffered(FILES_AT_ONCE);
        while let Some((files, run)) = runs.next().await {
            self.run_written(side, &run, &files?);
        }
        Ok(())
    }

    fn run_written(&self, side: SideName, run: &Run, files: &[Arc<DataFile>]) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.side_mut(side).chunks.written(run, files);
        if side == SideName::Rows {
            let before = ChangeNumber(run.first.0.saturating_sub(1));
            state.changes.written(before, run.last, files);
        }
        self.publish_value(state);
    }

    async fn write_files(&self, side: SideName, batches: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        if batches.iter().all(|b| b.num_rows() == 0) {
            return Ok(Vec::new());
        }
        let window = WindowColumn::of(&self.contract).filter(|_| side == SideName::Rows && self.is_gated());
        let Some(window) = window else {
            return self.encode(side, futures::stream::iter(batches)).await;
        };
        let root = self.state.lock().side(side).log.root().clone();
        let parts = window.split(batches).map_err(|error| DeltaError::parquet(&root, error.into()));
        let parts = parts.map_err(|source| LakeError::Parquet { attempt: "write", table: self.id(), source })?;
        let mut files = Vec::with_capacity(parts.len());
        for part in parts {
            files.extend(self.encode(side, futures::stream::iter(part)).await?);
        }
        Ok(files)
    }

    /// Encodes batches as they come, on the workers for that.
    async fn encode(
        &self,
        side: SideName,
        batches: impl Stream<Item = RecordBatch> + Send + Unpin + 'static,
    ) -> Result<Vec<Arc<DataFile>>, LakeError> {
        self.shared.may_commit("a write", self)?;
        let (root, schema) = {
            let state = self.state.lock();
            let side = state.side(side);
            (side.log.root().clone(), Arc::clone(&side.schema))
        };
        let (store, now_ms) = (Arc::clone(&self.shared.store), self.shared.clock.now_ms());
        let writing = self.shared.cpu.spawn_cpu(async move {
            parquet::write_file(&store, &root, &schema, batches.map(Ok), &ParquetOptions::default(), now_ms).await
        });
        let written =
            writing.await.map_err(|source| LakeError::Interrupted { attempt: "write", table: self.id(), source })?;
        let file = written.map_err(|source| LakeError::Parquet { attempt: "write", table: self.id(), source })?;
        Ok(file.iter().map(|file| Arc::new(DataFile::new(file.to_add(true)))).collect())
    }
}

pub(crate) fn version_of(snapshot: &Snapshot) -> i64 {
    i64::try_from(snapshot.version().0).unwrap_or(i64::MAX)
}
