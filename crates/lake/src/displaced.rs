//! Rows of deliveries that go: which files go whole, and which are written again without them.
//!
//! Between a delivery, or the withdrawal of rejects, and its commit: files are written here and named there. Compaction
//! mixes deliveries, so that a file may hold rows of several. Invariant: what is written again is every other row of the
//! files that go, each once.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use vitalake_contract::Source;

use crate::books::signed;
use crate::delta::{DataFile, DeltaError, FilePath};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;

/// The column that holds a delivery's number.
const NUMBER_COLUMN: &str = "_partition";

/// What has to change in a side so that the rows of some deliveries are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Displaced {
    /// Files that go.
    pub(crate) removes: Vec<FilePath>,
    /// Files with the other rows of those that go.
    pub(crate) kept: Vec<Arc<DataFile>>,
    /// How many rows are gone then.
    pub(crate) rows: i64,
}

impl Table {
    /// What takes the rows of these deliveries away from a side as it is. Ask with the turn to commit.
    pub(crate) async fn displaced(&self, side: SideName, numbers: &[i32]) -> Result<Displaced, LakeError> {
        let (_, head) = self.at(side);
        let mut displaced = Displaced::default();
        for file in head.files().filter(|file| may_hold(file, numbers)) {
            match file.rows.filter(|_| self.holds_nothing_else(file, numbers)) {
                Some(rows) => {
                    displaced.removes.push(file.path().clone());
                    displaced.rows += signed(rows);
                }
                None => self.without(side, file, numbers, &mut displaced).await?,
            }
        }
        Ok(displaced)
    }

    /// Whether a file's bounds say that all of its rows are of one of these deliveries.
    fn holds_nothing_else(&self, file: &DataFile, numbers: &[i32]) -> bool {
        let no_null = file.stats().and_then(|stats| stats.null_count(NUMBER_COLUMN)) == Some(0);
        let one = bounds(file).filter(|(min, max)| min == max).map(|(number, _)| number);
        self.contract.source == Some(Source::Feed) && no_null && one.is_some_and(|one| numbers.contains(&one))
    }

    /// Writes the rows of a file that stay, where any of it goes.
    async fn without(
        &self,
        side: SideName,
        file: &DataFile,
        numbers: &[i32],
        displaced: &mut Displaced,
    ) -> Result<(), LakeError> {
        let (mut kept, mut files, mut bytes, mut gone) = (Vec::new(), Vec::new(), 0, 0);
        let mut batches = self.stream_side(side, file).await?;
        while let Some(batch) = batches.try_next().await? {
            let stays = self.others(&batch, numbers).map_err(|source| self.unsplit_side(side, source))?;
            gone += batch.num_rows() - stays.num_rows();
            bytes += stays.get_array_memory_size();
            kept.push(stays);
            if bytes >= self.shared.options.file_bytes_in_memory {
                files.extend(self.write_side(side, std::mem::take(&mut kept)).await?);
                bytes = 0;
            }
        }
        if gone == 0 {
            return Ok(());
        }
        files.extend(self.write_side(side, kept).await?);
        displaced.removes.push(file.path().clone());
        displaced.kept.extend(files);
        displaced.rows += signed(gone as u64);
        Ok(())
    }

    async fn write_side(&self, side: SideName, rows: Vec<RecordBatch>) -> Result<Vec<Arc<DataFile>>, LakeError> {
        match side {
            SideName::Rows => self.write_rows(rows).await,
            SideName::Rejects => self.write_rejects(rows).await,
        }
    }

    /// A batch without the rows of these deliveries.
    fn others(&self, batch: &RecordBatch, numbers: &[i32]) -> Result<RecordBatch, arrow::error::ArrowError> {
        let topic = format!("feed/{}", self.contract.dataset);
        let topics = batch.column_by_name("_topic").and_then(|column| column.as_string_view_opt());
        let partitions = batch.column_by_name(NUMBER_COLUMN).and_then(|column| column.as_primitive_opt::<Int32Type>());
        let (Some(topics), Some(partitions)) = (topics, partitions) else { return Ok(batch.clone()) };
        let is_of = |number: Option<i32>| number.is_some_and(|number| numbers.contains(&number));
        let keep: BooleanArray = topics
            .iter()
            .zip(partitions)
            .map(|(of, number)| Some(of != Some(topic.as_str()) || !is_of(number)))
            .collect();
        filter_record_batch(batch, &keep)
    }

    fn unsplit_side(&self, side: SideName, source: arrow::error::ArrowError) -> LakeError {
        let id = match side {
            SideName::Rows => self.id(),
            SideName::Rejects => self.rejects_id(),
        };
        let source = DeltaError::arrow(id.root(), source);
        LakeError::Parquet { attempt: "taking rows of a delivery away", table: id, source }
    }
}

fn bounds(file: &DataFile) -> Option<(i32, i32)> {
    let stats = file.stats()?;
    let bound = |value: Option<ScalarValue>| match value {
        Some(ScalarValue::Int32(number)) => number,
        _ => None,
    };
    let kind = &DataType::Int32;
    Some((bound(stats.min(NUMBER_COLUMN, kind))?, bound(stats.max(NUMBER_COLUMN, kind))?))
}

/// Whether a file's bounds allow that it holds a row of them.
fn may_hold(file: &DataFile, numbers: &[i32]) -> bool {
    bounds(file).is_none_or(|(min, max)| numbers.iter().any(|number| (min..=max).contains(number)))
}
