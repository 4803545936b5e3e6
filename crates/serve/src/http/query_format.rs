//! An answer's rows in the form that a client takes, written batch by batch into a buffer that is sent as it fills.
//!
//! Invariant: what is written of a batch is bounded by that batch; a Parquet file's row groups are closed by size.

use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::query_request::Form;
use crate::druid::request::ResultFormat;
use crate::druid::result::{Headers, ResultWriter};
use crate::druid::value::Style;
use crate::functions::zone::Zone;

/// Encoded bytes at which a row group of a Parquet answer ends.
const ROW_GROUP_BYTES: usize = 8 << 20;

/// Writes rows in one form.
pub(super) struct Writer {
    form: Shaped,
    sink: Sink,
    schema: SchemaRef,
}

enum Shaped {
    Text(ResultWriter),
    Arrow(Option<StreamWriter<Sink>>),
    Parquet(Option<Box<ArrowWriter<Sink>>>),
}

/// Where writers write: emptied after each batch.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// A writer for rows of that schema, whose columns are called `labels`.
    ///
    /// # Errors
    /// When the form cannot hold a column's type.
    pub(super) fn new(form: Form, schema: &Schema, labels: &[String]) -> Result<Self, ArrowError> {
        let named = schema
            .fields()
            .iter()
            .zip(labels)
            .map(|(field, label)| Field::new(label, field.data_type().clone(), field.is_nullable()));
        let named = Arc::new(Schema::new(named.collect::<Vec<_>>()));
        let sink = Sink::default();
        let text = |format, names| {
            let headers = Headers { names, ..Headers::default() };
            let style = Style { zone: Zone::UTC, stringify_arrays: false };
            Shaped::Text(ResultWriter::new(format, headers, style, schema, labels.to_vec()))
        };
        let mut form = match form {
            Form::Json => text(ResultFormat::Object, false),
            Form::Lines => text(ResultFormat::ObjectLines, false),
            Form::Csv => text(ResultFormat::Csv, true),
            Form::Arrow => Shaped::Arrow(Some(StreamWriter::try_new(sink.clone(), &named)?)),
            Form::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let writer = ArrowWriter::try_new(sink.clone(), Arc::clone(&named), Some(properties));
                Shaped::Parquet(Some(Box::new(
                    writer.map_err(|error| ArrowError::from_external_error(Box::new(error)))?,
                )))
            }
        };
        if let Shaped::Text(writer) = &mut form {
            writer.begin(&mut sink.0.lock());
        }
        Ok(Self { form, sink, schema: named })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// When the form cannot hold it.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match &mut self.form {
            Shaped::Text(writer) => writer.batch(batch, &mut self.sink.0.lock()),
            Shaped::Arrow(writer) => match writer {
                Some(writer) => writer.write(&renamed(&self.schema, batch)?),
                None => Ok(()),
            },
            Shaped::Parquet(Some(writer)) => {
                let batch = renamed(&self.schema, batch)?;
                writer.write(&batch).map_err(failed)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES { writer.flush().map_err(failed) } else { Ok(()) }
            }
            Shaped::Parquet(None) => Ok(()),
        }
    }

    /// Writes what comes after the last row.
    ///
    /// # Errors
    /// When the form cannot be ended.
    pub(super) fn end(&mut self) -> Result<(), ArrowError> {
        match &mut self.form {
            // The lines of these forms end each for itself.
            Shaped::Text(writer) if writer.is_document() => {
                writer.end(&mut self.sink.0.lock());
                Ok(())
            }
            Shaped::Text(_) => Ok(()),
            Shaped::Arrow(writer) => writer.take().map_or(Ok(()), |mut writer| writer.finish()),
            Shaped::Parquet(writer) => writer.take().map_or(Ok(()), |writer| writer.close().map(drop).map_err(failed)),
        }
    }

    /// What was written since the last time.
    pub(super) fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.sink.0.lock())
    }

    /// How many bytes wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.sink.0.lock().len()
    }
}

/// The batch under the names that its columns are called.
fn renamed(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
}

fn failed(error: parquet::errors::ParquetError) -> ArrowError {
    ArrowError::from_external_error(Box::new(error))
}
