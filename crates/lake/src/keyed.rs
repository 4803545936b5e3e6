//! What a table with one row per key needs beside a table of groups: a table of the events that its rows follow from, and
//! files that say which range of key hashes they hold.
//!
//! The events lie in `state/{dataset}`, a plain Delta table that no query names. It is committed before the rows that
//! follow from it, and never after: who opens both finds the rows at the state's version or behind it. Invariant: every
//! file of a state names its range, and ranges of one version that are not the same do not overlap.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use object_store::path::Path;
use serde_json::Value;

use crate::deliver::DeliveredFiles;
use crate::delta::action::{Action, Add};
use crate::delta::{
    Change, CheckpointOptions, CleanOptions, DataFile, DeltaError, DeltaLog, FilePath, Snapshot, TableVersion,
    VacuumOptions,
};
use crate::epoch::Seal;
use crate::error::LakeError;
use crate::flush::version_of;
use crate::lake::Lake;
use crate::parquet::{self, ParquetOptions, read_file};
use crate::side::{SideName, brought_up};
use crate::table::Table;
use crate::txn::TxnId;

/// The tag of a file that holds a range of key hashes: the first bits that they share.
const RANGE_TAG: &str = "vitalake.range";
/// The field of a commit's notes that names the ranges that it touches.
const RANGES: &str = "vitalakeRanges";
/// The field of a commit's notes that says that it holds a part of an epoch.
const PORTION: &str = "vitalakePortion";
/// The property of a state that holds the seed of its hashes.
const SEED: &str = "vitalake.hashSeed";
/// Rows that are read as one batch.
const BATCH_ROWS: usize = 65_536;
/// How long commits stay in the log after a checkpoint.
const LOG_RETENTION_MS: i64 = 7 * 24 * 3_600_000;
/// How long files that the newest version does not name stay.
const FILE_RETENTION_MS: i64 = 24 * 3_600_000;

impl DataFile {
    /// The range of key hashes that it holds, as text of noughts and ones; `None` where nothing says so.
    #[must_use]
    pub fn range(&self) -> Option<&str> {
        self.add.tags.as_ref()?.get(RANGE_TAG)?.as_deref()
    }

    fn with_range(add: Add, range: &str) -> Self {
        let mut tags = add.tags.clone().unwrap_or_default();
        tags.insert(RANGE_TAG.to_owned(), Some(range.to_owned()));
        Self::new(Add { tags: Some(tags), ..add })
    }
}

/// The events of a table with one row per key.
#[derive(Debug)]
pub struct StateTable {
    table: Arc<Table>,
    log: DeltaLog,
    head: Arc<Snapshot>,
    schema: SchemaRef,
    checkpointed: TableVersion,
}

/// The files of a state, read and written without its commits.
#[derive(Clone, Debug)]
pub struct StateFiles {
    table: Arc<Table>,
    log: DeltaLog,
    schema: SchemaRef,
}

impl StateFiles {
    /// The rows of one file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        self.read_columns(file, &self.schema).await
    }

    /// Some columns of the rows of one file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_columns(&self, file: &DataFile, schema: &SchemaRef) -> Result<Vec<RecordBatch>, LakeError> {
        let location = file.location(self.log.root());
        let failed =
            |source| LakeError::Parquet { attempt: "reading a file of the state", table: self.table.id(), source };
        let rows = read_file(self.log.store(), &location, file.size_bytes(), schema, BATCH_ROWS).await;
        rows.map_err(failed)?.try_collect().await.map_err(failed)
    }

    /// Writes a range's rows as a file that no commit names yet; none when there are no rows.
    ///
    /// # Errors
    /// When they cannot be encoded or stored.
    pub async fn write(&self, rows: &[RecordBatch], range: &str) -> Result<Option<Arc<DataFile>>, LakeError> {
        self.table.shared.may_commit("a write of the state", &self.table)?;
        let now_ms = self.table.shared.clock.now_ms();
        let (store, root) = (self.log.store(), self.log.root());
        let written = parquet::write_batches(store, root, &self.schema, rows, &ParquetOptions::default(), now_ms).await;
        let failed = |source| LakeError::Parquet { attempt: "writing the state", table: self.table.id(), source };
        Ok(written.map_err(failed)?.map(|file| Arc::new(DataFile::with_range(file.to_add(true), range))))
    }
}

/// What a commit changes in a state.
#[derive(Clone, Debug, Default)]
pub struct StateChange {
    /// Files of the head that go.
    pub removes: Vec<FilePath>,
    /// Files that come.
    pub adds: Vec<Arc<DataFile>>,
    /// How far each source has come with it.
    pub txns: BTreeMap<TxnId, i64>,
    /// The ranges that it touches.
    pub ranges: Vec<String>,
    /// Whether it holds a part of an epoch that is not there whole: who opens the state finds it without such parts.
    pub portion: bool,
}

fn root(table: &Table) -> Path {
    Path::from_iter(["state", table.contract().dataset.as_str()])
}

impl Lake {
    /// Opens or makes the state of a table, with these columns. `seed` is for the hashes of one that is made.
    ///
    /// # Errors
    /// `ContractChanged` when the columns do not fit those that are there; when the log cannot be read or made.
    pub async fn state_table(&self, table: &Arc<Table>, schema: SchemaRef, seed: u64) -> Result<StateTable, LakeError> {
        let failed = |source| LakeError::Delta { attempt: "opening the state", table: table.id(), source };
        let log = DeltaLog::new(Arc::clone(&self.shared.store), root(table));
        let head = match log.load().await.map_err(failed)? {
            Some(head) => brought_up(&self.shared, &log, head, &table.id(), &schema, false).await?,
            None => {
                let properties = BTreeMap::from([(SEED.to_owned(), seed.to_string())]);
                let name = format!("{}_state", table.contract().dataset);
                log.create(&name, &schema, properties, self.shared.clock.now_ms()).await.map_err(failed)?
            }
        };
        let (table, head) = (Arc::clone(table), Arc::new(head));
        let mut state = StateTable { table, log, head, schema, checkpointed: TableVersion(0) };
        state.undo_portions().await?;
        Ok(state)
    }
}

impl StateTable {
    /// Its last commit.
    #[must_use]
    pub fn head(&self) -> &Arc<Snapshot> {
        &self.head
    }

    /// The seed of the hashes by which its files are divided.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.head.property(SEED).and_then(|seed| seed.parse().ok()).unwrap_or_default()
    }

    /// The transaction under which a table that follows from it says its version.
    #[must_use]
    pub fn txn(&self) -> TxnId {
        TxnId::model(&self.table.contract().dataset, &self.head.metadata().id)
    }

    /// The version of its last commit.
    #[must_use]
    pub fn version(&self) -> i64 {
        version_of(&self.head)
    }

    /// Its files, for several who read and write them at once.
    #[must_use]
    pub fn files(&self) -> StateFiles {
        StateFiles { table: Arc::clone(&self.table), log: self.log.clone(), schema: Arc::clone(&self.schema) }
    }

    /// Commits a change and gives its version. A call that failed may have taken place: it is made again with the same
    /// files.
    ///
    /// # Errors
    /// `LeaseLost` when another process has changed the state.
    pub async fn commit(&mut self, change: &StateChange) -> Result<i64, LakeError> {
        let shared = &self.table.shared;
        shared.may_commit("a commit of the state", &self.table)?;
        let failed = |source| LakeError::Delta { attempt: "a commit of the state", table: self.table.id(), source };
        let now_ms = shared.clock.now_ms();
        let mut commit = Change::new("MERGE", now_ms);
        commit.adds = change.adds.iter().map(|file| file.add.clone()).collect();
        for path in &change.removes {
            let file = self.head.file(path).ok_or_else(|| self.table.lease_lost())?;
            commit.removes.push(file.to_remove(now_ms, true));
        }
        commit.only_next = true;
        commit.info.insert(RANGES.to_owned(), change.ranges.clone().into());
        if change.portion {
            commit.info.insert(PORTION.to_owned(), true.into());
        }
        let news = change.txns.iter().filter(|(id, version)| self.head.txn(*id) != Some(**version));
        let commit = news.fold(commit, |commit, (id, version)| commit.with_txn(id.as_str(), *version));
        match self.log.append(&self.head, commit.by(shared.id)).await {
            Ok(head) => self.head = Arc::new(head),
            Err(
                DeltaError::TxnSuperseded { .. } | DeltaError::FileNotLive { .. } | DeltaError::ConcurrentChange { .. },
            ) => return Err(self.table.lease_lost()),
            Err(source) => return Err(failed(source)),
        }
        Ok(self.version())
    }

    /// Puts the files back that were there before an epoch which a crash has left in part.
    async fn undo_portions(&mut self) -> Result<(), LakeError> {
        let failed = |source| LakeError::Delta { attempt: "opening the state", table: self.table.id(), source };
        let (mut whole, mut ranges) = (self.head.version(), Vec::new());
        while let Some(actions) = self.log.read_commit(whole).await.map_err(failed)? {
            let info = actions.into_iter().find_map(|action| match action {
                Action::CommitInfo(info) => Some(info),
                _ => None,
            });
            let info = info.filter(|info| info.get(PORTION).and_then(Value::as_bool) == Some(true));
            let Some(before) = whole.0.checked_sub(1).filter(|_| info.is_some()) else { break };
            ranges.extend(info.into_iter().filter_map(|mut info| info.remove(RANGES)).filter_map(into_texts).flatten());
            whole = TableVersion(before);
        }
        if whole == self.head.version() {
            return Ok(());
        }
        let cleaned = DeltaError::HistoryCleaned { table: self.table.id().to_string(), version: whole };
        let before = self.log.load_at(whole).await.map_err(failed)?.ok_or_else(|| failed(cleaned))?;
        let is_gone = |file: &&Arc<DataFile>| self.head.file(file.path()).is_none();
        let is_new = |file: &&Arc<DataFile>| before.file(file.path()).is_none();
        let change = StateChange {
            removes: self.head.files().filter(is_new).map(|file| file.path().clone()).collect(),
            adds: before.files().filter(is_gone).cloned().collect(),
            ranges,
            ..StateChange::default()
        };
        tracing::info!(table = %self.table.id(), "the state is without the epoch that was cut short");
        self.commit(&change).await.map(|_| ())
    }

    /// The ranges that were touched after a version; `None` when the log no longer says.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn ranges_since(&self, version: i64) -> Result<Option<Vec<String>>, LakeError> {
        let from = TableVersion(u64::try_from(version).unwrap_or(0));
        let changes = match self.log.changes(from, self.head.version()).await {
            Ok(changes) => changes,
            Err(DeltaError::HistoryCleaned { .. }) => return Ok(None),
            Err(source) => {
                return Err(LakeError::Delta { attempt: "reading the state", table: self.table.id(), source });
            }
        };
        let mut ranges = Vec::new();
        for change in changes {
            match change.info.get(RANGES).and_then(Value::as_array) {
                Some(touched) => ranges.extend(touched.iter().filter_map(Value::as_str).map(str::to_owned)),
                // A commit that says nothing of ranges moved no events, or is not ours.
                None if change.added.is_empty() && change.removed.is_empty() => {}
                None => return Ok(None),
            }
        }
        Ok(Some(ranges))
    }

    /// Checkpoints and cleans where it is due.
    ///
    /// # Errors
    /// When the store refuses; the state is as it was.
    pub async fn maintain(&mut self) -> Result<(), LakeError> {
        let due = self.checkpointed.0 + self.table.shared.options.commits_per_checkpoint;
        if self.head.version().0 < due {
            return Ok(());
        }
        let failed = |source| LakeError::Delta { attempt: "maintaining the state", table: self.table.id(), source };
        let now_ms = self.table.shared.clock.now_ms();
        self.log.checkpoint(&self.head, CheckpointOptions::at(now_ms)).await.map_err(failed)?;
        self.checkpointed = self.head.version();
        let options = CleanOptions { now_ms, retention_ms: LOG_RETENTION_MS, keep_from: self.head.version() };
        self.log.clean_log(options).await.map_err(failed)?;
        let options = VacuumOptions { now_ms, retention_ms: FILE_RETENTION_MS, protected: Default::default() };
        self.log.vacuum(&self.head, &options).await.map_err(failed)?;
        self.head = Arc::new(self.head.without_tombstones_before(now_ms - LOG_RETENTION_MS));
        Ok(())
    }
}

fn into_texts(value: Value) -> Option<Vec<String>> {
    serde_json::from_value(value).ok()
}

impl Table {
    /// The transaction of the state of this table, if it has one: how far its events have come in an input.
    ///
    /// # Errors
    /// When the state's log cannot be read.
    pub async fn state_txn(&self, id: &TxnId) -> Result<Option<i64>, LakeError> {
        let log = DeltaLog::new(Arc::clone(&self.shared.store), root(self));
        let failed = |source| LakeError::Delta { attempt: "reading the state", table: self.id(), source };
        Ok(log.load().await.map_err(failed)?.and_then(|head| head.txn(id)))
    }

    /// Writes batches of one range of key hashes as files that no commit names yet.
    ///
    /// # Errors
    /// As [`Table::write_rows`].
    pub async fn write_range(&self, rows: Vec<RecordBatch>, range: &str) -> Result<Vec<Arc<DataFile>>, LakeError> {
        let files = self.write_rows(rows).await?;
        Ok(files.iter().map(|file| Arc::new(DataFile::with_range(file.add.clone(), range))).collect())
    }

    /// Commits the rejects of a sealed epoch before anything else of it; its rows come with [`Table::commit_replace`].
    ///
    /// # Errors
    /// As [`Table::commit`]; call again.
    pub async fn commit_rejects_first(&self, seal: &Arc<Seal>, txns: &[(TxnId, i64)]) -> Result<(), LakeError> {
        let mut turn = self.turn().await;
        self.shared.may_commit("a commit", self)?;
        self.write(SideName::Rejects, seal.through).await?;
        let files = self.state.lock().rejects.chunks.files_through(seal.through);
        if files.is_empty() {
            return Ok(());
        }
        let txns = txns.iter().cloned().collect();
        self.commit_rejects(&mut turn, seal, files, txns, &DeliveredFiles::default()).await
    }
}
