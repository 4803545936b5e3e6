//! A delivery's decoded rows on their way into files of the table that no commit names yet.
//!
//! Rows carry the delivery's number, and which number that is shows only with the commit: the next one is taken to begin
//! with, and what was written under another is written again. Invariant: rows and rejects all carry one number.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int32Array, RecordBatch};
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vitalake_contract::contract::{BUSINESS_DATE, quarantine_schema};
use vitalake_lake::{DataFile, LakeError, Table};

use super::DeliverError;
use crate::decode::{DecodeError, Decoded};

/// Rows of a file, in bytes of memory.
const FILE_BYTES_IN_MEMORY: usize = 64 << 20;
/// How many files are written at once. What waits for its encoding is no more than their rows.
const FILES_AT_ONCE: usize = 2;
/// The column that holds the delivery's number.
const NUMBER_COLUMN: &str = "_partition";

/// What was written of a delivery at once.
#[derive(Debug, Default)]
struct Written {
    rows: Vec<Arc<DataFile>>,
    rejects: Vec<Arc<DataFile>>,
}

/// A file of rows and one of rejects that are being written, as long as more comes.
#[derive(Debug)]
struct Open {
    rows: mpsc::UnboundedSender<RecordBatch>,
    rejects: mpsc::UnboundedSender<RecordBatch>,
    /// Of rows and rejects that were sent, in memory.
    bytes: usize,
}

impl Open {
    /// Sends a batch on; false where nobody takes it.
    fn take(&mut self, rows: RecordBatch, rejects: RecordBatch) -> bool {
        self.bytes += rows.get_array_memory_size() + rejects.get_array_memory_size();
        let took_rows = rows.num_rows() == 0 || self.rows.send(rows).is_ok();
        took_rows && (rejects.num_rows() == 0 || self.rejects.send(rejects).is_ok())
    }
}

/// Rows and rejects of one delivery in files, encoded while more is decoded.
#[derive(Debug)]
pub(super) struct Files {
    number: i64,
    date: Option<NaiveDate>,
    /// Whether a rule of severity fatal ends it at once.
    stops_at_fatal: bool,
    /// Rows that break rules of severity fatal, by rule.
    fatal: BTreeMap<usize, u64>,
    rows: Vec<Arc<DataFile>>,
    rejects: Vec<Arc<DataFile>>,
    /// Rows of erased persons, which are in neither.
    erased: i64,
    open: Option<Open>,
    /// Who writes the open files, and the ones before; they end with the delivery.
    writing: JoinSet<(u64, Result<Written, LakeError>)>,
    /// How many were begun.
    begun: u64,
    /// What was written, by its place among all: rows keep their order over the files.
    written: BTreeMap<u64, Written>,
}

impl Files {
    /// None yet, of a delivery that is to have this number and stands for this day.
    pub(super) fn new(number: i64, date: Option<NaiveDate>, stops_at_fatal: bool) -> Self {
        let (fatal, rows, rejects, erased, written) = Default::default();
        let (open, writing, begun) = (None, JoinSet::new(), 0);
        Self { number, date, stops_at_fatal, fatal, rows, rejects, erased, open, writing, begun, written }
    }

    /// Rules of severity fatal that rows break, and how many break each.
    pub(super) fn fatal(&self) -> impl Iterator<Item = (usize, u64)> {
        self.fatal.iter().map(|(rule, rows)| (*rule, *rows))
    }

    /// Rows of erased persons that were refused.
    pub(super) fn erased(&self) -> i64 {
        self.erased
    }

    /// The number as rows carry it.
    pub(super) fn number(&self) -> i32 {
        i32::try_from(self.number).unwrap_or(i32::MAX)
    }

    /// Files of rows.
    pub(super) fn rows(&self) -> &[Arc<DataFile>] {
        &self.rows
    }

    /// Files of rejects.
    pub(super) fn rejects(&self) -> &[Arc<DataFile>] {
        &self.rejects
    }

    /// Takes a batch; refuses the delivery when a row of it breaks a rule of severity fatal and that ends it.
    pub(super) async fn take(&mut self, table: &Arc<Table>, decoded: Decoded) -> Result<(), DeliverError> {
        if let Some((rule, rows)) = decoded.fatal.first().filter(|_| self.stops_at_fatal) {
            let rule = table.contract().row_rules.get(*rule).map_or_else(String::new, |r| r.name.clone());
            return Err(DeliverError::Fatal { dataset: table.contract().dataset.to_string(), rule, rows: *rows });
        }
        for (rule, rows) in &decoded.fatal {
            *self.fatal.entry(*rule).or_default() += rows;
        }
        let rows = self.dated(table, decoded.rows)?;
        let (rows, rejects) = table.refuse(vec![rows], vec![decoded.rejects], &mut self.erased)?;
        let only = |batches: Vec<RecordBatch>, schema| {
            batches.into_iter().next().unwrap_or_else(|| RecordBatch::new_empty(schema))
        };
        let (rows, rejects) = (only(rows, table.schema()), only(rejects, quarantine_schema()));
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin_to_write(table).await?,
        };
        if !open.take(rows, rejects) {
            // Whoever wrote has failed, and says why.
            drop(open);
            self.until_few_are_written(table, 0).await?;
            return Err(DeliverError::Stopped(table.contract().dataset.to_string()));
        }
        self.open = Some(open).filter(|open| open.bytes < FILE_BYTES_IN_MEMORY);
        Ok(())
    }

    /// Rows with the day that the delivery stands for, where the table has a place for it.
    fn dated(&self, table: &Table, rows: RecordBatch) -> Result<RecordBatch, DeliverError> {
        let (Some(date), Ok(at)) = (self.date, rows.schema_ref().index_of(BUSINESS_DATE)) else { return Ok(rows) };
        let mut columns = rows.columns().to_vec();
        if let Some(column) = columns.get_mut(at) {
            *column = Arc::new(Date32Array::from_value(Date32Type::from_naive_date(date), rows.num_rows()));
        }
        let dataset = table.contract().dataset.to_string();
        let build = |source| crate::decode::DeliveryError::from(DecodeError::Build { dataset, source });
        Ok(RecordBatch::try_new(rows.schema(), columns).map_err(build)?)
    }

    /// Begins new files, once there is room beside those that are being written.
    async fn begin_to_write(&mut self, table: &Arc<Table>) -> Result<Open, DeliverError> {
        self.until_few_are_written(table, FILES_AT_ONCE - 1).await?;
        let (rows, coming_rows) = mpsc::unbounded_channel();
        let (rejects, coming_rejects) = mpsc::unbounded_channel();
        let (table, place) = (Arc::clone(table), self.begun);
        self.begun += 1;
        self.writing.spawn(async move {
            let written = tokio::try_join!(
                table.write_coming_rows(as_stream(coming_rows)),
                table.write_coming_rejects(as_stream(coming_rejects)),
            );
            (place, written.map(|(rows, rejects)| Written { rows, rejects }))
        });
        Ok(Open { rows, rejects, bytes: 0 })
    }

    /// Waits until no more than so many are being written.
    async fn until_few_are_written(&mut self, table: &Table, few: usize) -> Result<(), DeliverError> {
        while self.writing.len() > few
            && let Some(written) = self.writing.join_next().await
        {
            let (place, written) = written.map_err(|_| DeliverError::Stopped(table.contract().dataset.to_string()))?;
            self.written.insert(place, written?);
        }
        Ok(())
    }

    /// Writes what is left: all of it is in files then.
    pub(super) async fn finish(&mut self, table: &Arc<Table>) -> Result<(), DeliverError> {
        self.open = None;
        self.until_few_are_written(table, 0).await?;
        for written in std::mem::take(&mut self.written).into_values() {
            self.rows.extend(written.rows);
            self.rejects.extend(written.rejects);
        }
        Ok(())
    }

    /// Writes everything again under another number, one file in memory at a time; nothing when the number stays.
    pub(super) async fn renumber(&mut self, table: &Table, number: i64) -> Result<(), DeliverError> {
        if number == self.number {
            return Ok(());
        }
        self.number = number;
        let mut rows = Vec::with_capacity(self.rows.len());
        for file in &self.rows {
            let batches = self.numbered(table, table.read_file(file).await?)?;
            rows.extend(table.write_rows(batches).await?);
        }
        let mut rejects = Vec::with_capacity(self.rejects.len());
        for file in &self.rejects {
            let batches = self.numbered(table, table.read_rejects(file).await?)?;
            rejects.extend(table.write_rejects(batches).await?);
        }
        (self.rows, self.rejects) = (rows, rejects);
        Ok(())
    }

    fn numbered(&self, table: &Table, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, DeliverError> {
        let with_number = |batch: RecordBatch| {
            let mut columns = batch.columns().to_vec();
            if let Ok(at) = batch.schema().index_of(NUMBER_COLUMN)
                && let Some(column) = columns.get_mut(at)
            {
                let numbers: ArrayRef = Arc::new(Int32Array::from_value(self.number(), batch.num_rows()));
                *column = numbers;
            }
            RecordBatch::try_new(batch.schema(), columns)
        };
        let dataset = table.contract().dataset.to_string();
        let build = |source| crate::decode::DeliveryError::from(DecodeError::Build { dataset, source });
        Ok(batches.into_iter().map(with_number).collect::<Result<_, _>>().map_err(build)?)
    }
}

fn as_stream(mut batches: mpsc::UnboundedReceiver<RecordBatch>) -> impl Stream<Item = RecordBatch> + Send + Unpin {
    futures::stream::poll_fn(move |context| batches.poll_recv(context))
}
