//! A Parquet file of the store as batches of the wanted columns, for increments and compaction.
//!
//! The caller names the schema it wants: a column that the file does not have (it is older than the column) is null,
//! a narrower type is widened, text and bytes come as views, or text as the file's own dictionary where the caller can
//! use that. Memory is bounded by the batch size and a column chunk.

use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use ::parquet::basic::{Encoding, EncodingMask};
use ::parquet::file::metadata::RowGroupMetaData;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;

use super::StoreReader;
use crate::delta::DeltaError;

/// Opens a file and gives its rows with the columns of `schema`, in order.
pub async fn read_file(
    store: &Arc<dyn ObjectStore>,
    location: &Path,
    size_bytes: u64,
    schema: &SchemaRef,
    batch_rows_max: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, DeltaError>>, DeltaError> {
    OpenFile::open(store, location, size_bytes).await?.rows(None, schema, &[], batch_rows_max)
}

/// A file whose footer has been read.
#[derive(Clone)]
pub(crate) struct OpenFile {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size_bytes: u64,
    found: ArrowReaderMetadata,
}

impl OpenFile {
    pub(crate) async fn open(
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        size_bytes: u64,
    ) -> Result<Self, DeltaError> {
        let mut reader = StoreReader::new(store.clone(), location.clone(), size_bytes);
        let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let found = ArrowReaderMetadata::load_async(&mut reader, plain).await;
        let found = found.map_err(|error| DeltaError::parquet(location, error))?;
        Ok(Self { store: store.clone(), location: location.clone(), size_bytes, found })
    }

    /// How many row groups it has.
    pub(crate) fn row_groups(&self) -> usize {
        self.found.metadata().num_row_groups()
    }

    /// The rows of one row group, or of all. Of the columns of `schema` named in `texts`, those that a single row group
    /// holds by dictionary alone come as [`dictionary`]s.
    pub(crate) fn rows(
        self,
        row_group: Option<usize>,
        schema: &SchemaRef,
        texts: &[String],
        batch_rows_max: usize,
    ) -> Result<BoxStream<'static, Result<RecordBatch, DeltaError>>, DeltaError> {
        let failed = {
            let location = self.location.clone();
            move |error| DeltaError::parquet(&location, error)
        };
        let group = row_group.and_then(|index| self.found.metadata().row_groups().get(index));
        let by_dictionary = |field: &FieldRef| {
            *field.data_type() == DataType::Utf8
                && texts.contains(field.name())
                && group.is_some_and(|g| has_dictionary(g, field.name()))
        };
        let as_read = |field: &FieldRef| {
            if by_dictionary(field) { as_dictionary(field) } else { as_view(field) }
        };
        let hint: Vec<FieldRef> = self.found.schema().fields().iter().map(as_read).collect();
        let hinted = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(Schema::new(hint)));
        let metadata = ArrowReaderMetadata::try_new(self.found.metadata().clone(), hinted).map_err(&failed)?;
        let as_wanted = |field: &FieldRef| match metadata.schema().field_with_name(field.name()) {
            Ok(read) if *read.data_type() == dictionary() => as_dictionary(field),
            _ => Arc::clone(field),
        };
        let schema: SchemaRef = Arc::new(Schema::new(schema.fields().iter().map(as_wanted).collect::<Vec<_>>()));
        let roots: Vec<usize> =
            schema.fields().iter().filter_map(|field| metadata.schema().index_of(field.name()).ok()).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let reader = StoreReader::new(self.store, self.location.clone(), self.size_bytes);
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_batch_size(batch_rows_max);
        if let Some(index) = row_group {
            builder = builder.with_row_groups(vec![index]);
        }
        let (batches, location) = (builder.build().map_err(&failed)?, self.location);
        Ok(batches.map_err(failed).map(move |batch| adapt(&batch?, &schema, &location)).boxed())
    }
}

/// Text as a file's own dictionary.
pub fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Whether all values of a column are in the row group's dictionary.
fn has_dictionary(group: &RowGroupMetaData, name: &str) -> bool {
    let column = group.columns().iter().find(|column| column.column_path().parts() == [name]);
    column.is_some_and(|column| {
        let alone =
            |mask: &EncodingMask| mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY);
        column.dictionary_page_offset().is_some() && column.page_encoding_stats_mask().is_some_and(alone)
    })
}

fn as_dictionary(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), dictionary(), field.is_nullable()))
}

fn as_view(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        _ => return field.clone(),
    };
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

fn adapt(batch: &RecordBatch, schema: &SchemaRef, location: &Path) -> Result<RecordBatch, DeltaError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), batch.num_rows()),
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            Some(column) => cast(column, field.data_type()).map_err(|error| DeltaError::arrow(location, error))?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| DeltaError::arrow(location, error))
}
