//! One version of a Delta table as a value: schema, live files in the order they were added, transactions.
//!
//! It is made of persistent maps, so that a clone is a few pointer copies and the next version costs in proportion to
//! the commit, never to the table. Invariant: `apply` of the same actions gives the same value, whether they were read
//! from the log or just committed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use object_store::path::Path;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::action::{Action, Add, Metadata, Protocol, Remove, Txn};
use super::stats::{FileStats, rows_of};
use super::{DeltaError, FilePath, TableVersion, schema};

/// A live data file of a table.
#[derive(Debug)]
pub struct DataFile {
    /// The add action as it stands in the log.
    pub add: Add,
    /// Rows, where the statistics say so (always for files of ours).
    pub rows: Option<u64>,
    path: FilePath,
    stats: OnceLock<Option<FileStats>>,
}

impl DataFile {
    pub(crate) fn new(add: Add) -> Self {
        let rows = add.stats.as_deref().and_then(rows_of);
        let path = FilePath::of_log(&add.path);
        Self { add, rows, path, stats: OnceLock::new() }
    }

    /// A file that a commit took away, as far as its action describes it: so that its rows can be read once more.
    pub(crate) fn removed(remove: &Remove) -> Self {
        Self::new(Add {
            path: remove.path.clone(),
            partition_values: remove.partition_values.clone().unwrap_or_default(),
            size: remove.size.unwrap_or(0),
            modification_time: remove.deletion_timestamp.unwrap_or(0),
            data_change: remove.data_change,
            stats: None,
            tags: None,
            deletion_vector: None,
        })
    }

    /// The path relative to the table's root.
    pub fn path(&self) -> &FilePath {
        &self.path
    }

    /// Where the file lies in the store of a table with this root.
    pub fn location(&self, root: &Path) -> Path {
        self.path.location(root)
    }

    /// Length in bytes.
    pub fn size_bytes(&self) -> u64 {
        u64::try_from(self.add.size).unwrap_or(0)
    }

    /// The statistics, parsed once when first asked for.
    pub fn stats(&self) -> Option<&FileStats> {
        self.stats.get_or_init(|| self.add.stats.as_deref().and_then(FileStats::parse)).as_ref()
    }

    /// The action that removes this file.
    pub fn to_remove(&self, now_ms: i64, data_change: bool) -> Remove {
        Remove {
            path: self.add.path.clone(),
            deletion_timestamp: Some(now_ms),
            data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(self.add.partition_values.clone()),
            size: Some(self.add.size),
        }
    }
}

/// A tombstone: what vacuum and checkpoints need to know of a removed file.
#[derive(Clone, Debug)]
pub(crate) struct Tombstone {
    /// The path as the log has it.
    pub(crate) path: Arc<str>,
    pub(crate) deleted_ms: i64,
    pub(crate) size: Option<i64>,
}

/// One version of a table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: TableVersion,
    table: Arc<str>,
    protocol: Arc<Protocol>,
    metadata: Arc<Metadata>,
    schema: SchemaRef,
    files: RedBlackTreeMapSync<u64, Arc<DataFile>>,
    order: HashTrieMapSync<FilePath, u64>,
    next: u64,
    rows: u64,
    uncounted: usize,
    bytes: u64,
    txns: HashTrieMapSync<Arc<str>, Txn>,
    tombstones: HashTrieMapSync<FilePath, Tombstone>,
}

impl Snapshot {
    /// The version.
    pub fn version(&self) -> TableVersion {
        self.version
    }

    /// The protocol action.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// The metaData action; its `id` is the table's id.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The schema; text and bytes are views.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Live files in the order in which they were added.
    pub fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.files.values()
    }

    /// How many live files there are.
    pub fn file_count(&self) -> usize {
        self.files.size()
    }

    /// The live file of a path.
    pub fn file(&self, path: &FilePath) -> Option<&Arc<DataFile>> {
        self.order.get(path).and_then(|sequence| self.files.get(sequence))
    }

    /// Rows of the live files; `None` where a file's statistics do not say.
    pub fn rows(&self) -> Option<u64> {
        (self.uncounted == 0).then_some(self.rows)
    }

    /// Bytes of the live files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The version of an application's transactions.
    pub fn txn(&self, app_id: impl AsRef<str>) -> Option<i64> {
        self.txns.get(app_id.as_ref()).map(|txn| txn.version)
    }

    /// Every transaction.
    pub fn txns(&self) -> impl Iterator<Item = &Txn> {
        self.txns.values()
    }

    pub(crate) fn tombstones(&self) -> impl Iterator<Item = (&FilePath, &Tombstone)> {
        self.tombstones.iter()
    }

    /// The same version without the tombstones of files that were removed before a moment: they only use memory.
    pub fn without_tombstones_before(&self, before_ms: i64) -> Self {
        let mut kept = self.clone();
        for (path, tombstone) in self.tombstones.iter() {
            if tombstone.deleted_ms < before_ms {
                kept.tombstones.remove_mut(path);
            }
        }
        kept
    }

    /// The same rows as the beginning of another log: at this version, without history, properties and these transactions.
    pub(crate) fn begun_at(&self, version: TableVersion, without: &[&str]) -> Self {
        let metadata = Metadata { configuration: BTreeMap::new(), ..self.metadata().clone() };
        let mut begun = Self { version, metadata: Arc::new(metadata), ..self.clone() };
        begun.tombstones = HashTrieMapSync::new_sync();
        for id in without {
            begun.txns.remove_mut(*id);
        }
        begun
    }

    /// The same version with a transaction more.
    pub(crate) fn with_txn(mut self, app_id: &str, version: i64, now_ms: i64) -> Self {
        let txn = Txn { app_id: app_id.to_owned(), version, last_updated: Some(now_ms) };
        self.txns.insert_mut(app_id.into(), txn);
        self
    }

    /// The same table without a row and without a transaction.
    pub(crate) fn emptied(&self) -> Self {
        let mut empty = Self { rows: 0, uncounted: 0, bytes: 0, ..self.clone() };
        (empty.files, empty.order) = (RedBlackTreeMapSync::new_sync(), HashTrieMapSync::new_sync());
        empty.txns = HashTrieMapSync::new_sync();
        empty
    }

    /// A property of the table.
    pub(crate) fn property(&self, key: &str) -> Option<&str> {
        self.metadata.configuration.get(key).map(String::as_str)
    }

    /// The same version with another's properties.
    pub(crate) fn with_properties_of(mut self, other: &Self) -> Self {
        let configuration = other.metadata.configuration.clone();
        self.metadata = Arc::new(Metadata { configuration, ..self.metadata().clone() });
        self
    }

    /// The metaData action that gives a property another value; identity and columns stay.
    pub(crate) fn with_property(&self, key: &str, value: String) -> Metadata {
        let mut metadata = self.metadata().clone();
        metadata.configuration.insert(key.to_owned(), value);
        metadata
    }

    /// The version that a commit makes of this one. Fails when the commit asks for a feature that is not supported.
    pub fn apply(&self, version: TableVersion, actions: &[Action]) -> Result<Self, DeltaError> {
        let mut next = self.clone();
        next.version = version;
        for action in actions {
            next.act(action)?;
        }
        Ok(next)
    }

    fn act(&mut self, action: &Action) -> Result<(), DeltaError> {
        match action {
            Action::Add(add) => self.add(Arc::new(checked_file(&self.table, add.clone())?)),
            Action::Remove(remove) => self.remove(remove),
            Action::Txn(txn) => self.txns.insert_mut(txn.app_id.as_str().into(), txn.clone()),
            Action::MetaData(metadata) => self.set_metadata(metadata.clone())?,
            Action::Protocol(protocol) => {
                check_protocol(&self.table, protocol, &self.metadata)?;
                self.protocol = Arc::new(protocol.clone());
            }
            Action::CommitInfo(_) => {}
        }
        Ok(())
    }

    fn set_metadata(&mut self, metadata: Metadata) -> Result<(), DeltaError> {
        check_protocol(&self.table, &self.protocol, &metadata)?;
        if metadata.schema_string != self.metadata.schema_string {
            self.schema = schema::from_schema_string(&self.table, &metadata.schema_string)?;
        }
        self.metadata = Arc::new(metadata);
        Ok(())
    }

    fn add(&mut self, file: Arc<DataFile>) {
        let path = file.path().clone();
        self.drop_file(&path);
        self.tombstones.remove_mut(&path);
        self.rows += file.rows.unwrap_or(0);
        self.uncounted += usize::from(file.rows.is_none());
        self.bytes += file.size_bytes();
        self.order.insert_mut(path, self.next);
        self.files.insert_mut(self.next, file);
        self.next += 1;
    }

    fn remove(&mut self, remove: &Remove) {
        let path = FilePath::of_log(&remove.path);
        self.drop_file(&path);
        let tombstone = Tombstone {
            path: remove.path.as_str().into(),
            deleted_ms: remove.deletion_timestamp.unwrap_or(0),
            size: remove.size,
        };
        self.tombstones.insert_mut(path, tombstone);
    }

    fn drop_file(&mut self, path: &FilePath) {
        let Some(sequence) = self.order.get(path).copied() else {
            return;
        };
        self.order.remove_mut(path);
        if let Some(old) = self.files.get(&sequence) {
            self.rows -= old.rows.unwrap_or(0);
            self.uncounted -= usize::from(old.rows.is_none());
            self.bytes -= old.size_bytes();
        }
        self.files.remove_mut(&sequence);
    }
}

/// Collects the actions of a checkpoint and of commits, in that order, until schema and protocol are known.
#[derive(Default)]
pub(crate) struct Replay {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    early: Vec<Action>,
}

impl Replay {
    /// Takes the actions of a checkpoint or of commits, oldest first.
    pub(crate) fn extend(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Protocol(protocol) => self.protocol = Some(protocol),
                Action::MetaData(metadata) => self.metadata = Some(metadata),
                Action::CommitInfo(_) => {}
                other => self.early.push(other),
            }
        }
    }

    /// The snapshot that they make.
    pub(crate) fn finish(self, table: &str, version: TableVersion) -> Result<Snapshot, DeltaError> {
        let incomplete = |what| DeltaError::Incomplete { table: table.to_owned(), what };
        let protocol = self.protocol.ok_or_else(|| incomplete("protocol"))?;
        let metadata = self.metadata.ok_or_else(|| incomplete("metaData"))?;
        check_protocol(table, &protocol, &metadata)?;
        let mut snapshot = Snapshot {
            version,
            table: table.into(),
            schema: schema::from_schema_string(table, &metadata.schema_string)?,
            protocol: Arc::new(protocol),
            metadata: Arc::new(metadata),
            files: RedBlackTreeMapSync::new_sync(),
            order: HashTrieMapSync::new_sync(),
            next: 0,
            rows: 0,
            uncounted: 0,
            bytes: 0,
            txns: HashTrieMapSync::new_sync(),
            tombstones: HashTrieMapSync::new_sync(),
        };
        for action in &self.early {
            snapshot.act(action)?;
        }
        Ok(snapshot)
    }
}

/// Refuses, by its name, what a reader would have to know and we do not.
fn check_protocol(table: &str, protocol: &Protocol, metadata: &Metadata) -> Result<(), DeltaError> {
    let refuse =
        |feature: &str| Err(DeltaError::UnsupportedFeature { table: table.to_owned(), feature: feature.to_owned() });
    let mapped = metadata.configuration.get("delta.columnMapping.mode").is_some_and(|mode| mode != "none");
    for feature in protocol.reader_features.iter().flatten() {
        match feature.as_str() {
            "vacuumProtocolCheck" => {}
            "columnMapping" if !mapped => {}
            unknown => return refuse(unknown),
        }
    }
    if mapped {
        return refuse("columnMapping");
    }
    if protocol.min_reader_version > 3 {
        return refuse(&format!("reader version {}", protocol.min_reader_version));
    }
    if !metadata.partition_columns.is_empty() {
        return refuse("partitionColumns");
    }
    if metadata.format.provider != "parquet" {
        return refuse(&format!("format {}", metadata.format.provider));
    }
    Ok(())
}

/// Refuses, by its name, what a writer would have to know and we do not.
pub(crate) fn check_writable(snapshot: &Snapshot) -> Result<(), DeltaError> {
    let refuse = |feature: &str| {
        Err(DeltaError::UnsupportedFeature { table: snapshot.table.to_string(), feature: feature.to_owned() })
    };
    for feature in snapshot.protocol.writer_features.iter().flatten() {
        if feature != "appendOnly" && feature != "invariants" {
            return refuse(feature);
        }
    }
    match snapshot.protocol.min_writer_version {
        ..=2 | 7 => {}
        other => return refuse(&format!("writer version {other}")),
    }
    if snapshot.schema.fields().iter().any(|field| field.metadata().contains_key("delta.invariants")) {
        return refuse("invariants");
    }
    Ok(())
}

fn checked_file(table: &str, add: Add) -> Result<DataFile, DeltaError> {
    if add.deletion_vector.is_some() {
        return Err(DeltaError::UnsupportedFeature { table: table.to_owned(), feature: "deletionVectors".to_owned() });
    }
    Ok(DataFile::new(add))
}
