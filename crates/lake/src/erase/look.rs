//! Reading everything, for somebody who must not be there.
//!
//! Parquet is decoded, whatever its columns; what is packed is unpacked; everything else is read as it is. Invariant: a file
//! that cannot be read counts as one that names the person, and is said.

use std::io::Read;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::cells::{Rows, Who, bytes_of, without};
use super::subject::Subject;
use crate::delta::DeltaError;

/// What reading everything came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that name the person or cannot be read; a path that names the person is not shown.
    pub named_in: Vec<String>,
}

impl Found {
    /// Takes in one file.
    pub fn note(&mut self, subject: &Subject, path: &str, (bytes, names): (u64, bool)) {
        self.files += 1;
        self.bytes += bytes;
        let in_path = subject.is_in(path.as_bytes());
        if names || in_path {
            self.named_in.push(if in_path { "a file whose path names the person".to_owned() } else { path.to_owned() });
        }
    }
}

/// Reads every object of a store.
///
/// # Errors
/// When it cannot be listed or read.
pub async fn look_in_store(store: &Arc<dyn ObjectStore>, subject: &Subject) -> Result<Found, DeltaError> {
    let root = object_store::path::Path::default();
    let listed: Vec<ObjectMeta> =
        store.list(None).try_collect().await.map_err(|error| DeltaError::store("list", &root, error))?;
    let mut found = Found::default();
    for meta in listed {
        let bytes = whole(store, &meta).await?;
        let names = look_in_bytes(subject, &bytes);
        found.note(subject, meta.location.as_ref(), (meta.size, names));
    }
    Ok(found)
}

/// Whether a file's bytes name a person.
#[must_use]
pub fn look_in_bytes(subject: &Subject, bytes: &Bytes) -> bool {
    let is_text = std::str::from_utf8(bytes).is_ok();
    let as_it_is = if is_text { subject.is_in(bytes) } else { subject.stands_in(bytes) };
    if as_it_is {
        return true;
    }
    if bytes.starts_with(b"PAR1") {
        return parquet_of(bytes).map_or(true, |mut batches| {
            batches.any(|batch| batch.map_or(true, |batch| names_in_batch(subject, &batch)))
        });
    }
    let mut unpacked = Vec::new();
    let is_packed = match bytes.get(..4) {
        Some([0x1f, 0x8b, ..]) => Some(flate2::read::MultiGzDecoder::new(bytes.as_ref()).read_to_end(&mut unpacked)),
        Some([0x28, 0xb5, 0x2f, 0xfd]) => Some(zstd::stream::copy_decode(bytes.as_ref(), &mut unpacked).map(|()| 0)),
        _ => None,
    };
    is_packed.is_some() && subject.is_in(&unpacked)
}

/// Whether a data file holds a row of a person's or names them.
pub(super) async fn names_in_parquet(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
    who: Who<'_>,
    rows: Rows<'_>,
) -> Result<bool, DeltaError> {
    let subject = who.subject;
    let bytes = whole(store, meta).await?;
    // What cannot be read may hold anybody.
    let Ok(batches) = parquet_of(&bytes) else { return Ok(true) };
    for batch in batches {
        let Ok(batch) = batch else { return Ok(true) };
        let judged = without(who, rows, &batch);
        if names_in_batch(subject, &batch) || judged.is_ok_and(|judged| judged.gone + judged.changed > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The batches of a Parquet file.
pub(super) fn parquet_of(
    bytes: &Bytes,
) -> Result<impl Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>> + use<>, ::parquet::errors::ParquetError>
{
    ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?.build()
}

/// Whether a batch of any columns names a person.
fn names_in_batch(subject: &Subject, batch: &RecordBatch) -> bool {
    if batch.columns().iter().any(|column| bytes_of(column).any(|bytes| subject.is_in(bytes))) {
        return true;
    }
    if !batch.schema().fields().iter().any(|field| field.data_type().is_nested()) {
        return false;
    }
    let mut lines = LineDelimitedWriter::new(Vec::new());
    let written = lines.write(batch).and_then(|()| lines.finish());
    written.is_err() || lines.into_inner().split(|byte| *byte == b'\n').any(|line| subject.is_in(line))
}

async fn whole(store: &Arc<dyn ObjectStore>, meta: &ObjectMeta) -> Result<Bytes, DeltaError> {
    let failed = |error| DeltaError::store("read", &meta.location, error);
    store.get(&meta.location).await.map_err(failed)?.bytes().await.map_err(failed)
}
