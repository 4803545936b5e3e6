//! A query's rows as Flight data, and its schema as it is told before.
//!
//! What a plan says before it runs and what its rows are can differ in what may be null and in how texts are held: both
//! are brought to one form here.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tonic::Status;

use crate::error::QueryError;
use crate::session::Answer;
use crate::sql::fault::{Phase, explain};

/// Flight data on its way to a client.
pub type Sent = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send + 'static>>;

/// A schema as it is told.
pub fn told(schema: &Schema, labels: &[String]) -> SchemaRef {
    let fields = schema.fields().iter().zip(labels);
    let fields = fields.map(|(field, label)| Field::new(label, plain(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Null | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::List(item) => DataType::List(Arc::new(Field::new(item.name(), plain(item.data_type()), true))),
        other => other.clone(),
    }
}

fn brought(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| {
        if array.data_type() == field.data_type() { Ok(Arc::clone(array)) } else { cast(array, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// The rows of an answer; dropping the stream stops the work.
pub fn rows(answer: Answer) -> Sent {
    let schema = told(answer.schema(), answer.labels());
    let to = Arc::clone(&schema);
    let batches = futures::stream::try_unfold((answer, to), |(mut answer, to)| async move {
        let Some(batch) = answer.next().await.map_err(|error| status(&error))? else { return Ok(None) };
        let brought = brought(&batch, &to);
        let batch =
            brought.map_err(|error| status(&explain(&error.into(), Phase::Running, answer.query_id(), false)))?;
        Ok(Some((batch, (answer, to))))
    });
    encoded(schema, batches)
}

/// One batch as Flight data.
pub fn one(batch: RecordBatch) -> Sent {
    let schema = batch.schema();
    encoded(schema, futures::stream::iter([Ok(batch)]))
}

fn encoded(schema: SchemaRef, batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> Sent {
    let batches = batches.map_err(|status| FlightError::Tonic(Box::new(status)));
    let data = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Box::pin(data.map(|data| {
        data.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            _ => Status::internal("the rows could not be written"),
        })
    }))
}

/// What a session said, as gRPC has it.
pub fn status(error: &QueryError) -> Status {
    let message = error.to_string();
    match error {
        QueryError::Invalid { .. } if message.contains("you may not") => Status::permission_denied(message),
        QueryError::Invalid { .. } | QueryError::Context(_) => Status::invalid_argument(message),
        QueryError::ResourceLimit(_) | QueryError::Capacity(_) => Status::resource_exhausted(message),
        QueryError::Timeout { .. } => Status::deadline_exceeded(message),
        QueryError::Cancelled => Status::cancelled(message),
        QueryError::Runtime(_) => Status::failed_precondition(message),
        QueryError::NotReady(_) | QueryError::NotOpen(_) => Status::unavailable(message),
        QueryError::Internal { .. } => Status::internal(message),
    }
}
