//! Encoded bytes into the store: small files in one put, large ones in parts as they are made.
//!
//! Names are UUIDv7, so that two writers never meet. Invariant: a failed write leaves no file that a listing shows,
//! and a complete one that no commit names is only garbage for vacuum.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use uuid::Uuid;

use super::{EncodedTail, ParquetEncoder, ParquetOptions};
use crate::delta::action::Add;
use crate::delta::{DataFile, DeltaError};

/// How the names of our files end; a UUID comes before it.
const SUFFIX: &str = ".zstd.parquet";
/// Bytes of one part of a large file; what is smaller is one put.
const PART_BYTES: usize = 8 << 20;

/// A complete Parquet file in the store that a commit may add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParquetFile {
    /// Relative to the table's root.
    pub path: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Delta's `add.stats`.
    pub stats_json: String,
    /// When it was written, milliseconds since 1970.
    pub modified_ms: i64,
}

impl ParquetFile {
    /// The action that adds it.
    pub fn to_add(&self, data_change: bool) -> Add {
        Add {
            path: self.path.clone(),
            partition_values: BTreeMap::new(),
            size: i64::try_from(self.size_bytes).unwrap_or(i64::MAX),
            modification_time: self.modified_ms,
            data_change,
            stats: Some(self.stats_json.clone()),
            tags: None,
            deletion_vector: None,
        }
    }
}

/// Writes batches as one file of the table at `root`; `None` when there are no rows.
pub async fn write_batches(
    store: &Arc<dyn ObjectStore>,
    root: &Path,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: &ParquetOptions,
    now_ms: i64,
) -> Result<Option<ParquetFile>, DeltaError> {
    let batches = futures::stream::iter(batches.iter().cloned().map(Ok));
    write_file(store, root, schema, batches, options, now_ms).await
}

/// Writes a stream of batches as one file of the table at `root`; `None` when there are no rows.
pub async fn write_file(
    store: &Arc<dyn ObjectStore>,
    root: &Path,
    schema: &SchemaRef,
    mut batches: impl Stream<Item = Result<RecordBatch, DeltaError>> + Unpin,
    options: &ParquetOptions,
    now_ms: i64,
) -> Result<Option<ParquetFile>, DeltaError> {
    let mut file = FileWriter::try_new(store, root, schema, options)?;
    while let Some(batch) = batches.next().await {
        let written = match batch {
            Ok(batch) => file.write(&batch).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            file.abort().await;
            return Err(error);
        }
        // A whole file takes long to encode; what else waits for these workers goes in between.
        tokio::task::yield_now().await;
    }
    file.finish(now_ms).await
}

/// Whether a file was written here, by its name: other writers have other ways to make one.
pub(crate) fn is_ours(file: &DataFile) -> bool {
    file.path().as_str().strip_suffix(SUFFIX).is_some_and(|name| Uuid::try_parse(name).is_ok())
}

/// One file on its way into the store.
pub(crate) struct FileWriter {
    store: Arc<dyn ObjectStore>,
    name: String,
    location: Path,
    encoder: ParquetEncoder,
    waiting: PutPayloadBuffer,
    upload: Option<Box<dyn MultipartUpload>>,
    rows: u64,
}

type PutPayloadBuffer = Vec<bytes::Bytes>;

impl FileWriter {
    pub(crate) fn try_new(
        store: &Arc<dyn ObjectStore>,
        root: &Path,
        schema: &SchemaRef,
        options: &ParquetOptions,
    ) -> Result<Self, DeltaError> {
        let name = format!("{}{SUFFIX}", Uuid::now_v7());
        let location = root.clone().join(name.as_str());
        let encoder =
            ParquetEncoder::try_new(schema, options).map_err(|error| DeltaError::parquet(&location, error))?;
        Ok(Self { store: store.clone(), name, location, encoder, waiting: Vec::new(), upload: None, rows: 0 })
    }

    /// Bytes so far, an estimate.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.encoder.estimated_bytes()
    }

    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), DeltaError> {
        self.encoder.write(batch).map_err(|error| DeltaError::parquet(&self.location, error))?;
        self.rows += batch.num_rows() as u64;
        let bytes = self.encoder.take_bytes();
        if !bytes.is_empty() {
            self.waiting.push(bytes);
        }
        if self.waiting.iter().map(bytes::Bytes::len).sum::<usize>() >= PART_BYTES {
            self.put_part().await?;
        }
        Ok(())
    }

    /// Ends the file and makes it visible; nothing is written when it has no rows.
    pub(crate) async fn finish(mut self, now_ms: i64) -> Result<Option<ParquetFile>, DeltaError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let tail = self.encoder.finish().map_err(|error| DeltaError::parquet(&self.location, error))?;
        let EncodedTail { bytes, size_bytes, rows, stats_json } = tail;
        self.waiting.push(bytes);
        let payload: PutPayload = self.waiting.into_iter().collect();
        let failed = |error| DeltaError::store("write", &self.location, error);
        match &mut self.upload {
            None => {
                self.store.put(&self.location, payload).await.map_err(failed)?;
            }
            Some(upload) => {
                let done = match upload.put_part(payload).await {
                    Ok(()) => upload.complete().await.map(|_| ()),
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    // The error that matters is the first one; what abort leaves behind, vacuum finds.
                    let _ = upload.abort().await;
                    return Err(failed(error));
                }
            }
        }
        Ok(Some(ParquetFile { path: self.name, size_bytes, rows, stats_json, modified_ms: now_ms }))
    }

    /// Gives the file up.
    pub(crate) async fn abort(mut self) {
        if let Some(upload) = &mut self.upload {
            let _ = upload.abort().await;
        }
    }

    async fn put_part(&mut self) -> Result<(), DeltaError> {
        let failed = |error| DeltaError::store("write", &self.location, error);
        let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        if self.upload.is_none() {
            self.upload = Some(self.store.put_multipart(&self.location).await.map_err(failed)?);
        }
        match &mut self.upload {
            Some(upload) => upload.put_part(payload).await.map_err(failed),
            None => Ok(()),
        }
    }
}
