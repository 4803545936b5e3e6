//! A journal: a Delta table that rows are only ever added to, by any number of processes.
//!
//! It holds what the platform says of itself. Rows go into its tail, where SQL sees them at once, and are committed when
//! its owner says so; old ones leave by whole files. Nobody's lease depends on it: a commit is a blind append, and
//! other processes' commits are passed over. Invariant: a row of the tail is in no version that is shown beside it.

mod news;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use parking_lot::Mutex;
use vitalake_contract::Contract;

use crate::catalogue::{Space, TableId, TableView, Tail};
use crate::delta::{
    Change, CheckpointOptions, CleanOptions, CompactOptions, CompactTask, DataFile, DeltaError, DeltaLog, Snapshot,
    TableVersion, VacuumOptions,
};
use crate::error::LakeError;
use crate::lake::{Lake, Shared};
use crate::maintain::Maintained;
use crate::parquet::{self, ParquetOptions, read_file};
use crate::rejects::{BATCH_ROWS, chosen, projected};
use crate::side::Side;
use crate::txn::TxnId;

pub use news::{JournalVersion, News};

/// Rows that may wait for a commit; while the store is away the rest is refused.
const WAITING_ROWS_MAX: usize = 50_000;
/// Files of one day that are joined once there are so many.
const FILES_PER_DAY: usize = 16;
/// How long commits stay in the log after a checkpoint, and files that no version names.
const KEPT_MS: i64 = 24 * 3_600_000;
/// Microseconds of a day.
const DAY_US: i64 = 24 * 3_600_000_000;

/// How many rows a journal has taken since it was opened: what was there when a row had come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(u64);

/// A table of what happened.
#[derive(Debug)]
pub struct Journal {
    id: TableId,
    schema: SchemaRef,
    /// The column that says when.
    time: String,
    shared: Arc<Shared>,
    log: DeltaLog,
    state: Mutex<State>,
    /// One commit at a time, and when the last one was.
    committing: tokio::sync::Mutex<Option<tokio::time::Instant>>,
}

#[derive(Debug)]
struct State {
    head: Arc<Snapshot>,
    rows: Vec<RecordBatch>,
    waiting: usize,
    taken: Mark,
    committed: Mark,
    /// A file of the first rows that a commit may hold already, and how many those are.
    written: Option<(Arc<DataFile>, usize)>,
    checkpointed: TableVersion,
}

impl Journal {
    /// Opens the journal of a contract, or makes it, and shows it in the lake's catalogue.
    ///
    /// # Errors
    /// `ContractChanged` when the table that is there does not fit; `Delta` when its log cannot be read or made.
    pub async fn open(lake: &Lake, contract: &Contract) -> Result<Self, LakeError> {
        let shared = Arc::clone(&lake.shared);
        let id = TableId::new(Space::from(contract.layer), contract.dataset.clone());
        let schema = contract.table_schema();
        let time = contract.time_column.and_then(|at| contract.columns.get(at)).map(|column| column.name.to_string());
        let time = time.unwrap_or_default();
        let Side { log, head, .. } = Side::open(&shared, id.clone(), Arc::clone(&schema), false).await?;
        let checkpointed = TableVersion(0);
        let (taken, committed) = (Mark::default(), Mark::default());
        let state = State { head, rows: Vec::new(), waiting: 0, taken, committed, written: None, checkpointed };
        let journal =
            Self { id, schema, time, shared, log, state: Mutex::new(state), committing: tokio::sync::Mutex::new(None) };
        journal.publish(&journal.state.lock());
        Ok(journal)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &TableId {
        &self.id
    }

    /// Its columns in memory.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that wait for a commit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Adds rows, visible at once. `None` when they are not of its columns or too many wait for a commit already:
    /// they are not taken then.
    #[must_use]
    pub fn append(&self, rows: RecordBatch) -> Option<Mark> {
        let mut state = self.state.lock();
        if rows.schema().fields() != self.schema.fields() || state.waiting + rows.num_rows() > WAITING_ROWS_MAX {
            return None;
        }
        state.waiting += rows.num_rows();
        state.taken.0 += rows.num_rows() as u64;
        state.rows.push(rows);
        self.publish(&state);
        Some(state.taken)
    }

    /// These columns of all rows, those that wait among them; of files whose rows are all older than a moment, none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn read(&self, columns: &[&str], since_us: Option<i64>) -> Result<Vec<RecordBatch>, LakeError> {
        let (head, waiting) = {
            let state = self.state.lock();
            (Arc::clone(&state.head), state.rows.clone())
        };
        let schema = chosen(&self.schema, columns);
        let failed = |source| LakeError::Parquet { attempt: "reading a file", table: self.id.clone(), source };
        let is_old = |file: &DataFile| since_us.zip(self.newest_us(file)).is_some_and(|(since, newest)| newest < since);
        let mut batches = Vec::new();
        for file in head.files().filter(|file| !is_old(file)) {
            let location = file.location(self.log.root());
            let rows = read_file(&self.shared.store, &location, file.size_bytes(), &schema, BATCH_ROWS).await;
            batches.extend(rows.map_err(failed)?.try_collect::<Vec<_>>().await.map_err(failed)?);
        }
        batches.extend(waiting.iter().map(|batch| projected(batch, &schema)));
        Ok(batches)
    }

    /// Commits what waits.
    ///
    /// # Errors
    /// When a file or the commit cannot be written; the rows wait on, and the next call goes on with them.
    pub async fn commit(&self) -> Result<(), LakeError> {
        let mut last = self.committing.lock().await;
        self.commit_waiting().await?;
        *last = Some(tokio::time::Instant::now());
        Ok(())
    }

    /// Returns once a commit holds what had come in at a mark. Who calls at the same time shares a commit, and between two
    /// of them there is at least this much time.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn commit_through(&self, mark: Mark, apart: Duration) -> Result<(), LakeError> {
        let mut last = self.committing.lock().await;
        if self.state.lock().committed >= mark {
            return Ok(());
        }
        if let Some(last) = *last {
            tokio::time::sleep_until(last + apart).await;
        }
        self.commit_waiting().await?;
        *last = Some(tokio::time::Instant::now());
        Ok(())
    }

    /// The version of a transaction in the newest commit that is known here.
    #[must_use]
    pub fn committed_txn(&self, id: &TxnId) -> Option<i64> {
        self.state.lock().head.txn(id)
    }

    /// Commits these rows at once under a transaction, past what waits. `false` where a commit has that transaction or a
    /// later one already: they are not added then, whoever was first.
    ///
    /// # Errors
    /// As [`Journal::commit`]; a next call with the same transaction finds out whether this one took place.
    pub async fn commit_once(&self, rows: RecordBatch, (id, version): (&TxnId, i64)) -> Result<bool, LakeError> {
        let _turn = self.committing.lock().await;
        self.may_write("a commit")?;
        self.reload().await?;
        if self.committed_txn(id).is_some_and(|committed| committed >= version) {
            return Ok(false);
        }
        let Some(file) = self.write(vec![rows]).await? else { return Ok(true) };
        let head = Arc::clone(&self.state.lock().head);
        let mut change = Change::new("WRITE", self.shared.clock.now_ms()).with_txn(id.as_str(), version);
        change.adds = vec![file.add.clone()];
        match self.log.append(&head, change).await {
            Ok(newest) => {
                self.advance(newest);
                Ok(true)
            }
            Err(DeltaError::TxnSuperseded { .. }) => {
                self.reload().await?;
                Ok(false)
            }
            Err(source) => Err(self.failed("a commit", source)),
        }
    }

    /// Shows what other processes have committed.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn refresh(&self) -> Result<(), LakeError> {
        let _turn = self.committing.lock().await;
        self.reload().await
    }

    async fn reload(&self) -> Result<(), LakeError> {
        let head = Arc::clone(&self.state.lock().head);
        let newest = self.log.reload(&head).await.map_err(|source| self.failed("reading the log", source))?;
        self.advance(newest);
        Ok(())
    }

    async fn commit_waiting(&self) -> Result<(), LakeError> {
        self.may_write("a commit")?;
        // An earlier try may have taken place.
        if self.state.lock().written.is_some() {
            self.reload().await?;
        }
        let Some(file) = self.written_file().await? else { return Ok(()) };
        let head = Arc::clone(&self.state.lock().head);
        let mut change = Change::new("WRITE", self.shared.clock.now_ms());
        change.adds = vec![file.add.clone()];
        let newest = self.log.append(&head, change).await.map_err(|source| self.failed("a commit", source))?;
        self.advance(newest);
        Ok(())
    }

    /// The file to commit next: the one of an earlier try, or one of what waits now.
    async fn written_file(&self) -> Result<Option<Arc<DataFile>>, LakeError> {
        let rows = {
            let state = self.state.lock();
            if let Some((file, _)) = &state.written {
                return Ok(Some(Arc::clone(file)));
            }
            state.rows.clone()
        };
        let count = rows.iter().map(RecordBatch::num_rows).sum();
        let Some(file) = self.write(rows).await? else { return Ok(None) };
        self.state.lock().written = Some((Arc::clone(&file), count));
        Ok(Some(file))
    }

    /// A file of rows that no commit names yet.
    async fn write(&self, rows: Vec<RecordBatch>) -> Result<Option<Arc<DataFile>>, LakeError> {
        let (store, root, schema) = (Arc::clone(&self.shared.store), self.log.root().clone(), self.schema.clone());
        let now_ms = self.shared.clock.now_ms();
        let writing = self.shared.cpu.spawn_cpu(async move {
            parquet::write_batches(&store, &root, &schema, &rows, &ParquetOptions::default(), now_ms).await
        });
        let interrupted = |source| LakeError::Interrupted { attempt: "write", table: self.id.clone(), source };
        let failed = |source| LakeError::Parquet { attempt: "write", table: self.id.clone(), source };
        let file = writing.await.map_err(interrupted)?.map_err(failed)?;
        Ok(file.map(|file| Arc::new(DataFile::new(file.to_add(true)))))
    }

    /// Makes a version the head; rows of the tail that it holds leave the tail in the same publication.
    fn advance(&self, newest: Snapshot) {
        let mut state = self.state.lock();
        if let Some((file, count)) = state.written.take() {
            if newest.file(file.path()).is_some() {
                leave_out_first(&mut state.rows, count);
                state.waiting -= count;
                state.committed.0 += count as u64;
            } else {
                state.written = Some((file, count));
            }
        }
        state.head = Arc::new(newest);
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        let tail = Tail { rows: state.rows.clone(), ..Tail::default() };
        let view = TableView {
            id: self.id.clone(),
            root: self.log.root().clone(),
            schema: Arc::clone(&self.schema),
            head: Arc::clone(&state.head),
            published: None,
            tail,
        };
        self.shared.pointer.publish(|catalogue| catalogue.put(view));
    }

    fn may_write(&self, attempt: &'static str) -> Result<(), LakeError> {
        match *self.shared.closed.borrow() {
            true => Err(LakeError::Stopped { attempt, table: self.id.clone() }),
            false => Ok(()),
        }
    }

    fn failed(&self, attempt: &'static str, source: DeltaError) -> LakeError {
        LakeError::Delta { attempt, table: self.id.clone(), source }
    }
}

/// What keeps a journal small.
impl Journal {
    /// Takes away files all of whose rows are older than the retention, joins the small files of a day, and looks after
    /// the log.
    ///
    /// # Errors
    /// When a file cannot be read or written; the next call tries again.
    pub async fn maintain(&self, retention: Duration) -> Result<Maintained, LakeError> {
        self.refresh().await?;
        let mut done = Maintained { files_removed: self.drop_old(retention).await?, ..Maintained::default() };
        done.files_compacted = self.join_days().await?;
        let head = Arc::clone(&self.state.lock().head);
        if head.version().0 < self.state.lock().checkpointed.0 + self.shared.options.commits_per_checkpoint {
            return Ok(done);
        }
        let now_ms = self.shared.clock.now_ms();
        let failed = |source| self.failed("maintenance", source);
        self.log.checkpoint(&head, CheckpointOptions::at(now_ms)).await.map_err(failed)?;
        self.state.lock().checkpointed = head.version();
        let clean = CleanOptions { now_ms, retention_ms: KEPT_MS, keep_from: head.version() };
        done.files_removed += self.log.clean_log(clean).await.map_err(failed)?.files as u64;
        let written = self.state.lock().written.iter().map(|(file, _)| file.path().clone()).collect();
        let vacuum = VacuumOptions { now_ms, retention_ms: KEPT_MS, protected: written };
        done.files_removed += self.log.vacuum(&head, &vacuum).await.map_err(failed)?.files as u64;
        done.checkpoints = 1;
        Ok(done)
    }

    async fn drop_old(&self, retention: Duration) -> Result<u64, LakeError> {
        let now_ms = self.shared.clock.now_ms();
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let oldest_us = now_ms.saturating_sub(retention_ms).saturating_mul(1000);
        let head = Arc::clone(&self.state.lock().head);
        let is_old = |file: &&Arc<DataFile>| self.newest_us(file).is_some_and(|newest| newest < oldest_us);
        let old: Vec<_> = head.files().filter(is_old).map(|file| file.to_remove(now_ms, true)).collect();
        let count = old.len() as u64;
        if count > 0 {
            self.change(Change { removes: old, ..Change::new("DELETE", now_ms) }).await?;
        }
        Ok(count)
    }

    /// Files are joined within a day, so that a day can leave as a whole.
    async fn join_days(&self) -> Result<u64, LakeError> {
        let head = Arc::clone(&self.state.lock().head);
        let mut days: std::collections::BTreeMap<i64, Vec<Arc<DataFile>>> = std::collections::BTreeMap::new();
        let options = CompactOptions::default();
        for file in head.files().filter(|file| file.size_bytes() < options.target_bytes / 2) {
            let day = self.newest_us(file).unwrap_or(0).div_euclid(DAY_US);
            days.entry(day).or_default().push(Arc::clone(file));
        }
        let mut joined = 0;
        for files in days.into_values().filter(|files| files.len() >= FILES_PER_DAY) {
            let (now_ms, task) = (self.shared.clock.now_ms(), CompactTask { files });
            let compacted = self.log.compact(&head, &task, &options, now_ms).await;
            let compacted = compacted.map_err(|source| self.failed("compaction", source))?;
            joined += task.files.len() as u64;
            self.change(compacted.into_change(now_ms)).await?;
        }
        Ok(joined)
    }

    /// A commit of maintenance. Where another process was first, the next look finds what is left to do.
    async fn change(&self, change: Change) -> Result<(), LakeError> {
        let _turn = self.committing.lock().await;
        self.may_write("maintenance")?;
        let head = Arc::clone(&self.state.lock().head);
        match self.log.append(&head, change).await {
            Ok(newest) => self.advance(newest),
            Err(DeltaError::FileNotLive { .. }) => self.reload().await?,
            Err(error) => return Err(self.failed("maintenance", error)),
        }
        Ok(())
    }

    fn newest_us(&self, file: &DataFile) -> Option<i64> {
        let kind = self.schema.field_with_name(&self.time).ok()?.data_type();
        match file.stats()?.max(&self.time, kind)? {
            ScalarValue::TimestampMicrosecond(time, _) => time,
            _ => None,
        }
    }
}

/// Takes away as many rows from the front.
fn leave_out_first(rows: &mut Vec<RecordBatch>, mut count: usize) {
    while let Some(first) = rows.first_mut().filter(|_| count > 0) {
        let taken = count.min(first.num_rows());
        count -= taken;
        if taken == first.num_rows() {
            rows.remove(0);
        } else {
            *first = first.slice(taken, first.num_rows() - taken);
        }
    }
}
