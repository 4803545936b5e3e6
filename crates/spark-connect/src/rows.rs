//! Arrow batches from the parts in which Spark sends them.
//!
//! One invariant: a batch that is given has the schema of the answer, as many rows as Spark said, and follows on the one
//! before it without a gap.

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;

use crate::proto::execute_plan_response::ArrowBatch;
use crate::{Error, Result};

/// The most that one batch is joined of. Spark's own batches end at a few megabytes, or at one row.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Joins parts and reads batches.
pub(crate) struct Rows {
    schema: SchemaRef,
    parts: Vec<Bytes>,
    rows: i64,
}

impl Rows {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, parts: Vec::new(), rows: 0 }
    }

    /// Takes a part; gives the batches that it completes.
    pub(crate) fn take(&mut self, part: ArrowBatch) -> Result<Vec<RecordBatch>> {
        let of = usize::try_from(part.num_chunks_in_batch.unwrap_or(1)).unwrap_or(0);
        let index = usize::try_from(part.chunk_index.unwrap_or(0)).unwrap_or(usize::MAX);
        if index != self.parts.len() || index >= of {
            return Err(unread("a part of a batch is missing"));
        }
        if part.start_offset.is_some_and(|offset| offset != self.rows) {
            return Err(unread("a batch is missing"));
        }
        if self.parts.iter().map(Bytes::len).sum::<usize>().saturating_add(part.data.len()) > BATCH_BYTES_MAX {
            return Err(unread("a batch is larger than one can be"));
        }
        self.parts.push(part.data);
        if self.parts.len() < of {
            return Ok(Vec::new());
        }
        let batches = self.read(part.row_count)?;
        self.rows += part.row_count;
        Ok(batches)
    }

    /// An answer that ends within a batch is none.
    pub(crate) fn end(&self) -> Result<()> {
        if self.parts.is_empty() { Ok(()) } else { Err(unread("it ends within a batch")) }
    }

    fn read(&mut self, row_count: i64) -> Result<Vec<RecordBatch>> {
        let mut parts = std::mem::take(&mut self.parts);
        let whole = if parts.len() == 1 { parts.remove(0) } else { Bytes::from(parts.concat()) };
        let reader = StreamReader::try_new(whole.as_ref(), None).map_err(of_arrow)?;
        let batches: Vec<_> = reader.map(|batch| self.with_schema(batch.map_err(of_arrow)?)).collect::<Result<_>>()?;
        if i64::try_from(batches.iter().map(RecordBatch::num_rows).sum::<usize>()).ok() != Some(row_count) {
            return Err(unread("a batch has another number of rows than was said"));
        }
        Ok(batches)
    }

    fn with_schema(&self, batch: RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())
            .map_err(|_| unread("a batch has another schema than was said"))
    }
}

/// Which kind of trouble Arrow had; its words may repeat what it read.
fn of_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::SchemaError(_) => unread("Arrow finds an error in a schema"),
        ArrowError::IpcError(_) | ArrowError::ParseError(_) => unread("a batch is not Arrow IPC"),
        _ => unread("Arrow cannot read a batch"),
    }
}

fn unread(reason: &str) -> Error {
    Error::Answer { reason: reason.to_owned() }
}
