//! A Parquet file of the store as batches of the wanted columns, for increments and compaction.
//!
//! The caller names the schema it wants: a column that the file does not have (it is older than the column) is null,
//! a narrower type is widened, text and bytes come as views. Memory is bounded by the batch size and a column chunk.

use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
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
    let failed = {
        let location = location.clone();
        move |error| DeltaError::parquet(&location, error)
    };
    let mut reader = StoreReader::new(store.clone(), location.clone(), size_bytes);
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load_async(&mut reader, plain).await.map_err(&failed)?;
    let hint: Vec<FieldRef> = found.schema().fields().iter().map(as_view).collect();
    let hinted = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(Schema::new(hint)));
    let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), hinted).map_err(&failed)?;
    let roots: Vec<usize> =
        schema.fields().iter().filter_map(|field| metadata.schema().index_of(field.name()).ok()).collect();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
    let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_projection(mask)
        .with_batch_size(batch_rows_max)
        .build()
        .map_err(&failed)?;
    let (schema, location) = (schema.clone(), location.clone());
    Ok(batches.map_err(failed).map(move |batch| adapt(&batch?, &schema, &location)).boxed())
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
