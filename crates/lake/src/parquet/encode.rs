//! Batches to Parquet bytes, synchronous, to be called on the runtime for CPU work.
//!
//! Each type has the encoding that is cheapest to write and to read: numbers that grow (offsets, instants) as deltas,
//! text and measured values by dictionary. Invariant: at most one row group is held in memory.

use std::io::{self, Write};

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaData, SortingColumn};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use ::parquet::schema::types::ColumnPath;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, SchemaRef};
use bytes::Bytes;

use super::statistics::stats_json;

/// How files are written.
#[derive(Clone, Debug)]
pub struct ParquetOptions {
    /// Rows of a row group at most.
    pub row_group_rows_max: usize,
    /// Encoded bytes of a row group at most; what bounds the memory of a writer.
    pub row_group_bytes_max: usize,
    /// Text columns without bounds in the statistics (long or private text).
    pub unbounded_columns: Vec<String>,
    /// The columns that the rows are sorted by, ascending, as a note to readers.
    pub sorted_by: Vec<String>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            row_group_rows_max: 512 * 1024,
            row_group_bytes_max: 32 << 20,
            unbounded_columns: ["_rescued", "_raw", "_key", "_headers"].map(str::to_owned).to_vec(),
            sorted_by: Vec::new(),
        }
    }
}

/// What is left when the last row was written.
#[derive(Debug)]
pub struct EncodedTail {
    /// The bytes after those that were taken before.
    pub bytes: Bytes,
    /// Length of the whole file.
    pub size_bytes: u64,
    /// Rows of the whole file.
    pub rows: u64,
    /// Delta's `add.stats`.
    pub stats_json: String,
}

/// A Parquet file in the making.
pub struct ParquetEncoder {
    writer: ArrowWriter<Sink>,
    schema: SchemaRef,
    options: ParquetOptions,
    not_a_number: Vec<bool>,
    taken_bytes: u64,
}

impl ParquetEncoder {
    /// A file with this schema.
    pub fn try_new(schema: &SchemaRef, options: &ParquetOptions) -> Result<Self, ParquetError> {
        let writer_options =
            ArrowWriterOptions::new().with_properties(properties(schema, options)).with_skip_arrow_metadata(true);
        Ok(Self {
            writer: ArrowWriter::try_new_with_options(Sink::default(), schema.clone(), writer_options)?,
            schema: schema.clone(),
            options: options.clone(),
            not_a_number: vec![false; schema.fields().len()],
            taken_bytes: 0,
        })
    }

    /// Adds rows. The batch must have the file's schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        for (seen, column) in self.not_a_number.iter_mut().zip(batch.columns()) {
            *seen = *seen || has_nan(column);
        }
        self.writer.write(batch)?;
        if self.writer.in_progress_size() >= self.options.row_group_bytes_max {
            self.writer.flush()?;
        }
        Ok(())
    }

    /// The finished bytes since the last call; empty while a row group is being filled.
    pub fn take_bytes(&mut self) -> Bytes {
        let bytes = std::mem::take(&mut self.writer.inner_mut().0);
        self.taken_bytes += bytes.len() as u64;
        Bytes::from(bytes)
    }

    /// Bytes so far, an estimate for the row group that is being filled.
    pub fn estimated_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<EncodedTail, ParquetError> {
        let metadata: ParquetMetaData = self.writer.finish()?;
        let bytes = self.take_bytes();
        let stats_json = stats_json(&self.schema, &metadata, &self.not_a_number, &self.options.unbounded_columns);
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        Ok(EncodedTail { bytes, size_bytes: self.taken_bytes, rows, stats_json })
    }
}

/// Where the writer's bytes wait to be taken.
#[derive(Default)]
struct Sink(Vec<u8>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn properties(schema: &Schema, options: &ParquetOptions) -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("vitalake version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(options.row_group_rows_max))
        .set_write_batch_size(8 * 1024)
        .set_data_page_row_count_limit(64 * 1024);
    let mut sorting = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let path = ColumnPath::new(vec![field.name().clone()]);
        match field.data_type() {
            DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) | DataType::Date32 => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Binary | DataType::BinaryView => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_statistics_enabled(path, EnabledStatistics::None);
            }
            _ if options.unbounded_columns.contains(field.name()) => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_statistics_enabled(path, EnabledStatistics::None);
            }
            _ => {}
        }
        if options.sorted_by.contains(field.name()) {
            let order = options.sorted_by.iter().position(|name| name == field.name());
            let column_idx = i32::try_from(index).unwrap_or(i32::MAX);
            sorting.push((order, SortingColumn { column_idx, descending: false, nulls_first: true }));
        }
    }
    sorting.sort_by_key(|(order, _)| *order);
    let sorting: Vec<SortingColumn> = sorting.into_iter().map(|(_, column)| column).collect();
    builder.set_sorting_columns((!sorting.is_empty()).then_some(sorting)).build()
}

/// Parquet leaves NaN out of its bounds while SQL orders it above all: a column that has one gets no bounds.
fn has_nan(column: &ArrayRef) -> bool {
    match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().any(|value| value.is_nan()),
        DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().any(|value| value.is_nan()),
        _ => false,
    }
}
