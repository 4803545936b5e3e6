//! Typed files, Parquet and Arrow IPC: batches of their rows → the contract's columns, by name, under the same rules.
//!
//! `parquet` and `ipc` give batches, `layout` finds each column's field, `convert` its values, `json` writes what goes to
//! quarantine or `_rescued`. Invariant: a row becomes a row or a reject, whatever types its file has, and the message of
//! an error is ours: what the libraries say of a file may quote it.

mod convert;
mod fields;
mod footer;
mod ipc;
mod json;
mod layout;
mod parquet;

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use vitalake_contract::Contract;

use super::again::marked_typed;
use super::delivery::BATCH_RECORDS_MAX;
use super::plan::Plan;
use super::refused::DeliveryError;
use super::rows::RowBuffer;
use super::{DecodeError, Decoded, RecordMeta, Rules};
pub use fields::{TypedField, read_parquet_fields};
use layout::Layout;
use vitalake_contract::DeliveryFormat;

/// The rows of one typed file.
#[derive(Debug)]
pub(super) struct TypedFile<R> {
    plan: Plan,
    rows: RowBuffer,
    batches: Batches<R>,
    layout: Option<Layout>,
    /// What was read and not decoded yet, and how many of its rows were.
    waiting: Option<(RecordBatch, usize)>,
}

#[derive(Debug)]
enum Batches<R> {
    Arrow(ipc::Messages<R>),
    Parquet(parquet::Rows<R>),
}

impl<R: Read> TypedFile<R> {
    /// A file of that form; none where the form is no typed one.
    pub(super) fn new(rules: &Rules, format: DeliveryFormat, reader: R) -> Result<Self, R> {
        let dataset = rules.contract.dataset.to_string();
        let batches = match format {
            DeliveryFormat::Arrow => Batches::Arrow(ipc::Messages::new(dataset, reader)),
            DeliveryFormat::Parquet => Batches::Parquet(parquet::Rows::new(dataset, reader)),
            _ => return Err(reader),
        };
        let plan = Plan::new(rules.clone(), Plan::feed_of(&rules.contract));
        let mut rows = RowBuffer::new(&plan);
        rows.reject_headers = Some(marked_typed());
        Ok(Self { plan, rows, batches, layout: None, waiting: None })
    }

    /// How many bytes of the file were read.
    pub(super) fn consumed(&self) -> u64 {
        match &self.batches {
            Batches::Arrow(messages) => messages.consumed(),
            Batches::Parquet(rows) => rows.consumed(),
        }
    }

    /// The file's fields that the contract does not name.
    pub(super) fn unnamed(&self) -> Vec<String> {
        self.layout.as_ref().map(Layout::unnamed).unwrap_or_default()
    }

    /// The next rows, the first of which has that position; none at the end.
    pub(super) fn next(&mut self, first: RecordMeta) -> Result<Option<(usize, Decoded)>, DeliveryError> {
        let (batch, begin) = match self.waiting.take() {
            Some(waiting) => waiting,
            None => match self.read()? {
                Some(batch) => (batch, 0),
                None => return Ok(None),
            },
        };
        let rows = (batch.num_rows() - begin).min(BATCH_RECORDS_MAX);
        let decoded = self.decode(&batch.slice(begin, rows), first)?;
        if begin + rows < batch.num_rows() {
            self.waiting = Some((batch, begin + rows));
        }
        Ok(Some((rows, decoded)))
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, DeliveryError> {
        loop {
            let batch = match &mut self.batches {
                Batches::Arrow(messages) => messages.next()?,
                Batches::Parquet(rows) => rows.next()?,
            };
            // A file without rows has columns too, and they are looked at.
            let schema = match (&batch, &self.batches) {
                (Some(batch), _) => Some(batch.schema()),
                (None, Batches::Arrow(messages)) => messages.schema(),
                (None, Batches::Parquet(rows)) => rows.schema(),
            };
            if let (None, Some(schema)) = (&self.layout, schema) {
                self.layout = Some(Layout::new(&self.plan.contract, &schema)?);
            }
            match batch {
                Some(batch) if batch.num_rows() == 0 => {}
                batch => return Ok(batch),
            }
        }
    }

    fn decode(&mut self, batch: &RecordBatch, first: RecordMeta) -> Result<Decoded, DecodeError> {
        let contract: &Contract = &self.plan.contract;
        let build = |source| DecodeError::Build { dataset: contract.dataset.to_string(), source };
        let Some(layout) = &self.layout else {
            return Err(build(arrow::error::ArrowError::SchemaError("rows without a schema".to_owned())));
        };
        let count = batch.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(contract.columns.len() + 8);
        let mut wrong: Vec<Vec<usize>> = Vec::with_capacity(contract.columns.len());
        for (column, way) in contract.columns.iter().zip(&layout.ways) {
            let converted = match way.as_deref().map(|way| field(batch, way)) {
                Some(array) => convert::convert(&array.map_err(build)?, &column.kind).map_err(build)?,
                None => convert::Converted { array: new_null_array(&column.kind.arrow(), count), wrong: Vec::new() },
            };
            columns.push(converted.array);
            wrong.push(converted.wrong);
        }
        if let Batches::Arrow(_) = &self.batches {
            // The arrays of a message share its bytes, and each would count all of them as its own.
            columns = columns.iter().map(ipc::own).collect();
        }
        let of_column = |(column, rows): (usize, &Vec<usize>)| {
            let column = u16::try_from(column).unwrap_or(u16::MAX);
            rows.iter().map(move |row| (*row, column)).collect::<Vec<_>>()
        };
        self.rows.wrong = wrong.iter().enumerate().flat_map(of_column).collect();
        self.rows.wrong.sort_unstable();
        let at = |row: usize| RecordMeta { offset: first.offset + row as i64, ..first };
        self.rows.metas.extend((0..count).map(at));
        let mut rescued: Vec<usize> = match layout.rescues() {
            true => (0..count).collect(),
            false => self.rows.wrong.iter().map(|(row, _)| *row).collect(),
        };
        rescued.dedup();
        for row in rescued {
            self.rows.rescued.write(row, |text| layout.rescue(batch, row, &wrong, text));
        }
        let record = |row: usize| {
            let mut text = String::new();
            json::row(batch, row, &mut text);
            text
        };
        self.rows.finish_typed(&self.plan, columns, &record)
    }
}

/// The array at the end of a way.
fn field(batch: &RecordBatch, way: &[usize]) -> Result<ArrayRef, arrow::error::ArrowError> {
    let lost = || arrow::error::ArrowError::SchemaError("a batch has other fields than the file".to_owned());
    let (first, rest) = way.split_first().ok_or_else(lost)?;
    let mut array = Arc::clone(batch.columns().get(*first).ok_or_else(lost)?);
    for step in rest {
        array = convert::field_of(&array, *step)?.ok_or_else(lost)?;
    }
    Ok(array)
}

/// Runs a reader of a library, and makes its panic an error: a file may lie in ways that it does not expect.
fn guarded<T, E: std::error::Error + Send + Sync + 'static>(
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(Box::new(error)),
        Err(_) => Err("the reader gave up on what the file says of itself".into()),
    }
}
