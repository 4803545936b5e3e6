//! Parquet: put aside whole, since its footer stands at its end, what the footer says checked, then read batch by batch.
//!
//! Types are those of Parquet itself; what a writer says of them beside (an Arrow schema) is not read. Instants of 96 bits
//! are UTC, as Spark writes them. Invariant: no range of the footer leads out of the file, and a file gives as many rows
//! as its footer says, or is refused.

use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as Physical;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use super::{footer, guarded};
use crate::decode::delivery::BATCH_RECORDS_MAX;
use crate::decode::refused::DeliveryError;
use crate::decode::spool::{Spool, SpoolError};

/// About how many bytes of rows are in memory at once.
const BATCH_BYTES: u64 = 32 << 20;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The batches of one file.
#[derive(Debug)]
pub(super) struct Rows<R> {
    dataset: String,
    reader: Option<R>,
    open: Option<Open>,
    consumed: u64,
    read: u64,
}

struct Open {
    batches: ParquetRecordBatchReader,
    schema: SchemaRef,
    rows: u64,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<R: Read> Rows<R> {
    pub(super) fn new(dataset: String, reader: R) -> Self {
        Self { dataset, reader: Some(reader), open: None, consumed: 0, read: 0 }
    }

    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The schema, once the file is open.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.open.as_ref().map(|open| Arc::clone(&open.schema))
    }

    /// The next batch; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, DeliveryError> {
        if let Some(reader) = self.reader.take() {
            self.open = Some(self.open(reader)?);
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let batch = guarded(|| open.batches.next().transpose());
        let rows = open.rows;
        let place = format!("after row {}", self.read);
        match batch.map_err(|error| self.broken(place.clone(), "its rows cannot be read", Some(error)))? {
            Some(batch) => {
                self.read += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            None if self.read != rows => {
                Err(self.broken(place, "its footer says that it has another number of rows", None))
            }
            None => Ok(None),
        }
    }

    fn open(&mut self, mut reader: R) -> Result<Open, DeliveryError> {
        let dataset = || self.dataset.clone();
        let spool = Spool::of(&mut reader, &mut self.consumed).map_err(|error| match error {
            SpoolError::Read(source) => DeliveryError::unread(&self.dataset, self.consumed, source),
            SpoolError::Write(source) => DeliveryError::NoRoom { dataset: dataset(), source },
        })?;
        let place = || "in its footer".to_owned();
        footer::check(&spool).map_err(|what| self.broken(place(), what, None))?;
        let length = spool.len();
        let opened = match spool {
            Spool::Memory(bytes) => open(bytes, length),
            Spool::Disk(file, _) => open(file, length),
        };
        opened.map_err(|error| match error {
            Lie::Told(what) => self.broken(place(), what, None),
            Lie::Found(source) => self.broken(place(), "what it says cannot be read", Some(source)),
        })
    }

    fn broken(&self, place: String, what: &'static str, source: Option<Cause>) -> DeliveryError {
        DeliveryError::Typed { dataset: self.dataset.clone(), form: "Parquet", place, what, source }
    }
}

/// What is wrong with a footer.
enum Lie {
    Told(&'static str),
    Found(Cause),
}

fn open<T: ChunkReader + 'static>(input: T, length: u64) -> Result<Open, Lie> {
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = guarded(|| ArrowReaderMetadata::load(&input, options())).map_err(Lie::Found)?;
    let rows = check(metadata.metadata(), length).map_err(Lie::Told)?;
    let schema = Arc::new(readable(metadata.schema(), metadata.metadata()));
    let batch_rows = batch_rows(metadata.metadata(), schema.fields().len());
    let made = guarded(|| {
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options().with_schema(Arc::clone(&schema)))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata);
        Ok::<_, ParquetError>((builder.schema().clone(), builder.with_batch_size(batch_rows).build()?))
    });
    let (schema, batches) = made.map_err(Lie::Found)?;
    Ok(Open { batches, schema, rows })
}

/// Holds what the footer says against the file; gives the number of rows.
fn check(metadata: &ParquetMetaData, length: u64) -> Result<u64, &'static str> {
    let total = u64::try_from(metadata.file_metadata().num_rows()).map_err(|_| "it has fewer rows than none")?;
    let mut rows = 0_u64;
    for group in metadata.row_groups() {
        let count = u64::try_from(group.num_rows()).map_err(|_| "a row group has fewer rows than none")?;
        rows = rows.checked_add(count).ok_or("its row groups have more rows than can be")?;
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let range = (u64::try_from(start), u64::try_from(column.compressed_size()));
            let (Ok(start), Ok(size)) = range else { return Err("a column begins or ends before the file") };
            if start.checked_add(size).is_none_or(|end| end > length) {
                return Err("a column lies beyond the end of the file: is the file whole?");
            }
            if column.num_values() < 0 || column.uncompressed_size() < 0 {
                return Err("a column has fewer values than none");
            }
        }
    }
    if rows == total { Ok(rows) } else { Err("its row groups have another number of rows than the file") }
}

/// So many rows are read at once that they fit into memory, however wide they are.
fn batch_rows(metadata: &ParquetMetaData, columns: usize) -> usize {
    let bytes: u64 =
        metadata.row_groups().iter().map(|group| u64::try_from(group.total_byte_size()).unwrap_or(0)).sum();
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0).max(1);
    let row_bytes = (bytes / rows).max(columns as u64 * 16).max(1);
    usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(usize::MAX).clamp(64, BATCH_RECORDS_MAX)
}

/// The schema to read by: texts in place, instants of 96 bits as such.
fn readable(schema: &Schema, metadata: &ParquetMetaData) -> Schema {
    let columns = metadata.file_metadata().schema_descr().columns();
    let is_instant = |name: &str| {
        columns.iter().any(|column| {
            column.physical_type() == Physical::INT96 && column.path().parts().first().is_some_and(|part| part == name)
        })
    };
    let field = |field: &Arc<Field>| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Timestamp(_, None) if is_instant(field.name()) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            _ => return Arc::clone(field),
        };
        Arc::new(field.as_ref().clone().with_data_type(kind))
    };
    Schema::new(schema.fields().iter().map(field).collect::<Fields>())
}
