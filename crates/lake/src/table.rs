//! One dataset's table as its writer sees it: rows and rejects go in, epochs are sealed, models read what is new.
//!
//! A table has two sides, the rows and the rejects (`quarantine.x`), which share change numbers, seals and transactions,
//! so that what a record became is published together and committed in order: rejects first. Committing lives in
//! `flush`. Invariant: state and catalogue change under one lock, in the order of change numbers.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::watch;
use vitalake_contract::Contract;

use crate::books::Account;
use crate::catalogue::{Catalogue, Space, TableId};
use crate::changes::{Change, Changes, Increment, ReaderId};
use crate::commit::Turn;
use crate::delta::{DataFile, DeltaLog, FilePath, Snapshot, TableVersion, VersionChanges};
use crate::epoch::{ChangeNumber, Seal};
use crate::error::LakeError;
use crate::lake::Shared;
use crate::pinned_version::Pins;
use crate::side::{Side, SideName};
use crate::source_check::SourceCheck;
use crate::txn::TxnId;

/// What a table with one final row per group shows before its commit: rows that take the place of whole head files.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Paths of the head files that `early` and `rows` replace.
    pub hidden: Arc<HashSet<FilePath>>,
    /// Rows in files that no commit names yet.
    pub early: Vec<Arc<DataFile>>,
    /// Rows in memory. With those of `early` they are complete for the hidden files and for new groups.
    pub rows: Vec<RecordBatch>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rows: Side,
    pub(crate) rejects: Side,
    pub(crate) changes: Changes,
    pub(crate) txns: BTreeMap<TxnId, i64>,
    /// What was offered since the last seal.
    pub(crate) account: Account,
    /// The seal whose sum did not come out, once that was told.
    pub(crate) unbalanced: Option<u64>,
    /// The seal whose rejects are committed and whose rows are not yet, and how many those are.
    pub(crate) rejected: (u64, i64),
    pub(crate) committed: ChangeNumber,
    pub(crate) overlay: Option<Overlay>,
    /// When rows last came in, since this process opened the table.
    pub(crate) newest_ms: Option<i64>,
    /// The last versions that the table's owner has committed, oldest first.
    pub(crate) remembered: VecDeque<VersionChanges>,
}

impl State {
    pub(crate) fn side(&self, name: SideName) -> &Side {
        match name {
            SideName::Rows => &self.rows,
            SideName::Rejects => &self.rejects,
        }
    }

    pub(crate) fn side_mut(&mut self, name: SideName) -> &mut Side {
        match name {
            SideName::Rows => &mut self.rows,
            SideName::Rejects => &mut self.rejects,
        }
    }

    /// Both sides' views into a catalogue value that is being made.
    pub(crate) fn put_into(&self, catalogue: &mut Catalogue) {
        catalogue.put(self.rows.view(self.overlay.as_ref()));
        catalogue.put(self.rejects.view(None));
    }

    /// A change that is committed already, for readers alone.
    pub(crate) fn push_change(&mut self, change: Change) {
        if self.changes.has_readers() {
            let number = self.changes.advance();
            self.changes.push_change(number, change);
        }
    }

    /// The same as an epoch of its own, which readers are to commit under its version.
    pub(crate) fn push_epoch(&mut self, change: Change, version: i64) {
        if self.changes.has_readers() {
            self.changes.push_epoch(change, version);
        }
    }

    fn bytes_in_memory(&self) -> usize {
        self.rows.chunks.bytes() + self.rejects.chunks.bytes() + self.changes.bytes_through(self.committed)
    }
}

/// A dataset's table.
#[derive(Debug)]
pub struct Table {
    pub(crate) contract: Arc<Contract>,
    pub(crate) shared: Arc<Shared>,
    /// Whether its files are leaves of groups, kept in shape by its model.
    pub(crate) grouped: bool,
    /// Whether another process commits to it.
    pub(crate) followed: bool,
    /// The tables of the models that read it change by change.
    pub(crate) read_by: Vec<TableId>,
    pub(crate) state: Mutex<State>,
    /// One commit of this table at a time.
    pub(crate) committing: tokio::sync::Mutex<Turn>,
    /// One at a time takes rejects out of quarantine, and nobody joins its files meanwhile.
    pub(crate) taking_back: tokio::sync::Mutex<()>,
    /// One writer of its files at a time.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Looks for versions of the owner that found none.
    pub(crate) looks: AtomicU64,
    /// Counts whatever a waiting reader or writer may want to know of.
    pub(crate) moved: watch::Sender<u64>,
    /// Asked before each commit of what was read from a source, where somebody wants to be.
    pub(crate) source_check: OnceLock<Arc<dyn SourceCheck>>,
    /// One publication of this table at a time.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Published versions that are read from outside.
    pub(crate) pins: Pins,
}

impl Table {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> TableId {
        TableId::new(Space::from(self.contract.layer), self.contract.dataset.clone())
    }

    /// Its contract.
    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Has each epoch's commit asked for here from now on; the first who wants that is the one.
    pub fn check_source(&self, check: Arc<dyn SourceCheck>) {
        let _ = self.source_check.set(check);
    }

    /// The turn to commit: whoever holds it is alone.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, Turn> {
        self.committing.lock().await
    }

    /// The stored columns, in memory types.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.state.lock().rows.schema)
    }

    /// Adds rows and rejects, visible at once together, to be committed with the next epoch. `txns` are the transaction
    /// versions that hold once they are in: the next seal carries the newest of each.
    ///
    /// # Errors
    /// `WrongColumns` when a batch is not of the table's columns; nothing is added then.
    pub fn append(
        &self,
        rows: Vec<RecordBatch>,
        rejects: Vec<RecordBatch>,
        txns: impl IntoIterator<Item = (TxnId, i64)>,
    ) -> Result<ChangeNumber, LakeError> {
        let offered = rows.iter().chain(&rejects).map(|batch| batch.num_rows() as u64).sum();
        self.append_accounted(rows, rejects, txns, Account::of(offered))
    }

    /// The same by who counts at its source what is offered: the commit checks that nothing of it is lost on the way.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub fn append_accounted(
        &self,
        rows: Vec<RecordBatch>,
        rejects: Vec<RecordBatch>,
        txns: impl IntoIterator<Item = (TxnId, i64)>,
        mut account: Account,
    ) -> Result<ChangeNumber, LakeError> {
        let (rows, rejects) = self.refuse(rows, rejects, &mut account.erased)?;
        let mut state = self.state.lock();
        let change = self.append_in(&mut state, rows, rejects, txns)?;
        state.account.add(account);
        Ok(change)
    }

    pub(crate) fn append_in(
        &self,
        state: &mut State,
        rows: Vec<RecordBatch>,
        rejects: Vec<RecordBatch>,
        txns: impl IntoIterator<Item = (TxnId, i64)>,
    ) -> Result<ChangeNumber, LakeError> {
        for (side, batches) in [(&state.rows, &rows), (&state.rejects, &rejects)] {
            batches.iter().try_for_each(|batch| check_columns(side, batch))?;
        }
        if rows.iter().any(|batch| batch.num_rows() > 0) {
            state.newest_ms = Some(self.shared.clock.now_ms());
        }
        let mut number = state.changes.last();
        for batch in rows.into_iter().filter(|b| b.num_rows() > 0) {
            number = state.changes.advance();
            let bytes = batch.get_array_memory_size();
            state.changes.push_rows(number, &batch, bytes);
            state.rows.chunks.push(number, batch, bytes);
        }
        for batch in rejects.into_iter().filter(|b| b.num_rows() > 0) {
            number = state.changes.advance();
            let bytes = batch.get_array_memory_size();
            state.rejects.chunks.push(number, batch, bytes);
        }
        state.txns.extend(txns);
        self.publish_value(state);
        Ok(number)
    }

    /// Ends the epoch here. `None` when nothing came since the last seal.
    #[must_use]
    pub fn seal(&self) -> Option<Arc<Seal>> {
        let mut state = self.state.lock();
        if !state.changes.has_news_to_seal() {
            return None;
        }
        let seal = Self::seal_in(&mut state);
        self.moved.send_modify(|n| *n += 1);
        Some(seal)
    }

    /// Ends the epoch here whether or not anything came, for a table that follows the epochs of its input.
    #[must_use]
    pub fn seal_anyway(&self) -> Arc<Seal> {
        let seal = Self::seal_in(&mut self.state.lock());
        self.moved.send_modify(|n| *n += 1);
        seal
    }

    pub(crate) fn seal_in(state: &mut State) -> Arc<Seal> {
        let seal = state.changes.seal(state.txns.clone(), std::mem::take(&mut state.account));
        state.rows.chunks.end_epoch(seal.through);
        state.rejects.chunks.end_epoch(seal.through);
        seal
    }

    /// Shows these rows in place of the head files that they replace.
    pub fn publish_overlay(&self, overlay: Overlay) {
        let mut guard = self.state.lock();
        guard.overlay = Some(overlay);
        guard.newest_ms = Some(self.shared.clock.now_ms());
        self.publish_value(&guard);
    }

    /// The version that the last commit gave to a transaction id, of the rows.
    #[must_use]
    pub fn committed_txn(&self, id: &TxnId) -> Option<i64> {
        self.state.lock().rows.head.txn(id)
    }

    /// The same, of the rejects: at or ahead of the rows', since rejects are committed first.
    #[must_use]
    pub fn rejects_txn(&self, id: &TxnId) -> Option<i64> {
        self.state.lock().rejects.head.txn(id)
    }

    /// When rows last came in, milliseconds since 1970: of this process, or of the last file that was there at its start.
    #[must_use]
    pub fn newest_row_ms(&self) -> Option<i64> {
        let state = self.state.lock();
        state.newest_ms.or_else(|| state.rows.head.files().map(|f| f.add.modification_time).max())
    }

    /// Transactions that are another's from now on: later commits do not say them.
    pub fn forget_transactions(&self, ids: &[TxnId]) {
        self.state.lock().txns.retain(|id, _| !ids.contains(id));
    }

    /// Brings the head up to what others have committed, before anything of this process is in the tail.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn refresh(&self) -> Result<(), LakeError> {
        let _turn = self.turn().await;
        let failed = |source| LakeError::Delta { attempt: "reading the log", table: self.id(), source };
        let ((rejects_log, rejects), (rows_log, rows)) = (self.at(SideName::Rejects), self.at(SideName::Rows));
        let rejects = rejects_log.reload(&rejects).await.map_err(failed)?;
        let rows = rows_log.reload(&rows).await.map_err(failed)?;
        self.follow_published(&rows).await?;
        let mut state = self.state.lock();
        (state.rows.head, state.rejects.head) = (Arc::new(rows), Arc::new(rejects));
        self.publish_value(&state);
        Ok(())
    }

    /// The last commit of the rows; of a gated table the last staged one.
    #[must_use]
    pub fn head(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.lock().rows.head)
    }

    /// A side's log and its last commit.
    pub(crate) fn at(&self, side: SideName) -> (DeltaLog, Arc<Snapshot>) {
        let state = self.state.lock();
        let side = state.side(side);
        (side.log.clone(), Arc::clone(&side.head))
    }

    /// Rows in memory, in bytes, both sides and what waits for models.
    #[must_use]
    pub fn bytes_in_memory(&self) -> usize {
        self.state.lock().bytes_in_memory()
    }

    /// Whether its writer has to wait for a commit before it goes on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes_in_memory() > self.shared.options.tail_bytes_max
    }

    /// Waits until the tail has room again, or nothing is committed any longer. Never refuses: who waits here is the
    /// back-pressure.
    pub async fn wait_for_room(&self) {
        let mut moved = self.moved.subscribe();
        while self.is_full() && !*self.shared.closed.borrow() {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    /// A receiver that is told of every append, seal and commit.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// A reader from here on: the last commit, and what of the tail is in none yet as increments of its own. With the
    /// turn to commit no epoch is between sealed and committed unless its commit failed.
    pub(crate) fn register_reader(
        &self,
        _turn: &Turn,
        consumed: Option<TableVersion>,
    ) -> (ReaderId, Arc<Snapshot>, Vec<Increment>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut seals = state.changes.open_seals();
        seals.retain(|seal| seal.for_readers);
        let increments = state.rows.chunks.increments(&seals, state.changes.last());
        let reader = state.changes.register(state.changes.last(), consumed);
        (reader, Arc::clone(&state.rows.head), increments)
    }

    pub(crate) fn take(&self, reader: ReaderId, rows_max: usize) -> Option<Increment> {
        let mut state = self.state.lock();
        let before = state.bytes_in_memory();
        let increment = state.changes.take(reader, rows_max);
        if state.bytes_in_memory() < before {
            self.moved.send_modify(|n| *n += 1);
        }
        increment
    }

    /// Publishes both sides as they are in the state, and wakes who waits.
    pub(crate) fn publish_value(&self, state: &State) {
        self.shared.pointer.publish(|catalogue| state.put_into(catalogue));
        self.moved.send_modify(|n| *n += 1);
    }
}

fn check_columns(side: &Side, batch: &RecordBatch) -> Result<(), LakeError> {
    let (want, got) = (side.schema.fields(), batch.schema());
    let differs = |reason: String| Err(LakeError::WrongColumns { table: side.id.clone(), reason });
    if want.len() != got.fields().len() {
        return differs(format!("{} columns, not {}", got.fields().len(), want.len()));
    }
    for (want, got) in want.iter().zip(got.fields()) {
        if want.name() != got.name() || want.data_type() != got.data_type() {
            return differs(format!(
                "column {} {} in place of {} {}",
                got.name(),
                got.data_type(),
                want.name(),
                want.data_type()
            ));
        }
    }
    Ok(())
}
