//! What an append model has made already: the keys of its table, and rejects that were committed before a crash.
//!
//! Both are read from the tables at start. Invariant: a row is new exactly when the table does not hold its key within
//! the horizon; a reject is skipped only when the quarantine holds that very reject.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use vitalake_lake::{DataFile, Space, TableId};

use crate::duplicates::{DuplicateIndex, DuplicateLimits, KeysBeside, RowHasher, Verdict, hash_bytes};
use crate::error::{Error, Result};
use crate::plan::INGESTED_AT;
use crate::run::{Job, table_id};
use crate::session::instant;

/// The keys of a model's table.
pub(crate) struct Seen {
    hasher: RowHasher,
    index: DuplicateIndex,
    columns: Vec<String>,
}

impl Seen {
    /// Reads the keys of the table as it is now; `None` when its contract has no primary key.
    pub(crate) async fn read(job: &Job) -> Result<Option<Self>> {
        let Some(mut seen) = Self::none(job)? else { return Ok(None) };
        let horizon = job.output.contract().dedup_horizon;
        seen.fill(job, i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX)).await?;
        Ok(Some(seen))
    }

    /// No keys yet, for who makes the table from its beginning; `None` when its contract has no primary key.
    pub(crate) fn none(job: &Job) -> Result<Option<Self>> {
        let contract = job.output.contract();
        if contract.primary_key.is_empty() {
            return Ok(None);
        }
        let values = (0..contract.columns.len()).filter(|i| !contract.primary_key.contains(i)).collect();
        let hasher = RowHasher::new(contract.primary_key.clone(), values);
        let limits =
            DuplicateLimits { horizon: contract.dedup_horizon, keys_in_memory_max: job.options.keys_in_memory_max };
        let folder = job.options.folder.join(contract.dataset.as_str());
        let index = DuplicateIndex::new(Arc::clone(&job.options.disk), folder, limits)?;
        let mut columns: Vec<String> = contract.columns.iter().map(|c| c.name.to_string()).collect();
        columns.push(INGESTED_AT.to_owned());
        Ok(Some(Self { hasher, index, columns }))
    }

    async fn fill(&mut self, job: &Job, horizon_us: i64) -> Result<()> {
        let pinned = job.lake.pin();
        let contract = job.output.contract();
        let Some(view) = pinned.table(&table_id(contract.layer, &contract.dataset)) else { return Ok(()) };
        let files: Vec<&Arc<DataFile>> = view.head.files().chain(&view.tail.early).collect();
        let newest = files.iter().filter_map(|file| newest_us(file)).max();
        let since = newest.map(|newest| newest.saturating_sub(horizon_us));
        for file in files {
            let old = newest_us(file).zip(since).is_some_and(|(newest, since)| newest < since);
            if !old {
                self.add(job, file).await?;
            }
        }
        view.tail.rows.iter().try_for_each(|batch| self.judge(batch).map(|_| ()))
    }

    /// Adds the keys of a file that has come to the table.
    pub(crate) async fn add(&mut self, job: &Job, file: &DataFile) -> Result<()> {
        let rows = job.output.read_columns(file, &self.columns).await?;
        rows.iter().try_for_each(|batch| self.judge(batch).map(|_| ()))
    }

    /// Judges rows in order; the new ones must be put into the table.
    pub(crate) fn judge(&mut self, rows: &RecordBatch) -> Result<Vec<Verdict>> {
        let (keys, values) = self.hasher.hash(rows)?;
        self.index.check(&keys, &values, &times(rows)?)
    }

    /// Forgets the keys of rows that have left the table.
    pub(crate) fn forget(&mut self, rows: &RecordBatch) -> Result<()> {
        let (keys, _) = self.hasher.hash(rows)?;
        self.index.forget(&keys)
    }

    /// The hashes of the keys of rows.
    pub(crate) fn keys(&self, rows: &RecordBatch) -> Result<Vec<u64>> {
        Ok(self.hasher.hash(rows)?.0)
    }

    /// Judges rows that may still be dropped: the new ones are remembered beside the table's.
    pub(crate) fn judge_beside(&self, beside: &mut KeysBeside, rows: &RecordBatch) -> Result<Vec<Verdict>> {
        let (keys, values) = self.hasher.hash(rows)?;
        self.index.check_beside(beside, &keys, &values, &times(rows)?)
    }
}

/// When each row arrived, in microseconds.
fn times(rows: &RecordBatch) -> Result<Vec<i64>> {
    let times = rows.column_by_name(INGESTED_AT).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    match times {
        Some(times) if times.null_count() == 0 => Ok(times.values().to_vec()),
        Some(times) => Ok(times.iter().map(|t| t.unwrap_or(i64::MIN / 2)).collect()),
        None => {
            let detail = format!("there is no {INGESTED_AT}");
            Err(Error::Columns { what: "a batch to de-duplicate".to_owned(), detail })
        }
    }
}

fn newest_us(file: &DataFile) -> Option<i64> {
    match file.stats()?.max(INGESTED_AT, &instant())? {
        ScalarValue::TimestampMicrosecond(time, _) => time,
        _ => None,
    }
}

/// Rejects that are in the quarantine for input that will be processed again: a crash came between the two commits.
pub(crate) struct Recovered {
    through: i64,
    rejects: HashMap<u64, u64>,
}

impl Recovered {
    /// Reads those that a commit holds whose rows are in none, when there are any.
    pub(crate) async fn read(job: &Job, rejects_ahead: Option<i64>) -> Result<Option<Self>> {
        let Some(through) = rejects_ahead else { return Ok(None) };
        let mut found = Self { through, rejects: HashMap::new() };
        found.add_head(job).await?;
        Ok(Some(found))
    }

    async fn add_head(&mut self, job: &Job) -> Result<()> {
        let pinned = job.lake.pin();
        for file in pinned.table(&quarantine(job)).into_iter().flat_map(|view| view.head.files()) {
            job.output.read_rejects(file).await?.iter().for_each(|batch| self.add(batch));
        }
        Ok(())
    }

    fn add(&mut self, rejects: &RecordBatch) {
        for mark in marks(rejects) {
            *self.rejects.entry(mark).or_default() += 1;
        }
    }

    /// Leaves out those of the rejects that are in the quarantine already.
    pub(crate) fn not_yet_rejected(
        &mut self,
        rejects: Vec<RecordBatch>,
        version: Option<i64>,
    ) -> Result<Vec<RecordBatch>> {
        if version.is_none_or(|version| version > self.through) {
            return Ok(rejects);
        }
        let mut kept = Vec::with_capacity(rejects.len());
        for batch in &rejects {
            let missing = BooleanArray::from(self.missing(batch));
            let new = filter_record_batch(batch, &missing)
                .map_err(|source| Error::Arrow { attempted: "taking new rejects", source })?;
            if new.num_rows() > 0 {
                kept.push(new);
            }
        }
        Ok(kept)
    }

    /// Which of these rejects are not in the quarantine yet.
    fn missing(&mut self, rejects: &RecordBatch) -> Vec<bool> {
        let known = &mut self.rejects;
        let mut is_missing = |mark: u64| match known.get_mut(&mark) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        marks(rejects).into_iter().map(&mut is_missing).collect()
    }
}

fn quarantine(job: &Job) -> TableId {
    TableId::new(Space::Quarantine, job.model.dataset.clone())
}

/// A hash of each reject's bytes, rule and place.
fn marks(rejects: &RecordBatch) -> Vec<u64> {
    let raw = rejects.column_by_name("_raw").and_then(|c| c.as_binary_view_opt());
    let rule = rejects.column_by_name("_rule").filter(|c| *c.data_type() == DataType::Utf8View);
    let rule = rule.and_then(|c| c.as_string_view_opt());
    let place = |row: usize| {
        let offset =
            rejects.column_by_name("_offset").and_then(|c| c.as_primitive_opt::<arrow::datatypes::Int64Type>());
        let partition =
            rejects.column_by_name("_partition").and_then(|c| c.as_primitive_opt::<arrow::datatypes::Int32Type>());
        (
            offset.filter(|o| o.is_valid(row)).map(|o| o.value(row)),
            partition.filter(|p| p.is_valid(row)).map(|p| p.value(row)),
        )
    };
    (0..rejects.num_rows())
        .map(|row| {
            let mut bytes = raw.filter(|r| r.is_valid(row)).map(|r| r.value(row).to_vec()).unwrap_or_default();
            bytes.extend_from_slice(rule.map_or("", |r| r.value(row)).as_bytes());
            let (offset, partition) = place(row);
            bytes.extend_from_slice(&offset.unwrap_or(-1).to_le_bytes());
            bytes.extend_from_slice(&partition.unwrap_or(-1).to_le_bytes());
            hash_bytes(&bytes)
        })
        .collect()
}
