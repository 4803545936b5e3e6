//! Classic checkpoints: the whole state of a version in one Parquet file, and `_last_checkpoint` that points at it.
//!
//! Written in a stream of small batches, so that memory does not grow with the table. Every live file, every
//! transaction, and the tombstones that readers may still need are in it. Invariant: loading a checkpoint gives the
//! snapshot that it was written from, but for tombstones past their retention.

use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::arrow::{ArrowWriter, ParquetRecordBatchStreamBuilder, arrow_writer::ArrowWriterOptions};
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde_json::json;

use super::action::{Action, Remove, parse_commit};
use super::{DeltaError, DeltaLog, Snapshot};
use crate::parquet::StoreReader;

/// Actions in one batch of a checkpoint.
const BATCH_ACTIONS: usize = 4096;

/// How a checkpoint is written.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointOptions {
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// How long tombstones are kept; the protocol's default is a week.
    pub tombstone_retention_ms: i64,
}

impl CheckpointOptions {
    /// The protocol's default retention.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms, tombstone_retention_ms: 7 * 24 * 3_600_000 }
    }
}

impl DeltaLog {
    /// Writes the checkpoint of a snapshot's version, if it has none, and points `_last_checkpoint` at it.
    ///
    /// A checkpoint that is there stays: it says the same, and a reader who has listed its length may be reading it.
    pub async fn checkpoint(&self, snapshot: &Snapshot, options: CheckpointOptions) -> Result<(), DeltaError> {
        let path = self.log_path().join(format!("{:020}.checkpoint.parquet", snapshot.version().0));
        let (bytes, actions) =
            encode_checkpoint(snapshot, options).map_err(|error| DeltaError::parquet(&path, error))?;
        let mut hint = json!({ "version": snapshot.version().0, "size": actions });
        let length = bytes.len();
        match self.store.put_opts(&path, PutPayload::from(bytes), PutMode::Create.into()).await {
            Ok(_) => {
                hint["sizeInBytes"] = length.into();
                hint["numOfAddFiles"] = snapshot.file_count().into();
            }
            // Its tombstones and its bytes need not be the same as those that were made here.
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(DeltaError::store("write", &path, error)),
        }
        let pointer = self.log_path().join("_last_checkpoint");
        let pointed = self.store.put(&pointer, PutPayload::from(hint.to_string())).await;
        pointed.map(|_| ()).map_err(|error| DeltaError::store("write", &pointer, error))
    }
}

/// Reads the actions of one checkpoint file.
pub(super) async fn read_checkpoint(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
) -> Result<Vec<Action>, DeltaError> {
    let path = &meta.location;
    let invalid = |reason: String| DeltaError::InvalidCheckpoint { path: path.to_string(), reason };
    // What the store failed at says nothing of the checkpoint, and may pass.
    let unreadable = |error: ParquetError| match error {
        ParquetError::External(cause) if cause.is::<object_store::Error>() => {
            DeltaError::parquet(path, ParquetError::External(cause))
        }
        error => invalid(format!("not readable as parquet: {error}")),
    };
    let mut reader = StoreReader::new(store.clone(), path.clone(), meta.size);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load_async(&mut reader, options).await.map_err(unreadable)?;
    let mask = ProjectionMask::leaves(metadata.parquet_schema(), wanted_leaves(&metadata));
    let mut batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_projection(mask)
        .with_batch_size(BATCH_ACTIONS)
        .build()
        .map_err(unreadable)?;
    let mut actions = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
        let mut lines = LineDelimitedWriter::new(Vec::new());
        lines.write(&batch).map_err(|error| DeltaError::arrow(path, error))?;
        lines.finish().map_err(|error| DeltaError::arrow(path, error))?;
        actions.extend(parse_commit(path.as_ref(), &lines.into_inner())?);
    }
    // A checkpoint says `false` of every file, by Delta's protocol, whether or not it brought rows: what is not known counts
    // as news.
    for action in &mut actions {
        if let Action::Add(add) = action {
            add.data_change = true;
        }
    }
    Ok(actions)
}

/// The actions that we know, without the parsed copies of what is there as text.
fn wanted_leaves(metadata: &ArrowReaderMetadata) -> Vec<usize> {
    let wanted = |path: &[String]| match path {
        [root, field, ..] if root == "add" => field != "stats_parsed" && field != "partitionValues_parsed",
        [root, ..] => matches!(root.as_str(), "remove" | "metaData" | "protocol" | "txn"),
        [] => false,
    };
    let columns = metadata.parquet_schema().columns();
    columns.iter().enumerate().filter(|(_, column)| wanted(column.path().parts())).map(|(index, _)| index).collect()
}

fn encode_checkpoint(snapshot: &Snapshot, options: CheckpointOptions) -> Result<(Vec<u8>, usize), ParquetError> {
    encode_actions(actions(snapshot, options))
}

/// Actions as a checkpoint's bytes, and how many they are.
pub(super) fn encode_actions(actions: impl Iterator<Item = Action>) -> Result<(Vec<u8>, usize), ParquetError> {
    let schema = checkpoint_schema();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
    let writer_options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), writer_options)?;
    let mut count = 0;
    let mut batch = Vec::with_capacity(BATCH_ACTIONS);
    for action in actions {
        batch.push(action);
        count += 1;
        if batch.len() == BATCH_ACTIONS {
            writer.write(&to_batch(&schema, &batch)?)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        writer.write(&to_batch(&schema, &batch)?)?;
    }
    Ok((writer.into_inner()?, count))
}

/// Everything that a checkpoint holds, in the order in which it is loaded again.
fn actions(snapshot: &Snapshot, options: CheckpointOptions) -> impl Iterator<Item = Action> {
    let oldest_ms = options.now_ms.saturating_sub(options.tombstone_retention_ms);
    let tombstones = snapshot.tombstones().filter(move |(_, tombstone)| tombstone.deleted_ms >= oldest_ms);
    let removes = tombstones.map(|(_, tombstone)| {
        Action::Remove(Remove {
            path: tombstone.path.to_string(),
            deletion_timestamp: Some(tombstone.deleted_ms),
            data_change: false,
            extended_file_metadata: Some(false),
            partition_values: None,
            size: tombstone.size,
        })
    });
    let adds = snapshot.files().map(|file| {
        let mut add = file.add.clone();
        add.data_change = false;
        Action::Add(add)
    });
    [Action::Protocol(snapshot.protocol().clone()), Action::MetaData(snapshot.metadata().clone())]
        .into_iter()
        .chain(snapshot.txns().cloned().map(Action::Txn))
        .chain(removes)
        .chain(adds)
}

fn to_batch(schema: &SchemaRef, actions: &[Action]) -> Result<RecordBatch, ParquetError> {
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(actions.len()).build_decoder()?;
    decoder.serialize(actions)?;
    decoder.flush()?.ok_or_else(|| ParquetError::General("no actions to write".to_owned()))
}

fn checkpoint_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let list = |name: &str| Field::new_list(name, Field::new("element", DataType::Utf8, true), true);
    let map = |name: &str| {
        let (key, value) = (Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true));
        Field::new_map(name, "key_value", key, value, false, true)
    };
    let group = |name: &str, fields: Vec<Field>| Field::new_struct(name, Fields::from(fields), true);
    Arc::new(Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                map("tags"),
                text("stats"),
            ],
        ),
        group(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                group("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        group(
            "protocol",
            vec![int("minReaderVersion"), int("minWriterVersion"), list("readerFeatures"), list("writerFeatures")],
        ),
    ]))
}
