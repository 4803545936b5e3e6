//! A table that another process commits to, followed here: its new versions become this process's head, and changes for
//! the models that read it.
//!
//! A follower writes nothing. It may show rows of its own after the head: a tail, read from where the owner reads
//! (`Uncovered` says which of those rows no commit holds yet), or what models made of such a tail (`Ahead`). Invariant:
//! head and what is shown after it move in one publication, so that a row that has just been committed is neither
//! missing nor there twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;

use crate::changes::Change;
use crate::delta::{DataFile, Snapshot, VersionChanges};
use crate::error::LakeError;
use crate::flush::version_of;
use crate::lake::Lake;
use crate::rejects::shown_after;
use crate::side::SideName;
use crate::staged::Published;
use crate::table::{Overlay, State, Table};
use crate::tail::TailChunks;
use crate::txn::TxnId;

/// How many looks that find nothing come between two that ask whether the log was cleaned past this process.
const LOOKS_PER_CHECK: u64 = 60;
/// Looks that find no rows between two at the rejects: without rows they move seldom.
const LOOKS_PER_LOOK_AT_REJECTS: u64 = 5;
/// Versions that are remembered, so that who reads a table again from an older one asks the store for nothing.
const REMEMBERED_MAX: usize = 256;

/// Rows of a batch that a version of the table does not hold yet; `None` when it holds them all.
pub type Uncovered<'a> = &'a (dyn Fn(&Snapshot, &RecordBatch) -> Option<RecordBatch> + Send + Sync);

/// What the owner of a table has committed since this process last took its versions over.
#[derive(Debug)]
pub struct Newer {
    head: Arc<Snapshot>,
    rejects: Arc<Snapshot>,
    versions: Vec<VersionChanges>,
}

impl Newer {
    /// The newest version.
    #[must_use]
    pub fn head(&self) -> &Arc<Snapshot> {
        &self.head
    }

    /// The newest version of the rejects.
    #[must_use]
    pub fn rejects(&self) -> &Arc<Snapshot> {
        &self.rejects
    }

    /// The files whose rows are gone.
    pub fn removed(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.versions.iter().flat_map(|version| &version.removed)
    }

    /// The files that brought new rows.
    pub fn added(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.versions.iter().flat_map(|version| &version.added)
    }
}

/// What this process shows of a followed table after its head until the owner has committed the same.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Rows.
    pub rows: Vec<RecordBatch>,
    /// Rejects.
    pub rejects: Vec<RecordBatch>,
    /// Rows in the place of whole files, for a table with one row per group.
    pub overlay: Option<Overlay>,
}

impl Table {
    /// Whether another process owns this table and this one only follows it.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followed
    }

    /// Looks for versions that were committed elsewhere since the last that was taken over. Costs one request when there
    /// are none.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn newer(&self) -> Result<Option<Newer>, LakeError> {
        let failed = |source| LakeError::Delta { attempt: "following", table: self.id(), source };
        self.follow_published(&self.head()).await?;
        let ((log, head), (rejects_log, rejects)) = (self.at(SideName::Rows), self.at(SideName::Rejects));
        let (newest, versions) = log.newer(&head).await.map_err(failed)?;
        if newest.version() == head.version() {
            let looks = self.looks.fetch_add(1, Ordering::Relaxed);
            if looks % LOOKS_PER_CHECK == LOOKS_PER_CHECK - 1
                && log.reload(&head).await.map_err(failed)?.version() > head.version().next()
            {
                tracing::warn!(table = %self.id(), "its log was cleaned past what this process has seen");
                self.lose_lease();
            }
            if looks % LOOKS_PER_LOOK_AT_REJECTS != LOOKS_PER_LOOK_AT_REJECTS - 1 {
                return Ok(None);
            }
            // Rejects alone: they were given up, or failed again.
            let newer = rejects_log.reload(&rejects).await.map_err(failed)?;
            if newer.version() == rejects.version() {
                return Ok(None);
            }
            let rejects = shown_after(&self.contract.dataset, &log, &newest, &newer).await.map_err(failed)?;
            return Ok(Some(Newer { head: Arc::new(newest), rejects: Arc::new(rejects), versions: Vec::new() }));
        }
        // Rejects are committed before the rows of their epoch: they are there by now. Those that come back leave after.
        let rejects = rejects_log.reload(&rejects).await.map_err(failed)?;
        let rejects = shown_after(&self.contract.dataset, &log, &newest, &rejects).await.map_err(failed)?;
        self.remember(&versions);
        Ok(Some(Newer { head: Arc::new(newest), rejects: Arc::new(rejects), versions }))
    }

    /// Brings HEAD of a gated table up to what its owner has published of what is staged here already.
    pub(crate) async fn follow_published(&self, staged: &Snapshot) -> Result<(), LakeError> {
        let Some(Published { log, head, .. }) = self.published_side() else { return Ok(()) };
        let failed = |source| LakeError::Delta { attempt: "following", table: self.id(), source };
        let newest = log.reload(&head).await.map_err(failed)?;
        let published = newest.txn(TxnId::publication(&self.id().dataset));
        if newest.version() == head.version() || published.is_some_and(|version| version > version_of(staged)) {
            return Ok(());
        }
        let mut state = self.state.lock();
        if let Some(published) = &mut state.rows.published {
            published.head = Arc::new(newest);
        }
        self.publish_value(&state);
        Ok(())
    }

    fn remember(&self, versions: &[VersionChanges]) {
        let remembered = &mut self.state.lock().remembered;
        let last = remembered.back().map(|version| version.version);
        remembered.extend(versions.iter().filter(|version| last.is_none_or(|last| version.version > last)).cloned());
        let surplus = remembered.len().saturating_sub(REMEMBERED_MAX);
        remembered.drain(..surplus);
    }

    /// Takes over the versions that were committed elsewhere since the last call, and what of this process's own tail
    /// they hold; says whether there were any.
    ///
    /// # Errors
    /// As [`Table::newer`]; what was taken over before stays.
    pub async fn follow(&self, uncovered: Uncovered<'_>) -> Result<bool, LakeError> {
        let _turn = self.turn().await;
        let Some(newer) = self.newer().await? else { return Ok(false) };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.rows.chunks.retain_rows(|batch| uncovered(&newer.head, batch));
        state.rejects.chunks.retain_rows(|batch| uncovered(&newer.rejects, batch));
        take_over(state, newer);
        self.publish_value(state);
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

impl Lake {
    /// Takes over newer versions of followed tables and shows something else after their heads, all of it in one
    /// publication. A table without a newer version keeps its head.
    pub fn take_over(&self, mut tables: Vec<(Arc<Table>, Option<Newer>, Ahead)>) {
        // Several states are locked at once: always in this order.
        tables.sort_by_key(|(table, ..)| table.id());
        tables.dedup_by_key(|(table, ..)| table.id());
        let taken: Vec<Arc<Table>> = tables.iter().map(|(table, ..)| Arc::clone(table)).collect();
        let mut states = Vec::with_capacity(tables.len());
        for (table, (_, newer, ahead)) in taken.iter().zip(tables) {
            let mut state = table.state.lock();
            if let Some(newer) = newer {
                take_over(&mut state, newer);
            }
            show(&mut state, ahead);
            states.push(state);
        }
        self.shared.pointer.publish(|catalogue| states.iter().for_each(|state| state.put_into(catalogue)));
        drop(states);
        taken.iter().for_each(|table| table.moved.send_modify(|n| *n += 1));
    }
}

fn take_over(state: &mut State, newer: Newer) {
    let known = state.rows.head.version();
    if newer.head.version() <= known {
        if newer.head.version() == known && newer.rejects.version() > state.rejects.head.version() {
            state.rejects.head = newer.rejects;
        }
        return;
    }
    for version in newer.versions.into_iter().filter(|version| version.version > known) {
        end_with(state, &version);
    }
    (state.rows.head, state.rejects.head) = (newer.head, newer.rejects);
}

/// One version as a change of its own that ends an epoch: models commit what they make of it under its number.
fn end_with(state: &mut State, version: &VersionChanges) {
    let number = i64::try_from(version.version.0).unwrap_or(i64::MAX);
    let (added, removed) = (version.added.clone(), version.removed.clone());
    state.changes.push_epoch(Change { added, removed, version: Some(number) }, number);
    state.committed = state.changes.last();
    state.newest_ms = version.timestamp_ms.or(state.newest_ms);
}

fn show(state: &mut State, ahead: Ahead) {
    let has_rows = |batches: &[RecordBatch]| batches.iter().any(|batch| batch.num_rows() > 0);
    if !has_rows(&ahead.rows) && !ahead.overlay.as_ref().is_some_and(|overlay| has_rows(&overlay.rows)) {
        // The newest rows are those of the head.
        state.newest_ms = None;
    }
    state.overlay = ahead.overlay;
    for (side, batches) in [(&mut state.rows, ahead.rows), (&mut state.rejects, ahead.rejects)] {
        side.chunks = TailChunks::default();
        for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
            let bytes = batch.get_array_memory_size();
            side.chunks.push(state.changes.advance(), batch, bytes);
        }
    }
}
