//! A table whose rows are put in before each run: plans are made once, over slots, and run for every micro-batch.
//!
//! Sits between the runner and the plans. Invariant: a slot's rows have exactly its schema.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// A table in memory that plans read when they run.
#[derive(Debug)]
pub(crate) struct Slot {
    schema: SchemaRef,
    rows: Mutex<Vec<RecordBatch>>,
}

impl Slot {
    /// An empty slot.
    pub(crate) fn new(schema: SchemaRef) -> Arc<Self> {
        Arc::new(Self { schema, rows: Mutex::new(Vec::new()) })
    }

    /// The columns of its rows.
    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.schema
    }

    /// Puts rows in, in the place of those that were there; columns are found by name, whatever their case.
    pub(crate) fn set(&self, what: &str, rows: &[RecordBatch]) -> Result<()> {
        let rows = rows.iter().map(|batch| conform(what, batch, &self.schema)).collect::<Result<Vec<_>>>()?;
        *self.rows.lock() = rows;
        Ok(())
    }

    /// Takes the rows out, so that they can be freed.
    pub(crate) fn clear(&self) {
        self.rows.lock().clear();
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().clone();
        let stream = futures::stream::iter(rows.into_iter().map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// A schema with its names in lower case, as unquoted SQL spells them.
pub(crate) fn lower_case(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        schema.fields().iter().map(|f| f.as_ref().clone().with_name(f.name().to_lowercase())).collect();
    Arc::new(Schema::new(fields))
}

/// Rows with the columns of a schema, found by name whatever their case and cast where the type differs (a file may
/// hold another kind of string). A column that the rows lack is null.
pub(crate) fn conform(what: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let have = batch.schema_ref().fields();
    let columns = schema
        .fields()
        .iter()
        .map(|want| {
            let position = have.iter().position(|f| f.name().eq_ignore_ascii_case(want.name()));
            let Some(column) = position.and_then(|p| batch.columns().get(p)) else {
                return Ok(new_null_array(want.data_type(), batch.num_rows()));
            };
            if column.data_type() == want.data_type() {
                return Ok(Arc::clone(column));
            }
            cast(column, want.data_type()).map_err(|_| Error::Columns {
                what: what.to_owned(),
                detail: format!("{} is {} and should be {}", want.name(), column.data_type(), want.data_type()),
            })
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|source| Error::Arrow { attempted: "giving rows their table's columns", source })
}
