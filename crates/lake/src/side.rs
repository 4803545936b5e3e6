//! A side of a table: one Delta table, its last commit, and the rows that follow it.
//!
//! A dataset's table has two sides, rows and rejects (`quarantine.x`). Opening makes a side that is not there, adds
//! columns that its contract has gained, and refuses a contract that no longer fits. Invariant: `head` is a version of
//! `log`, and no row of `chunks` is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::catalogue::{TableId, TableView, Tail};
use crate::delta::action::Metadata;
use crate::delta::{Change, DeltaError, DeltaLog, Snapshot, TableVersion};
use crate::error::LakeError;
use crate::lake::Shared;
use crate::staged::Published;
use crate::table::Overlay;
use crate::tail::TailChunks;

/// Names a side of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideName {
    /// What the dataset holds.
    Rows,
    /// What was rejected of it.
    Rejects,
}

/// One Delta table and the rows that follow its last commit.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) id: TableId,
    pub(crate) schema: SchemaRef,
    pub(crate) log: DeltaLog,
    pub(crate) head: Arc<Snapshot>,
    /// What readers see, where a gate stands between `log` and them.
    pub(crate) published: Option<Published>,
    pub(crate) chunks: TailChunks,
    /// The version of the newest checkpoint of this process.
    pub(crate) checkpointed: TableVersion,
}

impl Side {
    /// Opens or makes it. `followed` makes and changes nothing: another process does.
    pub(crate) async fn open(
        shared: &Shared,
        id: TableId,
        wanted: SchemaRef,
        followed: bool,
    ) -> Result<Self, LakeError> {
        let log = DeltaLog::new(Arc::clone(&shared.store), id.root());
        let failed = |source: DeltaError| LakeError::Delta { attempt: "opening the log", table: id.clone(), source };
        let head = match log.load().await.map_err(failed)? {
            Some(head) => brought_up(shared, &log, head, &id, &wanted, followed).await?,
            None if followed => return Err(LakeError::NotThereYet(id)),
            None => log
                .create(id.dataset.as_str(), &wanted, BTreeMap::new(), shared.clock.now_ms())
                .await
                .map_err(failed)?,
        };
        let (head, chunks, checkpointed) = (Arc::new(head), TailChunks::default(), TableVersion(0));
        Ok(Self { id, schema: wanted, log, head, published: None, chunks, checkpointed })
    }

    /// What a reader sees of it; an overlay takes the place of the tail.
    pub(crate) fn view(&self, overlay: Option<&Overlay>) -> TableView {
        let tail = match overlay {
            Some(overlay) => {
                Tail { early: overlay.early.clone(), rows: overlay.rows.clone(), hidden: Arc::clone(&overlay.hidden) }
            }
            None => Tail {
                early: self.chunks.files().cloned().collect(),
                rows: self.chunks.batches().cloned().collect(),
                hidden: Arc::default(),
            },
        };
        TableView {
            id: self.id.clone(),
            root: self.id.root(),
            schema: Arc::clone(&self.schema),
            head: Arc::clone(&self.head),
            published: self.published.as_ref().map(|published| Arc::clone(&published.head)),
            tail,
        }
    }
}

/// A version with the columns that the contract has gained.
pub(crate) async fn brought_up(
    shared: &Shared,
    log: &DeltaLog,
    head: Snapshot,
    id: &TableId,
    wanted: &SchemaRef,
    followed: bool,
) -> Result<Snapshot, LakeError> {
    match fitted(&head, id, wanted)? {
        None => Ok(head),
        Some(_) if followed => Err(LakeError::NotThereYet(id.clone())),
        Some(metadata) => add_columns(log, head, id, metadata, shared.clock.now_ms()).await,
    }
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
