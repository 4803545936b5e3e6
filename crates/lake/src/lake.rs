//! The lake: all tables of a project over one store, opened from their contracts and their Delta logs alone.
//!
//! `open` makes missing tables, empty, and refuses a contract that no longer fits its table; nothing else is read at
//! start: transactions in the logs say what is in. Invariant: after `open` every dataset has a table and every table a
//! value in the catalogue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::watch;
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::{Contract, DatasetName};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;

use crate::catalogue::{Catalogue, Pointer, Space, TableId};
use crate::changes::Changes;
use crate::delta::action::Metadata;
use crate::delta::{Change, DeltaError, DeltaLog, Snapshot};
use crate::epoch::ChangeNumber;
use crate::error::LakeError;
use crate::missing::{Missing, NotingStore};
use crate::table::{Side, State, Table};
use crate::tail::TailChunks;

/// How many tables are opened at once: each costs a few requests.
const OPENED_AT_ONCE: usize = 8;

/// Limits of the lake.
#[derive(Clone, Debug)]
pub struct LakeOptions {
    /// Rows in memory of one table, in bytes, at which its writer waits.
    pub tail_bytes_max: usize,
    /// Rows in memory, in bytes, that make one Parquet file.
    pub file_bytes_in_memory: usize,
    /// Commits of a table between two of its checkpoints.
    pub commits_per_checkpoint: u64,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self { tail_bytes_max: 256 << 20, file_bytes_in_memory: 64 << 20, commits_per_checkpoint: 100 }
    }
}

/// What all tables of a lake share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) missing: Missing,
    pub(crate) pointer: Pointer,
    pub(crate) options: LakeOptions,
    pub(crate) clock: Clock,
    pub(crate) cpu: Cpu,
    /// Set when a commit found that another process has taken over what this one was doing.
    pub(crate) lost: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }
}

/// A dataset's contract and the columns that its table stores: the contract's, and those that a model adds.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The contract.
    pub contract: Arc<Contract>,
    /// The stored columns.
    pub schema: SchemaRef,
    /// Whether it keeps one final row per group: then its files are leaves, and compaction leaves them alone.
    pub grouped: bool,
    /// Whether another process commits to it and this one only follows.
    pub followed: bool,
}

impl TableSpec {
    /// A table that stores what its contract says and nothing beside.
    #[must_use]
    pub fn of(contract: Arc<Contract>) -> Self {
        let schema = contract.table_schema();
        Self { contract, schema, grouped: false, followed: false }
    }
}

/// All tables of a project.
#[derive(Debug)]
pub struct Lake {
    pub(crate) shared: Arc<Shared>,
    tables: BTreeMap<DatasetName, Arc<Table>>,
}

impl Lake {
    /// Opens or makes the tables of all datasets.
    ///
    /// # Errors
    /// `ContractChanged` when a table and its contract do not fit; `Delta` when a log cannot be read or made.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        specs: Vec<TableSpec>,
        options: LakeOptions,
        clock: Clock,
        cpu: Cpu,
    ) -> Result<Self, LakeError> {
        let missing = Missing::default();
        let store: Arc<dyn ObjectStore> = Arc::new(NotingStore { store, missing: missing.clone() });
        let (pointer, lost) = (Pointer::default(), watch::channel(false).0);
        let shared = Arc::new(Shared { store, missing, pointer, options, clock, cpu, lost });
        let opening = specs.into_iter().map(|spec| {
            let (shared, name) = (Arc::clone(&shared), spec.contract.dataset.clone());
            async move { Ok::<_, LakeError>((name, Arc::new(open_table(&shared, spec).await?))) }
        });
        let opened = futures::stream::iter(opening).buffered(OPENED_AT_ONCE);
        let tables: BTreeMap<_, _> = opened.try_collect::<Vec<_>>().await?.into_iter().collect();
        shared.pointer.publish(|catalogue| {
            for table in tables.values() {
                table.state.lock().put_into(catalogue);
            }
        });
        Ok(Self { shared, tables })
    }

    /// The current value over all tables.
    #[must_use]
    pub fn pin(&self) -> Arc<Catalogue> {
        self.shared.pointer.pin()
    }

    /// A receiver that is told of each new value's generation.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.pointer.watch()
    }

    /// Waits until a commit finds that another process has taken over what this one was doing: what is not committed
    /// here is the other's to do, and this process must begin anew from the tables.
    pub async fn lost(&self) {
        let mut lost = self.shared.lost.subscribe();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Whether another process has taken over what this one was doing.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.is_lost()
    }

    /// A dataset's table.
    ///
    /// # Errors
    /// `NoSuchDataset`.
    pub fn table(&self, dataset: &DatasetName) -> Result<&Arc<Table>, LakeError> {
        self.tables.get(dataset).ok_or_else(|| LakeError::NoSuchDataset(dataset.clone()))
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Files that tables name and that a read has not found, each with its table and its path in the store.
    #[must_use]
    pub fn missing_files(&self) -> Vec<(TableId, Path)> {
        self.shared.missing.named_by(&self.pin())
    }

    /// The store that holds the tables.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.store
    }

    /// Where queries, models and encoders run.
    #[must_use]
    pub fn cpu(&self) -> &Cpu {
        &self.shared.cpu
    }

    /// The limits that the lake was opened with.
    #[must_use]
    pub fn options(&self) -> &LakeOptions {
        &self.shared.options
    }
}

async fn open_table(shared: &Arc<Shared>, spec: TableSpec) -> Result<Table, LakeError> {
    let dataset = &spec.contract.dataset;
    let rows_id = TableId::new(Space::from(spec.contract.layer), dataset.clone());
    let rejects_id = TableId::new(Space::Quarantine, dataset.clone());
    let (rows_log, rows) = open_side(shared, rows_id, Arc::clone(&spec.schema), spec.followed).await?;
    let (rejects_log, rejects) = open_side(shared, rejects_id, quarantine_schema(), spec.followed).await?;
    let state = State {
        rows,
        rejects,
        changes: Changes::default(),
        txns: BTreeMap::new(),
        committed: ChangeNumber(0),
        overlay: None,
        newest_ms: None,
        remembered: VecDeque::new(),
    };
    Ok(Table {
        contract: spec.contract,
        shared: Arc::clone(shared),
        grouped: spec.grouped,
        followed: spec.followed,
        rows_log,
        rejects_log,
        state: Mutex::new(state),
        committing: tokio::sync::Mutex::new(()),
        writing: tokio::sync::Mutex::new(()),
        checkpointed: [AtomicU64::new(0), AtomicU64::new(0)],
        looks: AtomicU64::new(0),
        moved: watch::channel(0).0,
        gate: OnceLock::new(),
    })
}

async fn open_side(
    shared: &Shared,
    id: TableId,
    wanted: SchemaRef,
    followed: bool,
) -> Result<(DeltaLog, Side), LakeError> {
    let log = DeltaLog::new(Arc::clone(&shared.store), id.root());
    let failed = |source: DeltaError| LakeError::Delta { attempt: "opening the log", table: id.clone(), source };
    let head = match log.load().await.map_err(failed)? {
        Some(head) => match fitted(&head, &id, &wanted)? {
            None => head,
            Some(_) if followed => return Err(LakeError::NotThereYet(id)),
            Some(metadata) => add_columns(&log, head, &id, metadata, shared.clock.now_ms()).await?,
        },
        None if followed => return Err(LakeError::NotThereYet(id)),
        None => {
            log.create(id.dataset.as_str(), &wanted, BTreeMap::new(), shared.clock.now_ms()).await.map_err(failed)?
        }
    };
    Ok((log, Side { id, schema: wanted, head: Arc::new(head), chunks: TailChunks::default() }))
}

/// Views and plain arrays are the same stored type.
fn stored_as(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// A type in the words of a contract.
fn contract_type(kind: &DataType) -> String {
    let (logical, format) = match kind {
        DataType::Utf8 | DataType::Utf8View => ("string", None),
        DataType::Int64 => ("integer", None),
        DataType::Int32 => ("integer", Some("i32")),
        DataType::Float64 => ("number", None),
        DataType::Float32 => ("number", Some("f32")),
        DataType::Boolean => ("boolean", None),
        DataType::Date32 => ("date", None),
        DataType::Timestamp(..) => ("timestamp", None),
        other => return other.to_string(),
    };
    format.map_or_else(|| logical.to_owned(), |format| format!("{logical} (format {format})"))
}

/// The metadata with the columns that are new; `None` when there are none. Refuses what would change or drop a column.
fn fitted(head: &Snapshot, id: &TableId, wanted: &SchemaRef) -> Result<Option<Metadata>, LakeError> {
    let stored = head.schema();
    let changed = |reason: String| LakeError::ContractChanged { table: id.clone(), reason };
    for field in stored.fields() {
        match wanted.field_with_name(field.name()) {
            Err(_) => return Err(changed(format!("column {} is gone", field.name()))),
            Ok(want) if stored_as(want.data_type()) == stored_as(field.data_type()) => {}
            Ok(want) => {
                let (was, is) = (contract_type(field.data_type()), contract_type(want.data_type()));
                return Err(changed(format!("column {} was {was} and is {is}", field.name())));
            }
        }
    }
    let new = wanted.fields().iter().filter(|f| stored.field_with_name(f.name()).is_err());
    let all: Vec<_> = stored.fields().iter().chain(new).cloned().collect();
    if all.len() == stored.fields().len() {
        return Ok(None);
    }
    let failed = |source: DeltaError| LakeError::Delta { attempt: "adding a column", table: id.clone(), source };
    head.evolved(&Arc::new(Schema::new(all))).map(Some).map_err(failed)
}

async fn add_columns(
    log: &DeltaLog,
    head: Snapshot,
    id: &TableId,
    metadata: Metadata,
    now_ms: i64,
) -> Result<Snapshot, LakeError> {
    let failed = |source: DeltaError| LakeError::Delta { attempt: "adding a column", table: id.clone(), source };
    let change = Change { metadata: Some(metadata), ..Change::new("ADD COLUMNS", now_ms) };
    log.append(&head, change).await.map_err(failed)
}
